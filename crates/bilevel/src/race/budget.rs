//! What a run may spend.

use serde::{Deserialize, Serialize};

use crate::algorithms::Iterate;
use crate::error::{Error, Result};

/// What a contestant may spend; it stops when the first of them is spent.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Budget {
    /// Seconds, judging apart.
    pub seconds: f64,
    /// Rows visited.
    pub rows: f64,
    /// Iterations.
    pub iterations: usize,
}

impl Budget {
    /// No limit, to be given one: a run on this budget ends only by being stopped.
    pub const UNLIMITED: Budget = Budget { seconds: f64::INFINITY, rows: f64::INFINITY, iterations: usize::MAX };

    /// Checks that it allows for something.
    ///
    /// # Errors
    /// Input.
    pub fn validate(&self) -> Result<()> {
        if self.seconds > 0.0 && self.rows > 0.0 && self.iterations > 0 {
            Ok(())
        } else {
            Err(Error::input("the budget of a race must be positive"))
        }
    }

    /// A part of it.
    #[must_use]
    pub fn part(&self, part: f64) -> Self {
        Budget {
            seconds: self.seconds * part,
            rows: self.rows * part,
            iterations: ((self.iterations as f64 * part) as usize).max(1),
        }
    }

    /// The part that is spent, 1 at the end.
    pub(super) fn spent(&self, at: &Iterate<'_>) -> f64 {
        let by_time = at.elapsed.as_secs_f64() / self.seconds;
        by_time.max(at.work.rows as f64 / self.rows).max(at.iterations as f64 / self.iterations as f64)
    }
}
