//! What the library says, in the words of Python; of its errors bad input is a `ValueError`, everything else a `RuntimeError`.

use bilevel::Error;
use pyo3::PyErr;
use pyo3::exceptions::{PyKeyboardInterrupt, PyRuntimeError, PyValueError};

/// What the command's options, which remedies and notes name, are called in Python; what has no counterpart is left out. Whole
/// phrases come before the options in them.
const WORDS: [(&str, &str); 23] = [
    ("(--validation, --folds)", "(X_val and y_val, cv)"),
    ("judge by --validation", "judge by X_val and y_val"),
    ("give a validation file", "give X_val and y_val"),
    ("validation file", "validation rows"),
    ("train with --missing impute", "read the training file with impute=True"),
    ("--missing impute", "impute=True"),
    ("name the character between the fields with --delimiter", "separate the fields by commas"),
    (", or pass --header no if the first line is data", ""),
    ("; pass --header no if the first line is data", ""),
    (", or pass --header yes if its first line holds names", ""),
    ("build the command with `cargo build --release -p bilevel-cli --features parquet`, or convert", "convert"),
    ("use --model softmax, or gather the labels in two classes with --classes", "gather the labels in two classes"),
    ("leave --target away", "leave target out"),
    ("(--target)", "(target=)"),
    ("with --target", "with target="),
    ("with --labels FILE", "with labels="),
    ("give --labels FILE", "give labels="),
    ("use --dtype f64", "use dtype=numpy.float64"),
    ("(--dtype f64)", "(dtype=numpy.float64)"),
    ("--max-time", "max_time"),
    ("--lambda-min", "penalty_range"),
    ("--folds", "cv ="),
    ("start elsewhere, or give the step", "start elsewhere (start=), or give the step (map_step=)"),
];
/// Begin and end of a remedy that names the column it is about, and what Python can do instead.
const EXCLUDE: (&str, &str, &str) = ("--exclude", "leaves it out", "leave it out of the features");

/// `text` of the library in the words of Python.
pub fn in_python(text: &str) -> String {
    let text = WORDS.iter().fold(text.to_string(), |text, (words, ours)| text.replace(words, ours));
    let (begin, end, instead) = EXCLUDE;
    match (text.find(begin), text.rfind(end)) {
        (Some(from), Some(to)) if from < to => format!("{}{instead}{}", &text[..from], &text[to + end.len()..]),
        _ => text,
    }
}

/// Notes of the library in the words of Python.
pub fn notes(notes: &[String]) -> Vec<String> {
    notes.iter().map(|note| in_python(note)).collect()
}

/// The exception that stands for `error`, with the same one line.
pub fn raise(error: Error) -> PyErr {
    let text = in_python(&error.to_string());
    match error {
        error if error.is_input() => PyValueError::new_err(text),
        error if error.is_interrupted() => PyKeyboardInterrupt::new_err(text),
        _ => PyRuntimeError::new_err(text),
    }
}
