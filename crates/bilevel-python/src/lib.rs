//! The extension module `bilevel._core`: arrays and options in, arrays out.
//!
//! Thin on purpose. It turns what NumPy and SciPy hold into the library's data set (`matrix.rs` is the only place that knows
//! how), calls the library without the interpreter lock while it listens for interrupts (`attended.rs`), and hands back plain
//! arrays. Estimators, checks of input, pictures and everything else a person sees is written in Python on top of it.

mod attended;
mod clean;
mod command;
mod dataset;
mod errors;
mod listener;
mod matrix;
mod names;
mod own;
mod read;
mod study;
mod tune;

use pyo3::prelude::*;

#[pymodule]
fn _core(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add("__version__", env!("CARGO_PKG_VERSION"))?;
    module.add("STUDY_METHODS", study::usual_methods())?;
    module.add_class::<dataset::PyDataset>()?;
    module.add_class::<read::Encoding>()?;
    module.add_function(wrap_pyfunction!(clean::clean, module)?)?;
    module.add_function(wrap_pyfunction!(command::command, module)?)?;
    module.add_function(wrap_pyfunction!(own::check::check, module)?)?;
    module.add_function(wrap_pyfunction!(own::hypergradient::hypergradient, module)?)?;
    module.add_function(wrap_pyfunction!(own::minimize::minimize, module)?)?;
    module.add_function(wrap_pyfunction!(read::read, module)?)?;
    module.add_function(wrap_pyfunction!(study::study, module)?)?;
    module.add_function(wrap_pyfunction!(tune::tune, module)?)?;
    Ok(())
}
