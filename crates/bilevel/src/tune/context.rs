//! What runs through a whole tuning: the clock, the observer, the trace, the work.

use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use super::options::{Penalties, TuneOptions};
use super::outcome::{Law, TraceRow};
use super::progress::Observer;
use crate::stop::StopSignal;
use crate::work::Work;

/// Time that a fit is given after the end.
const GRACE: Duration = Duration::from_millis(1500);

/// Carries a tuning's side effects, so that the mathematics has none.
pub(super) struct Context<'o> {
    pub options: &'o TuneOptions,
    /// Box of each log-penalty.
    pub bounds: (f64, f64),
    /// Asks for an end from outside.
    pub signal: StopSignal,
    observer: &'o mut dyn Observer,
    started: Instant,
    pub trace: Vec<TraceRow>,
    /// Work of objectives that are finished.
    pub work: Work,
    /// Rows of the training set: the unit of a pass.
    pub rows: usize,
    stopped: Option<Stop>,
}

/// Why a tuning was cut short.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stop {
    Time,
    Interrupted,
}

/// What is being tuned.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Spec {
    pub penalties: Penalties,
    pub law: Law,
}

impl Spec {
    pub(super) const SHARED: Spec = Spec { penalties: Penalties::Shared, law: Law::Free };
}

impl<'o> Context<'o> {
    pub(super) fn new(
        options: &'o TuneOptions,
        observer: &'o mut dyn Observer,
        rows: usize,
        bounds: (f64, f64),
    ) -> Self {
        Context {
            options,
            bounds,
            signal: StopSignal::new(options.limits.time, observer.stop_flag()),
            observer,
            started: Instant::now(),
            trace: Vec::new(),
            work: Work::default(),
            rows,
            stopped: None,
        }
    }

    pub(super) fn phase(&mut self, phase: &str) {
        self.observer.phase(phase);
    }

    pub(super) fn seconds(&self) -> f64 {
        self.started.elapsed().as_secs_f64()
    }

    /// Records an iteration; `Break` when the tuning must end.
    pub(super) fn iteration(&mut self, spec: Spec, step: &Step) -> ControlFlow<()> {
        let row = TraceRow {
            penalties: spec.penalties,
            law: spec.law,
            iteration: step.iteration,
            seconds: self.seconds(),
            validation_loss: step.validation_loss,
            train_loss: step.train_loss,
            projected_gradient: step.projected_gradient,
            passes: (self.work + step.work).passes(self.rows),
        };
        if self.observer.iteration(&row).is_break() {
            self.stopped.get_or_insert(Stop::Interrupted);
        }
        self.trace.push(row);
        if self.must_stop() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }

    /// True once time is up or the user asked to stop.
    pub(super) fn must_stop(&mut self) -> bool {
        if self.stopped.is_none() {
            if self.signal.is_flagged() {
                self.stopped = Some(Stop::Interrupted);
            } else if self.signal.is_late() {
                self.stopped = Some(Stop::Time);
            }
        }
        self.stopped.is_some()
    }

    /// For what must still be computed when time is up: at least a little time from now, all that is left before.
    pub(super) fn grace(&self) -> StopSignal {
        let left = self.options.limits.time.map(|time| time.saturating_sub(self.started.elapsed()).max(GRACE));
        StopSignal::new(left, None)
    }

    pub(super) fn stopped(&self) -> Option<Stop> {
        self.stopped
    }
}

/// One upper-level iteration of the objective at work.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Step {
    pub iteration: usize,
    pub validation_loss: f64,
    pub train_loss: f64,
    pub projected_gradient: f64,
    /// Work of the objective so far, not yet counted in [`Context::work`].
    pub work: Work,
}
