//! One visit of a small sample: margins, what the loss makes of them, and the transposed product.
//!
//! A step of a stochastic method costs a microsecond or two, as much as a few allocations or a hundred exponentials one by
//! one. So nothing is allocated here, rows are used again while they are in the nearest cache, and products go in chunks of
//! a fixed width, which the compiler turns into vectors.

use std::array;
use std::hint::black_box;
use std::ops::Range;

use super::dense::DenseMatrix;
use super::design::{DesignMatrix, Element, RowPick};
use super::scratch::scratch;
use crate::simd::{prefetch, vectorize};

/// Rows of which margins are held at a time.
pub(crate) const GROUP: usize = 64;
/// Bytes of the rows that wait in the cache for the transposed product.
const TILE_BYTES: usize = 24 * 1024;
/// Rows of one dot product: so many sums hide the latency of the processor.
const ROWS: usize = 4;
/// Rows that are added to the transposed product at a time: so rarely are its sums read and written.
const COMBINED: usize = 8;
/// How many rows ahead scattered rows are fetched.
const AHEAD: usize = 8;

impl DesignMatrix {
    /// Adds `X[rows]^T G_k` to `out[k]`, where `transform` makes `G_k` of the margins `X[rows] W_i`, `i < IN`, `k < OUT <= IN`.
    ///
    /// `transform` gets the positions of at most [`GROUP`] rows among `rows` and their margins, and leaves `G_k` in place of
    /// the `k`-th. Weights and `out` are `p x C`, margins `C` numbers a row.
    pub(crate) fn sampled_pass<const IN: usize, const OUT: usize>(
        &self,
        rows: &RowPick<'_>,
        weights: [&[f64]; IN],
        outputs: usize,
        out: [&mut [f64]; OUT],
        transform: impl FnMut(Range<usize>, &mut [&mut [f64]; IN]),
    ) {
        const { assert!(OUT <= IN) };
        match self {
            DesignMatrix::DenseF32(matrix) if outputs == 1 => matrix.sampled_pass(rows, weights, out, transform),
            DesignMatrix::DenseF64(matrix) if outputs == 1 => matrix.sampled_pass(rows, weights, out, transform),
            DesignMatrix::Coded(matrix) if outputs == 1 => matrix.sampled_pass(rows, weights, out, transform),
            _ => self.sampled_blocks(rows, weights, outputs, out, transform),
        }
    }

    /// By products with blocks, for several outputs and for sparse rows.
    fn sampled_blocks<const IN: usize, const OUT: usize>(
        &self,
        rows: &RowPick<'_>,
        weights: [&[f64]; IN],
        outputs: usize,
        mut out: [&mut [f64]; OUT],
        mut transform: impl FnMut(Range<usize>, &mut [&mut [f64]; IN]),
    ) {
        scratch(IN * GROUP * outputs, |buffer| {
            for first in (0..rows.len()).step_by(GROUP) {
                let positions = first..(first + GROUP).min(rows.len());
                let part = rows.part(positions.clone());
                let mut rest = &mut *buffer;
                let mut margins: [&mut [f64]; IN] = array::from_fn(|_| {
                    let (own, others) = std::mem::take(&mut rest).split_at_mut(part.len() * outputs);
                    rest = others;
                    own
                });
                for (margins, weights) in margins.iter_mut().zip(weights) {
                    self.block_margins(&part, weights, outputs, margins);
                }
                transform(positions, &mut margins);
                for (out, g) in out.iter_mut().zip(&margins) {
                    self.add_block_transpose(&part, g, outputs, out);
                }
            }
        });
    }
}

impl<T: Element> DenseMatrix<T> {
    /// One output; see [`DesignMatrix::sampled_pass`].
    pub(super) fn sampled_pass<const IN: usize, const OUT: usize>(
        &self,
        rows: &RowPick<'_>,
        weights: [&[f64]; IN],
        out: [&mut [f64]; OUT],
        transform: impl FnMut(Range<usize>, &mut [&mut [f64]; IN]),
    ) {
        match self.cols() {
            8.. => Visit::<T, 8, IN, OUT>::run(self, rows, weights, out, transform),
            4.. => Visit::<T, 4, IN, OUT>::run(self, rows, weights, out, transform),
            _ => Visit::<T, 1, IN, OUT>::run(self, rows, weights, out, transform),
        }
    }
}

