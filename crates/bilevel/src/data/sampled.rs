//! One visit of a small sample: margins, what the loss makes of them, and the transposed product.
//!
//! A step of a stochastic method costs a microsecond or two, as much as a few allocations or a hundred exponentials one by
//! one. So nothing is allocated here, rows are used again while they are in the nearest cache, and products go in chunks of
//! a fixed width, which the compiler turns into vectors.
//!
//! Products are computed in the precision of storage: the vectors are narrowed, sums over the columns and over the rows of a
//! group are in single precision where the matrix is (a byte counts as that), and all that is made of them is in double
//! precision. A sum of `n` products has an error of at most `n` roundings of the sum of their sizes (Higham 2002, section 3.1),
//! `n 6e-8` of it, far below what a sample of rows leaves undetermined.

use std::array;
use std::ops::Range;

use super::dense::DenseMatrix;
use super::dense_outputs::outputs_pass;
use super::design::{DesignMatrix, Element, RowPick};
use super::lanes::{Number, Weights, chunked, combine, fetch_chunk, multiply, plus_combination, tail};
use super::narrow_outputs::{WIDE, narrow_pass};
use crate::scratch::scratch;
use crate::simd::{LINE, prefetch, vectorize};
use crate::vector::{add_rows, add_to_rows};

/// Rows of which margins are held at a time.
pub(crate) const GROUP: usize = 64;
/// Bytes of the rows that wait in the cache for the transposed product.
const TILE_BYTES: usize = 24 * 1024;
/// Rows of one dot product: so many sums hide the latency of the processor.
const ROWS: usize = 4;
/// Rows that are added to the transposed product at a time: so rarely are its sums read and written.
const COMBINED: usize = 8;
/// How far ahead rows are fetched; the processor does it by itself for neighbours, but not at the start of a page.
const AHEAD_BYTES: usize = 8 * 1024;

/// The precision of the products with a sample.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Arithmetic {
    /// That of storage, where that is faster: for steps, whose sample leaves more undetermined.
    Storage,
    /// Double: for values, and for gradients that are compared with them.
    Double,
}

/// Entries of a matrix, and what sampled products with them are computed in.
pub(super) trait Sampled: Element + Into<Self::Number> {
    type Number: Number;
}

impl Sampled for f32 {
    type Number = f32;
}

impl Sampled for f64 {
    type Number = f64;
}

impl Sampled for u8 {
    type Number = f32;
}

/// What makes `G_k` of margins with `IN` weights, in place; see [`DesignMatrix::sampled_pass`]. Called once for dozens of rows, so a
/// pointer costs nothing, and the loops around it are compiled once and not for each loss.
pub(super) type Transform<'t, const IN: usize> = &'t mut dyn FnMut(Range<usize>, &mut [&mut [f64]; IN]);

impl DesignMatrix {
    /// Relative rounding of a term in products with samples that ask for [`Arithmetic::Storage`].
    pub(crate) fn sample_precision(&self) -> f64 {
        match self {
            DesignMatrix::DenseF32(_) | DesignMatrix::Coded(_) => f64::from(f32::EPSILON),
            _ => f64::EPSILON,
        }
    }

