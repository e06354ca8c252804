//! Memory that a thread keeps between short computations.

use std::cell::Cell;

/// Runs `body` on `len` numbers of any value.
#[inline]
pub(super) fn scratch<R>(len: usize, body: impl FnOnce(&mut [f64]) -> R) -> R {
    thread_local! {
        static KEPT: Cell<Vec<f64>> = const { Cell::new(Vec::new()) };
    }
    // Taken out while in use, so that a call within a call finds memory of its own.
    let mut buffer = KEPT.take();
    if buffer.len() < len {
        buffer.resize(len, 0.0);
    }
    let result = body(&mut buffer[..len]);
    KEPT.set(buffer);
    result
}
