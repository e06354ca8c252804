//! Limited-memory quasi-Newton minimisation over a box, for deterministic hypergradients.
//!
//! The upper objective is smooth but not convex, each evaluation is a whole lower-level solve, and many log-penalties
//! end at their bounds. So: the two-loop recursion on the free coordinates (those not held at a bound by the gradient),
//! projected backtracking, pairs kept only where curvature is positive, and a cap on the move of any log-penalty, since
//! a step of 10 would change a penalty by a factor of 20 000. (Bertsekas 1982; Nocedal & Wright, sections 7.2 and 16.7.)

use std::collections::VecDeque;
use std::time::Instant;

use super::iteration::Iteration;
use super::oracle::{Evaluation, Oracle};
use super::outcome::{Outcome, StopReason};
use crate::domain::Domain;
use crate::error::{Error, Result};
use crate::observer::Observer;
use crate::vector;
use crate::work::Work;

/// Settings.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct BoundedLbfgs {
    /// Pairs of steps and gradient differences that are remembered.
    pub memory: usize,
    /// Largest number of iterations.
    pub iterations: usize,
    /// Stop when the largest component of the projected gradient of the objective, divided by its value, is below this.
    pub tolerance: f64,
    /// Stop when five iterations together lower the objective by less than this fraction.
    pub stall: f64,
    /// Relative accuracy of the objective: steps that promise a decrease below that are not tried, since it could not be seen.
    pub accuracy: f64,
    /// Largest change of any coordinate in one iteration.
    pub largest_move: f64,
    /// The first model of the Hessian: the unit matrix, or with a floor `r` the diagonal `|g_j| + r max |g|` of the
    /// first gradient. In logarithms curvature and slope of a coordinate have one scale, and where that differs by many
    /// powers of ten, as over the words of texts, the memory is too short to learn it.
    pub first_scale: Option<f64>,
}

impl Default for BoundedLbfgs {
    fn default() -> Self {
        BoundedLbfgs {
            memory: 20,
            iterations: 200,
            tolerance: 1e-5,
            stall: 1e-5,
            accuracy: 0.0,
            largest_move: 3.0,
            first_scale: None,
        }
    }
}

/// Iterations over which a stall is judged.
const STALL_WINDOW: usize = 5;
/// Shortenings of a step before the search gives up.
const BACKTRACKS: usize = 20;

impl BoundedLbfgs {
    /// Minimises from `start`, which is projected onto the domain first.
    ///
    /// A trial point at which the oracle fails numerically, or gives numbers that are not finite, shortens the step. The
    /// observer sees the start and every accepted point.
    ///
    /// # Errors
    /// Input, for a start of the wrong length or not finite, or a largest move that is not positive; the oracle's error at the
    /// start, and any later one that is neither numeric nor an interruption.
    pub fn minimize(
        &self,
        oracle: &mut (impl Oracle + ?Sized),
        domain: &Domain,
        start: &[f64],
        observer: &mut dyn for<'e> Observer<Iteration<'e>>,
    ) -> Result<Outcome> {
        if start.len() != domain.len() || !vector::all_finite(start) {
            return Err(Error::input(format!("the start must have {} finite components", domain.len())));
        }
        if self.largest_move.is_nan() || self.largest_move <= 0.0 {
            return Err(Error::input(format!("a largest move of {} leads nowhere", self.largest_move))
                .remedy("use a positive number, or infinity for none"));
        }
        let clock = Instant::now();
        let mut lambda = start.to_vec();
        domain.project(&mut lambda);
        let mut calls = Calls { oracle, length: lambda.len(), count: 0, work: Work::default() };
        let Evaluation { objective, gradient, w, .. } = calls.evaluate(&lambda)?;
        let mut at = Point { lambda, objective, gradient, w };
        let mut model = Model::new(self, &at.gradient);
        let mut recent = VecDeque::from([at.objective]);
        let mut iterations = 0;
        let reason = loop {
            let seen = Iteration {
                number: iterations,
                objective: at.objective,
                projected_gradient_norm: domain.projected_gradient_norm(&at.lambda, &at.gradient),
                lambda: &at.lambda,
                work: calls.work,
                seconds: clock.elapsed().as_secs_f64(),
            };
            if observer.observe(&seen).is_break() {
                break StopReason::Interrupted;
            }
            if let Some(reason) = self.finished(domain, &at, &mut recent, iterations) {
                break reason;
            }
            match self.search(domain, &at, &model.direction(domain, &at), &mut calls)? {
                Search::Lower(next) => {
                    model.learn(&at, &next);
                    at = next;
                    recent.push_back(at.objective);
                }
                // The model was wrong: forget it and follow the gradient.
                Search::Nothing if !model.pairs.is_empty() => model.pairs.clear(),
                Search::Nothing => break StopReason::Stalled,
                Search::Interrupted => break StopReason::Interrupted,
            }
            iterations += 1;
        };
        let Point { lambda, objective, gradient, w } = at;
        Ok(Outcome { lambda, objective, gradient, w, iterations, reason, work: calls.work })
    }

    /// Why no further iteration is made, if none is; `recent` objectives are shortened to those that a stall is judged by.
    fn finished(
        &self,
        domain: &Domain,
        at: &Point,
        recent: &mut VecDeque<f64>,
        iterations: usize,
    ) -> Option<StopReason> {
        let scale = at.objective.abs();
        if domain.relative_projected_gradient_norm(&at.lambda, &at.gradient, scale) <= self.tolerance {
            return Some(StopReason::Stationary);
        }
        if recent.len() > STALL_WINDOW {
            let before = recent.pop_front().unwrap_or(at.objective);
            if before - at.objective <= self.stall * scale {
                return Some(StopReason::Stalled);
            }
        }
        (iterations == self.iterations).then_some(StopReason::IterationLimit)
    }

