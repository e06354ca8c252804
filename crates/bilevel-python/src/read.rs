//! Files as arrays, by the readers of the library.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{RecvTimeoutError, channel};

use bilevel::data::{EncodeOptions, Encoder, LabelMap, Missing, Precision, ReadOptions, Target};
use bilevel::stop::StopSignal;
use numpy::PyArray1;
use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use pyo3::types::PyDict;

use crate::attended::POLL;
use crate::errors::raise;
use crate::matrix;

/// Reads a data file of any format of the command into arrays; categories become indicator columns.
#[pyfunction]
#[pyo3(signature = (path, *, target=None, labels=None, features=None, double=true, impute=false))]
pub fn read(
    py: Python<'_>,
    path: PathBuf,
    target: Option<String>,
    labels: Option<PathBuf>,
    features: Option<usize>,
    double: bool,
    impute: bool,
) -> PyResult<Bound<'_, PyDict>> {
    let precision = if double { Precision::F64 } else { Precision::F32 };
    let raised = Arc::new(AtomicBool::new(false));
    let stop = StopSignal::new(None, Some(Arc::clone(&raised)));
    let options = ReadOptions { target, labels, precision, features, stop, ..ReadOptions::default() };
    let missing = if impute { Missing::Impute } else { Missing::Error };
    let work = move || {
        let mut table = bilevel::data::read(&path, &options)?;
        let target_name = table.target_name.clone();
        let given = table.labels.take();
        let target = match &given {
            Some(labels) => Some(LabelMap::learn(labels, None, &table.origin)?.apply(labels, &table.origin)?),
            None => None,
        };
        let options = EncodeOptions { missing, precision, ..EncodeOptions::default() };
        let encoded = Encoder::learn(&table, &options)?.encode(table)?;
        bilevel::Result::Ok((encoded, target, target_name))
    };
    let (encoded, target, target_name) = listening(py, &raised, work)?.map_err(raise)?;
    let record = PyDict::new(py);
    record.set_item("x", matrix::array(py, encoded.design)?)?;
    match target {
        Some(Target::Classes { codes, names }) => {
            record.set_item("y", PyArray1::from_slice(py, &codes))?;
            record.set_item("classes", names)?;
        }
        Some(Target::Values(values)) => {
            record.set_item("y", PyArray1::from_slice(py, &values))?;
            record.set_item("classes", py.None())?;
        }
        None => {
            record.set_item("y", py.None())?;
            record.set_item("classes", py.None())?;
        }
    }
    record.set_item("target_name", target_name)?;
    record.set_item("feature_names", encoded.feature_names)?;
    record.set_item("groups", PyArray1::from_vec(py, encoded.groups.of_feature))?;
    record.set_item("group_names", encoded.groups.names)?;
    Ok(record)
}

/// Does `work` on a thread of its own and looks for signals meanwhile. Nothing of it is wanted after an interrupt, so it is
/// not waited for: it ends when it next looks at the flag, which is `raised` then.
fn listening<T: Send + 'static>(
    py: Python<'_>,
    raised: &AtomicBool,
    work: impl FnOnce() -> T + Send + 'static,
) -> PyResult<T> {
    let (sender, mut receiver) = channel();
    std::thread::spawn(move || sender.send(work()));
    loop {
        let result;
        (receiver, result) = py.detach(move || {
            let result = receiver.recv_timeout(POLL);
            (receiver, result)
        });
        match result {
            Ok(result) => return Ok(result),
            Err(RecvTimeoutError::Timeout) => {
                py.check_signals().inspect_err(|_| raised.store(true, Ordering::Relaxed))?;
            }
            Err(RecvTimeoutError::Disconnected) => {
                return Err(PyRuntimeError::new_err("the file was not read; please report this"));
            }
        }
    }
}
