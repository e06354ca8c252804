//! The hypergradient of a linear model's penalties by few passes: variance-reduced SID in units in which the Hessian of
//! some of the rows is the identity.
//!
//! With some thousand rows behind the Cholesky factor the Hessian of all rows has a condition number of two or three in these
//! units, whatever the penalties are. A round then brings the error down by an order of magnitude. Larger batches let the
//! steps be longer, up to those of all rows; a few hundred rows are where that stops to pay.

use std::ops::Range;

use super::problem::GlmProblem;
use super::units::pilot;
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
        let norms = pilot(lower.risk()).row_norms_squared();
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
        let (lower, upper) = (self.lower(), self.upper());
        let rows = PILOT_ROWS.min(lower.risk().len());
        let mut work = Work::default();
        let mut around = Pilot::fit(&lower, lambda, rows, &mut work, stop)?;
        let mut before = 0;
        for attempt in 1.. {
            let scale = MapScale::measured(&lower, lambda, &around, seed, &mut work, stop)?;
            let start = around.start(&upper, lambda, scale.map_step, &mut work);
            let scaled = Scaled { inner: &lower, scale: &around.units };
            let scaled_upper = Scaled { inner: &upper, scale: &around.units };
            let map = GradientMap { loss: &scaled, map_step: scale.map_step };
            let svrg = PreciseSvrg {
                batch: BATCH.min(lower.risk().len()),
                steps: STEPS,
                chains: CHAINS,
                eta: 1.0,
                contraction: scale.contraction(),
                seed,
            };
            stop.check()?;
            let left = Precision { max_rows: precision.max_rows.saturating_sub(before), ..precision };
            let mut precise =
                svrg.estimate_by(&ByRemembering, &map, &scaled_upper, lambda, Some(&start), left, observer)?;
            let was_reached = precise.estimate.status == Status::Converged;
            before += precise.estimate.work.rows;

            // The Hessian of the solution may be another than that of the pilot, and the map slower than was measured there.
            let mut w = precise.reached.take().expect("variance reduction ends somewhere").w;
            around.units.apply(&mut w);
            let there = spectrum(&lower, lambda, (&around.units, &w), seed, &mut work)?;
            let slower = (1.0 - scale.contraction()) / (1.0 - contraction(&there, scale.map_step));
            if slower > SLOWER {
                precise = precise.forgetting_slower(slower);
            }
            let is_reached = precise.estimate.status == Status::Converged;
            if is_reached == was_reached || attempt == PILOTS || before >= precision.max_rows || stop.is_raised() {
                precise.estimate.work += work;
                return Ok(precise);
            }
            work += precise.estimate.work;
            around = Pilot::near(&lower, lambda, w, rows, &mut work, stop)?;
        }
        unreachable!("the pilots are bounded")
    }
}

/// The step of the map in the units of a pilot, and what its spectrum is there.
struct MapScale {
    map_step: f64,
    spectrum: Spectrum,
}

impl MapScale {
    fn measured(
        lower: &Glm<'_>,
        lambda: &[f64],
        pilot: &Pilot,
        seed: u64,
        work: &mut Work,
        stop: &StopSignal,
    ) -> Result<Self> {
        stop.check()?;
        let spectrum = spectrum(lower, lambda, (&pilot.units, &pilot.w), seed, work)?;
        let bounded = Glm::new(lower.risk().majorant(), lower.penalty().clone());
        let probed = Scaled { inner: &bounded, scale: &pilot.units };
        let minibatches = SampledCurvature {
            samples: 0..PROBES.0,
            products: PROBES.1,
            ..SampledCurvature::new(Batch::Rows(BATCH.min(lower.risk().len())), seed)
        };
        let mut y = pilot.w.clone();
        pilot.units.apply_inverse(&mut y);
        let (largest, spent) = minibatches.of_loss(&probed, &y, lambda)?;
        *work += spent;
        Ok(MapScale { map_step: STEP / largest.max(spectrum.largest), spectrum })
    }

    fn contraction(&self) -> f64 {
        contraction(&self.spectrum, self.map_step)
    }
}

