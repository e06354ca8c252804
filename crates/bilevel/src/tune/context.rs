//! What runs through a whole tuning: the clock, the observer, the trace, the work.

use std::ops::ControlFlow;
use std::time::Instant;

use super::options::{Penalties, TuneOptions};
use super::outcome::TraceRow;
use super::progress::Observer;
use crate::work::Work;

/// Carries a tuning's side effects, so that the mathematics has none.
pub(super) struct Context<'o> {
    pub options: &'o TuneOptions,
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

/// What is being tuned at the moment, for the trace.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Spec {
    pub penalties: Penalties,
    /// Standard deviation `s` of the log-penalties around their mean: 0 for a shared penalty, infinite without a pull.
    pub spread: f64,
    /// Where given, penalties follow the relevance law instead of being free.
    pub adaptive: bool,
}

impl Spec {
    pub(super) const SHARED: Spec = Spec { penalties: Penalties::Shared, spread: 0.0, adaptive: false };

    /// Precision `1/s^2` of the pull.
    pub(super) fn shrinkage(self) -> f64 {
        if self.adaptive { -1.0 } else { 1.0 / (self.spread * self.spread) }
    }
}

impl<'o> Context<'o> {
    pub(super) fn new(options: &'o TuneOptions, observer: &'o mut dyn Observer, rows: usize) -> Self {
        Context {
            options,
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
    #[allow(clippy::too_many_arguments)]
    pub(super) fn iteration(
        &mut self,
        spec: Spec,
        iteration: usize,
        validation_loss: f64,
        train_loss: f64,
        projected_gradient: f64,
        running: Work,
    ) -> ControlFlow<()> {
        let row = TraceRow {
            penalties: spec.penalties,
            shrinkage: spec.shrinkage(),
            iteration,
            seconds: self.seconds(),
            validation_loss,
            train_loss,
            projected_gradient,
            passes: (self.work + running).passes(self.rows),
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
            if self.observer.stop_requested() {
                self.stopped = Some(Stop::Interrupted);
            } else if self.options.limits.time.is_some_and(|limit| self.started.elapsed() >= limit) {
                self.stopped = Some(Stop::Time);
            }
        }
        self.stopped.is_some()
    }

    pub(super) fn stopped(&self) -> Option<Stop> {
        self.stopped
    }
}
