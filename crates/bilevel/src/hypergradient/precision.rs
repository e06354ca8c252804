//! A hypergradient to a requested precision: the precision comes in, the step counts come out.

use serde::{Deserialize, Serialize};

use super::spread::{std_error, t_factor};
use super::{Hypergradient, Sid, WarmStart};
use crate::error::{Error, Result};
use crate::status::Status;
use crate::vector;

/// How far off an estimate may be, and how sure that must be.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Precision {
    /// The largest error.
    pub tolerance: Tolerance,
    /// Probability with which the error must be below it.
    pub probability: f64,
    /// Rows to visit at most; with fewer than needed the result says what was reached.
    pub max_rows: u64,
}

/// A bound on `|g_hat - grad f|` in the Euclidean norm.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Tolerance {
    /// As a fraction of `|grad f|`.
    Relative(f64),
    /// In the units of the hypergradient.
    Absolute(f64),
}

impl Precision {
    /// `|g_hat - grad f| <= fraction |grad f|` with probability 0.95, for at most `10^10` rows.
    pub fn relative(fraction: f64) -> Self {
        Precision { tolerance: Tolerance::Relative(fraction), probability: 0.95, max_rows: 10_000_000_000 }
    }

    /// `|g_hat - grad f| <= error` with probability 0.95, for at most `10^10` rows.
    pub fn absolute(error: f64) -> Self {
        Precision { tolerance: Tolerance::Absolute(error), ..Precision::relative(1.0) }
    }

    /// The same, never starting a longer estimate that would visit more than `max_rows` rows; the first one always runs.
    #[must_use]
    pub fn with_max_rows(self, max_rows: u64) -> Self {
        Precision { max_rows, ..self }
    }

    /// The same with another probability.
    #[must_use]
    pub fn with_probability(self, probability: f64) -> Self {
        Precision { probability, ..self }
    }

    /// The largest error for a hypergradient of this norm.
    pub(super) fn allowed(&self, norm: f64) -> f64 {
        match self.tolerance {
            Tolerance::Relative(fraction) => fraction * norm,
            Tolerance::Absolute(error) => error,
        }
    }

    /// Checks the settings.
    ///
    /// # Errors
    /// Input, naming the setting.
    pub fn validate(&self) -> Result<()> {
        let (Tolerance::Relative(tolerance) | Tolerance::Absolute(tolerance)) = self.tolerance;
        if !(tolerance > 0.0 && tolerance.is_finite()) {
            return Err(Error::input(format!("a precision of {tolerance} must be positive and finite")));
        }
        if !(self.probability > 0.0 && self.probability < 1.0) {
            return Err(Error::input(format!("a probability of {} must be between 0 and 1", self.probability)));
        }
        Ok(())
    }
}

/// Relative roundings of single evaluations that a value may be off by.
pub(super) const ROUNDINGS: f64 = 16.0;
/// Part of a value that sums in double precision may be off by.
pub(super) const ROUNDING: f64 = ROUNDINGS * f64::EPSILON;

/// Bias of solves that did not settle: `left` is the first-order estimate of what is left of their starts, `norm` that of the
/// hypergradient, and `variance` that of a replicate where its own bias is not estimated.
///
/// The hypergradient is a product of what both solves find. Where each is short of its solution by a fraction `e`, and was by
/// `e'` earlier on, it is short by `e (2 - e)`, but the change between the two shows only `e (2 - e - e')`. The quotient of the
/// two is at most `1 / (1 - left/norm)` (`docs/theory.md`, section 4). Noise enters a product in second order.
pub(super) fn unsettled_bias(left: f64, variance: f64, norm: f64) -> f64 {
    if left < norm { left / (1.0 - left / norm) + variance / norm } else { f64::INFINITY }
}

/// How many times slower than it was believed to be a map may be before nothing bounds what is left of the way.
const STANDSTILL: f64 = 1e6;

