//! What a tuning tells while it runs, and how it is asked to stop.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use super::outcome::TraceRow;

/// Watches a tuning: progress bars, traces and interruption are all observers of the one loop.
pub trait Observer {
    /// A new phase began; `phase` is a few words for a person.
    fn phase(&mut self, phase: &str);

    /// An upper-level iteration ended. `Break` asks the tuning to stop at once and keep the best it has.
    fn iteration(&mut self, row: &TraceRow) -> ControlFlow<()>;

    /// A flag that is looked at often, also inside lower-level solves; once raised, the tuning stops and keeps the best
    /// it has.
    fn stop_flag(&self) -> Option<Arc<AtomicBool>> {
        None
    }
}

/// Watches nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct Silent;

impl Observer for Silent {
    fn phase(&mut self, _phase: &str) {}

    fn iteration(&mut self, _row: &TraceRow) -> ControlFlow<()> {
        ControlFlow::Continue(())
    }
}
