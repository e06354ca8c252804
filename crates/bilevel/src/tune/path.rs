//! From one penalty to many: candidates coarse to fine, each started from the one before.

use super::context::{Context, Spec};
use super::objective::{Engine, FoldRisks, Objective, apply_law, fit};
use super::options::Penalties;
use super::prior::Prior;
use super::relevance::relevance;
use super::shared::best_shared;
use super::stochastic::{descend_stochastic, sampled_method, scan_starts};
use crate::Result;
use crate::data::Groups;
use crate::domain::Domain;
use crate::optimize::{BoundedLbfgs, Evaluation, Iteration, StopReason};
use crate::problems::glm::{EmpiricalRisk, Penalty};

/// One division of the rows: folds that steer, rows that are fitted in the end, rows that only look on.
#[derive(Debug, Clone)]
pub(super) struct Division<'a> {
    pub folds: Vec<FoldRisks<'a>>,
    pub refit: EmpiricalRisk<'a>,
    pub monitor: Option<EmpiricalRisk<'a>>,
}

/// A candidate after tuning.
#[derive(Debug, Clone)]
pub(super) struct Tried {
    pub spec: Spec,
    pub penalty: Penalty,
    pub lambda: Vec<f64>,
    /// The criterion, without the pull.
    pub criterion: f64,
    pub train_loss: f64,
    /// Parameters fitted on the refit rows.
    pub w: Vec<f64>,
    /// Parameters of the folds.
    pub fold_w: Vec<Vec<f64>>,
    /// Loss of each monitor row.
    pub monitor: Option<Vec<f64>>,
    pub end: StopReason,
}

/// What stays the same along a path.
pub(super) struct Model<'m> {
    pub groups: &'m Groups,
    pub features: usize,
    pub outputs: usize,
    pub engine: Engine,
    /// Scale of the criterion as a negative log-likelihood: 1 where it is one.
    pub likelihood: bool,
}

impl Model<'_> {
    pub(super) fn penalty(&self, penalties: Penalties) -> Penalty {
        match penalties {
            Penalties::Auto | Penalties::Shared => Penalty::Shared,
            Penalties::PerGroup => {
                Penalty::PerGroup { of_feature: self.groups.of_feature.clone(), groups: self.groups.len() }
            }
            Penalties::PerClass => Penalty::PerClass { outputs: self.outputs },
            Penalties::PerFeature => Penalty::PerFeature { features: self.features },
        }
    }

    /// The hyperparameters of `finer` that make the same penalties as `lambda` of `coarser`.
    fn refine(&self, coarser: &Tried, finer: &Penalty) -> Vec<f64> {
        let m = finer.hyperparameters();
        match (&coarser.penalty, finer) {
            (Penalty::Shared, _) => vec![coarser.lambda[0]; m],
            (Penalty::PerGroup { of_feature, .. }, Penalty::PerFeature { .. }) => {
                of_feature.iter().map(|&g| coarser.lambda[g as usize]).collect()
            }
            (same, finer) if same == finer => coarser.lambda.clone(),
            _ => vec![coarser.lambda.iter().sum::<f64>() / coarser.lambda.len() as f64; m],
        }
    }
}

