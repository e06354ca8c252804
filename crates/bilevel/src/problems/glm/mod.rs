//! Generalised linear models: loss x penalty x weighting.
//!
//! `g(w, lambda) = sum_i c_i loss(x_i^T W + b, y_i) / sum_i c_i + 1/2 sum_j exp(lambda_j) w_j^2`.
//!
//! Losses see margins and never matrices; penalties see weights and never data; so each of the products of a bilevel
//! problem is written once for all of them.

mod loss;

pub use loss::Loss;
