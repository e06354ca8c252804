//! Asking long work to stop: a deadline, a flag raised from outside, or both.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::error::{Error, Result};

/// Looked at between the steps of every long computation.
#[derive(Debug, Clone, Default)]
pub struct StopSignal {
    deadline: Option<Instant>,
    flag: Option<Arc<AtomicBool>>,
}

impl StopSignal {
    /// Never stops anything.
    pub fn never() -> Self {
        Self::default()
    }

    /// Stops when `time` is over (if given) or `flag` is raised (if given).
    pub fn new(time: Option<Duration>, flag: Option<Arc<AtomicBool>>) -> Self {
        StopSignal { deadline: time.map(|time| Instant::now() + time), flag }
    }

    /// The same, `time` earlier.
    #[must_use]
    pub fn earlier(&self, time: Duration) -> Self {
        let deadline = self.deadline.map(|deadline| deadline.checked_sub(time).unwrap_or(deadline));
        StopSignal { deadline, flag: self.flag.clone() }
    }

    /// The same without the deadline.
    #[must_use]
    pub fn without_deadline(&self) -> Self {
        StopSignal { deadline: None, flag: self.flag.clone() }
    }

    /// True where the deadline, if there is one, is at least `time` away.
    pub fn leaves(&self, time: Duration) -> bool {
        self.deadline.is_none_or(|deadline| deadline.saturating_duration_since(Instant::now()) >= time)
    }

    /// An interruption once either holds, for steps that are worth nothing by halves.
    ///
    /// # Errors
    /// Interrupted.
    pub fn check(&self) -> Result<()> {
        if self.is_raised() { Err(Error::interrupted()) } else { Ok(()) }
    }

    /// True once time is over.
    pub fn is_late(&self) -> bool {
        self.deadline.is_some_and(|deadline| Instant::now() >= deadline)
    }

    /// True once the flag is raised.
    pub fn is_flagged(&self) -> bool {
        self.flag.as_ref().is_some_and(|flag| flag.load(Ordering::Relaxed))
    }

    /// True once either holds.
    pub fn is_raised(&self) -> bool {
        self.is_flagged() || self.is_late()
    }
}
