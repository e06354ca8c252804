//! Products of narrow rows with a matrix of several columns, and of their transpose with another, one sample at a time.
//!
//! The lanes of a vector are outputs: a number of a row meets a whole line of weights at once. So nothing is added across the
//! lanes and nothing is transposed, which on a few short rows takes longer than the products. Matrices of one shape lie side by side
//! in the lanes: products of rows with two of them read the rows once. Idle lanes are the price, and where rows are wide
//! [`Panels`](super::panels::Panels) are faster.

use std::ops::Range;

use super::lanes::Number;
use crate::simd::{Simd, Vectors, WithSimd, dispatch, lanes, vectorize};

/// Rows, or columns, that are multiplied with a line at a time: so many sums hide the latency of the processor.
const AT_ONCE: usize = 8;

/// Lanes of whole lines that hold `width` numbers.
fn stride<const L: usize>(width: usize) -> usize {
    width.next_multiple_of(L)
}

/// Puts `parts`, of `outputs` numbers for each of some rows, side by side into as many lines for each row as they fill; idle lanes
/// hold anything.
pub(super) fn pack<N: Number, const L: usize, const P: usize>(
    parts: &[&[f64]; P],
    outputs: usize,
    packed: &mut [[N; L]],
) {
    let (packed, stride) = (packed.as_flattened_mut(), stride::<L>(P * outputs));
    vectorize(
        #[inline(always)]
        || {
            for_each_part::<P>(
                packed.len() / stride,
                outputs,
                #[inline(always)]
                |row, k, wide| {
                    let (from, to) = (&parts[k][row * outputs..], &mut packed[row * stride + k * outputs..]);
                    copy(outputs, wide, from, to, N::narrowed);
                },
            );
        },
    );
}

/// Copies the numbers of `packed` back to where [`pack`] takes them from.
pub(super) fn unpack<N: Number, const L: usize, const P: usize>(
    packed: &[[N; L]],
    outputs: usize,
    parts: &mut [&mut [f64]; P],
) {
    let (packed, stride) = (packed.as_flattened(), stride::<L>(P * outputs));
    vectorize(
        #[inline(always)]
        || {
            for_each_part::<P>(
                packed.len() / stride,
                outputs,
                #[inline(always)]
                |row, k, wide| {
                    let (from, to) = (&packed[row * stride + k * outputs..], &mut parts[k][row * outputs..]);
                    copy(outputs, wide, from, to, N::widened);
                },
            );
        },
    );
}

/// Numbers that are copied at a time.
const WIDTH: usize = 8;

/// Calls `visit(row, k, wide)` for each of `P` parts of each row; `wide` where enough numbers follow that [`copy`] may take more than
/// it is asked for: what is copied too much is overwritten by what is copied next.
#[inline(always)]
fn for_each_part<const P: usize>(rows: usize, outputs: usize, mut visit: impl FnMut(usize, usize, bool)) {
    let excess = outputs.next_multiple_of(WIDTH) - outputs;
    let wide = rows.saturating_sub(excess.div_ceil(outputs));
    for row in 0..wide {
        for k in 0..P {
            visit(row, k, true);
        }
    }
    for row in wide..rows {
        for k in 0..P {
            visit(row, k, false);
        }
    }
}

/// Copies `count` numbers; `wide` always [`WIDTH`] at a time: a copy of few, of a length that the compiler does not know, would take
/// longer than the products.
#[inline(always)]
fn copy<A: Copy, B>(count: usize, wide: bool, from: &[A], to: &mut [B], convert: impl Fn(A) -> B) {
    if !wide {
        to[..count].iter_mut().zip(from).for_each(|(to, &from)| *to = convert(from));
        return;
    }
    let mut start = 0;
    while start < count {
        let from: &[A; WIDTH] = from[start..].first_chunk().expect("more numbers follow");
        let to: &mut [B; WIDTH] = to[start..].first_chunk_mut().expect("more numbers follow");
        for lane in 0..WIDTH {
            to[lane] = convert(from[lane]);
        }
        start += WIDTH;
    }
}

