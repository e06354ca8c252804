//! Row-major dense storage.

use super::design::Element;

/// An `n x p` matrix, row after row.
#[derive(Debug, Clone, PartialEq)]
pub struct DenseMatrix<T> {
    rows: usize,
    cols: usize,
    values: Vec<T>,
}

impl<T: Element> DenseMatrix<T> {
    /// Takes `rows * cols` values, row after row.
    ///
    /// # Panics
    /// When the number of values is not `rows * cols`.
    pub fn new(rows: usize, cols: usize, values: Vec<T>) -> Self {
        assert_eq!(values.len(), rows * cols, "a {rows} x {cols} matrix needs {} values", rows * cols);
        DenseMatrix { rows, cols, values }
    }

    /// Number of rows.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Number of columns.
    pub fn cols(&self) -> usize {
        self.cols
    }

    /// Row `i`.
    pub fn row(&self, i: usize) -> &[T] {
        &self.values[i * self.cols..(i + 1) * self.cols]
    }

    /// All values, row after row.
    pub fn values(&self) -> &[T] {
        &self.values
    }

    /// All values, row after row.
    pub fn values_mut(&mut self) -> &mut [T] {
        &mut self.values
    }

    /// The rows `order[0], order[1], ...` in that order, copied.
    #[must_use]
    pub fn select_rows(&self, order: &[u32]) -> Self {
        let mut values = Vec::with_capacity(order.len() * self.cols);
        for &row in order {
            values.extend_from_slice(self.row(row as usize));
        }
        DenseMatrix { rows: order.len(), cols: self.cols, values }
    }
}
