//! From a computation that runs without the lock of the interpreter to functions in Python, and back.
//!
//! The library's traits return nothing that could say "this failed", and should not. So the first exception is kept here,
//! from then on nobody is called any more, and every result is NaN: the solvers stop within a few steps, as they do when
//! they diverge, and whoever started them raises what was kept. An interrupt works in the same way.
//!
//! Functions run in copies of the caller's context, so that what is set there, such as `numpy.errstate`, holds in them as well.
//!
//! Vectors cross by copy. A view of the library's memory would be shorter-lived than a Python object can be, and a copy of
//! `d` numbers costs less than the call.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock};

use bilevel::{Error, vector};
use numpy::{PyArray1, PyArrayDyn, PyArrayMethods, PyUntypedArrayMethods};
use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::intern;
use pyo3::prelude::*;

use crate::errors::raise;

/// What a computation knows of its interpreter.
pub struct Bridge {
    /// The context variables of the one who asked for the computation.
    context: Py<PyAny>,
    /// Raised from outside: an interrupt, or an exception of a callback.
    halt: OnceLock<Arc<AtomicBool>>,
    failed: AtomicBool,
    first: Mutex<Option<PyErr>>,
    odd: Mutex<Option<String>>,
}

impl Bridge {
    /// A bridge to the calling thread's context.
    ///
    /// # Errors
    /// What Python raises.
    pub fn new(py: Python<'_>) -> PyResult<Self> {
        let context = py.import("contextvars")?.call_method0("copy_context")?.unbind();
        let (halt, failed, first, odd) = Default::default();
        Ok(Bridge { context, halt, failed, first, odd })
    }

    /// Watches `flag` as well.
    pub fn watch(&self, flag: Arc<AtomicBool>) {
        let _ = self.halt.set(flag);
    }

    /// True once there is no point in going on.
    pub fn is_halted(&self) -> bool {
        self.failed.load(Ordering::Relaxed) || self.halt.get().is_some_and(|flag| flag.load(Ordering::Relaxed))
    }

    /// Keeps the first exception.
    pub fn fail(&self, error: PyErr) {
        let mut first = self.first.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        first.get_or_insert(error);
        self.failed.store(true, Ordering::Relaxed);
    }

    /// Remembers the first function whose result was not finite although its arguments were.
    fn note(&self, name: &str, w: &[f64], lambda: &[f64]) {
        if !(vector::all_finite(w) && vector::all_finite(lambda)) {
            return;
        }
        let mut odd = self.odd.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        odd.get_or_insert_with(|| {
            let (w, lambda) = (vector::norm(w), vector::norm(lambda));
            format!("the first value that was not finite came from {name}, at |w| = {w:.3e}, |lam| = {lambda:.3e}")
        });
    }

    /// What to raise once a computation has ended: the first exception of a function, else what was `raised` in the calling
    /// thread, else the computation's own error, with a word on where its trouble began.
    ///
    /// # Errors
    /// These.
    pub fn settle<T>(&self, py: Python<'_>, result: bilevel::Result<T>, raised: Option<PyErr>) -> PyResult<T> {
        let first = self.first.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).take();
        if let Some(error) = first.or(raised) {
            return Err(error);
        }
        result.map_err(|error| {
            let odd = self.odd.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).take();
            let numeric = error.is_numeric();
            let error = raise(error);
            if let (true, Some(odd)) = (numeric, odd) {
                let _ = error.value(py).call_method1("add_note", (odd,));
            }
            error
        })
    }

    /// An interruption, once there is no point in going on: for loops that would take NaN for a bad step.
    pub fn check(&self) -> bilevel::Result<()> {
        if self.is_halted() { Err(Error::interrupted()) } else { Ok(()) }
    }
}

/// A function in Python by its name in messages.
pub struct Function {
    pub name: String,
    pub callable: Py<PyAny>,
}

impl Function {
    /// The attribute `attribute` of `object`, `None` where it is `None`.
    pub fn of(object: &Bound<'_, PyAny>, place: &str, attribute: &str) -> PyResult<Option<Self>> {
        let callable = object.getattr(attribute)?;
        if callable.is_none() {
            return Ok(None);
        }
        let name = format!("{place}.{attribute}");
        if !callable.is_callable() {
            return Err(PyTypeError::new_err(format!("{name} must be a function")));
        }
        Ok(Some(Function { name, callable: callable.unbind() }))
    }

