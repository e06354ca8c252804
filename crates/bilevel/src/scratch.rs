//! Memory that a thread keeps between short computations.

use std::cell::RefCell;

use crate::plain::Plain;

/// A line of the cache: vectors that start with one never straddle two.
#[repr(align(64))]
#[derive(Clone, Copy)]
struct Line(#[allow(dead_code)] [u64; 8]);

/// Runs `body` on `len` numbers of any value.
#[inline]
pub(crate) fn scratch<N: Plain, R>(len: usize, body: impl FnOnce(&mut [N]) -> R) -> R {
    thread_local! {
        static KEPT: RefCell<Vec<Vec<Line>>> = const { RefCell::new(Vec::new()) };
    }
    // Taken out while in use, so that a call within a call finds memory of its own.
    let mut buffer = KEPT.with_borrow_mut(Vec::pop).unwrap_or_default();
    let lines = (len * size_of::<N>()).div_ceil(size_of::<Line>());
    if buffer.len() < lines {
        buffer.resize(lines, Line([0; 8]));
    }
    // SAFETY: the lines hold at least as many bytes, are aligned more strictly, and plain numbers have no invalid bit
    // patterns; the buffer is borrowed until `body` returns.
    let numbers = unsafe { std::slice::from_raw_parts_mut(buffer.as_mut_ptr().cast::<N>(), len) };
    let result = body(numbers);
    KEPT.with_borrow_mut(|kept| kept.push(buffer));
    result
}
