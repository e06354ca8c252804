//! Stochastic hypergradients and bilevel optimisation.
//!
//! Two levels: minimise `f(lambda) = E(w(lambda), lambda)` over `lambda`, where `w(lambda)` is the fixed point of a map
//! that can only be sampled. See [`lower`] and [`upper`] for the two traits everything else is written against.

pub mod data;
mod elementary;
mod error;
pub mod lower;
pub mod problems;
pub mod sample;
pub mod tune;
pub mod upper;

pub use error::{Error, Result};
