//! Row-major dense storage.
//!
//! One output is a dot product a row: memory is the limit, so entries are widened to `f64` as they are read. Several
//! outputs are a matrix product: blocks of rows are widened into a buffer that stays in the cache.

use std::array;
use std::ops::Range;

use crate::simd::vectorize;
use crate::{Error, Result};
use faer::linalg::matmul::{matmul, triangular};
use faer::{Accum, MatMut, MatRef, Par};
use rayon::prelude::*;

use super::buffer::{Access, Buffer};
use super::dense_outputs::{add_outputs_transposed, outputs_margins};
use super::design::{Element, RowPick};
use super::lanes::{Number, Weights, combine, fetch_chunk, multiply, plus_combination, tail};
use super::reorder::reorder;

/// Entries of a widened block for Gram matrices: so many rows at a time that adding to the large result costs little.
const GRAM_BLOCK_ENTRIES: usize = 256 * 1024;
/// Rows of a Gram matrix that are one task.
const GRAM_PANEL: usize = 64;
/// Columns from which on the tasks of one Gram matrix are enough for all threads.
pub(super) const GRAM_IS_PARALLEL: usize = 8 * GRAM_PANEL;
/// Rows of one dot product: so many sums hide the latency of the processor.
const DOT_ROWS: usize = 4;
/// Rows that are added to a sum at a time.
const COMBINE_ROWS: usize = 4;
/// Bytes of the rows of a block: they stay in the nearest cache until the product with the transpose, and while that is
/// formed, those of the next block arrive.
const BLOCK_BYTES: usize = 28 * 1024;

/// Rows of a block of a pass, for rows of so many bytes.
pub(super) fn block_rows(row_bytes: usize) -> usize {
    (BLOCK_BYTES / row_bytes.max(1)).clamp(8, 512) / 8 * 8
}

/// An `n x p` matrix, row after row.
#[derive(Debug, Clone, PartialEq)]
pub struct DenseMatrix<T> {
    rows: usize,
    cols: usize,
    values: Buffer<T>,
}

impl<T: Element> DenseMatrix<T> {
    /// Takes `rows * cols` values, row after row.
    ///
    /// # Panics
    /// When the number of values is not `rows * cols`.
    pub fn new(rows: usize, cols: usize, values: Vec<T>) -> Self {
        assert_eq!(values.len(), rows * cols, "a {rows} x {cols} matrix needs {} values", rows * cols);
        DenseMatrix { rows, cols, values: Buffer::in_lines(values) }
    }

    /// The same of numbers that may not be as many as they should.
    ///
    /// # Errors
    /// Input, when the number of values is not `rows * cols`.
    pub fn try_new(rows: usize, cols: usize, values: Vec<T>) -> Result<Self> {
        match rows.checked_mul(cols) == Some(values.len()) {
            true => Ok(Self::new(rows, cols, values)),
            false => Err(Error::input(format!("there are {} values for a {rows} x {cols} matrix", values.len()))
                .remedy("give all entries, row after row")),
        }
    }

    /// The same of numbers that may lie in a file or be lent.
    ///
    /// # Panics
    /// As [`DenseMatrix::new`].
    pub fn of_buffer(rows: usize, cols: usize, values: Buffer<T>) -> Self {
        assert_eq!(values.len(), rows * cols, "values must have rows x cols entries");
        DenseMatrix { rows, cols, values }
    }

    /// The rows `rows`, which stay where they are.
    pub(super) fn range(&self, rows: Range<usize>) -> Self {
        let values = self.values.slice(rows.start * self.cols..rows.end * self.cols);
        DenseMatrix { rows: rows.len(), cols: self.cols, values }
    }

    /// Puts the rows of `more`, which has as many columns, behind these.
    pub(super) fn append(&mut self, more: &Self) {
        assert_eq!(self.cols, more.cols, "rows of one width");
        self.rows += more.rows;
        self.values.extend(more.values.iter().copied());
    }

