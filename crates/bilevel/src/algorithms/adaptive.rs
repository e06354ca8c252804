//! The algorithm for those who do not want to tune: a single loop on remembered directions whose steps follow from what is
//! measured on the way.
//!
//! *Steps of `w` and `v`.* A sampled Hessian may not turn a step into an expansion, so the step is the inverse of the largest
//! eigenvalue of a few sampled Hessians at the present `(w, lambda)`, measured anew in every span. A step that is safe at the
//! start need not be safe later: penalties grow, and so does the curvature of a logistic loss that begins at a constant
//! prediction.
//!
//! *Step of `lambda`.* With `s_j` a running mean of the squares of the outer direction and `p_j` the largest that it has been,
//!
//! ```text
//! lambda_j -= (pace / span) unit_j D_lambda_j / sqrt(max(p_j, floor^2 max_i p_i)).
//! ```
//!
//! At its steepest each coordinate moves by `pace` units in a span, whatever the scale of the objective. As the maximum is kept
//! and not a mean (Reddi, Kale, Kumar, ICLR 2018), the step is constant once the direction falls, and directions without noise
//! at the end converge linearly, as with steps that are tuned.
//!
//! *Pace.* How fast `lambda` may move depends on how fast `w` and `v` follow, which no constant tells that can be had cheaply: the
//! smallest eigenvalue of the Hessian belongs to directions that often do not matter. So it is tried. The first spans move `w` and
//! `v` alone, until `E(w, lambda)`, on the same rows at the end of each span, stands still: before that the outer direction
//! says nothing. Then `lambda` moves. Where `E` is lower at the end of a span the pace grows by half. Where it is higher than the best by
//! more than a little of what was gained, `lambda` goes back by that span, the pace falls to a quarter, and `w` and `v` have some spans to
//! themselves again. (Where `E` goes up and down meanwhile, their steps are too long, and are halved.)
//!
//! *Safeguard.* A direction that is a thousand times longer than any before it is the beginning of a divergence. The run goes back
//! to the last span, and on with half the steps of `w` and `v`, and a quarter of the pace.

use super::adjoint::Adjoint;
use super::field::{Field, Streams};
use super::memory::{Memory, Remembered};
use super::point::Point;
use super::problem::Bilevel;
use super::recipe::Count;
use super::run::{Scheme, Steps};
use crate::diagnose::lanczos;
use crate::error::{Error, Result};
use crate::sample::{Batch, Purpose, Rng, Sample};
use crate::vector;
use crate::work::Work;

/// Iterations of a span: a pass over the rows, within these limits.
const SPAN: (usize, usize) = (256, 4096);
/// Samples whose Hessians are measured, at first and in each span, and products with each.
const PROBES: (u64, u64, usize) = (16, 4, 10);
/// What a sample that was not measured may exceed the largest by.
const MARGIN: f64 = 1.2;
/// What remains of the largest eigenvalue after a span in which none like it was measured.
const FORGET: f64 = 0.9;
/// Directions of coordinates that are shorter than this part of the longest are not lengthened to it.
const FLOOR: f64 = 1e-3;
/// Squared growth of a direction that is a divergence.
const ALARM: f64 = 1e6;
/// Times in a row that a run may go back.
const RETREATS: usize = 40;
/// The first pace and the largest, in units a span; factors after a success and a failure.
const PACE: (f64, f64) = (8.0, 32.0);
const PACE_FACTORS: (f64, f64) = (1.5, 0.25);
/// Spans that `w` and `v` may have to themselves, and the relative change of `E` in a span that ends them.
const SETTLING: (usize, f64) = (50, 1e-2);
/// Rows of the upper level on which `E` is watched.
const WATCHED: usize = 4096;
/// Part of what was gained, and of its least value, that `E` may rise.
const SLACK: (f64, f64) = (0.02, 1e-4);

/// What a run goes back to.
#[derive(Clone)]
struct Healthy {
    x: Vec<f64>,
    squares: Vec<f64>,
    peaks: Vec<f64>,
    moves: usize,
}

