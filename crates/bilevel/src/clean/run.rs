//! The cleaning from beginning to end.

use std::cell::RefCell;
use std::ops::ControlFlow;
use std::time::Instant;

use super::objective::{Engine, Objective, fit};
use super::options::{CleanOptions, Start, Strength};
use super::outcome::{Cleaned, Fit, FitOf, Step};
use super::penalty;
use super::start::{self, Seen, row_losses};
use super::steering::{divide, known_classes, remarks_on_classes, tells_classes_apart};
use crate::data::Dataset;
use crate::domain::Domain;
use crate::observer::{Event, Observer};
use crate::optimize::{BoundedLbfgs, Evaluation, Iteration, Oracle, StopReason};
use crate::problems::glm::{EmpiricalRisk, Glm, Loss, Penalty, Reweighting};
use crate::sample::{Purpose, Rng, Sample};
use crate::stop::StopSignal;
use crate::tune::{
    Ending, FeatureScale, GlmProblem, LinearModel, Method, Penalties, TuneOptions, predicted_classes, target_numbers,
};
use crate::upper::UpperObjective;
use crate::work::Work;
use crate::{Error, Result};

/// Hyperparameters stay in here: weights between 6e-6 and 1 - 6e-6.
const BOX: (f64, f64) = (-12.0, 12.0);
/// Steps without a better monitor loss after which the weights only fit the rows that steer.
const PATIENCE: usize = 3;
/// Floor of the diagonal that scales first steps from the trusted start, where a few rows have by far the largest gradients.
const FIRST_SCALE: f64 = 0.1;
/// Largest move in one step from there: further ones serve the few rows that steer and undo what the start knows.
const LARGEST_MOVE: f64 = 1.0;
/// Fraction of the loss that five steps must gain.
const STALL: f64 = 1e-3;

pub(super) fn run(
    train: &Dataset,
    trusted: &Dataset,
    test: Option<&Dataset>,
    options: &CleanOptions,
    observer: &mut dyn for<'e> Observer<Event<'e, Step>>,
) -> Result<Cleaned> {
    let started = Instant::now();
    check(train, trusted, test, options)?;
    let signal = StopSignal::new(options.time, observer.stop_flag());
    let trusted = &shuffled(trusted, options.seed);
    let mut notes = remarks_on_classes(train, trusted);

    begin(observer, "arranging the rows")?;
    let problem = GlmProblem::new(train, Some(trusted), &tune_options(options))?;
    let loss = problem.loss();
    let (lower, upper) = (problem.lower(), problem.upper());
    let n = problem.data().rows();
    let engine = Engine::of(options.method, lower.risk());
    let of_trusted = Engine::of(options.method, &upper);
    let late = |error| too_late(error, &signal);
    let mut work = Work::default();
    if !tells_classes_apart(&upper) {
        return Err(Error::input("all trusted rows are of one class, and no model can be fitted to them")
            .remedy("give trusted rows of several classes"));
    }

    begin(observer, "tuning the penalty on the trusted rows")?;
    let (log_strength, spent) = log_strength(&problem, options, of_trusted, &signal)?;
    work += spent;
    let held = |risk| Glm::new(risk, Penalty::Shared).holding(vec![log_strength]);

    // What the weights are to be compared with.
    begin(observer, "fitting the trusted rows alone")?;
    let mut alone = upper.null_parameters();
    work += fit(of_trusted, &held(upper.clone()), &[], &mut alone, false, &signal).map_err(late)?;
    begin(observer, "fitting all rows alike")?;
    let lower = held(lower.risk().clone());
    let mut of_all = lower.risk().null_parameters();
    work += fit(engine, &lower, &[], &mut of_all, false, &signal).map_err(late)?;

    begin(observer, "learning the weights")?;
    let (steering, monitor) = divide(&upper, options.monitor, &mut notes);
    let (first, w) = match options.start {
        Start::Uniform => (vec![0.0; n], of_all.clone()),
        Start::Trusted => {
            // Monitor rows have no part in the start either.
            let mut w = alone.clone();
            if monitor.is_some() {
                let lower = held(steering.clone());
                work += fit(of_trusted, &lower, &[], &mut w, false, &signal).map_err(late)?;
            }
            let judging = monitor.as_ref().unwrap_or(&steering).full_value(&w);
            (from_trusted(&problem, &w, judging, &known_classes(&steering), train)?, w)
        }
    };
    let weighted = lower.clone().reweighted(Reweighting::Sigmoid);
    let objective = Objective::new(weighted, steering.as_upper(n), engine, signal.clone(), w);
    let mut descent = descend(objective, &first, monitor, options, observer, started)?;
    work += descent.work;
    // There is something to keep by now, and this is what it takes.
    let _ = observer.observe(&Event::Phase("fitting the weighted rows"));
    let hurried = signal.is_raised();
    let weighted = lower.clone().reweighted(Reweighting::Sigmoid);
    work += fit(engine, &weighted, &descent.lambda, &mut descent.w, hurried, &StopSignal::never())?;

    let models = [(FitOf::AllRows, problem.model(&of_all)), (FitOf::TrustedRows, problem.model(&alone))]
        .into_iter()
        .chain([(FitOf::WeightedRows, problem.model(&descent.w))]);
    let models: Vec<(FitOf, LinearModel)> = models.collect();
    let fits = models.iter().map(|(of, model)| {
        let test = test.map(|test| model.metrics(test)).transpose()?;
        Ok(Fit { of: *of, trusted: model.metrics(trusted)?, test })
    });
    let fits = fits.collect::<Result<_>>()?;
    let [_, (_, trusted_model), (_, model)] = <[_; 3]>::try_from(models).expect("three models");
    let learned = of_rows_given(&problem, &Reweighting::Sigmoid.factors(&descent.lambda), train.rows());
    let (margins, y) = (model.margins(train)?, target_numbers(train));
    let losses = row_losses(loss, &margins, &y);
    Ok(Cleaned {
        predicted: if loss.is_classifier() { predicted_classes(loss, &margins).collect() } else { Vec::new() },
        probability: match loss {
            Loss::Logistic | Loss::Softmax { .. } => losses.iter().map(|loss| (-loss).exp()).collect(),
            _ => Vec::new(),
        },
        trusted_losses: row_losses(loss, &trusted_model.margins(train)?, &y),
        model,
        trusted_model,
        suspicious: suspicious(&learned, &losses),
        weights: learned.into_iter().map(Option::unwrap_or_default).collect(),
        fits,
        strength: log_strength.exp(),
        status: descent.status,
        method: engine.name().into(),
        kept: descent.kept,
        trace: descent.trace,
        training_rows: n,
        trusted_rows: trusted.rows(),
        features: train.features(),
        notes,
        seconds: started.elapsed().as_secs_f64(),
        passes: work.passes(n),
    })
}

