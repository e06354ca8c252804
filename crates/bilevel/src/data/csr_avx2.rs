//! Products of sparse rows with one vector, by hand where the processor has AVX2 and FMA.
//!
//! The compiler either takes entries one by one or gathers them with an instruction that is slower than that. Here values
//! are widened and multiplied four at a time, and only the numbers that they meet are loaded one by one. The last entries
//! of a row are multiplied together with those behind them, of which nothing is kept: how many there are costs no branch
//! that the processor could guess wrong.
//!
//! Indices are compared with the length of the vector as they are used, eight at once, although whoever made the matrix has
//! done so before: memory that is lent or mapped may be changed by others, and then a product must fail, not stray.

use std::arch::x86_64::*;
use std::hint::black_box;
use std::ops::Range;

use super::csr_row::{Entries, LANES};
use super::element::Element;
use crate::simd::prefetch_line;

/// Half of the entries that are taken at a time: one register.
const HALF: usize = LANES / 2;

/// Entries between those that are multiplied and those that are fetched: the processor stops fetching by itself where a page ends.
const AHEAD: usize = 256;

/// All bits of the first numbers, none of the others; [`own`] says where to begin.
static OWN: [i64; 2 * LANES] = [-1, -1, -1, -1, -1, -1, -1, -1, 0, 0, 0, 0, 0, 0, 0, 0];

/// Whether the processor has what these functions need.
#[inline(always)]
pub(super) fn available() -> bool {
    is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma")
}

/// See [`Entries::dots`].
#[target_feature(enable = "avx2,fma")]
pub(super) fn dots<T: Element>(
    entries: Entries<'_, T>,
    rows: impl Iterator<Item = Range<usize>>,
    weights: &[f64],
    out: &mut [f64],
) {
    let chunks = Chunks::new(entries, weights.len());
    let w = weights.as_ptr();
    for (row, out) in rows.zip(out) {
        if !chunks.follow(&row) {
            *out = dot_at_end(entries, row, weights);
            continue;
        }
        let mut sums = [_mm256_setzero_pd(); 2];
        let mut k = row.start;
        // SAFETY: `follow` says that there are chunks up to the end of the row, and `check` that its indices lie within
        // the weights.
        unsafe {
            while k + LANES <= row.end {
                chunks.check(k);
                for (half, sum) in sums.iter_mut().enumerate() {
                    *sum = _mm256_fmadd_pd(chunks.values(k, half), chunks.picked(w, k, half), *sum);
                }
                k += LANES;
            }
            if k < row.end {
                chunks.check(k);
                for (half, sum) in sums.iter_mut().enumerate() {
                    let next = _mm256_fmadd_pd(chunks.values(k, half), chunks.picked(w, k, half), *sum);
                    *sum = _mm256_blendv_pd(*sum, next, own(row.end - k, half));
                }
            }
        }
        let sums = _mm256_add_pd(sums[0], sums[1]);
        let sums = _mm_add_pd(_mm256_castpd256_pd128(sums), _mm256_extractf128_pd::<1>(sums));
        *out = _mm_cvtsd_f64(sums) + _mm_cvtsd_f64(_mm_unpackhi_pd(sums, sums));
    }
}

/// See [`Entries::scatter`].
#[target_feature(enable = "avx2,fma")]
pub(super) fn scatter<T: Element>(
    entries: Entries<'_, T>,
    rows: impl Iterator<Item = Range<usize>>,
    g: &[f64],
    out: &mut [f64],
    f: impl Fn(f64) -> f64 + Copy,
) {
    let chunks = Chunks::new(entries, out.len());
    for (row, &g) in rows.zip(g) {
        if !chunks.follow(&row) {
            scatter_at_end(entries, row, g, out, f);
            continue;
        }
        let factor = _mm256_set1_pd(g);
        let mut k = row.start;
        // SAFETY: as above.
        unsafe {
            while k + LANES <= row.end {
                chunks.check(k);
                for half in 0..2 {
                    chunks.add(k, half, _mm256_mul_pd(mapped(chunks.values(k, half), f), factor), out);
                }
                k += LANES;
            }
            if k < row.end {
                chunks.check(k);
                for half in 0..(row.end - k).div_ceil(HALF) {
                    let products = _mm256_mul_pd(mapped(chunks.values(k, half), f), factor);
                    // Zero is added for what lies behind the row.
                    chunks.add(k, half, _mm256_and_pd(products, own(row.end - k, half)), out);
                }
            }
        }
    }
}

