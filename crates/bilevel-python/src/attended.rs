//! Long work on threads of its own, while the thread that asked for it listens.
//!
//! Python delivers signals and runs callbacks only where its lock is held, and the work never holds it. So the calling
//! thread waits without the lock, wakes for every event of the work and at least every `POLL`, takes the lock, calls
//! back and looks for signals. Whatever is raised there asks the work to stop, which then returns the best it has.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;

/// Longest time without a look for signals.
pub const POLL: Duration = Duration::from_millis(50);

/// What work did, and the exception that cut it short, where one did.
pub struct Attended<T> {
    /// What the work returned.
    pub result: T,
    /// An interrupt, or what a callback raised.
    pub raised: Option<PyErr>,
}

/// A question to the calling thread: what a callback says of this.
pub struct Question<R> {
    pub record: R,
    reply: Sender<bool>,
}

impl<R> Question<R> {
    /// Tells the one who asked whether to stop.
    pub fn answer(&self, stop: bool) {
        let _ = self.reply.send(stop);
    }
}

/// Asks `record` of the calling thread, as the event that `event` makes of the question, and waits; true to stop, also where
/// nobody listens any more.
pub fn ask<R, E>(events: &Sender<E>, record: R, event: impl FnOnce(Question<R>) -> E) -> bool {
    let (reply, answer) = channel();
    events.send(event(Question { record, reply })).is_err() || answer.recv().unwrap_or(true)
}

/// Runs `work` on `threads` threads. It tells events through the sender it is given and stops once the flag is raised;
/// `listen` is called with each event by the calling thread, and stops the work by returning true or an error.
///
/// # Errors
/// Where threads cannot be started, or the work panicked.
pub fn attended<E: Send, T: Send>(
    py: Python<'_>,
    threads: usize,
    work: impl FnOnce(Sender<E>, Arc<AtomicBool>) -> T + Send,
    mut listen: impl FnMut(Python<'_>, &E) -> PyResult<bool> + Send,
) -> PyResult<Attended<T>> {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
    let pool = pool.map_err(|error| PyRuntimeError::new_err(format!("cannot start {threads} threads: {error}")))?;
    let flag = Arc::new(AtomicBool::new(false));
    py.detach(|| {
        std::thread::scope(|scope| {
            let (sender, events) = channel();
            let raise = Arc::clone(&flag);
            let worker = scope.spawn(move || pool.install(|| work(sender, raise)));
            let raised = attend(&events, &flag, &mut listen);
            match worker.join() {
                Ok(result) => Ok(Attended { result, raised }),
                Err(_) => Err(PyRuntimeError::new_err("the computation failed unexpectedly; please report this")),
            }
        })
    })
}

/// Listens until the work drops its sender; returns the first exception.
fn attend<E>(
    events: &Receiver<E>,
    flag: &AtomicBool,
    listen: &mut impl FnMut(Python<'_>, &E) -> PyResult<bool>,
) -> Option<PyErr> {
    let mut raised: Option<PyErr> = None;
    let mut looked = Instant::now();
    loop {
        let event = match events.recv_timeout(POLL) {
            Ok(event) => Some(event),
            Err(RecvTimeoutError::Timeout) => None,
            Err(RecvTimeoutError::Disconnected) => return raised,
        };
        // After an exception nobody is called any more.
        if raised.is_some() {
            continue;
        }
        let due = looked.elapsed() >= POLL;
        let outcome = Python::attach(|py| {
            let stop = event.as_ref().map_or(Ok(false), |event| listen(py, event))?;
            if due {
                py.check_signals()?;
            }
            PyResult::Ok(stop)
        });
        if due {
            looked = Instant::now();
        }
        match outcome {
            Ok(false) => {}
            Ok(true) => flag.store(true, Ordering::Relaxed),
            Err(error) => {
                flag.store(true, Ordering::Relaxed);
                raised = Some(error);
            }
        }
        // Whoever waits for an answer that does not come goes on from here, and finds the flag raised.
        drop(event);
    }
}