    /// Adds `X[rows]^T G_k` to `out[k]`, where `transform` makes `G_k` of the margins `X[rows] W_i`, `i < IN`, `k < OUT <= IN`.
    ///
    /// `transform` gets the positions of at most [`GROUP`] rows among `rows` and their margins, and leaves `G_k` in place of
    /// the `k`-th. Weights and `out` are `p x C`, or `(p + 1) x C` with intercepts behind them; margins are `C` numbers a row.
    pub(crate) fn sampled_pass<const IN: usize, const OUT: usize>(
        &self,
        arithmetic: Arithmetic,
        rows: &RowPick<'_>,
        weights: [&[f64]; IN],
        outputs: usize,
        out: [&mut [f64]; OUT],
        mut transform: impl FnMut(Range<usize>, &mut [&mut [f64]; IN]),
    ) {
        const { assert!(OUT <= IN) };
        let transform = &mut transform;
        match (self, arithmetic) {
            _ if outputs == 1 => self.without_intercept(arithmetic, rows, weights, outputs, out, transform),
            (DesignMatrix::DenseF32(m), Arithmetic::Storage) if m.cols() < WIDE => {
                narrow_pass(m, rows, weights, outputs, out, transform)
            }
            (DesignMatrix::Coded(m), Arithmetic::Storage) if m.cols() < WIDE => {
                narrow_pass(m, rows, weights, outputs, out, transform)
            }
            (DesignMatrix::DenseF32(m), Arithmetic::Storage) => {
                outputs_pass::<f32, _, 16, IN, OUT>(m, rows, weights, outputs, out, transform)
            }
            (DesignMatrix::Coded(m), Arithmetic::Storage) => {
                outputs_pass::<f32, _, 16, IN, OUT>(m, rows, weights, outputs, out, transform)
            }
            (DesignMatrix::DenseF32(m), Arithmetic::Double) => {
                outputs_pass::<f64, _, 8, IN, OUT>(m, rows, weights, outputs, out, transform)
            }
            (DesignMatrix::Coded(m), Arithmetic::Double) => {
                outputs_pass::<f64, _, 8, IN, OUT>(m, rows, weights, outputs, out, transform)
            }
            (DesignMatrix::DenseF64(m), _) => {
                outputs_pass::<f64, _, 8, IN, OUT>(m, rows, weights, outputs, out, transform)
            }
            _ => self.without_intercept(arithmetic, rows, weights, outputs, out, transform),
        }
    }

    /// By passes that know of no intercepts.
    fn without_intercept<const IN: usize, const OUT: usize>(
        &self,
        arithmetic: Arithmetic,
        rows: &RowPick<'_>,
        weights: [&[f64]; IN],
        outputs: usize,
        out: [&mut [f64]; OUT],
        transform: Transform<'_, IN>,
    ) {
        let size = self.cols() * outputs;
        let mut intercepts = [(); OUT].map(|()| &mut [][..]);
        let mut of_intercepts = intercepts.iter_mut();
        let out = out.map(|out| {
            let (out, intercept) = out.split_at_mut(size);
            *of_intercepts.next().expect("one for each of the sums") = intercept;
            out
        });
        let transform = &mut |positions: Range<usize>, margins: &mut [&mut [f64]; IN]| {
            let intercepts_of = weights.iter().map(|weights| &weights[size..]).filter(|b| !b.is_empty());
            intercepts_of.zip(margins.iter_mut()).for_each(|(b, margins)| add_to_rows(b, margins));
            transform(positions, margins);
            let intercepts = intercepts.iter_mut().filter(|out| !out.is_empty());
            intercepts.zip(margins).for_each(|(out, g)| add_rows(g, out));
        };
        let weights = weights.map(|weights| &weights[..size]);
        match (self, arithmetic) {
            (DesignMatrix::DenseF32(m), Arithmetic::Storage) if outputs == 1 => {
                dense_pass(m, rows, weights, out, transform)
            }
            (DesignMatrix::DenseF64(m), _) if outputs == 1 => dense_pass(m, rows, weights, out, transform),
            (DesignMatrix::Coded(m), Arithmetic::Storage) if outputs == 1 => {
                m.sampled_pass(rows, weights, out, transform)
            }
            _ => self.sampled_blocks(rows, weights, outputs, out, transform),
        }
    }

