//! One replicate of one curve: the error at every checkpoint.
//!
//! The lower solve is one chain from checkpoint to checkpoint. The linear system cannot be: its matrix depends on `w_t`,
//! so it is solved anew at each checkpoint with `w_t` held fixed. What is reported at a checkpoint (error, samples, seconds)
//! is that of a hypergradient made on its own with `t = k` steps, to the last bit of
//! [`Sid::estimate`](crate::hypergradient::Sid::estimate) with the same seed and index; the saving is that of the lower
//! steps up to the checkpoint before.

use std::time::Instant;

use serde::{Deserialize, Serialize};

use super::curve::Curve;
use super::settings::StudySettings;
use crate::error::{Error, Result};
use crate::fixed_point::{FixedPoint, Workspace};
use crate::hypergradient::parts::{Differentiated, Sampled, check_problem, conjugate_gradient, differentiate};
use crate::hypergradient::{Capable, WarmStart};
use crate::linear_system::ConjugateGradient;
use crate::lower::StochasticMap;
use crate::operator::{AdjointOperator, Direction, LowerOperator, Plain, RandomOperator, SagaDirection, SvrgDirection};
use crate::sample::{Batch, Purpose, Rng, Sample};
use crate::status::Info;
use crate::step_size::StepSize;
use crate::stop::StopSignal;
use crate::upper::UpperObjective;
use crate::vector;

/// Relative residual at which conjugate gradients stop before their steps are up.
pub(super) const CG_TOLERANCE: f64 = 1e-12;
/// Norm of a reference below which squared errors divided by its square are no numbers.
const SMALLEST_NORM: f64 = 1e-150;

/// A problem at one `lambda` whose hypergradient is known.
#[derive(Clone, Copy)]
pub struct Subject<'a> {
    /// The lower level and what it can do.
    pub map: Capable<'a>,
    /// The upper level.
    pub upper: &'a dyn UpperObjective,
    /// The hyperparameters.
    pub lambda: &'a [f64],
    /// Rows that make an epoch.
    pub rows: usize,
    /// `grad f(lambda)`.
    pub reference: &'a [f64],
}

impl std::fmt::Debug for Subject<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Subject")
            .field("map", &self.map)
            .field("lambda", &self.lambda)
            .field("rows", &self.rows)
            .field("reference", &self.reference)
            .finish_non_exhaustive()
    }
}

/// The error of one hypergradient and what it cost.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Measurement {
    /// Steps of the lower solve.
    pub t: usize,
    /// Steps of the linear solve that were allowed; conjugate gradients may need fewer.
    pub k: usize,
    /// Elements drawn or visited: `t batch + k batch + J` by SID, `n (t + k)` by a batch method; what a method visits
    /// beyond that (passes of variance reduction, iterates computed twice, levels) counts like any other visit. Rows of the
    /// upper level are not counted.
    pub samples: u64,
    /// `samples` over the rows of the lower level.
    pub epochs: f64,
    /// Wall-clock time of this hypergradient as if it had been made on its own.
    pub seconds: f64,
    /// `|g_hat - grad f|^2`.
    pub squared_error: f64,
    /// `|g_hat - grad f|^2 / |grad f|^2`.
    pub relative_squared_error: f64,
}

