//! Generalised linear models: loss x penalty x weighting.
//!
//! `g(w, lambda) = sum_i c_i loss(x_i^T W + b, y_i) / sum_i c_i + 1/2 sum_jc exp(lambda_{h(j,c)}) W_jc^2`.
//!
//! A row may have a hyperparameter of its own, whose sigmoid is a factor of `c_i` in the upper sum ([`Reweighting`]);
//! `lambda` then holds the hyperparameters of the penalty, unless they are held fixed, and those of the rows after them.
//!
//! Losses see margins and never matrices; penalties see weights and never data; so each of the products of a bilevel
//! problem is written once for all of them. The parameters `w` are the `p x C` weights, feature after feature, followed
//! by the `C` intercepts if there are any; intercepts are never penalised.

mod block_diagonal;
mod curvature;
mod direct;
mod directions;
mod location;
mod loss;
mod margin_loss;
mod penalty;
mod problem;
mod reweighted;
mod risk;
mod row_sums;
mod sampled_risk;
mod softmax;
mod weighting;

pub use curvature::GlmCurvature;
pub(crate) use location::weighted_median;
pub use loss::Loss;
pub use penalty::Penalty;
pub use problem::Glm;
pub use risk::EmpiricalRisk;
pub use weighting::{Reweighting, Weighting};

pub(crate) use margin_loss::MarginLoss;
