//! The design matrix: dense or sparse, single or double precision, behind one interface.

use std::ops::Range;

use super::buffer::Access;
use super::coded::CodedMatrix;
use super::csr::CsrMatrix;
use super::dense::{DenseMatrix, GRAM_IS_PARALLEL};
pub use super::element::Element;
pub use super::row_ranges::RowPick;
use crate::vector;

/// Share of the mean in a mean square from which on their difference is not what is left of it.
const CANCELLING: f64 = 1.0 - 1e-6;

/// Precision in which a design matrix is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Precision {
    /// 32 bits: half the memory traffic, the default.
    #[default]
    F32,
    /// 64 bits.
    F64,
}

/// How a design matrix is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Storage {
    /// Dense when at least 15 % of the entries are nonzero, else sparse.
    #[default]
    Auto,
    /// Every entry.
    Dense,
    /// Only the nonzero entries.
    Sparse,
}

/// An `n x p` matrix of features.
#[derive(Debug, Clone, PartialEq)]
pub enum DesignMatrix {
    /// Dense, single precision.
    DenseF32(DenseMatrix<f32>),
    /// Dense, double precision.
    DenseF64(DenseMatrix<f64>),
    /// Dense, a byte an entry.
    Coded(CodedMatrix),
    /// Sparse, single precision.
    CsrF32(CsrMatrix<f32>),
    /// Sparse, double precision.
    CsrF64(CsrMatrix<f64>),
}

macro_rules! from_matrix {
    ($($matrix:ty => $variant:ident),*) => {$(
        impl From<$matrix> for DesignMatrix {
            fn from(matrix: $matrix) -> Self {
                DesignMatrix::$variant(matrix)
            }
        }
    )*};
}

from_matrix! {
    DenseMatrix<f32> => DenseF32,
    DenseMatrix<f64> => DenseF64,
    CsrMatrix<f32> => CsrF32,
    CsrMatrix<f64> => CsrF64
}

macro_rules! each {
    ($self:expr, $matrix:ident => $body:expr) => {
        match $self {
            DesignMatrix::DenseF32($matrix) => $body,
            DesignMatrix::DenseF64($matrix) => $body,
            DesignMatrix::Coded($matrix) => $body,
            DesignMatrix::CsrF32($matrix) => $body,
            DesignMatrix::CsrF64($matrix) => $body,
        }
    };
}

impl DesignMatrix {
    /// Number of rows `n`.
    pub fn rows(&self) -> usize {
        each!(self, m => m.rows())
    }

    /// Number of columns `p`.
    pub fn cols(&self) -> usize {
        each!(self, m => m.cols())
    }
}

impl DesignMatrix {
    /// The rows `order[0], order[1], ...` in that order, copied.
    #[must_use]
    pub fn select_rows(&self, order: &[u32]) -> Self {
        match self {
            DesignMatrix::DenseF32(m) => DesignMatrix::DenseF32(m.select_rows(order)),
            DesignMatrix::DenseF64(m) => DesignMatrix::DenseF64(m.select_rows(order)),
            DesignMatrix::Coded(m) => DesignMatrix::Coded(m.select_rows(order)),
            DesignMatrix::CsrF32(m) => DesignMatrix::CsrF32(m.select_rows(order)),
            DesignMatrix::CsrF64(m) => DesignMatrix::CsrF64(m.select_rows(order)),
        }
    }

    /// The rows `order[0], order[1], ...` in that order, each of them once, in about the memory of the matrix.
    ///
    /// # Panics
    /// When `order` is no order of the rows.
    #[must_use]
    pub fn into_order(self, order: &[u32]) -> Self {
        match self {
            DesignMatrix::DenseF32(m) => DesignMatrix::DenseF32(m.into_order(order)),
            DesignMatrix::DenseF64(m) => DesignMatrix::DenseF64(m.into_order(order)),
            DesignMatrix::Coded(m) => DesignMatrix::Coded(m.into_order(order)),
            DesignMatrix::CsrF32(m) => DesignMatrix::CsrF32(m.into_order(order)),
            DesignMatrix::CsrF64(m) => DesignMatrix::CsrF64(m.into_order(order)),
        }
    }

