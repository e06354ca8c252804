//! Products of sparse rows with one vector: what most passes over sparse data consist of.
//!
//! Entries are taken eight at a time; the `k`-th of a row goes to sum `k mod 8`, and the sums are added by halves. Where the
//! processor has the instructions, [`super::csr_avx2`] does the same work in the same order, to the same bits.

use std::ops::Range;

use super::element::Element;
use crate::simd::vectorize;

/// Entries that are multiplied at a time: sums that do not wait for each other.
pub(super) const LANES: usize = 8;

/// The entries of some rows, one behind the other: as many values as column indices.
#[derive(Clone, Copy)]
pub(super) struct Entries<'m, T> {
    pub indices: &'m [u32],
    pub values: &'m [T],
}

impl<'m, T: Element> Entries<'m, T> {
    #[inline(always)]
    fn row(self, span: Range<usize>) -> impl Iterator<Item = (usize, f64)> + use<'m, T> {
        let (indices, values) = (&self.indices[span.clone()], &self.values[span]);
        indices.iter().zip(values).map(|(&j, x)| (j as usize, x.to_f64()))
    }

    /// `out_i = sum_k values[k] weights[indices[k]]` over the entries `k` of the `i`-th of `rows`.
    pub fn dots(self, rows: impl Iterator<Item = Range<usize>>, weights: &[f64], out: &mut [f64]) {
        #[cfg(target_arch = "x86_64")]
        if super::csr_avx2::available() {
            // SAFETY: the instructions are there.
            return unsafe { super::csr_avx2::dots(self, rows, weights, out) };
        }
        let mut rows = rows.zip(out);
        vectorize(
            #[inline(always)]
            || {
                for (row, out) in rows.by_ref() {
                    *out = self.dot(row, weights);
                }
            },
        );
    }

    /// `out[indices[k]] += g_i f(values[k])` for the entries `k` of the `i`-th of `rows`.
    pub fn scatter(
        self,
        rows: impl Iterator<Item = Range<usize>>,
        g: &[f64],
        out: &mut [f64],
        f: impl Fn(f64) -> f64 + Copy,
    ) {
        #[cfg(target_arch = "x86_64")]
        if super::csr_avx2::available() {
            // SAFETY: the instructions are there.
            return unsafe { super::csr_avx2::scatter(self, rows, g, out, f) };
        }
        let mut rows = rows.zip(g);
        vectorize(
            #[inline(always)]
            || {
                for (row, &g) in rows.by_ref() {
                    self.scatter_row(row, g, out, f);
                }
            },
        );
    }

    /// Lower triangle of `out += sum_i d_i x_i x_i^T` over `rows`, with `columns` numbers in a row of `out`.
    pub fn gram(self, rows: impl Iterator<Item = Range<usize>>, d: &[f64], columns: usize, out: &mut [f64]) {
        #[cfg(target_arch = "x86_64")]
        if super::csr_avx2::available() {
            // SAFETY: the instructions are there.
            return unsafe { super::csr_avx2::gram(self, rows, d, columns, out) };
        }
        for (row, &d) in rows.zip(d) {
            self.gram_row(row, d, columns, out);
        }
    }

    #[inline(always)]
    pub(super) fn gram_row(self, row: Range<usize>, d: f64, columns: usize, out: &mut [f64]) {
        for (position, (j, x)) in self.row(row.clone()).enumerate() {
            let until = row.start..row.start + position + 1;
            self.scatter_row(until, d * x, &mut out[j * columns..(j + 1) * columns], |y| y);
        }
    }

    #[inline(always)]
    pub(super) fn dot(self, row: Range<usize>, weights: &[f64]) -> f64 {
        let (index_blocks, index_rest) = self.indices[row.clone()].as_chunks::<LANES>();
        let (value_blocks, value_rest) = self.values[row].as_chunks::<LANES>();
        let mut sums = [0.0; LANES];
        for (j, x) in index_blocks.iter().zip(value_blocks) {
            for lane in 0..LANES {
                sums[lane] = x[lane].to_f64().mul_add(weights[j[lane] as usize], sums[lane]);
            }
        }
        // Each lane by its number, so that the sums stay in registers.
        for (lane, sum) in sums.iter_mut().enumerate().take(LANES - 1) {
            let (Some(&j), Some(x)) = (index_rest.get(lane), value_rest.get(lane)) else { break };
            *sum = x.to_f64().mul_add(weights[j as usize], *sum);
        }
        let mut width = LANES / 2;
        while width > 0 {
            for lane in 0..width {
                sums[lane] += sums[lane + width];
            }
            width /= 2;
        }
        sums[0]
    }

    #[inline(always)]
    pub(super) fn scatter_row(self, row: Range<usize>, g: f64, out: &mut [f64], f: impl Fn(f64) -> f64) {
        for (j, x) in self.row(row) {
            out[j] += f(x) * g;
        }
    }
}