    /// By products with blocks, all in double precision.
    fn sampled_blocks<const IN: usize, const OUT: usize>(
        &self,
        rows: &RowPick<'_>,
        weights: [&[f64]; IN],
        outputs: usize,
        mut out: [&mut [f64]; OUT],
        transform: Transform<'_, IN>,
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

/// One output; see [`DesignMatrix::sampled_pass`].
pub(super) fn dense_pass<T: Sampled, const IN: usize, const OUT: usize>(
    matrix: &DenseMatrix<T>,
    rows: &RowPick<'_>,
    weights: [&[f64]; IN],
    out: [&mut [f64]; OUT],
    transform: Transform<'_, IN>,
) {
    match matrix.cols() {
        16.. if size_of::<T::Number>() == 4 => Visit::<T, 16, IN, OUT>::run(matrix, rows, weights, out, transform),
        8.. => Visit::<T, 8, IN, OUT>::run(matrix, rows, weights, out, transform),
        4.. => Visit::<T, 4, IN, OUT>::run(matrix, rows, weights, out, transform),
        _ => Visit::<T, 1, IN, OUT>::run(matrix, rows, weights, out, transform),
    }
}

/// A visit in chunks of `L` columns. The last chunk ends with the row and overlaps the one before; its weights are zero
/// there and its sums are dropped.
struct Visit<'v, T: Sampled, const L: usize, const IN: usize, const OUT: usize> {
    cols: usize,
    /// The weights, chunk after chunk of all of them.
    weights: &'v [[[T::Number; L]; IN]],
    /// `X^T G_k` of a group of rows, chunk after chunk.
    sums: [&'v mut [T::Number]; OUT],
}

impl<T: Sampled, const L: usize, const IN: usize, const OUT: usize> Visit<'_, T, L, IN, OUT> {
    fn run(
        matrix: &DenseMatrix<T>,
        rows: &RowPick<'_>,
        weights: [&[f64]; IN],
        mut out: [&mut [f64]; OUT],
        transform: Transform<'_, IN>,
    ) {
        let cols = matrix.cols();
        if cols == 0 {
            return no_columns(rows.len(), transform);
        }
        let length = cols.div_ceil(L) * L;
        let row_bytes = cols * size_of::<T>();
        let tile = (TILE_BYTES / row_bytes).clamp(COMBINED, GROUP) / COMBINED * COMBINED;
        let ahead = AHEAD_BYTES.div_ceil(row_bytes).clamp(ROWS, GROUP);
        scratch((IN + OUT) * length, |buffer: &mut [T::Number]| {
            let (inputs, sums) = buffer.split_at_mut(IN * length);
            let inputs = inputs.as_chunks_mut::<L>().0.as_chunks_mut::<IN>().0;
            vectorize(
                #[inline(always)]
                || weights.iter().enumerate().for_each(|(k, weights)| chunked(weights, k, inputs)),
            );
            let mut parts = sums.chunks_exact_mut(length);
            let sums = array::from_fn(|_| parts.next().expect("one part for each of the sums"));
            let mut visit = Visit::<T, L, IN, OUT> { cols, weights: inputs, sums };
            let mut picked: [&[T]; GROUP] = [&[]; GROUP];
            for first in (0..rows.len()).step_by(GROUP) {
                let count = GROUP.min(rows.len() - first);
                match rows {
                    RowPick::Span(span) => {
                        let first = (span.start + first) * cols;
                        let values = &matrix.values()[first..first + count * cols];
                        picked.iter_mut().zip(values.chunks_exact(cols)).for_each(|(picked, row)| *picked = row);
                        prefetch(&values[..count.min(ahead) * cols]);
                    }
                    RowPick::List(list) => {
                        let list = &list[first..first + count];
                        picked.iter_mut().zip(list).for_each(|(picked, &row)| *picked = matrix.row(row as usize));
                        picked[..count.min(ahead)].iter().for_each(|row| prefetch(row));
                    }
                }
                visit.sums.iter_mut().for_each(|sums| sums.fill(T::Number::default()));
                for start in (0..count).step_by(tile) {
                    let end = (start + tile).min(count);
                    let mut margins = [[0.0; GROUP]; IN];
                    visit.margins(&picked[start..end], &picked[(start + ahead).min(count)..count], &mut margins);
                    let mut parts = margins.each_mut().map(|margins| &mut margins[..end - start]);
                    transform(first + start..first + end, &mut parts);
                    visit.add_transposed(&picked[start..end], &margins);
                }
                visit.flush(&mut out);
            }
        });
    }

    /// `margins[i] = X[rows] W_i`; meanwhile as many rows of `ahead` are fetched.
    fn margins(&self, rows: &[&[T]], ahead: &[&[T]], margins: &mut [[f64; GROUP]; IN]) {
        vectorize(
            #[inline(always)]
            || {
                let (blocks, rest) = rows.as_chunks::<ROWS>();
                let (blocks_ahead, _) = ahead.as_chunks::<ROWS>();
                for (block, rows) in blocks.iter().enumerate() {
                    let next = blocks_ahead.get(block).unwrap_or(rows).map(<[T]>::as_ptr);
                    // Where a chunk is less than a line, there are few lines to wait for.
                    let at_once = size_of::<[T; L]>() < LINE;
                    if at_once {
                        blocks_ahead.get(block).into_iter().flatten().for_each(|row| prefetch(row));
                    }
                    self.dots(
                        rows,
                        block * ROWS,
                        margins,
                        #[inline(always)]
                        |chunk| {
                            if !at_once {
                                fetch_chunk::<T, L, ROWS>(&next, chunk);
                            }
                        },
                    );
                }
                for (i, row) in rest.iter().enumerate() {
                    self.dots(&[*row], blocks.len() * ROWS + i, margins, |_| {});
                }
            },
        );
    }

    /// The margins of `R` rows, the first of them at position `first`.
    #[inline(always)]
    fn dots<const R: usize>(
        &self,
        rows: &[&[T]; R],
        first: usize,
        margins: &mut [[f64; GROUP]; IN],
        fetch: impl Fn(usize),
    ) {
        let (body, last) = self.weights.split_at(self.cols / L);
        let sums = multiply(rows, Weights { body, last: last.first() }, fetch);
        for k in 0..IN {
            let totals = T::Number::totals(&sums[k]);
            for r in 0..R {
                margins[k][first + r] = totals[r].widened();
            }
        }
    }

    /// `sums[k] += X[rows]^T G_k`.
    fn add_transposed(&mut self, rows: &[&[T]], g: &[[f64; GROUP]; IN]) {
        vectorize(
            #[inline(always)]
            || {
                for (sums, g) in self.sums.iter_mut().zip(g) {
                    let g = g.map(T::Number::narrowed);
                    let (body, last) = sums.as_chunks_mut::<L>().0.split_at_mut(self.cols / L);
                    let (blocks, rest) = rows.as_chunks::<COMBINED>();
                    for (rows, g) in blocks.iter().zip(g.as_chunks::<COMBINED>().0) {
                        add_combination(rows, g, body, last);
                    }
                    for (row, &g) in rest.iter().zip(&g[blocks.len() * COMBINED..]) {
                        add_combination(&[*row], &[g], body, last);
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
                    let (body, tail) = out[k].split_at_mut(self.cols / L * L);
                    for (out, sum) in body.iter_mut().zip(&*self.sums[k]) {
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

/// `sums += sum_r g_r x_r`, where the last chunk of sums overlaps the one before.
#[inline(always)]
fn add_combination<T: Sampled, const L: usize, const R: usize>(
    rows: &[&[T]; R],
    g: &[T::Number; R],
    body: &mut [[T::Number; L]],
    last: &mut [[T::Number; L]],
) {
    combine(rows.map(|row| &row.as_chunks::<L>().0[..body.len()]), g, |x| x, |_| {}, body);
    for sums in last {
        *sums = plus_combination(*sums, rows.map(|row| tail(row)), g, |x| x);
    }
}

/// A matrix without columns has margins of zero and nothing to add to.
fn no_columns<const IN: usize>(count: usize, transform: Transform<'_, IN>) {
    for first in (0..count).step_by(GROUP) {
        let mut margins = [[0.0; GROUP]; IN];
        let size = GROUP.min(count - first);
        transform(first..first + size, &mut margins.each_mut().map(|margins| &mut margins[..size]));
    }
}
