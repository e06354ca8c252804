//! Units in which the lower level of a linear model has a curvature of about 1 in every coordinate.
//!
//! Penalties differ by factors of thousands, and so do the scales of features; in such units the gradient step contracts at a
//! useful rate all the same. Their step is the longest that no minibatch turns into an expansion.

use crate::Result;
use crate::diagnose::SampledCurvature;
use crate::lower::Curved;
use crate::problems::glm::{EmpiricalRisk, Glm, Penalty};
use crate::problems::scaled::Scaled;
use crate::sample::Batch;
use crate::work::Work;

/// Rows from which curvatures are estimated.
const PILOT_ROWS: usize = 4096;
/// Minibatches looked at for the longest step, and products with each.
const PROBES: (u64, usize) = (8, 10);

/// The scaled gradient step at one `lambda`.
pub(super) struct Units {
    pub lambda: Vec<f64>,
    /// One over the root of the curvature of each coordinate.
    pub scale: Vec<f64>,
    /// The step of the gradient map in these units.
    pub map_step: f64,
    /// Curvature of the penalty in these units, where it is least: the lower level has no less.
    softest: f64,
    pub work: Work,
}

/// Some of the rows, with a loss of bounded curvature.
pub(super) fn pilot<'a>(risk: &EmpiricalRisk<'a>) -> EmpiricalRisk<'a> {
    risk.majorant().restricted(0..PILOT_ROWS.min(risk.len()))
}

impl Units {
    /// Measures on the rows of `pilot` at `w`, for steps on samples of `batch` rows.
    pub(super) fn measure(
        pilot: &Glm<'_>,
        w: &[f64],
        lambda: &[f64],
        batch: Batch,
        (seed, index): (u64, u64),
    ) -> Result<Self> {
        let strengths = Penalty::strengths(lambda);
        let mut curvature = vec![0.0; w.len()];
        pilot.curvature(w, lambda).diagonal(&mut curvature);
        let mut work = Work::hessian_product(pilot.risk().len());
        let mut penalties = vec![0.0; w.len()];
        let (features, outputs) = (pilot.risk().features(), pilot.risk().outputs());
        pilot.penalty().for_each_weight(features * outputs, outputs, |i, h| penalties[i] = strengths[h]);
        // A minibatch has the curvature of its own rows, up to |x|^2 / batch beyond the mean; only a change of units that
        // knows it keeps a rare feature from dictating the step of all others.
        let data: f64 = curvature.iter().zip(&penalties).map(|(c, p)| (c - p).max(0.0)).sum();
        let (own, probes) = match batch {
            Batch::Rows(rows) => (data / rows as f64, PROBES.0),
            Batch::All => (1e-6 * data, 1),
        };
        let scale: Vec<f64> = curvature.iter().map(|c| 1.0 / (c + own).max(f64::MIN_POSITIVE).sqrt()).collect();
        let softest = penalties.iter().zip(&scale).filter(|(p, _)| **p > 0.0).map(|(p, s)| p * s * s);
        let softest = softest.fold(1.0, f64::min);

        let scaled = Scaled { inner: pilot, scale: &scale[..] };
        let y: Vec<f64> = w.iter().zip(&scale).map(|(w, s)| w / s).collect();
        let samples = index * probes..(index + 1) * probes;
        let margin = SampledCurvature::MARGIN;
        let minibatches = SampledCurvature { batch, samples, products: PROBES.1, margin, seed };
        let (map_step, spent) = minibatches.longest_step_of_loss(&scaled, &[&y], lambda)?;
        work += spent;
        Ok(Units { lambda: lambda.to_vec(), scale, map_step, softest, work })
    }

    /// Bound on the contraction of the map, from what the penalties alone give.
    pub(super) fn contraction(&self) -> f64 {
        (1.0 - self.map_step * self.softest).clamp(0.0, 1.0 - 1e-12)
    }
}
