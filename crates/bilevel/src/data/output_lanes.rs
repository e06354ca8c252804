//! Products of narrow rows with a matrix of several columns, and of their transpose with another, one sample at a time.
//!
//! The lanes of a vector are outputs, of two neighbouring columns in turn: two numbers of a row meet a whole line of weights at once,
//! and a pair of numbers is as quickly in all lanes as one. So nothing is transposed and hardly anything added across the lanes, which
//! on a few short rows takes longer than the products. Matrices of one shape lie side by side in the lanes: products of rows with two
//! of them read the rows once. Idle lanes are the price, and where rows are wide [`Panels`](super::panels::Panels) are faster.
//!
//! Rows end with a 1, which the intercepts belong to, and with a 0 where that makes them even.

use std::ops::Range;

use crate::simd::{Simd, WithSimd, dispatch, lanes, same_bits, splat_pair};

/// Lanes of a line.
pub(super) const LANES: usize = 16;

/// Numbers of two columns, or two times those of a row.
pub(super) type Line = [f32; LANES];

/// Numbers that are copied at a time: more than the outputs as a rule, and what is copied too much is overwritten by what is copied
/// next. Of a length that the compiler does not know, copies would take longer than the products.
pub(super) const COPIED: usize = LANES / 2;

/// Rows that are multiplied at a time: so many sums hide the latency of the processor, and there are addresses of no more. Where there
/// are few registers, as many as have their sums, a pair of their numbers and the weights there, with one vector of weights and two.
const ROWS: usize = 8;
const FEW_ROWS: usize = 7;
const FEWEST_ROWS: usize = 4;
/// Pairs of columns of which sums over the rows are taken at a time, and where there are few registers.
const PAIRS: usize = 14;
const FEW_PAIRS: usize = 8;

/// Lines that hold `width` numbers twice.
pub(super) fn lines(width: usize) -> usize {
    (2 * width).div_ceil(LANES)
}

/// Pairs of the numbers of a row of `cols` columns and what it ends with.
pub(super) fn pairs(cols: usize) -> usize {
    cols / 2 + 1
}

/// Puts the numbers of columns side by side into as many lines for each pair of columns as they fill: `parts`, of `outputs` numbers for
/// each column; zeros for those that they have not. Behind the last line one more is written. `room` is for what [`unpack_columns`]
/// writes, of each part.
#[inline(always)]
pub(super) fn pack_columns<const P: usize>(parts: &[&[f64]; P], outputs: usize, packed: &mut [Line], room: &mut [f64]) {
    let (count, stride) = shape(packed, P * outputs);
    // The last columns, behind which there is less than what is copied, from a copy with zeros behind it.
    let copied = outputs + outputs.next_multiple_of(COPIED);
    let whole = parts[0].len().checked_sub(copied).map_or(0, |last| (last / (2 * outputs) + 1).min(count));
    let mut copies = room.chunks_exact_mut(room.len() / P);
    let ends: [&[f64]; P] = parts.map(|part| {
        let (copy, end) = (copies.next().expect("room for each part"), &part[2 * whole * outputs..]);
        copy[..end.len()].copy_from_slice(end);
        copy[end.len()..2 * (count - whole) * outputs + COPIED].fill(0.0);
        &*copy
    });
    let packed = packed.as_flattened_mut();
    for pair in 0..count {
        for k in 0..P {
            let part =
                if pair < whole { &parts[k][2 * pair * outputs..] } else { &ends[k][2 * (pair - whole) * outputs..] };
            for first in (0..outputs).step_by(COPIED) {
                let [even, odd] = [numbers(part, first), numbers(part, outputs + first)].map(narrowed);
                *line_at(packed, pair * stride + 2 * (k * outputs + first)) = in_turn(&even, &odd);
            }
        }
    }
}

