//! SAGA (Defazio, Bach, Lacoste-Julien, NeurIPS 2014): what each row contributed last is remembered.
//!
//! `T_hat_k(x) = T_hat(x, zeta) - mean over zeta of the memory + mean over all rows of the memory` has the mean `T(x)`. Where
//! the memory settles the variance vanishes, without a pass now and then. A row is remembered by the few numbers by
//! which it enters ([`RowSums`](crate::row_sums::RowSums)).

use super::{RandomOperator, RowMemory, RowSumOperator};
use crate::sample::{Rng, Sample};
use crate::vector;
use crate::work::Work;

/// The variance-reduced operator around `inner`. Its first application makes a pass, which fills the memory.
#[derive(Debug, Clone)]
pub struct Saga<O> {
    inner: O,
    /// Empty before the first application.
    memory: RowMemory,
    fresh: Vec<f64>,
    change: Vec<f64>,
}

impl<O: RowSumOperator> Saga<O> {
    /// Without any memory yet.
    pub fn new(inner: O) -> Self {
        let change = vec![0.0; inner.dim()];
        Saga { inner, memory: RowMemory::default(), fresh: Vec::new(), change }
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
        let mut work = Work::default();
        let Saga { inner, memory, fresh, change } = self;
        if memory.numbers.is_empty() {
            (*memory, work) = RowMemory::at(inner, x);
        }
        fresh.resize(sample.rows_in(inner.rows()) * inner.width(), 0.0);
        work += inner.change(x, sample, &memory.numbers, fresh, change);
        out.copy_from_slice(&memory.mean);
        vector::axpy(1.0, change, out);
        inner.add_rest(x, out);
        memory.exchange(inner.width(), sample, fresh, change, |numbers, out| inner.mean_of_rows(sample, numbers, out));
        work
    }
}

impl RowMemory {
    /// Remembers `fresh`, `width` numbers for each row of `sample`, for which the mean of `A_i^T (fresh - memory)` is
    /// `change`; both are used up. `mean_of_rows` is that of the operator.
    pub(crate) fn exchange(
        &mut self,
        width: usize,
        sample: &Sample,
        fresh: &mut [f64],
        change: &mut [f64],
        mean_of_rows: impl Fn(&[f64], &mut [f64]),
    ) {
        let n = self.numbers.len() / width;
        let mut repeated = false;
        let mut at = 0;
        // Each place of `fresh` is left with what it changes; a row that was drawn twice changes once.
        let numbers = &mut self.numbers;
        let scattered = matches!(sample, Sample::Rows(_));
        sample.for_each_row(n, |row| {
            let memory = &mut numbers[row * width..(row + 1) * width];
            let own = &mut fresh[at * width..(at + 1) * width];
            repeated |= scattered && own == &*memory;
            for (memory, own) in memory.iter_mut().zip(own) {
                let update = *own - *memory;
                *memory = *own;
                *own = update;
            }
            at += 1;
        });
        if repeated {
            mean_of_rows(fresh, change);
        }
        vector::axpy(at as f64 / n as f64, change, &mut self.mean);
    }
}
