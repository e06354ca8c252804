//! Compressed sparse rows with 32-bit column indices.

use std::ops::Range;
use std::sync::OnceLock;

use super::buffer::{Access, Buffer};
use super::csr_outputs as several;
use super::csr_row::Entries;
use super::element::Element;
use super::reorder::reorder;
use super::row_ranges::RowPick;
use crate::Error;
use crate::simd::vectorize;

/// An `n x p` matrix of which only the nonzero entries are stored, row after row with rising column index.
#[derive(Debug, Clone)]
pub struct CsrMatrix<T> {
    cols: usize,
    offsets: Buffer<usize>,
    indices: Buffer<u32>,
    values: Buffer<T>,
    /// Built when a product with the transpose has so many outputs that scattering into them would be slow.
    transposed: OnceLock<Box<CsrMatrix<T>>>,
}

impl<T: PartialEq> PartialEq for CsrMatrix<T> {
    fn eq(&self, other: &Self) -> bool {
        self.cols == other.cols
            && self.offsets == other.offsets
            && self.indices == other.indices
            && self.values == other.values
    }
}

impl<T: Element> CsrMatrix<T> {
    /// Row `i` holds the entries `offsets[i]..offsets[i + 1]`; `offsets` has `n + 1` entries and starts at 0.
    ///
    /// # Panics
    /// When the offsets, indices and values do not describe an `n x cols` matrix with rising indices in each row.
    pub fn new(cols: usize, offsets: Vec<usize>, indices: Vec<u32>, values: Vec<T>) -> Self {
        Self::of_buffers(cols, offsets.into(), indices.into(), values.into()).unwrap_or_else(|wrong| panic!("{wrong}"))
    }

    /// The same of entries that may not describe a matrix.
    ///
    /// # Errors
    /// Input, saying what is wrong, when the offsets, indices and values do not describe an `n x cols` matrix with rising
    /// indices in each row.
    pub fn try_new(cols: usize, offsets: Vec<usize>, indices: Vec<u32>, values: Vec<T>) -> crate::Result<Self> {
        Self::of_buffers(cols, offsets.into(), indices.into(), values.into())
            .map_err(|wrong| Error::input(format!("the entries are no matrix of compressed sparse rows: {wrong}")))
    }

    /// The same of numbers that may lie in a file or be lent.
    ///
    /// # Errors
    /// What is wrong, where they do not describe an `n x cols` matrix with rising indices in each row.
    pub fn of_buffers(
        cols: usize,
        offsets: Buffer<usize>,
        indices: Buffer<u32>,
        values: Buffer<T>,
    ) -> Result<Self, &'static str> {
        if offsets.first() != Some(&0) || offsets.last() != Some(&indices.len()) {
            return Err("offsets must span the entries");
        }
        if indices.len() != values.len() {
            return Err("there must be one index per value");
        }
        for pair in offsets.windows(2) {
            let row = indices.get(pair[0]..pair[1]).ok_or("offsets must rise")?;
            if !row.windows(2).all(|p| p[0] < p[1]) {
                return Err("column indices must rise within a row");
            }
            if row.last().is_some_and(|&last| last as usize >= cols) {
                return Err("column index out of range");
            }
        }
        Ok(CsrMatrix { cols, offsets, indices, values, transposed: OnceLock::new() })
    }

    /// The rows `rows`, whose entries stay where they are.
    pub(super) fn range(&self, rows: Range<usize>) -> Self {
        let (first, last) = (self.offsets[rows.start], self.offsets[rows.end]);
        CsrMatrix {
            cols: self.cols,
            offsets: self.offsets[rows.start..=rows.end].iter().map(|offset| offset - first).collect(),
            indices: self.indices.slice(first..last),
            values: self.values.slice(first..last),
            transposed: OnceLock::new(),
        }
    }

    /// Tells the system how rows that lie in a file will be read.
    pub(super) fn advise(&self, access: Access) {
        self.offsets.advise(access);
        self.indices.advise(access);
        self.values.advise(access);
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

    /// Column indices and values of all stored entries, without the matrix.
    pub(super) fn into_entries(self) -> (Vec<u32>, Vec<T>) {
        (self.indices.into_vec(), self.values.into_vec())
    }

    /// All stored values, row after row.
    pub fn values_mut(&mut self) -> &mut [T] {
        self.transposed = OnceLock::new();
        self.values.make_mut()
    }

    /// Puts the rows of `more`, which has as many columns, behind these.
    pub(super) fn append(&mut self, more: &Self) {
        assert_eq!(self.cols, more.cols, "rows of one width");
        self.transposed = OnceLock::new();
        let end = self.stored();
        self.offsets.extend(more.offsets[1..].iter().map(|offset| end + offset));
        self.indices.extend(more.indices.iter().copied());
        self.values.extend(more.values.iter().copied());
    }

    /// Replaces each stored value `x` of column `j` by `f(j, x)`.
    pub(super) fn map_values(&mut self, f: impl Fn(usize, f64) -> f64) {
        self.transposed = OnceLock::new();
        for (&j, x) in self.indices.iter().zip(self.values.make_mut()) {
            *x = T::from_f64(f(j as usize, x.to_f64()));
        }
    }

    /// Appends columns that hold no entry, up to `cols` columns.
    pub fn widen(&mut self, cols: usize) {
        assert!(cols >= self.cols, "a matrix can only be widened");
        self.transposed = OnceLock::new();
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
        let (offsets, indices, values) = (offsets.into(), indices.into(), values.into());
        CsrMatrix { cols: self.cols, offsets, indices, values, transposed: OnceLock::new() }
    }

    /// The rows `order[0], order[1], ...` in that order, each once, in about the memory of the matrix.
    #[must_use]
    pub(super) fn into_order(self, order: &[u32]) -> Self {
        let old = self.offsets;
        let indices = reorder(self.indices.into_vec(), |i| old[i], order).into();
        let values = reorder(self.values.into_vec(), |i| old[i], order).into();
        let mut offsets = Vec::with_capacity(old.len());
        offsets.push(0);
        for &row in order {
            let length = old[row as usize + 1] - old[row as usize];
            offsets.push(offsets[offsets.len() - 1] + length);
        }
        CsrMatrix { cols: self.cols, offsets: offsets.into(), indices, values, transposed: OnceLock::new() }
    }
}

