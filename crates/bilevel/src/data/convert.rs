//! A design matrix in another storage or precision.

use super::csr::CsrMatrix;
use super::dense::DenseMatrix;
use super::design::DesignMatrix;
use super::element::Element;
use super::table::Origin;
use crate::{Error, Result};

/// `design` as a dense or sparse matrix in double or single precision; unchanged if it is that already, codes of single precision too.
///
/// # Errors
/// When a number is too large for single precision, or the dense matrix for the memory.
pub(super) fn convert(design: DesignMatrix, dense: bool, double: bool, origin: &Origin) -> Result<DesignMatrix> {
    Ok(match (dense, double, design) {
        (true, false, matrix @ (DesignMatrix::DenseF32(_) | DesignMatrix::Coded(_)))
        | (true, true, matrix @ DesignMatrix::DenseF64(_))
        | (false, false, matrix @ DesignMatrix::CsrF32(_))
        | (false, true, matrix @ DesignMatrix::CsrF64(_)) => matrix,
        (true, false, matrix) => DesignMatrix::DenseF32(to_dense(&matrix, origin)?),
        (true, true, matrix) => DesignMatrix::DenseF64(to_dense(&matrix, origin)?),
        (false, false, matrix) => DesignMatrix::CsrF32(to_csr(&matrix, origin)?),
        (false, true, matrix) => DesignMatrix::CsrF64(to_csr(&matrix, origin)?),
    })
}

/// Calls `entry(row, column, value)` for the nonzero entries, row after row.
pub(super) fn each_nonzero(design: &DesignMatrix, mut entry: impl FnMut(usize, usize, f64)) {
    fn dense<T: Element>(matrix: &DenseMatrix<T>, mut entry: impl FnMut(usize, usize, f64)) {
        for i in 0..matrix.rows() {
            for (j, value) in matrix.row(i).iter().enumerate().filter(|(_, value)| **value != T::default()) {
                entry(i, j, value.to_f64());
            }
        }
    }
    fn sparse<T: Element>(matrix: &CsrMatrix<T>, mut entry: impl FnMut(usize, usize, f64)) {
        for i in 0..matrix.rows() {
            let (indices, values) = matrix.row(i);
            indices.iter().zip(values).for_each(|(&j, value)| entry(i, j as usize, value.to_f64()));
        }
    }
    match design {
        DesignMatrix::DenseF32(matrix) => dense(matrix, &mut entry),
        DesignMatrix::DenseF64(matrix) => dense(matrix, &mut entry),
        DesignMatrix::Coded(matrix) => {
            for i in 0..matrix.rows() {
                let numbers = matrix.decoded_row(i).enumerate().filter(|(_, x)| *x != 0.0);
                numbers.for_each(|(j, x)| entry(i, j, f64::from(x)));
            }
        }
        DesignMatrix::CsrF32(matrix) => sparse(matrix, &mut entry),
        DesignMatrix::CsrF64(matrix) => sparse(matrix, &mut entry),
    }
}

/// Number of nonzero entries; of those that are stored where the matrix is sparse.
pub(super) fn count_nonzero(design: &DesignMatrix) -> usize {
    fn dense<T: Element>(matrix: &DenseMatrix<T>) -> usize {
        matrix.values().iter().map(|&value| usize::from(value != T::default())).sum()
    }
    match design {
        DesignMatrix::DenseF32(matrix) => dense(matrix),
        DesignMatrix::DenseF64(matrix) => dense(matrix),
        DesignMatrix::Coded(matrix) => {
            (0..matrix.rows()).map(|i| matrix.decoded_row(i).filter(|x| *x != 0.0).count()).sum()
        }
        DesignMatrix::CsrF32(matrix) => matrix.stored(),
        DesignMatrix::CsrF64(matrix) => matrix.stored(),
    }
}

