//! From one penalty to many: candidates coarse to fine, each started from the one before.

use super::context::{Context, Spec};
use super::descend::{descend, descend_law};
use super::engine::{Engine, Solving};
use super::fit::fit;
use super::fitted::Fitted;
use super::objective::{FoldRisks, Objective, Settled, apply_law};
use super::options::Penalties;
use super::outcome::{CandidateRole, Law};
use super::prior::Prior;
use super::problem::penalty_of;
use super::relevance::relevance;
use super::shared::best_shared;
use super::stochastic::{descend_stochastic, sampled_method, scan_starts};
use crate::Result;
use crate::data::Groups;
use crate::optimize::StopReason;
use crate::problems::glm::{EmpiricalRisk, Penalty};
use crate::status::Status;

/// One division of the rows: folds that steer, rows that are fitted in the end, monitor rows.
#[derive(Debug, Clone)]
pub(super) struct Division<'a> {
    pub folds: Vec<FoldRisks<'a>>,
    pub refit: EmpiricalRisk<'a>,
    pub monitor: Option<EmpiricalRisk<'a>>,
}

/// How far a fit on the refit rows has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reach {
    /// To its end.
    Done,
    /// Some steps from the fit of the first fold, when the user asked to stop.
    Begun,
    /// That of the first fold: the user asked to stop before.
    Fold,
}

/// A candidate after tuning.
#[derive(Debug, Clone)]
pub(super) struct Tried<'a> {
    pub role: CandidateRole,
    pub spec: Spec,
    pub penalty: Penalty,
    pub lambda: Vec<f64>,
    /// The criterion, without the pull.
    pub criterion: f64,
    /// Parameters fitted on the refit rows, once they are needed.
    pub w: Option<Fitted<'a>>,
    /// What they are.
    pub reach: Reach,
    /// Parameters of the folds.
    pub fold_w: Vec<Fitted<'a>>,
    /// Loss of each monitor row.
    pub monitor: Option<Vec<f64>>,
    pub end: StopReason,
}

impl<'a> Tried<'a> {
    /// One penalty `lambda` for all, with its fits, where the time was over before anything better was found.
    pub(super) fn untuned(lambda: f64, criterion: f64, w: Option<Fitted<'a>>, fold_w: Vec<Fitted<'a>>) -> Self {
        Tried {
            role: CandidateRole::Untuned,
            spec: Spec::SHARED,
            penalty: Penalty::Shared,
            lambda: vec![lambda],
            criterion,
            w,
            reach: Reach::Done,
            fold_w,
            monitor: None,
            end: StopReason::TimeLimit,
        }
    }

    /// The parameters fitted on the refit rows of `division`, in haste once time is over; see [`Tried::reach`] for how near
    /// they are once the user has asked to stop.
    pub(super) fn refit(
        &mut self,
        division: &Division<'a>,
        engine: Engine,
        context: &mut Context<'_>,
    ) -> Result<&Fitted<'a>> {
        if self.w.is_none() {
            // The fold's fit is nearer than any other.
            let near = self.fold_w.first();
            let solving = context.afterwards(engine);
            let fitted = solving.map(|solving| fit(&division.refit, &self.penalty, &self.lambda, &solving, near));
            let w = match fitted {
                Some(Ok((w, info))) => {
                    context.work += info.map(|info| info.work).unwrap_or_default();
                    let ended = info.is_some_and(|info| info.status == Status::Converged || !context.was_asked());
                    self.reach = if ended { Reach::Done } else { Reach::Begun };
                    w
                }
                Some(Err(error)) if !error.is_interrupted() => return Err(error),
                Some(Err(_)) | None => {
                    self.reach = Reach::Fold;
                    near.cloned().unwrap_or_else(|| Fitted::Weights(division.refit.null_parameters()))
                }
            };
            self.w = Some(w);
        }
        let Some(w) = &self.w else { unreachable!("fitted above") };
        Ok(w)
    }

    /// What to say of parameters that are not those of a fit on all rows that came to its end.
    pub(super) fn cut_short(&self, division: &Division<'_>) -> Option<String> {
        let all = division.refit.len();
        let some = division.folds.first().map_or(all, |fold| fold.fitted.len());
        match self.reach {
            Reach::Done => None,
            // The fold has them all, as others judge.
            _ if some == all => None,
            Reach::Begun => Some(format!(
                "stopped before the fit on all {all} rows converged: the model is some steps from that on {some} of them"
            )),
            Reach::Fold => {
                Some(format!("stopped before the fit on all {all} rows: the model is that on {some} of them"))
            }
        }
    }
}

/// What stays the same along a path.
pub(super) struct Model<'m> {
    pub groups: &'m Groups,
    pub features: usize,
    pub outputs: usize,
    pub engine: Engine,
    /// Scale of the criterion as a negative log-likelihood: 1 where it is one.
    pub likelihood: bool,
    /// Log-penalties near which the search of a candidate begins, where some are known.
    pub known: Vec<(Spec, Vec<f64>)>,
}

