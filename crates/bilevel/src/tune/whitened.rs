//! The hypergradient of a linear model's penalties by few passes: variance-reduced SID in units in which the Hessian of
//! some of the rows is the identity.
//!
//! With some thousand rows behind the Cholesky factor the Hessian of all rows has a condition number of two or three in these
//! units, whatever the penalties are. A round then brings the error down by an order of magnitude. Larger batches let the
//! steps be longer, up to those of all rows; a few hundred rows are where that stops to pay.

use std::ops::Range;

use super::problem::GlmProblem;
use super::units::pilot as some_rows;
use crate::Result;
use crate::diagnose::{SampledCurvature, Spectrum, lanczos};
use crate::hypergradient::{PreciseHypergradient, PreciseSvrg, Precision, Stage, WarmStart};
use crate::lower::{Curvature, GradientMap, StochasticLoss};
use crate::newton::Newton;
use crate::observer::Observer;
use crate::operator::ByRemembering;
use crate::problems::glm::{EmpiricalRisk, Glm, GlmCurvature};
use crate::problems::scaled::{Scaled, Units, Whitening};
use crate::sample::{Batch, Sample};
use crate::status::Status;
use crate::stop::StopSignal;
use crate::upper::UpperObjective;
use crate::vector;
use crate::work::Work;

/// Rows of the first, rough fit.
const FIRST_ROWS: usize = 512;
/// Rows whose Hessian makes the units.
const PILOT_ROWS: usize = 4096;
/// Steps in these units by which the fit of those rows is improved.
const PILOT_STEPS: usize = 2;
/// Other rows that tell the spectrum in these units, and products with them.
const SPECTRUM: (usize, usize) = (2048, 6);
/// Minibatches looked at for the step, and products with each.
const PROBES: (u64, usize) = (4, 6);
/// The step as a multiple of one over the largest curvature of these minibatches; below 2, with room for others.
const STEP: f64 = 1.2;
/// Rows of a minibatch, steps and number of the chains of a round.
const BATCH: usize = 192;
const STEPS: usize = 18;
const CHAINS: usize = 4;

/// Largest number of parameters for which a Cholesky factor is affordable, whose use costs their square at each step.
const LARGEST: usize = 2000;
/// How many times slower than in its pilot's eyes the map may be before that counts, and pilots at most: where the curvature
/// of the loss falls on the way to the solution, an estimate in the units of a rough fit ends early.
const SLOWER: f64 = 1.5;
const PILOTS: usize = 6;
/// The factor by which a round brings the error bar down (measured, see `docs/choosing-a-method.md`).
const ROUND: f64 = 7.0;
/// Rows that plain SID visits for a relative error of 1, all told (measured, see `docs/error-bars.md`), and the number of
/// runs of its trial.
const PLAIN: (f64, f64) = (250.0, 50.0);
/// Rows of a minibatch of plain SID.
const PLAIN_BATCH: f64 = 64.0;

impl GlmProblem {
    /// The stated cost model: the rows that plain SID and its variance-reduced form are expected to visit for a relative
    /// error `epsilon`; nothing for the latter where there are too many parameters.
    ///
    /// Plain SID needs `250/epsilon^2` rows for the noise, and for each of about 50 runs of two solves
    /// `2 ln(1/epsilon)/gap` steps to forget the start, with the gap that the weakest penalty leaves.
    pub(super) fn predicted_rows(&self, lambda: &[f64], epsilon: f64) -> (f64, Option<f64>) {
        let (lower, upper) = (self.lower(), self.upper());
        let (n, d) = (lower.risk().len() as f64, lower.dims().w as f64);
        let norms = some_rows(lower.risk()).row_norms_squared();
        let own = norms.iter().sum::<f64>() / norms.len() as f64 / (4.0 * PLAIN_BATCH);
        let weakest = lambda.iter().fold(f64::INFINITY, |least, lambda| least.min(lambda.exp()));
        let gap = 0.25 * weakest / (weakest + own);
        let digits = (1.0 / epsilon).ln().max(1.0);
        let forgetting = PLAIN.1 * 2.0 * PLAIN_BATCH * 2.0 * digits / gap.max(f64::MIN_POSITIVE);
        let plain = PLAIN.0 / (epsilon * epsilon) + forgetting;
        let rounds = ((2.0 / epsilon).ln() / ROUND.ln()).ceil().max(1.0);
        let round = n + upper.len() as f64 + (2 * CHAINS * STEPS * BATCH.min(lower.risk().len())) as f64;
        // The Gram matrix of the pilot costs about as much as d/4 passes over it.
        let reduced = rounds * round + PILOT_ROWS as f64 * (4.0 + d / 4.0);
        (plain, (d as usize <= LARGEST).then_some(reduced))
    }

