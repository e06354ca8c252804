//! Products of rows with one vector, in chunks of a fixed width.
//!
//! The compiler makes a vector of an array of `L` sums, one or two of them to a register. As the width is fixed, sums are
//! added in the same order whatever the processor's vectors.

use std::any::Any;
use std::hint::black_box;
use std::ops::{Add, Mul};

use super::buffer::Plain;
use super::transpose::{Block, transposed_f32, transposed_f64};
use crate::simd::{LINE, prefetch_line};

/// What products are computed in.
pub(super) trait Number:
    Plain + Send + Sync + Default + PartialEq + Add<Output = Self> + Mul<Output = Self>
{
    fn mul_add(self, a: Self, b: Self) -> Self;
    fn narrowed(x: f64) -> Self;
    fn widened(self) -> f64;
    /// [`totals`], in another way where that is faster.
    fn totals<const L: usize, const R: usize>(lanes: &[[Self; L]; R]) -> [Self; R];
    fn transposed(block: &Block<Self>) -> Block<Self>;
}

impl Number for f32 {
    #[inline(always)]
    fn mul_add(self, a: f32, b: f32) -> f32 {
        self.mul_add(a, b)
    }
    #[inline(always)]
    fn narrowed(x: f64) -> f32 {
        x as f32
    }
    #[inline(always)]
    fn widened(self) -> f64 {
        f64::from(self)
    }
    #[inline(always)]
    fn totals<const L: usize, const R: usize>(lanes: &[[f32; L]; R]) -> [f32; R] {
        #[cfg(target_arch = "x86_64")]
        if let Some(four) = (lanes as &dyn Any).downcast_ref() {
            let mut out = [0.0; R];
            out.copy_from_slice(&totals_of_four(four));
            return out;
        }
        totals(lanes)
    }
    #[inline(always)]
    fn transposed(block: &Block<f32>) -> Block<f32> {
        transposed_f32(block)
    }
}

impl Number for f64 {
    #[inline(always)]
    fn mul_add(self, a: f64, b: f64) -> f64 {
        self.mul_add(a, b)
    }
    #[inline(always)]
    fn narrowed(x: f64) -> f64 {
        x
    }
    #[inline(always)]
    fn widened(self) -> f64 {
        self
    }
    #[inline(always)]
    fn totals<const L: usize, const R: usize>(lanes: &[[f64; L]; R]) -> [f64; R] {
        #[cfg(target_arch = "x86_64")]
        if let Some(four) = (lanes as &dyn Any).downcast_ref() {
            let mut out = [0.0; R];
            out.copy_from_slice(&totals_of_four_wide(four));
            return out;
        }
        totals(lanes)
    }
    #[inline(always)]
    fn transposed(block: &Block<f64>) -> Block<f64> {
        transposed_f64(block)
    }
}

/// `sums + x w`, lane by lane.
#[inline(always)]
pub(super) fn plus_product<T: Copy + Into<N>, N: Number, const L: usize>(
    mut sums: [N; L],
    x: &[T; L],
    w: &[N; L],
) -> [N; L] {
    for lane in 0..L {
        sums[lane] = x[lane].into().mul_add(w[lane], sums[lane]);
    }
    sums
}

/// Weights of `K` vectors in chunks of `L`, the first chunks of all of them, then the next: whole ones, and where they do not fill the
/// row those of its last `L` entries, zero where they overlap the chunk before.
#[derive(Clone, Copy)]
pub(super) struct Weights<'w, N, const L: usize, const K: usize> {
    pub body: &'w [[[N; L]; K]],
    pub last: Option<&'w [[N; L]; K]>,
}

/// The sums over chunks of `x w`, for `R` rows and `K` vectors of weights; before each chunk calls `fetch`.
#[inline(always)]
pub(super) fn multiply<T: Copy + Into<N>, N: Number, const L: usize, const R: usize, const K: usize>(
    rows: &[&[T]; R],
    weights: Weights<'_, N, L, K>,
    fetch: impl Fn(usize),
) -> [[[N; L]; R]; K] {
    let chunks = rows[0].len() / L;
    let rows_in_chunks = rows.map(|row| &row.as_chunks::<L>().0[..chunks]);
    let body = &weights.body[..chunks];
    let mut sums = [[[N::default(); L]; R]; K];
    for_each_chunk(
        chunks,
        // Of many products a chunk need not be written out.
        if R * K <= 8 { 4 } else { 0 },
        fetch,
        #[inline(always)]
        |chunk| {
            for k in 0..K {
                for r in 0..R {
                    sums[k][r] = plus_product(sums[k][r], &rows_in_chunks[r][chunk], &body[chunk][k]);
                }
            }
        },
    );
    if let Some(last) = weights.last {
        for r in 0..R {
            let tail = tail(rows[r]);
            for k in 0..K {
                sums[k][r] = plus_product(sums[k][r], tail, &last[k]);
            }
        }
    }
    // Seen together with the totals, the sums would be torn out of their vectors.
    black_box(sums)
}

