//! Tuning by estimated hypergradients: SID, and batch fixed-point iteration.
//!
//! The estimates are noisy, so the upper level takes projected Adam steps instead of quasi-Newton ones. They are biased,
//! too: with weak penalties a lower variable on its way to the minimum often judges better than the minimum itself (that
//! is early stopping). So a few iterates along the way are kept beside the one that looked best, and exact fits decide
//! between them.

use rayon::prelude::*;

use super::context::{Context, Spec, Step, Stop};
use super::engine::{Engine, Solving};
use super::fitted::Fitted;
use super::objective::{Objective, Settled};
use super::options::Method;
use super::path::Division;
use super::prior::Prior;
use super::sampled_fold::SampledFold;
use crate::domain::Domain;
use crate::optimize::{Evaluation, Iteration, Limits, Oracle, OuterStep, ProjectedGradient, StopReason};
use crate::problems::glm::Penalty;
use crate::stop::StopSignal;
use crate::work::Work;
use crate::{Error, Result, vector};

/// Distance of the shared log-penalties that are looked at first.
const SCAN_STEP: f64 = 2.0;
/// First move of each log-penalty; the moves fall like `1/sqrt(s)`.
const OUTER_STEP: f64 = 0.5;
/// Iterations between two looks at the criterion over all judging rows, where an estimate does not visit them all.
const LOOK_EVERY: usize = 5;
/// Iterations without an improvement after which the tuning ends.
const PATIENCE: usize = 30;
/// Relative improvement that counts.
const IMPROVEMENT: f64 = 1e-4;
/// Starts of which exact fits choose one.
const CONFIRMED_STARTS: usize = 3;
/// How the exact fits are made.
const CONFIRMING: Engine = Engine::Iterative { tolerance: 1e-6 };
/// Streams of different folds are this far apart.
const FOLD_SEED: u64 = 0x9e37_79b9_7f4a_7c15;

/// The criterion of all folds as an oracle that remembers its best point.
struct SampledObjective<'a, 'p> {
    folds: Vec<SampledFold<'a>>,
    method: Method,
    prior: Option<&'p Prior>,
    stop: StopSignal,
    /// The criterion with the pull at the best point seen, and the point.
    best: Option<(f64, Vec<f64>)>,
    /// The criterion at the last look, without the pull.
    seen: f64,
}

impl SampledObjective<'_, '_> {
    fn work(&self) -> Work {
        self.folds.iter().map(|fold| fold.work).sum()
    }

    /// The last evaluation, which was at `lambda`, with the sampled fits of the folds.
    fn settled<'s>(&self, lambda: Vec<f64>) -> Settled<'s> {
        let folds = self.folds.iter().map(|fold| Fitted::Weights(fold.weights().to_vec()));
        Settled { lambda, value: self.seen, folds: folds.collect() }
    }

    /// What is known after the last evaluation.
    fn step(&self) -> Step {
        let unknown = f64::NAN;
        Step {
            iteration: 0,
            validation_loss: self.seen,
            train_loss: unknown,
            projected_gradient: unknown,
            work: self.work(),
        }
    }
}

impl Oracle for SampledObjective<'_, '_> {
    fn evaluate(&mut self, lambda: &[f64], number: usize) -> Result<Evaluation> {
        let (before, method, stop) = (self.work(), self.method, &self.stop);
        let look = number.is_multiple_of(LOOK_EVERY);
        let parts: Vec<Result<_>> = self
            .folds
            .par_iter_mut()
            .map(|fold| {
                let estimate = fold.estimate(lambda, method, number as u64, stop)?;
                let criterion = match fold.judges_fully() {
                    true => Some(estimate.objective),
                    false => look.then(|| fold.criterion()),
                };
                Ok((fold.share, estimate.value, criterion))
            })
            .collect();
        let mut gradient = vec![0.0; lambda.len()];
        let mut criterion = Some(0.0);
        for part in parts {
            let (share, value, seen) = part?;
            vector::axpy(share, &value, &mut gradient);
            criterion = criterion.zip(seen).map(|(sum, seen)| sum + share * seen);
        }
        let pull = self.prior.map_or(0.0, |prior| prior.add(lambda, &mut gradient));
        if let Some(criterion) = criterion {
            self.seen = criterion;
            let objective = criterion + pull;
            if objective.is_finite() && self.best.as_ref().is_none_or(|(best, _)| objective < *best) {
                self.best = Some((objective, lambda.to_vec()));
            }
        }
        // Only what this call has cost: the loop adds up.
        Ok(Evaluation::new(self.seen + pull, gradient, self.work() - before))
    }
}