/// Adds the numbers of `packed` there.
pub(super) fn add_unpacked<N: Number, const L: usize, const P: usize>(
    packed: &[[N; L]],
    outputs: usize,
    parts: &mut [&mut [f64]; P],
) {
    let (packed, stride) = (packed.as_flattened(), stride::<L>(P * outputs));
    vectorize(
        #[inline(always)]
        || {
            for (row, lanes) in packed.chunks_exact(stride).enumerate() {
                for (k, part) in parts.iter_mut().enumerate() {
                    let numbers = &mut part[row * outputs..(row + 1) * outputs];
                    numbers.iter_mut().zip(&lanes[k * outputs..]).for_each(|(x, lane)| *x += lane.widened());
                }
            }
        },
    );
}

/// `margins = X W` for rows of `X`: as many lines for each row as `weights` has for each column, `width` lanes in use. Weights
/// behind those of the columns are added to the margins of every row. Before some of the rows calls `fetch` with their positions.
pub(super) fn margins<N: Number + Vectors, const L: usize>(
    rows: &[&[N]],
    weights: &[[N; L]],
    margins: &mut [[N; L]],
    width: usize,
    fetch: impl Fn(Range<usize>),
) {
    let (weights, margins) = (weights.as_flattened(), margins.as_flattened_mut());
    dispatch(Margins { rows, weights, margins, width, stride: stride::<L>(width), fetch });
}

struct Margins<'m, N, F> {
    rows: &'m [&'m [N]],
    weights: &'m [N],
    margins: &'m mut [N],
    /// Lanes that are in use.
    width: usize,
    /// Lanes of a row of the margins, and of a column's weights.
    stride: usize,
    fetch: F,
}

impl<N: Number + Vectors, F: Fn(Range<usize>)> WithSimd for Margins<'_, N, F> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Margins { rows, width, fetch, .. } = self;
        let (weights, margins) = (N::vectors::<S>(self.weights), N::vectors_mut::<S>(self.margins));
        let (used, stride) = (width.div_ceil(lanes::<S, N>()), self.stride / lanes::<S, N>());
        let (blocks, rest) = rows.as_chunks::<AT_ONCE>();
        let (of_blocks, of_rest) = margins.split_at_mut(blocks.len() * AT_ONCE * stride);
        for (block, (rows, margins)) in blocks.iter().zip(of_blocks.chunks_exact_mut(AT_ONCE * stride)).enumerate() {
            fetch(block * AT_ONCE..(block + 1) * AT_ONCE);
            for vector in 0..used {
                let sums = multiply_rows(simd, rows, weights, stride, vector);
                for (margins, sum) in margins.chunks_exact_mut(stride).zip(sums) {
                    margins[vector] = sum;
                }
            }
        }
        for (row, margins) in rest.iter().zip(of_rest.chunks_exact_mut(stride)) {
            for (vector, margins) in margins[..used].iter_mut().enumerate() {
                [*margins] = multiply_rows(simd, &[*row], weights, stride, vector);
            }
        }
    }
}

/// One vector of the margins of `R` rows.
#[inline(always)]
fn multiply_rows<S: Simd, N: Number + Vectors, const R: usize>(
    simd: S,
    rows: &[&[N]; R],
    weights: &[N::Vector<S>],
    stride: usize,
    vector: usize,
) -> [N::Vector<S>; R] {
    let cols = rows[0].len();
    let rows = rows.map(|row| &row[..cols]);
    let (weights, intercept) = weights.split_at(cols * stride);
    let mut sums = [intercept.get(vector).copied().unwrap_or(N::splat(simd, N::default())); R];
    for (j, weights) in weights.chunks_exact(stride).enumerate() {
        for r in 0..R {
            sums[r] = N::plus_multiple(simd, sums[r], weights[vector], N::splat(simd, rows[r][j]));
        }
    }
    sums
}

