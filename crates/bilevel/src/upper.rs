//! The upper level: the objective `E(w, lambda)` whose value at `w = w(lambda)` is minimised.

use crate::lower::Dims;
use crate::sample::{Rng, Sample};
use crate::vector;

/// Upper objective `E(w, lambda) = E_xi[E_hat(w, lambda, xi)]`.
pub trait UpperObjective: Sync {
    /// Lengths of `w` and `lambda`.
    fn dims(&self) -> Dims;

    /// Draws a sample of `batch` elements; reuses the buffers of `sample` where it can.
    fn draw(&self, batch: usize, rng: &mut Rng, sample: &mut Sample);

    /// Number of rows that evaluating on `xi` visits.
    fn size(&self, xi: &Sample) -> usize;

    /// `E_hat(w, lambda, xi)`.
    fn value(&self, w: &[f64], lambda: &[f64], xi: &Sample) -> f64;

    /// `grad_w = grad1 E_hat`, `grad_lambda = grad2 E_hat`, both overwritten; returns `E_hat`.
    fn gradients(&self, w: &[f64], lambda: &[f64], xi: &Sample, grad_w: &mut [f64], grad_lambda: &mut [f64]) -> f64;

    /// [`gradients`](Self::gradients), without the value where that saves work.
    fn gradients_only(&self, w: &[f64], lambda: &[f64], xi: &Sample, grad_w: &mut [f64], grad_lambda: &mut [f64]) {
        self.gradients(w, lambda, xi, grad_w, grad_lambda);
    }

    /// The [`gradients`](Self::gradients) at the first of two points without those at the second, on one sample.
    fn gradients_change(
        &self,
        w: [&[f64]; 2],
        lambda: [&[f64]; 2],
        xi: &Sample,
        grad_w: &mut [f64],
        grad_lambda: &mut [f64],
    ) {
        let [mut of_w, mut of_lambda] = [grad_w.len(), grad_lambda.len()].map(|length| vec![0.0; length]);
        self.gradients_only(w[1], lambda[1], xi, &mut of_w, &mut of_lambda);
        self.gradients_only(w[0], lambda[0], xi, grad_w, grad_lambda);
        vector::axpy(-1.0, &of_w, grad_w);
        vector::axpy(-1.0, &of_lambda, grad_lambda);
    }
}
