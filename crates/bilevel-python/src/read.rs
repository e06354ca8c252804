//! Files as arrays, by the readers of the library.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{RecvTimeoutError, channel};

use bilevel::Error;
use bilevel::data::{
    EncodeOptions, Encoded, Encoder, Format, KnownColumns, LabelMap, Missing, Precision, ReadOptions, Table, Target,
};
use bilevel::stop::StopSignal;
use numpy::PyArray1;
use pyo3::exceptions::{PyRuntimeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::PyDict;
use serde::{Deserialize, Serialize};

use crate::attended::POLL;
use crate::errors::{self, raise};
use crate::matrix;

/// What was learned from a file and holds for others: how columns become features, and what labels mean.
///
/// Python copies and pickles it by its text.
#[pyclass(name = "Encoding", module = "bilevel._core", frozen)]
#[derive(Clone, Serialize, Deserialize)]
pub struct Encoding {
    encoder: Encoder,
    labels: Option<LabelMap>,
    target_name: Option<String>,
}

#[pymethods]
impl Encoding {
    #[new]
    fn new(text: &str) -> PyResult<Self> {
        serde_json::from_str(text).map_err(|error| PyValueError::new_err(format!("this is no encoding: {error}")))
    }

    fn __getnewargs__(&self) -> PyResult<(String,)> {
        Ok((serde_json::to_string(self).map_err(|error| PyRuntimeError::new_err(error.to_string()))?,))
    }

    fn __repr__(&self) -> String {
        format!("Encoding({} features)", self.encoder.features())
    }
}

impl Encoding {
    /// Reads `path` and learns from it; beside the rows, what the reader was in doubt of.
    fn learn(path: &Path, read: &ReadOptions, encode: &EncodeOptions) -> bilevel::Result<(Self, Encoded, Vec<String>)> {
        let mut table = bilevel::data::read(path, read)?;
        check_width(path, &table, read.features)?;
        let target_name = table.target_name.clone();
        let found = table.labels.take();
        let labels = found.as_ref().map(|found| LabelMap::learn(found, None, &table.origin)).transpose()?;
        let encoder = Encoder::learn(&table, encode)?;
        let notes = [table.notes.clone(), encoder.doubts(table.rows())].concat();
        let encoded = Encoded { labels: found, ..encoder.encode(table)? };
        Ok((Encoding { encoder, labels, target_name }, encoded, notes))
    }

    /// Reads `path` as the file that this was learned from, unless told otherwise.
    fn apply(&self, path: &Path, read: ReadOptions) -> bilevel::Result<Encoded> {
        let target = self.target_name.clone();
        let known = self.encoder.known_columns().map(|known| KnownColumns { target, ..known });
        self.encoder.encode_file(path, &ReadOptions { known, ..read })
    }
}

/// Reads a data file of any format of the command into arrays; categories become indicator columns. With `like` these are
/// those of another file, and `double` and `impute` say nothing.
#[pyfunction]
#[pyo3(signature = (path, *, target=None, labels=None, features=None, double=true, impute=false, like=None))]
#[allow(clippy::too_many_arguments)]
pub fn read<'py>(
    py: Python<'py>,
    path: PathBuf,
    target: Option<String>,
    labels: Option<PathBuf>,
    features: Option<usize>,
    double: bool,
    impute: bool,
    like: Option<&Bound<'py, Encoding>>,
) -> PyResult<Bound<'py, PyDict>> {
    let precision = if double { Precision::F64 } else { Precision::F32 };
    let raised = Arc::new(AtomicBool::new(false));
    let stop = StopSignal::new(None, Some(Arc::clone(&raised)));
    let options = ReadOptions { target, labels, precision, features, stop, ..ReadOptions::default() };
    let missing = if impute { Missing::Impute } else { Missing::Error };
    let like = like.map(|like| like.get().clone());
    let work = move || {
        let (encoding, mut encoded, notes) = match like {
            Some(like) => {
                let encoded = like.apply(&path, options)?;
                (like, encoded, Vec::new())
            }
            None => {
                Encoding::learn(&path, &options, &EncodeOptions { missing, precision, ..EncodeOptions::default() })?
            }
        };
        let target = match (&encoding.labels, encoded.labels.take()) {
            (Some(map), Some(labels)) => Some(map.apply(&labels, &encoded.origin)?),
            _ => None,
        };
        bilevel::Result::Ok((encoding, encoded, target, notes))
    };
    let (encoding, encoded, target, notes) = listening(py, &raised, work)?.map_err(raise)?;
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
    record.set_item("target_name", &encoding.target_name)?;
    record.set_item("feature_names", encoded.feature_names)?;
    record.set_item("groups", PyArray1::from_vec(py, encoded.groups.of_feature))?;
    record.set_item("group_names", encoded.groups.names)?;
    record.set_item("encoding", Bound::new(py, encoding)?)?;
    record.set_item("notes", errors::notes(&notes))?;
    Ok(record)
}

/// Only svmlight leaves the number of features open, and a file may not have more than it is said to have.
fn check_width(path: &Path, table: &Table, features: Option<usize>) -> bilevel::Result<()> {
    let Some(features) = features else { return Ok(()) };
    let found = table.contents.columns();
    let (wrong, remedy) = if table.format != Format::Svmlight {
        (format!("n_features={features} is for svmlight files, and this is a {} file", table.format), "leave it out")
    } else if found > features {
        (format!("the file has {found} features, more than n_features={features}"), "raise it, or leave it out")
    } else {
        return Ok(());
    };
    Err(Error::input(wrong).in_file(path).remedy(remedy))
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