/// The numbers of `packed` at the places that [`pack_columns`] takes the `k`-th of `P` parts from.
#[inline(always)]
pub(super) fn unpack_columns<const P: usize>(packed: &[Line], k: usize, outputs: usize, part: &mut [f64]) {
    let (count, stride) = shape(packed, P * outputs);
    let packed = packed.as_flattened();
    for pair in 0..count {
        let part = &mut part[2 * pair * outputs..];
        for parity in 0..2 {
            for first in (0..outputs).step_by(COPIED) {
                let line: &Line = numbers(packed, pair * stride + 2 * (k * outputs + first));
                let out: &mut [f64; COPIED] =
                    part[parity * outputs + first..].first_chunk_mut().expect("numbers follow");
                *out = parted(line)[parity].map(f64::from);
            }
        }
    }
}

/// Puts `parts`, of `outputs` numbers for each of some rows and [`COPIED`] more, side by side into lines, each number twice. Behind
/// the last line one more is written.
#[inline(always)]
pub(super) fn pack_rows<const P: usize>(parts: &[&[f64]; P], outputs: usize, packed: &mut [Line]) {
    let (count, stride) = shape(packed, P * outputs);
    let packed = packed.as_flattened_mut();
    for row in 0..count {
        for (k, part) in parts.iter().enumerate() {
            for first in (0..outputs).step_by(COPIED) {
                let from: &[f64; COPIED] = numbers(part, row * outputs + first);
                let numbers = narrowed(from);
                *line_at(packed, row * stride + 2 * (k * outputs + first)) = in_turn(&numbers, &numbers);
            }
        }
    }
}

/// Adds the two numbers of each output in the lines of rows and puts them there.
#[inline(always)]
pub(super) fn unpack_rows<const P: usize>(packed: &[Line], outputs: usize, parts: &mut [&mut [f64]; P]) {
    let (count, stride) = shape(packed, P * outputs);
    let packed = packed.as_flattened();
    for row in 0..count {
        for (k, part) in parts.iter_mut().enumerate() {
            for first in (0..outputs).step_by(COPIED) {
                let line: &Line = numbers(packed, row * stride + 2 * (k * outputs + first));
                let out: &mut [f64; COPIED] = part[row * outputs + first..].first_chunk_mut().expect("numbers follow");
                let [even, odd] = parted(line);
                for lane in 0..COPIED {
                    out[lane] = f64::from(even[lane] + odd[lane]);
                }
            }
        }
    }
}

#[inline(always)]
fn narrowed(wide: &[f64; COPIED]) -> [f32; COPIED] {
    let mut numbers = [0.0; COPIED];
    for lane in 0..COPIED {
        numbers[lane] = wide[lane] as f32;
    }
    numbers
}

/// Numbers of two kinds in turn. As halves of longer numbers, since the compiler would move them one by one.
#[inline(always)]
fn in_turn(even: &[f32; COPIED], odd: &[f32; COPIED]) -> Line {
    let mut both = [0; COPIED];
    for lane in 0..COPIED {
        let [low, high] =
            if cfg!(target_endian = "little") { [even[lane], odd[lane]] } else { [odd[lane], even[lane]] };
        both[lane] = u64::from(low.to_bits()) | u64::from(high.to_bits()) << 32;
    }
    same_bits(both)
}

/// The numbers at even and at odd places of a line.
#[inline(always)]
fn parted(line: &Line) -> [[f32; COPIED]; 2] {
    let both: [u64; COPIED] = same_bits(*line);
    let mut parts = [[0.0; COPIED]; 2];
    for lane in 0..COPIED {
        let [low, high] = [both[lane] as u32, (both[lane] >> 32) as u32].map(f32::from_bits);
        let [even, odd] = if cfg!(target_endian = "little") { [low, high] } else { [high, low] };
        (parts[0][lane], parts[1][lane]) = (even, odd);
    }
    parts
}

/// Of lines with one more behind them, how many rows or pairs of columns they belong to, and the lanes of each.
fn shape(packed: &[Line], width: usize) -> (usize, usize) {
    ((packed.len() - 1) / lines(width), lines(width) * LANES)
}

#[inline(always)]
fn numbers<N, const K: usize>(all: &[N], first: usize) -> &[N; K] {
    all[first..].first_chunk().expect("numbers follow")
}

#[inline(always)]
fn line_at(all: &mut [f32], first: usize) -> &mut Line {
    all[first..].first_chunk_mut().expect("a line follows")
}

