//! The library's errors as Python's: bad input is a `ValueError`, everything else a `RuntimeError`.

use bilevel::Error;
use pyo3::PyErr;
use pyo3::exceptions::{PyKeyboardInterrupt, PyRuntimeError, PyValueError};

/// What the command's options, which remedies name, are called in Python.
const ARGUMENTS: [(&str, &str); 4] = [
    ("--lambda-min", "penalty_range"),
    ("--max-time", "max_time"),
    ("--folds", "cv ="),
    ("--missing impute", "impute=True"),
];

/// The exception that stands for `error`, with the same one line.
pub fn raise(error: Error) -> PyErr {
    let text = ARGUMENTS.iter().fold(error.to_string(), |text, (option, argument)| text.replace(option, argument));
    match error {
        error if error.is_input() => PyValueError::new_err(text),
        error if error.is_interrupted() => PyKeyboardInterrupt::new_err(text),
        _ => PyRuntimeError::new_err(text),
    }
}