    /// As [`GlmProblem::hypergradient`], with variance reduction in the units of a pilot; the arguments are checked.
    pub(super) fn hypergradient_whitened(
        &self,
        lambda: &[f64],
        precision: Precision,
        seed: u64,
        observer: &mut dyn Observer<Stage>,
        stop: &StopSignal,
    ) -> Result<PreciseHypergradient> {
        let work = Work::default();
        let mut search = Search { lower: self.lower(), upper: self.upper(), lambda, seed, stop, work };
        let pilot = search.first_pilot()?;
        let mut found = search.estimate(&pilot, precision, observer)?;
        for _ in 1..PILOTS {
            if !found.was_misled || search.work.rows >= precision.max_rows || stop.is_raised() {
                break;
            }
            let left = Precision { max_rows: precision.max_rows - search.work.rows, ..precision };
            let again = search.pilot_near(found.w.clone()).and_then(|pilot| search.estimate(&pilot, left, observer));
            match again {
                Ok(better) => found = better,
                // What was found before stands, with the bar that it has now.
                Err(error) if error.is_numeric() || error.is_interrupted() => break,
                Err(error) => return Err(error),
            }
        }
        found.precise.estimate.work = search.work;
        Ok(found.precise)
    }
}

/// Both levels at one `lambda`, and what was spent on them so far.
struct Search<'s, 'a> {
    lower: Glm<'a>,
    upper: EmpiricalRisk<'a>,
    lambda: &'s [f64],
    seed: u64,
    stop: &'s StopSignal,
    work: Work,
}

/// A fit of some of the rows, and the units in which their Hessian is the identity.
struct Pilot {
    w: Vec<f64>,
    units: Whitening,
}

/// An estimate in the units of a pilot.
struct Found {
    precise: PreciseHypergradient,
    /// Where the lower level came to.
    w: Vec<f64>,
    /// It ended because the map forgets more slowly than the pilot made believe.
    was_misled: bool,
}

