//! How an upper-level loop ended.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::work::Work;

/// Why a loop stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum StopReason {
    /// The projected gradient is below its tolerance.
    Stationary,
    /// The objective no longer improves.
    Stalled,
    /// All allowed iterations were made.
    IterationLimit,
    /// The allowed time is over.
    TimeLimit,
    /// An observer, or the user, asked to stop.
    Interrupted,
}

impl StopReason {
    /// The name in files.
    pub fn name(self) -> &'static str {
        match self {
            StopReason::Stationary => "stationary",
            StopReason::Stalled => "stalled",
            StopReason::IterationLimit => "iteration-limit",
            StopReason::TimeLimit => "time-limit",
            StopReason::Interrupted => "interrupted",
        }
    }
}

impl fmt::Display for StopReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            StopReason::Stationary => "the projected gradient is below its tolerance",
            StopReason::Stalled => "the objective no longer improves",
            StopReason::IterationLimit => "all allowed iterations were made; allow more for a better result",
            StopReason::TimeLimit => "the allowed time is over; allow more for a better result",
            StopReason::Interrupted => "interrupted; the best result so far was kept",
        })
    }
}

/// The best iterate of a loop.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Outcome {
    /// The iterate with the smallest objective seen.
    pub lambda: Vec<f64>,
    /// Its objective.
    pub objective: f64,
    /// Its gradient.
    #[serde(default)]
    pub gradient: Vec<f64>,
    /// Its lower variable, where the oracle gave it with the [evaluation](super::Evaluation).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub w: Option<Vec<f64>>,
    /// Iterations made: of the stochastic loops evaluations that succeeded, of line searches steps.
    pub iterations: usize,
    /// Why the loop stopped.
    pub reason: StopReason,
    /// Work of the whole loop.
    pub work: Work,
}
