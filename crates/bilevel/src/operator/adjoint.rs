//! The linear system of the adjoint as an operator.

use super::{RandomOperator, RowSumOperator};
use crate::lower::StochasticMap;
use crate::row_sums::RowSums;
use crate::sample::{Rng, Sample};
use crate::vector;
use crate::work::Work;

/// The linear system: `T_hat(v, zeta) = Psi_hat_w(v, zeta) = d1Phi_hat(w, lambda, zeta)^T v + grad1 E` (theory, section 2).
#[derive(Debug)]
pub struct AdjointOperator<'a, M: ?Sized> {
    /// The map `Phi`.
    pub map: &'a M,
    /// The lower variable at which the system is posed.
    pub w: &'a [f64],
    /// The hyperparameters.
    pub lambda: &'a [f64],
    /// The right-hand side `grad1 E(w, lambda)`.
    pub grad_w: &'a [f64],
}

impl<M: StochasticMap + ?Sized> RandomOperator for AdjointOperator<'_, M> {
    fn dim(&self) -> usize {
        self.map.dims().w
    }

    fn draw(&self, batch: usize, rng: &mut Rng, sample: &mut Sample) {
        self.map.draw(batch, rng, sample);
    }

    fn apply(&mut self, v: &[f64], sample: &Sample, out: &mut [f64]) -> Work {
        self.map.vjp_w(self.w, self.lambda, sample, v, out);
        vector::axpy(1.0, self.grad_w, out);
        Work::hessian_product(self.map.size(sample))
    }

    fn difference(&mut self, v: &[f64], anchor: &[f64], sample: &Sample, out: &mut [f64]) -> Work {
        let apart: Vec<f64> = v.iter().zip(anchor).map(|(v, anchor)| v - anchor).collect();
        self.map.vjp_w(self.w, self.lambda, sample, &apart, out);
        Work::hessian_product(self.map.size(sample))
    }
}

impl<M: RowSums + ?Sized> RowSumOperator for AdjointOperator<'_, M> {
    fn rows(&self) -> usize {
        self.map.size(&Sample::Full)
    }

    fn width(&self) -> usize {
        self.map.width()
    }

    fn change(&mut self, v: &[f64], sample: &Sample, memory: &[f64], fresh: &mut [f64], out: &mut [f64]) -> Work {
        self.map.vjp_w_change(self.w, self.lambda, sample, v, memory, fresh, out);
        Work::hessian_product(self.map.size(sample))
    }

    fn mean_of_rows(&self, sample: &Sample, numbers: &[f64], out: &mut [f64]) {
        self.map.mean_of_rows(sample, numbers, out);
    }

    fn add_rest(&self, v: &[f64], out: &mut [f64]) {
        self.map.add_vjp_w_rest(self.w, self.lambda, v, out);
        vector::axpy(1.0, self.grad_w, out);
    }
}
