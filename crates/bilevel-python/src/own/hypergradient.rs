//! One hypergradient of functions in Python.

use std::ops::ControlFlow;
use std::sync::Arc;

use bilevel::hypergradient::Stage;
use bilevel::work::Work;
use numpy::{PyArray1, PyReadonlyArray1};
use pyo3::prelude::*;
use pyo3::types::PyDict;

use super::bridge::{Bridge, known_thread};
use super::levels::{Lower, ObjectiveLevel};
use super::plan::{Found, Measured, Place, Plan, Settings};
use crate::attended::{Attended, Question, ask, attended};
use crate::matrix;

/// A place to start from: `w` and the adjoint.
pub type Start<'py> = Option<(PyReadonlyArray1<'py, f64>, Option<PyReadonlyArray1<'py, f64>>)>;

/// The start in `start`, whose adjoint is zero where there is none.
pub fn place(start: &Start<'_>) -> Option<Place> {
    start.as_ref().map(|(w, u)| {
        let w = w.as_array().to_vec();
        let u = u.as_ref().map_or_else(|| vec![0.0; w.len()], |u| u.as_array().to_vec());
        Place { w, u }
    })
}

/// Computes the hypergradient of `upper` and `lower` at `lam`.
///
/// `listener`, where given, is called with `(steps, replicates, error, allowed, rows)` of every stage of an estimate to a
/// precision, and ends it by returning a true value.
#[pyfunction]
#[pyo3(signature = (lower, upper, lam, settings, start, threads, listener))]
#[allow(clippy::too_many_arguments)]
pub fn hypergradient<'py>(
    py: Python<'py>,
    lower: &Bound<'py, PyAny>,
    upper: &Bound<'py, PyAny>,
    lam: PyReadonlyArray1<'py, f64>,
    settings: &Bound<'py, PyDict>,
    start: Start<'py>,
    threads: usize,
    listener: Option<Py<PyAny>>,
) -> PyResult<Bound<'py, PyDict>> {
    let bridge = Arc::new(Bridge::new(py)?);
    let (lower, upper) = (Lower::read(lower, &bridge)?, ObjectiveLevel::read(upper, &bridge)?);
    let plan = Plan::new(settings.extract::<Settings>()?, &lower, &upper)?;
    let (lambda, place) = (lam.as_array().to_vec(), place(&start));
    let heard = listener.is_some();
    let work = |events: std::sync::mpsc::Sender<Question<Stage>>, flag| {
        bridge.watch(flag);
        let mut watch = |stage: &Stage| {
            let stop = bridge.is_halted() || (heard && ask(&events, *stage, |question| question));
            if stop { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        };
        known_thread(|| {
            plan.estimate(&lower, &upper, &lambda, (place.as_ref(), 0), &mut Measured::default(), &mut watch)
        })
    };
    let listen = |py: Python<'_>, question: &Question<Stage>| {
        if let Some(listener) = &listener {
            let Stage { steps, replicates, error, allowed, rows } = question.record;
            question.answer(listener.bind(py).call1((steps, replicates, error, allowed, rows))?.is_truthy()?);
        }
        // An answer ends an estimate in order; the flag would end it at once.
        Ok(false)
    };
    let Attended { result, raised } = attended(py, threads, work, listen)?;
    record(py, bridge.settle(py, result, raised)?)
}

fn record(py: Python<'_>, found: Found) -> PyResult<Bound<'_, PyDict>> {
    let Found { estimate, place, precise, map_step } = found;
    let record = PyDict::new(py);
    record.set_item("value", PyArray1::from_vec(py, estimate.value))?;
    record.set_item("std_error", estimate.std_error.map(|errors| PyArray1::from_vec(py, errors)))?;
    record.set_item("objective", estimate.objective)?;
    record.set_item("status", estimate.status.name())?;
    record.set_item("message", estimate.status.to_string())?;
    record.set_item("work", work(estimate.work))?;
    let place = place.map(|place| (PyArray1::from_vec(py, place.w), PyArray1::from_vec(py, place.u)));
    record.set_item("place", place)?;
    record.set_item("map_step", map_step)?;
    let precise = match precise {
        None => None,
        Some(precise) => {
            let details = PyDict::new(py);
            details.set_item("error", precise.error)?;
            details.set_item("allowed", precise.allowed)?;
            details.set_item("bias", precise.bias)?;
            details.set_item("lower_steps", precise.settings.lower_steps)?;
            details.set_item("batch", precise.settings.batch)?;
            let columns = record.get_item("value")?.map_or(1, |value| value.len().unwrap_or(1));
            details.set_item("replicates", matrix::rows(py, precise.replicates.concat(), columns)?)?;
            Some(details)
        }
    };
    record.set_item("precise", precise)?;
    Ok(record)
}

/// `(rows, gradients, hessian_products, cross_products, factorizations)`.
pub fn work(work: Work) -> (u64, u64, u64, u64, u64) {
    (work.rows, work.gradients, work.hessian_products, work.cross_products, work.factorizations)
}
