//! Curves whose checkpoints are measured one estimate at a time, since nothing of a shorter run can be used for a longer one.

use std::time::Instant;

use super::curve::Curve;
use super::descent::lower_samples;
use super::measure::{Measurement, Subject};
use super::settings::StudySettings;
use crate::error::{Error, Result};
use crate::fixed_point::{Average, FixedPoint};
use crate::hypergradient::{
    AidGmres, AidNormalEquations, ForwardMode, Method, MixedFixedPoint, Neumann, Nystrom, ReverseMode, SeriesLength,
    Sid, TruncatedReverse, UnbiasedSid, ZerothOrder,
};
use crate::linear_system::{Gmres, NormalEquations};
use crate::sample::Batch;
use crate::step_size::StepSize;
use crate::stop::StopSignal;
use crate::vector;

/// Directions of differences, and their length.
pub(super) const DIRECTIONS: usize = 10;
const SMOOTHING: f64 = 1e-4;
/// Directions that GMRES keeps.
const RESTART: usize = 50;
/// Damping of a low-rank inverse, beside eigenvalues up to about 2 of `I - d1Phi`.
const DAMPING: f64 = 0.01;
/// Part of the iterates, the last ones, of which an averaged solve returns the mean.
const AVERAGED: f64 = 0.5;
/// Mixing rate of Mixed FP-KM.
const MIXING: f64 = 0.2;

impl Curve {
    /// The method with `t = k` steps; `None` for curves whose lower solve continues from checkpoint to checkpoint.
    pub(super) fn method(&self, t: usize, settings: &StudySettings) -> Option<Method> {
        let exact = FixedPoint::exact(t, 0.0);
        let reverse = ReverseMode::new(exact);
        let sampled = |eta| FixedPoint::sampled(t, settings.batch, StepSize::Constant { eta });
        let tolerance = super::measure::CG_TOLERANCE;
        let (lower_steps, lower_tolerance, cross_batch) = (t, 0.0, settings.cross_batch);
        let series = |eta, length| {
            let batch = Batch::Rows(settings.batch);
            Method::Neumann(Neumann { cross_batch, ..Neumann::new(sampled(eta), length, eta, batch) })
        };
        Some(match *self {
            Curve::AidNormal => {
                // Two products a step.
                let linear = NormalEquations { steps: t.div_ceil(2), tolerance };
                Method::AidNormalEquations(AidNormalEquations { lower_steps, lower_tolerance, linear })
            }
            Curve::AidGmres => {
                let linear = Gmres { steps: t, restart: RESTART, tolerance };
                Method::AidGmres(AidGmres { lower_steps, lower_tolerance, linear })
            }
            Curve::Nystrom => Method::Nystrom(Nystrom::new(exact, t, DAMPING)),
            Curve::Itd => Method::ReverseMode(reverse),
            Curve::ItdTruncated => Method::TruncatedReverse(TruncatedReverse { reverse, window: t.div_ceil(2) }),
            Curve::ItdForward { .. } => Method::ForwardMode(ForwardMode::new(exact)),
            Curve::Neumann { eta } => series(eta, SeriesLength::Fixed { terms: t }),
            Curve::NeumannRandom { eta } => series(eta, SeriesLength::Uniform { terms: t }),
            Curve::MixedFp { eta } => {
                let step = StepSize::Constant { eta };
                let mixed = MixedFixedPoint::krasnoselskii_mann(sampled(eta), t, settings.batch, MIXING, step);
                Method::MixedFixedPoint(MixedFixedPoint { cross_batch, ..mixed })
            }
            Curve::SidAveraged { eta } => {
                let average = Average::Suffix { fraction: AVERAGED };
                let sid = Sid::new(t, settings.batch, StepSize::Constant { eta });
                Method::Sid(Sid { average, cross_batch, ..sid })
            }
            Curve::SidMultilevel { eta } => {
                let sid = Sid { cross_batch, ..Sid::new(t, settings.batch, StepSize::Constant { eta }) };
                Method::UnbiasedSid(UnbiasedSid::new(sid))
            }
            Curve::Pzobo { eta } => Method::ZerothOrder(ZerothOrder::new(sampled(eta), DIRECTIONS, SMOOTHING)),
            _ => return None,
        })
    }
}

impl Subject<'_> {
    /// Replicate number `replicate` of a curve that is measured one estimate at a time, by `method(t)`.
    pub(super) fn one_by_one(
        &self,
        settings: &StudySettings,
        curve: &Curve,
        replicate: u64,
        (checkpoints, stop): (&[usize], &StopSignal),
    ) -> Result<Vec<Measurement>> {
        let mut measurements = Vec::with_capacity(checkpoints.len());
        for &t in checkpoints {
            if stop.is_raised() {
                return Err(Error::interrupted());
            }
            let method = curve.method(t, settings).expect("a curve that is measured one estimate at a time");
            let clock = Instant::now();
            let estimate = method.estimate_on(self.map, self.upper, self.lambda, None, settings.seed, replicate)?;
            let seconds = clock.elapsed().as_secs_f64();
            let samples = lower_samples(&method, &estimate.work);
            let squared_error = vector::distance_squared(&estimate.value, self.reference);
            measurements.push(Measurement {
                t,
                k: t,
                samples,
                epochs: samples as f64 / self.rows as f64,
                seconds,
                squared_error,
                relative_squared_error: squared_error / vector::norm_squared(self.reference),
            });
        }
        Ok(measurements)
    }
}
