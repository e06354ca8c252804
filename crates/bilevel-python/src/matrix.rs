//! From arrays to a design matrix and back: the only place that knows how either is laid out.
//!
//! What is decided here, and nowhere else: an array in C order is copied as one block, one in any other order row by row;
//! of SciPy's compressed rows the indices become 32-bit numbers. Single stays single and double stays double precision.

use bilevel::data::{CsrMatrix, DenseMatrix, DesignMatrix, Element};
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
    if let Ok(data) = data.extract::<PyReadonlyArray1<'_, f64>>() {
        return csr(&data, &indices, &indptr, columns).map(DesignMatrix::CsrF64);
    }
    let data = data.extract::<PyReadonlyArray1<'_, f32>>()?;
    csr(&data, &indices, &indptr, columns).map(DesignMatrix::CsrF32)
}

fn dense<T: Element + NumpyElement>(array: &Bound<'_, PyArray2<T>>) -> PyResult<DenseMatrix<T>> {
    let (rows, columns) = (array.shape()[0], array.shape()[1]);
    let array = array.try_readonly()?;
    let values = match array.is_c_contiguous() {
        true => array.as_slice()?.to_vec(),
        false => array.as_array().iter().copied().collect(),
    };
    Ok(DenseMatrix::new(rows, columns, values))
}

fn csr<T: Element + NumpyElement>(
    data: &PyReadonlyArray1<'_, T>,
    indices: &Bound<'_, PyAny>,
    indptr: &Bound<'_, PyAny>,
    columns: usize,
) -> PyResult<CsrMatrix<T>> {
    let (indices, offsets): (Vec<u32>, Vec<usize>) = (integers(indices)?, integers(indptr)?);
    let values = data.as_array().to_vec();
    let spans = offsets.first() == Some(&0) && offsets.last() == Some(&indices.len());
    let rising = |row: &[u32]| row.windows(2).all(|pair| pair[0] < pair[1]);
    let fits = spans
        && values.len() == indices.len()
        && offsets.windows(2).all(|pair| pair[0] <= pair[1] && rising(&indices[pair[0]..pair[1]]))
        && indices.iter().all(|&index| (index as usize) < columns);
    match fits {
        true => Ok(CsrMatrix::new(columns, offsets, indices, values)),
        false => {
            Err(PyValueError::new_err("the compressed rows are not in canonical order; call sum_duplicates first"))
        }
    }
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