pub(super) struct Adaptive<'a> {
    field: Field<'a>,
    memory: Memory,
    fade: f64,
    remembered: Remembered,
    /// Factors of the steps found here.
    steps: Steps,
    streams: Streams,
    probes: Rng,
    direction: Vec<f64>,
    span: usize,
    /// The largest eigenvalue that was measured, and the longest safe step of `w` and `v`.
    largest: f64,
    longest: f64,
    /// Powers of a half, one for each divergence.
    shorter: f64,
    pace: f64,
    /// Times that the run went back since it last went on.
    retreats: usize,
    /// Iterations since the memory was begun.
    age: usize,
    now: Healthy,
    kept: Option<Healthy>,
    units: Vec<f64>,
    /// The largest squared direction so far.
    loudest: f64,
    /// Rows on which `E` is watched.
    watched: Sample,
    phase: Phase,
    /// `E` when `lambda` first began to move.
    first: Option<f64>,
}

/// What a span is for.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Phase {
    /// `w` and `v` move alone; `E` at its beginning, how it had changed until then, and spans of this kind in a row.
    Settling { last: f64, change: f64, spans: usize },
    /// `lambda` moves; the least `E` since it began to.
    Moving { least: f64 },
}

impl<'a> Adaptive<'a> {
    pub(super) fn new(
        problem: Bilevel<'a>,
        memory: Memory,
        fade: f64,
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
            Batch::Rows(batch) => batch.min(rows),
        };
        let m = field.layout.0.lambda;
        let width = |j: usize| problem.domain.upper()[j] - problem.domain.lower()[j];
        Ok(Adaptive {
            span: rows.div_ceil(batch.max(1)).clamp(SPAN.0, SPAN.1),
            direction: vec![0.0; field.layout.len()],
            now: Healthy { x: Vec::new(), squares: vec![0.0; m], peaks: vec![0.0; m], moves: 0 },
            units: (0..m).map(|j| (0.25 * width(j)).min(1.0)).collect(),
            probes: Rng::stream(seed, Purpose::Start, 1),
            field,
            memory,
            fade,
            remembered,
            steps,
            streams,
            largest: 0.0,
            longest: 0.0,
            shorter: 1.0,
            pace: PACE.0,
            retreats: 0,
            age: 0,
            kept: None,
            loudest: 0.0,
            watched: watched(problem, seed),
            phase: Phase::Settling { last: f64::NAN, change: 0.0, spans: 0 },
            first: None,
        })
    }

    /// At the end of a span: does `lambda` begin to move, has it moved well?
    fn review(&mut self, point: &mut Point) -> Result<()> {
        let [w, _, lambda] = self.field.layout.split(&point.x);
        let value = self.field.problem.upper.value(w, lambda, &self.watched);
        self.field.work += Work::gradient(self.field.problem.upper.size(&self.watched));
        if value.is_nan() {
            return self.retreat(point);
        }
        self.phase = match self.phase {
            Phase::Settling { last, spans, .. }
                if (value - last).abs() <= SETTLING.1 * value.abs() || spans >= SETTLING.0 =>
            {
                self.first.get_or_insert(value);
                Phase::Moving { least: value }
            }
            Phase::Settling { last, change, spans } => {
                let changed = value - last;
                if changed * change < 0.0 {
                    // Up and down while lambda stands still: the noise of steps that are too long.
                    self.shorter *= 0.5;
                }
                Phase::Settling { last: value, change: if changed.is_nan() { 0.0 } else { changed }, spans: spans + 1 }
            }
            Phase::Moving { least } => {
                let gained = self.first.unwrap_or(value) - least;
                if value > least + (SLACK.0 * gained).max(SLACK.1 * least.abs()) {
                    self.pace *= PACE_FACTORS.1;
                    self.take_back(point);
                    Phase::Settling { last: value, change: 0.0, spans: 0 }
                } else {
                    if value < least {
                        self.pace = (self.pace * PACE_FACTORS.0).min(PACE.1);
                    }
                    Phase::Moving { least: least.min(value) }
                }
            }
        };
        self.retreats = 0;
        Ok(())
    }

    /// Measures the longest safe step at `x`.
    fn measure(&mut self, x: &[f64], probes: u64) -> Result<()> {
        let [w, _, lambda] = self.field.layout.split(x);
        let lower = self.field.problem.lower;
        let mut largest = 0.0_f64;
        let mut zeta = Sample::Full;
        for probe in 0..probes {
            if let Batch::Rows(rows) = self.field.batch {
                lower.draw(rows, &mut self.probes, &mut zeta);
            }
            let product = |v: &[f64], out: &mut [f64]| lower.hessian_product(w, lambda, &zeta, v, out);
            let spectrum = lanczos(product, w.len(), PROBES.2, probe)?;
            largest = largest.max(spectrum.largest + spectrum.largest_error);
            self.field.work += Work::hessian_product(spectrum.products * lower.size(&zeta));
            if self.field.batch == Batch::All {
                break;
            }
        }
        // What was seen before is forgotten slowly: a few samples may miss the worst.
        self.largest = largest.max(FORGET * self.largest);
        self.longest = 1.0 / (MARGIN * self.largest.max(f64::MIN_POSITIVE));
        Ok(())
    }

    /// Takes the moves of `lambda` in this span back.
    fn take_back(&mut self, point: &mut Point) {
        if let Some(kept) = &self.kept {
            let lambda = self.field.layout.lambda();
            point.x[lambda.clone()].copy_from_slice(&kept.x[lambda]);
            self.now = kept.clone();
        }
    }

    /// After a divergence: goes back to the beginning of the span, and on with shorter steps.
    fn retreat(&mut self, point: &mut Point) -> Result<()> {
        self.retreats += 1;
        let Some(kept) = self.kept.clone().filter(|_| self.retreats <= RETREATS) else {
            return Err(Error::numeric("the iterates diverge, however short the steps")
                .remedy("use a larger batch, or raise the smallest penalty"));
        };
        point.x.copy_from_slice(&kept.x);
        self.now = kept;
        self.shorter *= 0.5;
        self.pace *= PACE_FACTORS.1;
        self.age = 0;
        self.remembered = Remembered::new(self.memory, &self.field)?;
        Ok(())
    }

    /// Moves `lambda` along the outer direction, in units of what it has been.
    fn move_outer(&mut self, point: &mut Point) {
        let Adaptive { field, direction, now, units, span, .. } = self;
        let layout = field.layout;
        let lambda = &mut point.x[layout.lambda()];
        let d = &direction[layout.lambda()];
        now.moves += 1;
        let forget = (4.0 / *span as f64).max(1.0 / now.moves as f64);
        let faded = 1.0 - self.fade / *span as f64;
        let mut highest = 0.0_f64;
        for ((square, peak), d) in now.squares.iter_mut().zip(&mut now.peaks).zip(d) {
            *square += forget * (d * d - *square);
            *peak = square.max(*peak * faded);
            highest = highest.max(*peak);
        }
        let floor = (FLOOR * FLOOR * highest).max(f64::MIN_POSITIVE);
        let pace = self.steps.outer.eta(0) * self.pace / *span as f64;
        for (((lambda, d), peak), unit) in lambda.iter_mut().zip(d).zip(&now.peaks).zip(units) {
            *lambda -= pace * *unit * d / peak.max(floor).sqrt();
        }
        field.problem.domain.project(lambda);
    }
}