/// `sums + g f(x)`, lane by lane.
#[inline(always)]
pub(super) fn plus_multiple<T: Copy + Into<N>, N: Number, const L: usize>(
    mut sums: [N; L],
    x: &[T; L],
    g: N,
    f: impl Fn(N) -> N,
) -> [N; L] {
    for lane in 0..L {
        sums[lane] = f(x[lane].into()).mul_add(g, sums[lane]);
    }
    sums
}

/// `sums += sum_r g_r f(x_r)`, chunk after chunk; before each calls `fetch`.
#[inline(always)]
pub(super) fn combine<T: Copy + Into<N>, N: Number, const L: usize, const R: usize>(
    rows: [&[[T; L]]; R],
    g: &[N; R],
    f: impl Fn(N) -> N + Copy,
    fetch: impl Fn(usize),
    sums: &mut [[N; L]],
) {
    let chunks = sums.len();
    assert!(rows.iter().all(|row| row.len() == chunks));
    for_each_chunk(
        chunks,
        4,
        fetch,
        #[inline(always)]
        |chunk| sums[chunk] = plus_combination(sums[chunk], rows.map(|row| &row[chunk]), g, f),
    );
}

/// `sums + sum_r g_r f(x_r)`, lane by lane, in two halves that do not wait for each other.
#[inline(always)]
pub(super) fn plus_combination<T: Copy + Into<N>, N: Number, const L: usize, const R: usize>(
    mut sums: [N; L],
    rows: [&[T; L]; R],
    g: &[N; R],
    f: impl Fn(N) -> N + Copy,
) -> [N; L] {
    let mut others = [N::default(); L];
    for r in 0..R / 2 {
        others = plus_multiple(others, rows[r], g[r], f);
    }
    for r in R / 2..R {
        sums = plus_multiple(sums, rows[r], g[r], f);
    }
    for lane in 0..L {
        sums[lane] = sums[lane] + others[lane];
    }
    sums
}

/// Fetches a chunk of each of some rows, if it begins a line: a little at a time, since the processor waits for a burst of
/// requests.
#[inline(always)]
pub(super) fn fetch_chunk<T, const L: usize, const R: usize>(rows: &[*const T; R], chunk: usize) {
    let lines = (LINE / (L * size_of::<T>())).max(1);
    if chunk.is_multiple_of(lines) {
        for row in rows {
            prefetch_line(row.wrapping_add(chunk * L));
        }
    }
}

/// Calls `body` with `0..chunks`, and before that `fetch` where they are more than a `few`. The compiler sees what chunk it is only where
/// they are few: if it did, it would turn the loop over the chunks into one that gathers the same lane of several of them.
#[inline(always)]
fn for_each_chunk(chunks: usize, few: usize, fetch: impl Fn(usize), mut body: impl FnMut(usize)) {
    if chunks <= few {
        for chunk in 0..chunks.min(few) {
            body(chunk);
        }
        return;
    }
    for chunk in 0..chunks {
        let chunk = black_box(chunk);
        if chunk >= chunks {
            break;
        }
        fetch(chunk);
        body(chunk);
    }
}

/// The sum of the lanes of each of `R`, by halves.
#[inline(always)]
fn totals<N: Number, const L: usize, const R: usize>(lanes: &[[N; L]; R]) -> [N; R] {
    lanes.map(|mut lanes| {
        let mut width = L / 2;
        while width > 0 {
            for lane in 0..width {
                lanes[lane] = lanes[lane] + lanes[lane + width];
            }
            width /= 2;
        }
        lanes[0]
    })
}

