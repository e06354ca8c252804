//! Approximate implicit differentiation on the exact mean, by fixed-point iteration or by conjugate gradients.
//!
//! AID-FP and AID-CG of Grazzi, Franceschi, Pontil, Salzo, ICML 2020: the batch methods a stochastic one is compared with.
//! Every step costs a pass over the rows.

use serde::{Deserialize, Serialize};

use super::parts::{Sampled, check_sizes, conjugate_gradient, differentiate};
use super::{Hypergradient, WarmStart};
use crate::error::Result;
use crate::fixed_point::{FixedPoint, Workspace};
use crate::linear_system::ConjugateGradient;
use crate::lower::{StochasticMap, Symmetric};
use crate::operator::{AdjointOperator, LowerOperator, RandomOperator};
use crate::sample::{Purpose, Rng};
use crate::status::Info;
use crate::upper::UpperObjective;

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
        estimate(map, upper, lambda, start, (self.lower_steps, self.tolerance), |mut operator, v| {
            linear.solve(&mut operator, v, &mut unused_rng(), &mut Workspace::new(v.len()))
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
    /// Largest number of steps `k` of conjugate gradients.
    pub linear_steps: usize,
    /// Relative residual at which conjugate gradients stop; zero makes all steps.
    pub linear_tolerance: f64,
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
        let linear = ConjugateGradient { steps: self.linear_steps, tolerance: self.linear_tolerance };
        linear.validate()?;
        estimate(map, upper, lambda, start, (self.lower_steps, self.lower_tolerance), |operator, v| {
            conjugate_gradient(&linear, &operator, v)
        })
    }
}

/// The frame of both methods: `linear` solves the adjoint system from `v` and leaves the solution there.
fn estimate<M, U>(
    map: &M,
    upper: &U,
    lambda: &[f64],
    start: Option<&mut WarmStart>,
    (lower_steps, lower_tolerance): (usize, f64),
    linear: impl FnOnce(AdjointOperator<'_, M>, &mut [f64]) -> Info,
) -> Result<Hypergradient>
where
    M: StochasticMap + ?Sized,
    U: UpperObjective + ?Sized,
{
    let solver = FixedPoint::exact(lower_steps, lower_tolerance);
    solver.validate()?;
    check_sizes(map.dims(), upper.dims(), lambda, start.as_deref())?;
    let mut point = start.as_deref().cloned().unwrap_or_else(|| WarmStart::zeros(map.dims()));
    let mut rng = unused_rng();

    let mut operator = LowerOperator { map, lambda };
    let mut workspace = Workspace::new(operator.dim());
    let lower = solver.solve(&mut operator, &mut point.w, &mut rng, &mut workspace).usable("lower level")?;

    let everything = (Sampled::all(), Sampled::all());
    let estimate = differentiate(map, upper, &mut point, lambda, everything, linear)?.after(&lower);
    if let Some(start) = start {
        *start = point;
    }
    Ok(estimate)
}

/// The solvers take a generator; on the exact mean none of them draws from it.
fn unused_rng() -> Rng {
    Rng::stream(0, Purpose::Lower, 0)
}
