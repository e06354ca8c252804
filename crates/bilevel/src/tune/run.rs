//! The tuning from beginning to end.

use std::borrow::Cow;

use rayon::prelude::*;

use super::LinearModel;
use super::bounds::{FeatureScale, at_the_end, bounds};
use super::compare::{candidate, diagnose, untuned, usual_if_better};
use super::context::{Context, Spec, Stop};
use super::ending::Ending;
use super::engine::engine_for;
use super::fitted::Fitted;
use super::judging::{check_fits, judges, lacking_class};
use super::model::target_numbers;
use super::options::{Penalties, TuneOptions};
use super::outcome::{Candidate, Law, Tuned};
use super::partition::{Judges, Rows, divide, rare_classes};
use super::path::{Division, Model, Reach, Tried, run_path};
use super::problem::{Arranged, penalty_of, prepared};
use super::progress::Observer;
use super::select::{Watched, choose, judge};
use crate::data::{Buffer, Dataset, RowRanges, Target};
use crate::problems::glm::{Loss, Penalty};
use crate::{Error, Result};

/// Rows of which a single monitor part is representative enough; fewer are rotated through four parts.
const ONE_MONITOR_FROM: usize = 10_000;
/// Parts of the steering rows, of which one at a time looks on.
const MONITOR_PARTS: usize = 4;
/// Laws that are tried for one penalty a group or feature, coarse to fine: two hyperparameters; log-penalties pulled
/// together with standard deviation 1/2 and 1; free.
const LAWS: [Law; 4] = [Law::Relevance, Law::Shrunk(4.0), Law::Shrunk(1.0), Law::Free];
/// Laws that are tried for one penalty a class.
const CLASS_LAWS: [Law; 2] = [Law::Shrunk(1.0), Law::Free];
/// Rows and parameters up to which candidates are described at the same time; each of them takes a number or two a row, and
/// its parameters.
const DESCRIBED_TOGETHER: usize = 1 << 18;

