//! From arrays to a design matrix and back: the only place that knows how either is laid out.
//!
//! What is decided here, and nowhere else: an array in C order is used where it lies, one in any other order is copied row by
//! row; of SciPy's compressed rows entries and 32-bit indices are used where they lie. Single stays single and double stays
//! double precision.

use std::any::Any;
use std::sync::Arc;

use bilevel::data::{Buffer, CsrMatrix, DenseMatrix, DesignMatrix, Element};
use numpy::{
    Element as NumpyElement, IntoPyArray, PyArray1, PyArray2, PyArrayMethods, PyReadonlyArray1, PyUntypedArrayMethods,
};
use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::PyTuple;

/// The matrix in `x`: a two-dimensional array, or the tuple `(data, indices, indptr, columns)` of compressed rows.
pub fn design(x: &Bound<'_, PyAny>) -> PyResult<DesignMatrix> {
    if let Ok(array) = x.cast::<PyArray2<f64>>() {
        return dense(array).map(DesignMatrix::DenseF64);
    }
    if let Ok(array) = x.cast::<PyArray2<f32>>() {
        return dense(array).map(DesignMatrix::DenseF32);
    }
    let Ok(parts) = x.cast::<PyTuple>() else {
        return Err(PyTypeError::new_err(
            "a matrix is a 2-D array of float32 or float64, or a tuple of compressed rows",
        ));
    };
    let (data, indices, indptr, columns): (Bound<'_, PyAny>, Bound<'_, PyAny>, Bound<'_, PyAny>, usize) =
        parts.extract()?;
    if let Ok(data) = data.cast::<PyArray1<f64>>() {
        return csr(data, &indices, &indptr, columns).map(DesignMatrix::CsrF64);
    }
    csr(data.cast::<PyArray1<f32>>()?, &indices, &indptr, columns).map(DesignMatrix::CsrF32)
}

fn dense<T: Element + NumpyElement>(array: &Bound<'_, PyArray2<T>>) -> PyResult<DenseMatrix<T>> {
    let (rows, columns) = (array.shape()[0], array.shape()[1]);
    let read = array.try_readonly()?;
    let values = match read.is_c_contiguous() {
        true => lent(read.as_slice()?, array),
        false => read.as_array().iter().copied().collect(),
    };
    Ok(DenseMatrix::of_buffer(rows, columns, values))
}

fn csr<T: Element + NumpyElement>(
    data: &Bound<'_, PyArray1<T>>,
    indices: &Bound<'_, PyAny>,
    indptr: &Bound<'_, PyAny>,
    columns: usize,
) -> PyResult<CsrMatrix<T>> {
    let indices: Buffer<u32> = match indices.cast::<PyArray1<i32>>() {
        // Of the same bits: an index below zero becomes one that no matrix has.
        Ok(narrow) if narrow.is_contiguous() => {
            let found = narrow.try_readonly()?;
            let found = found.as_slice()?;
            // SAFETY: both types have the same size and alignment, and every bit pattern is a value of either.
            lent(unsafe { std::slice::from_raw_parts(found.as_ptr().cast::<u32>(), found.len()) }, narrow)
        }
        _ => integers::<u32>(indices)?.into(),
    };
    let read = data.try_readonly()?;
    let values = match data.is_contiguous() {
        true => lent(read.as_slice()?, data),
        false => read.as_array().iter().copied().collect(),
    };
    CsrMatrix::of_buffers(columns, integers::<usize>(indptr)?.into(), indices, values).map_err(|wrong| {
        PyValueError::new_err(format!(
            "the compressed rows are not in canonical order ({wrong}); call sum_duplicates first"
        ))
    })
}

/// `numbers` of the array `owner`, where they are.
fn lent<T: 'static, A: 'static>(numbers: &[T], owner: &Bound<'_, A>) -> Buffer<T>
where
    Py<A>: Send + Sync,
{
    let held: Arc<dyn Any + Send + Sync> = Arc::new(owner.clone().unbind());
    // SAFETY: the array keeps its numbers where they are while it is held, and nothing here writes to them. Python code on
    // another thread could, and must not until the call is over, as with every library that works without the lock; numbers
    // are all that it would change, for no kernel relies on an index without checking it.
    unsafe { Buffer::lent(numbers.as_ptr(), numbers.len(), held) }
}

/// Integers of either width that SciPy uses.
fn integers<T: TryFrom<i64>>(array: &Bound<'_, PyAny>) -> PyResult<Vec<T>> {
    let too_large = |_| PyValueError::new_err("an index is negative, or too large for this library");
    let number = |number: i64| T::try_from(number).ok().ok_or(()).map_err(too_large);
    if let Ok(narrow) = array.extract::<PyReadonlyArray1<'_, i32>>() {
        return narrow.as_array().iter().map(|&i| number(i64::from(i))).collect();
    }
    array.extract::<PyReadonlyArray1<'_, i64>>()?.as_array().iter().map(|&i| number(i)).collect()
}

/// Where the first number of the matrix lies.
pub fn address(design: &DesignMatrix) -> usize {
    match design {
        DesignMatrix::DenseF32(matrix) => matrix.values().as_ptr() as usize,
        DesignMatrix::DenseF64(matrix) => matrix.values().as_ptr() as usize,
        DesignMatrix::Coded(matrix) => std::ptr::from_ref(matrix) as usize,
        DesignMatrix::CsrF32(matrix) => matrix.values().as_ptr() as usize,
        DesignMatrix::CsrF64(matrix) => matrix.values().as_ptr() as usize,
    }
}

/// The matrix as Python sees it, in the form that [`design`] takes.
pub fn array(py: Python<'_>, design: DesignMatrix) -> PyResult<Bound<'_, PyAny>> {
    match design {
        DesignMatrix::DenseF32(matrix) => dense_array(py, &matrix),
        DesignMatrix::DenseF64(matrix) => dense_array(py, &matrix),
        DesignMatrix::Coded(matrix) => dense_array(py, &matrix.decode()),
        DesignMatrix::CsrF32(matrix) => csr_arrays(py, &matrix),
        DesignMatrix::CsrF64(matrix) => csr_arrays(py, &matrix),
    }
}

/// `values` as an array of `columns` columns, row after row.
pub fn rows<T: NumpyElement>(py: Python<'_>, values: Vec<T>, columns: usize) -> PyResult<Bound<'_, PyArray2<T>>> {
    let rows = values.len() / columns.max(1);
    PyArray1::from_vec(py, values).reshape([rows, columns])
}

fn dense_array<'py, T: Element + NumpyElement>(
    py: Python<'py>,
    matrix: &DenseMatrix<T>,
) -> PyResult<Bound<'py, PyAny>> {
    Ok(rows(py, matrix.values().to_vec(), matrix.cols())?.into_any())
}

fn csr_arrays<'py, T: Element + NumpyElement>(py: Python<'py>, matrix: &CsrMatrix<T>) -> PyResult<Bound<'py, PyAny>> {
    let mut offsets: Vec<i64> = Vec::with_capacity(matrix.rows() + 1);
    offsets.push(0);
    for row in 0..matrix.rows() {
        offsets.push(offsets[row] + matrix.row(row).0.len() as i64);
    }
    let indices: Vec<i64> = matrix.indices().iter().map(|&j| i64::from(j)).collect();
    let (data, indices) = (matrix.values().to_vec().into_pyarray(py), indices.into_pyarray(py));
    Ok((data, indices, offsets.into_pyarray(py), matrix.cols()).into_pyobject(py)?.into_any())
}
