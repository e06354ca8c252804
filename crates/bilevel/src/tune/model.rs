//! A fitted linear model.

use serde::{Deserialize, Serialize};

use super::diagnostics::Diagnostics;
use super::metrics::Metrics;
use crate::data::{Buffer, Dataset, DesignMatrix, Pass, RowRanges, Standardization, Target};
use crate::problems::glm::Loss;
use crate::{Error, Result};

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

    /// The margins `x_i^T W + b`, `C` numbers a row, also of rows that were standardized when they were written to a mapped
    /// file.
    ///
    /// # Errors
    /// Input, when the data do not have `p` features.
    pub fn margins(&self, data: &Dataset) -> Result<Vec<f64>> {
        match data.arrangement.as_ref().and_then(|arrangement| arrangement.standardization.as_ref()) {
            None => self.margins_of(&data.design),
            Some(standardization) => {
                self.check_features(&data.design)?;
                let mut model = self.clone();
                standardization.unfold(&mut model.coef, &mut model.intercept);
                model.margins_of(&data.design)
            }
        }
    }

    /// The same of features in the units of the model.
    pub(super) fn margins_of(&self, design: &DesignMatrix) -> Result<Vec<f64>> {
        self.check_features(design)?;
        Ok(Pass::new(design, &RowRanges::all(design.rows())).all_margins(&self.coef, &self.intercept))
    }

    fn check_features(&self, design: &DesignMatrix) -> Result<()> {
        match (design.cols(), self.features) {
            (found, needed) if found == needed => Ok(()),
            (found, needed) => {
                Err(Error::input(format!("the data have {found} features, and the model weighs {needed}"))
                    .remedy("encode them as the training data were encoded"))
            }
        }
    }

    /// Predictions on the scale of the target, `C` a row: class probabilities (for one margin the probability of
    /// class 1; the hinge has none and gives its margin), means, or rates.
    ///
    /// # Errors
    /// Those of [`LinearModel::margins`].
    pub fn predict(&self, data: &Dataset) -> Result<Vec<f64>> {
        let mut margins = self.margins(data)?;
        self.loss.predict(&mut margins);
        Ok(margins)
    }

    /// Predictions set against the target of `data`; `rows_are` names the rows.
    ///
    /// # Errors
    /// Input, when the data do not have the features of the model, or not its classes.
    pub fn diagnostics(&self, data: &Dataset, rows_are: impl Into<String>) -> Result<Diagnostics> {
        let (margins, y) = (self.margins(data)?, self.numbers_of(data)?);
        Ok(Diagnostics::using_up(self.loss, margins, &y, data.weights.as_deref(), rows_are))
    }

    /// How well the model predicts the target of `data`.
    ///
    /// # Errors
    /// Those of [`LinearModel::diagnostics`].
    pub fn metrics(&self, data: &Dataset) -> Result<Metrics> {
        let (mut margins, y) = (self.margins(data)?, self.numbers_of(data)?);
        Ok(Metrics::using_up(self.loss, &mut margins, &y, data.weights.as_deref()))
    }

    /// The target as numbers, where it is of the kind that the model predicts.
    fn numbers_of(&self, data: &Dataset) -> Result<Buffer<f64>> {
        let classes = match &data.target {
            Target::Classes { names, .. } => names.len(),
            Target::Values(_) => 0,
        };
        let predicted = if self.loss.is_classifier() { self.outputs.max(2) } else { 0 };
        if classes != predicted {
            let target = |classes: usize| if classes == 0 { "numbers".into() } else { format!("{classes} classes") };
            return Err(Error::input(format!(
                "the target of the data is {}, and the model predicts {}",
                target(classes),
                target(predicted)
            ))
            .remedy("give data with the target of the training data"));
        }
        Ok(target_numbers(data))
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
