//! Row-major dense storage.
//!
//! One output is a dot product a row: memory is the limit, so entries are widened to `f64` as they are read. Several
//! outputs are a matrix product: blocks of rows are widened into a buffer that stays in the cache.

use std::ops::Range;

use crate::simd::vectorize;
use faer::linalg::matmul::{matmul, triangular};
use faer::{Accum, MatMut, MatRef, Par};

use super::buffer::{Access, Buffer};
use super::design::{Element, RowPick};
use super::reorder::reorder;

/// Entries of a widened block: 256 KiB, so that it stays in the cache between two uses.
const BLOCK_ENTRIES: usize = 32 * 1024;
/// Entries of a widened block for Gram matrices: so many rows at a time that adding to the large result costs little.
const GRAM_BLOCK_ENTRIES: usize = 256 * 1024;

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
        DenseMatrix { rows, cols, values: values.into() }
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
        DenseMatrix { rows: order.len(), cols: self.cols, values: values.into() }
    }

    /// The rows `order[0], order[1], ...` in that order, each once, in about the memory of the matrix.
    #[must_use]
    pub(super) fn into_order(self, order: &[u32]) -> Self {
        let cols = self.cols;
        let values = reorder(self.values.into_vec(), |i| i * cols, order).into();
        DenseMatrix { rows: self.rows, cols, values }
    }
}

impl<T: Element> DenseMatrix<T> {
    pub(super) fn block_margins(&self, rows: &RowPick<'_>, weights: &[f64], outputs: usize, out: &mut [f64]) {
        debug_assert_eq!((weights.len(), out.len()), (self.cols * outputs, rows.len() * outputs));
        if outputs == 1 {
            vectorize(
                #[inline(always)]
                || {
                    for (i, out) in out.iter_mut().enumerate() {
                        *out = wide_dot(self.row(rows.row(i)), weights);
                    }
                },
            );
            return;
        }
        let weights = MatRef::from_row_major_slice(weights, self.cols, outputs);
        self.widened_blocks(rows, BLOCK_ENTRIES, |first, block| {
            let out = &mut out[first * outputs..(first + block.nrows()) * outputs];
            let out = MatMut::from_row_major_slice_mut(out, block.nrows(), outputs);
            matmul(out, Accum::Replace, block, weights, 1.0, Par::Seq);
        });
    }

    pub(super) fn add_block_transpose(&self, rows: &RowPick<'_>, g: &[f64], outputs: usize, out: &mut [f64]) {
        debug_assert_eq!((out.len(), g.len()), (self.cols * outputs, rows.len() * outputs));
        if outputs == 1 {
            vectorize(
                #[inline(always)]
                || self.add_combination(rows, g, out, |x| x),
            );
            return;
        }
        let mut out = MatMut::from_row_major_slice_mut(out, self.cols, outputs);
        self.widened_blocks(rows, BLOCK_ENTRIES, |first, block| {
            let g = MatRef::from_row_major_slice(
                &g[first * outputs..(first + block.nrows()) * outputs],
                block.nrows(),
                outputs,
            );
            matmul(out.as_mut(), Accum::Add, block.transpose(), g, 1.0, Par::Seq);
        });
    }

    pub(super) fn add_block_squared_transpose(&self, rows: &RowPick<'_>, g: &[f64], outputs: usize, out: &mut [f64]) {
        for output in 0..outputs {
            let g: Vec<f64> = g.iter().skip(output).step_by(outputs).copied().collect();
            let mut sums = vec![0.0; self.cols];
            vectorize(
                #[inline(always)]
                || self.add_combination(rows, &g, &mut sums, |x| x * x),
            );
            for (out, sum) in out.iter_mut().skip(output).step_by(outputs).zip(sums) {
                *out += sum;
            }
        }
    }

    pub(super) fn add_block_gram(&self, rows: &RowPick<'_>, d: &[f64], out: &mut [f64]) {
        let mut out = MatMut::from_row_major_slice_mut(out, self.cols, self.cols);
        let mut scaled = Vec::with_capacity(GRAM_BLOCK_ENTRIES.max(self.cols));
        self.widened_blocks(rows, GRAM_BLOCK_ENTRIES, |first, block| {
            scaled.clear();
            for (i, &d) in d[first..first + block.nrows()].iter().enumerate() {
                scaled.extend(block.row(i).iter().map(|x| d * x));
            }
            let scaled = MatRef::from_row_major_slice(&scaled, block.nrows(), self.cols);
            triangular::matmul(
                out.as_mut(),
                triangular::BlockStructure::TriangularLower,
                Accum::Add,
                block.transpose(),
                triangular::BlockStructure::Rectangular,
                scaled,
                triangular::BlockStructure::Rectangular,
                1.0,
                Par::Seq,
            );
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

    /// `out += sum_i g_i f(x_i)`, four rows at a time so that `out` is read and written a quarter as often.
    #[inline(always)]
    fn add_combination(&self, rows: &RowPick<'_>, g: &[f64], out: &mut [f64], f: impl Fn(f64) -> f64) {
        let mut i = 0;
        while i + 4 <= rows.len() {
            let [a, b, c, d] = [0, 1, 2, 3].map(|k| &self.row(rows.row(i + k))[..out.len()]);
            let [ga, gb, gc, gd] = [g[i], g[i + 1], g[i + 2], g[i + 3]];
            for j in 0..out.len() {
                let first = f(a[j].to_f64()).mul_add(ga, f(b[j].to_f64()) * gb);
                let second = f(c[j].to_f64()).mul_add(gc, f(d[j].to_f64()) * gd);
                out[j] += first + second;
            }
            i += 4;
        }
        for (i, g) in g.iter().enumerate().skip(i) {
            for (out, x) in out.iter_mut().zip(self.row(rows.row(i))) {
                *out = f(x.to_f64()).mul_add(*g, *out);
            }
        }
    }
}

/// `x^T w` in four times eight lanes.
#[inline(always)]
fn wide_dot<T: Element>(x: &[T], w: &[f64]) -> f64 {
    const LANES: usize = 8;
    const UNROLL: usize = 4;
    let mut sums = [[0.0; LANES]; UNROLL];
    let mut x_chunks = x.chunks_exact(LANES * UNROLL);
    let mut w_chunks = w.chunks_exact(LANES * UNROLL);
    for (x, w) in (&mut x_chunks).zip(&mut w_chunks) {
        for k in 0..UNROLL {
            for lane in 0..LANES {
                sums[k][lane] = x[k * LANES + lane].to_f64().mul_add(w[k * LANES + lane], sums[k][lane]);
            }
        }
    }
    let mut x_chunks = x_chunks.remainder().chunks_exact(LANES);
    let mut w_chunks = w_chunks.remainder().chunks_exact(LANES);
    for (x, w) in (&mut x_chunks).zip(&mut w_chunks) {
        for lane in 0..LANES {
            sums[0][lane] = x[lane].to_f64().mul_add(w[lane], sums[0][lane]);
        }
    }
    let tail: f64 = x_chunks.remainder().iter().zip(w_chunks.remainder()).map(|(x, w)| x.to_f64() * w).sum();
    let mut total = [0.0; LANES];
    for lane in 0..LANES {
        total[lane] = (sums[0][lane] + sums[1][lane]) + (sums[2][lane] + sums[3][lane]);
    }
    total.iter().sum::<f64>() + tail
}
