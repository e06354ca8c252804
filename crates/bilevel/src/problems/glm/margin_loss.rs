//! The mean loss as a function of the margins of all rows, without the data that made them.

use rayon::prelude::*;

use super::loss::Loss;
use super::risk::EmpiricalRisk;
use super::weighting::Weighting;

/// Rows of one task.
const ROWS: usize = 512;

/// `sum_i c_i loss(m_i, y_i) / sum_i c_i` for margins `m` of shape `n x C`, in the order of the rows.
#[derive(Debug, Clone)]
pub struct MarginLoss {
    loss: Loss,
    y: Vec<f64>,
    weights: Option<Vec<f64>>,
    scale: f64,
}

impl MarginLoss {
    /// The loss of the rows of `risk`.
    pub fn new(risk: &EmpiricalRisk<'_>) -> Self {
        let gather = |source: &[f64]| risk.rows.ranges().iter().flat_map(|r| &source[r.clone()]).copied().collect();
        let weights = match risk.weighting {
            Weighting::Uniform => None,
            Weighting::Rows(c) => Some(gather(c)),
        };
        MarginLoss { loss: risk.loss, y: gather(risk.target), weights, scale: risk.scale }
    }

    /// Number of outputs `C`.
    pub fn outputs(&self) -> usize {
        self.loss.outputs()
    }

    /// Replaces the margins by the derivatives of the mean loss in them; returns the mean loss.
    pub fn gradient(&self, margins: &mut [f64]) -> f64 {
        let sum = self.blocks(margins, |y, weights, _, margins| self.loss.gradient(margins, y, weights));
        margins.iter_mut().for_each(|g| *g *= self.scale);
        sum * self.scale
    }

    /// Replaces the margins by what the other functions take as `curvature`.
    pub fn curvature(&self, margins: &mut [f64]) {
        self.blocks(margins, |y, _, _, margins| {
            self.loss.curvature(margins, y);
            0.0
        });
    }

    /// Replaces a direction `u` in the margins by `D u`, `D` the second derivative of the mean loss.
    pub fn curvature_product(&self, curvature: &[f64], u: &mut [f64]) {
        self.blocks(u, |_, weights, first, u| {
            self.loss.curvature_product(&curvature[first..first + u.len()], weights, u);
            u.iter_mut().for_each(|u| *u *= self.scale);
            0.0
        });
    }

    /// The diagonal of `D`, of shape `n x C`.
    pub fn curvature_diagonal(&self, curvature: &[f64]) -> Vec<f64> {
        let mut diagonal = vec![0.0; curvature.len()];
        self.blocks(&mut diagonal, |_, weights, first, d| {
            self.loss.curvature_diagonal(&curvature[first..first + d.len()], weights, d);
            d.iter_mut().for_each(|d| *d *= self.scale);
            0.0
        });
        diagonal
    }

    /// Calls `visit(y, weights, first, block)` on blocks of `values` and adds up what it returns, in order.
    fn blocks(
        &self,
        values: &mut [f64],
        visit: impl Fn(&[f64], Option<&[f64]>, usize, &mut [f64]) -> f64 + Sync,
    ) -> f64 {
        let outputs = self.outputs();
        let sums: Vec<f64> = values
            .par_chunks_mut(ROWS * outputs)
            .enumerate()
            .map(|(index, block)| {
                let rows = index * ROWS..index * ROWS + block.len() / outputs;
                let weights = self.weights.as_ref().map(|c| &c[rows.clone()]);
                visit(&self.y[rows.clone()], weights, rows.start * outputs, block)
            })
            .collect();
        sums.iter().sum()
    }
}
