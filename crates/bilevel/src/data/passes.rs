//! Parallel passes over the rows, with sums that do not depend on the number of threads.
//!
//! The rows are cut into chunks whose sizes follow from the shape of the problem alone; each chunk is summed on one
//! thread and the partial sums are added in order. Within a chunk, small blocks are multiplied by the matrix and by its
//! transpose while they are still in the cache, so that a gradient reads the data once.

use std::marker::PhantomData;
use std::ops::Range;

use rayon::prelude::*;

use super::dense::block_rows;
use super::design::DesignMatrix;
use super::row_ranges::{RowPick, RowRanges};
use super::sampled::Arithmetic;
use crate::vector::{add_rows, add_to_rows};

/// Partial sums of a pass may take this many numbers together (128 MiB); beyond it sparse data are transposed instead.
const PARTIAL_LIMIT: usize = 16 << 20;

/// Rows of a block where margins are all that is asked for.
const MARGIN_ROWS: usize = 512;

/// A set of rows of a matrix, cut into chunks for parallel passes.
#[derive(Debug, Clone)]
pub struct Pass<'a> {
    design: &'a DesignMatrix,
    chunks: Vec<Chunk>,
    /// Number of rows in all.
    len: usize,
    block_rows: usize,
}

/// Consecutive rows of the matrix, and the position of the first of them among the rows of the pass.
#[derive(Debug, Clone)]
struct Chunk {
    rows: Range<usize>,
    position: usize,
}

/// Rows in a chunk of a pass over `n` rows: 64 chunks, but none smaller than 512 or larger than 16 384 rows.
fn chunk_rows(n: usize) -> usize {
    n.div_ceil(64).clamp(512, 16_384)
}

impl<'a> Pass<'a> {
    /// Passes over `rows` of `design`.
    pub fn new(design: &'a DesignMatrix, rows: &RowRanges) -> Self {
        let (len, size) = (rows.len(), chunk_rows(rows.len()));
        let mut chunks = Vec::new();
        let mut position = 0;
        for range in rows.ranges() {
            for start in range.clone().step_by(size) {
                let rows = start..(start + size).min(range.end);
                let count = rows.len();
                chunks.push(Chunk { rows, position });
                position += count;
            }
        }
        Pass { design, chunks, len, block_rows: block_rows(design.bytes() / design.rows().max(1)) }
    }

    /// Number of rows.
    pub fn len(&self) -> usize {
        self.len
    }

    /// True without rows.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Most rows that are visited at a time.
    pub(crate) fn longest_chunk(&self) -> usize {
        self.chunks.iter().map(|chunk| chunk.rows.len()).max().unwrap_or(0)
    }

    /// For each block of rows calls `visit(rows, position, margins)` with `margins = X[rows] W + b`; returns the sum
    /// of what it returns.
    pub fn margins(
        &self,
        weights: &[f64],
        intercept: &[f64],
        visit: impl Fn(Range<usize>, usize, &mut [f64]) -> f64 + Sync,
    ) -> f64 {
        let outputs = intercept.len();
        let partial: Vec<f64> = self
            .chunks
            .par_iter()
            .map(|chunk| {
                let mut margins = vec![0.0; MARGIN_ROWS.min(chunk.rows.len()) * outputs];
                self.blocks(chunk, MARGIN_ROWS)
                    .map(|(rows, position)| {
                        let margins = &mut margins[..rows.len() * outputs];
                        self.block_margins(&rows, weights, intercept, margins);
                        visit(rows, position, margins)
                    })
                    .sum()
            })
            .collect();
        partial.iter().sum()
    }

    /// `X W + b`, `C` numbers a row, in the order of the rows.
    pub fn all_margins(&self, weights: &[f64], intercept: &[f64]) -> Vec<f64> {
        let mut all = Vec::new();
        self.all_margins_in(&mut all, weights, intercept);
        all
    }

    /// The same in the memory of `all`, which is overwritten.
    pub(crate) fn all_margins_in(&self, all: &mut Vec<f64>, weights: &[f64], intercept: &[f64]) {
        let count = self.len * intercept.len();
        match all.capacity() < count {
            true => *all = vec![0.0; count],
            false => all.resize(count, 0.0),
        }
        self.kept(weights, intercept, |_, _, _| 0.0, |_, position| position, all);
    }