/// [`totals`] of four times 16 numbers in single precision. The compiler takes them through the memory two by two.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
fn totals_of_four(lanes: &[[f32; 16]; 4]) -> [f32; 4] {
    use std::arch::x86_64::{
        _mm_add_ps, _mm_loadu_ps, _mm_movehl_ps, _mm_movelh_ps, _mm_storeu_ps, _mm_unpackhi_ps, _mm_unpacklo_ps,
    };
    // SAFETY: the instructions belong to every processor of this kind, and all quarters lie within the arrays.
    unsafe {
        let [a, b, c, d] = lanes.each_ref().map(|lanes| {
            let quarter = |k: usize| _mm_loadu_ps(lanes.as_ptr().add(4 * k));
            _mm_add_ps(_mm_add_ps(quarter(0), quarter(2)), _mm_add_ps(quarter(1), quarter(3)))
        });
        // Transposed, so that one addition serves four rows.
        let (ab, cd) = (_mm_unpacklo_ps(a, b), _mm_unpacklo_ps(c, d));
        let (zero, one) = (_mm_movelh_ps(ab, cd), _mm_movehl_ps(cd, ab));
        let (ab, cd) = (_mm_unpackhi_ps(a, b), _mm_unpackhi_ps(c, d));
        let (two, three) = (_mm_movelh_ps(ab, cd), _mm_movehl_ps(cd, ab));
        let mut out = [0.0; 4];
        _mm_storeu_ps(out.as_mut_ptr(), _mm_add_ps(_mm_add_ps(zero, two), _mm_add_ps(one, three)));
        out
    }
}

/// [`totals`] of four times eight numbers in double precision.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
fn totals_of_four_wide(lanes: &[[f64; 8]; 4]) -> [f64; 4] {
    use std::arch::x86_64::{_mm_add_pd, _mm_loadu_pd, _mm_storeu_pd, _mm_unpackhi_pd, _mm_unpacklo_pd};
    // SAFETY: the instructions belong to every processor of this kind, and all quarters lie within the arrays.
    unsafe {
        let [a, b, c, d] = lanes.each_ref().map(|lanes| {
            let quarter = |k: usize| _mm_loadu_pd(lanes.as_ptr().add(2 * k));
            _mm_add_pd(_mm_add_pd(quarter(0), quarter(2)), _mm_add_pd(quarter(1), quarter(3)))
        });
        let mut out = [0.0; 4];
        for (out, first, second) in
            [(0, a, b), (2, c, d)].map(|(k, first, second)| (out.as_mut_ptr().add(k), first, second))
        {
            _mm_storeu_pd(out, _mm_add_pd(_mm_unpacklo_pd(first, second), _mm_unpackhi_pd(first, second)));
        }
        out
    }
}

/// The last chunk of a row that does not end with a whole one.
#[inline(always)]
pub(super) fn tail<T, const L: usize>(row: &[T]) -> &[T; L] {
    row.last_chunk::<L>().expect("rows are no shorter than a chunk")
}

/// `weights`, the `k`-th of `K` vectors, in chunks of `L`, the last one with zeros where it overlaps the one before.
#[inline(always)]
pub(super) fn chunked<N: Number, const L: usize, const K: usize>(
    weights: &[f64],
    k: usize,
    chunks: &mut [[[N; L]; K]],
) {
    let (whole, rest) = weights.as_chunks::<L>();
    for (weights, chunk) in whole.iter().zip(&mut *chunks) {
        narrow(weights, &mut chunk[k]);
    }
    for chunk in chunks.iter_mut().skip(whole.len()) {
        let (idle, own) = chunk[k].split_at_mut(L - rest.len());
        idle.fill(N::default());
        narrow(rest, own);
    }
}

/// Rounds to the precision that products are computed in.
#[inline(always)]
pub(super) fn narrow<N: Number>(wide: &[f64], narrow: &mut [N]) {
    for (narrow, &wide) in narrow.iter_mut().zip(wide) {
        *narrow = N::narrowed(wide);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn totals_are_the_same_bits_either_way() {
        let mut lanes = [[0.0_f32; 16]; 4];
        for (i, x) in lanes.iter_mut().flatten().enumerate() {
            *x = (i as f32 * 0.7).sin() * 10.0_f32.powi(i as i32 % 7 - 3);
        }
        assert_eq!(f32::totals(&lanes), totals(&lanes));
        let wide: [[f64; 8]; 4] = std::array::from_fn(|r| std::array::from_fn(|lane| f64::from(lanes[r][lane]) / 3.0));
        assert_eq!(f64::totals(&wide), totals(&wide));
    }
}
