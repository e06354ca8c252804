//! One fold whose lower level is only approached: by sampled steps (SID), or by a few passes (AID-FP).
//!
//! Both need a map that contracts at a useful rate. Penalties of a fold differ by factors of thousands, so the lower level
//! is put into units in which its curvature is about 1 in every coordinate ([`Scaled`]); the longest step that no
//! minibatch turns into an expansion is then found by looking at a few minibatches, since the worst case over all
//! rows would allow steps ten times shorter. Both are estimated anew when the hyperparameters have moved.

use super::objective::FoldRisks;
use super::options::Method;
use super::units::{Units, pilot};
use crate::Result;
use crate::fixed_point::Average;
use crate::hypergradient::{AidFixedPoint, Hypergradient, Method as Estimator, Sid, SidSaga, SidSvrg, WarmStart};
use crate::lower::{GradientMap, StochasticLoss};
use crate::problems::glm::{EmpiricalRisk, Glm, Penalty};
use crate::problems::scaled::Scaled;
use crate::sample::{Batch, Sample};
use crate::step_size::StepSize;
use crate::stop::StopSignal;
use crate::vector;
use crate::work::Work;

/// Rows of a minibatch; at least 4 make a pass.
const BATCH: usize = 128;
/// Steps of one solve: the cost of a hypergradient does not grow with the number of rows.
const STEPS: usize = 400;
/// An estimate is made again, from where it ended, as long as it lowers the lower level's loss by more than this fraction,
/// but not more often than `ROUNDS`. A lower variable that lags behind looks like a stronger penalty, and would send the
/// hyperparameters to the weakest ones.
const SETTLED: f64 = 5e-4;
const ROUNDS: u64 = 20;
/// Rows on which that is judged.
const SETTLING_ROWS: usize = 16_384;
/// Steps of one batch solve.
const BATCH_STEPS: usize = 60;
/// Relative residual at which a batch solve stops.
const BATCH_TOLERANCE: f64 = 1e-5;
/// Judging rows that are all visited for every hypergradient; of more, a sample.
const JUDGING_ROWS: usize = 16_384;
/// Hyperparameters may move this far before curvatures are estimated anew.
const STALE_MOVE: f64 = 0.7;
/// A solve that fails is tried again with steps this much shorter, a few times.
const RETREAT: f64 = 0.25;
const RETREATS: usize = 4;

/// A lower level, its judging rows, and where their two solves stand.
pub(super) struct SampledFold<'a> {
    lower: Glm<'a>,
    upper: EmpiricalRisk<'a>,
    /// For curvatures: some rows with a loss of bounded curvature.
    pilot: Glm<'a>,
    /// Share of the judging rows of all folds.
    pub share: f64,
    w: Vec<f64>,
    /// `H u = grad1 E`: the adjoint in units that do not depend on the map.
    u: Vec<f64>,
    units: Option<Units>,
    /// Factor for the steps, lowered by failures.
    caution: f64,
    seed: u64,
    pub work: Work,
}

impl<'a> SampledFold<'a> {
    pub(super) fn new(fold: &FoldRisks<'a>, penalty: &Penalty, share: f64, seed: u64) -> Self {
        let pilot = pilot(&fold.fitted);
        let w = fold.fitted.null_parameters();
        SampledFold {
            lower: Glm::new(fold.fitted.clone(), penalty.clone()),
            upper: fold.judging.clone().as_upper(penalty.hyperparameters()),
            pilot: Glm::new(pilot, penalty.clone()),
            share,
            u: vec![0.0; w.len()],
            w,
            units: None,
            caution: 1.0,
            seed,
            work: Work::default(),
        }
    }

    /// The lower variable found last.
    pub(super) fn weights(&self) -> &[f64] {
        &self.w
    }

    /// The hypergradient at `lambda`, from where the last one ended; `index` picks the samples. As near as it came, once `stop`
    /// is raised.
    pub(super) fn estimate(
        &mut self,
        lambda: &[f64],
        method: Method,
        index: u64,
        stop: &StopSignal,
    ) -> Result<Hypergradient> {
        let mut before = self.lower_value(lambda);
        for round in 0.. {
            let estimate = self.estimate_once(lambda, method, index * ROUNDS + round)?;
            let after = self.lower_value(lambda);
            if before - after <= SETTLED * after.abs() || round + 1 == ROUNDS || stop.is_raised() {
                return Ok(estimate);
            }
            before = after;
        }
        unreachable!("the rounds are bounded")
    }

    /// The loss of the lower level at the present `w`.
    fn lower_value(&mut self, lambda: &[f64]) -> f64 {
        let sample = Sample::Block(0..SETTLING_ROWS.min(self.lower.risk().len()));
        self.work += Work::gradient(self.lower.size(&sample));
        self.lower.value(&self.w, lambda, &sample)
    }