    /// Like [`Pass::margins`], and keeps what `visit` leaves of the margins of each row in `kept`, those of some rows from
    /// `place(rows, position)` on.
    fn kept(
        &self,
        weights: &[f64],
        intercept: &[f64],
        visit: impl Fn(Range<usize>, usize, &mut [f64]) -> f64 + Sync,
        place: impl Fn(&Range<usize>, usize) -> usize + Sync,
        kept: &mut [f64],
    ) -> f64 {
        let slots = SharedSlots::new(kept, intercept.len());
        self.margins(weights, intercept, |rows, position, margins| {
            let slot = slots.at(place(&rows, position), rows.len());
            let sum = visit(rows, position, margins);
            slot.copy_from_slice(margins);
            sum
        })
    }

    /// Like [`Pass::margins`], and adds `X^T G` to `out`, where `visit` replaces the margins by the rows of `G`; the
    /// column sums of `G` are added to `out_intercept`.
    pub fn margins_and_transpose(
        &self,
        weights: &[f64],
        intercept: &[f64],
        visit: impl Fn(Range<usize>, usize, &mut [f64]) -> f64 + Sync,
        out: &mut [f64],
        out_intercept: &mut [f64],
    ) -> f64 {
        let outputs = intercept.len();
        if self.design.is_sparse() {
            let partial = self.chunks.len() * out.len();
            if partial > PARTIAL_LIMIT {
                return self.by_columns(weights, intercept, visit, out, out_intercept);
            }
            // Partial sums that take as long to add up as the product itself save nothing.
            if partial > self.design.stored() / self.design.rows().max(1) * self.len * outputs {
                return self.in_order(weights, intercept, visit, out, out_intercept);
            }
        }
        let partial: Vec<(f64, Vec<f64>)> = self
            .chunks
            .par_iter()
            .map(|chunk| {
                let mut sum = 0.0;
                let mut partial = vec![0.0; out.len() + outputs];
                let (transpose, columns) = partial.split_at_mut(out.len());
                if outputs > 1 && !self.design.is_sparse() {
                    sum = self.of_outputs(chunk, weights, intercept, &visit, transpose, columns);
                    return (sum, partial);
                }
                let mut margins = vec![0.0; self.block_rows * outputs];
                for (rows, position) in self.blocks(chunk, self.block_rows) {
                    let margins = &mut margins[..rows.len() * outputs];
                    self.block_margins(&rows, weights, intercept, margins);
                    sum += visit(rows.clone(), position, margins);
                    self.design.add_block_transpose(&RowPick::Span(rows), margins, outputs, transpose);
                    add_rows(margins, columns);
                }
                (sum, partial)
            })
            .collect();
        let mut total = 0.0;
        for (sum, partial) in &partial {
            total += sum;
            let (transpose, columns) = partial.split_at(out.len());
            out.iter_mut().zip(transpose).for_each(|(o, p)| *o += p);
            out_intercept.iter_mut().zip(columns).for_each(|(o, p)| *o += p);
        }
        total
    }

    /// One chunk of dense rows with several outputs: what the products are made of is brought into their form once for both.
    fn of_outputs(
        &self,
        chunk: &Chunk,
        weights: &[f64],
        intercept: &[f64],
        visit: impl Fn(Range<usize>, usize, &mut [f64]) -> f64,
        transpose: &mut [f64],
        columns: &mut [f64],
    ) -> f64 {
        let (mut sum, outputs) = (0.0, intercept.len());
        let rows = RowPick::Span(chunk.rows.clone());
        self.design.sampled_pass(Arithmetic::Double, &rows, [weights], outputs, [transpose], |positions, [margins]| {
            add_to_rows(intercept, margins);
            let rows = chunk.rows.start + positions.start..chunk.rows.start + positions.end;
            sum += visit(rows, chunk.position + positions.start, margins);
            add_rows(margins, columns);
        });
        sum
    }

    /// Sums `add(rows, position, partial)` over all chunks into `out`, at most `parts` partial sums at a time.
    pub fn accumulate(&self, parts: usize, add: impl Fn(Range<usize>, usize, &mut [f64]) + Sync, out: &mut [f64]) {
        let group = self.chunks.len().div_ceil(parts.max(1)).max(1);
        if group >= self.chunks.len() {
            return self.chunks.iter().for_each(|chunk| add(chunk.rows.clone(), chunk.position, out));
        }
        let partial: Vec<Vec<f64>> = self
            .chunks
            .par_chunks(group)
            .map(|chunks| {
                let mut partial = vec![0.0; out.len()];
                for chunk in chunks {
                    add(chunk.rows.clone(), chunk.position, &mut partial);
                }
                partial
            })
            .collect();
        for partial in &partial {
            out.iter_mut().zip(partial).for_each(|(o, p)| *o += p);
        }
    }

