//! Products of one sparse row with several vectors at once, whose numbers lie side by side.
//!
//! A fixed width keeps sums, or factors, in vector registers while the row is walked; a number of outputs is made of widths that
//! halve.

use super::element::Element;

/// `out_c = sum_k values[k] weights[indices[k], c]` for all outputs `c`.
#[inline(always)]
pub(super) fn dots<T: Element>(indices: &[u32], values: &[T], weights: &[f64], out: &mut [f64]) {
    let mut first = 0;
    while first < out.len() {
        first += match out.len() - first {
            16.. => gather::<T, 16>(indices, values, weights, first, out),
            8.. => gather::<T, 8>(indices, values, weights, first, out),
            4.. => gather::<T, 4>(indices, values, weights, first, out),
            2.. => gather::<T, 2>(indices, values, weights, first, out),
            _ => gather::<T, 1>(indices, values, weights, first, out),
        };
    }
}

/// `out[indices[k], c] += g_c f(values[k])` for all outputs `c`.
#[inline(always)]
pub(super) fn scatter<T: Element>(
    indices: &[u32],
    values: &[T],
    g: &[f64],
    out: &mut [f64],
    f: impl Fn(f64) -> f64 + Copy,
) {
    let mut first = 0;
    while first < g.len() {
        first += match g.len() - first {
            16.. => spread::<T, 16>(indices, values, g, first, out, f),
            8.. => spread::<T, 8>(indices, values, g, first, out, f),
            4.. => spread::<T, 4>(indices, values, g, first, out, f),
            2.. => spread::<T, 2>(indices, values, g, first, out, f),
            _ => spread::<T, 1>(indices, values, g, first, out, f),
        };
    }
}

/// The outputs `first..first + N` of [`dots`]; returns `N`.
#[inline(always)]
fn gather<T: Element, const N: usize>(
    indices: &[u32],
    values: &[T],
    weights: &[f64],
    first: usize,
    out: &mut [f64],
) -> usize {
    let mut sums = [0.0; N];
    for (&j, x) in indices.iter().zip(values) {
        let (x, start) = (x.to_f64(), j as usize * out.len() + first);
        let weights = &weights[start..start + N];
        for lane in 0..N {
            sums[lane] = x.mul_add(weights[lane], sums[lane]);
        }
    }
    out[first..first + N].copy_from_slice(&sums);
    N
}

/// The outputs `first..first + N` of [`scatter`]; returns `N`.
#[inline(always)]
fn spread<T: Element, const N: usize>(
    indices: &[u32],
    values: &[T],
    g: &[f64],
    first: usize,
    out: &mut [f64],
    f: impl Fn(f64) -> f64,
) -> usize {
    let mut factors = [0.0; N];
    factors.copy_from_slice(&g[first..first + N]);
    for (&j, x) in indices.iter().zip(values) {
        let (x, start) = (f(x.to_f64()), j as usize * g.len() + first);
        let out = &mut out[start..start + N];
        for lane in 0..N {
            out[lane] = x.mul_add(factors[lane], out[lane]);
        }
    }
    N
}