/// An estimate with an error bar.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PreciseHypergradient {
    /// The mean over the replicates with its standard errors; its status is `Converged` where the precision was reached,
    /// else `StepLimit`, also where a fraction of a norm of 0 was asked for. The work is that of everything, trials included.
    ///
    /// The standard errors are those of the noise; of an estimate that was cut short, whose bias may be larger than that, each
    /// is the root of its square and that of `bias`.
    pub estimate: Hypergradient,
    /// Estimated norm of the bias. Of an estimate that was cut short it is infinite where nothing bounds it: where the solves
    /// had not forgotten their starts and either the contraction of the map is not known or the value is no larger than what is
    /// missing.
    pub bias: f64,
    /// The error of `value` is below this with the requested probability; infinite where `bias` is.
    pub error: f64,
    /// What the precision allowed.
    pub allowed: f64,
    /// The settings of each replicate.
    pub settings: Sid,
    /// Exact looks at both levels that took the noise out of the replicates; 0 without variance reduction.
    pub anchors: usize,
    /// The replicates, independent and of one distribution. The value is their mean plus that of the corrections.
    pub replicates: Vec<Vec<f64>>,
    /// Independent estimates of what removes the bias of the step size; independent of the replicates. None with variance
    /// reduction.
    pub corrections: Vec<Vec<f64>>,
    /// Estimates of the biases that are left: of the starts, and of the noise in a nonlinear lower level.
    pub biases: [Vec<f64>; 2],
    /// Where the chains of the last round of [`PreciseSvrg`](super::PreciseSvrg) came to: a start for a nearby `lambda` and the
    /// same map.
    #[serde(skip)]
    pub reached: Option<WarmStart>,
}

impl PreciseHypergradient {
    /// `error` as a fraction of the norm of the estimate.
    pub fn relative_error(&self) -> f64 {
        self.error / vector::norm(&self.estimate.value)
    }

    /// The same where the map forgets `factor` times as slowly as was believed: what is left of the way is as much more.
    pub(crate) fn forgetting_slower(mut self, factor: f64) -> Self {
        if self.bias > 0.0 {
            // Of what hardly moves nothing is known.
            let bias = if factor > STANDSTILL { f64::INFINITY } else { factor * self.bias };
            self.error += bias - self.bias;
            self.bias = bias;
        }
        if self.error.is_nan() || self.error > self.allowed {
            self.estimate.status = Status::StepLimit;
        }
        self.with_std_errors()
    }

    /// Fills in the standard errors of the components, once it is settled whether the precision was reached.
    pub(super) fn with_std_errors(mut self) -> Self {
        // A fraction of no norm is no error that could be reached, and that of an infinite one bounds nothing.
        if !(self.allowed > 0.0 && self.allowed.is_finite()) {
            self.estimate.status = Status::StepLimit;
        }
        let unseen = self.unseen();
        let error = |j: usize| self.std_error_of(|replicate| replicate[j]).0.hypot(unseen);
        self.estimate.std_error = Some((0..self.estimate.value.len()).map(error).collect());
        self
    }

    /// The bias that belongs into standard errors: none where it was brought below a part of what was allowed.
    fn unseen(&self) -> f64 {
        if self.estimate.status == Status::Converged { 0.0 } else { self.bias }
    }

    /// The interval that covers `direction' grad f(lambda)` with this probability: Student's t with the degrees of freedom of
    /// Welch for the noise, widened by the estimated biases along the direction, or by all of `bias` where the estimate was cut
    /// short. Where the noise is far below what was allowed the biases dominate, and the interval covers more often than asked.
    ///
    /// # Panics
    /// When the direction has another length.
    pub fn interval_along(&self, direction: &[f64], probability: f64) -> (f64, f64) {
        assert_eq!(direction.len(), self.estimate.value.len(), "the direction has the length of lambda");
        let centre = vector::dot(direction, &self.estimate.value);
        let (error, free) = self.std_error_of(|replicate| vector::dot(direction, replicate));
        let bias: f64 = match self.estimate.status {
            Status::Converged => self.biases.iter().map(|bias| vector::dot(direction, bias).abs()).sum(),
            _ => self.bias * vector::norm(direction),
        };
        let half = t_factor(free, probability) * error + bias;
        (centre - half, centre + half)
    }

    /// Standard error of a linear function of the value, and the degrees of freedom of its estimate.
    pub(super) fn std_error_of(&self, function: impl Fn(&[f64]) -> f64) -> (f64, f64) {
        let parts = [&self.replicates, &self.corrections].into_iter().filter(|part| !part.is_empty());
        let parts: Vec<(f64, f64)> = parts
            .map(|part| (std_error(part.iter().map(|replicate| function(replicate))).powi(2), (part.len() - 1) as f64))
            .collect();
        let variance: f64 = parts.iter().map(|(variance, _)| variance).sum();
        let squares: f64 = parts.iter().map(|(variance, free)| variance * variance / free).sum();
        (variance.sqrt(), if squares > 0.0 { variance * variance / squares } else { 1.0 })
    }
}
