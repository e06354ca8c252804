//! What a tuning tells while it runs, and how it is asked to stop.

use std::ops::ControlFlow;

use super::outcome::TraceRow;

/// Watches a tuning: progress bars, traces and interruption are all observers of the one loop.
pub trait Observer {
    /// A new phase began; `phase` is a few words for a person.
    fn phase(&mut self, phase: &str);

    /// An upper-level iteration ended. `Break` asks the tuning to stop at once and keep the best it has.
    fn iteration(&mut self, row: &TraceRow) -> ControlFlow<()>;

    /// Asked often, also inside lower-level solves; `true` asks the tuning to stop and keep the best it has.
    fn stop_requested(&self) -> bool {
        false
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