    /// Projected backtracking along `direction`.
    fn search<O: Oracle + ?Sized>(
        &self,
        domain: &Domain,
        at: &Point,
        direction: &[f64],
        calls: &mut Calls<'_, O>,
    ) -> Result<Search> {
        let mut length = 1.0;
        for _ in 0..BACKTRACKS {
            let mut lambda = at.lambda.clone();
            vector::axpy(length, direction, &mut lambda);
            domain.project(&mut lambda);
            let moves = lambda.iter().zip(&at.lambda).map(|(trial, here)| trial - here);
            let slope: f64 = at.gradient.iter().zip(moves).map(|(g, step)| g * step).sum();
            if slope >= 0.0 || -slope < self.accuracy * at.objective.abs() {
                break;
            }
            match calls.evaluate(&lambda) {
                Ok(Evaluation { objective, gradient, w, .. }) if objective <= at.objective + 1e-4 * slope => {
                    return Ok(Search::Lower(Point { lambda, objective, gradient, w }));
                }
                // The minimum of the parabola through value, slope and trial value, kept away from both ends.
                Ok(trial) => length *= (-0.5 * slope / (trial.objective - at.objective - slope)).clamp(0.1, 0.5),
                Err(error) if error.is_numeric() => length *= 0.1,
                Err(error) if error.is_interrupted() => return Ok(Search::Interrupted),
                Err(error) => return Err(error),
            }
        }
        Ok(Search::Nothing)
    }
}

/// An accepted point.
struct Point {
    lambda: Vec<f64>,
    objective: f64,
    gradient: Vec<f64>,
    w: Option<Vec<f64>>,
}

/// What a search found.
enum Search {
    Lower(Point),
    Nothing,
    Interrupted,
}

/// The oracle and what its calls cost.
struct Calls<'o, O: ?Sized> {
    oracle: &'o mut O,
    /// Of `lambda`.
    length: usize,
    count: usize,
    work: Work,
}

impl<O: Oracle + ?Sized> Calls<'_, O> {
    fn evaluate(&mut self, lambda: &[f64]) -> Result<Evaluation> {
        self.count += 1;
        let evaluation = self.oracle.evaluate(lambda, self.count - 1)?;
        self.work += evaluation.work;
        match evaluation.gradient.len() == self.length {
            true => evaluation.finite(),
            false => {
                let (found, needed) = (evaluation.gradient.len(), self.length);
                Err(Error::input(format!("a gradient of {found} for {needed} components")))
            }
        }
    }
}

/// What is known of the Hessian.
struct Model {
    memory: usize,
    largest_move: f64,
    /// Diagonal of the inverse that it starts from, but for a factor.
    scales: Option<Vec<f64>>,
    pairs: VecDeque<Pair>,
}

impl Model {
    fn new(settings: &BoundedLbfgs, gradient: &[f64]) -> Self {
        let largest = vector::max_abs(gradient).max(f64::MIN_POSITIVE);
        let scale = |floor: f64| gradient.iter().map(|g| largest / (g.abs() + floor * largest)).collect();
        Model {
            memory: settings.memory,
            largest_move: settings.largest_move,
            scales: settings.first_scale.map(scale),
            pairs: VecDeque::new(),
        }
    }

    /// Where the minimum should be, in steps that are allowed.
    fn direction(&self, domain: &Domain, Point { lambda, gradient, .. }: &Point) -> Vec<f64> {
        let free: Vec<bool> = (0..lambda.len())
            .map(|j| {
                !(lambda[j] <= domain.lower()[j] && gradient[j] > 0.0
                    || lambda[j] >= domain.upper()[j] && gradient[j] < 0.0)
            })
            .collect();
        let mut direction = quasi_newton_direction(gradient, &free, &self.pairs, self.scales.as_deref());
        if self.pairs.is_empty() {
            // Nothing is known of the scale: move the steepest coordinate by one unit.
            vector::scale(1.0 / vector::max_abs(&direction).max(f64::MIN_POSITIVE), &mut direction);
        }
        let longest = vector::max_abs(&direction);
        if longest > self.largest_move {
            vector::scale(self.largest_move / longest, &mut direction);
        }
        direction
    }

    /// Remembers the step from one point to the next, where the gradient rises along it.
    fn learn(&mut self, from: &Point, to: &Point) {
        let mut pair = Pair { step: vec![0.0; from.lambda.len()], change: vec![0.0; from.lambda.len()] };
        vector::subtract(&to.lambda, &from.lambda, &mut pair.step);
        vector::subtract(&to.gradient, &from.gradient, &mut pair.change);
        let curvature = vector::dot(&pair.step, &pair.change);
        if curvature > 1e-10 * vector::norm(&pair.step) * vector::norm(&pair.change) {
            self.pairs.push_back(pair);
            if self.pairs.len() > self.memory {
                self.pairs.pop_front();
            }
        }
    }
}

/// A step and the change of the gradient along it.
struct Pair {
    step: Vec<f64>,
    change: Vec<f64>,
}

/// `-H g` on the free coordinates, zero on the others (two-loop recursion), where `H` starts from a multiple of the
/// diagonal `scales`.
fn quasi_newton_direction(gradient: &[f64], free: &[bool], pairs: &VecDeque<Pair>, scales: Option<&[f64]>) -> Vec<f64> {
    let rescale = |x: &mut [f64]| {
        if let Some(scales) = scales {
            x.iter_mut().zip(scales).for_each(|(x, s)| *x *= s);
        }
    };
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
        let mut change = pair.change.clone();
        rescale(&mut change);
        vector::scale(curvature / free_dot(&pair.change, &change), &mut direction);
    }
    rescale(&mut direction);
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
