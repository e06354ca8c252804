//! The gradient step of a loss of which nothing is known but products with its Hessian: how long it may be, and how it
//! contracts.
//!
//! ```text
//! alpha = 1/(1.2 L),    q = 1 - alpha mu,
//! ```
//!
//! with the largest eigenvalue `L` of the Hessians of a few samples and the smallest, `mu`, of that of some thousand rows
//! (theory, section 5). The cost does not grow with the number of rows. [`loss_constants`](super::loss_constants) measures on
//! all of them.

use super::lanczos::lanczos;
use super::sampled_curvature::SampledCurvature;
use crate::error::Result;
use crate::lower::{GradientMap, StochasticLoss};
use crate::sample::{Batch, Purpose, Rng, Sample};
use crate::work::Work;

/// Samples whose curvature bounds the step: functions of one's own may be slow.
const SAMPLES: u64 = 8;
/// Rows of the sample whose Hessian tells how fast a start is forgotten, and products with it.
const FORGETTING: (usize, usize) = (4096, 60);

/// A step of the [`GradientMap`] of a loss, and what is known of it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct GradientStep {
    /// The step `alpha` of the map.
    pub map_step: f64,
    /// The contraction `q` of the map; a lower estimate, since Lanczos values come from inside of the spectrum. Nothing where
    /// it was not measured, or where the Hessian is not positive definite.
    pub contraction: Option<f64>,
    /// What measuring cost.
    pub work: Work,
}

impl GradientStep {
    /// The longest step at `w` that no sample of `batch` rows turns into an expansion, with its contraction.
    ///
    /// Estimators to a [precision](crate::hypergradient::Precision) want both: without `q` they take what is forgotten slowly
    /// for what does not matter.
    ///
    /// # Errors
    /// Numeric, when a product is not finite, or when no sample curves upwards.
    pub fn measured<L>(loss: &L, w: &[f64], lambda: &[f64], batch: Batch, seed: u64) -> Result<Self>
    where
        L: StochasticLoss + ?Sized,
    {
        Self::longest(loss, w, lambda, batch, seed)?.with_contraction(loss, w, lambda, seed)
    }

    /// The step alone.
    ///
    /// # Errors
    /// As [`measured`](Self::measured).
    pub fn longest<L>(loss: &L, w: &[f64], lambda: &[f64], batch: Batch, seed: u64) -> Result<Self>
    where
        L: StochasticLoss + ?Sized,
    {
        let samples = SampledCurvature { samples: 0..SAMPLES, ..SampledCurvature::new(batch, seed) };
        let (map_step, work) = samples.longest_step_of_loss(loss, &[w], lambda)?;
        Ok(GradientStep { map_step, contraction: None, work })
    }

    /// The same step with its contraction at `w`.
    ///
    /// # Errors
    /// Numeric, when a product is not finite.
    pub fn with_contraction<L>(self, loss: &L, w: &[f64], lambda: &[f64], seed: u64) -> Result<Self>
    where
        L: StochasticLoss + ?Sized,
    {
        let (rows, products) = FORGETTING;
        let mut sample = Sample::Full;
        if loss.size(&sample) > rows {
            loss.draw(rows, &mut Rng::stream(seed, Purpose::Start, SAMPLES), &mut sample);
        }
        let product = |v: &[f64], out: &mut [f64]| loss.hessian_product(w, lambda, &sample, v, out);
        let spectrum = lanczos(product, w.len(), products, seed)?;
        let q = 1.0 - self.map_step * spectrum.smallest;
        let work = self.work + Work::hessian_product(spectrum.products * loss.size(&sample));
        Ok(GradientStep { contraction: (0.0..1.0).contains(&q).then_some(q), work, ..self })
    }

    /// The map of this step.
    pub fn map<'a, L: ?Sized>(&self, loss: &'a L) -> GradientMap<'a, L> {
        GradientMap { loss, map_step: self.map_step }
    }
}