    /// The rows `rows`, whose entries stay where they are.
    ///
    /// # Panics
    /// When there are fewer.
    #[must_use]
    pub fn range(&self, rows: Range<usize>) -> Self {
        match self {
            DesignMatrix::DenseF32(m) => DesignMatrix::DenseF32(m.range(rows)),
            DesignMatrix::DenseF64(m) => DesignMatrix::DenseF64(m.range(rows)),
            DesignMatrix::Coded(m) => DesignMatrix::Coded(m.range(rows)),
            DesignMatrix::CsrF32(m) => DesignMatrix::CsrF32(m.range(rows)),
            DesignMatrix::CsrF64(m) => DesignMatrix::CsrF64(m.range(rows)),
        }
    }

    /// Puts the rows of `more`, stored alike and with as many columns, behind these.
    pub(super) fn append(&mut self, more: &Self) {
        match (self, more) {
            (DesignMatrix::DenseF32(rows), DesignMatrix::DenseF32(more)) => rows.append(more),
            (DesignMatrix::DenseF64(rows), DesignMatrix::DenseF64(more)) => rows.append(more),
            (DesignMatrix::CsrF32(rows), DesignMatrix::CsrF32(more)) => rows.append(more),
            (DesignMatrix::CsrF64(rows), DesignMatrix::CsrF64(more)) => rows.append(more),
            _ => unreachable!("one encoder stores all rows alike"),
        }
    }

    /// Tells the system how rows that lie in a file will be read; changes nothing but the time it takes.
    pub fn advise(&self, access: Access) {
        each!(self, m => m.advise(access));
    }
}

/// Products with blocks of rows, one thread; the parallel passes over all rows are in [`super::passes`].
///
/// Weights are `p x C`, feature after feature; margins are `rows x C`, row after row. Everything accumulates in `f64`.
impl DesignMatrix {
    /// Number of stored entries.
    pub fn stored(&self) -> usize {
        match self {
            DesignMatrix::DenseF32(m) => m.values().len(),
            DesignMatrix::DenseF64(m) => m.values().len(),
            DesignMatrix::Coded(m) => m.codes().values().len(),
            DesignMatrix::CsrF32(m) => m.stored(),
            DesignMatrix::CsrF64(m) => m.stored(),
        }
    }

    /// Bytes of the stored entries, with their places where storage is sparse.
    pub(crate) fn bytes(&self) -> usize {
        match self {
            DesignMatrix::DenseF32(m) => size_of_val(m.values()),
            DesignMatrix::DenseF64(m) => size_of_val(m.values()),
            DesignMatrix::Coded(m) => m.codes().values().len(),
            DesignMatrix::CsrF32(m) => size_of_val(m.values()) + size_of_val(m.indices()),
            DesignMatrix::CsrF64(m) => size_of_val(m.values()) + size_of_val(m.indices()),
        }
    }

    /// The variance (`centred`) or mean square of each column, rows weighted where `weights` are given.
    pub fn variances(&self, centred: bool, weights: Option<&[f64]>) -> Vec<f64> {
        let p = self.cols();
        let n = weights.map_or(self.rows().max(1) as f64, |weights| weights.iter().sum());
        let (mut sums, mut squares) = (vec![0.0; p], vec![0.0; p]);
        let ones = [1.0; 256];
        for start in (0..self.rows()).step_by(ones.len()) {
            let span = start..(start + ones.len()).min(self.rows());
            let counts = weights.map_or(&ones[..span.len()], |weights| &weights[span.clone()]);
            self.add_block_transpose(&RowPick::Span(span.clone()), counts, 1, &mut sums);
            self.add_block_squared_transpose(&RowPick::Span(span), counts, 1, &mut squares);
        }
        let mut means = sums;
        means.iter_mut().chain(&mut squares).for_each(|sum| *sum /= n);
        if !centred {
            return squares;
        }
        if vector::norm_squared(&means) > CANCELLING * squares.iter().sum::<f64>() {
            return self.squared_distances(&means, weights).into_iter().map(|sum| sum / n).collect();
        }
        squares.iter().zip(&means).map(|(square, mean)| (square - mean * mean).max(0.0)).collect()
    }

    /// `sum_i c_i (x_ij - mean_j)^2` of each column.
    fn squared_distances(&self, means: &[f64], weights: Option<&[f64]>) -> Vec<f64> {
        let (ones, mut row, mut sums) = (vec![1.0; means.len()], vec![0.0; means.len()], vec![0.0; means.len()]);
        for i in 0..self.rows() {
            vector::scaled_copy(-1.0, means, &mut row);
            self.add_scaled_row(i, &ones, &mut row);
            let weight = weights.map_or(1.0, |weights| weights[i]);
            sums.iter_mut().zip(&row).for_each(|(sum, x)| *sum += weight * x * x);
        }
        sums
    }