/// `rows * cols` zeros, or an error where they do not fit the memory.
pub(super) fn zeros<T: Element>(rows: usize, cols: usize, origin: &Origin) -> Result<Vec<T>> {
    let too_large = || {
        Error::input(format!("{rows} rows with {cols} features are too many for dense storage"))
            .in_file(origin.path())
            .remedy("use sparse storage")
    };
    let length = rows.checked_mul(cols).ok_or_else(too_large)?;
    let mut values = Vec::new();
    values.try_reserve_exact(length).map_err(|_| too_large())?;
    values.resize(length, T::default());
    Ok(values)
}

/// `value` as stored.
///
/// # Errors
/// When it is too large for the precision; `feature` counts from 0.
#[inline]
pub(super) fn narrow<T: Element>(value: f64, row: usize, feature: usize, origin: &Origin) -> Result<T> {
    let stored = T::from_f64(value);
    if stored.to_f64().is_infinite() {
        return Err(origin
            .error(row, format!("feature {} is {value:e}, too large for single precision", feature + 1))
            .remedy("rescale the feature or fit in double precision (--dtype f64)"));
    }
    Ok(stored)
}

fn to_dense<T: Element>(design: &DesignMatrix, origin: &Origin) -> Result<DenseMatrix<T>> {
    let (rows, cols) = (design.rows(), design.cols());
    let mut values = zeros::<T>(rows, cols, origin)?;
    let mut outcome = Ok(());
    each_nonzero(design, |i, j, value| match narrow(value, i, j, origin) {
        Ok(stored) => values[i * cols + j] = stored,
        Err(error) => outcome = Err(error),
    });
    outcome.map(|()| DenseMatrix::new(rows, cols, values))
}

fn to_csr<T: Element>(design: &DesignMatrix, origin: &Origin) -> Result<CsrMatrix<T>> {
    let (mut indices, mut values, mut ends) = (Vec::new(), Vec::new(), vec![0usize; design.rows() + 1]);
    let mut outcome = Ok(());
    each_nonzero(design, |i, j, value| match narrow::<T>(value, i, j, origin) {
        Ok(stored) if stored == T::default() => {}
        Ok(stored) => {
            indices.push(j as u32);
            values.push(stored);
            ends[i + 1] = indices.len();
        }
        Err(error) => outcome = Err(error),
    });
    outcome?;
    for i in 1..ends.len() {
        // Rows without entries end where the row before ends.
        ends[i] = ends[i].max(ends[i - 1]);
    }
    Ok(CsrMatrix::new(design.cols(), ends, indices, values))
}

/// Scales each row to unit Euclidean length; rows of zeros stay.
pub(super) fn normalize_rows(design: &mut DesignMatrix) {
    fn scale<T: Element>(row: &mut [T]) {
        let norm = row.iter().map(|x| x.to_f64() * x.to_f64()).sum::<f64>().sqrt();
        if norm > 0.0 {
            row.iter_mut().for_each(|x| *x = T::from_f64(x.to_f64() / norm));
        }
    }
    fn dense<T: Element>(matrix: &mut DenseMatrix<T>) {
        let cols = matrix.cols().max(1);
        matrix.values_mut().chunks_exact_mut(cols).for_each(scale);
    }
    fn sparse<T: Element>(matrix: &mut CsrMatrix<T>) {
        let lengths: Vec<usize> = (0..matrix.rows()).map(|i| matrix.row(i).0.len()).collect();
        let mut rest = matrix.values_mut();
        for length in lengths {
            let (row, left) = rest.split_at_mut(length);
            scale(row);
            rest = left;
        }
    }
    match design {
        DesignMatrix::DenseF32(matrix) => dense(matrix),
        DesignMatrix::DenseF64(matrix) => dense(matrix),
        DesignMatrix::Coded(matrix) => {
            let mut decoded = matrix.decode();
            dense(&mut decoded);
            *design = DesignMatrix::DenseF32(decoded);
        }
        DesignMatrix::CsrF32(matrix) => sparse(matrix),
        DesignMatrix::CsrF64(matrix) => sparse(matrix),
    }
}