impl<'a> Search<'_, 'a> {
    /// A rough fit of few rows, the Hessian of more of them there, and steps with its inverse on those.
    fn first_pilot(&mut self) -> Result<Pilot> {
        let (lambda, stop) = (self.lambda, self.stop);
        let rows = self.pilot_rows();
        let mut w = self.lower.risk().null_parameters();
        let newton = Newton { iterations: 50, tolerance: 0.1, ..Newton::default() };
        let few = self.part(0..FIRST_ROWS.min(rows), true);
        self.work += newton.minimize(&few, lambda, &mut w, None, stop)?.info.work;
        let units = self.whitening(&w)?;
        let some = self.part(0..rows, false);
        let mut step = vec![0.0; w.len()];
        for _ in 0..PILOT_STEPS {
            stop.check()?;
            some.gradient(&w, lambda, &Sample::Full, &mut step);
            self.work += Work::gradient(rows);
            units.apply_transpose(&mut step);
            units.apply(&mut step);
            vector::axpy(-1.0, &step, &mut w);
        }
        Ok(Pilot { w, units })
    }

    /// A good fit of the same rows that begins at `w`, near the solution of all, and the Hessian there.
    fn pilot_near(&mut self, mut w: Vec<f64>) -> Result<Pilot> {
        let some = self.part(0..self.pilot_rows(), true);
        let newton = Newton { tolerance: 1e-6, ..Newton::default() };
        self.work += newton.minimize(&some, self.lambda, &mut w, None, self.stop)?.info.work;
        let units = self.whitening(&w)?;
        Ok(Pilot { w, units })
    }

    /// The units in which the Hessian of the pilot's rows at `w` is the identity.
    fn whitening(&mut self, w: &[f64]) -> Result<Whitening> {
        let rows = self.pilot_rows();
        self.work += Work::hessian_product(rows);
        GlmCurvature::new(&self.part(0..rows, true), w, self.lambda).whitening(self.stop)
    }

    /// An estimate in the units of `pilot`.
    fn estimate(&mut self, pilot: &Pilot, precision: Precision, observer: &mut dyn Observer<Stage>) -> Result<Found> {
        let batch = BATCH.min(self.lower.risk().len());
        self.stop.check()?;
        let spectrum = self.spectrum(&pilot.units, &pilot.w)?;
        let mut y = pilot.w.clone();
        pilot.units.apply_inverse(&mut y);
        let bounded = Glm::new(self.lower.risk().majorant(), self.lower.penalty().clone());
        let minibatches = SampledCurvature {
            samples: 0..PROBES.0,
            products: PROBES.1,
            ..SampledCurvature::new(Batch::Rows(batch), self.seed)
        };
        let probed = Scaled { inner: &bounded, scale: &pilot.units };
        let (largest, spent) = minibatches.of_loss(&probed, &y, self.lambda)?;
        self.work += spent;
        let map_step = STEP / largest.max(spectrum.largest);
        let believed = contraction(&spectrum, map_step);

        let scaled = Scaled { inner: &self.lower, scale: &pilot.units };
        let scaled_upper = Scaled { inner: &self.upper, scale: &pilot.units };
        let map = GradientMap { loss: &scaled, map_step };
        let (v, spent) = self.first_adjoint(pilot, map_step);
        let start = WarmStart { w: y, v };
        let svrg =
            PreciseSvrg { batch, steps: STEPS, chains: CHAINS, eta: 1.0, contraction: believed, seed: self.seed };
        self.stop.check()?;
        let mut precise =
            svrg.estimate_by(&ByRemembering, &map, &scaled_upper, self.lambda, Some(&start), precision, observer)?;
        self.work += spent + precise.estimate.work;
        let is_reached = |found: &PreciseHypergradient| found.estimate.status == Status::Converged;
        let was_reached = is_reached(&precise);

        // The Hessian of the solution may be another than that of the pilot, and the map slower than was measured there.
        let mut w = precise.reached.take().expect("variance reduction ends somewhere").w;
        pilot.units.apply(&mut w);
        let there = self.spectrum(&pilot.units, &w)?;
        let slower = (1.0 - believed) / (1.0 - contraction(&there, map_step));
        if slower > SLOWER {
            precise = precise.forgetting_slower(slower);
        }
        Ok(Found { was_misled: was_reached && !is_reached(&precise), precise, w })
    }

    /// The adjoint at the pilot, in whose units the Hessian is the identity: the gradient of some upper rows. With its cost.
    fn first_adjoint(&self, pilot: &Pilot, map_step: f64) -> (Vec<f64>, Work) {
        let some_upper = some_rows(&self.upper);
        let (mut v, mut ignored) = (vec![0.0; pilot.w.len()], vec![0.0; self.lambda.len()]);
        some_upper.gradients(&pilot.w, self.lambda, &Sample::Full, &mut v, &mut ignored);
        pilot.units.apply_transpose(&mut v);
        vector::scale(1.0 / map_step, &mut v);
        (v, Work::upper_gradient(some_upper.len()))
    }

    /// The spectrum of the Hessian at `w`, in `units` and of other rows than those the units come from.
    fn spectrum(&mut self, units: &Whitening, w: &[f64]) -> Result<Spectrum> {
        let (n, rows) = (self.lower.risk().len(), self.pilot_rows());
        let others = if n >= rows + SPECTRUM.0 { rows..rows + SPECTRUM.0 } else { 0..n };
        let others = self.part(others, true);
        let curvature = GlmCurvature::new(&others, w, self.lambda);
        let mut image = vec![0.0; w.len()];
        let product = |x: &[f64], out: &mut [f64]| {
            image.copy_from_slice(x);
            units.apply(&mut image);
            curvature.product(&image, out);
            units.apply_transpose(out);
        };
        let spectrum = lanczos(product, w.len(), SPECTRUM.1, self.seed)?;
        self.work += Work::hessian_product((spectrum.products + 1) * others.risk().len());
        Ok(spectrum)
    }

    /// The lower level on some of its rows; `bounded` with a loss whose curvature is nowhere zero.
    fn part(&self, rows: Range<usize>, bounded: bool) -> Glm<'a> {
        let risk = self.lower.risk().restricted(rows);
        Glm::new(if bounded { risk.majorant() } else { risk }, self.lower.penalty().clone())
    }

    fn pilot_rows(&self) -> usize {
        PILOT_ROWS.min(self.lower.risk().len())
    }
}

/// `max |1 - map_step l|` over the spectrum, on the safe side.
fn contraction(spectrum: &Spectrum, map_step: f64) -> f64 {
    let smallest = (spectrum.smallest - spectrum.smallest_error).max(0.5 * spectrum.smallest);
    let largest = spectrum.largest_at_most();
    (1.0 - map_step * smallest).max(map_step * largest - 1.0).clamp(0.0, 1.0 - 1e-12)
}
