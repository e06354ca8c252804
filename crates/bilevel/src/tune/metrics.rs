//! How good predictions are.

use serde::{Deserialize, Serialize};

/// Figures of a model on some rows; those that do not apply to its loss are absent.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Metrics {
    /// Mean loss.
    pub loss: f64,
    /// Share of right classes.
    pub accuracy: Option<f64>,
    /// Area under the ROC curve (two classes).
    pub auc: Option<f64>,
    /// Coefficient of determination (regression).
    pub r2: Option<f64>,
    /// Share of the null deviance that is explained (counts).
    pub deviance_explained: Option<f64>,
}
