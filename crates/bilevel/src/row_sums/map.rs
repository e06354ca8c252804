//! Maps that are means over rows.

use super::{RowSumLoss, each_row, mean_of_numbers};
use crate::lower::{GradientMap, StochasticMap};
use crate::sample::Sample;
use crate::vector;

/// A map with `Phi_hat(w, zeta) = R(w) + mean over i in zeta of A_i^T c_i(w)`, and `d1Phi_hat^T v` of the same form with
/// the derivative of `c_i`. Samples are rows; all of them are [`Sample::Full`].
///
/// The default bodies are those of `R = 0` and `A_i = I`, with as many numbers as `w` has.
pub trait RowSums: StochasticMap {
    /// Numbers `c_i` of a row.
    fn width(&self) -> usize {
        self.dims().w
    }

    /// `out = mean over i in zeta of A_i^T (c_i(w) - memory_i)`, and `fresh = c_i(w)`, row after row of `zeta`.
    fn apply_change(
        &self,
        w: &[f64],
        lambda: &[f64],
        zeta: &Sample,
        memory: &[f64],
        fresh: &mut [f64],
        out: &mut [f64],
    ) {
        let size = self.size(zeta);
        each_row(zeta, size, memory, fresh, out, |row, numbers| self.apply(w, lambda, row, numbers));
    }

    /// The same of what `c_i` becomes in `d1Phi_hat(w)^T v`.
    #[allow(clippy::too_many_arguments)]
    fn vjp_w_change(
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
        each_row(zeta, size, memory, fresh, out, |row, numbers| self.vjp_w(w, lambda, row, v, numbers));
    }

    /// [`apply_change`](Self::apply_change) and [`vjp_w_change`](Self::vjp_w_change), in one visit of the sample where that
    /// can be; pairs belong to the one and to the other.
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
        let ([of_map, of_product], [map, product]) = (fresh, out);
        self.apply_change(w, lambda, zeta, memory[0], of_map, map);
        self.vjp_w_change(w, lambda, zeta, v, memory[1], of_product, product);
    }

    /// `out = mean over i in zeta of A_i^T numbers_i`.
    fn mean_of_rows(&self, zeta: &Sample, numbers: &[f64], out: &mut [f64]) {
        mean_of_numbers(self.size(zeta), numbers, out);
    }

    /// `out += R(w)`.
    fn add_apply_rest(&self, _w: &[f64], _lambda: &[f64], _out: &mut [f64]) {}

    /// `out +=` what `R` is in `d1Phi^T v`.
    fn add_vjp_w_rest(&self, _w: &[f64], _lambda: &[f64], _v: &[f64], _out: &mut [f64]) {}
}

/// `w - map_step grad g`: the numbers are those of the loss, `A_i` is `-map_step` times its own.
impl<L: RowSumLoss + ?Sized> RowSums for GradientMap<'_, L> {
    fn width(&self) -> usize {
        self.loss.width()
    }

    fn apply_change(
        &self,
        w: &[f64],
        lambda: &[f64],
        zeta: &Sample,
        memory: &[f64],
        fresh: &mut [f64],
        out: &mut [f64],
    ) {
        self.loss.gradient_change(w, lambda, zeta, memory, fresh, out);
        vector::scale(-self.map_step, out);
    }

    fn vjp_w_change(
        &self,
        w: &[f64],
        lambda: &[f64],
        zeta: &Sample,
        v: &[f64],
        memory: &[f64],
        fresh: &mut [f64],
        out: &mut [f64],
    ) {
        self.loss.product_change(w, lambda, zeta, v, memory, fresh, out);
        vector::scale(-self.map_step, out);
    }

    fn changes(
        &self,
        w: &[f64],
        lambda: &[f64],
        zeta: &Sample,
        v: &[f64],
        memory: [&[f64]; 2],
        fresh: [&mut [f64]; 2],
        [map, product]: [&mut [f64]; 2],
    ) {
        self.loss.changes(w, lambda, zeta, v, memory, fresh, [&mut *map, &mut *product]);
        vector::scale(-self.map_step, map);
        vector::scale(-self.map_step, product);
    }

    fn mean_of_rows(&self, zeta: &Sample, numbers: &[f64], out: &mut [f64]) {
        self.loss.mean_of_rows(zeta, numbers, out);
        vector::scale(-self.map_step, out);
    }

    fn add_apply_rest(&self, w: &[f64], lambda: &[f64], out: &mut [f64]) {
        vector::axpy(1.0, w, out);
        self.loss.add_gradient_rest(-self.map_step, w, lambda, out);
    }

    fn add_vjp_w_rest(&self, w: &[f64], lambda: &[f64], v: &[f64], out: &mut [f64]) {
        vector::axpy(1.0, v, out);
        self.loss.add_product_rest(-self.map_step, w, lambda, v, out);
    }
}
