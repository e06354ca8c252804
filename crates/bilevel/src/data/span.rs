//! Whether single precision keeps enough of the numbers of a column.

use super::design::DesignMatrix;
use super::element::Element;

/// Steps of single precision over the span of a column that are enough: each number is then right to a four-thousandth of it.
const FEWEST_STEPS: f64 = 4096.0;

/// From where to where numbers go, and whether single precision rounds any.
#[derive(Debug, Clone, Copy)]
pub(super) struct Span {
    low: f64,
    high: f64,
    rounded: bool,
}

impl Span {
    pub(super) const EMPTY: Self = Span { low: f64::INFINITY, high: f64::NEG_INFINITY, rounded: false };

    /// Of numbers of which those that are NaN are missing.
    pub(super) fn of(numbers: &[f64]) -> Self {
        let mut span = Span::EMPTY;
        numbers.iter().filter(|number| !number.is_nan()).for_each(|&number| span.add(number));
        span
    }

    pub(super) fn add(&mut self, x: f64) {
        self.low = self.low.min(x);
        self.high = self.high.max(x);
        self.rounded |= f64::from(x as f32) != x;
    }

    /// Whether the numbers are so far from zero, as times in milliseconds are, that they differ in few steps of single
    /// precision. Once they are not, no further number changes that.
    fn is_far(self) -> bool {
        let step = self.low.abs().max(self.high.abs()) * f64::from(f32::EPSILON);
        self.low > self.high || step.is_finite() && self.high - self.low < FEWEST_STEPS * step
    }

    /// Whether single precision might spoil the numbers once others follow, which equal ones may be told from.
    pub(super) fn is_spoiled(self) -> bool {
        self.rounded && self.is_far()
    }

    /// Whether single precision spoils the numbers.
    pub(super) fn needs_double(self) -> bool {
        self.is_spoiled() && self.low < self.high
    }
}

/// The columns of a matrix that are far from zero, which are few after some rows.
#[derive(Debug, Default)]
pub(super) struct FarColumns {
    begun: bool,
    /// Rising.
    columns: Vec<(u32, Span)>,
}

impl FarColumns {
    /// Whether there are any left, or may be some.
    pub(super) fn any(&self) -> bool {
        !self.begun || !self.columns.is_empty()
    }

    /// Whether single precision might spoil some column, should more rows follow.
    pub(super) fn are_spoiled(&self) -> bool {
        self.columns.iter().any(|(_, span)| span.is_spoiled())
    }

    /// Whether single precision spoils some column.
    pub(super) fn need_double(&self) -> bool {
        self.columns.iter().any(|(_, span)| span.needs_double())
    }

    /// Adds a row of numbers of which some are missing (NaN).
    pub(super) fn add_dense<T: Element>(&mut self, row: &[T]) {
        if !self.begun {
            self.begun = true;
            self.columns = (0..row.len() as u32).map(|j| (j, Span::EMPTY)).collect();
        }
        self.add(|j| row.get(j as usize).map(|x| x.to_f64()));
    }

    /// Adds a row of which these entries, with rising indices, are not zero.
    pub(super) fn add_sparse<T: Element>(&mut self, indices: &[u32], values: &[T]) {
        if !self.begun {
            self.begun = true;
            self.columns = indices.iter().map(|&j| (j, Span::EMPTY)).collect();
        }
        let mut at = 0;
        self.add(|j| {
            at += indices[at..].partition_point(|&index| index < j);
            (indices.get(at) == Some(&j)).then(|| values[at].to_f64())
        });
    }

    /// Adds the rows of `matrix`.
    pub(super) fn add_matrix(&mut self, matrix: &DesignMatrix) {
        for i in 0..matrix.rows() {
            if !self.any() {
                return;
            }
            match matrix {
                DesignMatrix::DenseF32(matrix) => self.add_dense(matrix.row(i)),
                DesignMatrix::DenseF64(matrix) => self.add_dense(matrix.row(i)),
                // Pixels are not far from zero.
                DesignMatrix::Coded(_) => return,
                DesignMatrix::CsrF32(matrix) => self.add_sparse(matrix.row(i).0, matrix.row(i).1),
                DesignMatrix::CsrF64(matrix) => self.add_sparse(matrix.row(i).0, matrix.row(i).1),
            }
        }
    }

    /// Adds what `value` says of each column, rising: nothing of those that are zero.
    fn add(&mut self, mut value: impl FnMut(u32) -> Option<f64>) {
        self.columns.retain_mut(|(j, span)| {
            let Some(x) = value(*j) else { return false };
            if !x.is_nan() {
                span.add(x);
            }
            span.is_far()
        });
    }
}