    /// Tells the system how rows that lie in a file will be read.
    pub(super) fn advise(&self, access: Access) {
        self.values.advise(access);
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

    /// All values, row after row, without the matrix.
    pub(super) fn into_values(self) -> Vec<T> {
        self.values.into_vec()
    }

    /// All values, row after row.
    pub fn values_mut(&mut self) -> &mut [T] {
        self.values.make_mut()
    }

    /// The rows `order[0], order[1], ...` in that order, copied.
    #[must_use]
    pub fn select_rows(&self, order: &[u32]) -> Self {
        let mut values = Vec::with_capacity(order.len() * self.cols);
        for &row in order {
            values.extend_from_slice(self.row(row as usize));
        }
        DenseMatrix::new(order.len(), self.cols, values)
    }

    /// The rows `order[0], order[1], ...` in that order, each once, in about the memory of the matrix.
    #[must_use]
    pub(super) fn into_order(self, order: &[u32]) -> Self {
        let cols = self.cols;
        DenseMatrix::new(self.rows, cols, reorder(self.values.into_vec(), |i| i * cols, order))
    }
}

impl<T: Element> DenseMatrix<T> {
    pub(super) fn block_margins(&self, rows: &RowPick<'_>, weights: &[f64], outputs: usize, out: &mut [f64]) {
        debug_assert_eq!((weights.len(), out.len()), (self.cols * outputs, rows.len() * outputs));
        if outputs == 1 {
            return match self.cols {
                8.. => self.dots::<8>(rows, weights, out),
                4.. => self.dots::<4>(rows, weights, out),
                _ => self.dots::<1>(rows, weights, out),
            };
        }
        outputs_margins(self, rows, weights, outputs, out);
    }

    pub(super) fn add_block_transpose(&self, rows: &RowPick<'_>, g: &[f64], outputs: usize, out: &mut [f64]) {
        debug_assert_eq!((out.len(), g.len()), (self.cols * outputs, rows.len() * outputs));
        if outputs == 1 {
            return self.add_combination(rows, g, out, |x| x);
        }
        add_outputs_transposed(self, rows, g, outputs, out);
    }

    pub(super) fn add_block_squared_transpose(&self, rows: &RowPick<'_>, g: &[f64], outputs: usize, out: &mut [f64]) {
        for output in 0..outputs {
            let g: Vec<f64> = g.iter().skip(output).step_by(outputs).copied().collect();
            let mut sums = vec![0.0; self.cols];
            self.add_combination(rows, &g, &mut sums, |x| x * x);
            for (out, sum) in out.iter_mut().skip(output).step_by(outputs).zip(sums) {
                *out += sum;
            }
        }
    }

    pub(super) fn add_block_gram(&self, rows: &RowPick<'_>, d: &[f64], out: &mut [f64]) {
        let cols = self.cols;
        let mut scaled = Vec::with_capacity(GRAM_BLOCK_ENTRIES.max(self.cols));
        self.widened_blocks(rows, GRAM_BLOCK_ENTRIES, |first, block| {
            scaled.clear();
            for (i, &d) in d[first..first + block.nrows()].iter().enumerate() {
                scaled.extend(block.row(i).iter().map(|x| d * x));
            }
            let scaled = MatRef::from_row_major_slice(&scaled, block.nrows(), cols);
            out.par_chunks_mut(GRAM_PANEL * cols).enumerate().for_each(|(panel, out)| {
                let (first, count) = (panel * GRAM_PANEL, out.len() / cols);
                let rows = block.subcols(first, count).transpose();
                let out = MatMut::from_row_major_slice_mut(out, count, cols);
                let (before, own) = out.subcols_mut(0, first + count).split_at_col_mut(first);
                matmul(before, Accum::Add, rows, scaled.subcols(0, first), 1.0, Par::Seq);
                triangular::matmul(
                    own,
                    triangular::BlockStructure::TriangularLower,
                    Accum::Add,
                    rows,
                    triangular::BlockStructure::Rectangular,
                    scaled.subcols(first, count),
                    triangular::BlockStructure::Rectangular,
                    1.0,
                    Par::Seq,
                );
            });
        });
    }

    pub(super) fn add_scaled_row(&self, i: usize, scale: &[f64], out: &mut [f64]) {
        for ((out, x), scale) in out.iter_mut().zip(self.row(i)).zip(scale) {
            *out += scale * x.to_f64();
        }
    }

    /// Hands out blocks of rows widened to `f64`, with the position of their first row.
    fn widened_blocks(&self, rows: &RowPick<'_>, entries: usize, mut visit: impl FnMut(usize, MatRef<'_, f64>)) {
        let block_rows = (entries / self.cols.max(1)).clamp(8, 1024);
        let mut buffer = vec![0.0; block_rows.min(rows.len()) * self.cols];
        for first in (0..rows.len()).step_by(block_rows) {
            let count = block_rows.min(rows.len() - first);
            vectorize(
                #[inline(always)]
                || {
                    for i in 0..count {
                        let wide = &mut buffer[i * self.cols..(i + 1) * self.cols];
                        for (wide, x) in wide.iter_mut().zip(self.row(rows.row(first + i))) {
                            *wide = x.to_f64();
                        }
                    }
                },
            );
            visit(first, MatRef::from_row_major_slice(&buffer[..count * self.cols], count, self.cols));
        }
    }

