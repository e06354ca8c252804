//! The candidates as the user is shown them: figures on training, judging and test rows.

use std::borrow::Cow;

use super::context::Context;
use super::fit::fit;
use super::fitted::Fitted;
use super::options::Penalties;
use super::outcome::{Candidate, CandidateRole, Law};
use super::path::{Division, Model, Tried};
use super::select::Judged;
use super::{Diagnostics, Metrics};
use crate::problems::glm::{EmpiricalRisk, Loss, Penalty};
use crate::sample::Sample;
use crate::upper::UpperObjective;
use crate::{Error, Result};

/// Log-penalty of the untuned candidate, on the mean loss: that of a unit penalty on the summed loss is `-ln n`.
fn untuned_lambda(n: usize, bounds: (f64, f64)) -> f64 {
    (-(n as f64).ln()).clamp(bounds.0, bounds.1)
}

/// Predictions of models, each on rows of its own, beside the truth.
#[derive(Default)]
struct Predicted<'d> {
    margins: Vec<f64>,
    y: Cow<'d, [f64]>,
    weights: Vec<f64>,
}

impl<'d> Predicted<'d> {
    /// In the memory of `room`.
    fn new<'r, 'w>(parts: impl Iterator<Item = (&'r EmpiricalRisk<'d>, Cow<'w, [f64]>)>, room: Vec<f64>) -> Self
    where
        'd: 'r,
    {
        let mut all = Predicted { margins: room, ..Predicted::default() };
        for (number, (risk, w)) in parts.enumerate() {
            // Of one part alone nothing is copied.
            if number == 0 {
                risk.margins_in(&mut all.margins, &w);
                all.y = risk.targets();
            } else {
                all.margins.extend(risk.margins(&w));
                all.y.to_mut().extend_from_slice(&risk.targets());
            }
            all.weights.extend(risk.row_weights().into_iter().flatten());
        }
        all
    }

    /// Leaves the memory of the margins in `room`.
    fn metrics(mut self, loss: Loss, room: &mut Vec<f64>) -> Metrics {
        let weights = (!self.weights.is_empty()).then_some(&self.weights[..]);
        let metrics = Metrics::using_up(loss, &mut self.margins, &self.y, weights);
        *room = self.margins;
        metrics
    }
}

fn metrics(risk: &EmpiricalRisk<'_>, loss: Loss, w: &[f64], room: &mut Vec<f64>) -> Metrics {
    Predicted::new(std::iter::once((risk, Cow::Borrowed(w))), std::mem::take(room)).metrics(loss, room)
}

pub(super) fn diagnose<'r>(
    parts: impl Iterator<Item = (&'r EmpiricalRisk<'r>, Cow<'r, [f64]>)>,
    loss: Loss,
    rows_are: &str,
) -> Diagnostics {
    let Predicted { margins, y, weights } = Predicted::new(parts, Vec::new());
    Diagnostics::using_up(loss, margins, &y, (!weights.is_empty()).then_some(&weights[..]), rows_are)
}

fn fold_metrics(division: &Division<'_>, loss: Loss, fitted: &[Fitted<'_>], room: &mut Vec<f64>) -> Metrics {
    let parts = division.folds.iter().map(|fold| &fold.judging).zip(fitted.iter().map(Fitted::parameters));
    Predicted::new(parts, std::mem::take(room)).metrics(loss, room)
}

pub(super) fn candidate(
    tried: &Tried<'_>,
    division: &Division<'_>,
    judged: &[Judged],
    test: Option<&EmpiricalRisk<'_>>,
    chosen: bool,
) -> Candidate {
    let loss = division.refit.loss();
    let monitor = judged.iter().find(|j| j.spec == tried.spec);
    let w = tried.w.as_ref().map(Fitted::parameters).unwrap_or_default();
    let room = &mut Vec::new();
    Candidate {
        role: tried.role,
        penalties: tried.spec.penalties,
        law: tried.spec.law,
        hyperparameters: tried.lambda.len(),
        rows: division.refit.len(),
        train: metrics(&division.refit, loss, &w, room),
        validation: fold_metrics(division, loss, &tried.fold_w, room),
        monitor_loss: monitor.map(|j| j.loss),
        monitor_std_error: monitor.map(|j| j.std_error),
        test: test.map(|risk| metrics(risk, loss, &w, room)),
        chosen,
    }
}

/// The usual penalty, fitted, and as the user is shown it. Where fits take long, they begin at those of `kept`.
///
/// # Errors
/// Interrupted, when the user asks to stop.
pub(super) fn untuned<'a>(
    division: &Division<'a>,
    model: &Model<'_>,
    kept: &Tried<'a>,
    test: Option<&EmpiricalRisk<'_>>,
    context: &mut Context<'_>,
) -> Result<(Tried<'a>, Candidate)> {
    let lambda = [untuned_lambda(division.refit.len(), context.bounds)];
    let loss = division.refit.loss();
    let solving = context.afterwards(model.engine.for_comparison()).ok_or_else(Error::interrupted)?;
    let mut fit_rows = |risk: &EmpiricalRisk<'a>, near: Option<&Fitted<'a>>| -> Result<Fitted<'a>> {
        let near = near.filter(|_| !model.engine.is_cheap());
        let (w, info) = fit(risk, &Penalty::Shared, &lambda, &solving, near)?;
        context.work += info.ok_or_else(Error::interrupted)?.work;
        Ok(w)
    };
    let fitted = fit_rows(&division.refit, kept.w.as_ref())?;
    let room = &mut Vec::new();
    let fold_w = (division.folds.iter().enumerate())
        .map(|(k, fold)| fit_rows(&fold.fitted, kept.fold_w.get(k)))
        .collect::<Result<Vec<_>>>()?;
    let w = fitted.parameters();
    let candidate = Candidate {
        role: CandidateRole::Untuned,
        penalties: Penalties::Shared,
        law: Law::Free,
        hyperparameters: 1,
        rows: division.refit.len(),
        train: metrics(&division.refit, loss, &w, room),
        validation: fold_metrics(division, loss, &fold_w, room),
        monitor_loss: None,
        monitor_std_error: None,
        test: test.map(|risk| metrics(risk, loss, &w, room)),
        chosen: false,
    };
    drop(w);
    Ok((Tried::untuned(lambda[0], candidate.validation.loss, Some(fitted), fold_w), candidate))
}

