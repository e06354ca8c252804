//! Upper-level loops and the algorithms of the literature on functions in Python.

use std::sync::Arc;
use std::sync::mpsc::Sender;
use std::time::{Duration, Instant};

use bilevel::algorithms::FirstSteps;
use bilevel::domain::Domain;
use bilevel::optimize::StopReason;
use bilevel::sample::Batch;
use bilevel::work::Work;
use numpy::{PyArray1, PyReadonlyArray1};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList};

use super::bridge::{Bridge, known_thread};
use super::hypergradient::{Start, place, work};
use super::levels::{Lower, ObjectiveLevel};
use super::plan::{Place, Plan, Settings};
use crate::attended::{Attended, Question, ask, attended};

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
pub(super) struct Frame<'a> {
    pub(super) lower: &'a Lower,
    pub(super) upper: &'a ObjectiveLevel,
    pub(super) bridge: &'a Bridge,
    pub(super) domain: &'a Domain,
    pub(super) asked: Asked,
    pub(super) clock: Instant,
    pub(super) place: Place,
    pub(super) listener: Option<&'a Sender<Question<Entry>>>,
    pub(super) history: Vec<Entry>,
}

/// The loop's settings without the arrays of Python.
pub(super) struct Asked {
    pub(super) method: String,
    pub(super) max_iter: usize,
    pub(super) deadline: Option<Duration>,
    pub(super) tolerance: f64,
    pub(super) patience: usize,
    pub(super) step_rule: String,
    pub(super) outer_step: f64,
    pub(super) steps: Option<FirstSteps>,
    pub(super) batch: Batch,
}

/// One entry of the history.
#[derive(Clone)]
pub(super) struct Entry {
    pub(super) iteration: usize,
    pub(super) objective: f64,
    pub(super) projected_gradient: f64,
    pub(super) lambda: Vec<f64>,
    pub(super) rows: u64,
    pub(super) seconds: f64,
}

/// How it ended.
pub(super) struct Ended {
    pub(super) lambda: Vec<f64>,
    pub(super) w: Vec<f64>,
    pub(super) objective: f64,
    pub(super) gradient: Option<Vec<f64>>,
    pub(super) iterations: usize,
    pub(super) reason: StopReason,
    pub(super) work: Work,
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
    let bridge = Arc::new(Bridge::new(py)?);
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
            steps: self.steps.map(|(lower, linear, outer)| FirstSteps { lower, linear, outer }),
            batch: if self.batch == 0 { Batch::All } else { Batch::Rows(self.batch) },
        }
    }
}

impl Frame<'_> {
    pub(super) fn is_late(&self) -> bool {
        self.asked.deadline.is_some_and(|deadline| self.clock.elapsed() >= deadline)
    }

    /// Adds an entry; true to stop.
    pub(super) fn tell(&mut self, entry: Entry) -> bool {
        self.history.push(entry.clone());
        self.bridge.is_halted() || self.listener.is_some_and(|events| ask(events, entry, |question| question))
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
