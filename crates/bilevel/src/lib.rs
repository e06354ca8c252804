//! Stochastic hypergradients and bilevel optimisation.
//!
//! Two levels: minimise `f(lambda) = E(w(lambda), lambda)` over `lambda`, where `w(lambda)` is the fixed point of a map
//! that can only be sampled. See [`lower`] and [`upper`] for the two traits everything else is written against.

pub mod algorithms;
pub mod clean;
pub mod data;
pub mod diagnose;
pub mod domain;
pub mod dual;
mod elementary;
pub mod epochs;
mod error;
pub mod fixed_point;
pub mod hypergradient;
pub mod linear_system;
pub mod lower;
pub mod newton;
pub mod operator;
pub mod optimize;
pub mod problems;
pub mod race;
pub mod row_sums;
pub mod sample;
mod simd;
pub mod status;
pub mod step_size;
pub mod stop;
pub mod study;
pub mod tune;
pub mod upper;
pub mod vector;
pub mod work;

pub use error::{Error, Result};
