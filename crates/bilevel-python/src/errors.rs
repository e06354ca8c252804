//! The library's errors as Python's: bad input is a `ValueError`, everything else a `RuntimeError`.

use bilevel::Error;
use pyo3::PyErr;
use pyo3::exceptions::{PyKeyboardInterrupt, PyRuntimeError, PyValueError};

/// The exception that stands for `error`, with the same one line.
pub fn raise(error: Error) -> PyErr {
    let text = error.to_string();
    match error {
        error if error.is_input() => PyValueError::new_err(text),
        error if error.is_interrupted() => PyKeyboardInterrupt::new_err(text),
        _ => PyRuntimeError::new_err(text),
    }
}
