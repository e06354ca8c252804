//! Data cleaning: options in, weights and the model with them out.

use std::time::Duration;

use bilevel::clean::{CleanOptions, Cleaned, Step, Strength};
use numpy::PyArray1;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList};

use crate::attended::{Attended, attended};
use crate::dataset::PyDataset;
use crate::errors::{self, raise};
use crate::listener::{Event, Messenger, hear};
use crate::matrix;
use crate::names::named;

/// The options, a dictionary with these keys.
#[derive(FromPyObject)]
#[pyo3(from_item_all)]
struct Options {
    loss: String,
    /// The strength of the penalty; nothing where it is to be tuned.
    penalty: Option<f64>,
    method: String,
    start: String,
    intercept: bool,
    standardize: bool,
    monitor: f64,
    seed: u64,
    max_time: Option<f64>,
    /// Nothing for what suits the start.
    max_iter: Option<usize>,
    tolerance: f64,
}

impl Options {
    fn parse(&self) -> PyResult<CleanOptions> {
        Ok(CleanOptions {
            loss: named("loss", &self.loss)?,
            strength: self.penalty.map_or(Strength::Tuned, Strength::Fixed),
            method: named("method", &self.method)?,
            start: named("start", &self.start)?,
            intercept: self.intercept,
            standardize: self.standardize,
            monitor: self.monitor,
            seed: self.seed,
            time: self.max_time.map(Duration::from_secs_f64),
            iterations: self.max_iter,
            tolerance: self.tolerance,
        })
    }
}

/// Learns the weights of `train` from `trusted`; returns the result and the exception that cut it short, or `None`.
///
/// `listener` as that of `tune`.
#[pyfunction]
#[pyo3(signature = (train, trusted, options, threads, listener))]
pub fn clean<'py>(
    py: Python<'py>,
    train: &Bound<'py, PyDataset>,
    trusted: &Bound<'py, PyDataset>,
    options: &Bound<'py, PyDict>,
    threads: usize,
    listener: Option<Py<PyAny>>,
) -> PyResult<(Bound<'py, PyDict>, Option<PyErr>)> {
    let options = options.extract::<Options>()?.parse()?;
    let (train, trusted) = (&train.get().inner, &trusted.get().inner);
    let heard = listener.is_some();
    let work = |events, flag| {
        let mut messenger = Messenger::new(events, flag, heard);
        bilevel::clean::clean(train, trusted, None, &options, &mut messenger)
    };
    let listen = |py: Python<'_>, event: &Event<Step>| hear(py, listener.as_ref(), event, values);
    let Attended { result, raised } = attended(py, threads, work, listen)?;
    match (result, raised) {
        (Ok(cleaned), raised) => Ok((record(py, cleaned)?, raised)),
        (Err(error), Some(raised)) if error.is_interrupted() => Err(raised),
        (Err(error), _) => Err(raise(error)),
    }
}

type StepValues = (usize, f64, f64, Option<f64>, f64, f64, f64);

fn values(step: &Step) -> StepValues {
    let Step { iteration, seconds, trusted_loss, monitor_loss, mean_weight, gradient, passes } = *step;
    (iteration, seconds, trusted_loss, monitor_loss, mean_weight, gradient, passes)
}

fn record(py: Python<'_>, cleaned: Cleaned) -> PyResult<Bound<'_, PyDict>> {
    let record = PyDict::new(py);
    let outputs = cleaned.model.outputs;
    record.set_item("coef", matrix::rows(py, cleaned.model.coef, outputs)?)?;
    record.set_item("intercept", PyArray1::from_vec(py, cleaned.model.intercept))?;
    record.set_item("loss", cleaned.model.loss.name())?;
    record.set_item("weights", PyArray1::from_vec(py, cleaned.weights))?;
    record.set_item("suspicious", PyArray1::from_vec(py, cleaned.suspicious))?;
    record.set_item("trusted_losses", PyArray1::from_vec(py, cleaned.trusted_losses))?;
    record.set_item("predicted", PyArray1::from_vec(py, cleaned.predicted))?;
    record.set_item("probability", PyArray1::from_vec(py, cleaned.probability))?;
    record.set_item("penalty", cleaned.strength)?;
    record.set_item("status", cleaned.status.name())?;
    record.set_item("method", cleaned.method)?;
    record.set_item("kept", cleaned.kept)?;
    record.set_item("trace", PyList::new(py, cleaned.trace.iter().map(values))?)?;
    record.set_item("notes", errors::notes(&cleaned.notes))?;
    record.set_item("seconds", cleaned.seconds)?;
    record.set_item("passes", cleaned.passes)?;
    Ok(record)
}
