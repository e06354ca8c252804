//! Steps of `w` and `v` that no sample turns into an expansion.
//!
//! The sampled Hessian is `H_zeta = D_zeta + R`: the part of the rows, and what is the same in all samples, such as a penalty
//! ([`add_product_rest`](crate::row_sums::RowSumLoss::add_product_rest)). The step of coordinate `j` is
//!
//! ```text
//! 1 / (1.2 (L + r_j)),    L the largest eigenvalue of a few sampled D_zeta,    r = R 1,
//! ```
//!
//! which is safe because `H_zeta <= L I + diag(r)`: a symmetric `R` without negative entries is at most the diagonal matrix of
//! its row sums, and a penalty is diagonal. `L` does not depend on penalties and is measured once a span; `R` costs nothing and
//! follows `lambda`. One number for both would not do: within a span a log-penalty may rise by several units, so that `R`
//! outgrows a step that was measured before, and after that the step for all would be the one for the largest penalty.
//!
//! Where nothing is the same in all samples `L` is that of the whole Hessian, and is measured anew when `lambda` has moved by
//! half a unit, then by one, two and so on as long as it stays what it was.

use crate::algorithms::field::Field;
use crate::diagnose::SampledCurvature;
use crate::error::Result;
use crate::lower::Dims;
use crate::sample::{Purpose, Rng, Sample};
use crate::vector;

/// Samples whose Hessians are measured, at first and in each span, and iterations of a span for each of these.
const PROBES: (usize, usize) = (16, 4);
const PER_PROBE: usize = 32;
/// Products with each.
const PRODUCTS: usize = 10;
/// Random vectors on which the bound of the part that is the same in all samples is tried.
const TRIALS: usize = 4;
/// What remains of the largest eigenvalue after a span in which none like it was measured.
const FORGET: f64 = 0.98;
/// Units that `lambda` may move before the part `R` is renewed, and at first before `L` is, where there is no such part.
const MOVED: (f64, f64) = (0.1, 0.5);

pub(super) struct LowerSteps {
    probes: Rng,
    /// Samples in a pass.
    samples: usize,
    /// The largest eigenvalue that was measured.
    largest: f64,
    /// Row sums of the part that is the same in all samples.
    rest: Vec<f64>,
    /// True where there is such a part, and its row sums bound it; found out at the first look.
    apart: Option<bool>,
    inverse: Vec<f64>,
    /// Powers of a half, one for each divergence.
    shorter: f64,
    /// Units that `lambda` may move before `L` is measured within a span.
    patience: f64,
    /// `lambda` when the steps were last renewed.
    at: Vec<f64>,
}

impl LowerSteps {
    pub fn new(dims: Dims, samples: usize, seed: u64) -> Self {
        LowerSteps {
            probes: Rng::stream(seed, Purpose::Start, 1),
            samples,
            largest: 0.0,
            rest: vec![0.0; dims.w],
            apart: None,
            inverse: vec![0.0; dims.w],
            shorter: 1.0,
            patience: MOVED.1,
            at: vec![0.0; dims.lambda],
        }
    }

    /// Moves `block` against `direction`.
    pub fn step(&self, factor: f64, direction: &[f64], block: &mut [f64]) {
        let factor = factor * self.shorter;
        for ((x, d), inverse) in block.iter_mut().zip(direction).zip(&self.inverse) {
            *x -= factor * inverse * d;
        }
    }

    /// Halves all steps from now on.
    pub fn shorten(&mut self) {
        self.shorter *= 0.5;
    }

    /// Measures at `x`, at the start or for a span of so many iterations.
    ///
    /// # Errors
    /// Numeric, when a product is not finite.
    pub fn measure(&mut self, field: &mut Field<'_>, x: &[f64], span: Option<usize>) -> Result<()> {
        self.look_at_rest(field, x);
        let probes = match span {
            None => self.samples.clamp(1, PROBES.0),
            Some(span) => (span / PER_PROBE).clamp(1, PROBES.1),
        };
        let largest = self.probe(field, x, probes)?;
        // What was seen before is forgotten slowly: a few samples may miss the worst.
        self.largest = largest.max(FORGET * self.largest);
        self.renew(field, x);
        Ok(())
    }

