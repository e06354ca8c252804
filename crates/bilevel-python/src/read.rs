//! Files as arrays, by the readers of the library.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{RecvTimeoutError, channel};

use bilevel::Error;
use bilevel::data::{
    EncodeOptions, Encoder, Format, LabelMap, LearnOptions, Learned, Missing, Precision, ReadOptions, Relabel, Schema,
    Target,
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
#[serde(from = "Text", into = "Text")]
pub struct Encoding {
    schema: Schema,
}

/// What the text says: labels keep their names, and each source column is a group.
#[derive(Serialize, Deserialize)]
struct Text {
    encoder: Encoder,
    labels: LabelMap,
    target_name: Option<String>,
}

impl From<Text> for Encoding {
    fn from(text: Text) -> Self {
        let Text { encoder, labels, target_name } = text;
        let groups = encoder.groups();
        Encoding { schema: Schema { encoder, labels, relabel: Relabel::default(), target_name, groups } }
    }
}

impl From<Encoding> for Text {
    fn from(encoding: Encoding) -> Self {
        let Schema { encoder, labels, target_name, .. } = encoding.schema;
        Text { encoder, labels, target_name }
    }
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
        format!("Encoding({} features)", self.schema.encoder.features())
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
    let work = move || match like {
        Some(Encoding { schema }) => {
            let (data, _) = schema.read(&path, &options)?;
            bilevel::Result::Ok((schema, data, Vec::new()))
        }
        None => {
            let encode = EncodeOptions { missing, precision, ..EncodeOptions::default() };
            let learned = Schema::learn(&path, &LearnOptions { read: options, encode, ..LearnOptions::default() })?;
            check_width(&path, &learned, features)?;
            Ok((learned.schema, learned.data, learned.notes))
        }
    };
    let (schema, data, notes) = listening(py, &raised, work)?.map_err(raise)?;
    let record = PyDict::new(py);
    record.set_item("x", matrix::array(py, data.design)?)?;
    let (y, classes) = match data.target {
        Target::Classes { codes, names } => (PyArray1::from_slice(py, &codes).into_any(), Some(names)),
        Target::Values(values) => (PyArray1::from_slice(py, &values).into_any(), None),
    };
    record.set_item("y", y)?;
    record.set_item("classes", classes)?;
    record.set_item("target_name", &schema.target_name)?;
    record.set_item("feature_names", data.feature_names)?;
    record.set_item("groups", PyArray1::from_vec(py, data.groups.of_feature))?;
    record.set_item("group_names", data.groups.names)?;
    record.set_item("encoding", Bound::new(py, Encoding { schema })?)?;
    record.set_item("notes", errors::notes(&notes))?;
    Ok(record)
}

/// Only svmlight leaves the number of features open, and a file may not have more than it is said to have.
fn check_width(path: &Path, learned: &Learned, features: Option<usize>) -> bilevel::Result<()> {
    let Some(features) = features else { return Ok(()) };
    let found = learned.schema.encoder.features();
    let (wrong, remedy) = if learned.format != Format::Svmlight {
        (format!("n_features={features} is for svmlight files, and this is a {} file", learned.format), "leave it out")
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
