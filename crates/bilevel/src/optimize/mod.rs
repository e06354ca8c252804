//! The upper level: minimisation over `lambda` with hypergradients.

mod bounded_lbfgs;

pub use bounded_lbfgs::{BoundedLbfgs, LbfgsEnd, LbfgsIteration};