/// What a row ends with: its last number where that is no second one of a pair, then 1.
#[inline(always)]
fn end(row: &[f32]) -> [f32; 2] {
    match row.as_chunks::<2>().1 {
        [last] => [*last, 1.0],
        _ => [1.0, 0.0],
    }
}

/// `margins = X W` for rows of `X`: as many lines for each row as `weights` has for each pair of columns, `width` numbers in use.
/// Before some of the rows calls `fetch` with their positions.
pub(super) fn margins(
    rows: &[&[f32]],
    weights: &[Line],
    margins: &mut [Line],
    width: usize,
    fetch: impl Fn(Range<usize>),
) {
    dispatch(Margins { rows, weights, margins, width, fetch });
}

struct Margins<'m, F> {
    rows: &'m [&'m [f32]],
    weights: &'m [Line],
    margins: &'m mut [Line],
    width: usize,
    fetch: F,
}

impl<F: Fn(Range<usize>)> WithSimd for Margins<'_, F> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Margins { rows, weights, margins, width, fetch } = self;
        let product = Product::<S>::new(simd, width);
        let (weights, margins) =
            (S::as_simd_f32s(weights.as_flattened()).0, S::as_mut_simd_f32s(margins.as_flattened_mut()).0);
        let done = match product.used {
            _ if S::REGISTER_COUNT >= 32 => product.margins::<ROWS>(rows, 0, weights, margins, &fetch),
            1 => product.margins::<FEW_ROWS>(rows, 0, weights, margins, &fetch),
            _ => product.margins::<FEWEST_ROWS>(rows, 0, weights, margins, &fetch),
        };
        product.margins::<1>(rows, done, weights, margins, &|_| {});
    }
}

/// `sums = X^T G` for rows of `X`: as many lines for each pair of columns as `g` has for each row, `width` numbers in use.
pub(super) fn transposed(rows: &[&[f32]], g: &[Line], sums: &mut [Line], width: usize) {
    dispatch(Transposed { rows, g, sums, width });
}

struct Transposed<'t> {
    rows: &'t [&'t [f32]],
    g: &'t [Line],
    sums: &'t mut [Line],
    width: usize,
}

impl WithSimd for Transposed<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Transposed { rows, g, sums, width } = self;
        let product = Product::<S>::new(simd, width);
        let (g, sums) = (S::as_simd_f32s(g.as_flattened()).0, S::as_mut_simd_f32s(sums.as_flattened_mut()).0);
        let whole = rows.first().map_or(0, |row| row.len() / 2);
        product.closing_sums(rows, g, &mut sums[whole * product.stride..]);
        let most = if S::REGISTER_COUNT < 32 { FEW_PAIRS } else { PAIRS };
        let even = whole.div_ceil(whole.div_ceil(most).max(1));
        match even.next_multiple_of(2).min(whole) {
            PAIRS.. => product.sums::<PAIRS>(rows, g, whole, sums),
            12.. => product.sums::<12>(rows, g, whole, sums),
            10.. => product.sums::<10>(rows, g, whole, sums),
            FEW_PAIRS.. => product.sums::<FEW_PAIRS>(rows, g, whole, sums),
            4.. => product.sums::<4>(rows, g, whole, sums),
            _ => product.sums::<1>(rows, g, whole, sums),
        }
    }
}

/// Products with vectors of the kind `S`.
#[derive(Clone, Copy)]
struct Product<S> {
    simd: S,
    /// Vectors of a row, or of a pair of columns, and how many of them are in use.
    stride: usize,
    used: usize,
}

impl<S: Simd> Product<S> {
    #[inline(always)]
    fn new(simd: S, width: usize) -> Self {
        let lanes = lanes::<S, f32>();
        Product { simd, stride: lines(width) * LANES / lanes, used: (2 * width).div_ceil(lanes) }
    }