impl<T: Element> CsrMatrix<T> {
    /// The transpose, built on first use and kept.
    pub(super) fn transposed(&self) -> &CsrMatrix<T> {
        self.transposed.get_or_init(|| {
            let mut offsets = vec![0; self.cols + 1];
            for &j in self.indices.iter() {
                offsets[j as usize + 1] += 1;
            }
            for j in 0..self.cols {
                offsets[j + 1] += offsets[j];
            }
            let mut next: Vec<usize> = offsets.clone();
            let mut indices = vec![0; self.indices.len()];
            let mut values = vec![T::default(); self.values.len()];
            for i in 0..self.rows() {
                let (row_indices, row_values) = self.row(i);
                for (&j, &x) in row_indices.iter().zip(row_values) {
                    let place = &mut next[j as usize];
                    indices[*place] = i as u32;
                    values[*place] = x;
                    *place += 1;
                }
            }
            let (offsets, indices, values) = (offsets.into(), indices.into(), values.into());
            Box::new(CsrMatrix { cols: self.rows(), offsets, indices, values, transposed: OnceLock::new() })
        })
    }

    fn entries(&self) -> Entries<'_, T> {
        Entries { indices: &self.indices, values: &self.values }
    }

    /// Where the entries of consecutive rows lie.
    #[inline]
    fn spans(&self, rows: &Range<usize>) -> impl Iterator<Item = Range<usize>> {
        self.offsets[rows.start..=rows.end].windows(2).map(|ends| ends[0]..ends[1])
    }

    /// Where the entries of any rows lie.
    #[inline]
    fn scattered(&self, rows: &[u32]) -> impl Iterator<Item = Range<usize>> {
        rows.iter().map(|&row| self.offsets[row as usize]..self.offsets[row as usize + 1])
    }

    pub(super) fn block_margins(&self, rows: &RowPick<'_>, weights: &[f64], outputs: usize, out: &mut [f64]) {
        debug_assert_eq!((weights.len(), out.len()), (self.cols * outputs, rows.len() * outputs));
        if outputs == 1 {
            return match rows {
                RowPick::Span(span) => self.entries().dots(self.spans(span), weights, out),
                RowPick::List(list) => self.entries().dots(self.scattered(list), weights, out),
            };
        }
        vectorize(
            #[inline(always)]
            || {
                for (i, out) in out.chunks_exact_mut(outputs).enumerate() {
                    let (indices, values) = self.row(rows.row(i));
                    several::dots(indices, values, weights, out);
                }
            },
        );
    }

    pub(super) fn add_block_transpose(&self, rows: &RowPick<'_>, g: &[f64], outputs: usize, out: &mut [f64]) {
        self.scatter(rows, g, outputs, out, |x| x);
    }

    pub(super) fn add_block_squared_transpose(&self, rows: &RowPick<'_>, g: &[f64], outputs: usize, out: &mut [f64]) {
        self.scatter(rows, g, outputs, out, |x| x * x);
    }

    fn scatter(&self, rows: &RowPick<'_>, g: &[f64], outputs: usize, out: &mut [f64], f: impl Fn(f64) -> f64 + Copy) {
        debug_assert_eq!((out.len(), g.len()), (self.cols * outputs, rows.len() * outputs));
        if outputs == 1 {
            return match rows {
                RowPick::Span(span) => self.entries().scatter(self.spans(span), g, out, f),
                RowPick::List(list) => self.entries().scatter(self.scattered(list), g, out, f),
            };
        }
        vectorize(
            #[inline(always)]
            || {
                for (i, g) in g.chunks_exact(outputs).enumerate() {
                    let (indices, values) = self.row(rows.row(i));
                    several::scatter(indices, values, g, out, f);
                }
            },
        );
    }

    pub(super) fn add_block_gram(&self, rows: &RowPick<'_>, d: &[f64], out: &mut [f64]) {
        match rows {
            RowPick::Span(span) => self.entries().gram(self.spans(span), d, self.cols, out),
            RowPick::List(list) => self.entries().gram(self.scattered(list), d, self.cols, out),
        }
    }

    pub(super) fn add_scaled_row(&self, i: usize, scale: &[f64], out: &mut [f64]) {
        let (indices, values) = self.row(i);
        for (&j, x) in indices.iter().zip(values) {
            out[j as usize] += scale[j as usize] * x.to_f64();
        }
    }
}
