//! A problem in other units: `w = S y` with an invertible `S`.
//!
//! Gradient steps are only as good as the worst condition number, and penalties that differ by factors of thousands
//! make it terrible. Dividing every coordinate by the square root of its curvature mends most of that, and `S = L^{-T}`
//! with the Cholesky factor `L` of a Hessian nearby, that of some of the rows for instance, nearly all of it. As a change
//! of variables, not as a matrix inside a solver, it leaves everything else as it was: the map stays symmetric, it contracts
//! in the plain norm, and all bounds of the theory hold with the constants of the scaled problem.

use crate::lower::{CrossJvp, Dims, StochasticLoss};
use crate::row_sums::RowSumLoss;
use crate::sample::{Rng, Sample};
use crate::upper::UpperObjective;
use crate::vector;

/// An invertible matrix `S` of units, applied in place.
pub trait Units: Sync {
    /// `x <- S x`.
    fn apply(&self, x: &mut [f64]);

    /// `x <- S^T x`.
    fn apply_transpose(&self, x: &mut [f64]);

    /// `x <- S^{-1} x`.
    fn apply_inverse(&self, x: &mut [f64]);
}

/// `S = diag(scale)`, positive.
impl Units for [f64] {
    fn apply(&self, x: &mut [f64]) {
        x.iter_mut().zip(self).for_each(|(x, s)| *x *= s);
    }

    fn apply_transpose(&self, x: &mut [f64]) {
        self.apply(x);
    }

    fn apply_inverse(&self, x: &mut [f64]) {
        x.iter_mut().zip(self).for_each(|(x, s)| *x /= s);
    }
}

/// `S = L^{-T}` with the Cholesky factor of a matrix `A = L L^T`: the quadratic form of `A` becomes that of the identity.
#[derive(Debug, Clone)]
pub struct Whitening {
    /// Rows of `L`, each up to and without the diagonal, one after the other.
    below: Vec<f64>,
    diagonal: Vec<f64>,
}

impl Whitening {
    /// From the entries `L_ij`, `i >= j`; the diagonal must be positive.
    pub fn new(dim: usize, factor: impl Fn(usize, usize) -> f64) -> Self {
        let below = (0..dim).flat_map(|i| (0..i).map(move |j| (i, j))).map(|(i, j)| factor(i, j)).collect();
        Whitening { below, diagonal: (0..dim).map(|i| factor(i, i)).collect() }
    }

    fn row(&self, i: usize) -> &[f64] {
        &self.below[i * i.saturating_sub(1) / 2..][..i]
    }
}

impl Units for Whitening {
    fn apply(&self, x: &mut [f64]) {
        for i in (0..x.len()).rev() {
            let (before, rest) = x.split_at_mut(i);
            rest[0] /= self.diagonal[i];
            vector::axpy(-rest[0], self.row(i), before);
        }
    }

    fn apply_transpose(&self, x: &mut [f64]) {
        for i in 0..x.len() {
            x[i] = (x[i] - vector::dot(self.row(i), &x[..i])) / self.diagonal[i];
        }
    }

    fn apply_inverse(&self, x: &mut [f64]) {
        for i in 0..x.len() {
            let (before, rest) = x.split_at_mut(i);
            vector::axpy(rest[0], self.row(i), before);
            rest[0] *= self.diagonal[i];
        }
    }
}

/// The function `y -> g(S y)`: as a lower level if `g` is one, and as an upper level if `g` is one.
///
/// Adjoints scale with it: `(S^T H S) v = S^T grad1 E` has the solution `v = S^{-1} u`, where `H u = grad1 E`.
#[derive(Debug, Clone, Copy)]
pub struct Scaled<'a, G: ?Sized, S: ?Sized = [f64]> {
    /// The function in its own units.
    pub inner: &'a G,
    /// The units `S`: positive factors, one for each coordinate, or a matrix.
    pub scale: &'a S,
}

impl<G: ?Sized, S: Units + ?Sized> Scaled<'_, G, S> {
    /// `S y`: the variable in its own units.
    pub fn unscaled(&self, y: &[f64]) -> Vec<f64> {
        let mut w = y.to_vec();
        self.scale.apply(&mut w);
        w
    }
}

