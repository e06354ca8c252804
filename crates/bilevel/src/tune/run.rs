//! The tuning from beginning to end.

use super::context::{Context, Spec, Stop};
use super::objective::{Engine, engine_for, fit};
use super::options::{Criterion, LossChoice, Method, Penalties, TuneOptions};
use super::outcome::{Candidate, CandidateRole, Tuned};
use super::partition::{Judges, Rows, divide, spread_order};
use super::path::{Division, Model, Tried, run_path};
use super::progress::Observer;
use super::select::{Judged, choose, judge};
use super::{Diagnostics, LinearModel, Metrics};
use crate::data::{Dataset, RowRanges, Standardization, Target};
use crate::optimize::StopReason;
use crate::problems::glm::{EmpiricalRisk, Loss, Penalty};
use crate::{Error, Result};

/// Rows above which a quarter is held out instead of folds, unless asked otherwise.
const FOLDS_UP_TO: usize = 20_000;
/// Rows of which a single monitor part is representative enough; fewer are rotated through four parts.
const ONE_MONITOR_FROM: usize = 10_000;
/// Log-penalty of the untuned candidate, on the mean loss: that of a unit penalty on the summed loss is `-ln n`.
fn untuned_lambda(n: usize, bounds: (f64, f64)) -> f64 {
    (-(n as f64).ln()).clamp(bounds.0, bounds.1)
}
/// Spreads of the log-penalties that are tried, coarse to fine.
const SPREADS: [f64; 4] = [0.5, 1.0, 2.0, f64::INFINITY];

