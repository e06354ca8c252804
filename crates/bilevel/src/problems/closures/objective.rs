//! Upper objectives by closures.

use super::{RowGradients, RowValue, check, given, mean};
use crate::error::Result;
use crate::lower::Dims;
use crate::row_sums::RowSumObjective;
use crate::sample::{Rng, Sample, Sampling};
use crate::upper::UpperObjective;

/// An upper objective `E = (1/n) sum_i E_i` by closures; made by [`RowObjective::builder`].
pub struct RowObjective<'a> {
    dims: Dims,
    rows: usize,
    value: RowValue<'a>,
    gradients: RowGradients<'a>,
}

/// The closures of a [`RowObjective`] so far.
pub struct RowObjectiveBuilder<'a> {
    dims: Dims,
    rows: usize,
    value: Option<RowValue<'a>>,
    gradients: Option<RowGradients<'a>>,
}

impl<'a> RowObjective<'a> {
    /// Starts an objective over `rows` rows.
    pub fn builder(dims: Dims, rows: usize) -> RowObjectiveBuilder<'a> {
        RowObjectiveBuilder { dims, rows, value: None, gradients: None }
    }
}

impl<'a> RowObjectiveBuilder<'a> {
    part! {
        /// `E_i(w, lambda)`.
        value: Fn(usize, &[f64], &[f64]) -> f64
    }
    part! {
        /// `grad_w = grad1 E_i` in R^d and `grad_lambda = grad2 E_i` in R^m, both overwritten; returns `E_i`.
        gradients: Fn(usize, &[f64], &[f64], &mut [f64], &mut [f64]) -> f64
    }

    /// The objective.
    ///
    /// # Errors
    /// Input, where a closure is missing or the sizes are impossible.
    pub fn build(self) -> Result<RowObjective<'a>> {
        check(self.dims, self.rows)?;
        Ok(RowObjective {
            dims: self.dims,
            rows: self.rows,
            value: given(self.value, "value")?,
            gradients: given(self.gradients, "gradients")?,
        })
    }
}

impl UpperObjective for RowObjective<'_> {
    fn dims(&self) -> Dims {
        self.dims
    }

    fn draw(&self, batch: usize, rng: &mut Rng, sample: &mut Sample) {
        Sampling::Rows.draw(self.rows, batch, rng, sample);
    }

    fn size(&self, xi: &Sample) -> usize {
        xi.rows_in(self.rows)
    }

    fn value(&self, w: &[f64], lambda: &[f64], xi: &Sample) -> f64 {
        mean(self.rows, xi, &mut [], |i, _| (self.value)(i, w, lambda))
    }

    fn gradients(&self, w: &[f64], lambda: &[f64], xi: &Sample, grad_w: &mut [f64], grad_lambda: &mut [f64]) -> f64 {
        let mut both = vec![0.0; w.len() + lambda.len()];
        let value = mean(self.rows, xi, &mut both, |i, both| {
            let (grad_w, grad_lambda) = both.split_at_mut(w.len());
            (self.gradients)(i, w, lambda, grad_w, grad_lambda)
        });
        grad_w.copy_from_slice(&both[..w.len()]);
        grad_lambda.copy_from_slice(&both[w.len()..]);
        value
    }
}

impl RowSumObjective for RowObjective<'_> {}

debug!(RowObjective);
debug!(RowObjectiveBuilder);