impl Model<'_> {
    pub(super) fn penalty(&self, penalties: Penalties) -> Penalty {
        penalty_of(penalties, self.groups, self.features, self.outputs)
    }

    /// The log-penalties near which the search of `spec` begins, where some are known.
    fn known(&self, spec: Spec) -> Option<&[f64]> {
        self.known.iter().find(|(of, _)| *of == spec).map(|(_, lambda)| &lambda[..])
    }

    /// The last candidate that one with free or shrunk penalties of this kind refines.
    fn coarser<'t, 'a>(&self, tried: &'t [Tried<'a>], penalties: Penalties) -> Option<&'t Tried<'a>> {
        let last = |kind| tried.iter().rev().find(|t| t.spec.penalties == kind && t.spec.law != Law::Relevance);
        last(penalties).or_else(|| last(Penalties::PerGroup).filter(|_| penalties == Penalties::PerFeature))
    }

    /// The hyperparameters of `finer` that make the same penalties as `lambda` of `coarser`.
    fn refine(&self, coarser: &Tried<'_>, finer: &Penalty) -> Vec<f64> {
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
pub(super) fn run_path<'a>(
    division: &Division<'a>,
    specs: &[Spec],
    model: &Model<'_>,
    context: &mut Context<'_>,
) -> Result<Vec<Tried<'a>>> {
    let mut tried: Vec<Tried<'a>> = Vec::new();
    let mut knees: Vec<f64> = Vec::new();
    let mut previous: Option<Objective<'a>> = None;
    for &spec in specs {
        if context.must_stop() && !tried.is_empty() {
            break;
        }
        let penalty = model.penalty(spec.penalties);
        let solving = Solving::until(model.engine, context.signal.clone());
        let mut objective = Objective::new(&division.folds, &penalty, solving);
        if let Some(before) = previous.take() {
            objective.start_from(before);
        }
        let sampled = sampled_method(context.options.method);
        let known = model.known(spec);
        let outcome = match (tried.first(), spec.law) {
            (None, _) => match sampled {
                Some(method) => {
                    let starts = known.map_or_else(|| scan_starts(context.bounds), |known| vec![known.to_vec()]);
                    descend_stochastic(&mut objective, division, &penalty, spec, starts, None, method, context)
                }
                None => best_shared(&mut objective, known.map(|known| known[0]), context).map(|found| {
                    knees = found.knees;
                    (vec![found.lambda], found.reason)
                }),
            },
            (Some(shared), Law::Relevance) => {
                let relevance = |risk: &EmpiricalRisk<'_>, w: &[f64]| relevance(risk, &penalty, shared.lambda[0], w);
                let folds = division.folds.iter().zip(&shared.fold_w);
                objective = objective
                    .with_law(folds.map(|(f, w)| relevance(&f.fitted, &w.parameters())).collect(), context.bounds);
                descend_law(&mut objective, spec, shared.lambda[0], context)
            }
            (Some(shared), _) => {
                let start = model.coarser(&tried, spec.penalties).unwrap_or(shared);
                let mut starts = vec![known.map_or_else(|| model.refine(start, &penalty), <[f64]>::to_vec)];
                if known.is_none() && start.spec == Spec::SHARED && !objective.engine().is_steep() {
                    let stronger = knees.iter().filter(|knee| **knee > shared.lambda[0] + 1.0);
                    starts.extend(stronger.map(|&knee| vec![knee; penalty.hyperparameters()]));
                }
                let steering = division.folds.iter().map(|fold| fold.judging.len()).sum();
                let dispersion = if model.likelihood { 1.0 } else { 2.0 * shared.criterion.abs() };
                let groups = &model.groups.of_feature;
                let prior = Prior::new(&penalty, groups, spec.law.spread(), dispersion, steering);
                match sampled {
                    Some(method) => {
                        let prior = Some(&prior);
                        descend_stochastic(&mut objective, division, &penalty, spec, starts, prior, method, context)
                    }
                    None => descend(&mut objective, spec, starts, &prior, context),
                }
            }
        };
        context.work += objective.work();
        match outcome {
            Ok((found, end)) => {
                let solving = context.afterwards(model.engine);
                let Settled { lambda: found, value: criterion, folds: fold_w } = objective.settle(found, solving)?;
                objective.rest();
                let lambda = match spec.law {
                    Law::Relevance => {
                        let shared = &mut tried[0];
                        let level = shared.lambda[0];
                        let w = shared.refit(division, model.engine, context)?.parameters();
                        let b = relevance(&division.refit, &penalty, level, &w);
                        apply_law(&found, &b).iter().map(|l| l.clamp(context.bounds.0, context.bounds.1)).collect()
                    }
                    _ => found,
                };
                let mut candidate = Tried {
                    role: CandidateRole::Tuned,
                    spec,
                    monitor: None,
                    fold_w,
                    penalty: penalty.clone(),
                    lambda,
                    criterion,
                    w: None,
                    reach: Reach::Done,
                    end,
                };
                // In the space of the rows a fit costs as much as steps of a descent that was asked for: those first.
                if context.options.penalties == Penalties::Auto || !objective.engine().is_steep() {
                    let w = candidate.refit(division, model.engine, context)?;
                    candidate.monitor = division.monitor.as_ref().map(|rows| rows.row_values(&w.parameters()));
                }
                tried.push(candidate);
                previous = Some(objective);
            }
            // A candidate that cannot be computed, or not in time, is left out; the shared one must succeed.
            Err(error) if (error.is_numeric() || error.is_interrupted()) && !tried.is_empty() => {
                previous = Some(objective);
            }
            Err(error) => return Err(error),
        }
    }
    Ok(tried)
}
