//! Limited-memory quasi-Newton minimisation over a box, for deterministic hypergradients.
//!
//! The upper objective is smooth but not convex, each evaluation is a whole lower-level solve, and many log-penalties
//! end at their bounds. So: the two-loop recursion on the free coordinates (those not held at a bound by the gradient),
//! projected backtracking, pairs kept only where curvature is positive, and a cap on the move of any log-penalty, since
//! a step of 10 would change a penalty by a factor of 20 000. (Bertsekas 1982; Nocedal & Wright, sections 7.2 and 16.7.)

use std::collections::VecDeque;
use std::ops::ControlFlow;

use crate::Result;
use crate::domain::Domain;
use crate::vector;

/// Settings.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct BoundedLbfgs {
    /// Pairs of steps and gradient differences that are remembered.
    pub memory: usize,
    /// Largest number of iterations.
    pub iterations: usize,
    /// Stop when the largest component of the projected gradient is below this fraction of the objective.
    pub tolerance: f64,
    /// Stop when five iterations together lower the objective by less than this fraction.
    pub stall: f64,
    /// Largest change of any coordinate in one iteration.
    pub largest_move: f64,
}

impl Default for BoundedLbfgs {
    fn default() -> Self {
        BoundedLbfgs { memory: 20, iterations: 200, tolerance: 1e-5, stall: 1e-6, largest_move: 3.0 }
    }
}

/// Iterations over which a stall is judged.
const STALL_WINDOW: usize = 5;
/// Shortenings of a step before the search gives up.
const BACKTRACKS: usize = 20;

/// State after an iteration, as an observer sees it.
#[derive(Debug, Clone, Copy)]
pub struct LbfgsIteration<'a> {
    /// Iterations made.
    pub iteration: usize,
    /// Objective at `lambda`.
    pub objective: f64,
    /// Largest component of the projected gradient.
    pub projected_gradient: f64,
    /// Current point.
    pub lambda: &'a [f64],
}

/// Why the minimisation ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LbfgsEnd {
    /// The projected gradient is small.
    Converged,
    /// The objective no longer falls.
    Stalled,
    /// All iterations were made.
    IterationLimit,
    /// The observer asked to stop.
    Stopped,
}

