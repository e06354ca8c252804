//! A fitted linear model.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use super::diagnostics::Diagnostics;
use super::metrics::{Metrics, predicted_classes};
use crate::data::{Dataset, DesignMatrix, Element, Target};
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
    /// `x_i^T W + b` for each row, `C` numbers a row.
    ///
    /// # Panics
    /// When the matrix does not have `p` columns.
    pub fn margins(&self, design: &DesignMatrix) -> Vec<f64> {
        assert_eq!(design.cols(), self.features, "the matrix must have the features of the model");
        let mut margins = self.intercept.repeat(design.rows());
        match design {
            DesignMatrix::DenseF32(m) => self.add_products(&mut margins, |i| dense_row(m.row(i))),
            DesignMatrix::DenseF64(m) => self.add_products(&mut margins, |i| dense_row(m.row(i))),
            DesignMatrix::CsrF32(m) => self.add_products(&mut margins, |i| sparse_row(m.row(i))),
            DesignMatrix::CsrF64(m) => self.add_products(&mut margins, |i| sparse_row(m.row(i))),
        }
        margins
    }

    fn add_products<I: Iterator<Item = (usize, f64)>>(&self, margins: &mut [f64], row: impl Fn(usize) -> I) {
        for (i, margins) in margins.chunks_exact_mut(self.outputs).enumerate() {
            for (j, x) in row(i) {
                let weights = &self.coef[j * self.outputs..(j + 1) * self.outputs];
                margins.iter_mut().zip(weights).for_each(|(m, w)| *m += x * w);
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

    /// The class code predicted for each row; for classifiers.
    pub fn predict_classes(&self, design: &DesignMatrix) -> Vec<u32> {
        predicted_classes(self.loss, &self.margins(design)).collect()
    }

    /// Predictions set against the target of `data`; `rows_are` names the rows.
    pub fn diagnostics(&self, data: &Dataset, rows_are: impl Into<String>) -> Diagnostics {
        Diagnostics::compute(self.loss, &self.margins(&data.design), &target_numbers(&data.target), rows_are)
    }

    /// How well the model predicts the target of `data`.
    pub fn metrics(&self, data: &Dataset) -> Metrics {
        Metrics::compute(self.loss, &self.margins(&data.design), &target_numbers(&data.target))
    }
}

/// The target as the numbers the losses take: class codes, or the values themselves.
pub(crate) fn target_numbers(target: &Target) -> Cow<'_, [f64]> {
    match target {
        Target::Classes { codes, .. } => codes.iter().map(|&code| f64::from(code)).collect(),
        Target::Values(values) => Cow::Borrowed(values),
    }
}

fn dense_row<T: Element>(row: &[T]) -> impl Iterator<Item = (usize, f64)> + '_ {
    row.iter().map(|x| x.to_f64()).enumerate()
}

fn sparse_row<'a, T: Element>((indices, values): (&'a [u32], &'a [T])) -> impl Iterator<Item = (usize, f64)> + 'a {
    indices.iter().map(|&j| j as usize).zip(values.iter().map(|x| x.to_f64()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::{CsrMatrix, DenseMatrix};

    #[test]
    fn margins_do_not_depend_on_the_storage() {
        let model = LinearModel {
            loss: Loss::Softmax { classes: 2 },
            features: 3,
            outputs: 2,
            coef: vec![1.0, -1.0, 2.0, 0.5, 0.0, 4.0],
            intercept: vec![0.25, -0.5],
        };
        let dense = DesignMatrix::DenseF64(DenseMatrix::new(2, 3, vec![1.0, 0.0, 2.0, 0.0, 3.0, 0.0]));
        let sparse = DesignMatrix::CsrF32(CsrMatrix::new(3, vec![0, 2, 3], vec![0, 2, 1], vec![1.0, 2.0, 3.0]));
        assert_eq!(model.margins(&dense), [1.25, 6.5, 6.25, 1.0]);
        assert_eq!(model.margins(&sparse), model.margins(&dense));
        assert_eq!(model.predict_classes(&dense), [1, 0]);
        assert!(model.predict(&sparse).chunks(2).all(|p| (p[0] + p[1] - 1.0).abs() < 1e-15));
    }
}
