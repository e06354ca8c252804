//! Losses that are means over rows.

use super::{each_row, mean_of_numbers};
use crate::lower::StochasticLoss;
use crate::sample::Sample;

/// A loss with `grad_w g_hat(w, zeta) = R(w) + mean over i in zeta of A_i^T c_i(w)`; the same for its Hessian times `v`.
///
/// Default bodies as those of [`RowSums`](super::RowSums).
pub trait RowSumLoss: StochasticLoss {
    /// Numbers `c_i` of a row.
    fn width(&self) -> usize {
        self.dims().w
    }

    /// `out = mean over i in zeta of A_i^T (c_i(w) - memory_i)`, and `fresh = c_i(w)`, row after row of `zeta`.
    fn gradient_change(
        &self,
        w: &[f64],
        lambda: &[f64],
        zeta: &Sample,
        memory: &[f64],
        fresh: &mut [f64],
        out: &mut [f64],
    ) {
        let size = self.size(zeta);
        each_row(zeta, size, memory, fresh, out, |row, numbers| self.gradient_only(w, lambda, row, numbers));
    }

    /// The same of what `c_i` becomes in the Hessian at `w` times `v`.
    #[allow(clippy::too_many_arguments)]
    fn product_change(
        &self,
        w: &[f64],
        lambda: &[f64],
        zeta: &Sample,
        v: &[f64],
        memory: &[f64],
        fresh: &mut [f64],
        out: &mut [f64],
    ) {
        let size = self.size(zeta);
        each_row(zeta, size, memory, fresh, out, |row, numbers| self.hessian_product(w, lambda, row, v, numbers));
    }

    /// [`gradient_change`](Self::gradient_change) and [`product_change`](Self::product_change), in one visit of the sample
    /// where that can be; pairs belong to the one and to the other.
    #[allow(clippy::too_many_arguments)]
    fn changes(
        &self,
        w: &[f64],
        lambda: &[f64],
        zeta: &Sample,
        v: &[f64],
        memory: [&[f64]; 2],
        fresh: [&mut [f64]; 2],
        out: [&mut [f64]; 2],
    ) {
        let ([of_gradient, of_product], [gradient, product]) = (fresh, out);
        self.gradient_change(w, lambda, zeta, memory[0], of_gradient, gradient);
        self.product_change(w, lambda, zeta, v, memory[1], of_product, product);
    }

    /// `out = mean over i in zeta of A_i^T numbers_i`.
    fn mean_of_rows(&self, zeta: &Sample, numbers: &[f64], out: &mut [f64]) {
        mean_of_numbers(self.size(zeta), numbers, out);
    }

    /// `out += factor R(w)`.
    fn add_gradient_rest(&self, _factor: f64, _w: &[f64], _lambda: &[f64], _out: &mut [f64]) {}

    /// `out += factor` times what `R` is in the Hessian at `w` times `v`.
    fn add_product_rest(&self, _factor: f64, _w: &[f64], _lambda: &[f64], _v: &[f64], _out: &mut [f64]) {}
}