/// Tunes the specs in order. Each starts from the last one it refines: the same kind of penalty before it, else the last
/// per-group one for per-feature, else the shared one, which must come first.
pub(super) fn run_path(
    division: &Division<'_>,
    specs: &[Spec],
    model: &Model<'_>,
    context: &mut Context<'_>,
) -> Result<Vec<Tried>> {
    let mut tried: Vec<Tried> = Vec::new();
    let mut knees: Vec<f64> = Vec::new();
    let mut previous: Option<(Penalty, Objective<'_>)> = None;
    for &spec in specs {
        if context.must_stop() && !tried.is_empty() {
            break;
        }
        let penalty = model.penalty(spec.penalties);
        let mut objective = Objective::new(&division.folds, &penalty, model.engine);
        if let Some((_, before)) = &previous {
            objective.start_from(before);
        }
        let outcome = if spec.adaptive {
            let relevance = |risk: &EmpiricalRisk<'_>, w: &[f64]| relevance(risk, &penalty, tried[0].lambda[0], w);
            let of_folds = division.folds.iter().zip(&tried[0].fold_w).map(|(f, w)| relevance(&f.fitted, w)).collect();
            let bounds = context.options.lambda_bounds;
            objective = objective.with_law(of_folds, bounds);
            descend_law(&mut objective, spec, tried[0].lambda[0], context).map(|(theta, value, end)| {
                let b = relevance(&division.refit, &tried[0].w);
                let lambda = apply_law(&theta, &b).iter().map(|l| l.clamp(bounds.0, bounds.1)).collect();
                eprintln!("   law {:?} exponent {:.3}", spec.penalties, theta[1]);
                (lambda, value, end)
            })
        } else if let Some(method) = sampled_method(context.options.method)
            && spec.penalties == Penalties::Shared
        {
            let (low, high) = context.options.lambda_bounds;
            let starts = scan_starts(low, high);
            descend_stochastic(division, &penalty, spec, starts, None, method, context)
        } else if spec.penalties == Penalties::Shared {
            best_shared(&mut objective, context).map(|found| {
                knees = found.knees;
                (vec![found.lambda], found.value, StopReason::Stationary)
            })
        } else {
            let start = tried
                .iter()
                .rev()
                .find(|t| t.spec.penalties == spec.penalties && !t.spec.adaptive)
                .or_else(|| {
                    let grouped = |t: &&Tried| t.spec.penalties == Penalties::PerGroup && !t.spec.adaptive;
                    tried.iter().rev().find(grouped).filter(|_| spec.penalties == Penalties::PerFeature)
                })
                .or(tried.first());
            let Some(start) = start else { unreachable!("a path starts with a shared penalty") };
            let mut starts = vec![model.refine(start, &penalty)];
            if start.spec == Spec::SHARED {
                let weaker = knees.iter().filter(|knee| **knee > tried[0].lambda[0] + 1.0);
                starts.extend(weaker.map(|&knee| vec![knee; penalty.hyperparameters()]));
            }
            if let Some(method) = sampled_method(context.options.method) {
                let steering: usize = division.folds.iter().map(|fold| fold.judging.len()).sum();
                let dispersion = if model.likelihood { 1.0 } else { 2.0 * tried[0].criterion.abs() };
                let prior = Prior::new(&penalty, &model.groups.of_feature, spec.spread, dispersion, steering);
                descend_stochastic(division, &penalty, spec, starts, Some(&prior), method, context)
            } else {
                descend(&mut objective, spec, &penalty, starts, tried[0].criterion, division, model, context)
            }
        };
        context.work += objective.work();
        match outcome {
            Ok((lambda, value, end)) => {
                let criterion = if spec.adaptive {
                    value
                } else {
                    let mut ignored = vec![0.0; lambda.len()];
                    objective.evaluate(&lambda, &mut ignored)?
                };
                let from = tried.last().map_or_else(|| division.refit.null_parameters(), |t| t.w.clone());
                let (w, work) = fit(&division.refit, &penalty, &lambda, model.engine, &from)?;
                context.work += work;
                tried.push(Tried {
                    spec,
                    monitor: division.monitor.as_ref().map(|rows| rows.row_values(&w)),
                    train_loss: objective.train_loss(),
                    fold_w: objective.parameters().map(<[f64]>::to_vec).collect(),
                    penalty: penalty.clone(),
                    lambda,
                    criterion,
                    w,
                    end,
                });
                previous = Some((penalty, objective));
            }
            // A candidate that cannot be computed is left out; the shared one must succeed.
            Err(error) if error.is_numeric() && !tried.is_empty() => {}
            Err(error) => return Err(error),
        }
    }
    Ok(tried)
}

/// Iterations from each of several starts before the best is followed to the end.
const TRIAL_ITERATIONS: usize = 8;

#[allow(clippy::too_many_arguments)]
fn descend(
    objective: &mut Objective<'_>,
    spec: Spec,
    penalty: &Penalty,
    starts: Vec<Vec<f64>>,
    reference: f64,
    division: &Division<'_>,
    model: &Model<'_>,
    context: &mut Context<'_>,
) -> Result<(Vec<f64>, f64, StopReason)> {
    let (low, high) = context.options.lambda_bounds;
    let domain = Domain::uniform(penalty.hyperparameters(), low, high)?;
    let steering: usize = division.folds.iter().map(|fold| fold.judging.len()).sum();
    let dispersion = if model.likelihood { 1.0 } else { 2.0 * reference.abs() };
    let prior = Prior::new(penalty, &model.groups.of_feature, spec.spread, dispersion, steering);
    let forced = spec.spread.is_infinite() && context.options.penalties != Penalties::Auto;
    let limits = context.options.limits;
    let lbfgs = BoundedLbfgs {
        iterations: if forced { limits.iterations } else { limits.iterations.min(40) },
        tolerance: if forced { limits.tolerance } else { limits.tolerance * 10.0 },
        stall: if forced { 1e-6 } else { 1e-5 },
        ..BoundedLbfgs::default()
    };
    let mut run = |lbfgs: BoundedLbfgs, lambda: &mut Vec<f64>| {
        // The observer sees what the objective knows after its last evaluation.
        let seen = std::cell::Cell::new((f64::NAN, f64::NAN, crate::work::Work::default()));
        let start = lambda.clone();
        lbfgs.minimize(
            &mut |lambda: &[f64], _: usize| -> Result<Evaluation> {
                let mut gradient = vec![0.0; lambda.len()];
                let criterion = objective.evaluate(lambda, &mut gradient)?;
                seen.set((criterion, objective.train_loss(), objective.work()));
                let objective = criterion + prior.add(lambda, &mut gradient);
                // The work is counted by the objective.
                Ok(Evaluation { objective, gradient, work: crate::work::Work::default() })
            },
            &domain,
            &start,
            &mut |at: &Iteration<'_>| {
                let (criterion, train_loss, work) = seen.get();
                context.iteration(spec, at.number, criterion, train_loss, at.projected_gradient_norm, work)
            },
        ).map(|outcome| {
            *lambda = outcome.lambda;
            (outcome.objective, outcome.reason)
        })
    };
    let mut best: Option<(f64, Vec<f64>)> = None;
    if starts.len() == 1 {
        best = starts.into_iter().next().map(|start| (f64::INFINITY, start));
    } else {
        let trial = BoundedLbfgs { iterations: TRIAL_ITERATIONS, ..lbfgs };
        for mut lambda in starts {
            let (value, _) = run(trial, &mut lambda)?;
            if best.as_ref().is_none_or(|(least, _)| value < *least) {
                best = Some((value, lambda));
            }
        }
    }
    let Some((_, mut lambda)) = best else { unreachable!("there is at least one start") };
    let (value, end) = run(lbfgs, &mut lambda)?;
    Ok((lambda, value, end))
}

