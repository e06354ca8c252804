//! Newton's method and the adjoint in the space of the rows, for models with many more weights than margins.
//!
//! At the minimum `W = S X^T A` with `S` the inverse strengths and one row of `A` for each data row (the representer
//! theorem), and every Newton step has that form, too. So all vectors have `n C` numbers in place of `p C`, and in the
//! geometry of the kernel `K` the penalty is the unit matrix:
//!
//! ```text
//! g(A, b) = risk(K A + 1 b^T) + 1/2 <A, K A>,    K = X S X^T,
//! H (A, b) = (A + D M, 1^T D M),                 M = K A + 1 b^T,
//! ```
//!
//! where images and gradients stand for what `X^T` makes of them in the space of the weights (for one penalty: Rasmussen &
//! Williams 2006, chapter 3). Conjugate gradients in this geometry take one product with `K` a step. Their
//! preconditioner knows the leading eigenspace of `K`, found by a randomised subspace iteration (Halko, Martinsson &
//! Tropp 2011; Frangella, Tropp & Udell 2021), and there inverts the Hessian class by class; elsewhere it is the unit
//! matrix. The eigenvalues of kernels of text fall fast at first and slowly later, which is what it takes.

mod basis;
mod conjugate_gradient;
mod preconditioner;
mod row_space;
mod solver;
mod starts;

pub use solver::{DualMinimum, DualNewton, DualSolver, parameters_of};
pub use starts::{DualMemory, DualState};
