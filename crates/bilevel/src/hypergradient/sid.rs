//! Stochastic implicit differentiation: Grazzi, Pontil, Salzo, AISTATS 2021, Algorithm 1 (theory, section 2).
//!
//! Three parts on three independent streams of samples; the proof of the error bound rests on that independence. The upper
//! gradients may be sampled too (Grazzi, Pontil, Salzo, JMLR 2023): `grad1 E` enters linearly, so one sample of it for the
//! whole linear solve adds no bias. The cost never depends on the number of rows unless a part asks for all of them.

use serde::{Deserialize, Serialize};

use super::parts::{Sampled, check_problem, differentiate};
use super::{Hypergradient, WarmStart};
use crate::error::Result;
use crate::fixed_point::{Average, FixedPoint, Workspace};
use crate::lower::StochasticMap;
use crate::operator::{Direction, LowerOperator, Plain, PooledOperator, RandomOperator};
use crate::sample::{Batch, Purpose, Rng, Sample};
use crate::status::Info;
use crate::step_size::StepSize;
use crate::upper::UpperObjective;

/// Rows of the cross sample as a part of those of one solve: it costs little beside the solves.
pub(super) const CROSS_PART: f64 = 0.125;

/// Settings of the estimator.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Sid {
    /// Steps `t` of the lower solve.
    pub lower_steps: usize,
    /// Steps `k` of the linear solve.
    pub linear_steps: usize,
    /// Elements drawn at each step of both solves.
    pub batch: usize,
    /// Elements `J` of the cross derivative `d2Phi`.
    pub cross_batch: Batch,
    /// Elements of the upper objective.
    pub upper_batch: Batch,
    /// Steps `eta_s` of the lower solve.
    pub lower_step: StepSize,
    /// Steps `eta_s` of the linear solve.
    pub linear_step: StepSize,
    /// Which iterates both solves return.
    pub average: Average,
}

impl Sid {
    /// `t = k = steps`, the same step sizes in both solves, everything of `d2Phi` and of the upper objective.
    pub fn new(steps: usize, batch: usize, step: StepSize) -> Self {
        Sid {
            lower_steps: steps,
            linear_steps: steps,
            batch,
            cross_batch: Batch::All,
            upper_batch: Batch::All,
            lower_step: step,
            linear_step: step,
            average: Average::Last,
        }
    }

    /// The same with samples of `d2Phi` and of the upper objective: an eighth of the rows of the lower solve and as many as
    /// these, but everything of a level that has no more, of `lower_rows` and `upper_rows` in all.
    #[must_use]
    pub fn with_sampled_parts(self, lower_rows: usize, upper_rows: usize) -> Self {
        let drawn = self.lower_steps * self.batch;
        let cross = (CROSS_PART * drawn as f64).ceil() as usize;
        Sid {
            cross_batch: Batch::at_most(cross.max(1), lower_rows),
            upper_batch: Batch::at_most(drawn.max(1), upper_rows),
            ..self
        }
    }

    /// The estimator of BSGM (Grazzi, Pontil, Salzo, JMLR 24(167), 2023): minibatches in every part.
    ///
    /// Both solves draw `batch` elements at each of their steps, `d2Phi` and the upper objective `minibatch` elements once. The
    /// algorithm of the paper starts both solves anew at every upper iteration: call [`Sid::estimate`] without a start. Its
    /// sign of `v` is the one used here.
    pub fn bsgm(
        (lower_steps, linear_steps): (usize, usize),
        batch: usize,
        minibatch: usize,
        lower_step: StepSize,
        linear_step: StepSize,
    ) -> Self {
        let of_minibatch = Batch::Rows(minibatch);
        Sid {
            lower_steps,
            linear_steps,
            cross_batch: of_minibatch,
            upper_batch: of_minibatch,
            linear_step,
            ..Sid::new(lower_steps, batch, lower_step)
        }
    }

    /// Estimates `grad f(lambda)` with the samples number `index` under `seed` (a replicate, or an upper iteration).
    ///
    /// Without `start` both solves begin at zero. With it they begin there, and it is left at `(w_t, v_k)`; after an error
    /// it is unchanged.
    ///
    /// # Errors
    /// Input, for unusable settings or sizes; numeric, when a solve diverged or anything is not finite.
    pub fn estimate<M, U>(
        &self,
        map: &M,
        upper: &U,
        lambda: &[f64],
        start: Option<&mut WarmStart>,
        seed: u64,
        index: u64,
    ) -> Result<Hypergradient>
    where
        M: StochasticMap + ?Sized,
        U: UpperObjective + ?Sized,
    {
        self.estimate_by(&Plain, map, upper, lambda, start, (seed, index))
    }

