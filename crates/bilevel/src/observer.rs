//! Watching long work, and ending it: progress bars, traces, checkpoints, plots and callbacks are all this one thing.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

/// Sees what work tells on its way. A closure `|event: &E| ...` is one, and [`Silent`] watches nothing.
///
/// `Next` is what the work asks in return, mostly nothing; [`algorithms::run`](crate::algorithms::run) asks when to call again.
pub trait Observer<E: ?Sized, Next = ()> {
    /// Called with each event. `Break` asks the work to stop, and to keep the best it has.
    fn observe(&mut self, event: &E) -> ControlFlow<(), Next>;

    /// A flag that [`tune`](crate::tune::tune()), [`clean`](crate::clean::clean()) and
    /// [`GlmProblem::hypergradient`](crate::tune::GlmProblem::hypergradient) look at, also inside solves; once raised, they
    /// stop and keep the best they have. Other work takes a [`StopSignal`](crate::stop::StopSignal) where it is long.
    fn stop_flag(&self) -> Option<Arc<AtomicBool>> {
        None
    }
}

impl<E: ?Sized, Next, F: FnMut(&E) -> ControlFlow<(), Next>> Observer<E, Next> for F {
    fn observe(&mut self, event: &E) -> ControlFlow<(), Next> {
        self(event)
    }
}

/// Watches nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct Silent;

impl<E: ?Sized> Observer<E> for Silent {
    fn observe(&mut self, _event: &E) -> ControlFlow<()> {
        ControlFlow::Continue(())
    }
}

/// News of work that goes through phases, in one of which or more it iterates.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Event<'a, Iteration> {
    /// A phase begins: a few words for a person.
    Phase(&'a str),
    /// An iteration ended.
    Iteration(&'a Iteration),
}