    /// `|x_i|^2` of the row `i`.
    pub fn row_norm_squared(&self, i: usize) -> f64 {
        fn squares<T: Element>(row: &[T]) -> f64 {
            row.iter().map(|x| x.to_f64() * x.to_f64()).sum()
        }
        match self {
            DesignMatrix::DenseF32(m) => squares(m.row(i)),
            DesignMatrix::DenseF64(m) => squares(m.row(i)),
            DesignMatrix::Coded(m) => m.decoded_row(i).map(|x| f64::from(x) * f64::from(x)).sum(),
            DesignMatrix::CsrF32(m) => squares(m.row(i).1),
            DesignMatrix::CsrF64(m) => squares(m.row(i).1),
        }
    }

    /// The same numbers, in double precision where they are stored densely.
    #[must_use]
    pub fn widened(self) -> Self {
        let wide = |m: DenseMatrix<f32>| {
            DenseMatrix::new(m.rows(), m.cols(), m.values().iter().map(|&x| f64::from(x)).collect())
        };
        match self {
            DesignMatrix::DenseF32(m) => DesignMatrix::DenseF64(wide(m)),
            DesignMatrix::Coded(m) => DesignMatrix::DenseF64(wide(m.decode())),
            other => other,
        }
    }

    /// The same numbers, a byte each, where that is possible without loss and the matrix is too large for the nearest
    /// caches; else the matrix as it is.
    #[must_use]
    pub fn compressed(self) -> Self {
        match self {
            DesignMatrix::DenseF32(m) if m.rows() == 0 => DesignMatrix::DenseF32(m),
            DesignMatrix::DenseF32(m) if CodedMatrix::pays(m.values().len()) => match CodedMatrix::encode(&m) {
                Some(coded) => DesignMatrix::Coded(coded),
                None => DesignMatrix::DenseF32(m),
            },
            other => other,
        }
    }

    /// True when only nonzero entries are stored.
    pub fn is_sparse(&self) -> bool {
        matches!(self, DesignMatrix::CsrF32(_) | DesignMatrix::CsrF64(_))
    }

    /// `out = X[rows] W`.
    pub fn block_margins(&self, rows: &RowPick<'_>, weights: &[f64], outputs: usize, out: &mut [f64]) {
        each!(self, m => m.block_margins(rows, weights, outputs, out));
    }

    /// `out += X[rows]^T G` with `G` of shape `rows x C`.
    pub fn add_block_transpose(&self, rows: &RowPick<'_>, g: &[f64], outputs: usize, out: &mut [f64]) {
        each!(self, m => m.add_block_transpose(rows, g, outputs, out));
    }

    /// `out += (X[rows] * X[rows])^T G`, entries squared: diagonals of Hessians.
    pub fn add_block_squared_transpose(&self, rows: &RowPick<'_>, g: &[f64], outputs: usize, out: &mut [f64]) {
        each!(self, m => m.add_block_squared_transpose(rows, g, outputs, out));
    }

    /// Whether [`DesignMatrix::add_block_gram`] alone makes use of all threads, so that nobody needs Gram matrices of parts of
    /// the rows.
    pub(crate) fn gram_is_parallel(&self) -> bool {
        !self.is_sparse() && self.cols() >= GRAM_IS_PARALLEL
    }

    /// Lower triangle of `out += X[rows]^T diag(d) X[rows]`, `out` of shape `p x p`, row-major.
    pub fn add_block_gram(&self, rows: &RowPick<'_>, d: &[f64], out: &mut [f64]) {
        each!(self, m => m.add_block_gram(rows, d, out));
    }

    /// The row `i` times `scale` (one factor per column), added to `out` of length `p`.
    pub fn add_scaled_row(&self, i: usize, scale: &[f64], out: &mut [f64]) {
        each!(self, m => m.add_scaled_row(i, scale, out));
    }

    /// `out = X[:, columns]^T G` of a sparse matrix, `G` of shape `n x C`, by its transpose (built on first use).
    pub(crate) fn columns_transpose(&self, columns: Range<usize>, g: &[f64], outputs: usize, out: &mut [f64]) {
        match self {
            DesignMatrix::CsrF32(m) => m.transposed().block_margins(&RowPick::Span(columns), g, outputs, out),
            DesignMatrix::CsrF64(m) => m.transposed().block_margins(&RowPick::Span(columns), g, outputs, out),
            _ => unreachable!("dense matrices are transposed by rows"),
        }
    }
}
