//! The Hessian in the space of the rows.
//!
//! Vectors hold `n C` numbers of the rows, row after row, and the `C` numbers of the intercepts behind them (zeros
//! without intercepts).

use crate::data::KernelRows;
use crate::problems::glm::{Glm, MarginLoss};

/// Kernel, loss and intercepts of one lower level at one `lambda`.
pub(super) struct RowSpace {
    pub kernel: KernelRows,
    pub loss: MarginLoss,
    pub intercept: bool,
    pub outputs: usize,
    /// `1 / strength` of each feature of the kernel.
    pub by_feature: Vec<f64>,
    /// `1 / strength` of each output, a factor of its own.
    pub by_output: Vec<f64>,
    /// Strengths as factors of all features of the original matrix and of the outputs.
    pub strengths: (Vec<f64>, Vec<f64>),
}

impl RowSpace {
    /// The row space of `glm`, at no `lambda` yet; `None` for dense rows.
    pub fn new(glm: &Glm<'_>) -> Option<Self> {
        let risk = glm.risk();
        Some(RowSpace {
            kernel: glm.kernel_rows()?,
            loss: MarginLoss::new(risk),
            intercept: risk.parameters() > risk.features() * risk.outputs(),
            outputs: risk.outputs(),
            by_feature: Vec::new(),
            by_output: Vec::new(),
            strengths: Default::default(),
        })
    }

    /// Takes the strengths at `lambda`.
    pub fn set_lambda(&mut self, glm: &Glm<'_>, lambda: &[f64]) {
        self.strengths = glm.penalty().factors(lambda, glm.risk().features(), self.outputs);
        let (by_feature, by_output) = &self.strengths;
        self.by_feature = self.kernel.columns().iter().map(|&j| 1.0 / by_feature[j as usize]).collect();
        self.by_output = by_output.iter().map(|s| 1.0 / s).collect();
    }

    /// Numbers of the rows: `n C`.
    pub fn margins(&self) -> usize {
        self.kernel.len() * self.outputs
    }

    /// Length of vectors.
    pub fn dim(&self) -> usize {
        self.margins() + self.outputs
    }

    /// `out = (K z, intercepts of z)`.
    pub fn lift(&self, z: &[f64], out: &mut [f64]) {
        let size = self.margins();
        let (rows, intercept) = out.split_at_mut(size);
        self.kernel.kernel_product(&z[..size], self.outputs, &self.by_feature, rows);
        self.scale_outputs(rows);
        intercept.copy_from_slice(&z[size..]);
    }

    fn scale_outputs(&self, rows: &mut [f64]) {
        if self.by_output.iter().any(|&s| s != 1.0) {
            for row in rows.chunks_exact_mut(self.outputs) {
                row.iter_mut().zip(&self.by_output).for_each(|(x, s)| *x *= s);
            }
        }
    }

    /// `M = K A + 1 b^T` from the lifted `(K A, b)`, into `out` of length `n C`.
    pub fn margins_of(&self, lifted: &[f64], out: &mut [f64]) {
        let (rows, intercept) = lifted.split_at(self.margins());
        for (out, row) in out.chunks_exact_mut(self.outputs).zip(rows.chunks_exact(self.outputs)) {
            out.iter_mut().zip(row).zip(intercept).for_each(|((o, m), b)| *o = m + b);
        }
    }

    /// `out = (base + G, 1^T G + gauge of b)`, for `G` of shape `n x C` in the first part of `out`: how gradients and
    /// Hessian products end. The gauge is that of [`Glm`].
    pub fn close(&self, base: &[f64], b: &[f64], out: &mut [f64]) {
        let size = self.margins();
        let (rows, intercept) = out.split_at_mut(size);
        intercept.fill(0.0);
        if self.intercept {
            for row in rows.chunks_exact(self.outputs) {
                intercept.iter_mut().zip(row).for_each(|(o, g)| *o += g);
            }
            let mean = if self.outputs > 1 { b.iter().sum::<f64>() / self.outputs as f64 } else { 0.0 };
            intercept.iter_mut().for_each(|o| *o += mean);
        }
        crate::vector::axpy(1.0, &base[..size], rows);
    }

    /// `out = H p` for `p` with its lifted `q`.
    pub fn hessian_product(&self, curvature: &[f64], p: &[f64], q: &[f64], out: &mut [f64]) {
        let size = self.margins();
        self.margins_of(q, &mut out[..size]);
        self.loss.curvature_product(curvature, &mut out[..size]);
        self.close(p, &q[size..], out);
    }

    /// `X T` of weights given for all features, in the order of the original matrix.
    pub fn margins_of_weights(&self, weights: &[f64], out: &mut [f64]) {
        self.kernel.product(weights, self.outputs, out);
    }

    /// `w += (S X^T A, b)` for the point `(A, b)`.
    pub fn add_parameters(&self, point: &[f64], w: &mut [f64]) {
        let intercepts = if self.intercept { self.outputs } else { 0 };
        let (weights, intercept) = w.split_at_mut(w.len() - intercepts);
        self.add_weights(point, weights);
        intercept.iter_mut().zip(&point[self.margins()..]).for_each(|(w, b)| *w += b);
    }

    /// `weights += S X^T z` over all features, in the order of the original matrix.
    pub fn add_weights(&self, z: &[f64], weights: &mut [f64]) {
        let outputs = self.outputs;
        let z = &z[..self.margins()];
        self.kernel.scaled_transpose_product(z, outputs, &self.by_feature, |j, t| {
            let weights = &mut weights[j * outputs..][..outputs];
            weights.iter_mut().zip(t).zip(&self.by_output).for_each(|((w, t), s)| *w += t * s);
        });
    }
}
