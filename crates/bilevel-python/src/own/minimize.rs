//! Upper-level loops and the algorithms of the literature on functions in Python.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::mpsc::Sender;
use std::time::{Duration, Instant};

use bilevel::algorithms::{Algorithm, Bilevel, Iterate, Outcome, Point, Recipe, Settings as Recipes, run};
use bilevel::domain::Domain;
use bilevel::hypergradient::{Hypergradient, Implicit, Sid, WarmStart};
use bilevel::lower::{GradientMap, StochasticLoss};
use bilevel::newton::Newton;
use bilevel::optimize::{BoundedLbfgs, Evaluation, Iteration, Limits, OuterStep, ProjectedGradient, StopReason};
use bilevel::sample::{Batch, Sample};
use bilevel::step_size::StepSize;
use bilevel::upper::UpperObjective;
use bilevel::work::Work;
use bilevel::{Error, Result, vector};
use numpy::{PyArray1, PyReadonlyArray1};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList};

use super::bridge::{Bridge, known_thread};
use super::hypergradient::{Start, place, work};
use super::levels::{LossLevel, Lower, ObjectiveLevel};
use super::plan::{Measured, Place, Plan, Settings, longest_step};
use crate::attended::{Attended, Question, ask, attended};

/// Growth of the number of iterations between two entries of the history of an algorithm.
const GROWTH: f64 = 1.25;
/// Steps of the hypergradient that sets the scale of the outer step.
const SCALE_STEPS: usize = 256;
/// The name here of [`Algorithm::Auto`]: what `auto` stands for depends on the problem.
const ADAPTIVE: &str = "adaptive";
/// Part of the longest safe step that algorithms begin with.
const SAFE_PART: f64 = 0.5;

/// The settings of the loop, a dictionary with these keys.
#[derive(FromPyObject)]
#[pyo3(from_item_all)]
struct Loop<'py> {
    method: String,
    low: PyReadonlyArray1<'py, f64>,
    high: PyReadonlyArray1<'py, f64>,
    max_iter: usize,
    max_time: Option<f64>,
    tolerance: f64,
    patience: usize,
    step_rule: String,
    outer_step: f64,
    steps: Option<(f64, f64, f64)>,
    /// Rows of the samples of an algorithm; zero: all.
    batch: usize,
}

/// What loops have in common.
struct Frame<'a> {
    lower: &'a Lower,
    upper: &'a ObjectiveLevel,
    bridge: &'a Bridge,
    domain: &'a Domain,
    asked: Asked,
    clock: Instant,
    place: Place,
    listener: Option<&'a Sender<Question<Entry>>>,
    history: Vec<Entry>,
}

/// The loop's settings without the arrays of Python.
struct Asked {
    method: String,
    max_iter: usize,
    deadline: Option<Duration>,
    tolerance: f64,
    patience: usize,
    step_rule: String,
    outer_step: f64,
    steps: Option<[f64; 3]>,
    batch: Batch,
}

/// One entry of the history.
#[derive(Clone)]
struct Entry {
    iteration: usize,
    objective: f64,
    projected_gradient: f64,
    lambda: Vec<f64>,
    rows: u64,
    seconds: f64,
}

/// How it ended.
struct Ended {
    lambda: Vec<f64>,
    w: Vec<f64>,
    objective: f64,
    gradient: Option<Vec<f64>>,
    iterations: usize,
    reason: StopReason,
    work: Work,
}