/// `sums += X^T G` for rows of `X`: as many lines for each column as `g` has for each row, `width` lanes in use. To sums behind those
/// of the columns the rows of `g` are added as they are.
pub(super) fn add_transposed<N: Number + Vectors, const L: usize>(
    rows: &[&[N]],
    g: &[[N; L]],
    sums: &mut [[N; L]],
    width: usize,
) {
    let (g, sums) = (g.as_flattened(), sums.as_flattened_mut());
    dispatch(Transposed { rows, g, sums, width, stride: stride::<L>(width) });
}

struct Transposed<'t, N> {
    rows: &'t [&'t [N]],
    g: &'t [N],
    sums: &'t mut [N],
    width: usize,
    stride: usize,
}

impl<N: Number + Vectors> WithSimd for Transposed<'_, N> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let (rows, width) = (self.rows, self.width);
        let (g, sums) = (N::vectors::<S>(self.g), N::vectors_mut::<S>(self.sums));
        let (used, stride) = (width.div_ceil(lanes::<S, N>()), self.stride / lanes::<S, N>());
        let Some(first_row) = rows.first() else { return };
        let cols = first_row.len();
        let (sums, intercept) = sums.split_at_mut(cols * stride);
        for (vector, sum) in intercept.iter_mut().enumerate() {
            // Several sums do not wait for each other.
            let mut parts = [N::splat(simd, N::default()); AT_ONCE];
            for block in g.chunks(AT_ONCE * stride) {
                for (part, g) in parts.iter_mut().zip(block.chunks_exact(stride)) {
                    *part = N::plus(simd, *part, g[vector]);
                }
            }
            *sum = parts.into_iter().fold(*sum, |sum, part| N::plus(simd, sum, part));
        }
        let whole = cols / AT_ONCE * AT_ONCE;
        for first in (0..whole).step_by(AT_ONCE) {
            let sums = &mut sums[first * stride..(first + AT_ONCE) * stride];
            for vector in 0..used {
                let mut at = [N::splat(simd, N::default()); AT_ONCE];
                at.iter_mut().zip(sums.chunks_exact(stride)).for_each(|(at, sums)| *at = sums[vector]);
                let at = multiply_columns(simd, at, rows, first, g, stride, vector);
                sums.chunks_exact_mut(stride).zip(at).for_each(|(sums, at)| sums[vector] = at);
            }
        }
        if whole < cols && cols >= AT_ONCE {
            // Together with some of the columns before, whose products are dropped.
            let first = cols - AT_ONCE;
            for vector in 0..used {
                let none = [N::splat(simd, N::default()); AT_ONCE];
                let products = multiply_columns(simd, none, rows, first, g, stride, vector);
                for (sums, product) in sums.chunks_exact_mut(stride).skip(first).zip(products).skip(whole - first) {
                    sums[vector] = N::plus(simd, sums[vector], product);
                }
            }
            return;
        }
        for (column, sums) in sums.chunks_exact_mut(stride).enumerate().skip(whole) {
            for (vector, sum) in sums[..used].iter_mut().enumerate() {
                [*sum] = multiply_columns(simd, [*sum], rows, column, g, stride, vector);
            }
        }
    }
}

/// One vector of `sums + X^T G`, for `K` columns of `X`.
#[inline(always)]
fn multiply_columns<S: Simd, N: Number + Vectors, const K: usize>(
    simd: S,
    mut sums: [N::Vector<S>; K],
    rows: &[&[N]],
    first: usize,
    g: &[N::Vector<S>],
    stride: usize,
    vector: usize,
) -> [N::Vector<S>; K] {
    for (row, g) in rows.iter().zip(g.chunks_exact(stride)) {
        let x: &[N; K] = row[first..].first_chunk().expect("columns lie within the row");
        for k in 0..K {
            sums[k] = N::plus_multiple(simd, sums[k], g[vector], N::splat(simd, x[k]));
        }
    }
    sums
}