impl<G: StochasticLoss + ?Sized, S: Units + ?Sized> StochasticLoss for Scaled<'_, G, S> {
    fn dims(&self) -> Dims {
        self.inner.dims()
    }

    fn draw(&self, batch: usize, rng: &mut Rng, sample: &mut Sample) {
        self.inner.draw(batch, rng, sample);
    }

    fn size(&self, zeta: &Sample) -> usize {
        self.inner.size(zeta)
    }

    fn cross_size(&self, zeta: &Sample) -> usize {
        self.inner.cross_size(zeta)
    }

    fn is_parallel(&self) -> bool {
        self.inner.is_parallel()
    }

    fn value(&self, y: &[f64], lambda: &[f64], zeta: &Sample) -> f64 {
        self.inner.value(&self.unscaled(y), lambda, zeta)
    }

    fn gradient(&self, y: &[f64], lambda: &[f64], zeta: &Sample, out: &mut [f64]) -> f64 {
        let value = self.inner.gradient(&self.unscaled(y), lambda, zeta, out);
        self.scale.apply_transpose(out);
        value
    }

    fn gradient_only(&self, y: &[f64], lambda: &[f64], zeta: &Sample, out: &mut [f64]) {
        self.inner.gradient_only(&self.unscaled(y), lambda, zeta, out);
        self.scale.apply_transpose(out);
    }

    fn hessian_product(&self, y: &[f64], lambda: &[f64], zeta: &Sample, v: &[f64], out: &mut [f64]) {
        self.inner.hessian_product(&self.unscaled(y), lambda, zeta, &self.unscaled(v), out);
        self.scale.apply_transpose(out);
    }

    fn cross_product(&self, y: &[f64], lambda: &[f64], zeta: &Sample, v: &[f64], out: &mut [f64]) {
        self.inner.cross_product(&self.unscaled(y), lambda, zeta, &self.unscaled(v), out);
    }

    fn directions(&self, y: &[f64], lambda: &[f64], zeta: &Sample, v: &[f64], out: [&mut [f64]; 3]) {
        let (w, v) = (self.unscaled(y), self.unscaled(v));
        let [gradient, product, cross] = out;
        self.inner.directions(&w, lambda, zeta, &v, [&mut *gradient, &mut *product, cross]);
        self.scale.apply_transpose(gradient);
        self.scale.apply_transpose(product);
    }
}

impl<G: CrossJvp + ?Sized, S: Units + ?Sized> CrossJvp for Scaled<'_, G, S> {
    fn cross_jvp(&self, y: &[f64], lambda: &[f64], zeta: &Sample, x: &[f64], out: &mut [f64]) {
        self.inner.cross_jvp(&self.unscaled(y), lambda, zeta, x, out);
        self.scale.apply_transpose(out);
    }
}

impl<G: RowSumLoss + ?Sized, S: Units + ?Sized> RowSumLoss for Scaled<'_, G, S> {
    fn width(&self) -> usize {
        self.inner.width()
    }

    fn gradient_change(
        &self,
        y: &[f64],
        lambda: &[f64],
        zeta: &Sample,
        memory: &[f64],
        fresh: &mut [f64],
        out: &mut [f64],
    ) {
        self.inner.gradient_change(&self.unscaled(y), lambda, zeta, memory, fresh, out);
        self.scale.apply_transpose(out);
    }

    fn product_change(
        &self,
        y: &[f64],
        lambda: &[f64],
        zeta: &Sample,
        v: &[f64],
        memory: &[f64],
        fresh: &mut [f64],
        out: &mut [f64],
    ) {
        self.inner.product_change(&self.unscaled(y), lambda, zeta, &self.unscaled(v), memory, fresh, out);
        self.scale.apply_transpose(out);
    }

    fn changes(
        &self,
        y: &[f64],
        lambda: &[f64],
        zeta: &Sample,
        v: &[f64],
        memory: [&[f64]; 2],
        fresh: [&mut [f64]; 2],
        [gradient, product]: [&mut [f64]; 2],
    ) {
        let (w, v) = (self.unscaled(y), self.unscaled(v));
        self.inner.changes(&w, lambda, zeta, &v, memory, fresh, [&mut *gradient, &mut *product]);
        self.scale.apply_transpose(gradient);
        self.scale.apply_transpose(product);
    }

    fn mean_of_rows(&self, zeta: &Sample, numbers: &[f64], out: &mut [f64]) {
        self.inner.mean_of_rows(zeta, numbers, out);
        self.scale.apply_transpose(out);
    }

    fn add_gradient_rest(&self, factor: f64, y: &[f64], lambda: &[f64], out: &mut [f64]) {
        let mut rest = vec![0.0; out.len()];
        self.inner.add_gradient_rest(factor, &self.unscaled(y), lambda, &mut rest);
        self.scale.apply_transpose(&mut rest);
        vector::axpy(1.0, &rest, out);
    }

    fn add_product_rest(&self, factor: f64, y: &[f64], lambda: &[f64], v: &[f64], out: &mut [f64]) {
        let mut rest = vec![0.0; out.len()];
        self.inner.add_product_rest(factor, &self.unscaled(y), lambda, &self.unscaled(v), &mut rest);
        self.scale.apply_transpose(&mut rest);
        vector::axpy(1.0, &rest, out);
    }
}

impl<G: UpperObjective + ?Sized, S: Units + ?Sized> UpperObjective for Scaled<'_, G, S> {
    fn dims(&self) -> Dims {
        self.inner.dims()
    }

    fn draw(&self, batch: usize, rng: &mut Rng, sample: &mut Sample) {
        self.inner.draw(batch, rng, sample);
    }

    fn size(&self, xi: &Sample) -> usize {
        self.inner.size(xi)
    }

    fn value(&self, y: &[f64], lambda: &[f64], xi: &Sample) -> f64 {
        self.inner.value(&self.unscaled(y), lambda, xi)
    }

    fn gradients(&self, y: &[f64], lambda: &[f64], xi: &Sample, grad_w: &mut [f64], grad_lambda: &mut [f64]) -> f64 {
        let value = self.inner.gradients(&self.unscaled(y), lambda, xi, grad_w, grad_lambda);
        self.scale.apply_transpose(grad_w);
        value
    }
}
