//! A fitted linear model.

use serde::{Deserialize, Serialize};

use crate::problems::glm::Loss;

/// Weights, intercepts and the loss they were fitted with.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LinearModel {
    /// The loss.
    pub loss: Loss,
    /// Number of features `p`.
    pub features: usize,
    /// Number of outputs `C`: 1, or the number of classes of a softmax model.
    pub outputs: usize,
    /// `p x C` weights, feature after feature (`coef[j * C + c]`), in the scale of the features as given.
    pub coef: Vec<f64>,
    /// `C` intercepts (zero without one).
    pub intercept: Vec<f64>,
}