    /// The margins of as many blocks of `R` rows from `first` on as there are; returns where they end.
    #[inline(always)]
    fn margins<const R: usize>(
        self,
        rows: &[&[f32]],
        first: usize,
        weights: &[S::f32s],
        margins: &mut [S::f32s],
        fetch: &impl Fn(Range<usize>),
    ) -> usize {
        let Product { stride, used, .. } = self;
        let (blocks, rest) = rows[first..].as_chunks::<R>();
        let margins = margins[first * stride..].chunks_exact_mut(R * stride);
        for (block, (rows, margins)) in blocks.iter().zip(margins).enumerate() {
            fetch(first + block * R..first + (block + 1) * R);
            let mut vector = 0;
            while vector < used {
                // With their sums and the numbers of the rows.
                let two = const { 3 * R + 2 <= S::REGISTER_COUNT } && vector + 2 <= used;
                vector += match two {
                    true => self.multiply_rows::<R, 2>(rows, weights, vector, margins),
                    false => self.multiply_rows::<R, 1>(rows, weights, vector, margins),
                };
            }
        }
        rows.len() - rest.len()
    }

    /// The vectors from `first` on, `V` of them, of the margins of `R` rows; returns `V`.
    #[inline(always)]
    fn multiply_rows<const R: usize, const V: usize>(
        self,
        rows: &[&[f32]; R],
        weights: &[S::f32s],
        first: usize,
        margins: &mut [S::f32s],
    ) -> usize {
        let Product { simd, stride, .. } = self;
        let whole = rows[0].len() / 2;
        // By a loop: where the closure of a `map` is called, the lengths are not seen, and each number is checked.
        let mut pairs: [&[[f32; 2]]; R] = [&[]; R];
        for r in 0..R {
            pairs[r] = &rows[r].as_chunks::<2>().0[..whole];
        }
        let weights = &weights[first..];
        let mut sums = [[simd.splat_f32s(0.0); V]; R];
        for (pair, weights) in weights.chunks(stride).take(whole).enumerate() {
            let weights: &[S::f32s; V] = numbers(weights, 0);
            for r in 0..R {
                let pair = &pairs[r][pair];
                for v in 0..V {
                    sums[r][v] = simd.mul_add_f32s(weights[v], splat_pair(simd, pair, first + v), sums[r][v]);
                }
            }
        }
        let weights: &[S::f32s; V] = numbers(weights, whole * stride);
        for r in 0..R {
            let end = end(rows[r]);
            for v in 0..V {
                let sum = simd.mul_add_f32s(weights[v], splat_pair(simd, &end, first + v), sums[r][v]);
                margins[r * stride + first + v] = sum;
            }
        }
        V
    }

    /// The sums over the rows for the `whole` pairs of columns, `K` of them at a time; the last ones together with some before them.
    #[inline(always)]
    fn sums<const K: usize>(self, rows: &[&[f32]], g: &[S::f32s], whole: usize, sums: &mut [S::f32s]) {
        let Product { simd, stride, used } = self;
        for first in (0..whole).step_by(K) {
            let first = first.min(whole - K);
            for vector in 0..used {
                let mut at = [simd.splat_f32s(0.0); K];
                for (row, g) in rows.iter().zip(g.chunks_exact(stride)) {
                    let pairs: &[[f32; 2]; K] = row.as_chunks::<2>().0[first..].first_chunk().expect("pairs of a row");
                    for k in 0..K {
                        at[k] = simd.mul_add_f32s(g[vector], splat_pair(simd, &pairs[k], vector), at[k]);
                    }
                }
                for k in 0..K {
                    sums[(first + k) * stride + vector] = at[k];
                }
            }
        }
    }

    /// Those for what the rows end with.
    #[inline(always)]
    fn closing_sums(self, rows: &[&[f32]], g: &[S::f32s], sums: &mut [S::f32s]) {
        const ONCE: usize = 8;
        let Product { simd, stride, used } = self;
        for vector in 0..used {
            // Several sums do not wait for each other.
            let mut parts = [simd.splat_f32s(0.0); ONCE];
            for (rows, g) in rows.chunks(ONCE).zip(g.chunks(ONCE * stride)) {
                for ((part, row), g) in parts.iter_mut().zip(rows).zip(g.chunks_exact(stride)) {
                    *part = simd.mul_add_f32s(g[vector], splat_pair(simd, &end(row), vector), *part);
                }
            }
            sums[vector] = parts.into_iter().fold(simd.splat_f32s(0.0), |sum, part| simd.add_f32s(sum, part));
        }
    }
}