impl Scheme for Adaptive<'_> {
    fn iterate(&mut self, t: usize, point: &mut Point) -> Result<()> {
        if t.is_multiple_of(self.span) {
            if t > 0 {
                self.review(point)?;
            }
            self.measure(&point.x, if t == 0 { PROBES.0 } else { PROBES.1 })?;
            self.kept = Some(Healthy { x: point.x.clone(), ..self.now.clone() });
        }
        let Adaptive { field, remembered, streams, direction, .. } = self;
        remembered.direction(self.age, 1.0, field, streams, &point.x, 0.0, direction);
        self.age += 1;
        let layout = self.field.layout;
        let loud = vector::norm_squared(&self.direction[..layout.lambda().start]);
        let alarmed = t >= self.span && loud > ALARM * self.loudest.max(f64::MIN_POSITIVE);
        if alarmed || !loud.is_finite() {
            return self.retreat(point);
        }
        self.loudest = self.loudest.max(loud);
        let [d_w, d_v, _] = layout.split(&self.direction);
        let [w, v, _] = layout.split_mut(&mut point.x);
        let longest = self.longest * self.shorter;
        vector::axpy(-longest * self.steps.lower.eta(0), d_w, w);
        vector::axpy(-longest * self.steps.linear.eta(0), d_v, v);
        if let Phase::Moving { .. } = self.phase {
            self.move_outer(point);
        }
        Ok(())
    }

    fn work(&self) -> Work {
        self.field.work
    }
}

/// The rows on which `E` is watched: all, or as many random ones as are enough, the same at each look.
fn watched(problem: Bilevel<'_>, seed: u64) -> Sample {
    let mut sample = Sample::Full;
    if problem.upper.size(&Sample::Full) > WATCHED {
        problem.upper.draw(WATCHED, &mut Rng::stream(seed, Purpose::Start, 2), &mut sample);
    }
    sample
}
