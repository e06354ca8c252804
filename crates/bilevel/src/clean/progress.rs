//! What a cleaning tells while it runs, and how it is asked to stop.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use super::outcome::Step;

/// Watches a cleaning.
pub trait Observer {
    /// A new phase began; `phase` is a few words for a person.
    fn phase(&mut self, phase: &str);

    /// The weights were moved. `Break` asks to stop at once and keep the best weights so far.
    fn step(&mut self, step: &Step) -> ControlFlow<()>;

    /// A flag that is looked at often, also inside lower-level solves; once raised, the cleaning stops and keeps the best
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

    fn step(&mut self, _step: &Step) -> ControlFlow<()> {
        ControlFlow::Continue(())
    }
}
