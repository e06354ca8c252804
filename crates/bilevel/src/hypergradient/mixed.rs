//! Mixed fixed-point iteration (Terashita, Hara, *Variance Reduction of Stochastic Hypergradient Estimation by Mixed
//! Fixed-Point Iteration*, TMLR 2025).
//!
//! From one sequence of samples `Y_s = d1Phi_hat(w, zeta_s)^T` there are two estimates of `v = sum_j Y^j c`, `c = grad1
//! E`: the Neumann iteration `n <- Y_s n + c`, in which the newest factor comes last, and the unrolled sum of `u <- Y_s
//! u`, in which it comes first. They see the samples in opposite orders, and a mixture of the two varies less than either:
//!
//! ```text
//! z <- z + eta_s ((1 - a)(u + z) + a n - z),    u <- u + eta_s (Y_s u - u),    n <- n + eta_s (Y_s n + c - n),
//! ```
//!
//! all three from their old values, `u = n = c` and `z = 0` at first. At the fixed point `u = 0` and `z = n = v`. The
//! mixing rate `a` tells how long the sum `z` remembers: with `a = 1` it follows the Neumann iteration, with `a -> 0` it
//! is the unrolled sum. Steps `eta_s = 1` give Mixed FP, whose noise does not vanish; smaller or decreasing ones
//! (Krasnosel'skii-Mann) give Mixed FP-KM, which converges almost surely when they fall like `1/s`. The formulas are those
//! of the authors' published implementation (`hitachi-rd-cv/mixed-fp`), in the signs of this library.

use serde::{Deserialize, Serialize};

use super::frame::{Frame, Products};
use super::{Hypergradient, WarmStart};
use crate::error::{Error, Result};
use crate::fixed_point::FixedPoint;
use crate::lower::StochasticMap;
use crate::operator::AdjointOperator;
use crate::sample::{Batch, Rng};
use crate::status::Info;
use crate::step_size::StepSize;
use crate::upper::UpperObjective;
use crate::vector;

/// Mixed FP and Mixed FP-KM. Two products a step, both on the same sample; memory of five vectors.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct MixedFixedPoint {
    /// The lower solve.
    pub lower: FixedPoint,
    /// Steps `k` of the linear solve.
    pub linear_steps: usize,
    /// Elements drawn at each step of the linear solve.
    pub batch: Batch,
    /// Steps `eta_s` of the linear solve; 1 for Mixed FP.
    pub step: StepSize,
    /// The mixing rate `a`, in (0, 1].
    pub mixing: f64,
    /// Elements `J` of the cross derivative `d2Phi`.
    pub cross_batch: Batch,
    /// Elements of the upper objective.
    pub upper_batch: Batch,
}

impl MixedFixedPoint {
    /// Mixed FP: steps of 1. Everything of `d2Phi` and of the upper objective.
    pub fn plain(lower: FixedPoint, linear_steps: usize, batch: usize, mixing: f64) -> Self {
        Self::krasnoselskii_mann(lower, linear_steps, batch, mixing, StepSize::Constant { eta: 1.0 })
    }

    /// Mixed FP-KM. Everything of `d2Phi` and of the upper objective.
    pub fn krasnoselskii_mann(
        lower: FixedPoint,
        linear_steps: usize,
        batch: usize,
        mixing: f64,
        step: StepSize,
    ) -> Self {
        MixedFixedPoint {
            lower,
            linear_steps,
            batch: Batch::Rows(batch),
            step,
            mixing,
            cross_batch: Batch::All,
            upper_batch: Batch::All,
        }
    }

    /// Estimates `grad f(lambda)`; arguments as in [`Sid::estimate`](super::Sid::estimate). `start` has its `v`
    /// overwritten: the sums begin with `grad1 E`.
    ///
    /// # Errors
    /// Input, for unusable settings or sizes; numeric, when a solve diverged or anything is not finite.
    pub fn estimate<M, U>(
        &self,
        map: &M,
        upper: &U,
        lambda: &[f64],
        start: Option<&mut WarmStart>,
        seed: u64,
        index: u64,
    ) -> Result<Hypergradient>
    where
        M: StochasticMap + ?Sized,
        U: UpperObjective + ?Sized,
    {
        self.batch.validate("batch")?;
        self.step.validate()?;
        if !(self.mixing > 0.0 && self.mixing <= 1.0) {
            return Err(Error::input(format!("the mixing rate {} must be in (0, 1]", self.mixing)));
        }
        let frame = Frame { lower: &self.lower, cross_batch: self.cross_batch, upper_batch: self.upper_batch };
        frame.estimate(map, upper, lambda, start, (seed, index), |operator, v, rng| self.mix(&operator, v, rng))
    }

    fn mix<M: StochasticMap + ?Sized>(&self, operator: &AdjointOperator<'_, M>, z: &mut [f64], rng: &mut Rng) -> Info {
        let c = operator.grad_w;
        let mut products = Products::new(operator, self.batch);
        let (mut u, mut n, mut image) = (c.to_vec(), c.to_vec(), vec![0.0; c.len()]);
        let (first, a) = (vector::norm(c), self.mixing);
        z.fill(0.0);
        for s in 0..self.linear_steps {
            let eta = self.step.eta(s);
            for ((z, u), n) in z.iter_mut().zip(&u).zip(&n) {
                *z += eta * ((1.0 - a) * (u + *z) + a * n - *z);
            }
            products.draw(rng);
            products.apply(&u, &mut image);
            vector::move_towards(eta, &image, &mut u);
            products.apply(&n, &mut image);
            vector::axpy(1.0, c, &mut image);
            vector::move_towards(eta, &image, &mut n);
            if let Some(status) = products.failure(first, vector::norm(&u)) {
                return Info { status, steps: s, residual: None, work: products.work };
            }
        }
        let status = products.end(first, vector::norm(&u), z);
        Info { status, steps: self.linear_steps, residual: None, work: products.work }
    }
}