/// See [`Entries::gram`].
#[target_feature(enable = "avx2,fma")]
pub(super) fn gram<T: Element>(
    entries: Entries<'_, T>,
    rows: impl Iterator<Item = Range<usize>>,
    d: &[f64],
    columns: usize,
    out: &mut [f64],
) {
    let chunks = Chunks::new(entries, columns);
    for (row, &d) in rows.zip(d) {
        if !chunks.follow(&row) {
            gram_at_end(entries, row, d, columns, out);
            continue;
        }
        for k in row.clone().step_by(LANES) {
            // SAFETY: `follow` says that there are chunks up to the end of the row.
            unsafe { chunks.check(k) };
        }
        for last in row.clone() {
            let j = entries.indices[last] as usize;
            let out = &mut out[j * columns..(j + 1) * columns];
            let scaled = d * entries.values[last].to_f64();
            let factor = _mm256_set1_pd(scaled);
            let mut k = row.start;
            // SAFETY: as above, and `check` says that the indices lie within the columns, all of which `out` has.
            unsafe {
                while k + HALF <= last + 1 {
                    chunks.add(k, 0, _mm256_mul_pd(chunks.values(k, 0), factor), out);
                    k += HALF;
                }
                while k <= last {
                    let product = scaled * (*chunks.values.add(k)).to_f64();
                    *out.get_unchecked_mut(*chunks.indices.add(k) as usize) += product;
                    k += 1;
                }
            }
        }
    }
}

/// All entries, and the length of the vector that they are multiplied by.
struct Chunks<T> {
    indices: *const u32,
    /// The same address. If the compiler knew, it would pull the indices out of the register in which they are compared,
    /// one by one, which takes longer than loading them again.
    compared: *const u32,
    values: *const T,
    stored: usize,
    /// The largest index, in every place.
    last: __m256i,
}

impl<T: Element> Chunks<T> {
    #[inline]
    #[target_feature(enable = "avx2,fma")]
    fn new(entries: Entries<'_, T>, length: usize) -> Self {
        let stored = if length == 0 { 0 } else { entries.indices.len().min(entries.values.len()) };
        let last = u32::try_from(length.saturating_sub(1)).unwrap_or(u32::MAX);
        let indices = entries.indices.as_ptr();
        let last = _mm256_set1_epi32(last.cast_signed());
        Chunks { indices, compared: black_box(indices), values: entries.values.as_ptr(), stored, last }
    }

    /// True when whole chunks of entries may be read from any place within `row`.
    #[inline]
    #[target_feature(enable = "avx2,fma")]
    fn follow(&self, row: &Range<usize>) -> bool {
        row.end.saturating_add(LANES) <= self.stored
    }

    /// Panics when an index of the chunk at `k` is too large.
    ///
    /// # Safety
    /// The chunk lies within the entries.
    #[inline]
    #[target_feature(enable = "avx2,fma")]
    unsafe fn check(&self, k: usize) {
        debug_assert!(k + LANES <= self.stored);
        prefetch_line(self.indices.wrapping_add(k + AHEAD));
        prefetch_line(self.values.wrapping_add(k + AHEAD));
        // SAFETY: by the contract.
        let indices = unsafe { _mm256_loadu_si256(self.compared.add(k).cast()) };
        let over = _mm256_xor_si256(_mm256_max_epu32(indices, self.last), self.last);
        if _mm256_testz_si256(over, over) == 0 {
            out_of_range();
        }
    }