    /// Calls it with `(w, lam, sample)`, and `v` where there is one, and lets `read` take the result.
    pub fn call(
        &self,
        bridge: &Bridge,
        (w, lambda): (&[f64], &[f64]),
        sample: impl FnOnce(Python<'_>) -> PyResult<Bound<'_, PyAny>>,
        v: Option<&[f64]>,
        read: impl FnOnce(&Bound<'_, PyAny>) -> PyResult<bool>,
    ) -> bool {
        if bridge.is_halted() {
            return false;
        }
        Python::attach(|py| {
            let called = (|| {
                let sample = sample(py)?;
                let (w, lambda) = (PyArray1::from_slice(py, w), PyArray1::from_slice(py, lambda));
                let function = self.callable.bind(py);
                // Two threads, or a computation within a function, cannot be in the same one.
                let context = bridge.context.bind(py).call_method0(intern!(py, "copy"))?;
                let run = intern!(py, "run");
                let result = match v {
                    None => context.call_method1(run, (function, w, lambda, sample))?,
                    Some(v) => context.call_method1(run, (function, w, lambda, sample, PyArray1::from_slice(py, v)))?,
                };
                read(&result)
            })();
            match called {
                Ok(true) => {}
                Ok(false) => bridge.note(&self.name, w, lambda),
                Err(error) => bridge.fail(error),
            }
            !bridge.failed.load(Ordering::Relaxed)
        })
    }

    /// Copies the vector `result` into `out`; false where it is not finite.
    ///
    /// # Errors
    /// Where it is not a vector of that many numbers.
    pub fn vector(&self, result: &Bound<'_, PyAny>, out: &mut [f64]) -> PyResult<bool> {
        let wrong = |found: String| {
            let (name, needed) = (&self.name, out.len());
            PyValueError::new_err(format!("{name} returned {found}; it must return an array of shape ({needed},)"))
        };
        let array = match result.cast::<PyArrayDyn<f64>>() {
            Ok(array) => array.clone(),
            Err(_) => {
                let kind = result.get_type().name()?.to_string();
                let found = result.py().import("numpy")?.call_method1("asarray", (result, "float64"));
                match found {
                    Ok(array) if !result.is_none() => array.cast_into::<PyArrayDyn<f64>>()?,
                    _ => return Err(wrong(format!("a {kind}"))),
                }
            }
        };
        if array.shape() != [out.len()] {
            let shape: Vec<String> = array.shape().iter().map(usize::to_string).collect();
            return Err(wrong(match &shape[..] {
                [] => "a number".into(),
                [one] => format!("an array of shape ({one},)"),
                _ => format!("an array of shape ({})", shape.join(", ")),
            }));
        }
        let array = array.try_readonly()?;
        match array.as_slice() {
            Ok(values) if array.is_c_contiguous() => out.copy_from_slice(values),
            _ => out.iter_mut().zip(array.as_array().iter()).for_each(|(out, value)| *out = *value),
        }
        Ok(vector::all_finite(out))
    }

    /// The number `result`; `out` is NaN where it is not finite, of which false tells.
    ///
    /// # Errors
    /// Where it is no number.
    pub fn number(&self, result: &Bound<'_, PyAny>, out: &mut f64) -> PyResult<bool> {
        *out = result.extract().or_else(|_| result.call_method0("item")?.extract()).map_err(|_| {
            let kind = result.get_type().name().map(|name| name.to_string()).unwrap_or_default();
            PyValueError::new_err(format!("{} returned a {kind}; it must return a number", self.name))
        })?;
        Ok(out.is_finite())
    }

    /// The `N` parts of the tuple `result`, which `parts` names.
    ///
    /// # Errors
    /// Where there are not so many.
    pub fn parts<'py, const N: usize>(
        &self,
        result: &Bound<'py, PyAny>,
        parts: &str,
    ) -> PyResult<[Bound<'py, PyAny>; N]> {
        let found: PyResult<Vec<_>> = result.try_iter().and_then(Iterator::collect);
        found.ok().and_then(|found| found.try_into().ok()).ok_or_else(|| {
            let kind = result.get_type().name().map(|name| name.to_string()).unwrap_or_default();
            PyValueError::new_err(format!("{} returned a {kind}; it must return ({parts})", self.name))
        })
    }
}

/// Runs `work` on a thread that the interpreter knows of all the while, so that calls need not introduce it each time.
pub fn known_thread<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    Python::attach(|py| py.detach(work))
}