pub(super) fn run(
    train: &Dataset,
    validation: Option<&Dataset>,
    test: Option<&Dataset>,
    options: &TuneOptions,
    observer: &mut dyn Observer,
) -> Result<Tuned> {
    check(train, validation, test, options)?;
    let loss = choose_loss(train, options.loss)?;
    let intercept = options.intercept;
    let mut context = Context::new(options, observer, train.rows());
    context.phase("arranging the rows");

    let mut data = train.select(&spread_order(&train.target, options.seed));
    let mut validation = validation.cloned();
    let mut test = test.cloned();
    let standardization = if options.standardize {
        Standardization::learn(&data.design, &RowRanges::all(data.rows()), intercept, &data.measured)
    } else {
        Standardization::identity(data.features())
    };
    for part in [Some(&mut data), validation.as_mut(), test.as_mut()].into_iter().flatten() {
        standardization.apply(&mut part.design)?;
    }
    let y = numbers(&data.target);
    let validation_y = validation.as_ref().map(|v| numbers(&v.target));
    let test_y = test.as_ref().map(|t| numbers(&t.target));
    let rows = Rows { design: &data.design, y: &y };
    let (judges, criterion) = judges(&data, validation.as_ref().zip(validation_y.as_deref()), options)?;
    let test_risk = test
        .as_ref()
        .zip(test_y.as_deref())
        .map(|(test, y)| EmpiricalRisk::new(&test.design, y, RowRanges::all(test.rows()), loss, intercept));

    let whole = divide(rows, judges, None, loss, intercept);
    let model = Model {
        groups: &data.groups,
        features: data.features(),
        outputs: loss.outputs(),
        engine: engine_for(options.method, &whole.folds[0].fitted, 1e-6),
        likelihood: matches!(loss, Loss::Logistic | Loss::Softmax { .. } | Loss::Poisson),
    };
    let specs = specs(options.penalties, &data, loss);

    let judged = if options.penalties == Penalties::Auto {
        let steering = validation.as_ref().map_or(data.rows(), Dataset::rows);
        let parts = 4;
        let rotations = if steering < ONE_MONITOR_FROM { parts } else { 1 };
        let mut paths = Vec::new();
        for rotation in 0..rotations {
            context.phase(&format!("comparing kinds of penalty, part {} of {rotations}", rotation + 1));
            let division = divide(rows, judges, Some((rotation, parts)), loss, intercept);
            paths.push(run_path(&division, &specs, &model, &mut context)?);
            if context.must_stop() {
                break;
            }
        }
        judge(&paths)
    } else {
        Vec::new()
    };
    context.phase("tuning on all rows");
    let tried = run_path(&whole, &specs, &model, &mut context)?;
    let wanted = if options.penalties == Penalties::Auto {
        let constant = crate::upper::UpperObjective::value(
            &whole.refit,
            &whole.refit.null_parameters(),
            &[],
            &crate::sample::Sample::Full,
        );
        choose(&judged, constant)
    } else {
        specs.last().copied().unwrap_or(Spec::SHARED)
    };
    let chosen = tried.iter().position(|t| t.spec == wanted).unwrap_or(0);

    context.phase("fitting on all rows");
    let mut candidates = vec![untuned(&whole, &model, options, test_risk.as_ref(), &mut context)?];
    for (index, tried) in tried.iter().enumerate() {
        candidates.push(candidate(tried, &whole, &judged, test_risk.as_ref(), index == chosen));
    }
    let kept = &tried[chosen];
    let diagnostics = match &test_risk {
        Some(risk) => diagnose(std::iter::once((risk, &kept.w[..])), loss, "test rows"),
        None => {
            let name = if whole.folds.len() > 1 { "rows of the other folds" } else { "held-out rows" };
            diagnose(whole.folds.iter().map(|f| &f.judging).zip(kept.fold_w.iter().map(|w| &w[..])), loss, name)
        }
    };
    let weights = data.features() * loss.outputs();
    let (mut coef, mut intercepts) = (kept.w[..weights].to_vec(), kept.w[weights..].to_vec());
    standardization.fold_back(&mut coef, &mut intercepts);
    intercepts.resize(loss.outputs(), 0.0);
    let mut notes = Vec::new();
    let constant = standardization.constant.iter().filter(|&&c| c).count();
    if constant > 0 {
        notes.push(format!("{constant} constant columns have weight 0"));
    }
    Ok(Tuned {
        model: LinearModel { loss, features: data.features(), outputs: loss.outputs(), coef, intercept: intercepts },
        status: match (context.stopped(), kept.end) {
            (Some(Stop::Time), _) | (None, StopReason::TimeLimit) => "time-limit",
            (Some(Stop::Interrupted), _) | (None, StopReason::Interrupted) => "interrupted",
            (None, StopReason::Stationary) => "converged",
            (None, StopReason::Stalled) => "stalled",
            (None, StopReason::IterationLimit) => "iteration-limit",
        }
        .to_string(),
        method: match (options.method, model.engine) {
            (Method::SidConstant, _) => "sid-constant",
            (Method::SidDecreasing, _) => "sid-decreasing",
            (Method::AidFp, _) => "aid-fp",
            (_, Engine::Direct { .. }) => "exact",
            (_, Engine::Iterative { .. }) => "aid-cg",
        }
        .to_string(),
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

fn numbers(target: &Target) -> Vec<f64> {
    super::model::target_numbers(target).into_owned()
}

fn check(train: &Dataset, validation: Option<&Dataset>, test: Option<&Dataset>, options: &TuneOptions) -> Result<()> {
    if train.rows() < 4 {
        return Err(Error::input(format!("{} training rows are too few to tune on", train.rows())));
    }
    for (other, name) in [(validation, "validation"), (test, "test")] {
        let Some(other) = other else { continue };
        if other.features() != train.features() {
            let message =
                format!("the {name} data have {} features, the training data {}", other.features(), train.features());
            return Err(Error::input(message));
        }
        if other.rows() == 0 {
            return Err(Error::input(format!("the {name} data have no rows")));
        }
    }
    let (low, high) = options.lambda_bounds;
    if !(low < high && low >= -60.0 && high <= 60.0) {
        return Err(Error::input(format!("log-penalties cannot range over [{low}, {high}]"))
            .remedy("use bounds between -60 and 60, the lower one first"));
    }
    Ok(())
}

fn choose_loss(train: &Dataset, choice: LossChoice) -> Result<Loss> {
    let classes = match &train.target {
        Target::Classes { names, .. } => names.len(),
        Target::Values(_) => 0,
    };
    let mismatch = |what: &str| {
        let has = if classes == 0 { "numbers".to_string() } else { format!("{classes} classes") };
        Error::input(format!("a {what} model does not fit a target of {has}"))
    };
    match choice {
        LossChoice::Auto if classes == 0 => Ok(Loss::Squared),
        LossChoice::Auto | LossChoice::Logistic if classes == 2 => Ok(Loss::Logistic),
        LossChoice::Auto | LossChoice::Softmax if classes >= 2 => Ok(Loss::Softmax { classes }),
        LossChoice::SquaredHinge if classes == 2 => Ok(Loss::SquaredHinge),
        LossChoice::Squared if classes == 0 => Ok(Loss::Squared),
        LossChoice::Huber if classes == 0 => Ok(Loss::Huber { delta: huber_delta(&numbers(&train.target)) }),
        LossChoice::Poisson if classes == 0 => {
            if numbers(&train.target).iter().any(|&y| y < 0.0) {
                return Err(Error::input("a Poisson model needs targets that are not negative"));
            }
            Ok(Loss::Poisson)
        }
        LossChoice::Logistic | LossChoice::SquaredHinge => Err(mismatch("two-class")),
        LossChoice::Softmax | LossChoice::Auto => Err(mismatch("softmax")),
        LossChoice::Squared | LossChoice::Huber => Err(mismatch("regression")),
        LossChoice::Poisson => Err(mismatch("Poisson")),
    }
}

/// 1.345 robust standard deviations (from the median absolute deviation) of the target: 95 % efficient at the normal.
fn huber_delta(y: &[f64]) -> f64 {
    let median = |values: &mut Vec<f64>| {
        values.sort_by(f64::total_cmp);
        values[values.len() / 2]
    };
    let mut values = y.to_vec();
    let centre = median(&mut values);
    let deviation = 1.4826 * median(&mut y.iter().map(|y| (y - centre).abs()).collect());
    if deviation > 0.0 { 1.345 * deviation } else { 1.0 }
}

fn judges<'a>(
    data: &Dataset,
    validation: Option<(&'a Dataset, &'a [f64])>,
    options: &TuneOptions,
) -> Result<(Judges<'a>, String)> {
    if let Some((validation, y)) = validation {
        return Ok((Judges::Separate(Rows { design: &validation.design, y }), "validation file".into()));
    }
    let n = data.rows();
    let smallest = match &data.target {
        Target::Classes { codes, names } => {
            let mut sizes = vec![0usize; names.len()];
            codes.iter().for_each(|&c| sizes[c as usize] += 1);
            (0..names.len()).map(|c| (sizes[c], names[c].clone())).min()
        }
        Target::Values(_) => None,
    };
    let criterion = match options.criterion {
        Criterion::Auto if n <= FOLDS_UP_TO => {
            Criterion::Folds(smallest.as_ref().map_or(5, |(size, _)| 5.min(*size)).clamp(2, 5))
        }
        Criterion::Auto => Criterion::HeldOut(0.25),
        given => given,
    };
    match criterion {
        Criterion::Folds(k) => {
            if k < 2 || k > n {
                return Err(Error::input(format!("{k} folds of {n} rows are not possible"))
                    .remedy("use between 2 folds and one fold a row"));
            }
            if let Some((size, name)) = smallest.filter(|(size, _)| *size < k) {
                return Err(Error::input(format!("class {name} has {size} rows, fewer than the {k} folds"))
                    .remedy(format!("use --folds {} or fewer, or merge rare classes", size.max(2))));
            }
            Ok((Judges::Folds(k), format!("{k} folds")))
        }
        Criterion::HeldOut(fraction) => {
            if !(fraction > 0.0 && fraction < 1.0) {
                return Err(Error::input(format!("a fraction of {fraction} of the rows cannot be held out"))
                    .remedy("use a number between 0 and 1"));
            }
            let size = ((fraction * n as f64).round() as usize).clamp(1, n - 1);
            Ok((Judges::Tail(size), format!("{} % held out", (fraction * 1000.0).round() / 10.0)))
        }
        Criterion::Auto => unreachable!("replaced above"),
    }
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
        finer => return vec![Spec::SHARED, Spec { penalties: finer, spread: f64::INFINITY, adaptive: false }],
    };
    let mut specs = vec![Spec::SHARED];
    for penalties in kinds {
        if penalties != Penalties::PerClass {
            specs.push(Spec { penalties, spread: f64::INFINITY, adaptive: true });
        }
        specs.extend(SPREADS.iter().map(|&spread| Spec { penalties, spread, adaptive: false }));
    }
    specs
}

fn metrics(risk: &EmpiricalRisk<'_>, loss: Loss, w: &[f64]) -> Metrics {
    let (margins, y) = risk.margins_and_targets(w);
    Metrics::compute(loss, &margins, &y)
}

fn diagnose<'r>(
    parts: impl Iterator<Item = (&'r EmpiricalRisk<'r>, &'r [f64])>,
    loss: Loss,
    rows_are: &str,
) -> Diagnostics {
    let (mut margins, mut y) = (Vec::new(), Vec::new());
    for (risk, w) in parts {
        let (part_margins, part_y) = risk.margins_and_targets(w);
        margins.extend(part_margins);
        y.extend(part_y);
    }
    Diagnostics::compute(loss, &margins, &y, rows_are)
}

fn fold_metrics<'w>(division: &Division<'_>, loss: Loss, w: impl Iterator<Item = &'w [f64]>) -> Metrics {
    let (mut margins, mut y) = (Vec::new(), Vec::new());
    for (fold, w) in division.folds.iter().zip(w) {
        let (part_margins, part_y) = fold.judging.margins_and_targets(w);
        margins.extend(part_margins);
        y.extend(part_y);
    }
    Metrics::compute(loss, &margins, &y)
}

