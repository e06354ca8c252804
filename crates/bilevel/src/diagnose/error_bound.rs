//! The whole bound of the theory as one value: constants, noise, starts and step sizes in, mean-square errors out.
//!
//! ```text
//! E|g_hat - grad f|^2 <= 2 c^2 rho(t) + 2 L_Phi^2 sigma(k) + (2 m2/J) (L_E^2/(1-q)^2 + sigma(k))
//! ```
//!
//! with `rho(t)` and `sigma(k)` from [`StepSize::mse_bound`] (theory, sections 3 and 4), and its inverse: the cheapest `t`,
//! `k` and `J` whose bound is below a requested error.
//!
//! The bound is a worst case over all problems with the same constants. It is loose where a problem is kinder than that:
//! the error at the start counts as if it decayed along the slowest direction, noise as if it hit the most sensitive one,
//! and `c` and `L_Phi` as if both always fell on the same vector.

use super::bounds::ProblemConstants;
use crate::error::{Error, Result};
use crate::sample::Batch;
use crate::step_size::StepSize;

/// Everything that the bound on the mean-square error of SID depends on, but for `t`, `k` and `J`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ErrorBound {
    /// Constants of the problem; `m1` is that of a batch, `m2` that of one element.
    pub constants: ProblemConstants,
    /// Noise of the lower map on a batch: `E|Phi_hat(w) - Phi(w)|^2 <= sigma1 + sigma2 |Phi(w) - w|^2`.
    pub sigma1: f64,
    /// See `sigma1`.
    pub sigma2: f64,
    /// Elements of a batch, for the cost of a step.
    pub batch: usize,
    /// Bound on `|w_0 - w(lambda)|^2`.
    pub lower_start: f64,
    /// Bound on `E|v_0 - v(w_t, lambda)|^2`; `None` for `v_0 = 0`, where that of `|v(w_t, lambda)|` serves.
    pub linear_start: Option<f64>,
    /// Bound on `|grad1 E|` at `w(lambda)`, at most `L_E`; after `t` steps `|grad1 E(w_t)|` is, in mean square, at most this
    /// plus `mu1 sqrt(rho(t))`.
    pub upper_gradient: f64,
    /// Steps of the lower solve.
    pub lower_step: StepSize,
    /// Steps of the linear solve.
    pub linear_step: StepSize,
}

/// Numbers of steps and samples that reach an error, and their cost.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct StepPlan {
    /// Steps `t` of the lower solve.
    pub lower_steps: usize,
    /// Steps `k` of the linear solve.
    pub linear_steps: usize,
    /// Elements `J` of the cross derivative; 1 where it has no noise.
    pub cross_batch: usize,
    /// Samples in all: `batch (t + k) + J`.
    pub samples: f64,
    /// The bound at these numbers, at most the error that was asked for.
    pub bound: f64,
}

impl ErrorBound {
    /// The bound for cold starts (`w_0 = v_0 = 0`) and the decreasing steps that the constants call for
    /// ([`StepSize::decreasing_from_constants`]); `size` is `|w(lambda)|`.
    ///
    /// # Errors
    /// Input, where the map does not contract or a constant is unusable.
    pub fn decreasing(
        constants: ProblemConstants,
        (sigma1, sigma2): (f64, f64),
        batch: usize,
        size: f64,
    ) -> Result<Self> {
        let q = constants.contraction;
        let bound = ErrorBound {
            constants,
            sigma1,
            sigma2,
            batch,
            lower_start: size * size,
            linear_start: None,
            upper_gradient: constants.l_e,
            lower_step: StepSize::decreasing_from_constants(q, sigma2)?,
            linear_step: StepSize::decreasing_from_constants(q, constants.linear_noise().1)?,
        };
        let numbers = [constants.sensitivity(), constants.l_phi, constants.m2, sigma1, size];
        if numbers.iter().all(|x| *x >= 0.0 && x.is_finite()) && batch > 0 {
            Ok(bound)
        } else {
            Err(Error::input(format!("a constant of the bound is negative or not finite: {bound:?}")))
        }
    }

    /// The same where `|grad1 E|` is known at `w(lambda)`, which sharpens the bound as `w_t` comes close.
    #[must_use]
    pub fn with_upper_gradient(self, norm: f64) -> Self {
        ErrorBound { upper_gradient: norm.min(self.constants.l_e), ..self }
    }

    /// The same with constant steps: `fraction` in (0, 1] of the largest that the theory allows, `1/(1 + sigma2)`.
    #[must_use]
    pub fn with_constant_steps(self, fraction: f64) -> Self {
        let constant = |sigma2: f64| StepSize::Constant { eta: fraction / (1.0 + sigma2) };
        ErrorBound { lower_step: constant(self.sigma2), linear_step: constant(self.constants.linear_noise().1), ..self }
    }

    /// `rho(t) >= E|w_t - w(lambda)|^2`; `None` where the theory gives no bound for the step sizes.
    pub fn lower_mse(&self, t: usize) -> Option<f64> {
        self.lower_step.mse_bound(t, self.lower_start, self.constants.contraction, self.sigma1, self.sigma2)
    }

    /// `sigma(k) >= E|v_k - v(w_t, lambda)|^2` whatever `t`; `None` where the theory gives no bound for the step sizes.
    pub fn linear_mse(&self, k: usize) -> Option<f64> {
        self.linear_mse_for(&self.constants, k)
    }

