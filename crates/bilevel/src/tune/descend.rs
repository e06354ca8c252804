//! The upper level of a tuning: bounded quasi-Newton on the criterion, free or along a law.

use super::context::{Context, Spec, Step};
use super::engine::Engine;
use super::objective::Objective;
use super::options::Penalties;
use super::outcome::Law;
use super::prior::Prior;
use crate::Result;
use crate::domain::Domain;
use crate::optimize::{BoundedLbfgs, Evaluation, Iteration, Outcome, StopReason};
use crate::work::Work;

/// Iterations from each of several starts before the best is followed to the end.
const TRIAL_ITERATIONS: usize = 4;
/// Iterations of a candidate that is one of many.
const CANDIDATE_ITERATIONS: usize = 40;
/// Penalties from which on the scale of each is taken from the first gradient, and the floor of those scales.
const MANY: usize = 10_000;
const SCALE_FLOOR: f64 = 0.01;
/// Exponents of the relevance law: 1 is one step of automatic relevance determination, 2 of the adaptive lasso.
const LARGEST_EXPONENT: f64 = 3.0;

/// Minimises the criterion plus the pull of `prior` over free log-penalties: a few iterations from each start, then on
/// from the best. Returns the hyperparameters and why the descent ended.
pub(super) fn descend(
    objective: &mut Objective<'_>,
    spec: Spec,
    starts: Vec<Vec<f64>>,
    prior: &Prior,
    context: &mut Context<'_>,
) -> Result<(Vec<f64>, StopReason)> {
    let (low, high) = context.bounds;
    let domain = Domain::uniform(starts[0].len(), low, high)?;
    let first_scale = (starts[0].len() >= MANY).then_some(SCALE_FLOOR);
    let lbfgs = BoundedLbfgs { first_scale, ..settings(spec, objective.engine(), context) };
    // Of all starts: what is kept is the best that was seen.
    let mut least = f64::INFINITY;
    let mut run = |lbfgs: BoundedLbfgs, start: &[f64]| {
        let pull = |lambda: &[f64], gradient: &mut [f64]| prior.add(lambda, gradient);
        minimize(lbfgs, objective, &domain, start, spec, context, &mut least, pull)
    };
    let (mut tried, mut ended) = (Vec::<Outcome>::new(), false);
    if starts.len() > 1 {
        let trial = BoundedLbfgs { iterations: TRIAL_ITERATIONS, ..lbfgs };
        for start in &starts {
            match run(trial, start) {
                Ok(outcome) => {
                    ended = outcome.reason == StopReason::Interrupted;
                    tried.push(outcome);
                    // Whoever ends the descent from one start wants none from another.
                    if ended {
                        break;
                    }
                }
                Err(error) if error.is_interrupted() && !tried.is_empty() => break,
                Err(error) => return Err(error),
            }
        }
    }
    let best = tried.into_iter().min_by(|a, b| a.objective.total_cmp(&b.objective));
    let outcome = match best {
        Some(best) if ended => Outcome { reason: StopReason::Interrupted, ..best },
        Some(best) => match run(lbfgs, &best.lambda) {
            Err(error) if error.is_interrupted() => Outcome { reason: StopReason::Interrupted, ..best },
            outcome => outcome?,
        },
        None => run(lbfgs, &starts[0])?,
    };
    Ok((outcome.lambda, outcome.reason))
}

/// Minimises the criterion over `theta = (level, exponent)` of the relevance law, from the best shared penalty.
pub(super) fn descend_law(
    objective: &mut Objective<'_>,
    spec: Spec,
    level: f64,
    context: &mut Context<'_>,
) -> Result<(Vec<f64>, StopReason)> {
    let (low, high) = context.bounds;
    let domain = Domain::bounded(vec![low, 0.0], vec![high, LARGEST_EXPONENT])?;
    let lbfgs = BoundedLbfgs { largest_move: 1.0, ..settings(spec, objective.engine(), context) };
    let mut least = f64::INFINITY;
    let outcome = minimize(lbfgs, objective, &domain, &[level, 0.5], spec, context, &mut least, |_, _| 0.0)?;
    Ok((outcome.lambda, outcome.reason))
}

/// A candidate among many is tuned less finely than the one that was asked for.
fn settings(spec: Spec, engine: Engine, context: &Context<'_>) -> BoundedLbfgs {
    let accuracy = engine.value_accuracy();
    let limits = context.options.limits;
    let asked_for = spec.law == Law::Free && context.options.penalties != Penalties::Auto;
    if asked_for {
        let (iterations, tolerance, usual) = (limits.iterations, limits.tolerance, BoundedLbfgs::default());
        BoundedLbfgs { iterations, tolerance, stall: usual.stall.min(tolerance), accuracy, ..usual }
    } else {
        BoundedLbfgs {
            iterations: limits.iterations.min(CANDIDATE_ITERATIONS),
            tolerance: limits.tolerance * 10.0,
            stall: 1e-5,
            accuracy,
            ..BoundedLbfgs::default()
        }
    }
}

/// `least` is the smallest value that was kept before.
#[allow(clippy::too_many_arguments)]
fn minimize(
    lbfgs: BoundedLbfgs,
    objective: &mut Objective<'_>,
    domain: &Domain,
    start: &[f64],
    spec: Spec,
    context: &mut Context<'_>,
    least: &mut f64,
    pull: impl Fn(&[f64], &mut [f64]) -> f64,
) -> Result<Outcome> {
    // The observer sees what the objective knows after its last evaluation.
    let seen = std::cell::Cell::new(Step::default());
    lbfgs.minimize(
        &mut |lambda: &[f64], _: usize| {
            let mut gradient = vec![0.0; lambda.len()];
            let criterion = objective.evaluate(lambda, &mut gradient)?;
            seen.set(Step {
                validation_loss: criterion,
                train_loss: objective.train_loss(),
                work: objective.work(),
                ..Step::default()
            });
            let value = criterion + pull(lambda, &mut gradient);
            if value <= *least {
                *least = value;
                objective.keep();
            }
            // The work is counted by the objective.
            Ok::<_, crate::Error>(Evaluation::new(value, gradient, Work::default()))
        },
        domain,
        start,
        &mut |at: &Iteration<'_>| {
            let step = Step { iteration: at.number, projected_gradient: at.projected_gradient_norm, ..seen.get() };
            context.iteration(spec, &step)
        },
    )
}