/// The method, if it is one of those that [`descend_stochastic`] runs.
pub(super) fn sampled_method(method: Method) -> Option<Method> {
    (!matches!(method, Method::Auto | Method::Exact | Method::AidCg)).then_some(method)
}

/// Starts for a shared log-penalty, strong to weak: each solution is a good start for the next.
pub(super) fn scan_starts((low, high): (f64, f64)) -> Vec<Vec<f64>> {
    let count = ((high - low) / SCAN_STEP).ceil().max(1.0) as usize;
    (0..=count).map(|i| vec![high + (low - high) * i as f64 / count as f64]).collect()
}

/// Tunes the hyperparameters of `penalty` from the best of `starts`; `kept_by` keeps the fits of what was found.
///
/// The result depends on the seed and not on the number of threads.
///
/// # Errors
/// Those of the first start, when no hypergradient can be estimated.
#[allow(clippy::too_many_arguments)]
pub(super) fn descend_stochastic<'a>(
    kept_by: &mut Objective<'a>,
    division: &Division<'a>,
    penalty: &Penalty,
    spec: Spec,
    starts: Vec<Vec<f64>>,
    prior: Option<&Prior>,
    method: Method,
    context: &mut Context<'_>,
) -> Result<(Vec<f64>, StopReason)> {
    let options = context.options;
    let (low, high) = context.bounds;
    let domain = Domain::uniform(penalty.hyperparameters(), low, high)?;
    let total: f64 = division.folds.iter().map(|fold| fold.judging.total_weight()).sum();
    let folds = division.folds.iter().enumerate().map(|(index, fold)| {
        let share = fold.judging.total_weight() / total;
        SampledFold::new(fold, penalty, share, options.seed ^ (index as u64).wrapping_mul(FOLD_SEED))
    });
    let stop = context.signal.clone();
    let mut objective = SampledObjective { folds: folds.collect(), method, prior, stop, best: None, seen: f64::NAN };

    // One look at each start; numbers that are multiples of the period make it a full one.
    let mut looks: Vec<(f64, Vec<f64>)> = Vec::new();
    let (mut sampled, mut least) = (None, f64::INFINITY);
    for (number, mut start) in starts.into_iter().enumerate() {
        domain.project(&mut start);
        match objective.evaluate(&start, number * LOOK_EVERY) {
            Ok(at) => {
                if at.objective < least {
                    least = at.objective;
                    sampled = Some(objective.settled(start.clone()));
                }
                looks.push((at.objective, start));
            }
            Err(error) if error.is_numeric() && !looks.is_empty() => {}
            Err(error) => return Err(error),
        }
        let flow = context.iteration(spec, &Step { iteration: number, ..objective.step() });
        if flow.is_break() {
            break;
        }
    }
    let first = looks.len();
    looks.sort_by(|a, b| a.0.total_cmp(&b.0));
    looks.truncate(CONFIRMED_STARTS);
    let mut exact = Exact {
        objective: Objective::new(&division.folds, penalty, Solving::until(CONFIRMING, context.signal.clone())),
        prior,
        best: None,
    };
    match (exact.confirm(looks.into_iter().map(|(_, start)| start), context), sampled) {
        // Nobody waits for an exact fit, or it took too long: the sampled one is kept.
        (Err(error), Some(sampled)) if error.is_interrupted() => {
            context.work += objective.work() + exact.objective.work();
            let lambda = sampled.lambda.clone();
            kept_by.keep_settled(sampled);
            let reason = if context.was_asked() { StopReason::Interrupted } else { StopReason::TimeLimit };
            return Ok((lambda, reason));
        }
        (confirmed, _) => confirmed?,
    }
    let Some((_, _, start)) = exact.best.clone() else { unreachable!("the first start is confirmed or an error") };

    let mut kept = Vec::new();
    let mut reason = StopReason::Interrupted;
    if !context.must_stop() {
        objective.best = None;
        let seen = std::cell::Cell::new(Step::default());
        let mut oracle = |lambda: &[f64], number: usize| {
            let evaluation = objective.evaluate(lambda, first * LOOK_EVERY + number);
            seen.set(objective.step());
            evaluation
        };
        let mut observer = |at: &Iteration<'_>| {
            if at.number > 1 && at.number.is_power_of_two() {
                kept.push(at.lambda.to_vec());
            }
            let (iteration, projected_gradient) = (first + at.number, at.projected_gradient_norm);
            context.iteration(spec, &Step { iteration, projected_gradient, ..seen.get() })
        };
        let limits = Limits {
            iterations: options.limits.iterations,
            gradient_tolerance: 0.0,
            patience: PATIENCE,
            improvement: IMPROVEMENT,
            ..Limits::default()
        };
        let step = OuterStep::adam(OUTER_STEP);
        reason = match (ProjectedGradient { step, limits }).minimize(&mut oracle, &domain, &start, &mut observer) {
            Ok(outcome) => outcome.reason,
            // What was confirmed before stands, as does what looked best on the way.
            Err(error) if error.is_numeric() => {
                let (penalties, name) = (spec.penalties.name(), kept_by.engine().name(method));
                context.note(format!(
                    "the search of {penalties} penalties by {name} ended where a hypergradient could not be computed, \
                     with the best until then; the usual method does not depend on step sizes"
                ));
                StopReason::Stalled
            }
            Err(error) => return Err(error),
        };
    }
    let looked_best = objective.best.take().map(|(_, lambda)| lambda);
    exact.confirm(looked_best.into_iter().chain(kept), context)?;
    context.work += objective.work() + exact.objective.work();
    let reason = match context.stopped() {
        Some(Stop::Time) => StopReason::TimeLimit,
        Some(Stop::Interrupted) => StopReason::Interrupted,
        None => reason,
    };
    kept_by.keep_from(exact.objective);
    Ok((exact.best.map_or(start, |(_, _, lambda)| lambda), reason))
}

