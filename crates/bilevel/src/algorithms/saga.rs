//! SAGA for all three directions at once (SABA: Dagreou, Ablin, Vaiter, Moreau, NeurIPS 2022, section 3.2).
//!
//! The rows are cut into fixed blocks of the size of the batch, and what is remembered of a block is of the point where it was
//! drawn last. The last block may be smaller: blocks are drawn in proportion to their rows, so that the estimate stays
//! unbiased. How a block is remembered is up to the problem ([`LowerMemory`], [`UpperMemory`]) and changes nothing else.

use std::ops::Range;

use super::field::{Field, Room, Streams, all_three};
use super::saga_memory::{LowerMemory, UpperMemory};
use crate::company;
use crate::error::Result;
use crate::sample::{Batch, Rng, Sample};
use crate::vector;
use crate::work::Work;

/// The memory of both levels.
pub(super) struct Saga {
    lower: LowerMemory,
    upper: UpperMemory,
    begun: bool,
}

/// Fixed blocks of rows.
#[derive(Debug, Clone, Copy)]
pub(super) struct Cut {
    pub rows: usize,
    batch: usize,
}

impl Cut {
    pub fn new(rows: usize, batch: Batch) -> Self {
        let batch = match batch {
            Batch::All => rows,
            Batch::Rows(batch) => batch.clamp(1, rows),
        };
        Cut { rows, batch }
    }

    pub fn blocks(&self) -> usize {
        self.rows.div_ceil(self.batch)
    }

    fn draw(&self, rng: &mut Rng) -> usize {
        if self.blocks() == 1 { 0 } else { rng.below(self.rows) / self.batch }
    }

    pub fn span(&self, block: usize) -> Range<usize> {
        block * self.batch..((block + 1) * self.batch).min(self.rows)
    }

    pub fn sample(&self, block: usize) -> Sample {
        if self.blocks() == 1 { Sample::Full } else { Sample::Block(self.span(block)) }
    }

    /// The block as a part of all rows.
    pub fn share(&self, block: usize) -> f64 {
        self.span(block).len() as f64 / self.rows as f64
    }
}

impl Saga {
    pub(super) fn new(field: &Field<'_>) -> Result<Self> {
        let cut = |rows| Cut::new(rows, field.batch);
        let lower = cut(field.problem.lower.size(&Sample::Full));
        let upper = cut(field.problem.upper.size(&Sample::Full));
        Ok(Saga {
            lower: LowerMemory::new(&field.problem, lower)?,
            upper: UpperMemory::new(&field.problem, upper)?,
            begun: false,
        })
    }

    pub(super) fn direction(&mut self, field: &mut Field<'_>, streams: &mut Streams, x: &[f64], d: &mut [f64]) {
        let [w, v, lambda] = field.layout.split(x);
        let [d_w, d_v, d_lambda] = field.layout.split_mut(d);
        let problem = &field.problem;
        let mut work = Work::default();
        if !self.begun {
            // Everything as of the start.
            self.lower.fill(problem, w, lambda, v);
            self.upper.fill(problem, w, lambda);
            work += all_three(problem.lower, self.lower.cut().rows) + Work::upper_gradient(self.upper.cut().rows);
            self.begun = true;
        }
        let block = self.lower.cut().draw(&mut streams.lower);
        let judged = self.upper.cut().draw(&mut streams.upper);
        let (rows, judged_rows) = (self.lower.cut().span(block).len(), self.upper.cut().span(judged).len());
        work += all_three(problem.lower, rows) + Work::upper_gradient(judged_rows);
        // grad_lambda E into d_lambda, from which the cross product is taken.
        let (Saga { lower, upper, .. }, Room { grad_w, cross, .. }) = (self, &mut field.room);
        company::join(
            || lower.estimate(problem, block, w, lambda, v, [d_w, &mut *d_v, cross]),
            || upper.estimate(problem, judged, w, lambda, grad_w, d_lambda),
        );
        vector::axpy(-1.0, grad_w, d_v);
        vector::axpy(-1.0, cross, d_lambda);
        field.room.work += work;
    }
}