    /// The values of one half of the chunk at `k`.
    ///
    /// # Safety
    /// The chunk lies within the entries.
    #[inline]
    #[target_feature(enable = "avx2,fma")]
    unsafe fn values(&self, k: usize, half: usize) -> __m256d {
        // SAFETY: by the contract.
        let values = unsafe { &*self.values.add(k + half * HALF).cast::<[T; HALF]>() };
        of_numbers([values[0].to_f64(), values[1].to_f64(), values[2].to_f64(), values[3].to_f64()])
    }

    /// The numbers of `weights` that one half of the chunk at `k` meets.
    ///
    /// # Safety
    /// The chunk lies within the entries, and its indices within the weights.
    #[inline]
    #[target_feature(enable = "avx2,fma")]
    unsafe fn picked(&self, weights: *const f64, k: usize, half: usize) -> __m256d {
        // SAFETY: by the contract.
        unsafe {
            let at = |lane: usize| weights.add(*self.indices.add(k + half * HALF + lane) as usize);
            let pair = |lane: usize| _mm_loadh_pd(_mm_load_sd(at(lane)), at(lane + 1));
            _mm256_insertf128_pd::<1>(_mm256_castpd128_pd256(pair(0)), pair(2))
        }
    }

    /// Adds `products` to the numbers that one half of the chunk at `k` meets, one after the other: behind the end of a row
    /// may follow the same column again.
    ///
    /// # Safety
    /// The chunk lies within the entries, and its indices within `out`.
    #[inline]
    #[target_feature(enable = "avx2,fma")]
    unsafe fn add(&self, k: usize, half: usize, products: __m256d, out: &mut [f64]) {
        for (lane, product) in numbers(products).into_iter().enumerate() {
            // SAFETY: by the contract.
            unsafe { *out.get_unchecked_mut(*self.indices.add(k + half * HALF + lane) as usize) += product };
        }
    }
}

/// All bits in those lanes of a half that are among the first `count < LANES` of a chunk.
#[inline]
#[target_feature(enable = "avx2,fma")]
fn own(count: usize, half: usize) -> __m256d {
    let mask: &[i64; HALF] = OWN[LANES - count + half * HALF..].first_chunk().expect("two halves");
    // SAFETY: so many numbers are there.
    unsafe { _mm256_loadu_pd(mask.as_ptr().cast()) }
}

#[inline]
#[target_feature(enable = "avx2,fma")]
fn mapped(numbers_of: __m256d, f: impl Fn(f64) -> f64) -> __m256d {
    let [a, b, c, d] = numbers(numbers_of);
    of_numbers([f(a), f(b), f(c), f(d)])
}

#[inline]
#[target_feature(enable = "avx2,fma")]
fn numbers(register: __m256d) -> [f64; HALF] {
    // SAFETY: both are four numbers.
    unsafe { std::mem::transmute(register) }
}

#[inline]
#[target_feature(enable = "avx2,fma")]
fn of_numbers(numbers: [f64; HALF]) -> __m256d {
    // SAFETY: both are four numbers.
    unsafe { std::mem::transmute(numbers) }
}

/// The last rows, behind which there is no whole chunk.
#[cold]
#[inline(never)]
#[target_feature(enable = "avx2,fma")]
fn dot_at_end<T: Element>(entries: Entries<'_, T>, row: Range<usize>, weights: &[f64]) -> f64 {
    entries.dot(row, weights)
}

#[cold]
#[inline(never)]
fn scatter_at_end<T: Element>(
    entries: Entries<'_, T>,
    row: Range<usize>,
    g: f64,
    out: &mut [f64],
    f: impl Fn(f64) -> f64,
) {
    entries.scatter_row(row, g, out, f);
}

#[cold]
#[inline(never)]
fn gram_at_end<T: Element>(entries: Entries<'_, T>, row: Range<usize>, d: f64, columns: usize, out: &mut [f64]) {
    entries.gram_row(row, d, columns, out);
}

