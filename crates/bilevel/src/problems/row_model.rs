//! Rows of a linear model, few and dense, for problems in which the rows themselves are what is played with.
//!
//! The models of [`glm`](super::glm) are for large data: their rows are shared and never change. Here rows belong to tasks,
//! or move.

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// The loss of a row as a function of its margin `m = x' w` and target `y`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LinearLoss {
    /// `(m - y)^2 / 2`.
    Squared,
    /// `y` in {0, 1}: `ln(1 + exp(m)) - y m`.
    Logistic,
}

impl LinearLoss {
    /// Value, first and second derivative in the margin.
    pub(super) fn jet(self, m: f64, y: f64) -> (f64, f64, f64) {
        match self {
            LinearLoss::Squared => (0.5 * (m - y) * (m - y), m - y, 1.0),
            LinearLoss::Logistic => {
                let e = (-m.abs()).exp();
                let (inverse, tail) = (1.0 / (1.0 + e), e / (1.0 + e));
                let probability = if m >= 0.0 { inverse } else { tail };
                (m.max(0.0) - y * m + e.ln_1p(), probability - y, inverse * tail)
            }
        }
    }
}

/// Features, row-major, and a target for each row.
#[derive(Debug, Clone)]
pub(super) struct Rows {
    features: Vec<f64>,
    p: usize,
    target: Vec<f64>,
    loss: LinearLoss,
}

impl Rows {
    pub(super) fn new(features: Vec<f64>, p: usize, target: Vec<f64>, loss: LinearLoss) -> Result<Self> {
        if p == 0 || target.is_empty() || features.len() != p * target.len() {
            return Err(Error::input(format!(
                "{} numbers make no {} rows of {p} features",
                features.len(),
                target.len()
            )));
        }
        if loss == LinearLoss::Logistic && target.iter().any(|&y| y != 0.0 && y != 1.0) {
            return Err(Error::input("the targets of a logistic loss must be 0 or 1"));
        }
        Ok(Rows { features, p, target, loss })
    }

    pub(super) fn features(&self) -> usize {
        self.p
    }

    pub(super) fn len(&self) -> usize {
        self.target.len()
    }

    pub(super) fn loss(&self) -> LinearLoss {
        self.loss
    }

    /// Features and target of row `i`.
    pub(super) fn row(&self, i: usize) -> (&[f64], f64) {
        (&self.features[i * self.p..(i + 1) * self.p], self.target[i])
    }
}
