//! Asking long work to stop: a deadline, a flag raised from outside, or both.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::error::{Error, Result};

/// Looked at between the steps of every long computation.
#[derive(Debug, Clone, Default)]
pub struct StopSignal {
    deadline: Option<Deadline>,
    flag: Option<Arc<AtomicBool>>,
}

/// When time is over.
#[derive(Debug, Clone)]
struct Deadline {
    at: Instant,
    /// Nanoseconds before it that are put aside, the same for all copies of a signal.
    reserved: Arc<AtomicU64>,
}

impl Deadline {
    fn new(at: Instant) -> Self {
        Deadline { at, reserved: Arc::default() }
    }

    fn left(&self) -> Duration {
        let reserved = Duration::from_nanos(self.reserved.load(Ordering::Relaxed));
        self.at.saturating_duration_since(Instant::now()).saturating_sub(reserved)
    }
}

impl StopSignal {
    /// Never stops anything.
    pub fn never() -> Self {
        Self::default()
    }

    /// Stops when `time` is over (if given) or `flag` is raised (if given).
    pub fn new(time: Option<Duration>, flag: Option<Arc<AtomicBool>>) -> Self {
        // A time beyond all clocks is no limit.
        let deadline = time.and_then(|time| Instant::now().checked_add(time)).map(Deadline::new);
        StopSignal { deadline, flag }
    }

    /// Puts `time` before the deadline aside, in place of what was put aside before: for this signal and all its copies time
    /// is over so much earlier.
    pub fn reserve(&self, time: Duration) {
        if let Some(deadline) = &self.deadline {
            deadline.reserved.store(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX), Ordering::Relaxed);
        }
    }

    /// The same with what is put aside, or with `time` in place of it where that is more.
    #[must_use]
    pub fn with_reserve(&self, time: Duration) -> Self {
        // A deadline beyond all clocks is none.
        let deadline = self.deadline.as_ref().and_then(|Deadline { at, reserved }| {
            let reserved = Duration::from_nanos(reserved.load(Ordering::Relaxed));
            at.checked_add(time.saturating_sub(reserved)).map(Deadline::new)
        });
        StopSignal { deadline, flag: self.flag.clone() }
    }

    /// True where the deadline, if there is one, is at least `time` away.
    pub fn leaves(&self, time: Duration) -> bool {
        self.deadline.as_ref().is_none_or(|deadline| deadline.left() >= time)
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
        self.deadline.as_ref().is_some_and(|deadline| deadline.left().is_zero())
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
