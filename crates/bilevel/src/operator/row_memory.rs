//! What each row contributed to an operator at one point, and the operator with that contribution taken out.

use super::RandomOperator;
use crate::sample::{Rng, Sample};
use crate::vector;
use crate::work::Work;

/// An operator whose samples are rows: `T_hat(x, zeta) = R(x) + mean over i in zeta of A_i^T c_i(x)`. A memory holds numbers
/// `c_i` of all rows; an empty one stands for zeros.
pub trait RowSumOperator: RandomOperator {
    /// Number of rows.
    fn rows(&self) -> usize;

    /// Numbers `c_i` of a row.
    fn width(&self) -> usize;

    /// `out = mean over i in the sample of A_i^T (c_i(x) - memory_i)` and `fresh = c_i(x)`, row after row of the sample;
    /// returns what it cost.
    fn change(&mut self, x: &[f64], sample: &Sample, memory: &[f64], fresh: &mut [f64], out: &mut [f64]) -> Work;

    /// `out = mean over i in the sample of A_i^T numbers_i`.
    fn mean_of_rows(&self, sample: &Sample, numbers: &[f64], out: &mut [f64]);

    /// `out += R(x)`.
    fn add_rest(&self, x: &[f64], out: &mut [f64]);
}

/// `c_i` of every row, and the mean of `A_i^T c_i`.
#[derive(Debug, Clone, Default)]
pub struct RowMemory {
    /// `C` numbers a row, in the order of the rows.
    pub numbers: Vec<f64>,
    /// Mean over all rows of `A_i^T numbers_i`.
    pub mean: Vec<f64>,
}

impl RowMemory {
    /// Zeros for `rows` rows of `width` numbers in dimension `dim`.
    pub fn zeros(rows: usize, width: usize, dim: usize) -> Self {
        RowMemory { numbers: vec![0.0; rows * width], mean: vec![0.0; dim] }
    }

    /// What the rows contribute at `x`: a pass.
    pub fn at<O: RowSumOperator>(operator: &mut O, x: &[f64]) -> (Self, Work) {
        let mut memory = RowMemory::zeros(operator.rows(), operator.width(), x.len());
        let work = operator.change(x, &Sample::Full, &[], &mut memory.numbers, &mut memory.mean);
        (memory, work)
    }
}

/// `T_hat(x, zeta) - mean over i in zeta of A_i^T c_i + mean over all rows of A_i^T c_i`, with numbers `c_i` that are
/// remembered: the mean is that of `T_hat`, whatever the numbers are, and the cost is that of one evaluation.
///
/// [`ControlVariate`](super::ControlVariate) is the same for operators without such numbers, at the cost of two.
#[derive(Debug)]
pub struct Remembered<'a, T> {
    moving: T,
    memory: &'a RowMemory,
    fresh: Vec<f64>,
}

impl<'a, T: RowSumOperator> Remembered<'a, T> {
    /// `moving` with `memory` taken out.
    pub fn new(moving: T, memory: &'a RowMemory) -> Self {
        Remembered { moving, memory, fresh: Vec::new() }
    }
}

impl<T: RowSumOperator> RandomOperator for Remembered<'_, T> {
    fn dim(&self) -> usize {
        self.moving.dim()
    }

    fn draw(&self, batch: usize, rng: &mut Rng, sample: &mut Sample) {
        self.moving.draw(batch, rng, sample);
    }

    fn apply(&mut self, x: &[f64], sample: &Sample, out: &mut [f64]) -> Work {
        self.fresh.resize(sample.rows_in(self.moving.rows()) * self.moving.width(), 0.0);
        let work = self.moving.change(x, sample, &self.memory.numbers, &mut self.fresh, out);
        vector::axpy(1.0, &self.memory.mean, out);
        self.moving.add_rest(x, out);
        work
    }
}
