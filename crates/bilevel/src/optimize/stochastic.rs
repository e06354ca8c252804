//! Projected stochastic gradient steps on `lambda`, with steps that need little tuning.
//!
//! ```text
//! lambda <- P(lambda - step * direction),    P the projection onto the domain.
//! ```
//!
//! Scheduled steps are those of the theory (BSGM: Grazzi, Pontil, Salzo, JMLR 2023, uses a constant one). Adaptive ones
//! set the scale by the gradients seen: AdaGrad-norm (Ward, Wu, Bottou, JMLR 2020) for one length, Adam (Kingma, Ba, ICLR
//! 2015) for one a coordinate.
//!
//! An evaluation that fails numerically (a lower level that diverges at an extreme `lambda`) is not the end: the loop goes
//! back to the last good iterate with a quarter of the step, a few times, before it gives the error up to the caller.

use std::time::Instant;

use serde::{Deserialize, Serialize};

use super::iteration::Iteration;
use super::oracle::{Evaluation, Oracle};
use super::outcome::{Outcome, StopReason};
use crate::domain::Domain;
use crate::error::{Error, Result};
use crate::observer::Observer;
use crate::step_size::StepSize;
use crate::vector;
use crate::work::Work;

/// Gradients in a row that push against all bounds, after which nothing will move any more.
const HELD: usize = 20;
/// Retreats from failed evaluations in a row.
const RETREATS: usize = 5;
/// Keeps Adam's quotient finite where a coordinate has had no gradient at all.
const ADAM_EPSILON: f64 = 1e-12;

/// The upper-level step.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum OuterStep {
    /// `eta_s grad`.
    Scheduled(StepSize),
    /// `outer_step grad / sqrt(sum of |grad|^2 so far)`: the first step has length `outer_step`.
    AdaGradNorm {
        /// Length of the first step.
        outer_step: f64,
    },
    /// Adam: the first step moves every coordinate by `outer_step`.
    Adam {
        /// Largest move of a coordinate, roughly.
        outer_step: f64,
        /// Decay of the mean of the gradients, in [0, 1); 0.9 is usual.
        mean_decay: f64,
        /// Decay of the mean of their squares, in [0, 1); 0.999 is usual.
        square_decay: f64,
        /// The step falls like `1/(1 + s)^decay`; 0 keeps it.
        decay: f64,
    },
}

impl OuterStep {
    /// Adam with the usual decays and steps falling like `1/sqrt(s)`.
    pub fn adam(outer_step: f64) -> Self {
        OuterStep::Adam { outer_step, mean_decay: 0.9, square_decay: 0.999, decay: 0.5 }
    }

    /// Checks the parameters.
    ///
    /// # Errors
    /// Input, naming the parameter.
    pub fn validate(&self) -> Result<()> {
        let outer_step = match *self {
            OuterStep::Scheduled(step) => return step.validate(),
            OuterStep::AdaGradNorm { outer_step } => outer_step,
            OuterStep::Adam { outer_step, mean_decay, square_decay, decay } => {
                for (name, value) in [("mean_decay", mean_decay), ("square_decay", square_decay), ("decay", decay)] {
                    let below_one = value < 1.0 || (name == "decay" && value == 1.0);
                    if !(value >= 0.0 && below_one) {
                        return Err(Error::input(format!("{name} = {value} of Adam must be in [0, 1)")));
                    }
                }
                outer_step
            }
        };
        if outer_step > 0.0 && outer_step.is_finite() {
            Ok(())
        } else {
            Err(Error::input(format!("outer_step = {outer_step} must be positive and finite")))
        }
    }
}

/// When to stop.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Limits {
    /// Largest number of iterations; one is always made.
    pub iterations: usize,
    /// Largest number of seconds; looked at between iterations.
    pub seconds: Option<f64>,
    /// Stop when the projected gradient norm is at most this; zero: never, but at an exactly stationary point.
    pub gradient_tolerance: f64,
    /// Stop when the best objective has improved by less than `improvement` (relative) in so many iterations; zero: never.
    pub patience: usize,
    /// See `patience`.
    pub improvement: f64,
}

impl Default for Limits {
    fn default() -> Self {
        Limits { iterations: 1000, seconds: None, gradient_tolerance: 0.0, patience: 0, improvement: 1e-4 }
    }
}

/// The loop and its settings.
///
/// The best iterate is the one with the smallest *reported* objective; with a sampled upper objective that choice is
/// noisy, so report it on all rows where they can be afforded.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct ProjectedGradient {
    /// The step.
    pub step: OuterStep,
    /// When to stop.
    pub limits: Limits,
}

/// The direction of each step and the memory it needs.
struct Direction {
    step: OuterStep,
    squares: f64,
    mean: Vec<f64>,
    mean_square: Vec<f64>,
    steps: usize,
}

