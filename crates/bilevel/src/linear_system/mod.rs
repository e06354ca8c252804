//! Solvers of linear systems given by products.
//!
//! | solver | matrix | products |
//! | --- | --- | --- |
//! | [`ConjugateGradient`] | symmetric, positive definite | one a step |
//! | [`NormalEquations`] | any that is not singular | one with it and one with its transpose a step |
//! | [`Gmres`] | any that is not singular | one a step; keeps all directions of a cycle |
//!
//! The other linear solver of the library is the stochastic fixed-point iteration on
//! [`AdjointOperator`](crate::operator::AdjointOperator): a linear system is a fixed point too.

mod conjugate_gradient;
mod gmres;
mod hessian_system;
mod normal_equations;
mod residual;

pub use conjugate_gradient::{CgWorkspace, ConjugateGradient, Preconditioner};
pub use gmres::Gmres;
pub(crate) use hessian_system::HessianSystem;
pub use normal_equations::NormalEquations;