fn candidate(
    tried: &Tried,
    division: &Division<'_>,
    judged: &[Judged],
    test: Option<&EmpiricalRisk<'_>>,
    chosen: bool,
) -> Candidate {
    let loss = division.refit.loss();
    let monitor = judged.iter().find(|j| j.spec == tried.spec);
    Candidate {
        role: CandidateRole::Tuned,
        penalties: tried.spec.penalties,
        shrinkage: tried.spec.shrinkage(),
        hyperparameters: tried.lambda.len(),
        train: metrics(&division.refit, loss, &tried.w),
        validation: fold_metrics(division, loss, tried.fold_w.iter().map(|w| &w[..])),
        monitor_loss: monitor.map(|j| j.loss),
        monitor_std_error: monitor.map(|j| j.std_error),
        test: test.map(|risk| metrics(risk, loss, &tried.w)),
        chosen,
    }
}

fn untuned(
    division: &Division<'_>,
    model: &Model<'_>,
    options: &TuneOptions,
    test: Option<&EmpiricalRisk<'_>>,
    context: &mut Context<'_>,
) -> Result<Candidate> {
    let lambda = [untuned_lambda(division.refit.len(), options.lambda_bounds)];
    let loss = division.refit.loss();
    let mut fit_rows = |risk: &EmpiricalRisk<'_>| -> Result<Vec<f64>> {
        let (w, work) = fit(risk, &Penalty::Shared, &lambda, model.engine, &risk.null_parameters())?;
        context.work += work;
        Ok(w)
    };
    let w = fit_rows(&division.refit)?;
    let fold_w = division.folds.iter().map(|fold| fit_rows(&fold.fitted)).collect::<Result<Vec<_>>>()?;
    Ok(Candidate {
        role: CandidateRole::Untuned,
        penalties: Penalties::Shared,
        shrinkage: f64::INFINITY,
        hyperparameters: 1,
        train: metrics(&division.refit, loss, &w),
        validation: fold_metrics(division, loss, fold_w.iter().map(|w| &w[..])),
        monitor_loss: None,
        monitor_std_error: None,
        test: test.map(|risk| metrics(risk, loss, &w)),
        chosen: false,
    })
}

fn lambda_names(penalty: &Penalty, data: &Dataset) -> Vec<String> {
    match penalty {
        Penalty::Shared => vec!["shared".into()],
        Penalty::PerGroup { .. } => data.groups.names.clone(),
        Penalty::PerFeature { .. } => data.feature_names.clone(),
        Penalty::PerClass { outputs } => match &data.target {
            Target::Classes { names, .. } => names.clone(),
            Target::Values(_) => (0..*outputs).map(|c| c.to_string()).collect(),
        },
    }
}
