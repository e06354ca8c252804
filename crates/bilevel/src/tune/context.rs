//! What runs through a whole tuning: the clock, the observer, the trace, the work.

use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use super::engine::{Engine, Solving};
use super::options::{Penalties, TuneOptions};
use super::outcome::{Law, TraceRow};
use crate::observer::{Event, Observer};
use crate::stop::StopSignal;
use crate::work::Work;

/// Carries a tuning's side effects, so that the mathematics has none.
pub(super) struct Context<'o> {
    pub options: &'o TuneOptions,
    /// Box of each log-penalty.
    pub bounds: (f64, f64),
    /// Asks for an end from outside, and of the search before time is over.
    pub signal: StopSignal,
    observer: &'o mut dyn for<'e> Observer<Event<'e, TraceRow>>,
    started: Instant,
    pub trace: Vec<TraceRow>,
    /// What is to be said of searches that came to no proper end.
    notes: Vec<String>,
    /// Work of objectives that are finished.
    pub work: Work,
    /// Passes so far, with those of the objective at work when it was last heard of.
    seen_passes: f64,
    /// Rows of the training set: the unit of a pass.
    pub rows: usize,
    stopped: Option<Stop>,
    /// What ends the fits after a search for which time was over.
    ending: Option<StopSignal>,
    /// From when on whoever has asked to stop waits too long.
    grace: Option<StopSignal>,
}

/// Passes that are put aside for the fits after the search, some three hurried ones, and the part of the limit that they may
/// be.
const RESERVED_PASSES: f64 = 135.0;
const LARGEST_RESERVE: f64 = 0.25;
/// What is put aside at least, be it beyond a limit that is very short.
const SHORTEST_ENDING: Duration = Duration::from_millis(500);
/// How long fits may go on once the user has asked to stop.
const GRACE: Duration = Duration::from_millis(200);

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
        observer: &'o mut dyn for<'e> Observer<Event<'e, TraceRow>>,
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
            notes: Vec::new(),
            work: Work::default(),
            seen_passes: 0.0,
            rows,
            stopped: None,
            ending: None,
            grace: None,
        }
    }

    pub(super) fn phase(&mut self, phase: &str) {
        if self.observer.observe(&Event::Phase(phase)).is_break() {
            self.stopped.get_or_insert(Stop::Interrupted);
        }
    }

    /// Keeps a note, once.
    pub(super) fn note(&mut self, note: String) {
        if !self.notes.contains(&note) {
            self.notes.push(note);
        }
    }

    /// The notes that were kept.
    pub(super) fn take_notes(&mut self) -> Vec<String> {
        std::mem::take(&mut self.notes)
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
        if self.observer.observe(&Event::Iteration(&row)).is_break() {
            self.stopped.get_or_insert(Stop::Interrupted);
        }
        self.seen_passes = row.passes;
        self.reserve(row.passes);
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
                self.ending = Some(self.signal.with_reserve(SHORTEST_ENDING));
            }
        }
        self.stopped.is_some()
    }

    /// Puts time aside for what follows the search, after so many passes.
    fn reserve(&self, passes: f64) {
        if let Some(limit) = self.options.limits.time {
            let reserve = RESERVED_PASSES * self.seconds() / passes.max(1.0);
            self.signal.reserve(Duration::from_secs_f64(reserve.min(LARGEST_RESERVE * limit.as_secs_f64())));
        }
    }

    /// The search is over: what was put aside is there for what follows, unless time is over already.
    pub(super) fn end_search(&mut self) {
        if !self.must_stop() {
            self.signal.reserve(Duration::ZERO);
        }
    }

    fn seconds_of_a_pass(&self) -> f64 {
        self.seconds() / self.work.passes(self.rows).max(self.seen_passes).max(1.0)
    }

    /// True once the user has asked to stop.
    pub(super) fn was_asked(&self) -> bool {
        self.signal.is_flagged()
    }

    /// Raised once the user has asked to stop and has waited for as long as they shall.
    pub(super) fn grace(&mut self) -> StopSignal {
        if !self.signal.is_flagged() {
            return StopSignal::never();
        }
        self.grace.get_or_insert_with(|| StopSignal::new(Some(GRACE), None)).clone()
    }

    /// How fits after the descents are solved: to the end, unless time is over before or the user asks to stop; as near as a
    /// few steps come where it was over for the descents, in what was put aside; and once the user has asked, in what is left
    /// of the grace. Not at all where that is too short.
    pub(super) fn afterwards(&mut self, engine: Engine) -> Option<Solving> {
        let hurried = self.must_stop();
        let signal = if self.signal.is_flagged() {
            self.grace()
        } else {
            self.ending.clone().unwrap_or_else(|| self.signal.with_reserve(Duration::ZERO))
        };
        if !hurried {
            return Some(Solving { engine, signal, hurried });
        }
        let shortest = Duration::try_from_secs_f64(engine.shortest_fit() * self.seconds_of_a_pass());
        let enough = shortest.is_ok_and(|shortest| signal.leaves(shortest));
        enough.then_some(Solving { engine, signal, hurried })
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