/// The spectrum of the Hessian at `w`, in units and of other rows than those the units come from.
fn spectrum(
    lower: &Glm<'_>,
    lambda: &[f64],
    (units, w): (&Whitening, &[f64]),
    seed: u64,
    work: &mut Work,
) -> Result<Spectrum> {
    let n = lower.risk().len();
    let rows = PILOT_ROWS.min(n);
    let others = if n >= rows + SPECTRUM.0 { rows..rows + SPECTRUM.0 } else { 0..n };
    let others = part(lower, others, true);
    let curvature = GlmCurvature::new(&others, w, lambda);
    let mut image = vec![0.0; w.len()];
    let product = |x: &[f64], out: &mut [f64]| {
        image.copy_from_slice(x);
        units.apply(&mut image);
        curvature.product(&image, out);
        units.apply_transpose(out);
    };
    let spectrum = lanczos(product, w.len(), SPECTRUM.1, seed)?;
    *work += Work::hessian_product((spectrum.products + 1) * others.risk().len());
    Ok(spectrum)
}

/// A fit of some of the rows, and the units in which their Hessian is the identity.
struct Pilot {
    w: Vec<f64>,
    units: Whitening,
}

impl Pilot {
    /// A rough fit of few rows, the Hessian of more of them there, and steps with its inverse on those.
    fn fit(lower: &Glm<'_>, lambda: &[f64], rows: usize, work: &mut Work, stop: &StopSignal) -> Result<Self> {
        let mut w = lower.risk().null_parameters();
        let newton = Newton { iterations: 50, tolerance: 0.1, ..Newton::default() };
        let few = part(lower, 0..FIRST_ROWS.min(rows), true);
        *work += newton.minimize(&few, lambda, &mut w, None, stop)?.info.work;
        let units = GlmCurvature::new(&part(lower, 0..rows, true), &w, lambda).whitening(stop)?;
        *work += Work::hessian_product(rows);
        let some = part(lower, 0..rows, false);
        let mut step = vec![0.0; w.len()];
        for _ in 0..PILOT_STEPS {
            stop.check()?;
            some.gradient(&w, lambda, &Sample::Full, &mut step);
            *work += Work::gradient(rows);
            units.apply_transpose(&mut step);
            units.apply(&mut step);
            vector::axpy(-1.0, &step, &mut w);
        }
        Ok(Pilot { w, units })
    }

    /// A good fit of these rows that begins at `w`, near the solution of all, and the Hessian there.
    fn near(
        lower: &Glm<'_>,
        lambda: &[f64],
        mut w: Vec<f64>,
        rows: usize,
        work: &mut Work,
        stop: &StopSignal,
    ) -> Result<Self> {
        let some = part(lower, 0..rows, true);
        *work += Newton { tolerance: 1e-6, ..Newton::default() }.minimize(&some, lambda, &mut w, None, stop)?.info.work;
        let units = GlmCurvature::new(&some, &w, lambda).whitening(stop)?;
        *work += Work::hessian_product(rows);
        Ok(Pilot { w, units })
    }

    /// Where the estimate begins, in these units: there the Hessian is the identity, and the adjoint is the gradient.
    fn start(&self, upper: &EmpiricalRisk<'_>, lambda: &[f64], map_step: f64, work: &mut Work) -> WarmStart {
        let some_upper = pilot(upper);
        let (mut v, mut ignored) = (vec![0.0; self.w.len()], vec![0.0; lambda.len()]);
        some_upper.gradients(&self.w, lambda, &Sample::Full, &mut v, &mut ignored);
        *work += Work::upper_gradient(some_upper.len());
        self.units.apply_transpose(&mut v);
        vector::scale(1.0 / map_step, &mut v);
        let mut y = self.w.clone();
        self.units.apply_inverse(&mut y);
        WarmStart { w: y, v }
    }
}

/// The lower level on some of its rows; `bounded` with a loss whose curvature is nowhere zero.
fn part<'a>(lower: &Glm<'a>, rows: Range<usize>, bounded: bool) -> Glm<'a> {
    let risk = lower.risk().restricted(rows);
    Glm::new(if bounded { risk.majorant() } else { risk }, lower.penalty().clone())
}

/// `max |1 - map_step l|` over the spectrum, on the safe side.
fn contraction(spectrum: &Spectrum, map_step: f64) -> f64 {
    let smallest = (spectrum.smallest - spectrum.smallest_error).max(0.5 * spectrum.smallest);
    let largest = spectrum.largest_at_most();
    (1.0 - map_step * smallest).max(map_step * largest - 1.0).clamp(0.0, 1.0 - 1e-12)
}
