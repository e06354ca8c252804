//! A fitted linear model.

use serde::{Deserialize, Serialize};

use super::diagnostics::Diagnostics;
use super::metrics::Metrics;
use crate::data::{Buffer, Dataset, DesignMatrix, Pass, RowRanges, Standardization, Target};
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

impl LinearModel {
    /// The model with the parameters `w`, weights and then intercepts, of a fit in the units that `standardization` gave.
    pub(super) fn in_units_of_the_data(
        w: Vec<f64>,
        loss: Loss,
        features: usize,
        standardization: &Standardization,
    ) -> Self {
        let (mut coef, outputs) = (w, loss.outputs());
        let mut intercept = coef.split_off(features * outputs);
        standardization.fold_back(&mut coef, &mut intercept);
        intercept.resize(outputs, 0.0);
        LinearModel { loss, features, outputs, coef, intercept }
    }

    /// `x_i^T W + b` for each row, `C` numbers a row.
    ///
    /// # Panics
    /// When the matrix does not have `p` columns.
    pub fn margins(&self, design: &DesignMatrix) -> Vec<f64> {
        assert_eq!(design.cols(), self.features, "the matrix must have the features of the model");
        Pass::new(design, &RowRanges::all(design.rows())).all_margins(&self.coef, &self.intercept)
    }

    /// The same for rows that may have been standardized when they were written to a mapped file.
    ///
    /// # Panics
    /// When the data do not have `p` features.
    pub fn margins_of(&self, data: &Dataset) -> Vec<f64> {
        match data.arrangement.as_ref().and_then(|arrangement| arrangement.standardization.as_ref()) {
            None => self.margins(&data.design),
            Some(standardization) => {
                let mut model = self.clone();
                standardization.unfold(&mut model.coef, &mut model.intercept);
                model.margins(&data.design)
            }
        }
    }

    /// Predictions on the scale of the target, `C` a row: class probabilities (for one margin the probability of
    /// class 1; the hinge has none and gives its margin), means, or rates.
    pub fn predict(&self, design: &DesignMatrix) -> Vec<f64> {
        let mut margins = self.margins(design);
        self.loss.predict(&mut margins);
        margins
    }

    /// Predictions set against the target of `data`; `rows_are` names the rows.
    pub fn diagnostics(&self, data: &Dataset, rows_are: impl Into<String>) -> Diagnostics {
        let (margins, y) = (self.margins_of(data), target_numbers(data));
        Diagnostics::using_up(self.loss, margins, &y, data.weights.as_deref(), rows_are)
    }

    /// How well the model predicts the target of `data`.
    pub fn metrics(&self, data: &Dataset) -> Metrics {
        let (mut margins, y) = (self.margins_of(data), target_numbers(data));
        Metrics::using_up(self.loss, &mut margins, &y, data.weights.as_deref())
    }
}

/// The target as the numbers the losses take: class codes, or the values themselves, shared where they are numbers
/// already.
pub(crate) fn target_numbers(data: &Dataset) -> Buffer<f64> {
    match (&data.arrangement, &data.target) {
        (Some(arrangement), _) => arrangement.numbers.clone(),
        (None, Target::Classes { codes, .. }) => codes.iter().map(|&code| f64::from(code)).collect(),
        (None, Target::Values(values)) => values.clone(),
    }
}
