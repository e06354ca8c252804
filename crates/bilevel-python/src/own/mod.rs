//! Problems of one's own: both levels are functions in Python, everything else is the library's.
//!
//! `bridge.rs` calls them, `levels.rs` makes them a map, a loss and an objective; the estimators, the upper-level loops and
//! the checks then run as they are, without the lock of the interpreter but for the calls.

mod bridge;
pub mod check;
mod descent;
pub mod hypergradient;
mod levels;
mod literature;
pub mod minimize;
mod plan;
