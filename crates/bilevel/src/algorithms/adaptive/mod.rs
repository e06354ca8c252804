//! The algorithm for those who do not want to tune: a single loop on remembered directions whose steps follow from what is
//! measured on the way.
//!
//! *Steps of `w` and `v`*: [`LowerSteps`], safe wherever `lambda` goes. *Step of `lambda`*: [`OuterMoves`], units an iteration for
//! each coordinate. How many depends on how fast `w` and `v` follow, which no constant tells that can be had cheaply: the
//! smallest eigenvalue of the Hessian belongs to directions that often do not matter. So that rate is tried, and judged at the
//! end of each span, a few iterations at first and about a pass over the rows later.
//!
//! *What is judged* is `E` at the means of `w` and `lambda` over the second half of the span, against the best such point
//! ([`Watch`]). Means, because `w` rattles: remembered directions have no noise at the end, but much of it while
//! `lambda` moves. `E(w, lambda)` is not `f(lambda)` as long as `w` is on its way; to first order what is missing is
//!
//! ```text
//! E(w, lambda) - f(lambda) ~ grad_w E . (w - w(lambda)) ~ v . D_w =: owed,
//! ```
//!
//! as `v ~ H^{-1} grad_w E` and `w - w(lambda) ~ H^{-1} D_w`, and the mean of `D_w` is at hand. Where it is negative `E` will
//! rise, and is judged as if it had. Where it is positive, a fall is owed already, and `lambda` waits for it: no more than
//! a quarter of `E` may be promised (to first order in the move of `lambda`) and owed at once. Without that rule the loop from
//! `lambda` over `w` and `v` back to `lambda` is one of three lags, which swings wider and wider once `lambda` is faster
//! than they.
//!
//! *Verdicts* ([`Verdicts`]). Lower: this is the best point, and the rate doubles where `w` keeps up. Higher: `lambda` goes back to the best
//! point, the rate falls to a quarter, and `w` and `v` have some spans to themselves, as at the start. Neither for a long time: the
//! rate is halved. While `w` is settling `E` rises
//! whatever `lambda` does; a rise that fades, or is far beyond what the moves of `lambda` had promised, is no reason to go back.
//!
//! *Safeguard.* A direction that is a thousand times longer than any before it is the beginning of a divergence. The run goes back
//! to the last span, and on with half the steps of `w` and `v`, and a quarter of the rate.

mod lower_steps;
mod outer_moves;
mod verdicts;
mod watch;

use lower_steps::LowerSteps;
use outer_moves::{Memory as Peaks, OuterMoves};
use verdicts::{Next, SHRINK, Verdicts};
use watch::Watch;

use super::adjoint::Adjoint;
use super::field::{Field, Streams};
use super::memory::{Memory, Remembered};
use super::point::Point;
use super::problem::Bilevel;
use super::recipe::Count;
use super::scheme::{Scheme, Steps};
use crate::error::{Error, Result};
use crate::sample::{Batch, Sample};
use crate::vector;
use crate::work::Work;

/// Iterations of the first span, what each is longer than the one before, and the limits of the longest, which is a pass over the
/// rows.
const FIRST_SPAN: usize = 16;
const STRETCH: f64 = 1.25;
const LONGEST_SPAN: (usize, usize) = (64, 4096);
/// Squared growth of a direction that is a divergence, after the first so many iterations.
const ALARM: f64 = 1e6;
const QUIET: usize = 64;
/// Times in a row that a run may go back.
const RETREATS: usize = 40;
/// The part of `E` that may be promised at once, what counts against it of what is owed, and the least part.
const PROMISE: f64 = 0.25;
const OWED: f64 = 2.0;
const LEAST_PROMISE: f64 = 0.01;
/// The best point so far.
struct Best {
    lambda: Vec<f64>,
    peaks: Peaks,
    /// The rise that is owed by `w`.
    rise: f64,
}

pub(super) struct Adaptive<'a> {
    field: Field<'a>,
    memory: Memory,
    remembered: Remembered,
    /// Iterations since the memory was begun.
    age: usize,
    /// Factors of the steps found here.
    steps: Steps,
    streams: Streams,
    direction: Vec<f64>,
    lower: LowerSteps,
    outer: OuterMoves,
    watch: Watch,
    span: usize,
    longest_span: usize,
    begun: usize,
    end: usize,
    /// Sums of the iterates and directions of the second half of the span.
    sums: [Vec<f64>; 2],
    summed: usize,
    /// The beginning of the span, and times that the run went back since it last ended one.
    kept: Option<(Vec<f64>, Peaks)>,
    retreats: usize,
    /// The largest squared direction so far.
    loudest: f64,
    best: Option<Best>,
    verdicts: Verdicts,
}

impl<'a> Adaptive<'a> {
    pub(super) fn new(
        problem: Bilevel<'a>,
        memory: Memory,
        steps: Steps,
        batch: Batch,
        streams: Streams,
        seed: u64,
    ) -> Result<Self> {
        let field = Field::new(problem, Adjoint::Steps(Count::Fixed(1)), batch);
        // A table that does not fit is replaced by directions that need none.
        let (memory, remembered) = match Remembered::new(memory, &field) {
            Ok(remembered) => (memory, remembered),
            Err(_) => {
                let memory = Memory::Sarah { period: 0.5 };
                (memory, Remembered::new(memory, &field)?)
            }
        };
        let rows = problem.lower.size(&Sample::Full);
        let batch = match batch {
            Batch::All => rows,
            Batch::Rows(batch) => batch.clamp(1, rows),
        };
        let watch = Watch::new(seed);
        let pass = rows.div_ceil(batch).max(watch.span_for_all(&problem));
        let longest_span = pass.clamp(LONGEST_SPAN.0, LONGEST_SPAN.1);
        let zeros = vec![0.0; field.layout.len()];
        Ok(Adaptive {
            lower: LowerSteps::new(problem.dims(), rows.div_ceil(batch), seed),
            outer: OuterMoves::new(problem.domain),
            watch,
            span: FIRST_SPAN,
            longest_span,
            begun: 0,
            end: 0,
            direction: zeros.clone(),
            sums: [zeros.clone(), zeros],
            summed: 0,
            field,
            memory,
            remembered,
            age: 0,
            steps,
            streams,
            kept: None,
            retreats: 0,
            loudest: 0.0,
            best: None,
            verdicts: Verdicts::new(),
        })
    }