pub(super) fn run(
    train: Cow<'_, Dataset>,
    validation: Option<&Dataset>,
    test: Option<&Dataset>,
    options: &TuneOptions,
    observer: &mut dyn Observer,
) -> Result<Tuned> {
    check(&train, validation, test)?;
    let train_rows = train.rows();
    observer.phase("arranging the rows");
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
    let data = data;
    let rows = Rows::new(&data, &y, options.sampling);
    let test_risk = test
        .as_ref()
        .zip(test_y.as_deref())
        .map(|(test, y)| Rows::new(test, y, options.sampling).risk(RowRanges::all(test.rows()), loss, intercept));

    let mut division = divide(rows, judges, None, loss, intercept);
    check_fits(&division, &rare, &data)?;
    let model = Model {
        groups: &data.groups,
        features: data.features(),
        outputs: loss.outputs(),
        engine: engine_for(options.method, &division.folds[0].fitted, 1e-6),
        likelihood: matches!(loss, Loss::Logistic | Loss::Softmax { .. } | Loss::Poisson),
    };
    let specs = specs(options.penalties, &data, loss);
    let mut notes = Vec::new();

    // Paths with a monitor part each, for the choice between candidates.
    let mut watched: Vec<(Division<'_>, Vec<Tried<'_>>)> = Vec::new();
    let mut ended = None;
    if options.penalties == Penalties::Auto {
        let steering = validation.as_ref().map_or(data.rows(), Dataset::rows);
        let parts = match judges {
            Judges::Given(folds) => folds.len().min(MONITOR_PARTS),
            Judges::Separate(_) => steering.min(MONITOR_PARTS),
            // Each fold needs a row of those that are left.
            Judges::Folds(k) if steering - steering.div_ceil(MONITOR_PARTS) < k => 0,
            Judges::Tail(_) | Judges::Folds(_) => MONITOR_PARTS,
        };
        // Of two given folds or few rows none can be spared.
        let rotations = if parts < 3 {
            0
        } else if steering < ONE_MONITOR_FROM {
            parts
        } else {
            1
        };
        let rotated: Vec<Division<'_>> =
            (0..rotations).map(|rotation| divide(rows, judges, Some((rotation, parts)), loss, intercept)).collect();
        let lacking = rotated.iter().find_map(|part| lacking_class(part, &rare, &data));
        let few = match (lacking, judges) {
            (Some(class), _) => format!("so few rows of class {class}"),
            (None, Judges::Separate(_)) => "so few validation rows".into(),
            (None, Judges::Given(_)) => "two folds".into(),
            (None, Judges::Tail(_) | Judges::Folds(_)) => "so few rows".into(),
        };
        let rotated = if lacking.is_some() { Vec::new() } else { rotated };
        if rotated.is_empty() {
            notes.push(format!("{few} leave none to choose the kind of penalty by: one penalty for all was tuned"));
        }
        for (rotation, part) in rotated.into_iter().enumerate() {
            context.phase(&format!("comparing kinds of penalty, part {} of {rotations}", rotation + 1));
            match run_path(&part, &specs, &model, &mut context) {
                Ok(path) => watched.push((part, path)),
                Err(error) => ended = Some(error),
            }
            if context.must_stop() || ended.is_some() {
                break;
            }
        }
    }
    let judged = judge(&watched.iter().map(|(part, path)| Watched::new(part, path)).collect::<Vec<_>>());
    let mut tried = Vec::new();
    if ended.is_none() && (watched.is_empty() || !context.must_stop()) {
        context.phase("tuning on all rows");
        match run_path(&division, &specs, &model, &mut context) {
            Ok(path) => tried = path,
            Err(error) => ended = Some(error),
        }
    }
    if tried.is_empty() {
        // Cut short: what was found on part of the rows is kept.
        match (watched.pop(), ended) {
            (Some(last), error) if error.as_ref().is_none_or(Error::is_interrupted) => {
                (division, tried) = last;
                let rows = division.refit.len();
                notes.push(format!("stopped before the tuning on all rows: the model is fitted on {rows} of them"));
            }
            (_, Some(error)) if error.is_interrupted() && context.signal.is_late() => {
                return Err(Error::numeric("the time was over before a first fit ended").remedy("raise --max-time"));
            }
            (_, Some(error)) => return Err(error),
            (_, None) => return Err(Error::interrupted()),
        }
    }
    context.end_search();
    let whole = division;
    let wanted = if options.penalties == Penalties::Auto {
        let constant = crate::upper::UpperObjective::value(
            &whole.refit,
            &whole.refit.null_parameters(),
            &[],
            &crate::sample::Sample::Full,
        );
        // All losses are 0 at best.
        choose(&judged, constant, tried[0].criterion)
    } else {
        specs[specs.len() - 1]
    };
    let chosen = tried.iter().position(|t| t.spec == wanted).unwrap_or(0);

    context.phase("fitting on all rows");
    let (mut candidates, mut usual) = (Vec::new(), None);
    context.must_stop();
    // A search goes from strong penalties to weak ones, and may have been cut short among those that are far too strong.
    if context.stopped() == Some(Stop::Time) && tried.len() == 1 {
        usual = usual_if_better(&whole, &model, &tried[0], &mut context)?;
    }
    // The one that is kept first.
    usual.as_mut().unwrap_or(&mut tried[chosen]).refit(&whole, model.engine, &mut context)?;
    // Whoever interrupts waits: then nothing is fitted that would only be compared with.
    let interrupted = context.must_stop() && context.stopped() == Some(Stop::Interrupted);
    if !interrupted {
        match untuned(&whole, &model, test_risk.as_ref(), &mut context) {
            Ok((fitted, mut candidate)) => {
                let better = fitted.criterion < tried[chosen].criterion;
                if usual.is_some() || (context.stopped() == Some(Stop::Time) && better) {
                    candidate.chosen = true;
                    usual = Some(fitted);
                }
                candidates.push(candidate);
            }
            Err(error) if error.is_interrupted() => {
                candidates.extend(usual.iter().map(|usual| candidate(usual, &whole, &[], test_risk.as_ref(), true)));
            }
            Err(error) => return Err(error),
        }
        for tried in &mut tried {
            tried.refit(&whole, model.engine, &mut context)?;
        }
    }
    // What was asked to stop meanwhile has this status.
    context.must_stop();
    let fitted = |(index, tried): &(usize, &Tried<'_>)| match tried.reach {
        Reach::Done => tried.w.is_some(),
        Reach::Begun | Reach::Fold => *index == chosen,
    };
    let numbered: Vec<(usize, &Tried<'_>)> = tried.iter().enumerate().filter(fitted).collect();
    // Whoever interrupts waits for the figures of what is kept; for others only while it takes no time.
    let grace = context.grace();
    let describe = |(index, tried)| {
        (index == chosen || !grace.is_raised())
            .then(|| candidate(tried, &whole, &judged, test_risk.as_ref(), usual.is_none() && index == chosen))
    };
    match whole.refit.len().max(whole.refit.parameters()) <= DESCRIBED_TOGETHER {
        true => candidates.par_extend(numbered.into_par_iter().filter_map(describe)),
        false => candidates.extend(numbered.into_iter().filter_map(describe)),
    }
    let kept = usual.as_ref().unwrap_or(&tried[chosen]);
    notes.extend(kept.cut_short(&whole));
    notes.extend(at_the_end(&kept.lambda, bounds, options));
    if usual.is_some() {
        notes.push("raise --max-time: penalties better than the usual one were not found in time".into());
    }
    notes.extend(candidates.iter().find(|candidate| candidate.chosen).and_then(|chosen| flattering(chosen, &whole)));
    let diagnostics = match &test_risk {
        Some(risk) => {
            let w = kept.w.as_ref().map(Fitted::parameters).unwrap_or_default();
            diagnose(std::iter::once((risk, w)), loss, "test rows")
        }
        None => {
            let name = if whole.folds.len() > 1 { "rows of the other folds" } else { "held-out rows" };
            diagnose(whole.folds.iter().map(|f| &f.judging).zip(kept.fold_w.iter().map(Fitted::parameters)), loss, name)
        }
    };
    let weights = data.features() * loss.outputs();
    let mut coef = kept.w.as_ref().map(Fitted::parameters).unwrap_or_default().into_owned();
    let mut intercepts = coef.split_off(weights);
    standardization.fold_back(&mut coef, &mut intercepts);
    intercepts.resize(loss.outputs(), 0.0);
    let constant = standardization.constant.iter().filter(|&&c| c).count();
    if constant > 0 {
        let (columns, have) = if constant == 1 { ("column", "has") } else { ("columns", "have") };
        notes.push(format!("{constant} constant {columns} {have} weight 0"));
    }
    Ok(Tuned {
        model: LinearModel { loss, features: data.features(), outputs: loss.outputs(), coef, intercept: intercepts },
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

/// What to say of figures on rows that chose nearly as many numbers as they are.
fn flattering(chosen: &Candidate, whole: &Division<'_>) -> Option<String> {
    let rows: usize = whole.folds.iter().map(|fold| fold.judging.len()).sum();
    let more = if chosen.test.is_some() { "" } else { "; judge it by test rows" };
    let penalties = chosen.steered();
    chosen
        .is_flattered_by(rows)
        .then(|| format!("{rows} rows chose {penalties} penalties: validation figures flatter the model{more}"))
}

fn check(train: &Dataset, validation: Option<&Dataset>, test: Option<&Dataset>) -> Result<()> {
    train.validate("training")?;
    for (other, name) in [(validation, "validation"), (test, "test")] {
        let Some(other) = other else { continue };
        other.validate(name)?;
        train.check_fits(other, name)?;
    }
    match train.weighing_rows() {
        rows @ 0..4 => {
            Err(Error::input(format!("{rows} training rows are too few to tune on")).remedy("give more rows"))
        }
        _ => Ok(()),
    }
}

/// Whether the log-penalties to begin with are numbers, one or as many as the kind asked for has, and the tolerance is one.
fn check_options(options: &TuneOptions, data: &Dataset, loss: Loss) -> Result<()> {
    let tolerance = options.limits.tolerance;
    if tolerance.is_nan() || tolerance < 0.0 {
        return Err(Error::input(format!("the tolerance {tolerance} of the projected gradient is none"))
            .remedy("use a small number that is not negative"));
    }
    let Some(start) = &options.start else { return Ok(()) };
    if start.is_empty() || !crate::vector::all_finite(start) {
        return Err(
            Error::input("the log-penalties to begin with are no finite numbers").remedy("give one, or leave them out")
        );
    }
    let has = penalty_of(options.penalties, &data.groups, data.features(), loss.outputs()).hyperparameters();
    if start.len() != 1 && start.len() != has {
        let message = format!("there are {} log-penalties to begin with, and {has} are tuned", start.len());
        let remedy = if has == 1 { "give one".into() } else { format!("give one, or {has}") };
        return Err(Error::input(message).remedy(remedy));
    }
    Ok(())
}

/// The candidates to tune, coarse to fine.
fn specs(penalties: Penalties, data: &Dataset, loss: Loss) -> Vec<Spec> {
    let grouped = !data.groups.are_singletons() && data.groups.len() > 1;
    let kinds: Vec<Penalties> = match penalties {
        Penalties::Auto => [
            (grouped, Penalties::PerGroup),
            (data.features() > 1, Penalties::PerFeature),
            (loss.outputs() > 1, Penalties::PerClass),
        ]
        .into_iter()
        .filter_map(|(applies, kind)| applies.then_some(kind))
        .collect(),
        Penalties::Shared => vec![],
        finer => return vec![Spec::SHARED, Spec { penalties: finer, law: Law::Free }],
    };
    let mut specs = vec![Spec::SHARED];
    for penalties in kinds {
        let laws: &[Law] = if penalties == Penalties::PerClass { &CLASS_LAWS } else { &LAWS };
        specs.extend(laws.iter().map(|&law| Spec { penalties, law }));
    }
    specs
}

pub(super) fn lambda_names(penalty: &Penalty, data: &Dataset) -> Vec<String> {
    match penalty {
        // Two classes have one output.
        Penalty::Shared | Penalty::PerClass { outputs: 1 } => vec!["shared".into()],
        Penalty::PerGroup { .. } => data.groups.names.clone(),
        Penalty::PerFeature { .. } => data.feature_names.clone(),
        Penalty::PerClass { outputs } => match &data.target {
            Target::Classes { names, .. } => names.clone(),
            Target::Values(_) => (0..*outputs).map(|c| c.to_string()).collect(),
        },
    }
}