    fn estimate_once(&mut self, lambda: &[f64], method: Method, index: u64) -> Result<Hypergradient> {
        let mut failures = 0;
        loop {
            match self.attempt(lambda, method, index) {
                Err(error) if error.is_numeric() && failures < RETREATS => {
                    failures += 1;
                    self.caution *= RETREAT;
                    self.units = None;
                }
                result => return result,
            }
        }
    }

    /// True when `estimate` reports the objective over all judging rows.
    pub(super) fn judges_fully(&self) -> bool {
        self.upper.len() <= JUDGING_ROWS
    }

    /// The mean loss over the judging rows at the lower variable found last.
    pub(super) fn criterion(&mut self) -> f64 {
        self.work += Work::upper_gradient(self.upper.len());
        self.upper.full_value(&self.w)
    }

    fn attempt(&mut self, lambda: &[f64], method: Method, index: u64) -> Result<Hypergradient> {
        let moved = |units: &Units| units.lambda.iter().zip(lambda).any(|(a, b)| (a - b).abs() > STALE_MOVE);
        let units = match self.units.take() {
            Some(units) if !moved(&units) => units,
            _ => self.measure(lambda, method, index)?,
        };
        let scaled = Scaled { inner: &self.lower, scale: &units.scale[..] };
        let upper = Scaled { inner: &self.upper, scale: &units.scale[..] };
        let map = GradientMap { loss: &scaled, map_step: units.map_step };
        let scale = || units.scale.iter();
        let mut start = WarmStart {
            w: self.w.iter().zip(scale()).map(|(w, s)| w / s).collect(),
            v: self.u.iter().zip(scale()).map(|(u, s)| u / (s * units.map_step)).collect(),
        };
        let estimate =
            self.method(method, &units).estimate(&map, &upper, lambda, Some(&mut start), self.seed, index)?;
        self.w = scaled.unscaled(&start.w);
        self.u = scaled.unscaled(&start.v);
        vector::scale(units.map_step, &mut self.u);
        self.work += estimate.work;
        self.units = Some(units);
        Ok(estimate)
    }

    fn batch(&self) -> usize {
        BATCH.min(self.lower.risk().len().div_ceil(4))
    }

    /// The settings of a method.
    fn method(&self, method: Method, units: &Units) -> Estimator {
        let batch = self.batch();
        let (step, average) = match method {
            Method::SidDecreasing => (decreasing(units.contraction(), STEPS), Average::Suffix { fraction: 0.25 }),
            // The mean of the later iterates has less noise than steps small enough for the last one.
            _ => (StepSize::Constant { eta: 0.5 }, Average::Suffix { fraction: 0.5 }),
        };
        let upper_batch = if self.judges_fully() { Batch::All } else { Batch::Rows(JUDGING_ROWS / 4) };
        let sid = Sid { average, upper_batch, ..Sid::new(STEPS, batch, step) };
        match method {
            Method::SidSvrg => Estimator::SidSvrg(SidSvrg { sid, period: self.lower.risk().len().div_ceil(batch) }),
            Method::SidSaga => Estimator::SidSaga(SidSaga { sid }),
            Method::SidConstant | Method::SidDecreasing => Estimator::Sid(sid),
            _ => Estimator::AidFixedPoint(AidFixedPoint {
                lower_steps: BATCH_STEPS,
                linear_steps: BATCH_STEPS,
                tolerance: BATCH_TOLERANCE,
            }),
        }
    }

    /// Curvatures at `lambda` and the present `w`.
    fn measure(&mut self, lambda: &[f64], method: Method, index: u64) -> Result<Units> {
        let batch = if method == Method::AidFp { Batch::All } else { Batch::Rows(self.batch()) };
        let mut units = Units::measure(&self.pilot, &self.w, lambda, batch, (self.seed, index))?;
        units.map_step *= self.caution;
        self.work += units.work;
        Ok(units)
    }
}

/// Steps `beta/(gamma + s)` for a map that no sample turns into an expansion (`sigma2 = 0`).
///
/// With weak penalties the theory's `beta = 2/(1 - q^2)` is so large that the steps would not fall at all within `steps`;
/// then noise and not bias is what limits the result, and the steps are made to fall to a fifth.
fn decreasing(contraction: f64, steps: usize) -> StepSize {
    let longest = steps as f64 / 4.0;
    match StepSize::decreasing_from_constants(contraction, 0.0) {
        Ok(StepSize::Decreasing { beta, gamma }) if beta <= longest => StepSize::Decreasing { beta, gamma },
        _ => StepSize::Decreasing { beta: longest, gamma: longest },
    }
}
