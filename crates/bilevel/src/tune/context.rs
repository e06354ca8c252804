//! What runs through a whole tuning: the clock, the observer, the trace, the work.

use std::ops::ControlFlow;
use std::time::Instant;

use super::options::{Penalties, TuneOptions};
use super::outcome::{Law, TraceRow};
use super::progress::Observer;
use crate::stop::StopSignal;
use crate::work::Work;

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
    /// Whether time is put aside for what follows the descents.
    reserved: bool,
}

/// Part of the time limit that is put aside at most.
const LARGEST_RESERVE: f64 = 0.25;

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
            reserved: false,
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

    /// Lets time be over earlier, once, by what `passes` take that follow the descents.
    pub(super) fn reserve(&mut self, passes: f64) {
        let (Some(limit), false) = (self.options.limits.time, std::mem::replace(&mut self.reserved, true)) else {
            return;
        };
        let pass = self.seconds() / self.work.passes(self.rows).max(1.0);
        let reserve = (passes * pass).min(LARGEST_RESERVE * limit.as_secs_f64());
        self.signal = self.signal.earlier(std::time::Duration::from_secs_f64(reserve));
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