impl Direction {
    /// Replaces `gradient` by the step to subtract.
    fn apply(&mut self, gradient: &mut [f64]) {
        let s = self.steps;
        self.steps += 1;
        match self.step {
            OuterStep::Scheduled(step) => vector::scale(step.eta(s), gradient),
            OuterStep::AdaGradNorm { outer_step } => {
                self.squares += vector::norm_squared(gradient);
                if self.squares > 0.0 {
                    vector::scale(outer_step / self.squares.sqrt(), gradient);
                }
            }
            OuterStep::Adam { outer_step, mean_decay, square_decay, decay } => {
                let count = self.steps as f64;
                // Undoes the pull towards the zeros that both means started from.
                let mean_scale = 1.0 / (1.0 - mean_decay.powf(count));
                let square_scale = 1.0 / (1.0 - square_decay.powf(count));
                let length = outer_step / count.powf(decay);
                for ((g, mean), square) in gradient.iter_mut().zip(&mut self.mean).zip(&mut self.mean_square) {
                    *mean += (1.0 - mean_decay) * (*g - *mean);
                    *square += (1.0 - square_decay) * (*g * *g - *square);
                    *g = length * mean_scale * *mean / ((square_scale * *square).sqrt() + ADAM_EPSILON);
                }
            }
        }
    }
}

impl ProjectedGradient {
    /// Minimises from `start`, which is projected onto the domain first.
    ///
    /// # Errors
    /// Input, for unusable settings; the oracle's error when its first evaluation fails, when retreats do not help, or
    /// when it is neither numeric nor an interruption.
    pub fn minimize(
        &self,
        oracle: &mut (impl Oracle + ?Sized),
        domain: &Domain,
        start: &[f64],
        observer: &mut dyn for<'e> Observer<Iteration<'e>>,
    ) -> Result<Outcome> {
        self.step.validate()?;
        if start.len() != domain.len() || !vector::all_finite(start) {
            return Err(Error::input(format!("the start must have {} finite components", domain.len())));
        }
        let clock = Instant::now();
        let mut lambda = start.to_vec();
        domain.project(&mut lambda);
        let mut direction = Direction {
            step: self.step,
            squares: 0.0,
            mean: vec![0.0; lambda.len()],
            mean_square: vec![0.0; lambda.len()],
            steps: 0,
        };
        let mut best: Option<Outcome> = None;
        let (mut good, mut last_step) = (lambda.clone(), vec![0.0; lambda.len()]);
        let (mut milestone, mut milestone_at) = (f64::INFINITY, 0);
        let (mut iterations, mut calls, mut retreats, mut shrink, mut held) = (0, 0, 0, 1.0, 0);
        let mut work = Work::default();
        let reason = loop {
            if iterations >= self.limits.iterations.max(1) {
                break StopReason::IterationLimit;
            }
            if best.is_some() && self.limits.seconds.is_some_and(|limit| clock.elapsed().as_secs_f64() >= limit) {
                break StopReason::TimeLimit;
            }
            let evaluation = oracle.evaluate(&lambda, calls).and_then(Evaluation::finite);
            calls += 1;
            let Evaluation { objective, mut gradient, work: spent, w } = match evaluation {
                Ok(evaluation) => evaluation,
                Err(error) if error.is_interrupted() && best.is_some() => break StopReason::Interrupted,
                Err(error) if error.is_numeric() && best.is_some() && retreats < RETREATS => {
                    retreats += 1;
                    shrink *= 0.25;
                    vector::scale(0.25, &mut last_step);
                    lambda.copy_from_slice(&good);
                    vector::axpy(-1.0, &last_step, &mut lambda);
                    domain.project(&mut lambda);
                    continue;
                }
                Err(error) => return Err(error),
            };
            if gradient.len() != lambda.len() {
                return Err(Error::input(format!("a gradient of {} for {} components", gradient.len(), lambda.len())));
            }
            retreats = 0;
            work += spent;
            iterations += 1;
            good.copy_from_slice(&lambda);
            if best.as_ref().is_none_or(|best| objective < best.objective) {
                let (lambda, gradient, reason) = (lambda.clone(), gradient.clone(), StopReason::IterationLimit);
                best = Some(Outcome { lambda, objective, gradient, w, iterations, reason, work });
            }
            let projected_gradient_norm = domain.projected_gradient_norm(&lambda, &gradient);
            let seconds = clock.elapsed().as_secs_f64();
            let number = iterations - 1;
            let seen = Iteration { number, objective, projected_gradient_norm, lambda: &lambda, work, seconds };
            if observer.observe(&seen).is_break() {
                break StopReason::Interrupted;
            }
            // One sampled gradient that pushes against all bounds says little.
            held = if projected_gradient_norm == 0.0 && vector::max_abs(&gradient) > 0.0 { held + 1 } else { 0 };
            if projected_gradient_norm <= self.limits.gradient_tolerance && !(1..HELD).contains(&held) {
                break StopReason::Stationary;
            }
            if milestone.is_infinite() || objective < milestone - self.limits.improvement * milestone.abs() {
                (milestone, milestone_at) = (objective, iterations);
            } else if self.limits.patience > 0 && iterations - milestone_at >= self.limits.patience {
                break StopReason::Stalled;
            }
            // Components that push against an active bound never move; they must not shrink the steps of the others.
            for ((g, &x), (&low, &high)) in
                gradient.iter_mut().zip(&lambda).zip(domain.lower().iter().zip(domain.upper()))
            {
                if (x <= low && *g > 0.0) || (x >= high && *g < 0.0) {
                    *g = 0.0;
                }
            }
            direction.apply(&mut gradient);
            vector::scaled_copy(shrink, &gradient, &mut last_step);
            vector::axpy(-1.0, &last_step, &mut lambda);
            domain.project(&mut lambda);
        };
        let best = best.expect("the loop leaves before the first success only by an error");
        Ok(Outcome { iterations, reason, work, ..best })
    }
}
