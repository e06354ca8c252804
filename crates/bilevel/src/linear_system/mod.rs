//! Solvers of symmetric positive definite systems given by products.
//!
//! The other linear solver of the library is the stochastic fixed-point iteration on
//! [`AdjointOperator`](crate::operator::AdjointOperator): a linear system is a fixed point too.

mod conjugate_gradient;

pub use conjugate_gradient::{CgWorkspace, ConjugateGradient, Preconditioner};