/// Minimises `upper` over `lam`; returns a record of the result.
///
/// `listener`, where given, is called with the numbers of every entry of the history and ends the loop by returning a true
/// value.
#[pyfunction]
#[pyo3(signature = (lower, upper, lam, settings, options, start, threads, listener))]
#[allow(clippy::too_many_arguments)]
pub fn minimize<'py>(
    py: Python<'py>,
    lower: &Bound<'py, PyAny>,
    upper: &Bound<'py, PyAny>,
    lam: PyReadonlyArray1<'py, f64>,
    settings: &Bound<'py, PyDict>,
    options: &Bound<'py, PyDict>,
    start: Start<'py>,
    threads: usize,
    listener: Option<Py<PyAny>>,
) -> PyResult<Bound<'py, PyDict>> {
    let bridge = Arc::new(Bridge::default());
    let (lower, upper) = (Lower::read(lower, &bridge)?, ObjectiveLevel::read(upper, &bridge)?);
    let plan = Plan::new(settings.extract::<Settings>()?, &lower, &upper)?;
    let options = options.extract::<Loop<'_>>()?;
    let domain = Domain::bounded(options.low.as_array().to_vec(), options.high.as_array().to_vec());
    let domain = domain.map_err(crate::errors::raise)?;
    let asked = options.asked();
    let lambda = lam.as_array().to_vec();
    let place = place(&start).unwrap_or_else(|| Place::zeros(lower.level().dims().w));
    let algorithm = asked.algorithm(&lower)?;
    let heard = listener.is_some();
    let work = |events: Sender<Question<Entry>>, flag| {
        bridge.watch(flag);
        let clock = Instant::now();
        let listener = heard.then_some(&events);
        let (lower, upper, bridge, domain) = (&lower, &upper, &*bridge, &domain);
        let mut frame = Frame { lower, upper, bridge, domain, asked, clock, place, listener, history: Vec::new() };
        let ended = known_thread(|| match (algorithm, lower) {
            (Some(algorithm), Lower::Loss(loss)) => frame.algorithm(algorithm, loss, &lambda, &plan),
            _ => frame.descent(&plan, &lambda),
        });
        ended.map(|ended| (ended, frame.history, clock.elapsed().as_secs_f64()))
    };
    let listen = |py: Python<'_>, question: &Question<Entry>| {
        if let Some(listener) = &listener {
            question.answer(listener.bind(py).call1(entry(py, &question.record))?.is_truthy()?);
        }
        Ok(false)
    };
    let Attended { result, raised } = attended(py, threads, work, listen)?;
    // What was found until an exception goes with it.
    let found = match &result {
        Ok((ended, history, seconds)) => Some(record(py, ended, history, *seconds)?),
        Err(_) => None,
    };
    match (bridge.settle(py, result, raised), found) {
        (Ok(_), Some(found)) => Ok(found),
        (Ok(_), None) => unreachable!("what did not fail has a record"),
        (Err(error), found) => {
            if let Some(found) = found {
                // An exception that takes no attributes goes without.
                let _ = error.value(py).setattr("record", found);
            }
            Err(error)
        }
    }
}

impl Loop<'_> {
    fn asked(&self) -> Asked {
        Asked {
            method: self.method.clone(),
            max_iter: self.max_iter.max(1),
            deadline: self.max_time.map(Duration::from_secs_f64),
            tolerance: self.tolerance,
            patience: self.patience,
            step_rule: self.step_rule.clone(),
            outer_step: self.outer_step,
            steps: self.steps.map(|(lower, linear, outer)| [lower, linear, outer]),
            batch: if self.batch == 0 { Batch::All } else { Batch::Rows(self.batch) },
        }
    }
}

impl Asked {
    /// The algorithm of the literature, if it is one, and if `lower` can serve it.
    fn algorithm(&self, lower: &Lower) -> PyResult<Option<Algorithm>> {
        if ["lbfgs", "gradient"].contains(&self.method.as_str()) {
            return Ok(None);
        }
        let refuse = |text: String| Err(PyValueError::new_err(text));
        let name = |algorithm: Algorithm| if algorithm == Algorithm::Auto { ADAPTIVE } else { algorithm.name() };
        let Some(algorithm) = Algorithm::ALL.into_iter().find(|&algorithm| name(algorithm) == self.method) else {
            let names: Vec<_> = Algorithm::ALL.into_iter().map(name).collect();
            let (method, names) = (&self.method, names.join(", "));
            return refuse(format!("no method is called {method:?}; choose from lbfgs, gradient, {names}"));
        };
        let Lower::Loss(loss) = lower else {
            let method = &self.method;
            return refuse(format!("method=\"{method}\" is for losses; a map takes lbfgs or gradient"));
        };
        if algorithm == Algorithm::Auto && !lower.level().exact {
            return refuse(format!("method=\"{ADAPTIVE}\" looks at all rows now and then, and a simulation has none"));
        }
        let first_order = matches!(algorithm.recipe(), Recipe::Penalized { .. } | Recipe::DynamicBarrier { .. });
        if first_order && loss.gradient_lambda.is_none() {
            return refuse(format!("method=\"{algorithm}\" needs the function gradient_lam of the loss"));
        }
        Ok(Some(algorithm))
    }
}