impl BoundedLbfgs {
    /// Minimises `objective` over `domain` from `lambda`, which is replaced by the best point found; returns the
    /// objective there and the reason for ending.
    ///
    /// `objective(lambda, gradient)` sets the gradient and returns the value; a numeric error or a value that is not
    /// finite shortens the step.
    ///
    /// # Errors
    /// Those of the objective at the starting point, and any that are not numeric.
    pub fn minimize(
        &self,
        domain: &Domain,
        lambda: &mut [f64],
        mut objective: impl FnMut(&[f64], &mut [f64]) -> Result<f64>,
        mut observe: impl FnMut(LbfgsIteration<'_>) -> ControlFlow<()>,
    ) -> Result<(f64, LbfgsEnd)> {
        let m = lambda.len();
        domain.project(lambda);
        let mut gradient = vec![0.0; m];
        let mut value = objective(lambda, &mut gradient)?;
        let mut pairs: VecDeque<Pair> = VecDeque::new();
        let mut recent = VecDeque::from([value]);
        let (mut trial, mut trial_gradient) = (lambda.to_vec(), vec![0.0; m]);
        let mut iteration = 0;
        loop {
            let projected_gradient = domain.projected_gradient_norm(lambda, &gradient);
            let state = LbfgsIteration { iteration, objective: value, projected_gradient, lambda };
            if observe(state).is_break() {
                return Ok((value, LbfgsEnd::Stopped));
            }
            if projected_gradient <= self.tolerance * value.abs() {
                return Ok((value, LbfgsEnd::Converged));
            }
            if recent.len() > STALL_WINDOW {
                let before = recent.pop_front().unwrap_or(value);
                if before - value <= self.stall * value.abs() {
                    return Ok((value, LbfgsEnd::Stalled));
                }
            }
            if iteration == self.iterations {
                return Ok((value, LbfgsEnd::IterationLimit));
            }
            let free: Vec<bool> = (0..m)
                .map(|j| {
                    !(lambda[j] <= domain.lower()[j] && gradient[j] > 0.0
                        || lambda[j] >= domain.upper()[j] && gradient[j] < 0.0)
                })
                .collect();
            let mut direction = quasi_newton_direction(&gradient, &free, &pairs);
            if pairs.is_empty() {
                // Nothing is known of the scale: move the steepest coordinate by one unit.
                vector::scale(1.0 / vector::max_abs(&direction).max(f64::MIN_POSITIVE), &mut direction);
            }
            let longest = vector::max_abs(&direction);
            if longest > self.largest_move {
                vector::scale(self.largest_move / longest, &mut direction);
            }
            let mut length = 1.0;
            let mut accepted = None;
            for _ in 0..BACKTRACKS {
                for j in 0..m {
                    trial[j] = lambda[j] + length * direction[j];
                }
                domain.project(&mut trial);
                let slope: f64 = (0..m).map(|j| gradient[j] * (trial[j] - lambda[j])).sum();
                if slope >= 0.0 {
                    break;
                }
                match objective(&trial, &mut trial_gradient) {
                    Ok(v) if v <= value + 1e-4 * slope && vector::all_finite(&trial_gradient) => {
                        accepted = Some(v);
                        break;
                    }
                    // The minimum of the parabola through value, slope and trial value, kept away from both ends.
                    Ok(v) if v.is_finite() => {
                        length *= (-0.5 * slope / (v - value - slope)).clamp(0.1, 0.5);
                    }
                    Ok(_) => length *= 0.1,
                    Err(error) if error.is_numeric() => length *= 0.1,
                    Err(error) => return Err(error),
                }
            }
            let Some(new_value) = accepted else {
                if pairs.is_empty() {
                    return Ok((value, LbfgsEnd::Stalled));
                }
                // The model was wrong: forget it and follow the gradient.
                pairs.clear();
                iteration += 1;
                continue;
            };
            let mut pair = Pair { step: vec![0.0; m], change: vec![0.0; m] };
            vector::subtract(&trial, lambda, &mut pair.step);
            vector::subtract(&trial_gradient, &gradient, &mut pair.change);
            let curvature = vector::dot(&pair.step, &pair.change);
            if curvature > 1e-10 * vector::norm(&pair.step) * vector::norm(&pair.change) {
                pairs.push_back(pair);
                if pairs.len() > self.memory {
                    pairs.pop_front();
                }
            }
            lambda.copy_from_slice(&trial);
            std::mem::swap(&mut gradient, &mut trial_gradient);
            value = new_value;
            recent.push_back(value);
            iteration += 1;
        }
    }
}

/// A step and the change of the gradient along it.
struct Pair {
    step: Vec<f64>,
    change: Vec<f64>,
}

/// `-H g` on the free coordinates, zero on the others (two-loop recursion).
fn quasi_newton_direction(gradient: &[f64], free: &[bool], pairs: &VecDeque<Pair>) -> Vec<f64> {
    let free_dot = |x: &[f64], y: &[f64]| -> f64 {
        x.iter().zip(y).zip(free).map(|((x, y), &free)| if free { x * y } else { 0.0 }).sum()
    };
    let mut direction: Vec<f64> = gradient.iter().zip(free).map(|(g, &free)| if free { -g } else { 0.0 }).collect();
    let mut used = Vec::with_capacity(pairs.len());
    for pair in pairs.iter().rev() {
        let curvature = free_dot(&pair.step, &pair.change);
        if curvature <= 1e-12 * free_dot(&pair.change, &pair.change).sqrt() * free_dot(&pair.step, &pair.step).sqrt() {
            continue;
        }
        let factor = free_dot(&pair.step, &direction) / curvature;
        vector::axpy(-factor, &pair.change, &mut direction);
        used.push((pair, curvature, factor));
    }
    if let Some((pair, curvature, _)) = used.first() {
        vector::scale(curvature / free_dot(&pair.change, &pair.change), &mut direction);
    }
    for (pair, curvature, factor) in used.into_iter().rev() {
        let other = free_dot(&pair.change, &direction) / curvature;
        vector::axpy(factor - other, &pair.step, &mut direction);
    }
    direction.iter_mut().zip(free).for_each(|(d, &free)| {
        if !free {
            *d = 0.0;
        }
    });
    direction
}