    /// At the end of a span: does `lambda` begin to move, has it moved well?
    fn review(&mut self, point: &mut Point) -> Result<()> {
        let [x, d] = &mut self.sums;
        let share = 1.0 / self.summed.max(1) as f64;
        vector::scale(share, x);
        vector::scale(share, d);
        let (seen, work) = self.watch.look(&self.field, x, self.span);
        self.field.room.work += work;
        let layout = self.field.layout;
        let owed = vector::dot(&x[layout.v()], &d[layout.w()]);
        if !(seen.value.is_finite() && owed.is_finite()) {
            return self.retreat(point);
        }
        let here = Best { lambda: x[layout.lambda()].to_vec(), peaks: self.outer.memory(), rise: (-owed).max(0.0) };
        let change = seen.change + here.rise - self.best.as_ref().map_or(0.0, |best| best.rise);
        let verdict = self.verdicts.judge(&seen, change, owed, self.outer.promised);
        if let Some(factor) = verdict.faster {
            self.outer.faster(factor, self.span);
        }
        if let Some(factor) = verdict.slower {
            self.outer.slower(factor);
        }
        match (verdict.point, &self.best) {
            (Next::Best, _) => {
                self.best = Some(here);
                self.watch.keep(&self.sums[0]);
            }
            (Next::Back, Some(best)) => {
                point.x[layout.lambda()].copy_from_slice(&best.lambda);
                self.outer.restore(best.peaks.clone());
            }
            (Next::Goes, _) | (Next::Back, None) => {}
        }
        self.retreats = 0;
        let value = seen.value.abs();
        self.outer.allowed = (PROMISE * (value - OWED * owed.max(0.0))).max(LEAST_PROMISE * value);
        self.span = ((STRETCH * self.span as f64) as usize).min(self.longest_span);
        Ok(())
    }

    /// After a divergence: goes back to the beginning of the span, and on with shorter steps.
    fn retreat(&mut self, point: &mut Point) -> Result<()> {
        self.retreats += 1;
        let Some((x, peaks)) = self.kept.clone().filter(|_| self.retreats <= RETREATS) else {
            return Err(Error::numeric("the iterates diverge, however short the steps")
                .remedy("use a larger batch, or raise the smallest penalty"));
        };
        point.x.copy_from_slice(&x);
        self.outer.restore(peaks);
        self.outer.slower(SHRINK);
        self.lower.shorten();
        self.verdicts.settle();
        self.age = 0;
        self.remembered = Remembered::new(self.memory, &self.field)?;
        Ok(())
    }

    /// The beginning of a span.
    fn begin(&mut self, t: usize, point: &Point) -> Result<()> {
        let effort = if t == 0 { None } else { Some(self.span) };
        self.lower.measure(&mut self.field, &point.x, effort)?;
        self.kept = Some((point.x.clone(), self.outer.memory()));
        (self.begun, self.end) = (t, t + self.span);
        self.sums.iter_mut().for_each(|sums| sums.fill(0.0));
        self.summed = 0;
        Ok(())
    }
}

impl Scheme for Adaptive<'_> {
    fn iterate(&mut self, t: usize, point: &mut Point) -> Result<()> {
        if t == self.end {
            if t > 0 {
                self.review(point)?;
            }
            self.begin(t, point)?;
        }
        let Adaptive { field, remembered, streams, direction, .. } = self;
        remembered.direction(self.age, 1.0, field, streams, &point.x, 0.0, direction);
        self.age += 1;
        let layout = self.field.layout;
        let loud = vector::norm_squared(&self.direction[..layout.lambda().start]);
        let alarmed = t >= QUIET && loud > ALARM * self.loudest.max(f64::MIN_POSITIVE);
        if alarmed || !loud.is_finite() {
            return self.retreat(point);
        }
        self.loudest = self.loudest.max(loud);
        let [d_w, d_v, d_lambda] = layout.split(&self.direction);
        let [w, v, lambda] = layout.split_mut(&mut point.x);
        self.lower.step(self.steps.lower.eta(0), d_w, w);
        self.lower.step(self.steps.linear.eta(0), d_v, v);
        if self.verdicts.lambda_moves() {
            self.outer.step(self.steps.outer.eta(0), self.span, d_lambda, lambda);
            self.field.problem.domain.project(lambda);
        }
        if 2 * (t - self.begun) >= self.span {
            let [sum_x, sum_d] = &mut self.sums;
            vector::axpy(1.0, &point.x, sum_x);
            vector::axpy(1.0, &self.direction, sum_d);
            self.summed += 1;
        }
        if self.verdicts.lambda_moves() {
            self.lower.follow(&mut self.field, &point.x, self.outer.units())?;
        }
        Ok(())
    }

    fn work(&self) -> Work {
        self.field.work()
    }
}
