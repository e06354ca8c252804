//! Problems: formulas and no solvers.

#[cfg(feature = "autodiff")]
pub mod autodiff;
pub mod closures;
pub mod equilibrium;
pub mod glm;
pub mod linear_contraction;
pub mod meta_learning;
pub mod poisoning;
pub mod policy_evaluation;
pub mod quadratic;
mod row_model;
pub mod scaled;
pub mod target;

pub use row_model::LinearLoss;