/// The criterion by exact fits, and the best point so far: with the pull, without it, and the point.
struct Exact<'a, 'p> {
    objective: Objective<'a>,
    prior: Option<&'p Prior>,
    best: Option<(f64, f64, Vec<f64>)>,
}

impl Exact<'_, '_> {
    /// Fits at each of `points`, the most promising first, as long as there is time.
    fn confirm(&mut self, points: impl Iterator<Item = Vec<f64>>, context: &mut Context<'_>) -> Result<()> {
        for lambda in points {
            if self.best.is_some() && context.must_stop() {
                break;
            }
            let mut ignored = vec![0.0; lambda.len()];
            let mut evaluated = self.objective.evaluate(&lambda, &mut ignored);
            // Without a first fit there is nothing: it is made in haste, in the time that was put aside.
            let cut_short = self.best.is_none() && evaluated.as_ref().is_err_and(Error::is_interrupted);
            if let Some(solving) = cut_short.then(|| context.afterwards(CONFIRMING)).flatten() {
                self.objective.solve_as(solving);
                evaluated = self.objective.evaluate(&lambda, &mut ignored);
            }
            match evaluated {
                Ok(criterion) => {
                    let value = criterion + self.prior.map_or(0.0, |prior| prior.add(&lambda, &mut ignored));
                    if self.best.as_ref().is_none_or(|(best, ..)| value < *best) {
                        self.best = Some((value, criterion, lambda));
                        self.objective.keep();
                    }
                }
                Err(error) if (error.is_numeric() || error.is_interrupted()) && self.best.is_some() => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}
