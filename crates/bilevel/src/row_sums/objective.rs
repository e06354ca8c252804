//! Upper objectives that are means over rows.

use super::each_row;
use crate::sample::Sample;
use crate::upper::UpperObjective;

/// An objective with `grad1 E_hat(w, xi) = mean over i in xi of A_i^T c_i(w)`.
///
/// The default bodies are those of `A_i = I`, with as many numbers as `w` has.
pub trait RowSumObjective: UpperObjective {
    /// Numbers `c_i` of a row. With fewer than `w` has, `grad2 E` must depend on no sample.
    fn width(&self) -> usize {
        self.dims().w
    }

    /// `out = mean over i in xi of A_i^T (c_i(w) - memory_i)`, and `fresh = c_i(w)`, row after row of `xi`.
    fn gradient_change(
        &self,
        w: &[f64],
        lambda: &[f64],
        xi: &Sample,
        memory: &[f64],
        fresh: &mut [f64],
        out: &mut [f64],
    ) {
        let mut ignored = vec![0.0; lambda.len()];
        each_row(xi, self.size(xi), memory, fresh, out, |row, numbers| {
            self.gradients(w, lambda, row, numbers, &mut ignored);
        });
    }

    /// `out = grad2 E(w, lambda)`, of an objective with fewer numbers than `w` has.
    fn gradient_lambda(&self, _w: &[f64], _lambda: &[f64], out: &mut [f64]) {
        out.fill(0.0);
    }
}
