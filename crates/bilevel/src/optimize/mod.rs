//! Upper-level loops: from a hypergradient to hyperparameters.
//!
//! A loop sees an [`Oracle`] (objective and hypergradient at a `lambda`, by whatever method), a
//! [`Domain`](crate::domain::Domain) and an [`Observer`](crate::observer::Observer); it knows no problem.

mod bounded_lbfgs;
mod iteration;
mod oracle;
mod outcome;
mod stochastic;

pub use bounded_lbfgs::BoundedLbfgs;
pub use iteration::Iteration;
pub use oracle::{Evaluation, Oracle};
pub use outcome::{Outcome, StopReason};
pub use stochastic::{Limits, OuterStep, ProjectedGradient};
