//! The stochastic bilevel algorithms of the literature, as recipes over one loop (`docs/algorithms.md`).
//!
//! With the lower level `w(lambda) = argmin_w g(w, lambda)` as a loss and the upper objective `E(w, lambda)`, all of them move
//! `x = (w, v, lambda)` along estimates of
//!
//! ```text
//! D_w = grad_w g,    D_v = (hess_w g) v - grad_w E,    D_lambda = grad_lambda E - (d/dlambda grad_w g)^T v,
//! ```
//!
//! whose common zero is a stationary point of `f(lambda) = E(w(lambda), lambda)`. Here `v` solves `(hess_w g) v = grad_w E`;
//! papers that write `(hess_w g) v = -grad_w E` and `D_lambda = grad_lambda E + (...)^T v` differ by the sign of `v` alone.
//!
//! What tells the algorithms apart is small, and is data: whether the three blocks move [together or in
//! turn](recipe::Recipe), how `v` comes about ([`Adjoint`]), what is [remembered](Memory) of earlier directions, and how fast
//! the steps shrink. A new algorithm is a new recipe, and comparisons compare algorithms and not programs.

mod adaptive;
mod adjoint;
mod algorithm;
mod field;
mod first_order;
mod hoag;
mod memory;
mod point;
mod problem;
mod recipe;
mod run;
mod saga;
mod saga_memory;
mod sampled;
mod scheme;
mod zeroth_order;

pub use adjoint::Adjoint;
pub use algorithm::Algorithm;
pub use memory::{Blocks, Memory};
pub use point::Point;
pub use problem::{Bilevel, LowerLoss};
pub use recipe::{Count, Recipe, Start};
pub use run::{Iterate, Outcome, Settings, run};
pub use scheme::Steps;