impl Frame<'_> {
    fn is_late(&self) -> bool {
        self.asked.deadline.is_some_and(|deadline| self.clock.elapsed() >= deadline)
    }

    /// Adds an entry; true to stop.
    fn tell(&mut self, entry: Entry) -> bool {
        self.history.push(entry.clone());
        self.bridge.is_halted() || self.listener.is_some_and(|events| ask(events, entry, |question| question))
    }

    /// Descends along hypergradients, by line searches or by steps that need none.
    fn descent(&mut self, plan: &Plan, lambda: &[f64]) -> Result<Ended> {
        struct Best {
            lambda: Vec<f64>,
            objective: f64,
            gradient: Vec<f64>,
            w: Option<Vec<f64>>,
        }
        let (lower, upper, bridge, domain) = (self.lower, self.upper, self.bridge, self.domain);
        let (clock, deadline) = (self.clock, self.asked.deadline);
        let Asked { max_iter, tolerance, patience, .. } = self.asked;
        let searches = self.asked.method == "lbfgs";
        let step = self.asked.step()?;
        let late = || deadline.is_some_and(|deadline| clock.elapsed() >= deadline);
        let mut best: Option<Best> = None;
        let mut measured = Measured::default();
        let mut place = self.place.clone();
        let mut oracle = |lambda: &[f64], number: usize| -> Result<Evaluation> {
            if late() && best.is_some() {
                return Err(Error::interrupted());
            }
            let mut watch = |_: &_| if bridge.is_halted() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) };
            let found = plan.estimate(lower, upper, lambda, (Some(&place), number as u64), &mut measured, &mut watch);
            // What a failed function left behind is no bad step.
            bridge.check()?;
            let found = found.inspect_err(|_| measured = Measured::default())?;
            let Hypergradient { objective, value, work, .. } = found.estimate;
            if let Some(ended) = &found.place {
                place = ended.clone();
            }
            // Of equals a line search keeps the last, and steps without one the first.
            let better = |best: &Best| if searches { objective <= best.objective } else { objective < best.objective };
            if best.as_ref().is_none_or(better) {
                let w = found.place.map(|place| place.w);
                best = Some(Best { lambda: lambda.to_vec(), objective, gradient: value.clone(), w });
            }
            Ok(Evaluation { objective, gradient: value, work })
        };
        let mut observer = |seen: &Iteration<'_>| {
            let stop = self.tell(Entry {
                iteration: seen.number,
                objective: seen.objective,
                projected_gradient: seen.projected_gradient_norm,
                lambda: seen.lambda.to_vec(),
                rows: seen.work.rows,
                seconds: clock.elapsed().as_secs_f64(),
            });
            if stop { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        };
        let outcome = if searches {
            let lbfgs = BoundedLbfgs { iterations: max_iter, tolerance, stall: tolerance, ..BoundedLbfgs::default() };
            lbfgs.minimize(&mut oracle, domain, lambda, &mut observer)?
        } else {
            let seconds = deadline.map(|deadline| deadline.as_secs_f64());
            let limits =
                Limits { iterations: max_iter, seconds, gradient_tolerance: tolerance, patience, improvement: 1e-4 };
            ProjectedGradient { step, limits }.minimize(&mut oracle, domain, lambda, &mut observer)?
        };
        let reason = match outcome.reason {
            StopReason::Interrupted if late() => StopReason::TimeLimit,
            reason => reason,
        };
        let mut ended = Ended {
            lambda: outcome.lambda,
            w: place.w.clone(),
            objective: outcome.objective,
            gradient: None,
            iterations: outcome.iterations,
            reason,
            work: outcome.work,
        };
        match best.filter(|best| best.lambda == ended.lambda) {
            Some(best) => {
                ended.gradient = Some(best.gradient);
                ended.w = best.w.unwrap_or(ended.w);
            }
            // A trial that was no better was seen last: `w` belongs to `lambda`.
            None if !bridge.is_halted() => {
                let (start, mut watch) = ((Some(&place), 0), |_: &_| ControlFlow::Continue(()));
                let found = plan.estimate(lower, upper, &ended.lambda, start, &mut Measured::default(), &mut watch);
                bridge.check()?;
                let found = found?;
                ended.work += found.estimate.work;
                ended.gradient = Some(found.estimate.value);
                ended.w = found.place.map_or(ended.w, |place| place.w);
            }
            None => {}
        }
        Ok(ended)
    }

    /// Runs an algorithm of the literature from `lambda`.
    fn algorithm(&mut self, algorithm: Algorithm, loss: &LossLevel, lambda: &[f64], plan: &Plan) -> Result<Ended> {
        let (upper, domain) = (self.upper, self.domain);
        let mut at = lambda.to_vec();
        domain.project(&mut at);
        let seed = plan.settings.seed;
        let batch = if algorithm == Algorithm::Hoag { Batch::All } else { self.asked.batch };
        let (steps, before) = match self.asked.steps {
            Some(steps) => (steps, Work::default()),
            // It finds its steps by itself; these are factors.
            None if algorithm == Algorithm::Auto => ([1.0; 3], Work::default()),
            None => self.first_steps(loss, &at, batch, seed)?,
        };
        let recipes = Recipes::of(algorithm, steps, batch, seed);
        let problem = Bilevel { lower: loss, upper, domain };
        let start = Point::new(&self.place.w, &self.place.u, &at);
        let (mut reason, mut next) = (StopReason::IterationLimit, 0);
        let exact = upper.level.exact;
        // The last place that an entry tells of: once a function has failed, the iterates are no numbers.
        let mut told: Option<(usize, Work, Vec<f64>, Vec<f64>)> = None;
        let mut observer = |seen: &Iterate<'_>| {
            let over = seen.iterations >= self.asked.max_iter;
            let late = self.is_late();
            if seen.iterations >= next || over || late {
                next = (seen.iterations + 1).max((GROWTH * seen.iterations as f64) as usize);
                let (w, lambda) = (seen.point.w(), seen.point.lambda());
                let objective = if exact { upper.value(w, lambda, &Sample::Full) } else { f64::NAN };
                if self.bridge.is_halted() {
                    return ControlFlow::Break(());
                }
                told = Some((seen.iterations, seen.work, w.to_vec(), lambda.to_vec()));
                let stop = self.tell(Entry {
                    iteration: seen.iterations,
                    objective,
                    projected_gradient: f64::NAN,
                    lambda: lambda.to_vec(),
                    rows: (seen.work + before).rows,
                    seconds: self.clock.elapsed().as_secs_f64(),
                });
                if stop {
                    reason = StopReason::Interrupted;
                    return ControlFlow::Break(());
                }
            }
            if late && !over {
                reason = StopReason::TimeLimit;
            }
            if over || late || self.bridge.is_halted() {
                return ControlFlow::Break(());
            }
            ControlFlow::Continue(seen.iterations + 1)
        };
        let ran = run(problem, &recipes, start, &mut observer);
        let (iterations, after, w, lambda) = if self.bridge.is_halted() {
            reason = StopReason::Interrupted;
            told.ok_or_else(Error::interrupted)?
        } else {
            let Outcome { iterations, work, point, .. } = ran?;
            (iterations, work, point.w().to_vec(), point.lambda().to_vec())
        };
        if !vector::all_finite(&w) || !vector::all_finite(&lambda) {
            return Err(Error::numeric("the iterates are not finite").remedy("use smaller steps, or a larger batch"));
        }
        let objective = self.history.last().map_or(f64::NAN, |entry| entry.objective);
        Ok(Ended { lambda, w, objective, gradient: None, iterations, reason, work: after + before })
    }

    /// First steps: a part of the longest safe one for `w` and `v`, and for `lambda` the one that moves no coordinate by more
    /// than `outer_step`.
    fn first_steps(&self, loss: &LossLevel, lambda: &[f64], batch: Batch, seed: u64) -> Result<([f64; 3], Work)> {
        let (longest, mut work) = longest_step(loss, &self.place.w, lambda, batch, seed)?;
        let mut warm = WarmStart { w: self.place.w.clone(), v: self.place.u.clone() };
        let estimate = match batch {
            Batch::All => {
                let newton = Newton::default();
                Implicit::default().estimate(loss, self.upper, lambda, Some(&mut warm), &newton)?
            }
            Batch::Rows(rows) => {
                let fit = |size: usize| match SCALE_STEPS * rows {
                    all if all >= size => Batch::All,
                    some => Batch::Rows(some),
                };
                let sid = Sid {
                    cross_batch: fit(loss.size(&Sample::Full)),
                    upper_batch: fit(self.upper.size(&Sample::Full)),
                    ..Sid::new(SCALE_STEPS, rows, StepSize::Constant { eta: SAFE_PART })
                };
                vector::scale(1.0 / longest, &mut warm.v);
                let map = GradientMap { loss, map_step: longest };
                sid.estimate(&map, self.upper, lambda, Some(&mut warm), seed, 0)?
            }
        };
        work += estimate.work;
        let outer = self.asked.outer_step / vector::max_abs(&estimate.value).max(f64::MIN_POSITIVE);
        Ok(([SAFE_PART * longest, SAFE_PART * longest, outer], work))
    }
}