fn check(train: &Dataset, trusted: &Dataset, test: Option<&Dataset>, options: &CleanOptions) -> Result<()> {
    train.validate("training")?;
    for (other, name) in [(Some(trusted), "trusted"), (test, "test")] {
        let Some(other) = other else { continue };
        other.validate(name)?;
        train.check_fits(other, name)?;
    }
    for (rows, name) in [(train.weighing_rows(), "training"), (trusted.weighing_rows(), "trusted")] {
        if rows < 4 {
            let are = if rows == 1 { "row is" } else { "rows are" };
            return Err(
                Error::input(format!("{rows} {name} {are} too few to learn weights with")).remedy("give more rows")
            );
        }
    }
    if !(0.0..1.0).contains(&options.monitor) {
        return Err(Error::input(format!("a share of {} of the trusted rows cannot be monitor rows", options.monitor))
            .remedy("use a number from 0 to below 1"));
    }
    if let Strength::Fixed(strength) = options.strength
        && !(strength > 0.0 && strength.is_finite())
    {
        return Err(Error::input(format!("the penalty {strength} is no strength")).remedy("use a positive number"));
    }
    match options.method {
        Method::Auto | Method::Exact | Method::AidCg => Ok(()),
        _ => Err(Error::input("weights of rows are learned with the methods auto, exact and aid-cg")
            .remedy("choose one of these")),
    }
}

fn tune_options(options: &CleanOptions) -> TuneOptions {
    TuneOptions {
        loss: options.loss,
        penalties: Penalties::Shared,
        intercept: options.intercept,
        standardize: options.standardize,
        seed: options.seed,
        ..TuneOptions::default()
    }
}

/// The logarithm of the penalty that is held: as given, or as it suits the trusted rows.
fn log_strength(
    problem: &GlmProblem,
    options: &CleanOptions,
    engine: Engine,
    signal: &StopSignal,
) -> Result<(f64, Work)> {
    match options.strength {
        Strength::Fixed(strength) => Ok((strength.ln(), Work::default())),
        Strength::Tuned => {
            let data = problem.data();
            let scale = FeatureScale::of(&data.design, options.intercept, data.weights.as_deref());
            penalty::tuned(&problem.upper(), scale, engine, signal).map_err(|error| too_late(error, signal))
        }
    }
}

/// The weights of the rows in the order they were given in; none of rows that had no part.
fn of_rows_given(problem: &GlmProblem, weights: &[f64], rows: usize) -> Vec<Option<f64>> {
    let mut given = vec![None; rows];
    for (position, &weight) in weights.iter().enumerate() {
        given[problem.row(position)] = Some(weight);
    }
    given
}

/// Rows with weights in rising order, of equal ones first those with the larger loss.
fn suspicious(weights: &[Option<f64>], losses: &[f64]) -> Vec<u32> {
    let mut rows: Vec<(u32, f64)> =
        (0..).zip(weights).filter_map(|(row, weight)| weight.map(|weight| (row, weight))).collect();
    rows.sort_by(|&(a, of_a), &(b, of_b)| {
        of_a.total_cmp(&of_b).then(losses[b as usize].total_cmp(&losses[a as usize]))
    });
    rows.into_iter().map(|(row, _)| row).collect()
}

