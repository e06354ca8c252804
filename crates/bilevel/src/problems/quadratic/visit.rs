//! One visit of a sample for all products that are asked for: its coefficients are added up, and the sum is multiplied.

use std::ops::Range;

use super::Quadratic;
use super::coefficients::{BLOCK, Mixed, Symmetric};
use super::sums::Sums;
use crate::company;
use crate::lower::StochasticLoss;
use crate::sample::Sample;
use crate::scratch::scratch;
use crate::vector;

/// What `[b B]` and its transpose are multiplied with: `of_b b + B lambda`, and `[b B]' x`.
pub(super) struct MixedFactors<'m> {
    pub of_b: f64,
    pub lambda: &'m [f64],
    pub x: &'m [f64],
}

/// Sums over the rows of a sample; `weight` times them are the means.
pub(super) struct Products<'p, const K: usize> {
    weight: f64,
    symmetric: [&'p mut [f64]; K],
    plain: &'p [f64],
    transposed: &'p [f64],
}

impl<const K: usize> Products<'_, K> {
    /// `out = A x[k]`.
    pub(super) fn put_symmetric(&self, k: usize, out: &mut [f64]) {
        vector::scaled_copy(self.weight, &self.symmetric[k][..out.len()], out);
    }

    /// `out -= of_b b + B lambda`.
    pub(super) fn subtract_plain(&self, out: &mut [f64]) {
        vector::axpy(-self.weight, &self.plain[..out.len()], out);
    }

    /// `out = -B' x`.
    pub(super) fn put_cross(&self, out: &mut [f64]) {
        vector::scaled_copy(-self.weight, &self.transposed[1..], out);
    }
}

impl Products<'_, 2> {
    /// `A x[0] - (of_b b + B lambda)`, `A x[1]` and `-B' x`.
    pub(super) fn put_directions(&self, [gradient, hessian_product, cross_product]: [&mut [f64]; 3]) {
        self.put_symmetric(0, gradient);
        self.subtract_plain(gradient);
        self.put_symmetric(1, hessian_product);
        self.put_cross(cross_product);
    }
}

impl Quadratic {
    /// Hands the products of one visit of a sample to `take`.
    pub(super) fn visit<const K: usize>(
        &self,
        zeta: &Sample,
        x: [&[f64]; K],
        mixed: Option<MixedFactors<'_>>,
        take: impl FnOnce(Products<'_, K>),
    ) {
        let (layout, width, m) = (self.layout, self.layout.width(), self.layout.m);
        let coefficients = layout.part(K > 0, mixed.is_some());
        let (sampled, vectors) = (*zeta != Sample::Full, (2 * K + 2) * width + 2 * (m + 1));
        scratch(vectors + if sampled { coefficients.len() } else { 0 }, |memory: &mut [f64]| {
            let (mut memory, of_sample) = memory.split_at_mut(vectors);
            memory.fill(0.0);
            let mut part = |len: usize| memory.split_off_mut(..len).expect("as long as asked for");
            let x = x.map(|x| {
                let padded = part(width);
                padded[..x.len()].copy_from_slice(x);
                &*padded
            });
            let mut symmetric = Symmetric { x, products: [(); K].map(|()| part(width)) };
            let (right, left) = (part(m + 1), part(width));
            let mut of_mixed = mixed.map(|MixedFactors { of_b, lambda, x }| {
                right[0] = of_b;
                right[1..].copy_from_slice(lambda);
                left[..x.len()].copy_from_slice(x);
                Mixed { right, plain: part(width), left, transposed: part(m + 1) }
            });
            let (mut weight, mut sum) = (1.0, &self.mean[coefficients.clone()]);
            if sampled {
                self.add_up(zeta, coefficients, of_sample);
                sum = of_sample;
                weight = 1.0 / self.size(zeta) as f64;
            }
            layout.add_products(sum, &mut symmetric, of_mixed.as_mut());
            let (plain, transposed) = of_mixed.map_or((&[][..], &[][..]), |mixed| (mixed.plain, mixed.transposed));
            take(Products { weight, symmetric: symmetric.products, plain, transposed });
        });
    }

    /// `sum` becomes that of some of the coefficients over a sample. Two threads read more of the memory in a time than one.
    fn add_up(&self, zeta: &Sample, coefficients: Range<usize>, sum: &mut [f64]) {
        let middle = coefficients.len() / 2 / BLOCK * BLOCK;
        let (first, second) = sum.split_at_mut(middle);
        let middle = coefficients.start + middle;
        let add_up = |part: Range<usize>, sum: &mut [f64]| {
            let mut sums = Sums::new(&self.rows, self.layout.len(), part, sum);
            zeta.for_each_row(self.rows(), |i| sums.add(i));
            sums.finish();
        };
        company::join(|| add_up(coefficients.start..middle, first), || add_up(middle..coefficients.end, second));
    }
}