    /// As [`Sid::estimate`], with directions estimated by `direction` in both solves; `(seed, index)` name the samples.
    ///
    /// # Errors
    /// As [`Sid::estimate`].
    pub fn estimate_by<M, U>(
        &self,
        direction: &impl Direction<M>,
        map: &M,
        upper: &U,
        lambda: &[f64],
        start: Option<&mut WarmStart>,
        (seed, index): (u64, u64),
    ) -> Result<Hypergradient>
    where
        M: StochasticMap + ?Sized,
        U: UpperObjective + ?Sized,
    {
        let mut point = None;
        let streams = Streams { seed, indices: &[index], skipped: 0, upper_offset: 0 };
        let estimate = self.estimate_on(direction, map, upper, lambda, (start.as_deref(), &mut point), streams)?;
        if let (Some(start), Some(point)) = (start, point) {
            *start = point;
        }
        Ok(estimate)
    }

    /// The estimate on given streams of samples, from `start` (zeros without); leaves `(w_t, v_k)` in `end`.
    pub(super) fn estimate_on<M, U>(
        &self,
        direction: &impl Direction<M>,
        map: &M,
        upper: &U,
        lambda: &[f64],
        (start, end): (Option<&WarmStart>, &mut Option<WarmStart>),
        streams: Streams<'_>,
    ) -> Result<Hypergradient>
    where
        M: StochasticMap + ?Sized,
        U: UpperObjective + ?Sized,
    {
        let lower_solver = self.solver(self.lower_steps, self.lower_step);
        let linear_solver = self.solver(self.linear_steps, self.linear_step);
        lower_solver.validate()?;
        linear_solver.validate()?;
        self.cross_batch.validate("cross_batch")?;
        self.upper_batch.validate("upper_batch")?;
        check_problem(map, upper, lambda, start)?;
        let mut point = start.cloned().unwrap_or_else(|| WarmStart::zeros(map.dims()));
        let late = |purpose| {
            let mut rngs = streams.of(purpose);
            let mut sample = Sample::Full;
            for rng in &mut rngs {
                (0..streams.skipped).for_each(|_| map.draw(self.batch, rng, &mut sample));
            }
            rngs
        };
        let mut workspace = Workspace::new(point.w.len());

        let operator = direction.lower(LowerOperator { map, lambda });
        let lower = solve(&lower_solver, operator, &mut point.w, late(Purpose::Lower), &mut workspace);
        let lower = lower.usable("lower level")?;

        let (mut upper_rngs, mut cross_rngs) = (streams.of(Purpose::Upper), streams.of(Purpose::Cross));
        let samples = (
            Sampled { batch: self.upper_batch, rngs: &mut upper_rngs },
            Sampled { batch: self.cross_batch, rngs: &mut cross_rngs },
        );
        let estimate = differentiate(map, upper, &mut point, lambda, samples, |operator, v| {
            solve(&linear_solver, direction.linear(operator), v, late(Purpose::Linear), &mut workspace)
        })?;
        *end = Some(point);
        Ok(estimate.after(&lower))
    }

    fn solver(&self, steps: usize, step: StepSize) -> FixedPoint {
        FixedPoint { steps, batch: Batch::Rows(self.batch), step, average: self.average, tolerance: 0.0 }
    }
}

/// Which samples an estimate is made on.
#[derive(Debug, Clone, Copy)]
pub(super) struct Streams<'i> {
    pub seed: u64,
    /// One stream for each part of the estimate, or several whose samples are pooled.
    pub indices: &'i [u64],
    /// Samples of both solves that are drawn and thrown away first: on those they share, two runs then differ only by
    /// what the earlier one has not forgotten.
    pub skipped: usize,
    /// Added to the indices for the samples of the upper objective.
    pub upper_offset: u64,
}

impl Streams<'_> {
    fn of(&self, purpose: Purpose) -> Vec<Rng> {
        let offset = if purpose == Purpose::Upper { self.upper_offset } else { 0 };
        self.indices.iter().map(|&index| Rng::stream(self.seed, purpose, index + offset)).collect()
    }
}

/// Solves on samples from `streams`, pooled where there are several.
fn solve(
    solver: &FixedPoint,
    mut operator: impl RandomOperator,
    x: &mut [f64],
    mut streams: Vec<Rng>,
    workspace: &mut Workspace,
) -> Info {
    let (Batch::Rows(batch), [_, _, ..]) = (solver.batch, &streams[..]) else {
        return solver.solve(&mut operator, x, &mut streams[0], workspace);
    };
    let mut unused = streams[0].clone();
    solver.solve(&mut PooledOperator::new(operator, batch, &mut streams), x, &mut unused, workspace)
}
