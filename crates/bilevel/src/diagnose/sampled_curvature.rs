//! The largest curvature `L` of a few samples, and the longest step that no sample turns into an expansion.
//!
//! Where the Hessian of each sample is positive semidefinite, a step on it up to `1/L` expands in no direction, `L` the largest
//! eigenvalue. The worst case over all rows would allow steps ten times shorter, and the cost of looking does not grow with the
//! number of rows. What was not looked at may be steeper, which a margin allows for.

use std::ops::Range;

use super::lanczos::lanczos;
use crate::error::{Error, Result};
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
    /// The factor by which a sample that was not looked at may exceed the largest.
    pub margin: f64,
    /// Seed of the samples, and of the vectors that products begin with.
    pub seed: u64,
}

impl SampledCurvature {
    /// The margin that serves for samples that differ as minibatches do.
    pub const MARGIN: f64 = 1.2;

    /// Twelve products with each of sixteen samples and a margin of a fifth. Of everything there is one sample, known by thirty
    /// products, and the margin of a fiftieth is for what they miss.
    pub fn new(batch: Batch, seed: u64) -> Self {
        let (products, margin) = match batch {
            Batch::All => (30, 1.02),
            Batch::Rows(_) => (12, Self::MARGIN),
        };
        SampledCurvature { batch, samples: 0..16, products, margin, seed }
    }

    /// The longest gradient step of `loss` that no sample turns into an expansion at any of the `points`: `1/(margin L)`, and
    /// what looking cost.
    ///
    /// # Errors
    /// Numeric, when a product is not finite, or when no sample curves upwards.
    pub fn longest_step_of_loss<L: StochasticLoss + ?Sized>(
        &self,
        loss: &L,
        points: &[&[f64]],
        lambda: &[f64],
    ) -> Result<(f64, Work)> {
        self.longest_step(points, |w| self.of_loss(loss, w, lambda))
    }

    /// The longest step `min(1, 1/(margin L))` of the iteration `w + eta (Phi_hat(w) - w)` that no sample turns into an
    /// expansion at any of the `points`.
    ///
    /// # Errors
    /// As [`longest_step_of_loss`](Self::longest_step_of_loss).
    pub fn longest_step_of_map<M: Symmetric + ?Sized>(
        &self,
        map: &M,
        points: &[&[f64]],
        lambda: &[f64],
    ) -> Result<(f64, Work)> {
        let (longest, work) = self.longest_step(points, |w| self.of_map(map, w, lambda))?;
        Ok((longest.min(1.0), work))
    }

    fn longest_step(
        &self,
        points: &[&[f64]],
        mut largest_at: impl FnMut(&[f64]) -> Result<(f64, Work)>,
    ) -> Result<(f64, Work)> {
        let (mut largest, mut work) = (0.0_f64, Work::default());
        for w in points {
            let (found, spent) = largest_at(w)?;
            (largest, work) = (largest.max(found), work + spent);
        }
        if largest <= 0.0 {
            return Err(Error::numeric("the lower level does not curve upwards where its steps are measured")
                .remedy("make it strongly convex in w, start elsewhere, or give the step"));
        }
        Ok((1.0 / (self.margin * largest), work))
    }

    /// The largest eigenvalue of the Hessians of `loss` at `w`, estimated from above, and what looking cost.
    ///
    /// # Errors
    /// Numeric, when a product is not finite.
    pub fn of_loss<L: StochasticLoss + ?Sized>(&self, loss: &L, w: &[f64], lambda: &[f64]) -> Result<(f64, Work)> {
        self.largest(w.len(), self.draws(|batch, rng, zeta| loss.draw(batch, rng, zeta)), |zeta, v, out| {
            loss.hessian_product(w, lambda, zeta, v, out);
            loss.size(zeta)
        })
    }

    /// The same of the matrices `I - d1Phi_hat` of `map`, which for a gradient step are the Hessians times the step.
    ///
    /// # Errors
    /// As [`of_loss`](Self::of_loss).
    pub fn of_map<M: Symmetric + ?Sized>(&self, map: &M, w: &[f64], lambda: &[f64]) -> Result<(f64, Work)> {
        self.largest(w.len(), self.draws(|batch, rng, zeta| map.draw(batch, rng, zeta)), |zeta, v, out| {
            map.vjp_w(w, lambda, zeta, v, out);
            vector::xpby(v, -1.0, out);
            map.size(zeta)
        })
    }

    /// Draws each sample by a stream of its own; products begin with one vector.
    fn draws(&self, draw: impl Fn(usize, &mut Rng, &mut Sample)) -> impl FnMut(u64, usize, &mut Sample) -> u64 {
        let seed = self.seed;
        move |number, rows, zeta| {
            draw(rows, &mut Rng::stream(seed, Purpose::Start, number), zeta);
            seed
        }
    }

    /// The same of any symmetric matrices of size `dim`. `draw` makes the sample of a number and returns the seed of the vector
    /// that products with it begin with; `product` returns the rows that it visits.
    pub(crate) fn largest(
        &self,
        dim: usize,
        mut draw: impl FnMut(u64, usize, &mut Sample) -> u64,
        mut product: impl FnMut(&Sample, &[f64], &mut [f64]) -> usize,
    ) -> Result<(f64, Work)> {
        let (mut largest, mut work, mut zeta) = (0.0_f64, Work::default(), Sample::Full);
        for number in self.samples.clone() {
            let seed = match self.batch {
                Batch::Rows(rows) => draw(number, rows, &mut zeta),
                Batch::All => self.seed,
            };
            let counted = |v: &[f64], out: &mut [f64]| work += Work::hessian_product(product(&zeta, v, out));
            largest = largest.max(lanczos(counted, dim, self.products, seed)?.largest_at_most());
            if self.batch == Batch::All {
                break;
            }
        }
        Ok((largest, work))
    }
}
