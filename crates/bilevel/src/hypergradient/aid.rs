//! Approximate implicit differentiation on the exact mean: the lower level by the iteration `w <- Phi(w)`, the linear system
//! `(I - d1Phi^T) v = grad1 E` by that of a solver.
//!
//! AID-FP and AID-CG of Grazzi, Franceschi, Pontil, Salzo, ICML 2020: the batch methods a stochastic one is compared with.
//! Every step costs a pass over the rows. AID-CG needs a symmetric `d1Phi`; for other maps there are conjugate gradients on
//! the normal equations, which need products with `d1Phi` too, and GMRES, which needs memory.

use serde::{Deserialize, Serialize};

use super::frame::Frame;
use super::parts::conjugate_gradient;
use super::{Hypergradient, WarmStart};
use crate::error::Result;
use crate::fixed_point::{FixedPoint, Workspace};
use crate::linear_system::{ConjugateGradient, Gmres, NormalEquations};
use crate::lower::{Jvp, StochasticMap, Symmetric};
use crate::sample::Sample;
use crate::upper::UpperObjective;
use crate::vector;

/// Samples of methods that draw none.
const UNUSED: (u64, u64) = (0, 0);

/// Both solves by the iteration `x <- T(x)`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct AidFixedPoint {
    /// Largest number of steps `t` of the lower solve.
    pub lower_steps: usize,
    /// Largest number of steps `k` of the linear solve.
    pub linear_steps: usize,
    /// Relative residual at which either solve stops; zero makes all steps.
    pub tolerance: f64,
}

impl AidFixedPoint {
    /// Computes `grad f(lambda)`; `start` as in [`Sid::estimate`](super::Sid::estimate).
    ///
    /// # Errors
    /// Input, for unusable settings or sizes; numeric, when the map does not contract or anything is not finite.
    pub fn estimate<M, U>(
        &self,
        map: &M,
        upper: &U,
        lambda: &[f64],
        start: Option<&mut WarmStart>,
    ) -> Result<Hypergradient>
    where
        M: StochasticMap + ?Sized,
        U: UpperObjective + ?Sized,
    {
        let linear = FixedPoint::exact(self.linear_steps, self.tolerance);
        linear.validate()?;
        let lower = FixedPoint::exact(self.lower_steps, self.tolerance);
        Frame::exact(&lower).estimate(map, upper, lambda, start, UNUSED, |mut operator, v, rng| {
            linear.solve(&mut operator, v, rng, &mut Workspace::new(v.len()))
        })
    }
}

/// The lower solve by the iteration `w <- Phi(w)`, the linear system by conjugate gradients on `I - d1Phi`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct AidConjugateGradient {
    /// Largest number of steps `t` of the lower solve.
    pub lower_steps: usize,
    /// Relative residual at which the lower solve stops; zero makes all steps.
    pub lower_tolerance: f64,
    /// The linear solver.
    pub linear: ConjugateGradient,
}

impl AidConjugateGradient {
    /// Computes `grad f(lambda)`; `start` as in [`Sid::estimate`](super::Sid::estimate).
    ///
    /// # Errors
    /// Input, for unusable settings or sizes; numeric, when the map does not contract, `I - d1Phi` is not positive
    /// definite or anything is not finite.
    pub fn estimate<M, U>(
        &self,
        map: &M,
        upper: &U,
        lambda: &[f64],
        start: Option<&mut WarmStart>,
    ) -> Result<Hypergradient>
    where
        M: Symmetric + ?Sized,
        U: UpperObjective + ?Sized,
    {
        self.linear.validate()?;
        let lower = FixedPoint::exact(self.lower_steps, self.lower_tolerance);
        Frame::exact(&lower).estimate(map, upper, lambda, start, UNUSED, |operator, v, _| {
            conjugate_gradient(&self.linear, &operator, v)
        })
    }
}

/// The lower solve by the iteration `w <- Phi(w)`, the linear system by conjugate gradients on its normal equations
/// `(I - d1Phi) (I - d1Phi^T) v = (I - d1Phi) grad1 E` (as in Grazzi et al. 2020 for maps that are not symmetric).
///
/// The residual falls like `((kappa - 1)/(kappa + 1))^k`, `kappa <= (1 + q)/(1 - q)` the condition number of `I - d1Phi`. Two
/// products a step, five vectors.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct AidNormalEquations {
    /// Largest number of steps `t` of the lower solve.
    pub lower_steps: usize,
    /// Relative residual at which the lower solve stops; zero makes all steps.
    pub lower_tolerance: f64,
    /// The linear solver.
    pub linear: NormalEquations,
}

impl AidNormalEquations {
    /// Computes `grad f(lambda)`; `start` as in [`Sid::estimate`](super::Sid::estimate).
    ///
    /// # Errors
    /// Input, for unusable settings or sizes; numeric, when the map does not contract, `I - d1Phi` is singular or anything is
    /// not finite.
    pub fn estimate<M, U>(
        &self,
        map: &M,
        upper: &U,
        lambda: &[f64],
        start: Option<&mut WarmStart>,
    ) -> Result<Hypergradient>
    where
        M: Jvp + ?Sized,
        U: UpperObjective + ?Sized,
    {
        self.linear.validate()?;
        let lower = FixedPoint::exact(self.lower_steps, self.lower_tolerance);
        Frame::exact(&lower).estimate(map, upper, lambda, start, UNUSED, |operator, v, _| {
            let product = |p: &[f64], out: &mut [f64]| {
                map.vjp_w(operator.w, lambda, &Sample::Full, p, out);
                vector::xpby(p, -1.0, out);
            };
            let transposed = |p: &[f64], out: &mut [f64]| {
                map.jvp_w(operator.w, lambda, &Sample::Full, p, out);
                vector::xpby(p, -1.0, out);
            };
            self.linear.solve(product, transposed, operator.grad_w, v, map.size(&Sample::Full))
        })
    }
}

/// The lower solve by the iteration `w <- Phi(w)`, the linear system by GMRES on `I - d1Phi^T`.
///
/// After `k` steps without a restart the residual is the least over polynomials of degree `k`, so at most that of AID-FP.
/// One product a step and `restart + 1` vectors.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct AidGmres {
    /// Largest number of steps `t` of the lower solve.
    pub lower_steps: usize,
    /// Relative residual at which the lower solve stops; zero makes all steps.
    pub lower_tolerance: f64,
    /// The linear solver.
    pub linear: Gmres,
}

impl AidGmres {
    /// Computes `grad f(lambda)`; `start` as in [`Sid::estimate`](super::Sid::estimate).
    ///
    /// # Errors
    /// As [`AidNormalEquations::estimate`].
    pub fn estimate<M, U>(
        &self,
        map: &M,
        upper: &U,
        lambda: &[f64],
        start: Option<&mut WarmStart>,
    ) -> Result<Hypergradient>
    where
        M: StochasticMap + ?Sized,
        U: UpperObjective + ?Sized,
    {
        self.linear.validate()?;
        let lower = FixedPoint::exact(self.lower_steps, self.lower_tolerance);
        Frame::exact(&lower).estimate(map, upper, lambda, start, UNUSED, |operator, v, _| {
            let product = |p: &[f64], out: &mut [f64]| {
                map.vjp_w(operator.w, lambda, &Sample::Full, p, out);
                vector::xpby(p, -1.0, out);
            };
            self.linear.solve(product, operator.grad_w, v, map.size(&Sample::Full))
        })
    }
}
