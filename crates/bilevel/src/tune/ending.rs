//! Why a tuning or a cleaning ended.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::optimize::StopReason;

/// Why a tuning or a cleaning ended, with what is best so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Ending {
    /// The projected gradient is below its tolerance.
    Converged,
    /// The objective no longer improves.
    Stalled,
    /// Earlier hyperparameters had a lower loss on the monitor rows.
    Monitor,
    /// All allowed iterations were made.
    IterationLimit,
    /// The allowed time is over.
    TimeLimit,
    /// An observer, or the user, asked to stop.
    Interrupted,
}

impl Ending {
    /// All of them.
    pub const ALL: [Ending; 6] = [
        Ending::Converged,
        Ending::Stalled,
        Ending::Monitor,
        Ending::IterationLimit,
        Ending::TimeLimit,
        Ending::Interrupted,
    ];

    /// The name in messages and files.
    pub fn name(self) -> &'static str {
        match self {
            Ending::Converged => "converged",
            Ending::Stalled => "stalled",
            Ending::Monitor => "monitor",
            Ending::IterationLimit => "iteration-limit",
            Ending::TimeLimit => "time-limit",
            Ending::Interrupted => "interrupted",
        }
    }
}

impl From<StopReason> for Ending {
    fn from(reason: StopReason) -> Self {
        match reason {
            StopReason::Stationary => Ending::Converged,
            StopReason::Stalled => Ending::Stalled,
            StopReason::IterationLimit => Ending::IterationLimit,
            StopReason::TimeLimit => Ending::TimeLimit,
            StopReason::Interrupted => Ending::Interrupted,
        }
    }
}

impl fmt::Display for Ending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::Ending;

    #[test]
    fn files_hold_the_names() {
        for ending in Ending::ALL {
            assert_eq!(serde_json::to_value(ending).unwrap(), ending.name());
        }
    }
}
