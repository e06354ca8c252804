//! One visit of a small sample: margins, what the loss makes of them, and the transposed product.
//!
//! A step of a stochastic method costs a microsecond or two, as much as a few allocations or a hundred exponentials one by
//! one. So nothing is allocated here, rows are used again while they are in the nearest cache, and dense rows are multiplied
//! in the precision of storage: dot products over [`SEGMENT`] chunks and sums over [`GROUP`] rows, both short enough for
//! rounding errors near those of the stored numbers; longer sums are in double precision.

use std::array;
use std::ops::Range;

use super::dense::DenseMatrix;
use super::design::{DesignMatrix, Element, RowPick};
use super::real::Real;
use crate::simd::{prefetch, vectorize};

/// Rows whose products are summed in the precision of storage.
pub(crate) const GROUP: usize = 64;
/// Chunks of columns over which a dot product is summed in the precision of storage.
const SEGMENT: usize = 64;
/// Bytes of the rows that wait in the cache for the transposed product.
const TILE_BYTES: usize = 24 * 1024;
/// Rows of one dot product: so many sums hide the latency of the processor.
const ROWS: usize = 4;
/// Bytes of rows that are fetched ahead even where they are neighbours.
const WIDE: usize = 512;
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
        f64::scratch(IN * GROUP * outputs, |buffer| {
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
    cols: usize,
    /// The weights, chunk after chunk, in the precision of short sums.
    weights: [&'v [T::Real]; IN],
    /// `X^T G_k` of a group of rows, chunk after chunk.
    sums: [&'v mut [T::Real]; OUT],
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
        let tile = (TILE_BYTES / (cols * size_of::<T>())).clamp(ROWS, GROUP) / ROWS * ROWS;
        T::Real::scratch((IN + OUT) * length, |buffer| {
            let (narrow, sums) = buffer.split_at_mut(IN * length);
            let mut parts = narrow.chunks_exact_mut(length);
            let narrow: [&[T::Real]; IN] = array::from_fn(|i| {
                let part = parts.next().expect("one part for each of the weights");
                narrow_into::<T::Real, L>(weights[i], part);
                &*part
            });
            let mut parts = sums.chunks_exact_mut(length);
            let sums = array::from_fn(|_| parts.next().expect("one part for each of the sums"));
            let mut visit = Visit::<T, L, IN, OUT> { cols, weights: narrow, sums };
            let mut picked: [&[T]; GROUP] = [&[]; GROUP];
            for first in (0..rows.len()).step_by(GROUP) {
                let count = GROUP.min(rows.len() - first);
                for (i, picked) in picked[..count].iter_mut().enumerate() {
                    *picked = matrix.row(rows.row(first + i));
                }
                // Neighbours are fetched by the processor itself, but not across pages.
                let fetch = matches!(rows, RowPick::List(_)) || cols * size_of::<T>() >= WIDE;
                if fetch {
                    picked[..count.min(AHEAD)].iter().for_each(|row| prefetch(row));
                }
                visit.sums.iter_mut().for_each(|sums| sums.fill(T::Real::ZERO));
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
            let whole = self.cols / L;
            let mut segment = 0;
            while segment < weights.len() {
                let end = (segment + SEGMENT).min(weights.len());
                let body = segment..end.min(whole);
                let sums = multiply(rows.map(|row| &row.as_chunks::<L>().0[body.clone()]), &weights[body]);
                for r in 0..R {
                    let mut sums = sums[r];
                    if end > whole {
                        sums = plus_product(sums, tail(rows[r]), &weights[whole]);
                    }
                    margins[first + r] += total(sums).widened();
                }
                segment = end;
            }
        }
    }

    /// `sums[k] += X[rows]^T G_k`.
    fn add_transposed(&mut self, rows: &[&[T]], g: &[[f64; GROUP]; IN]) {
        vectorize(
            #[inline(always)]
            || {
                for (sums, g) in self.sums.iter_mut().zip(g) {
                    let (blocks, rest) = rows.as_chunks::<8>();
                    for (rows, g) in blocks.iter().zip(g.as_chunks::<8>().0) {
                        combine::<T, L, 8>(rows, g, sums);
                    }
                    for (row, &g) in rest.iter().zip(&g[blocks.len() * 8..]) {
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
                    let whole = self.cols / L * L;
                    let (body, tail) = out[k].split_at_mut(whole);
                    for (out, sum) in body.iter_mut().zip(&self.sums[k][..whole]) {
                        *out += sum.widened();
                    }
                    let sums = &self.sums[k][self.sums[k].len() - tail.len()..];
                    for (out, sum) in tail.iter_mut().zip(sums) {
                        *out += sum.widened();
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
fn plus_product<T: Element, const L: usize>(mut sums: [T::Real; L], x: &[T; L], w: &[T::Real; L]) -> [T::Real; L] {
    for lane in 0..L {
        sums[lane] = x[lane].to_real().times_plus(w[lane], sums[lane]);
    }
    sums
}

/// The sums over chunks of `x w` of each row.
#[inline(always)]
fn multiply<T: Element, const L: usize, const R: usize>(
    rows: [&[[T; L]]; R],
    weights: &[[T::Real; L]],
) -> [[T::Real; L]; R] {
    let mut sums = [[T::Real::ZERO; L]; R];
    for (chunk, w) in weights.iter().enumerate() {
        for r in 0..R {
            sums[r] = plus_product(sums[r], &rows[r][chunk], w);
        }
    }
    sums
}

/// `sums += sum_r g_r x_r`, chunk after chunk.
#[inline(always)]
fn combine<T: Element, const L: usize, const R: usize>(rows: &[&[T]; R], g: &[f64; R], sums: &mut [T::Real]) {
    let (sums, _) = sums.as_chunks_mut::<L>();
    let whole = rows[0].len() / L;
    let (body, last) = sums.split_at_mut(whole);
    let mut narrow = [T::Real::ZERO; R];
    for r in 0..R {
        narrow[r] = T::Real::narrowed(g[r]);
    }
    let chunks = rows.map(|row| &row.as_chunks::<L>().0[..whole]);
    for (chunk, sums) in body.iter_mut().enumerate() {
        *sums = plus_combination(*sums, chunks.map(|chunks| &chunks[chunk]), &narrow);
    }
    for sums in last {
        *sums = plus_combination(*sums, rows.map(|row| tail(row)), &narrow);
    }
}

/// `sums + sum_r g_r x_r`, lane by lane, in two halves that do not wait for each other.
#[inline(always)]
fn plus_combination<T: Element, const L: usize, const R: usize>(
    mut sums: [T::Real; L],
    rows: [&[T; L]; R],
    g: &[T::Real; R],
) -> [T::Real; L] {
    let mut others = [T::Real::ZERO; L];
    for r in 0..R / 2 {
        others = plus_product(others, rows[r], &[g[r]; L]);
    }
    for r in R / 2..R {
        sums = plus_product(sums, rows[r], &[g[r]; L]);
    }
    for lane in 0..L {
        sums[lane] = sums[lane] + others[lane];
    }
    sums
}

/// `weights` in chunks of `L`, the last one with zeros where it overlaps the one before.
#[inline(always)]
fn narrow_into<R: Real, const L: usize>(weights: &[f64], narrow: &mut [R]) {
    vectorize(
        #[inline(always)]
        || {
            let whole = weights.len() / L * L;
            for (narrow, w) in narrow.iter_mut().zip(&weights[..whole]) {
                *narrow = R::narrowed(*w);
            }
            let idle = narrow.len() - weights.len();
            let (zeros, tail) = narrow[whole..].split_at_mut(idle);
            zeros.fill(R::ZERO);
            for (narrow, w) in tail.iter_mut().zip(&weights[whole..]) {
                *narrow = R::narrowed(*w);
            }
        },
    );
}

/// The sum of the lanes, by halves.
#[inline(always)]
fn total<R: Real, const L: usize>(mut lanes: [R; L]) -> R {
    let mut width = L / 2;
    while width > 0 {
        for lane in 0..width {
            lanes[lane] = lanes[lane] + lanes[lane + width];
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