#[cold]
#[inline(never)]
fn out_of_range() -> ! {
    panic!("a column index is out of range")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Rows of all lengths up to 40, empty ones among them; columns return in the next row.
    fn rows() -> (Vec<usize>, Vec<u32>, Vec<f32>) {
        let (mut offsets, mut indices, mut values) = (vec![0], Vec::new(), Vec::new());
        for row in 0..60_u32 {
            indices.extend((0..row * 7 % 41).map(|k| k * 2 + row % 3));
            values.extend((0..row * 7 % 41).map(|k| ((k * 31 + row) as f32).sin()));
            offsets.push(indices.len());
        }
        (offsets, indices, values)
    }

    fn spans(offsets: &[usize]) -> impl Iterator<Item = Range<usize>> {
        offsets.windows(2).map(|ends| ends[0]..ends[1])
    }

    #[test]
    fn products_are_the_same_bits_either_way() {
        if !available() {
            return;
        }
        let (offsets, indices, mut values) = rows();
        // Numbers behind the end of a row must not leave a trace in it.
        values[offsets[11]] = f32::NAN;
        values[offsets[12]] = f32::INFINITY;
        let entries = Entries { indices: &indices, values: &values };
        let weights: Vec<f64> = (0..90).map(|j| f64::from(j).cos()).collect();
        let g: Vec<f64> = (0..60).map(|i| f64::from(i).sin()).collect();
        let mut products = vec![0.0; 60];
        // SAFETY: the instructions are there.
        unsafe { dots(entries, spans(&offsets), &weights, &mut products) };
        for (row, product) in spans(&offsets).zip(&products) {
            assert_eq!(product.to_bits(), entries.dot(row.clone(), &weights).to_bits(), "{row:?}");
        }
        assert!(products[11].is_nan() && products.iter().filter(|x| x.is_finite()).count() == 58);
        for f in [|x| x, |x| x * x] {
            let (mut found, mut wanted) = (vec![0.0; 90], vec![0.0; 90]);
            // SAFETY: as above.
            unsafe { scatter(entries, spans(&offsets).take(11), &g, &mut found, f) };
            for (row, &g) in spans(&offsets).zip(&g).take(11) {
                entries.scatter_row(row, g, &mut wanted, f);
            }
            assert!(found.iter().all(|x| x.is_finite()));
            assert_eq!(found, wanted);
        }
        let (mut found, mut wanted) = (vec![0.0; 90 * 90], vec![0.0; 90 * 90]);
        // SAFETY: as above.
        unsafe { gram(entries, spans(&offsets).take(11), &g, 90, &mut found) };
        spans(&offsets).zip(&g).take(11).for_each(|(row, &g)| entries.gram_row(row, g, 90, &mut wanted));
        assert!(found.iter().all(|x| x.is_finite()));
        assert_eq!(found, wanted);
    }

    #[test]
    fn an_index_out_of_range_is_never_followed() {
        if !available() {
            return;
        }
        let (offsets, indices, values) = rows();
        for at in [0, offsets[20] + 3, offsets[30] - 1] {
            let mut indices = indices.clone();
            indices[at] = 90 + at as u32 * 1_000_000;
            let entries = Entries { indices: &indices, values: &values };
            let product = || {
                // SAFETY: the instructions are there.
                unsafe { dots(entries, spans(&offsets), &[1.0; 90], &mut [0.0; 60]) };
            };
            let transposed = || {
                // SAFETY: as above.
                unsafe { scatter(entries, spans(&offsets), &[1.0; 60], &mut [0.0; 90], |x| x) };
            };
            let squared = || {
                // SAFETY: as above.
                unsafe { gram(entries, spans(&offsets), &[1.0; 60], 90, &mut [0.0; 90 * 90]) };
            };
            assert!(std::panic::catch_unwind(squared).is_err(), "an index at {at}");
            assert!(std::panic::catch_unwind(product).is_err(), "an index at {at}");
            assert!(std::panic::catch_unwind(transposed).is_err(), "an index at {at}");
        }
    }
}
