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
    /// Bound on `|v_0 - v(w_t, lambda)|^2`; with `v_0 = 0` it is `L_E^2/(1-q)^2`.
    pub linear_start: f64,
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
            linear_start: constants.adjoint_bound().powi(2),
            lower_step: StepSize::decreasing_from_constants(q, sigma2)?,
            linear_step: StepSize::decreasing_from_constants(q, constants.linear_noise().1)?,
        };
        let numbers = [constants.sensitivity(), constants.l_phi, constants.m2, sigma1, size];
        if numbers.iter().all(|x| *x >= 0.0 && x.is_finite()) {
            Ok(bound)
        } else {
            Err(Error::input(format!("a constant of the bound is negative or not finite: {constants:?}")))
        }
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

    /// `sigma(k) >= E|v_k - v(w_t, lambda)|^2`; `None` where the theory gives no bound for the step sizes.
    pub fn linear_mse(&self, k: usize) -> Option<f64> {
        let (sigma1, sigma2) = self.constants.linear_noise();
        self.linear_step.mse_bound(k, self.linear_start, self.constants.contraction, sigma1, sigma2)
    }

    /// The bound on `E|g_hat - grad f|^2`; `None` where the theory gives none for the step sizes.
    pub fn hypergradient_mse(&self, t: usize, k: usize, cross_batch: Batch) -> Option<f64> {
        Some(self.constants.hypergradient_mse(self.lower_mse(t)?, self.linear_mse(k)?, cross_batch))
    }

    /// What the bound falls to as `t`, `k` and `J` grow: zero for decreasing steps, a multiple of `eta` for constant ones.
    pub fn floor(&self) -> Option<f64> {
        self.hypergradient_mse(usize::MAX, usize::MAX, Batch::All)
    }

    /// The cheapest `t`, `k` and `J` with `hypergradient_mse(t, k, J) <= mse`, by cost `batch (t + k) + J`.
    ///
    /// For given `k` and `J` the smallest `t` follows from [`StepSize::steps_for`]. What remains is a function of `k` and
    /// `J` that is convex, because `rho`, `sigma` and `1/J` are convex and log-convex; it is minimised over `J` within `k` by
    /// golden sections on a logarithmic scale, up to rounding to whole steps.
    ///
    /// # Errors
    /// Input, where `mse` is not positive, is below the floor of constant steps, or the theory has no bound.
    pub fn plan(&self, mse: f64) -> Result<StepPlan> {
        let none = || {
            Error::input("the theory has no bound for these step sizes")
                .remedy("use steps of at most 1/(1 + sigma2), constant or decreasing with beta > 1/(1 - q^2)")
        };
        let floor = self.floor().ok_or_else(none)?;
        if !(mse > floor && mse.is_finite()) {
            return Err(Error::input(format!(
                "a mean-square error of {mse:e} is not above {floor:e}, where the bound stops"
            ))
            .remedy("ask for a larger error, or use decreasing or smaller steps"));
        }
        // A feasible point, each part with a third of what is allowed beyond the floor, limits the search.
        let share = (mse - floor) / 3.0;
        let (a, b) = (2.0 * self.constants.sensitivity().powi(2), 2.0 * self.constants.l_phi.powi(2));
        let linear_floor = self.linear_mse(usize::MAX).ok_or_else(none)?;
        let k = self.linear_steps_for(linear_floor + share / b).ok_or_else(none)?;
        let j = self.cross_samples(k, share).ok_or_else(none)?;
        let lower_floor = self.lower_mse(usize::MAX).ok_or_else(none)?;
        let t = self.lower_steps_for(lower_floor + share / a).ok_or_else(none)?;
        let worst = self.batch as f64 * (t as f64 + k as f64) + j;

        let most_steps = (worst / self.batch as f64).max(1.0);
        let best_cross = |k: f64| {
            let cost = |log_j: f64| self.completed(mse, k, log_j.exp().round()).map_or(f64::INFINITY, |p| p.samples);
            if self.constants.m2 == 0.0 { 1.0 } else { golden(0.0, worst.ln(), cost).exp().round() }
        };
        let cost = |log_k: f64| {
            let k = log_k.exp_m1().round();
            self.completed(mse, k, best_cross(k)).map_or(f64::INFINITY, |p| p.samples)
        };
        let k_best = golden(0.0, most_steps.ln_1p(), cost).exp_m1().round();
        let found = self.completed(mse, k_best, best_cross(k_best));
        let safe = self.completed(mse, k as f64, j);
        found.into_iter().chain(safe).min_by(|p, q| p.samples.total_cmp(&q.samples)).ok_or_else(none)
    }

    /// The plan with this `k` and `J` and the smallest `t`.
    fn completed(&self, mse: f64, k: f64, j: f64) -> Option<StepPlan> {
        let (k, j) = (k as usize, j.max(1.0) as usize);
        let cross = if self.constants.m2 == 0.0 { Batch::All } else { Batch::Rows(j) };
        let rest = mse - self.constants.hypergradient_mse(0.0, self.linear_mse(k)?, cross);
        let a = 2.0 * self.constants.sensitivity().powi(2);
        let t = if a == 0.0 && rest >= 0.0 { 0 } else { self.lower_steps_for(rest / a)? };
        let bound = self.hypergradient_mse(t, k, cross)?;
        // Rounding in the subtraction above may cost one step.
        let t = if bound > mse { t + 1 } else { t };
        let bound = self.hypergradient_mse(t, k, cross)?;
        let samples = self.batch as f64 * (t as f64 + k as f64) + j as f64;
        (bound <= mse).then_some(StepPlan { lower_steps: t, linear_steps: k, cross_batch: j, samples, bound })
    }

    fn lower_steps_for(&self, mse: f64) -> Option<usize> {
        reachable(mse, self.lower_mse(usize::MAX)?)?;
        self.lower_step.steps_for(mse, self.lower_start, self.constants.contraction, self.sigma1, self.sigma2)
    }

    fn linear_steps_for(&self, mse: f64) -> Option<usize> {
        if mse.is_infinite() {
            return Some(0);
        }
        reachable(mse, self.linear_mse(usize::MAX)?)?;
        let (sigma1, sigma2) = self.constants.linear_noise();
        self.linear_step.steps_for(mse, self.linear_start, self.constants.contraction, sigma1, sigma2)
    }

    /// `J` at which the sampled cross derivative adds at most `share`.
    fn cross_samples(&self, k: usize, share: f64) -> Option<f64> {
        let v = self.constants.adjoint_bound().powi(2) + self.linear_mse(k)?;
        Some((2.0 * self.constants.m2 * v / share).ceil().max(1.0))
    }
}

fn reachable(mse: f64, floor: f64) -> Option<()> {
    (mse > floor).then_some(())
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
