//! SAGA (Defazio, Bach, Lacoste-Julien, NeurIPS 2014): what each row contributed last is remembered.
//!
//! `T_hat_k(x) = T_hat(x, zeta) - mean over zeta of the memory + mean over all rows of the memory` has the mean `T(x)`. Where
//! the memory settles the variance vanishes, without a pass now and then. A row is remembered by the few numbers by
//! which it enters ([`RowSums`](crate::row_sums::RowSums)).

use super::RandomOperator;
use crate::sample::{Rng, Sample};
use crate::vector;
use crate::work::Work;

/// An operator whose samples are rows: `T_hat(x, zeta) = R(x) + mean over i in zeta of A_i^T c_i(x)`.
pub trait RowSumOperator: RandomOperator {
    /// Number of rows.
    fn rows(&self) -> usize;

    /// Numbers `c_i` of a row.
    fn width(&self) -> usize;

    /// `out = c_i(x)`, row after row of the sample; returns what it cost together with [`add_rows`](Self::add_rows).
    fn numbers(&mut self, x: &[f64], sample: &Sample, out: &mut [f64]) -> Work;

    /// `out += mean over i in the sample of A_i^T numbers_i`.
    fn add_rows(&self, sample: &Sample, numbers: &[f64], out: &mut [f64]);

    /// `out = R(x)`.
    fn rest(&self, x: &[f64], out: &mut [f64]);
}

/// The variance-reduced operator around `inner`. Its first application makes a pass, which fills the memory.
#[derive(Debug, Clone)]
pub struct Saga<O> {
    inner: O,
    /// `c_i` when row `i` was last drawn; empty before the first application.
    memory: Vec<f64>,
    /// Mean over all rows of `A_i^T memory_i`.
    mean: Vec<f64>,
    numbers: Vec<f64>,
    updates: Vec<f64>,
    step: Vec<f64>,
}

impl<O: RowSumOperator> Saga<O> {
    /// Without any memory yet.
    pub fn new(inner: O) -> Self {
        let zeros = vec![0.0; inner.dim()];
        Saga { inner, memory: Vec::new(), mean: zeros.clone(), numbers: Vec::new(), updates: Vec::new(), step: zeros }
    }

    fn remember_all(&mut self, x: &[f64]) -> Work {
        self.memory = vec![0.0; self.inner.rows() * self.inner.width()];
        let work = self.inner.numbers(x, &Sample::Full, &mut self.memory);
        self.inner.add_rows(&Sample::Full, &self.memory, &mut self.mean);
        work
    }
}

impl<O: RowSumOperator> RandomOperator for Saga<O> {
    fn dim(&self) -> usize {
        self.inner.dim()
    }

    fn draw(&self, batch: usize, rng: &mut Rng, sample: &mut Sample) {
        self.inner.draw(batch, rng, sample);
    }

    fn apply(&mut self, x: &[f64], sample: &Sample, out: &mut [f64]) -> Work {
        let (n, width) = (self.inner.rows(), self.inner.width());
        let mut work = Work::default();
        if self.memory.is_empty() {
            work += self.remember_all(x);
        }
        let mut drawn = 0;
        sample.for_each_row(n, |_| drawn += 1);
        self.numbers.resize(drawn * width, 0.0);
        work += self.inner.numbers(x, sample, &mut self.numbers);
        // A row that is drawn twice changes the memory once.
        self.updates.clear();
        let (memory, numbers, updates) = (&mut self.memory, &mut self.numbers, &mut self.updates);
        let mut at = 0;
        let mut old = Vec::with_capacity(numbers.len());
        sample.for_each_row(n, |row| old.extend_from_slice(&memory[row * width..(row + 1) * width]));
        sample.for_each_row(n, |row| {
            for (memory, number) in memory[row * width..(row + 1) * width].iter_mut().zip(&numbers[at..at + width]) {
                updates.push(number - *memory);
                *memory = *number;
            }
            at += width;
        });
        vector::axpy(-1.0, &old, numbers);

        self.inner.rest(x, out);
        vector::axpy(1.0, &self.mean, out);
        self.step.fill(0.0);
        self.inner.add_rows(sample, &self.numbers, &mut self.step);
        vector::axpy(1.0, &self.step, out);
        if self.updates != self.numbers {
            self.step.fill(0.0);
            self.inner.add_rows(sample, &self.updates, &mut self.step);
        }
        vector::axpy(drawn as f64 / n as f64, &self.step, &mut self.mean);
        work
    }
}
