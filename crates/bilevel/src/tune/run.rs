//! The tuning from beginning to end.

use std::borrow::Cow;

use super::LinearModel;
use super::bounds::{FeatureScale, at_the_end, bounds};
use super::check::{check, check_options};
use super::compare::diagnose;
use super::context::{Context, Spec, Stop};
use super::diagnostics::Diagnostics;
use super::ending::Ending;
use super::engine::engine_for;
use super::fitted::Fitted;
use super::judging::{check_fits, judges};
use super::kinds::{Comparison, compare_kinds, given, preferred, specs};
use super::model::target_numbers;
use super::options::{Penalties, TuneOptions};
use super::outcome::{Candidate, TraceRow, Tuned};
use super::partition::{Partition, Rows, rare_classes};
use super::path::{Division, Model, Tried, run_path};
use super::problem::{Arranged, lambda_names, prepared};
use super::refit::{Refitted, refit};
use crate::data::{Buffer, Dataset, RowRanges, Target};
use crate::observer::{Event, Observer};
use crate::problems::glm::{EmpiricalRisk, Loss};
use crate::{Error, Result};

pub(super) fn run(
    train: Cow<'_, Dataset>,
    validation: Option<&Dataset>,
    test: Option<&Dataset>,
    options: &TuneOptions,
    observer: &mut dyn for<'e> Observer<Event<'e, TraceRow>>,
) -> Result<Tuned> {
    check(&train, validation, test)?;
    let train_rows = train.rows();
    if observer.observe(&Event::Phase("arranging the rows")).is_break() {
        return Err(Error::interrupted());
    }
    let Arranged { mut data, folds, validation, standardization, loss } = Arranged::new(train, validation, options)?;
    let intercept = options.intercept;
    let test = test.map(|test| prepared(test.clone(), &standardization, "test")).transpose()?;
    let bounds = bounds(options, FeatureScale::of(&data.design, intercept, data.weights.as_deref()))?;
    check_options(options, &data, loss)?;
    let mut context = Context::new(options, observer, train_rows, bounds);
    let validation_y = validation.as_ref().map(target_numbers);
    let test_y = test.as_ref().map(target_numbers);
    let (judges, criterion) = judges(&data, &folds, validation.as_ref().zip(validation_y.as_deref()), options)?;
    let y = target_numbers(&data);
    let rare = rare_classes(&data.target);
    // From here on the numbers are the target; the names of the classes stay.
    if let Target::Classes { codes, .. } = &mut data.target {
        *codes = Buffer::default();
    }
    let test_risk = test
        .as_ref()
        .zip(test_y.as_deref())
        .map(|(test, y)| Rows::new(test, y, options.sampling).risk(RowRanges::all(test.rows()), loss, intercept));
    let rows = Rows::new(&data, &y, options.sampling);
    let partition = Partition { data: &data, rows, judges, rare, loss, intercept };

    let division = partition.divide(None);
    check_fits(&division, &partition.rare, &data)?;
    let mut model = Model {
        groups: &data.groups,
        features: data.features(),
        outputs: loss.outputs(),
        engine: engine_for(options.method, &division.folds[0].fitted, 1e-6),
        likelihood: matches!(loss, Loss::Logistic | Loss::Softmax { .. } | Loss::Poisson),
        known: options.start.as_deref().map(|start| given(start, options.penalties)).unwrap_or_default(),
    };
    let specs = specs(options.penalties, &data, loss);
    let mut notes = Vec::new();

    let mut comparison = match options.penalties {
        Penalties::Auto => compare_kinds(&partition, &specs, &model, &mut context),
        _ => Comparison::default(),
    };
    notes.extend(comparison.note.take());
    let judged = comparison.judged();
    // Where fits take long, the choice comes first: what was ruled out is not tuned again, and the rest begins where it ended
    // before.
    let decided = match comparison.paths.first() {
        Some((_, path)) if !model.engine.is_cheap() => {
            model.known = path.iter().map(|tried| (tried.spec, tried.lambda.clone())).collect();
            Some(preferred(&judged, &division, comparison.shared_criterion()))
        }
        _ => None,
    };
    let again: Vec<Spec> = match decided {
        Some(wanted) => specs.iter().copied().filter(|spec| *spec == Spec::SHARED || *spec == wanted).collect(),
        None => specs.clone(),
    };
    let (whole, tried) = tune_all_rows(division, &mut comparison, &again, &model, &mut context, &mut notes)?;
    context.end_search();
    let wanted = match (decided, options.penalties) {
        (Some(wanted), _) => wanted,
        (None, Penalties::Auto) => preferred(&judged, &whole, tried[0].criterion),
        (None, _) => specs[specs.len() - 1],
    };
    let chosen = tried.iter().position(|tried| tried.spec == wanted).unwrap_or(0);

    context.phase("fitting on all rows");
    let refitted = refit(&whole, &model, tried, chosen, test_risk.as_ref(), &mut context)?;
    let mut candidates = refitted.candidates(&whole, &judged, test_risk.as_ref(), &mut context);
    if context.stopped() != Some(Stop::Interrupted) {
        notes.extend(comparison.add_ruled_out(&judged, &specs, test_risk.as_ref(), &mut candidates));
    }
    let kept = refitted.kept();
    notes.extend(context.take_notes());
    notes.extend(remarks(&refitted, &candidates, &whole, &context));
    let diagnostics = diagnostics(kept, &whole, test_risk.as_ref());
    let w = kept.w.as_ref().map(Fitted::parameters).unwrap_or_default().into_owned();
    let linear_model = LinearModel::in_units_of_the_data(w, loss, data.features(), &standardization);
    let constant = standardization.constant.iter().filter(|&&c| c).count();
    if constant > 0 {
        let (columns, have) = if constant == 1 { ("column", "has") } else { ("columns", "have") };
        notes.push(format!("{constant} constant {columns} {have} weight 0"));
    }
    Ok(Tuned {
        model: linear_model,
        status: match (context.stopped(), kept.end) {
            (Some(Stop::Time), _) => Ending::TimeLimit,
            (Some(Stop::Interrupted), _) => Ending::Interrupted,
            (None, reason) => reason.into(),
        },
        method: model.engine.name(options.method).to_string(),
        penalties: kept.spec.penalties,
        lambda: kept.lambda.clone(),
        lambda_names: lambda_names(&kept.penalty, &data),
        candidates,
        diagnostics: Some(diagnostics),
        rows: data.rows(),
        features: data.features(),
        criterion,
        notes,
        seconds: context.seconds(),
        passes: context.work.passes(data.rows()),
        trace: context.trace,
    })
}

