//! What is kept of a run.

use serde::{Deserialize, Serialize};

use super::judge::Judgement;
use crate::work::Work;

/// What has been spent.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Cost {
    /// Iterations.
    pub iterations: usize,
    /// Seconds of the algorithm, judging apart.
    pub seconds: f64,
    /// Rows visited, by purpose.
    pub work: Work,
}

/// Where a contestant stood.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Checkpoint {
    /// What it had spent.
    pub cost: Cost,
    /// What it had reached.
    pub judgement: Judgement,
}