    /// The transpose product by one thread, row after row: no partial sums, where there are few entries for so many weights.
    fn in_order(
        &self,
        weights: &[f64],
        intercept: &[f64],
        visit: impl Fn(Range<usize>, usize, &mut [f64]) -> f64 + Sync,
        out: &mut [f64],
        out_intercept: &mut [f64],
    ) -> f64 {
        let outputs = intercept.len();
        let mut g = vec![0.0; self.len * outputs];
        let sum = self.kept(weights, intercept, visit, |_, position| position, &mut g);
        self.add_transpose(&g, outputs, out);
        add_rows(&g, out_intercept);
        sum
    }

    /// `out += X^T G`, for `outputs` numbers of `g` a row, by one thread.
    pub(crate) fn add_transpose(&self, g: &[f64], outputs: usize, out: &mut [f64]) {
        for chunk in &self.chunks {
            let g = &g[chunk.position * outputs..][..chunk.rows.len() * outputs];
            self.design.add_block_transpose(&RowPick::Span(chunk.rows.clone()), g, outputs, out);
        }
    }

    /// The transpose product by columns of the matrix: no partial sums, for outputs too large to hold one per chunk.
    fn by_columns(
        &self,
        weights: &[f64],
        intercept: &[f64],
        visit: impl Fn(Range<usize>, usize, &mut [f64]) -> f64 + Sync,
        out: &mut [f64],
        out_intercept: &mut [f64],
    ) -> f64 {
        let outputs = intercept.len();
        let mut g = vec![0.0; self.design.rows() * outputs];
        // At the rows of the matrix, zeros at those that are not passed over.
        let sum = self.kept(weights, intercept, visit, |rows, _| rows.start, &mut g);
        add_rows(&g, out_intercept);
        const COLUMNS: usize = 1024;
        out.par_chunks_mut(COLUMNS * outputs).enumerate().for_each(|(index, out)| {
            let columns = index * COLUMNS..index * COLUMNS + out.len() / outputs;
            let mut product = vec![0.0; out.len()];
            self.design.columns_transpose(columns, &g, outputs, &mut product);
            out.iter_mut().zip(&product).for_each(|(o, p)| *o += p);
        });
        sum
    }

    fn block_margins(&self, rows: &Range<usize>, weights: &[f64], intercept: &[f64], margins: &mut [f64]) {
        self.design.block_margins(&RowPick::Span(rows.clone()), weights, intercept.len(), margins);
        if intercept.iter().any(|&b| b != 0.0) {
            add_to_rows(intercept, margins);
        }
    }

    fn blocks<'c>(&self, chunk: &'c Chunk, size: usize) -> impl Iterator<Item = (Range<usize>, usize)> + use<'c> {
        chunk.rows.clone().step_by(size).map(move |start| {
            let rows = start..(start + size).min(chunk.rows.end);
            (rows, chunk.position + (start - chunk.rows.start))
        })
    }
}

/// Disjoint parts of one slice, written by the blocks of a parallel pass.
pub(crate) struct SharedSlots<'s> {
    start: *mut f64,
    len: usize,
    width: usize,
    slice: PhantomData<&'s mut [f64]>,
}

// SAFETY: the blocks of a pass have disjoint positions, so no element is reached from two threads.
unsafe impl Sync for SharedSlots<'_> {}

impl<'s> SharedSlots<'s> {
    /// `width` numbers for each row.
    pub(crate) fn new(slice: &'s mut [f64], width: usize) -> Self {
        SharedSlots { start: slice.as_mut_ptr(), len: slice.len(), width, slice: PhantomData }
    }

    /// The numbers of the rows `position..position + rows`; blocks of one pass never overlap.
    #[allow(clippy::mut_from_ref)]
    pub(crate) fn at(&self, position: usize, rows: usize) -> &mut [f64] {
        assert!((position + rows) * self.width <= self.len);
        // SAFETY: in bounds by the assertion; disjoint by the contract of a pass.
        unsafe { std::slice::from_raw_parts_mut(self.start.add(position * self.width), rows * self.width) }
    }
}
