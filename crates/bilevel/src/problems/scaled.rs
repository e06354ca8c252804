//! A problem in other units: `w = scale * y`, one factor a coordinate.
//!
//! Gradient steps are only as good as the worst condition number, and penalties that differ by factors of thousands
//! make it terrible. Dividing every coordinate by the square root of its curvature mends most of that. As a change of
//! variables, not as a matrix inside a solver, it leaves everything else as it was: the map stays symmetric, it contracts
//! in the plain norm, and all bounds of the theory hold with the constants of the scaled problem.

use crate::lower::{Dims, StochasticLoss};
use crate::sample::{Rng, Sample};
use crate::upper::UpperObjective;

/// The function `y -> g(scale * y)`: as a lower level if `g` is one, and as an upper level if `g` is one.
///
/// Adjoints scale with it: `(scale H scale) v = scale grad1 E` has the solution `v = u / scale`, where `H u = grad1 E`.
#[derive(Debug, Clone, Copy)]
pub struct Scaled<'a, G: ?Sized> {
    /// The function in its own units.
    pub inner: &'a G,
    /// Positive factors, one for each coordinate.
    pub scale: &'a [f64],
}

impl<G: ?Sized> Scaled<'_, G> {
    /// `scale * y`: the variable in its own units.
    pub fn unscaled(&self, y: &[f64]) -> Vec<f64> {
        y.iter().zip(self.scale).map(|(y, s)| y * s).collect()
    }

    fn scale_in_place(&self, out: &mut [f64]) {
        out.iter_mut().zip(self.scale).for_each(|(o, s)| *o *= s);
    }
}

impl<G: StochasticLoss + ?Sized> StochasticLoss for Scaled<'_, G> {
    fn dims(&self) -> Dims {
        self.inner.dims()
    }

    fn draw(&self, batch: usize, rng: &mut Rng, sample: &mut Sample) {
        self.inner.draw(batch, rng, sample);
    }

    fn size(&self, zeta: &Sample) -> usize {
        self.inner.size(zeta)
    }

    fn value(&self, y: &[f64], lambda: &[f64], zeta: &Sample) -> f64 {
        self.inner.value(&self.unscaled(y), lambda, zeta)
    }

    fn gradient(&self, y: &[f64], lambda: &[f64], zeta: &Sample, out: &mut [f64]) -> f64 {
        let value = self.inner.gradient(&self.unscaled(y), lambda, zeta, out);
        self.scale_in_place(out);
        value
    }

    fn gradient_only(&self, y: &[f64], lambda: &[f64], zeta: &Sample, out: &mut [f64]) {
        self.inner.gradient_only(&self.unscaled(y), lambda, zeta, out);
        self.scale_in_place(out);
    }

    fn hessian_product(&self, y: &[f64], lambda: &[f64], zeta: &Sample, v: &[f64], out: &mut [f64]) {
        self.inner.hessian_product(&self.unscaled(y), lambda, zeta, &self.unscaled(v), out);
        self.scale_in_place(out);
    }

    fn cross_product(&self, y: &[f64], lambda: &[f64], zeta: &Sample, v: &[f64], out: &mut [f64]) {
        self.inner.cross_product(&self.unscaled(y), lambda, zeta, &self.unscaled(v), out);
    }

    fn directions(
        &self,
        y: &[f64],
        lambda: &[f64],
        zeta: &Sample,
        v: &[f64],
        gradient: &mut [f64],
        hessian_product: &mut [f64],
        cross_product: &mut [f64],
    ) -> f64 {
        let (w, v) = (self.unscaled(y), self.unscaled(v));
        let value = self.inner.directions(&w, lambda, zeta, &v, gradient, hessian_product, cross_product);
        self.scale_in_place(gradient);
        self.scale_in_place(hessian_product);
        value
    }
}

impl<G: UpperObjective + ?Sized> UpperObjective for Scaled<'_, G> {
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
        self.scale_in_place(grad_w);
        value
    }
}
