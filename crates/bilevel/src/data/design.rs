//! The design matrix: dense or sparse, single or double precision, behind one interface.

use std::ops::Range;

use super::csr::CsrMatrix;
use super::dense::DenseMatrix;

/// Number type of a stored matrix.
pub trait Element: Copy + Send + Sync + Default + PartialEq + std::fmt::Debug + 'static {
    /// Widened to double precision.
    fn to_f64(self) -> f64;
    /// Rounded from double precision.
    fn from_f64(x: f64) -> Self;
}

impl Element for f32 {
    #[inline(always)]
    fn to_f64(self) -> f64 {
        f64::from(self)
    }
    #[inline(always)]
    fn from_f64(x: f64) -> Self {
        x as f32
    }
}

impl Element for f64 {
    #[inline(always)]
    fn to_f64(self) -> f64 {
        self
    }
    #[inline(always)]
    fn from_f64(x: f64) -> Self {
        x
    }
}

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
    /// Dense when at least a fifth of the entries are nonzero, else sparse.
    #[default]
    Auto,
    /// Every entry.
    Dense,
    /// Only the nonzero entries.
    Sparse,
}

/// Consecutive parts of the rows of a matrix: the training rows of a fold are all rows but one block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RowRanges(Vec<Range<usize>>);

impl RowRanges {
    /// The given ranges, in rising order; empty ones are dropped.
    pub fn new(ranges: impl IntoIterator<Item = Range<usize>>) -> Self {
        let ranges: Vec<_> = ranges.into_iter().filter(|r| !r.is_empty()).collect();
        assert!(ranges.windows(2).all(|pair| pair[0].end <= pair[1].start), "row ranges must rise");
        RowRanges(ranges)
    }

    /// `0..n` without `hole`.
    pub fn complement(n: usize, hole: Range<usize>) -> Self {
        Self::new([0..hole.start, hole.end..n])
    }

    /// Number of rows.
    pub fn len(&self) -> usize {
        self.0.iter().map(ExactSizeIterator::len).sum()
    }

    /// True without rows.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The ranges, in rising order.
    pub fn ranges(&self) -> &[Range<usize>] {
        &self.0
    }

    /// The matrix row at position `position` of these rows.
    pub fn row(&self, mut position: usize) -> usize {
        for range in &self.0 {
            if position < range.len() {
                return range.start + position;
            }
            position -= range.len();
        }
        panic!("position outside the rows");
    }
}

/// An `n x p` matrix of features.
#[derive(Debug, Clone, PartialEq)]
pub enum DesignMatrix {
    /// Dense, single precision.
    DenseF32(DenseMatrix<f32>),
    /// Dense, double precision.
    DenseF64(DenseMatrix<f64>),
    /// Sparse, single precision.
    CsrF32(CsrMatrix<f32>),
    /// Sparse, double precision.
    CsrF64(CsrMatrix<f64>),
}

macro_rules! each {
    ($self:expr, $matrix:ident => $body:expr) => {
        match $self {
            DesignMatrix::DenseF32($matrix) => $body,
            DesignMatrix::DenseF64($matrix) => $body,
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
            DesignMatrix::CsrF32(m) => DesignMatrix::CsrF32(m.select_rows(order)),
            DesignMatrix::CsrF64(m) => DesignMatrix::CsrF64(m.select_rows(order)),
        }
    }
}
