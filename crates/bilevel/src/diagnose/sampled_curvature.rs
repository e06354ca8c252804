//! The largest curvature of a few samples: what bounds the steps that no sample turns into an expansion.

use std::ops::Range;

use super::lanczos::lanczos;
use crate::error::Result;
use crate::lower::{StochasticLoss, Symmetric};
use crate::sample::{Batch, Purpose, Rng, Sample};
use crate::vector;
use crate::work::Work;

/// Which samples are looked at, and how closely.
#[derive(Debug, Clone, PartialEq)]
pub struct SampledCurvature {
    /// Their size. Everything is a single sample.
    pub batch: Batch,
    /// Their numbers under `seed`: each is drawn by a stream of its own.
    pub samples: Range<u64>,
    /// Products with each.
    pub products: usize,
    /// Seed of the samples, and of the vectors that products begin with.
    pub seed: u64,
}

impl SampledCurvature {
    /// The largest eigenvalue of the Hessians of `loss` at `w`, estimated from above, and what looking cost.
    ///
    /// # Errors
    /// Numeric, when a product is not finite.
    pub fn of_loss<L: StochasticLoss + ?Sized>(&self, loss: &L, w: &[f64], lambda: &[f64]) -> Result<(f64, Work)> {
        self.largest(
            w.len(),
            |batch, rng, zeta| loss.draw(batch, rng, zeta),
            |zeta, v, out| {
                loss.hessian_product(w, lambda, zeta, v, out);
                loss.size(zeta)
            },
        )
    }

    /// The same of the matrices `I - d1Phi_hat` of `map`, which for a gradient step are the Hessians times the step.
    ///
    /// # Errors
    /// As [`of_loss`](Self::of_loss).
    pub fn of_map<M: Symmetric + ?Sized>(&self, map: &M, w: &[f64], lambda: &[f64]) -> Result<(f64, Work)> {
        self.largest(
            w.len(),
            |batch, rng, zeta| map.draw(batch, rng, zeta),
            |zeta, v, out| {
                map.vjp_w(w, lambda, zeta, v, out);
                vector::xpby(v, -1.0, out);
                map.size(zeta)
            },
        )
    }

    /// `product` returns the rows that it visits.
    fn largest(
        &self,
        dim: usize,
        draw: impl Fn(usize, &mut Rng, &mut Sample),
        product: impl Fn(&Sample, &[f64], &mut [f64]) -> usize,
    ) -> Result<(f64, Work)> {
        let (mut largest, mut work, mut zeta) = (0.0_f64, Work::default(), Sample::Full);
        for number in self.samples.clone() {
            if let Batch::Rows(rows) = self.batch {
                draw(rows, &mut Rng::stream(self.seed, Purpose::Start, number), &mut zeta);
            }
            let counted = |v: &[f64], out: &mut [f64]| work += Work::hessian_product(product(&zeta, v, out));
            largest = largest.max(lanczos(counted, dim, self.products, self.seed)?.largest_at_most());
            if self.batch == Batch::All {
                break;
            }
        }
        Ok((largest, work))
    }
}