/// A visit in chunks of `L` columns. The last chunk ends with the row and overlaps the one before; its weights are zero
/// there and its sums are dropped.
struct Visit<'v, T: Element, const L: usize, const IN: usize, const OUT: usize> {
    matrix: &'v DenseMatrix<T>,
    /// The weights, chunk after chunk.
    weights: [&'v [f64]; IN],
    /// `X^T G_k` of a group of rows, chunk after chunk.
    sums: [&'v mut [f64]; OUT],
}

impl<T: Element, const L: usize, const IN: usize, const OUT: usize> Visit<'_, T, L, IN, OUT> {
    fn run(
        matrix: &DenseMatrix<T>,
        rows: &RowPick<'_>,
        weights: [&[f64]; IN],
        mut out: [&mut [f64]; OUT],
        mut transform: impl FnMut(Range<usize>, &mut [&mut [f64]; IN]),
    ) {
        let cols = matrix.cols();
        if cols == 0 {
            return no_columns(rows.len(), transform);
        }
        let length = cols.div_ceil(L) * L;
        let tile = (TILE_BYTES / (cols * size_of::<T>())).clamp(COMBINED, GROUP) / COMBINED * COMBINED;
        scratch((IN + OUT) * length, |buffer| {
            let (inputs, sums) = buffer.split_at_mut(IN * length);
            let mut parts = inputs.chunks_exact_mut(length);
            let inputs: [&[f64]; IN] = array::from_fn(|i| {
                let part = parts.next().expect("one part for each of the weights");
                chunked::<L>(weights[i], part);
                &*part
            });
            let mut parts = sums.chunks_exact_mut(length);
            let sums = array::from_fn(|_| parts.next().expect("one part for each of the sums"));
            let mut visit = Visit::<T, L, IN, OUT> { matrix, weights: inputs, sums };
            let mut picked: [&[T]; GROUP] = [&[]; GROUP];
            for first in (0..rows.len()).step_by(GROUP) {
                let count = GROUP.min(rows.len() - first);
                for (i, picked) in picked[..count].iter_mut().enumerate() {
                    *picked = matrix.row(rows.row(first + i));
                }
                // Neighbours are fetched by the processor itself.
                let fetch = matches!(rows, RowPick::List(_));
                if fetch {
                    picked[..count.min(AHEAD)].iter().for_each(|row| prefetch(row));
                }
                visit.sums.iter_mut().for_each(|sums| sums.fill(0.0));
                for start in (0..count).step_by(tile) {
                    let end = (start + tile).min(count);
                    let mut margins = [[0.0; GROUP]; IN];
                    let ahead = if fetch { &picked[..count] } else { &[] };
                    visit.margins(&picked[start..end], ahead, start, &mut margins);
                    let mut parts = margins.each_mut().map(|margins| &mut margins[..end - start]);
                    transform(first + start..first + end, &mut parts);
                    visit.add_transposed(&picked[start..end], &margins);
                }
                visit.flush(&mut out);
            }
        });
    }

    /// `margins[i] = X[rows] W_i`.
    fn margins(&self, rows: &[&[T]], ahead: &[&[T]], start: usize, margins: &mut [[f64; GROUP]; IN]) {
        vectorize(
            #[inline(always)]
            || {
                let (blocks, rest) = rows.as_chunks::<ROWS>();
                for (block, rows) in blocks.iter().enumerate() {
                    let first = block * ROWS;
                    for row in ahead.iter().skip(start + first + AHEAD).take(ROWS) {
                        prefetch(row);
                    }
                    self.dots(rows, first, margins);
                }
                for (i, row) in rest.iter().enumerate() {
                    self.dots(&[*row], blocks.len() * ROWS + i, margins);
                }
            },
        );
    }

    /// The margins of `R` rows, the first of them at position `first`.
    #[inline(always)]
    fn dots<const R: usize>(&self, rows: &[&[T]; R], first: usize, margins: &mut [[f64; GROUP]; IN]) {
        for (weights, margins) in self.weights.iter().zip(margins) {
            let (weights, _) = weights.as_chunks::<L>();
            let (body, last) = weights.split_at(self.matrix.cols() / L);
            // Seen together with the totals, the sums would be torn out of their vectors.
            let sums = black_box(multiply(rows.map(|row| &row.as_chunks::<L>().0[..body.len()]), body));
            for r in 0..R {
                let sums = last.iter().fold(sums[r], |sums, w| plus_product(sums, tail(rows[r]), w));
                margins[first + r] = total(sums);
            }
        }
    }

    /// `sums[k] += X[rows]^T G_k`.
    fn add_transposed(&mut self, rows: &[&[T]], g: &[[f64; GROUP]; IN]) {
        vectorize(
            #[inline(always)]
            || {
                for (sums, g) in self.sums.iter_mut().zip(g) {
                    let (blocks, rest) = rows.as_chunks::<COMBINED>();
                    for (rows, g) in blocks.iter().zip(g.as_chunks::<COMBINED>().0) {
                        combine::<T, L, COMBINED>(rows, g, sums);
                    }
                    for (row, &g) in rest.iter().zip(&g[blocks.len() * COMBINED..]) {
                        combine::<T, L, 1>(&[*row], &[g], sums);
                    }
                }
            },
        );
    }

    /// `out[k] += sums[k]`.
    fn flush(&self, out: &mut [&mut [f64]; OUT]) {
        vectorize(
            #[inline(always)]
            || {
                for k in 0..OUT {
                    let whole = self.matrix.cols() / L * L;
                    let (body, tail) = out[k].split_at_mut(whole);
                    for (out, sum) in body.iter_mut().zip(&self.sums[k][..whole]) {
                        *out += sum;
                    }
                    let sums = &self.sums[k][self.sums[k].len() - tail.len()..];
                    for (out, sum) in tail.iter_mut().zip(sums) {
                        *out += sum;
                    }
                }
            },
        );
    }
}