/// The rows that weigh something, in random order, so that any run of them stands for all.
fn shuffled(trusted: &Dataset, seed: u64) -> Dataset {
    let weighs = |row: &u32| trusted.weights.as_ref().is_none_or(|weights| weights[*row as usize] > 0.0);
    let mut order: Vec<u32> = (0..trusted.rows() as u32).filter(weighs).collect();
    Rng::stream(seed, Purpose::Split, 7).shuffle(&mut order);
    trusted.select(&order)
}

/// Where the descent ended.
struct Descent {
    lambda: Vec<f64>,
    w: Vec<f64>,
    kept: usize,
    status: Ending,
    trace: Vec<Step>,
    work: Work,
}

/// The best weights so far, by the loss on the monitor rows; without any the last ones.
struct Best {
    judged: f64,
    lambda: Vec<f64>,
    w: Vec<f64>,
    number: usize,
}

/// Tells of a phase before there is anything to keep.
fn begin(observer: &mut dyn for<'e> Observer<Event<'e, Step>>, phase: &str) -> Result<()> {
    match observer.observe(&Event::Phase(phase)) {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(()) => Err(Error::interrupted()),
    }
}

fn descend(
    objective: Objective<'_>,
    first: &[f64],
    monitor: Option<EmpiricalRisk<'_>>,
    options: &CleanOptions,
    observer: &mut dyn for<'e> Observer<Event<'e, Step>>,
    started: Instant,
) -> Result<Descent> {
    let n = objective.lower.risk().len();
    let signal = objective.signal.clone();
    let objective = RefCell::new(objective);
    let mut best = Best { judged: f64::INFINITY, lambda: Vec::new(), w: Vec::new(), number: 0 };
    let (mut trace, mut overfitted, mut asked) = (Vec::new(), false, false);
    let mut watch = |seen: &Iteration<'_>| {
        let objective = objective.borrow();
        let monitor_loss = monitor.as_ref().map(|rows| rows.value(&objective.w, &[], &Sample::Full));
        let weights = Reweighting::Sigmoid.factors(seen.lambda);
        let step = Step {
            iteration: seen.number,
            seconds: started.elapsed().as_secs_f64(),
            trusted_loss: seen.objective,
            monitor_loss,
            mean_weight: weights.iter().sum::<f64>() / n as f64,
            gradient: seen.projected_gradient_norm,
            passes: seen.work.passes(n),
        };
        trace.push(step);
        if monitor_loss.is_none_or(|loss| loss < best.judged) {
            let judged = monitor_loss.unwrap_or(seen.objective);
            best = Best { judged, lambda: seen.lambda.to_vec(), w: objective.w.clone(), number: seen.number };
        }
        overfitted = seen.number >= best.number + PATIENCE;
        asked = observer.observe(&Event::Iteration(&step)).is_break();
        if asked || overfitted { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    };
    let method = BoundedLbfgs {
        iterations: options.steps(),
        tolerance: options.tolerance / n as f64,
        stall: STALL,
        ..match options.start {
            Start::Uniform => BoundedLbfgs::default(),
            Start::Trusted => {
                BoundedLbfgs { largest_move: LARGEST_MOVE, first_scale: Some(FIRST_SCALE), ..BoundedLbfgs::default() }
            }
        }
    };
    let domain = Domain::uniform(n, BOX.0, BOX.1)?;
    let mut oracle =
        |lambda: &[f64], number: usize| -> Result<Evaluation> { objective.borrow_mut().evaluate(lambda, number) };
    let outcome = method.minimize(&mut oracle, &domain, first, &mut watch);
    let outcome = outcome.map_err(|error| too_late(error, &signal))?;
    let status = match outcome.reason {
        _ if asked || signal.is_flagged() => Ending::Interrupted,
        StopReason::Interrupted if overfitted => Ending::Monitor,
        StopReason::Interrupted => Ending::TimeLimit,
        reason => reason.into(),
    };
    Ok(Descent { lambda: best.lambda, w: best.w, kept: best.number, status, trace, work: outcome.work })
}

/// Time that is over before there is anything to keep is no interruption by the user.
fn too_late(error: Error, signal: &StopSignal) -> Error {
    match error.is_interrupted() && !signal.is_flagged() {
        true => Error::numeric("the time was over before a first fit ended").remedy("raise --max-time"),
        false => error,
    }
}

/// Where weights begin in the eyes of the model of trusted rows with the parameters `w`, whose mean loss on those that judge it
/// is `judged`, and that knows the classes `known`.
fn from_trusted(problem: &GlmProblem, w: &[f64], judged: f64, known: &[bool], train: &Dataset) -> Result<Vec<f64>> {
    let (model, y) = (problem.model(w), target_numbers(train));
    let margins = model.margins(train)?;
    let losses = row_losses(model.loss, &margins, &y);
    let given = train.weights.as_deref();
    let loss = model.loss;
    let seen = Seen { loss, losses: &losses, margins: &margins, y: &y, given, known, trusted_loss: judged };
    let found = start::hyperparameters(&seen);
    Ok((0..problem.data().rows()).map(|position| found[problem.row(position)]).collect())
}
