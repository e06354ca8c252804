//! What a tuning or a cleaning tells on its way, and what a listener in Python says of it.
//!
//! A listener has the methods `phase(text)` and `iteration(values)`; the latter ends the work by returning true. The work
//! waits for that answer, so that where it ends does not depend on how fast anybody is.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::mpsc::Sender;

use bilevel::observer::{Event as News, Observer};
use pyo3::IntoPyObject;
use pyo3::prelude::*;

use crate::attended::{Question, ask};

/// News of work whose iterations are records `R`.
pub enum Event<R> {
    Phase(String),
    Iteration(Question<R>),
}

/// The observer of such work: passes everything on to the calling thread.
pub struct Messenger<R> {
    events: Sender<Event<R>>,
    flag: Arc<AtomicBool>,
    heard: bool,
    ended: bool,
}

impl<R> Messenger<R> {
    /// One that asks only where it is `heard`.
    pub fn new(events: Sender<Event<R>>, flag: Arc<AtomicBool>, heard: bool) -> Self {
        Messenger { events, flag, heard, ended: false }
    }
}

impl<'e, R: Clone> Observer<News<'e, R>> for Messenger<R> {
    /// `Break` where the listener wants an end. That leaves the flag alone: what is fitted in the end must not hang on a
    /// clock, as it does for somebody who waits at a terminal.
    fn observe(&mut self, news: &News<'e, R>) -> ControlFlow<()> {
        match news {
            News::Phase(phase) => {
                let _ = self.events.send(Event::Phase((*phase).into()));
                ControlFlow::Continue(())
            }
            News::Iteration(record) => {
                // Nobody is asked again after that, though work may come by here on its way to the end.
                self.ended = self.ended || (self.heard && ask(&self.events, (*record).clone(), Event::Iteration));
                if self.ended { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
            }
        }
    }

    fn stop_flag(&self) -> Option<Arc<AtomicBool>> {
        Some(Arc::clone(&self.flag))
    }
}

/// Tells `listener` of `event`; `values` are the numbers of a record.
///
/// # Errors
/// What the listener raises.
pub fn hear<'py, R, V>(
    py: Python<'py>,
    listener: Option<&Py<PyAny>>,
    event: &Event<R>,
    values: impl FnOnce(&R) -> V,
) -> PyResult<bool>
where
    V: IntoPyObject<'py>,
{
    if let Some(listener) = listener {
        let listener = listener.bind(py);
        match event {
            Event::Phase(text) => drop(listener.call_method1("phase", (text,))?),
            Event::Iteration(question) => {
                let stop = listener.call_method1("iteration", (values(&question.record),))?.is_truthy()?;
                question.answer(stop);
            }
        }
    }
    // An answer ends the work in order; the flag would end it at once.
    Ok(false)
}