    /// The bound on `E|g_hat - grad f|^2`; `None` where the theory gives none for the step sizes.
    pub fn hypergradient_mse(&self, t: usize, k: usize, cross_batch: Batch) -> Option<f64> {
        let lower_mse = self.lower_mse(t)?;
        // L_E where each part needs it: at w(lambda) for the sensitivity, in mean square at w_t for the rest.
        let nearby = self.upper_gradient + self.constants.mu1 * lower_mse.sqrt();
        let there = ProblemConstants { l_e: nearby.min(self.constants.l_e), ..self.constants };
        let centre = ProblemConstants { l_e: self.upper_gradient, ..self.constants };
        let linear_mse = self.linear_mse_for(&there, k)?;
        Some(2.0 * centre.sensitivity().powi(2) * lower_mse + there.hypergradient_mse(0.0, linear_mse, cross_batch))
    }

    fn linear_mse_for(&self, constants: &ProblemConstants, k: usize) -> Option<f64> {
        let (sigma1, sigma2) = constants.linear_noise();
        let start = self.linear_start.unwrap_or(constants.adjoint_bound().powi(2));
        self.linear_step.mse_bound(k, start, constants.contraction, sigma1, sigma2)
    }

    /// What the bound falls to as `t`, `k` and `J` grow: zero for decreasing steps, a multiple of `eta` for constant ones.
    pub fn floor(&self) -> Option<f64> {
        self.hypergradient_mse(usize::MAX, usize::MAX, Batch::All)
    }

    /// The cheapest `t`, `k` and `J` with `hypergradient_mse(t, k, J) <= mse`, by cost `batch (t + k) + J`.
    ///
    /// For given `k` and `J` the smallest `t` follows by bisection. What remains is a convex function of `k` and `J`
    /// (theory, section 4), which is minimised over `J` within `k` by golden sections on a logarithmic scale, up to rounding
    /// to whole steps.
    ///
    /// # Errors
    /// Input, where `mse` is not above the floor of the bound, or the theory has no bound.
    pub fn plan(&self, mse: f64) -> Result<StepPlan> {
        let floor = self.floor().ok_or_else(|| {
            Error::input("the theory has no bound for these step sizes")
                .remedy("use steps of at most 1/(1 + sigma2), constant or decreasing with beta > 1/(1 - q^2)")
        })?;
        let unreachable = || {
            Error::input(format!("a mean-square error of {mse:e} is not above {floor:e}, where the bound stops"))
                .remedy("ask for a larger error, or use decreasing or smaller steps")
        };
        let feasible = if mse > floor && mse.is_finite() { self.feasible(mse, floor) } else { None };
        let feasible = feasible.ok_or_else(unreachable)?;

        let most_steps = (feasible.samples / self.batch as f64).max(1.0);
        let samples = |k: f64, j: f64| self.completed(mse, k, j).map_or(f64::INFINITY, |plan| plan.samples);
        let best_cross = |k: f64| match self.constants.m2 {
            0.0 => 1.0,
            _ => golden(0.0, feasible.samples.ln(), |log_j| samples(k, log_j.exp().round())).exp().round(),
        };
        let steps = |log_k: f64| log_k.exp_m1().round();
        let best = golden(0.0, most_steps.ln_1p(), |log_k| samples(steps(log_k), best_cross(steps(log_k))));
        let found = self.completed(mse, steps(best), best_cross(steps(best)));
        Ok(found.filter(|plan| plan.samples <= feasible.samples).unwrap_or(feasible))
    }

    /// Some plan: half of what is allowed beyond the floor for the two solves, the rest for sampling `d2Phi`.
    fn feasible(&self, mse: f64, floor: f64) -> Option<StepPlan> {
        const MOST: u32 = 52;
        let steps = (0..MOST).map(|i| 1_usize << i);
        let solved = floor + 0.5 * (mse - floor);
        let t =
            steps.clone().find(|&t| self.hypergradient_mse(t, t, Batch::All).is_some_and(|bound| bound <= solved))?;
        steps.filter_map(|j| self.completed(mse, t as f64, j as f64)).find(|plan| plan.lower_steps <= t)
    }

    /// The plan with this `k` and `J` and the smallest `t`; `None` where no `t` will do.
    fn completed(&self, mse: f64, k: f64, j: f64) -> Option<StepPlan> {
        let (k, j) = (k as usize, j.max(1.0) as usize);
        let bound = |t: usize| self.hypergradient_mse(t, k, Batch::Rows(j));
        if bound(usize::MAX)? > mse {
            return None;
        }
        let (mut below, mut above) = (0, 1);
        while bound(above)? > mse {
            (below, above) = (above, above.checked_mul(2)?);
        }
        if bound(0)? <= mse {
            above = 0;
        }
        while above > below + 1 {
            let middle = below + (above - below) / 2;
            *(if bound(middle)? <= mse { &mut above } else { &mut below }) = middle;
        }
        let samples = self.batch as f64 * (above as f64 + k as f64) + j as f64;
        Some(StepPlan { lower_steps: above, linear_steps: k, cross_batch: j, samples, bound: bound(above)? })
    }
}

/// The minimiser of a function with one valley over `[low, high]`; to the left of it the function may be infinite.
fn golden(mut low: f64, mut high: f64, cost: impl Fn(f64) -> f64) -> f64 {
    const RATIO: f64 = 0.618_033_988_749_895;
    let (mut best, mut least) = (high, cost(high));
    for _ in 0..50 {
        let (left, right) = (high - RATIO * (high - low), low + RATIO * (high - low));
        let (at_left, at_right) = (cost(left), cost(right));
        for (x, y) in [(left, at_left), (right, at_right)] {
            if y < least {
                (best, least) = (x, y);
            }
        }
        if at_left <= at_right && at_left.is_finite() {
            high = right;
        } else {
            low = left;
        }
    }
    best
}
