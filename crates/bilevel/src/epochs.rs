//! Sampling by epochs: nothing is visited twice before nearly all has been visited once.
//!
//! Sampling with replacement leaves a third of the rows unvisited in a pass, and its noise is larger. An epoch cuts the
//! rows, taken as a circle, into blocks from a uniformly random start and visits these in random order. What does not fill
//! a block is left out of that epoch, other rows each time, so that at every single draw all rows are equally likely.
//!
//! The order is state, so it is a value of its own and no part of a problem: a loop that wants epochs draws from here what
//! it hands to a map.

use crate::sample::{Rng, Sample};

/// Blocks of a finite set in random order, anew each epoch.
#[derive(Debug, Clone)]
pub struct Epochs {
    rows: usize,
    batch: usize,
    /// Blocks of the current epoch, in the order of their visits.
    order: Vec<u32>,
    /// First row of block 0.
    start: usize,
    /// Blocks visited in the current epoch.
    visited: usize,
}

impl Epochs {
    /// Epochs over `rows` rows in blocks of `batch`, which is cut to the number of rows.
    ///
    /// # Panics
    /// When there are no rows.
    pub fn new(rows: usize, batch: usize) -> Self {
        assert!(rows > 0, "epochs need rows");
        let batch = batch.clamp(1, rows);
        let order: Vec<u32> = (0..(rows / batch) as u32).collect();
        Epochs { rows, batch, visited: order.len(), order, start: 0 }
    }

    /// Number of blocks in an epoch, `floor(rows / batch)`.
    pub fn blocks(&self) -> usize {
        self.order.len()
    }

    /// The next block; a new epoch begins where the last one has ended.
    pub fn draw(&mut self, rng: &mut Rng, sample: &mut Sample) {
        if self.visited == self.order.len() {
            self.visited = 0;
            self.start = rng.below(self.rows);
            rng.shuffle(&mut self.order);
        }
        let block = self.order[self.visited] as usize;
        self.visited += 1;
        sample.set_block((self.start + block * self.batch) % self.rows, self.batch, self.rows);
    }
}
