//! Maps that are means over rows, each of which enters by a few numbers.
//!
//! The gradient of a generalised linear model on row `i` is `x_i` times one number for each output. Whoever remembers what
//! each row contributed last (SAGA) then keeps `C` numbers a row and not a vector. A mean over rows without such a
//! structure is one too: its numbers are the contribution itself, which is what the default bodies say.

use crate::lower::{GradientMap, StochasticLoss, StochasticMap};
use crate::sample::Sample;

/// A map with `Phi_hat(w, zeta) = R(w) + mean over i in zeta of A_i^T c_i(w)`, and `d1Phi_hat^T v` of the same form with
/// the derivative of `c_i`. Samples are rows; all of them are [`Sample::Full`].
///
/// The default bodies are those of `R = 0` and `A_i = I`, with as many numbers as `w` has.
pub trait RowSums: StochasticMap {
    /// Numbers `c_i` of a row.
    fn width(&self) -> usize {
        self.dims().w
    }

    /// `out = c_i(w)`, row after row of `zeta`.
    fn apply_numbers(&self, w: &[f64], lambda: &[f64], zeta: &Sample, out: &mut [f64]) {
        each_row(zeta, self.size(zeta), out, |row, out| self.apply(w, lambda, row, out));
    }

    /// `out` = what `c_i` becomes in `d1Phi_hat(w)^T v`, row after row of `zeta`.
    fn vjp_w_numbers(&self, w: &[f64], lambda: &[f64], zeta: &Sample, v: &[f64], out: &mut [f64]) {
        each_row(zeta, self.size(zeta), out, |row, out| self.vjp_w(w, lambda, row, v, out));
    }

    /// `out += mean over i in zeta of A_i^T numbers_i`.
    fn add_rows(&self, zeta: &Sample, numbers: &[f64], out: &mut [f64]) {
        add_mean(self.size(zeta), numbers, out);
    }

    /// `out = R(w)`.
    fn apply_rest(&self, _w: &[f64], _lambda: &[f64], out: &mut [f64]) {
        out.fill(0.0);
    }

    /// `out` = what `R` is in `d1Phi^T v`.
    fn vjp_w_rest(&self, _w: &[f64], _lambda: &[f64], _v: &[f64], out: &mut [f64]) {
        out.fill(0.0);
    }
}

/// A loss with `grad_w g_hat(w, zeta) = R(w) + mean over i in zeta of A_i^T c_i(w)`; the same for its Hessian times `v`.
///
/// Default bodies as those of [`RowSums`].
pub trait RowSumLoss: StochasticLoss {
    /// Numbers `c_i` of a row.
    fn width(&self) -> usize {
        self.dims().w
    }

    /// `out = c_i(w)`, row after row of `zeta`.
    fn gradient_numbers(&self, w: &[f64], lambda: &[f64], zeta: &Sample, out: &mut [f64]) {
        each_row(zeta, self.size(zeta), out, |row, out| {
            self.gradient(w, lambda, row, out);
        });
    }

    /// `out` = what `c_i` becomes in the Hessian at `w` times `v`, row after row of `zeta`.
    fn product_numbers(&self, w: &[f64], lambda: &[f64], zeta: &Sample, v: &[f64], out: &mut [f64]) {
        each_row(zeta, self.size(zeta), out, |row, out| self.hessian_product(w, lambda, row, v, out));
    }

    /// `out += mean over i in zeta of A_i^T numbers_i`.
    fn add_rows(&self, zeta: &Sample, numbers: &[f64], out: &mut [f64]) {
        add_mean(self.size(zeta), numbers, out);
    }

    /// `out = R(w)`.
    fn gradient_rest(&self, _w: &[f64], _lambda: &[f64], out: &mut [f64]) {
        out.fill(0.0);
    }

    /// `out` = what `R` is in the Hessian at `w` times `v`.
    fn product_rest(&self, _w: &[f64], _lambda: &[f64], _v: &[f64], out: &mut [f64]) {
        out.fill(0.0);
    }
}

/// `w - map_step grad g`: the numbers are those of the loss, `A_i` is `-map_step` times its own.
impl<L: RowSumLoss + ?Sized> RowSums for GradientMap<'_, L> {
    fn width(&self) -> usize {
        self.loss.width()
    }

    fn apply_numbers(&self, w: &[f64], lambda: &[f64], zeta: &Sample, out: &mut [f64]) {
        self.loss.gradient_numbers(w, lambda, zeta, out);
    }

    fn vjp_w_numbers(&self, w: &[f64], lambda: &[f64], zeta: &Sample, v: &[f64], out: &mut [f64]) {
        self.loss.product_numbers(w, lambda, zeta, v, out);
    }

    fn add_rows(&self, zeta: &Sample, numbers: &[f64], out: &mut [f64]) {
        let mut sum = vec![0.0; out.len()];
        self.loss.add_rows(zeta, numbers, &mut sum);
        crate::vector::axpy(-self.map_step, &sum, out);
    }

    fn apply_rest(&self, w: &[f64], lambda: &[f64], out: &mut [f64]) {
        self.loss.gradient_rest(w, lambda, out);
        crate::vector::xpby(w, -self.map_step, out);
    }

    fn vjp_w_rest(&self, w: &[f64], lambda: &[f64], v: &[f64], out: &mut [f64]) {
        self.loss.product_rest(w, lambda, v, out);
        crate::vector::xpby(v, -self.map_step, out);
    }
}

fn each_row(zeta: &Sample, size: usize, out: &mut [f64], mut evaluate: impl FnMut(&Sample, &mut [f64])) {
    let width = out.len() / size.max(1);
    let mut at = 0;
    zeta.for_each_row(size, |row| {
        evaluate(&Sample::Block(row..row + 1), &mut out[at..at + width]);
        at += width;
    });
}

fn add_mean(size: usize, numbers: &[f64], out: &mut [f64]) {
    for row in numbers.chunks_exact(out.len()) {
        crate::vector::axpy(1.0 / size as f64, row, out);
    }
}
