//! Tuning: options in, the model with all that was tried out.

use std::time::Duration;

use bilevel::problems::glm::Loss;
use bilevel::tune::{Candidate, Criterion, Limits, TraceRow, TuneOptions, Tuned};
use numpy::{PyArray1, PyReadonlyArray1};
use pyo3::exceptions::PyTypeError;
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
pub struct Options<'py> {
    loss: String,
    penalties: String,
    method: String,
    /// Nothing, a number of folds, a fraction to hold out, or the fold of each row.
    criterion: Option<CriterionArgument<'py>>,
    intercept: bool,
    standardize: bool,
    lambda_min: Option<f64>,
    lambda_max: Option<f64>,
    start: Option<Vec<f64>>,
    seed: u64,
    max_time: Option<f64>,
    max_iter: usize,
    tolerance: f64,
}

#[derive(FromPyObject)]
enum CriterionArgument<'py> {
    #[pyo3(transparent)]
    GivenFolds(PyReadonlyArray1<'py, u32>),
    #[pyo3(transparent)]
    Folds(usize),
    #[pyo3(transparent)]
    HeldOut(f64),
}

impl Options<'_> {
    /// The library's view of the options.
    pub fn parse(&self) -> PyResult<TuneOptions> {
        let criterion = match &self.criterion {
            None => Criterion::Auto,
            Some(CriterionArgument::GivenFolds(of_row)) => Criterion::GivenFolds(of_row.as_array().to_vec()),
            Some(CriterionArgument::Folds(k)) => Criterion::Folds(*k),
            Some(CriterionArgument::HeldOut(fraction)) => Criterion::HeldOut(*fraction),
        };
        Ok(TuneOptions {
            loss: named("loss", &self.loss)?,
            penalties: named("penalties", &self.penalties)?,
            criterion,
            method: named("method", &self.method)?,
            intercept: self.intercept,
            standardize: self.standardize,
            lambda_min: self.lambda_min,
            lambda_max: self.lambda_max,
            start: self.start.clone(),
            seed: self.seed,
            sampling: None,
            limits: Limits {
                time: self.max_time.map(Duration::from_secs_f64),
                iterations: self.max_iter,
                tolerance: self.tolerance,
            },
        })
    }
}

/// Tunes and fits; returns the result and the exception that cut it short, or `None`.
///
/// `listener`, where given, as `listener.rs` says.
#[pyfunction]
#[pyo3(signature = (train, validation, options, threads, listener))]
pub fn tune<'py>(
    py: Python<'py>,
    train: &Bound<'py, PyDataset>,
    validation: Option<&Bound<'py, PyDataset>>,
    options: &Bound<'py, PyDict>,
    threads: usize,
    listener: Option<Py<PyAny>>,
) -> PyResult<(Bound<'py, PyDict>, Option<PyErr>)> {
    let options = options.extract::<Options<'_>>()?.parse()?;
    let (train, validation) = (&train.get().inner, validation.map(|data| &data.get().inner));
    let heard = listener.is_some();
    let work = |events, flag| {
        let mut messenger = Messenger::new(events, flag, heard);
        bilevel::tune::tune(train, validation, None, &options, &mut messenger)
    };
    let listen = |py: Python<'_>, event: &Event<TraceRow>| hear(py, listener.as_ref(), event, trace_row);
    let Attended { result, raised } = attended(py, threads, work, listen)?;
    match (result, raised) {
        (Ok(tuned), raised) => Ok((record(py, tuned)?, raised)),
        (Err(error), Some(raised)) if error.is_interrupted() => Err(raised),
        (Err(error), _) => Err(raise(error)),
    }
}

type TraceValues = (String, String, usize, f64, f64, f64, f64, f64);

fn trace_row(row: &TraceRow) -> TraceValues {
    (
        row.penalties.name().into(),
        row.law.to_string(),
        row.iteration,
        row.seconds,
        row.validation_loss,
        row.train_loss,
        row.projected_gradient,
        row.passes,
    )
}

fn candidate<'py>(py: Python<'py>, candidate: &Candidate) -> PyResult<Bound<'py, PyDict>> {
    let record = PyDict::new(py);
    record.set_item("label", candidate.label())?;
    record.set_item("penalties", candidate.penalties.name())?;
    record.set_item("law", candidate.law.to_string())?;
    record.set_item("hyperparameters", candidate.hyperparameters)?;
    record.set_item("rows", candidate.rows)?;
    record.set_item("train_loss", candidate.train.loss)?;
    record.set_item("validation_loss", candidate.validation.loss)?;
    record.set_item("validation_std_error", candidate.validation.std_error)?;
    record.set_item("monitor_loss", candidate.monitor_loss)?;
    record.set_item("monitor_std_error", candidate.monitor_std_error)?;
    record.set_item("chosen", candidate.chosen)?;
    Ok(record)
}

fn record(py: Python<'_>, tuned: Tuned) -> PyResult<Bound<'_, PyDict>> {
    let record = PyDict::new(py);
    let candidates = tuned.candidates.iter().map(|c| candidate(py, c)).collect::<PyResult<Vec<_>>>()?;
    let outputs = tuned.model.outputs;
    if tuned.model.coef.len() != tuned.model.features * outputs {
        return Err(PyTypeError::new_err("the model has no weights"));
    }
    record.set_item("coef", matrix::rows(py, tuned.model.coef, outputs)?)?;
    record.set_item("intercept", PyArray1::from_vec(py, tuned.model.intercept))?;
    record.set_item("loss", tuned.model.loss.name())?;
    record.set_item("delta", if let Loss::Huber { delta } = tuned.model.loss { Some(delta) } else { None })?;
    record.set_item("status", tuned.status.name())?;
    record.set_item("method", tuned.method)?;
    record.set_item("penalties", tuned.penalties.name())?;
    record.set_item("lambda", PyArray1::from_vec(py, tuned.lambda))?;
    record.set_item("lambda_names", tuned.lambda_names)?;
    record.set_item("candidates", candidates)?;
    record.set_item("trace", PyList::new(py, tuned.trace.iter().map(trace_row))?)?;
    record.set_item("criterion", errors::in_python(&tuned.criterion))?;
    record.set_item("notes", errors::notes(&tuned.notes))?;
    record.set_item("seconds", tuned.seconds)?;
    record.set_item("passes", tuned.passes)?;
    Ok(record)
}