/// Minimises the criterion over `theta = (level, exponent)` of the relevance law, from the best shared penalty.
fn descend_law(
    objective: &mut Objective<'_>,
    spec: Spec,
    level: f64,
    context: &mut Context<'_>,
) -> Result<(Vec<f64>, f64, StopReason)> {
    let (low, high) = context.options.lambda_bounds;
    let domain = Domain::bounded(vec![low, 0.0], vec![high, LARGEST_EXPONENT])?;
    let limits = context.options.limits;
    let lbfgs = BoundedLbfgs {
        iterations: limits.iterations.min(40),
        tolerance: limits.tolerance * 10.0,
        stall: 1e-5,
        largest_move: 1.0,
        ..BoundedLbfgs::default()
    };
    let seen = std::cell::Cell::new((f64::NAN, f64::NAN, crate::work::Work::default()));
    let outcome = lbfgs.minimize(
        &mut |theta: &[f64], _: usize| -> Result<Evaluation> {
            let mut gradient = vec![0.0; theta.len()];
            let criterion = objective.evaluate(theta, &mut gradient)?;
            seen.set((criterion, objective.train_loss(), objective.work()));
            Ok(Evaluation { objective: criterion, gradient, work: crate::work::Work::default() })
        },
        &domain,
        &[level, 0.5],
        &mut |at: &Iteration<'_>| {
            let (criterion, train_loss, work) = seen.get();
            context.iteration(spec, at.number, criterion, train_loss, at.projected_gradient_norm, work)
        },
    )?;
    Ok((outcome.lambda, outcome.objective, outcome.reason))
}

/// Exponents of the relevance law: 1 is one step of automatic relevance determination, 2 of the adaptive lasso.
const LARGEST_EXPONENT: f64 = 3.0;
