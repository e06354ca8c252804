//! Samples `zeta`, `xi` as values, and seeded streams to draw them from.
//!
//! The sample is an argument of a map, never hidden inside it: two evaluations on the same sample (variance reduction,
//! momentum corrections, error bars by coupling) and exact replay then cost nothing.

use std::ops::Range;

use rand::RngExt;
use rand_philox::{Philox, splitmix64};
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// One realisation of the randomness of a map or an objective.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sample {
    /// The exact mean: all rows of a finite sum.
    Full,
    /// Consecutive rows (of data shuffled once); the fastest sample of a matrix larger than the caches.
    Block(Range<usize>),
    /// Any rows, with repetition.
    Rows(Vec<u32>),
    /// A seed, for maps that simulate.
    Seed(u64),
}

impl Sample {
    /// Rows in the sample, `n` of them in [`Sample::Full`]; a seed has none.
    pub fn rows_in(&self, n: usize) -> usize {
        match self {
            Sample::Full => n,
            Sample::Block(block) => block.len(),
            Sample::Rows(rows) => rows.len(),
            Sample::Seed(_) => 0,
        }
    }

    /// Calls `visit` with every row of the sample, `n` of them in [`Sample::Full`]; a seed has none.
    pub fn for_each_row(&self, n: usize, visit: impl FnMut(usize)) {
        match self {
            Sample::Full => (0..n).for_each(visit),
            Sample::Block(block) => block.clone().for_each(visit),
            Sample::Rows(rows) => rows.iter().map(|&row| row as usize).for_each(visit),
            Sample::Seed(_) => {}
        }
    }
}

/// How much of the population an evaluation visits: everything, or so many elements drawn at random.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Batch {
    /// The exact mean ([`Sample::Full`]).
    All,
    /// This many elements, drawn afresh each time.
    Rows(usize),
}

/// Rows of a run of blocks: some page faults' worth of narrow rows, and of wide ones little more than a block.
const RUN_ROWS: usize = 1024;

/// How rows are drawn from a finite set; every row is equally likely either way.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Sampling {
    /// Consecutive rows of data that were shuffled once, from a uniformly random start, wrapping around: a sample without
    /// replacement that is read at the speed of the memory.
    #[default]
    Blocks,
    /// Blocks one behind the other, in runs of some thousand rows from uniformly random starts: for rows of which it is not the
    /// reading that takes the time but going elsewhere, as in a file that is mapped into memory.
    ///
    /// At each draw every row is equally likely, and the blocks of a run have no row in common. How far they tell of each other
    /// is in `docs/theory.md`.
    Runs,
    /// Independent uniform rows, with replacement.
    Rows,
}

impl Sampling {
    /// Draws `batch` of `n` rows; reuses the buffers of `sample` where it can. Blocks hold each row once at most, so they
    /// are cut to `n` rows. Runs belong to the stream: a copy of `rng` goes on with the same blocks.
    ///
    /// # Panics
    /// When `n` is zero.
    pub fn draw(self, n: usize, batch: usize, rng: &mut Rng, sample: &mut Sample) {
        match self {
            Sampling::Blocks => sample.set_block(rng.below(n), batch.clamp(1, n), n),
            Sampling::Runs => {
                let size = batch.clamp(1, n);
                sample.set_block(rng.run_on(size, n), size, n);
            }
            Sampling::Rows => sample.set_rows((0..batch.max(1)).map(|_| rng.below(n) as u32)),
        }
    }
}

impl Sample {
    /// The rows `start, start + 1, ..`, `size <= n` of them, wrapping around after row `n - 1`.
    fn set_block(&mut self, start: usize, size: usize, n: usize) {
        if start + size <= n {
            *self = Sample::Block(start..start + size);
        } else {
            self.set_rows((start..start + size).map(|row| (row % n) as u32));
        }
    }

    fn set_rows(&mut self, drawn: impl Iterator<Item = u32>) {
        let mut rows = match std::mem::replace(self, Sample::Full) {
            Sample::Rows(rows) => rows,
            _ => Vec::new(),
        };
        rows.clear();
        rows.extend(drawn);
        *self = Sample::Rows(rows);
    }
}

impl Batch {
    /// So many elements of a population of `size`; everything where it has no more.
    pub fn at_most(elements: usize, size: usize) -> Self {
        if elements >= size { Batch::All } else { Batch::Rows(elements) }
    }

    /// Checks that a drawn batch is not empty.
    ///
    /// # Errors
    /// Input, naming the batch by `name`.
    pub fn validate(self, name: &str) -> Result<()> {
        match self {
            Batch::Rows(0) => Err(Error::input(format!("{name} must hold at least one row"))),
            _ => Ok(()),
        }
    }
}

/// The random generator of the library: counter-based, so that results never depend on the number of threads.
#[derive(Debug, Clone)]
pub struct Rng {
    philox: Philox,
    /// Where the next block of [`Sampling::Runs`] is.
    run: Option<Run>,
}

/// A run of blocks that is under way.
#[derive(Debug, Clone, Copy)]
struct Run {
    next: usize,
    /// Rows that are left.
    left: usize,
    /// Rows of the set that it goes through.
    of: usize,
}

/// What a stream of random numbers is for; streams of different purposes are independent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// Order of the rows and the parts of a data set.
    Split = 1,
    /// Samples of the lower-level solver.
    Lower = 2,
    /// Samples of the linear-system solver.
    Linear = 3,
    /// Samples of the cross derivative `d2Phi`.
    Cross = 4,
    /// Samples of the upper objective.
    Upper = 5,
    /// Starting points, directions of checks, simulated data.
    Start = 6,
}

impl Rng {
    /// The stream number `index` for `purpose` under `seed`.
    pub fn stream(seed: u64, purpose: Purpose, index: u64) -> Self {
        let philox = Philox::from_u64_seed_stream(seed, splitmix64(index ^ splitmix64(purpose as u64)));
        Rng { philox, run: None }
    }

    /// Uniform integer in `0..bound`; `bound` must be positive.
    pub fn below(&mut self, bound: usize) -> usize {
        self.philox.random_range(0..bound)
    }

    /// The start of the next block of `size <= n` rows: right behind the last one, or anywhere when the run is over.
    fn run_on(&mut self, size: usize, n: usize) -> usize {
        let run = match self.run {
            Some(run) if run.of == n && run.left >= size => run,
            _ => Run { next: self.below(n), left: RUN_ROWS.min(n), of: n },
        };
        self.run = Some(Run { next: (run.next + size) % n, left: run.left.saturating_sub(size), of: n });
        run.next
    }

    /// Uniform number in `[0, 1)`.
    pub fn uniform(&mut self) -> f64 {
        self.philox.random::<f64>()
    }

    /// Standard normal number (Box-Muller).
    pub fn normal(&mut self) -> f64 {
        let radius = (-2.0 * (1.0 - self.uniform()).ln()).sqrt();
        radius * (std::f64::consts::TAU * self.uniform()).cos()
    }

    /// 64 random bits.
    pub fn bits(&mut self) -> u64 {
        self.philox.next_u64()
    }

    /// A uniformly random order of `items` (Fisher-Yates), in place.
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            items.swap(last, self.below(last + 1));
        }
    }
}
