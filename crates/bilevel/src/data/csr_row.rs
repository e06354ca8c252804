//! Products of one sparse row with one vector: what most passes over sparse data consist of.

use super::design::Element;

/// Sums that do not wait for each other.
const SUMS: usize = 4;

/// `sum_k values[k] weights[indices[k]]`.
#[inline(always)]
pub(super) fn dot<T: Element>(indices: &[u32], values: &[T], weights: &[f64]) -> f64 {
    let (index_blocks, index_rest) = indices.as_chunks::<SUMS>();
    let (value_blocks, value_rest) = values.as_chunks::<SUMS>();
    let mut sums = [0.0; SUMS];
    for (j, x) in index_blocks.iter().zip(value_blocks) {
        for k in 0..SUMS {
            sums[k] = x[k].to_f64().mul_add(weights[j[k] as usize], sums[k]);
        }
    }
    let mut total = (sums[0] + sums[1]) + (sums[2] + sums[3]);
    for (&j, x) in index_rest.iter().zip(value_rest) {
        total = x.to_f64().mul_add(weights[j as usize], total);
    }
    total
}

/// `out[indices[k]] += g f(values[k])`.
#[inline(always)]
pub(super) fn scatter<T: Element>(indices: &[u32], values: &[T], g: f64, out: &mut [f64], f: impl Fn(f64) -> f64) {
    for (&j, x) in indices.iter().zip(values) {
        let out = &mut out[j as usize];
        *out = f(x.to_f64()).mul_add(g, *out);
    }
}
