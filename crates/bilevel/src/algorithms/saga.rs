//! SAGA for all three directions at once (SABA: Dagreou, Ablin, Vaiter, Moreau, NeurIPS 2022, section 3.2).
//!
//! The rows are cut into fixed blocks of the size of the batch, and one direction is remembered for each. The last block may
//! be smaller: blocks are drawn in proportion to their rows, so that the estimate stays unbiased.

use std::ops::Range;

use super::field::{Field, Streams};
use crate::error::{Error, Result};
use crate::sample::{Batch, Rng, Sample};
use crate::vector;
use crate::work::Work;

/// Numbers a table may hold (2 GiB).
const LARGEST: usize = 1 << 28;

/// The tables of both levels.
pub(super) struct Saga {
    lower: Table,
    upper: Table,
    fresh: Vec<f64>,
    upper_fresh: Vec<f64>,
    begun: bool,
}

/// What was seen last of each block.
struct Table {
    rows: usize,
    batch: usize,
    width: usize,
    entries: Vec<f64>,
    mean: Vec<f64>,
}

impl Table {
    fn new(rows: usize, batch: Batch, width: usize) -> Result<Self> {
        let batch = match batch {
            Batch::All => rows,
            Batch::Rows(batch) => batch.clamp(1, rows),
        };
        let blocks = rows.div_ceil(batch);
        if blocks.saturating_mul(width) > LARGEST {
            let gigabytes = blocks as f64 * width as f64 * 8e-9;
            return Err(Error::input(format!("the directions remembered by SAGA would take {gigabytes:.1} GB"))
                .remedy("use a larger batch, or an algorithm with SARAH directions, such as SRBA"));
        }
        Ok(Table { rows, batch, width, entries: vec![0.0; blocks * width], mean: vec![0.0; width] })
    }

    fn blocks(&self) -> usize {
        self.rows.div_ceil(self.batch)
    }

    fn draw(&self, rng: &mut Rng) -> usize {
        if self.blocks() == 1 { 0 } else { rng.below(self.rows) / self.batch }
    }

    fn span(&self, block: usize) -> Range<usize> {
        block * self.batch..((block + 1) * self.batch).min(self.rows)
    }

    fn sample(&self, block: usize) -> Sample {
        if self.blocks() == 1 { Sample::Full } else { Sample::Block(self.span(block)) }
    }

    /// Remembers `fresh` for `block`, and replaces it by the estimate.
    fn exchange(&mut self, block: usize, fresh: &mut [f64]) {
        let share = self.span(block).len() as f64 / self.rows as f64;
        let entry = &mut self.entries[block * self.width..(block + 1) * self.width];
        for ((fresh, entry), mean) in fresh.iter_mut().zip(entry).zip(&mut self.mean) {
            let change = *fresh - *entry;
            *entry = *fresh;
            *fresh = change + *mean;
            *mean += share * change;
        }
    }
}

impl Saga {
    pub(super) fn new(field: &Field<'_>) -> Result<Self> {
        let dims = field.layout.0;
        let lower_rows = field.problem.lower.size(&Sample::Full);
        let upper_rows = field.problem.upper.size(&Sample::Full);
        Ok(Saga {
            lower: Table::new(lower_rows, field.batch, field.layout.len())?,
            upper: Table::new(upper_rows, field.batch, dims.w + dims.lambda)?,
            fresh: vec![0.0; field.layout.len()],
            upper_fresh: vec![0.0; dims.w + dims.lambda],
            begun: false,
        })
    }

    pub(super) fn direction(&mut self, field: &mut Field<'_>, streams: &mut Streams, x: &[f64], d: &mut [f64]) {
        if !self.begun {
            // Both tables as of the start.
            for block in 0..self.lower.blocks() {
                self.visit_lower(block, field, x);
            }
            for block in 0..self.upper.blocks() {
                self.visit_upper(block, field, x);
            }
            self.begun = true;
        }
        let (lower, upper) = (self.lower.draw(&mut streams.lower), self.upper.draw(&mut streams.upper));
        self.visit_lower(lower, field, x);
        self.visit_upper(upper, field, x);
        let [d_w, d_v, d_lambda] = field.layout.split_mut(d);
        let [gradient, product, cross] = field.layout.split(&self.fresh);
        let (upper_w, upper_lambda) = self.upper_fresh.split_at(gradient.len());
        d_w.copy_from_slice(gradient);
        vector::subtract(product, upper_w, d_v);
        vector::subtract(upper_lambda, cross, d_lambda);
    }

    /// The estimate of gradient, Hessian product and cross product from one block, in `fresh`.
    fn visit_lower(&mut self, block: usize, field: &mut Field<'_>, x: &[f64]) {
        let [w, v, lambda] = field.layout.split(x);
        let [gradient, product, cross] = field.layout.split_mut(&mut self.fresh);
        field.problem.lower.directions(w, lambda, &self.lower.sample(block), v, gradient, product, cross);
        let rows = self.lower.span(block).len() as u64;
        field.work += Work { rows, gradients: rows, hessian_products: rows, cross_products: rows, factorizations: 0 };
        self.lower.exchange(block, &mut self.fresh);
    }

    /// The estimate of the gradients of the upper objective from one block, in `upper_fresh`.
    fn visit_upper(&mut self, block: usize, field: &mut Field<'_>, x: &[f64]) {
        let [w, _, lambda] = field.layout.split(x);
        let (grad_w, grad_lambda) = self.upper_fresh.split_at_mut(w.len());
        field.problem.upper.gradients(w, lambda, &self.upper.sample(block), grad_w, grad_lambda);
        field.work += Work::gradient(self.upper.span(block).len());
        self.upper.exchange(block, &mut self.upper_fresh);
    }
}