    /// `out_i = x_i^T w` in chunks of `L` columns.
    fn dots<const L: usize>(&self, rows: &RowPick<'_>, weights: &[f64], out: &mut [f64]) {
        let (body, rest) = weights.as_chunks::<L>();
        let mut last = [[0.0; L]];
        last[0][L - rest.len()..].copy_from_slice(rest);
        let weights = Weights { body: body.as_chunks().0, last: (!rest.is_empty()).then_some(&last) };
        let ahead = block_rows(self.cols * size_of::<T>());
        vectorize(
            #[inline(always)]
            || {
                let (blocks, rest) = out.as_chunks_mut::<DOT_ROWS>();
                let count = blocks.len() * DOT_ROWS;
                for (block, out) in blocks.iter_mut().enumerate() {
                    let first = block * DOT_ROWS;
                    let picked: [&[T]; DOT_ROWS] = array::from_fn(|r| self.row(rows.row(first + r)));
                    let next = array::from_fn(|r| self.coming(rows, first + r + ahead));
                    let fetch = |chunk| fetch_chunk::<T, L, DOT_ROWS>(&next, chunk);
                    *out = f64::totals(&multiply(&picked, weights, fetch)[0]);
                }
                for (i, out) in rest.iter_mut().enumerate() {
                    [*out] = f64::totals(&multiply(&[self.row(rows.row(count + i))], weights, |_| {})[0]);
                }
            },
        );
    }

    /// `out += sum_i g_i f(x_i)`.
    fn add_combination(&self, rows: &RowPick<'_>, g: &[f64], out: &mut [f64], f: impl Fn(f64) -> f64 + Copy) {
        match self.cols {
            8.. => self.add_chunks::<8>(rows, g, out, f),
            4.. => self.add_chunks::<4>(rows, g, out, f),
            _ => self.add_chunks::<1>(rows, g, out, f),
        }
    }

    /// The same in chunks of `L` columns, so many rows at a time that `out` is rarely read and written.
    fn add_chunks<const L: usize>(
        &self,
        rows: &RowPick<'_>,
        g: &[f64],
        out: &mut [f64],
        f: impl Fn(f64) -> f64 + Copy,
    ) {
        let ahead = block_rows(self.cols * size_of::<T>());
        vectorize(
            #[inline(always)]
            || {
                let (blocks, rest) = g.as_chunks::<COMBINE_ROWS>();
                let count = blocks.len() * COMBINE_ROWS;
                for (block, g) in blocks.iter().enumerate() {
                    let first = block * COMBINE_ROWS;
                    let picked: [&[T]; COMBINE_ROWS] = array::from_fn(|r| self.row(rows.row(first + r)));
                    let next = array::from_fn(|r| self.coming(rows, first + r + ahead));
                    let fetch = |chunk| fetch_chunk::<T, L, COMBINE_ROWS>(&next, chunk);
                    add_rows::<T, L, COMBINE_ROWS>(&picked, g, out, f, fetch);
                }
                for (i, &g) in rest.iter().enumerate() {
                    add_rows::<T, L, 1>(&[self.row(rows.row(count + i))], &[g], out, f, |_| {});
                }
            },
        );
    }

    /// Where the row at `position` begins. Behind consecutive rows come their neighbours, which a pass visits next; behind the
    /// last row comes nothing, and its address must not be read.
    #[inline(always)]
    fn coming(&self, rows: &RowPick<'_>, position: usize) -> *const T {
        let row = match rows {
            RowPick::Span(span) => span.start + position,
            RowPick::List(list) => list.get(position).map_or(self.rows, |&row| row as usize),
        };
        self.values.as_ptr().wrapping_add(row * self.cols)
    }
}

/// `out += sum_r g_r f(x_r)`.
#[inline(always)]
fn add_rows<T: Element, const L: usize, const R: usize>(
    rows: &[&[T]; R],
    g: &[f64; R],
    out: &mut [f64],
    f: impl Fn(f64) -> f64 + Copy,
    fetch: impl Fn(usize),
) {
    let (body, rest) = out.as_chunks_mut::<L>();
    combine(rows.map(|row| &row.as_chunks::<L>().0[..body.len()]), g, f, fetch, body);
    if !rest.is_empty() {
        let sums = plus_combination([0.0; L], rows.map(|row| tail(row)), g, f);
        rest.iter_mut().rev().zip(sums.iter().rev()).for_each(|(out, sum)| *out += sum);
    }
}
