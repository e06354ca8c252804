//! The relevance law: many penalties from two hyperparameters.
//!
//! A fit with one shared penalty already tells which features matter. Automatic relevance determination (MacKay 1992;
//! Neal 1996) sets each penalty to the inverse of the second moment of its weights, `E[w_j^2] = w_j^2 + variance`; the
//! adaptive lasso (Zou 2006) raises it to a power. Both are `lambda_j = level + exponent b_j` with
//! `b_j = -ln(w_j^2 + variance_j)`, and with only level and exponent to tune the criterion cannot be overfitted much.
//! Exponent 0 is the shared penalty. In each fold, `b` comes from that fold's own shared fit, so that the judging rows
//! stay unseen.

use crate::lower::{Curved, StochasticLoss};
use crate::problems::glm::{EmpiricalRisk, Glm, Penalty};

/// `b_h = -ln(mean over the weights of hyperparameter h of w^2 + variance)`, centred; `variance = 1/(n H_jj)`.
pub(super) fn relevance(risk: &EmpiricalRisk<'_>, penalty: &Penalty, shared: f64, w: &[f64]) -> Vec<f64> {
    let glm = Glm::new(risk.clone(), Penalty::Shared);
    let mut diagonal = vec![0.0; glm.dims().w];
    glm.curvature(w, &[shared]).diagonal(&mut diagonal);
    let n = risk.len() as f64;
    let scale = risk.variance_scale(w);
    let m = penalty.hyperparameters();
    let (mut moment, mut count) = (vec![0.0; m], vec![0.0; m]);
    penalty.for_each_weight(risk.features() * risk.outputs(), risk.outputs(), |i, h| {
        moment[h] += w[i] * w[i] + scale / (n * diagonal[i]);
        count[h] += 1.0;
    });
    let mut b: Vec<f64> =
        moment.iter().zip(&count).map(|(s, c)| -f64::max(s / f64::max(*c, 1.0), 1e-300).ln()).collect();
    let mean = b.iter().sum::<f64>() / m as f64;
    b.iter_mut().for_each(|b| *b -= mean);
    b
}