impl Asked {
    fn step(&self) -> Result<OuterStep> {
        let outer_step = self.outer_step;
        let step = match self.step_rule.as_str() {
            "adam" => OuterStep::adam(outer_step),
            "adagrad-norm" => OuterStep::AdaGradNorm { outer_step },
            "constant" => OuterStep::Scheduled(StepSize::Constant { eta: outer_step }),
            name => {
                return Err(Error::input(format!("no step rule is called {name}"))
                    .remedy("choose from adam, adagrad-norm and constant"));
            }
        };
        step.validate()?;
        Ok(step)
    }
}

type Numbers<'py> = (usize, f64, f64, Bound<'py, PyArray1<f64>>, u64, f64);

fn entry<'py>(py: Python<'py>, entry: &Entry) -> Numbers<'py> {
    let lambda = PyArray1::from_slice(py, &entry.lambda);
    (entry.iteration, entry.objective, entry.projected_gradient, lambda, entry.rows, entry.seconds)
}

fn record<'py>(py: Python<'py>, ended: &Ended, history: &[Entry], seconds: f64) -> PyResult<Bound<'py, PyDict>> {
    let record = PyDict::new(py);
    record.set_item("lam", PyArray1::from_slice(py, &ended.lambda))?;
    record.set_item("w", PyArray1::from_slice(py, &ended.w))?;
    record.set_item("objective", ended.objective)?;
    record.set_item("gradient", ended.gradient.as_ref().map(|gradient| PyArray1::from_slice(py, gradient)))?;
    record.set_item("iterations", ended.iterations)?;
    record.set_item("status", ended.reason.name())?;
    record.set_item("message", ended.reason.to_string())?;
    record.set_item("work", work(ended.work))?;
    record.set_item("history", PyList::new(py, history.iter().map(|one| entry(py, one)))?)?;
    record.set_item("seconds", seconds)?;
    Ok(record)
}