    /// Renews the steps where `lambda` has moved.
    ///
    /// # Errors
    /// As [`measure`](Self::measure).
    pub fn follow(&mut self, field: &mut Field<'_>, x: &[f64], units: &[f64]) -> Result<()> {
        let lambda = &x[field.layout.lambda()];
        let moved = lambda.iter().zip(&self.at).zip(units);
        let moved = moved.fold(0.0_f64, |most, ((here, there), unit)| most.max((here - there).abs() / unit));
        if self.apart == Some(true) {
            if moved > MOVED.0 {
                self.look_at_rest(field, x);
                self.renew(field, x);
            }
        } else if moved > self.patience {
            let largest = self.probe(field, x, 1)?;
            self.patience = if largest > self.largest { MOVED.1 } else { 2.0 * self.patience };
            self.largest = largest.max(self.largest);
            self.renew(field, x);
        }
        Ok(())
    }

    fn look_at_rest(&mut self, field: &Field<'_>, x: &[f64]) {
        let ([w, _, lambda], loss) = (field.layout.split(x), field.problem.lower);
        if self.apart == Some(false) {
            return;
        }
        self.rest.fill(0.0);
        loss.add_product_rest(1.0, w, lambda, &vec![1.0; w.len()], &mut self.rest);
        if self.apart.is_none() {
            // What says that it has no negative entries is tried on random vectors.
            let bounded = (0..TRIALS).all(|_| {
                let trial: Vec<f64> = (0..w.len()).map(|_| self.probes.normal()).collect();
                let mut product = vec![0.0; w.len()];
                loss.add_product_rest(1.0, w, lambda, &trial, &mut product);
                let bound: f64 = trial.iter().zip(&self.rest).map(|(v, r)| r * v * v).sum();
                vector::dot(&trial, &product) <= bound * (1.0 + 1e-9)
            });
            let positive = self.rest.iter().all(|r| *r >= 0.0) && self.rest.iter().any(|r| *r > 0.0);
            self.apart = Some(bounded && positive);
            if self.apart == Some(false) {
                self.rest.fill(0.0);
            }
        }
    }

    /// The largest eigenvalue of a few samples, without the part that is the same in all.
    fn probe(&mut self, field: &mut Field<'_>, x: &[f64], probes: usize) -> Result<f64> {
        let ([w, _, lambda], loss) = (field.layout.split(x), field.problem.lower);
        let (batch, apart) = (field.batch, self.apart == Some(true));
        let samples =
            SampledCurvature { samples: 0..probes as u64, products: PRODUCTS, ..SampledCurvature::new(batch, 0) };
        // No sample is drawn twice in a run, and the vectors that products begin with differ, too.
        let draw = |number, rows, zeta: &mut Sample| {
            loss.draw(rows, &mut self.probes, zeta);
            number
        };
        let product = |zeta: &Sample, v: &[f64], out: &mut [f64]| {
            loss.hessian_product(w, lambda, zeta, v, out);
            if apart {
                loss.add_product_rest(-1.0, w, lambda, v, out);
            }
            loss.size(zeta)
        };
        let (largest, work) = samples.largest(w.len(), draw, product)?;
        field.room.work += work;
        Ok(largest)
    }

    fn renew(&mut self, field: &Field<'_>, x: &[f64]) {
        self.at.copy_from_slice(&x[field.layout.lambda()]);
        for (inverse, rest) in self.inverse.iter_mut().zip(&self.rest) {
            *inverse = 1.0 / (SampledCurvature::MARGIN * (self.largest + rest)).max(f64::MIN_POSITIVE);
        }
    }
}