impl Subject<'_> {
    /// Replicate number `replicate` of SID with `step` in both solves.
    ///
    /// # Errors
    /// Input, for unusable settings or sizes; numeric, when a solve diverged; interrupted, once `stop` is raised.
    pub fn sid(
        &self,
        settings: &StudySettings,
        step: StepSize,
        replicate: u64,
        checkpoints: &[usize],
        stop: &StopSignal,
    ) -> Result<Vec<Measurement>> {
        self.sid_by(self.map.map(), &Plain, settings, step, replicate, (checkpoints, stop))
    }

    /// As [`Subject::sid`], with an anchor every `period` steps.
    ///
    /// # Errors
    /// As [`Subject::sid`].
    pub fn sid_svrg(
        &self,
        settings: &StudySettings,
        step: StepSize,
        period: usize,
        replicate: u64,
        by: (&[usize], &StopSignal),
    ) -> Result<Vec<Measurement>> {
        self.sid_by(self.map.map(), &SvrgDirection { period }, settings, step, replicate, by)
    }

    /// As [`Subject::sid`], with a memory of the rows.
    ///
    /// # Errors
    /// As [`Subject::sid`]; input, where the map is no mean over rows.
    pub fn sid_saga(
        &self,
        settings: &StudySettings,
        step: StepSize,
        replicate: u64,
        by: (&[usize], &StopSignal),
    ) -> Result<Vec<Measurement>> {
        self.sid_by(self.map.as_row_sums("sid-saga")?, &SagaDirection, settings, step, replicate, by)
    }

    /// As [`Subject::sid`], with directions estimated by `direction` in both solves.
    fn sid_by<M: StochasticMap + ?Sized>(
        &self,
        map: &M,
        direction: &impl Direction<M>,
        settings: &StudySettings,
        step: StepSize,
        replicate: u64,
        (checkpoints, stop): (&[usize], &StopSignal),
    ) -> Result<Vec<Measurement>> {
        settings.validate()?;
        let stream = |purpose| Rng::stream(settings.seed, purpose, replicate);
        let solver = |steps| FixedPoint::sampled(steps, settings.batch, step);
        let lower = (solver(checkpoints.last().copied().unwrap_or(0)), stream(Purpose::Lower));
        self.trajectory(
            (map, direction),
            lower,
            settings.cross_batch,
            &stream,
            (checkpoints, stop),
            |k, operator, v| {
                solver(k).solve(
                    &mut direction.linear(operator),
                    v,
                    &mut stream(Purpose::Linear),
                    &mut Workspace::new(v.len()),
                )
            },
        )
    }

    /// AID-FP, which draws nothing.
    ///
    /// # Errors
    /// As [`Subject::sid`].
    pub fn aid_fixed_point(&self, checkpoints: &[usize], stop: &StopSignal) -> Result<Vec<Measurement>> {
        let stream = |purpose| Rng::stream(0, purpose, 0);
        let lower = (FixedPoint::exact(checkpoints.last().copied().unwrap_or(0), 0.0), stream(Purpose::Lower));
        self.trajectory(
            (self.map.map(), &Plain),
            lower,
            Batch::All,
            &stream,
            (checkpoints, stop),
            |k, mut operator, v| {
                FixedPoint::exact(k, 0.0).solve(
                    &mut operator,
                    v,
                    &mut stream(Purpose::Linear),
                    &mut Workspace::new(v.len()),
                )
            },
        )
    }

    /// The frame of all methods: `linear` makes `k` steps on the adjoint system from `v`.
    fn trajectory<M: StochasticMap + ?Sized>(
        &self,
        (map, direction): (&M, &impl Direction<M>),
        (solver, mut rng): (FixedPoint, Rng),
        cross_batch: Batch,
        stream: &dyn Fn(Purpose) -> Rng,
        (checkpoints, stop): (&[usize], &StopSignal),
        linear: impl Fn(usize, AdjointOperator<'_, M>, &mut [f64]) -> Info,
    ) -> Result<Vec<Measurement>> {
        solver.validate()?;
        let lambda = self.lambda;
        check_problem(map, self.upper, lambda, None)?;
        if self.reference.len() != lambda.len() || self.rows == 0 {
            return Err(Error::input(format!(
                "a reference of {} components and {} rows for {} hyperparameters",
                self.reference.len(),
                self.rows,
                lambda.len()
            )));
        }
        let mut point = WarmStart::zeros(map.dims());
        let mut operator = direction.lower(LowerOperator { map, lambda });
        let mut workspace = Workspace::new(operator.dim());
        let mut state = solver.init(&point.w, &mut workspace);
        let mut lower_seconds = 0.0;
        let mut measurements = Vec::with_capacity(checkpoints.len());
        for &t in checkpoints {
            let clock = Instant::now();
            while state.steps < t {
                if stop.is_raised() {
                    return Err(Error::interrupted());
                }
                solver.step(&mut operator, &mut point.w, &mut rng, &mut workspace, &mut state);
                if let Some(status) = solver.terminate(&state).filter(|status| !status.is_usable()) {
                    solver.finish(status, &mut point.w, &workspace, &state).usable("lower level")?;
                }
            }
            lower_seconds += clock.elapsed().as_secs_f64();

            let clock = Instant::now();
            point.v.fill(0.0);
            let mut cross_rng = [stream(Purpose::Cross)];
            let samples = (Sampled::all(), Sampled { batch: cross_batch, rngs: &mut cross_rng });
            let solve = |operator: AdjointOperator<'_, M>, v: &mut [f64]| linear(t, operator, v);
            let Differentiated { estimate, linear, cross } =
                differentiate(map, self.upper, &mut point, lambda, samples, solve)?;
            let seconds = lower_seconds + clock.elapsed().as_secs_f64();

            // The exact d2Phi of a batch method is not counted, as in the theory.
            let counted = if solver.batch == Batch::All { 0 } else { cross.rows };
            let samples = state.work.rows + linear.rows + counted;
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

    /// AID-CG: the lower solve as AID-FP, the linear system by conjugate gradients on `I - d1Phi`.
    ///
    /// # Errors
    /// As [`Subject::sid`]; input, where the map is not symmetric.
    pub fn aid_conjugate_gradient(&self, checkpoints: &[usize], stop: &StopSignal) -> Result<Vec<Measurement>> {
        let stream = |purpose| Rng::stream(0, purpose, 0);
        let lower = (FixedPoint::exact(checkpoints.last().copied().unwrap_or(0), 0.0), stream(Purpose::Lower));
        let map = self.map.as_symmetric("aid-cg")?;
        self.trajectory((map, &Plain), lower, Batch::All, &stream, (checkpoints, stop), |k, operator, v| {
            conjugate_gradient(&ConjugateGradient { steps: k, tolerance: CG_TOLERANCE }, &operator, v)
        })
    }

    /// What can be known before anything is measured: that errors can be related to the reference, and that the map serves
    /// the methods of `curves`.
    ///
    /// # Errors
    /// Input, naming what is missing.
    pub fn check<'c>(&self, curves: impl IntoIterator<Item = &'c Curve>) -> Result<()> {
        let norm = vector::norm(self.reference);
        if norm < SMALLEST_NORM || !vector::norm_squared(self.reference).is_finite() {
            let message = format!("the exact hypergradient has norm {norm:e} here, where relative errors mean nothing");
            return Err(Error::input(message).remedy("choose another penalty at which it is looked at"));
        }
        curves.into_iter().try_for_each(|curve| curve.kind().check_map(&self.map))
    }

    /// The checkpoints of a curve; see [`StudySettings::checkpoints_of`].
    ///
    /// # Errors
    /// As there.
    pub fn checkpoints(&self, settings: &StudySettings, curve: &Curve) -> Result<Vec<usize>> {
        settings.checkpoints_of(curve, self.rows, self.cross_rows())
    }

    /// Rows that the cross derivative visits.
    pub fn cross_rows(&self) -> usize {
        self.map.map().cross_size(&Sample::Full)
    }

    /// Replicate number `replicate` of any curve.
    ///
    /// # Errors
    /// As [`Subject::sid`]; the error names the curve.
    pub fn measure(
        &self,
        settings: &StudySettings,
        curve: &Curve,
        replicate: u64,
        stop: &StopSignal,
    ) -> Result<Vec<Measurement>> {
        let checkpoints = self.checkpoints(settings, curve)?;
        match (curve.step(), curve) {
            (Some(step), &Curve::SidSvrg { period, .. }) => {
                self.sid_svrg(settings, step, period, replicate, (&checkpoints, stop))
            }
            (Some(step), Curve::SidSaga { .. }) => self.sid_saga(settings, step, replicate, (&checkpoints, stop)),
            (Some(step), Curve::SidConstant { .. } | Curve::SidDecreasing { .. }) => {
                self.sid(settings, step, replicate, &checkpoints, stop)
            }
            (_, Curve::AidCg) => self.aid_conjugate_gradient(&checkpoints, stop),
            (_, Curve::AidFp) => self.aid_fixed_point(&checkpoints, stop),
            _ => self.one_by_one(settings, curve, replicate, (&checkpoints, stop)),
        }
    }
}
