//! How a solve ended, in words that tell the user what to do next.
//!
//! A solver never fails silently: it returns its parameters in place and says here whether they can be used. Reaching a
//! step limit is a status (the caller often wants exactly that many steps); divergence is one too at this floor, and the
//! hypergradients above it turn it into an error, so that no number is ever made of it.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::work::Work;

/// How a solve ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Status {
    /// The requested tolerance was reached.
    Converged,
    /// All allowed steps were made.
    StepLimit,
    /// Rounding errors keep the residual from falling further; the tolerance was not reached.
    Stagnated,
    /// The iterates became non-finite or grew without bound.
    Diverged,
    /// The map does not contract, or the matrix of the linear system is not positive definite.
    NotContraction,
}

impl Status {
    /// True when the result can be used (with the accuracy the status names).
    pub fn is_usable(self) -> bool {
        !matches!(self, Status::Diverged | Status::NotContraction)
    }

    /// The name in files.
    pub fn name(self) -> &'static str {
        match self {
            Status::Converged => "converged",
            Status::StepLimit => "step-limit",
            Status::Stagnated => "stagnated",
            Status::Diverged => "diverged",
            Status::NotContraction => "not-contraction",
        }
    }

    /// The less satisfactory of two statuses: the status of a computation made of two solves.
    #[must_use]
    pub fn worst(self, other: Status) -> Status {
        if other.rank() > self.rank() { other } else { self }
    }

    fn rank(self) -> u8 {
        match self {
            Status::Converged => 0,
            Status::StepLimit => 1,
            Status::Stagnated => 2,
            Status::Diverged => 3,
            Status::NotContraction => 4,
        }
    }

    fn remedy(self) -> Option<&'static str> {
        match self {
            Status::Converged => None,
            Status::StepLimit => Some("for a smaller error allow more steps"),
            Status::Stagnated => Some("loosen the tolerance, or improve the scaling of the problem"),
            Status::Diverged => Some(
                "use smaller steps eta, larger batches or, of a loss, a smaller map_step, and check the data for non-finite \
                 or huge values",
            ),
            Status::NotContraction => Some(
                "of a loss use a smaller map_step (below 2/L where its gradient is L-Lipschitz), or make the lower level \
                 strongly convex, for example with a larger penalty; no setting can fix a map that does not contract",
            ),
        }
    }

    fn what(self) -> &'static str {
        match self {
            Status::Converged => "converged to the requested tolerance",
            Status::StepLimit => "made all allowed steps",
            Status::Stagnated => "stagnated above the requested tolerance",
            Status::Diverged => "diverged",
            Status::NotContraction => {
                "the lower level is not a contraction (its linear system is not positive definite)"
            }
        }
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.what())?;
        if let Some(remedy) = self.remedy() {
            write!(f, "; {remedy}")?;
        }
        Ok(())
    }
}

/// What a solver tells about its run, beside the parameters it leaves in place.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Info {
    /// How the run ended.
    pub status: Status,
    /// Steps made.
    pub steps: usize,
    /// Norm of the residual at the last iterate where it was computed exactly: `|T(x) - x|`, or `|b - A x|`.
    pub residual: Option<f64>,
    /// Cost of the run.
    pub work: Work,
}

impl Info {
    /// Passes a usable result on and turns any other into an error that names the solve (`what`) and the remedy.
    ///
    /// # Errors
    /// Numeric, for [`Status::Diverged`] and [`Status::NotContraction`].
    pub fn usable(self, what: &str) -> Result<Info> {
        if self.status.is_usable() {
            return Ok(self);
        }
        let message = format!("{what}: {} after {} steps", self.status.what(), self.steps);
        Err(Error::numeric(message).remedy(self.status.remedy().unwrap_or_default()))
    }
}