/// The usual penalty, where it does better than `tried` on the first fold: for a search that was cut short, as this takes a single
/// fit, and part of one is enough.
pub(super) fn usual_if_better<'a>(
    division: &Division<'a>,
    model: &Model<'_>,
    tried: &Tried<'a>,
    context: &mut Context<'_>,
) -> Result<Option<Tried<'a>>> {
    let (Some(fold), Some(near)) = (division.folds.first(), tried.fold_w.first()) else { return Ok(None) };
    let Some(solving) = context.afterwards(model.engine) else { return Ok(None) };
    let lambda = untuned_lambda(division.refit.len(), context.bounds);
    // Its weights: what makes them in the space of the rows belongs to its penalty.
    let start = Fitted::Weights(near.parameters().into_owned());
    let loss = |w: &[f64]| UpperObjective::value(&fold.judging, w, &[], &Sample::Full);
    let before = loss(&start.parameters());
    let (w, info) = match fit(&fold.fitted, &Penalty::Shared, &[lambda], &solving, Some(&start)) {
        Ok(fitted) => fitted,
        Err(error) if error.is_interrupted() => return Ok(None),
        Err(error) => return Err(error),
    };
    context.work += info.map(|info| info.work).unwrap_or_default();
    let criterion = loss(&w.parameters());
    Ok((criterion < before).then(|| Tried::untuned(lambda, criterion, None, vec![w])))
}