/// The last chunk of a row that does not end with a whole one.
#[inline(always)]
fn tail<T, const L: usize>(row: &[T]) -> &[T; L] {
    row.last_chunk::<L>().expect("rows are no shorter than a chunk")
}

/// `sums + x w`, lane by lane.
#[inline(always)]
fn plus_product<T: Element, const L: usize>(mut sums: [f64; L], x: &[T; L], w: &[f64; L]) -> [f64; L] {
    for lane in 0..L {
        sums[lane] = x[lane].to_f64().mul_add(w[lane], sums[lane]);
    }
    sums
}

/// The sums over chunks of `x w` of each row.
#[inline(always)]
fn multiply<T: Element, const L: usize, const R: usize>(rows: [&[[T; L]]; R], weights: &[[f64; L]]) -> [[f64; L]; R] {
    let mut sums = [[0.0; L]; R];
    for (chunk, w) in weights.iter().enumerate() {
        for r in 0..R {
            sums[r] = plus_product(sums[r], &rows[r][chunk], w);
        }
    }
    sums
}

/// `sums += sum_r g_r x_r`, chunk after chunk.
#[inline(always)]
fn combine<T: Element, const L: usize, const R: usize>(rows: &[&[T]; R], g: &[f64; R], sums: &mut [f64]) {
    let (sums, _) = sums.as_chunks_mut::<L>();
    let whole = rows[0].len() / L;
    let (body, last) = sums.split_at_mut(whole);
    let chunks = rows.map(|row| &row.as_chunks::<L>().0[..whole]);
    for (chunk, sums) in body.iter_mut().enumerate() {
        *sums = plus_combination(*sums, chunks.map(|chunks| &chunks[chunk]), g);
    }
    for sums in last {
        *sums = plus_combination(*sums, rows.map(|row| tail(row)), g);
    }
}

/// `sums + sum_r g_r x_r`, lane by lane, in two halves that do not wait for each other.
#[inline(always)]
fn plus_combination<T: Element, const L: usize, const R: usize>(
    mut sums: [f64; L],
    rows: [&[T; L]; R],
    g: &[f64; R],
) -> [f64; L] {
    let mut others = [0.0; L];
    for r in 0..R / 2 {
        others = plus_product(others, rows[r], &[g[r]; L]);
    }
    for r in R / 2..R {
        sums = plus_product(sums, rows[r], &[g[r]; L]);
    }
    for lane in 0..L {
        sums[lane] += others[lane];
    }
    sums
}

/// `weights` in chunks of `L`, the last one with zeros where it overlaps the one before.
#[inline(always)]
fn chunked<const L: usize>(weights: &[f64], chunks: &mut [f64]) {
    let whole = weights.len() / L * L;
    let idle = chunks.len() - weights.len();
    chunks[..whole].copy_from_slice(&weights[..whole]);
    chunks[whole..whole + idle].fill(0.0);
    chunks[whole + idle..].copy_from_slice(&weights[whole..]);
}

/// The sum of the lanes, by halves.
#[inline(always)]
fn total<const L: usize>(mut lanes: [f64; L]) -> f64 {
    let mut width = L / 2;
    while width > 0 {
        for lane in 0..width {
            lanes[lane] += lanes[lane + width];
        }
        width /= 2;
    }
    lanes[0]
}

/// A matrix without columns has margins of zero and nothing to add to.
fn no_columns<const IN: usize>(count: usize, mut transform: impl FnMut(Range<usize>, &mut [&mut [f64]; IN])) {
    for first in (0..count).step_by(GROUP) {
        let mut margins = [[0.0; GROUP]; IN];
        let size = GROUP.min(count - first);
        transform(first..first + size, &mut margins.each_mut().map(|margins| &mut margins[..size]));
    }
}