/// Tunes the candidates on all rows. A tuning that was cut short before keeps what was last found on part of them.
fn tune_all_rows<'a>(
    division: Division<'a>,
    comparison: &mut Comparison<'a>,
    specs: &[Spec],
    model: &Model<'_>,
    context: &mut Context<'_>,
    notes: &mut Vec<String>,
) -> Result<(Division<'a>, Vec<Tried<'a>>)> {
    let Comparison { paths, ended, .. } = comparison;
    let mut ended = ended.take();
    if ended.is_none() && (paths.is_empty() || !context.must_stop()) {
        context.phase("tuning on all rows");
        match run_path(&division, specs, model, context) {
            Ok(tried) if !tried.is_empty() => return Ok((division, tried)),
            Ok(_) => {}
            Err(error) => ended = Some(error),
        }
    }
    match (paths.pop(), ended) {
        (Some((part, tried)), error) if error.as_ref().is_none_or(Error::is_interrupted) => {
            let rows = part.refit.len();
            notes.push(format!("stopped before the tuning on all rows: the model is fitted on {rows} of them"));
            Ok((part, tried))
        }
        (_, Some(error)) if error.is_interrupted() && context.signal.is_late() => {
            Err(Error::numeric("the time was over before a first fit ended").remedy("raise --max-time"))
        }
        (_, Some(error)) => Err(error),
        (_, None) => Err(Error::interrupted()),
    }
}

/// Predictions of what is kept against the truth: on the test rows, else on those that its folds did not fit.
fn diagnostics<'r>(kept: &'r Tried<'_>, whole: &'r Division<'_>, test: Option<&'r EmpiricalRisk<'_>>) -> Diagnostics {
    let loss = whole.refit.loss();
    match test {
        Some(risk) => {
            let w = kept.w.as_ref().map(Fitted::parameters).unwrap_or_default();
            diagnose(std::iter::once((risk, w)), loss, "test rows")
        }
        None => {
            let name = if whole.folds.len() > 1 { "rows of the other folds" } else { "held-out rows" };
            diagnose(whole.folds.iter().map(|f| &f.judging).zip(kept.fold_w.iter().map(Fitted::parameters)), loss, name)
        }
    }
}

/// What to say of the model that is kept.
fn remarks(
    refitted: &Refitted<'_>,
    candidates: &[Candidate],
    whole: &Division<'_>,
    context: &Context<'_>,
) -> impl Iterator<Item = String> {
    let kept = refitted.kept();
    let usual = "raise --max-time: penalties better than the usual one were not found in time";
    let chosen = candidates.iter().find(|candidate| candidate.chosen);
    [
        kept.cut_short(whole),
        at_the_end(&kept.lambda, context.bounds, context.options),
        refitted.keeps_the_usual().then(|| usual.into()),
        chosen.and_then(|chosen| flattering(chosen, whole)),
    ]
    .into_iter()
    .flatten()
}

/// What to say of figures on rows that chose nearly as many numbers as they are.
fn flattering(chosen: &Candidate, whole: &Division<'_>) -> Option<String> {
    let rows: usize = whole.folds.iter().map(|fold| fold.judging.len()).sum();
    let more = if chosen.test.is_some() { "" } else { "; judge it by test rows" };
    let penalties = match chosen.steered() {
        1 => "a penalty".into(),
        many => format!("{many} penalties"),
    };
    chosen
        .is_flattered_by(rows)
        .then(|| format!("{rows} rows chose {penalties}: validation figures flatter the model{more}"))
}
