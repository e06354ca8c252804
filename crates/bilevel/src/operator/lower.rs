//! The lower level as an operator.

use super::{RandomOperator, RowSumOperator};
use crate::lower::StochasticMap;
use crate::row_sums::RowSums;
use crate::sample::{Rng, Sample};
use crate::work::Work;

/// The lower level: `T_hat(w, zeta) = Phi_hat(w, lambda, zeta)`.
#[derive(Debug)]
pub struct LowerOperator<'a, M: ?Sized> {
    /// The map `Phi`.
    pub map: &'a M,
    /// The hyperparameters, held fixed.
    pub lambda: &'a [f64],
}

impl<M: StochasticMap + ?Sized> RandomOperator for LowerOperator<'_, M> {
    fn dim(&self) -> usize {
        self.map.dims().w
    }

    fn draw(&self, batch: usize, rng: &mut Rng, sample: &mut Sample) {
        self.map.draw(batch, rng, sample);
    }

    fn apply(&mut self, w: &[f64], sample: &Sample, out: &mut [f64]) -> Work {
        self.map.apply(w, self.lambda, sample, out);
        Work::gradient(self.map.size(sample))
    }
}

impl<M: RowSums + ?Sized> RowSumOperator for LowerOperator<'_, M> {
    fn rows(&self) -> usize {
        self.map.size(&Sample::Full)
    }

    fn width(&self) -> usize {
        self.map.width()
    }

    fn change(&mut self, w: &[f64], sample: &Sample, memory: &[f64], fresh: &mut [f64], out: &mut [f64]) -> Work {
        self.map.apply_change(w, self.lambda, sample, memory, fresh, out);
        Work::gradient(self.map.size(sample))
    }

    fn mean_of_rows(&self, sample: &Sample, numbers: &[f64], out: &mut [f64]) {
        self.map.mean_of_rows(sample, numbers, out);
    }

    fn add_rest(&self, w: &[f64], out: &mut [f64]) {
        self.map.add_apply_rest(w, self.lambda, out);
    }
}
