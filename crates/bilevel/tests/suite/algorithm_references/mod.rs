//! Each recipe against a slow reference that is written from the formulas of its paper: dense matrices, plain loops, the
//! same samples, iterate by iterate.
//!
//! The problem is a ridge regression with one log-penalty a weight, so that the Hessian depends on `lambda` and the cross
//! derivative on `w`. References know nothing of the library but its streams of random numbers, which they replay.

// Formulas are written with the indices of the papers.
#![allow(clippy::needless_range_loop)]

mod first_order;
mod harness;
mod ridge;
mod series;
mod single_loop;
