//! Compressed sparse rows with 32-bit column indices.

use super::design::Element;

/// An `n x p` matrix of which only the nonzero entries are stored, row after row with rising column index.
#[derive(Debug, Clone, PartialEq)]
pub struct CsrMatrix<T> {
    cols: usize,
    offsets: Vec<usize>,
    indices: Vec<u32>,
    values: Vec<T>,
}

impl<T: Element> CsrMatrix<T> {
    /// Row `i` holds the entries `offsets[i]..offsets[i + 1]`; `offsets` has `n + 1` entries and starts at 0.
    ///
    /// # Panics
    /// When the offsets, indices and values do not describe an `n x cols` matrix with rising indices in each row.
    pub fn new(cols: usize, offsets: Vec<usize>, indices: Vec<u32>, values: Vec<T>) -> Self {
        assert!(offsets.first() == Some(&0) && offsets.last() == Some(&indices.len()), "offsets must span the entries");
        assert_eq!(indices.len(), values.len(), "one index per value");
        for pair in offsets.windows(2) {
            let row = &indices[pair[0]..pair[1]];
            assert!(row.windows(2).all(|p| p[0] < p[1]), "column indices must rise within a row");
            assert!(row.last().is_none_or(|&last| (last as usize) < cols), "column index out of range");
        }
        CsrMatrix { cols, offsets, indices, values }
    }

    /// Number of rows.
    pub fn rows(&self) -> usize {
        self.offsets.len() - 1
    }

    /// Number of columns.
    pub fn cols(&self) -> usize {
        self.cols
    }

    /// Number of stored entries.
    pub fn stored(&self) -> usize {
        self.values.len()
    }

    /// Column indices and values of row `i`.
    pub fn row(&self, i: usize) -> (&[u32], &[T]) {
        let span = self.offsets[i]..self.offsets[i + 1];
        (&self.indices[span.clone()], &self.values[span])
    }

    /// Column indices of all stored entries, row after row.
    pub fn indices(&self) -> &[u32] {
        &self.indices
    }

    /// All stored values, row after row.
    pub fn values(&self) -> &[T] {
        &self.values
    }

    /// All stored values, row after row.
    pub fn values_mut(&mut self) -> &mut [T] {
        &mut self.values
    }

    /// Appends columns that hold no entry, up to `cols` columns.
    pub fn widen(&mut self, cols: usize) {
        assert!(cols >= self.cols, "a matrix can only be widened");
        self.cols = cols;
    }

    /// The rows `order[0], order[1], ...` in that order, copied.
    #[must_use]
    pub fn select_rows(&self, order: &[u32]) -> Self {
        let stored = order.iter().map(|&row| self.row(row as usize).0.len()).sum();
        let mut offsets = Vec::with_capacity(order.len() + 1);
        let (mut indices, mut values) = (Vec::with_capacity(stored), Vec::with_capacity(stored));
        offsets.push(0);
        for &row in order {
            let (row_indices, row_values) = self.row(row as usize);
            indices.extend_from_slice(row_indices);
            values.extend_from_slice(row_values);
            offsets.push(indices.len());
        }
        CsrMatrix { cols: self.cols, offsets, indices, values }
    }
}
