//! Ctrl-C: the first asks the work to stop and keep what it has, the second quits at once.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, LazyLock};

use bilevel::Result;

/// Exit code of a program that was interrupted.
pub const EXIT_CODE: u8 = 130;

/// True while there is something worth keeping, or to be cleared away.
static KEEPING: AtomicBool = AtomicBool::new(false);
/// True once something was found that will be kept.
static FOUND: AtomicBool = AtomicBool::new(false);
/// True where nothing is kept.
static UNDOING: AtomicBool = AtomicBool::new(false);
static REQUESTED: LazyLock<Arc<AtomicBool>> = LazyLock::new(Arc::default);

/// Listens for interrupts from now on.
pub fn listen() {
    // Without a handler an interrupt ends the program at once, which is what is done before there is anything to keep,
    // but for a line that says so.
    let _ = ctrlc::set_handler(|| {
        let repeated = REQUESTED.swap(true, Ordering::SeqCst);
        if repeated || !KEEPING.load(Ordering::SeqCst) {
            if !repeated {
                eprintln!("error: {}", ended_without_result());
            }
            std::process::exit(EXIT_CODE.into());
        }
        let what = match (UNDOING.load(Ordering::SeqCst), FOUND.load(Ordering::SeqCst)) {
            (true, _) => "nothing will be kept",
            (false, true) => "the best so far will be kept",
            (false, false) => "nothing was found yet that could be kept",
        };
        eprintln!("stopping; {what} (once more to quit at once)");
    });
}

/// From now on there is something that an interrupt leaves.
pub fn found() {
    FOUND.store(true, Ordering::SeqCst);
}

/// What to say of work that an interrupt has ended without a result.
pub fn ended_without_result() -> &'static str {
    match (UNDOING.load(Ordering::SeqCst), FOUND.load(Ordering::SeqCst)) {
        (true, _) => "interrupted; nothing was written",
        (false, false) => "interrupted before anything was found; nothing was written",
        // Parts of a whole that was not reached.
        (false, true) => "interrupted; the replicates that were finished are kept",
    }
}

/// True once the user has asked to stop.
pub fn requested() -> bool {
    REQUESTED.load(Ordering::SeqCst)
}

/// The flag that is raised when the user has asked to stop.
pub fn flag() -> Arc<AtomicBool> {
    Arc::clone(&REQUESTED)
}

/// Runs work that stops by itself when [`requested`]; a second interrupt still quits at once.
pub fn keeping<T>(work: impl FnOnce() -> Result<T>) -> Result<T> {
    KEEPING.store(true, Ordering::SeqCst);
    work()
}

/// The same for work that clears away what it has written when it stops.
pub fn undoing<T>(work: impl FnOnce() -> Result<T>) -> Result<T> {
    UNDOING.store(true, Ordering::SeqCst);
    keeping(work)
}
