//! Algorithms without second derivatives: they compare two copies of the lower variable.

use super::field::Streams;
use super::point::{Layout, Point};
use super::problem::Bilevel;
use super::scheme::{Scheme, Steps};
use crate::error::Result;
use crate::sample::{Batch, Sample};
use crate::vector;
use crate::work::Work;

/// Gradients of both levels on samples.
struct Gradients<'a> {
    problem: Bilevel<'a>,
    batch: Batch,
    streams: Streams,
    lower: Sample,
    upper: Sample,
    work: Work,
}

impl<'a> Gradients<'a> {
    fn new(problem: Bilevel<'a>, batch: Batch, streams: Streams) -> Self {
        Gradients { problem, batch, streams, lower: Sample::Full, upper: Sample::Full, work: Work::default() }
    }

    fn draw_lower(&mut self) {
        if let Batch::Rows(rows) = self.batch {
            self.problem.lower.draw(rows, &mut self.streams.lower, &mut self.lower);
        }
    }

    fn draw_upper(&mut self) {
        if let Batch::Rows(rows) = self.batch {
            self.problem.upper.draw(rows, &mut self.streams.upper, &mut self.upper);
        }
    }

    fn lower(&mut self, w: &[f64], lambda: &[f64], out: &mut [f64]) -> f64 {
        self.work += Work::gradient(self.problem.lower.size(&self.lower));
        self.problem.lower.gradient(w, lambda, &self.lower, out)
    }

    fn lower_lambda(&mut self, w: &[f64], lambda: &[f64], out: &mut [f64]) {
        self.work += Work::gradient(self.problem.lower.size(&self.lower));
        self.problem.lower.gradient_lambda(w, lambda, &self.lower, out);
    }

    fn upper(&mut self, w: &[f64], lambda: &[f64], out: &mut [f64], out_lambda: &mut [f64]) {
        self.work += Work::upper_gradient(self.problem.upper.size(&self.upper));
        self.problem.upper.gradients(w, lambda, &self.upper, out, out_lambda);
    }
}

/// F2SA: `x = (w, z, lambda)`, `w` towards the minimum of `g`, `z` towards that of `g + E / s`, and `lambda` along
/// `grad_lambda E(z) + s (grad_lambda g(z) - grad_lambda g(w))` (Kwon, Kwon, Wright, Nowak, ICML 2023, Algorithm 1).
///
/// Stationary points are those of the penalised problem; they differ from those of `f` by `O(1/s)`.
pub(super) struct Penalized<'a> {
    gradients: Gradients<'a>,
    lower_steps: usize,
    initial: f64,
    growth: f64,
    steps: Steps,
    layout: Layout,
    direction: Vec<f64>,
    upper_direction: Vec<f64>,
    outer: Vec<f64>,
    outer_part: Vec<f64>,
}

impl<'a> Penalized<'a> {
    pub(super) fn new(
        problem: Bilevel<'a>,
        lower_steps: usize,
        initial: f64,
        growth: f64,
        steps: Steps,
        batch: Batch,
        streams: Streams,
    ) -> Self {
        let dims = problem.dims();
        Penalized {
            gradients: Gradients::new(problem, batch, streams),
            lower_steps,
            initial,
            growth,
            steps,
            layout: Layout(dims),
            direction: vec![0.0; dims.w],
            upper_direction: vec![0.0; dims.w],
            outer: vec![0.0; dims.lambda],
            outer_part: vec![0.0; dims.lambda],
        }
    }
}

impl Scheme for Penalized<'_> {
    fn iterate(&mut self, t: usize, point: &mut Point) -> Result<()> {
        let multiplier = self.initial * (1.0 + t as f64).powf(self.growth);
        let [w, z, lambda] = self.layout.split_mut(&mut point.x);
        let Penalized { gradients, direction, upper_direction, outer, outer_part, .. } = self;
        if t == 0 {
            z.copy_from_slice(w);
        }
        for _ in 0..self.lower_steps {
            gradients.draw_lower();
            gradients.lower(w, lambda, direction);
            vector::axpy(-self.steps.lower.eta(t), direction, w);
            gradients.draw_lower();
            gradients.draw_upper();
            gradients.lower(z, lambda, direction);
            gradients.upper(z, lambda, upper_direction, outer);
            vector::axpy(1.0 / multiplier, upper_direction, direction);
            vector::axpy(-self.steps.linear.eta(t), direction, z);
        }
        gradients.draw_lower();
        gradients.draw_upper();
        gradients.upper(z, lambda, upper_direction, outer);
        gradients.lower_lambda(z, lambda, outer_part);
        vector::axpy(multiplier, outer_part, outer);
        gradients.lower_lambda(w, lambda, outer_part);
        vector::axpy(-multiplier, outer_part, outer);
        gradients.problem.domain.descend(self.steps.outer.eta(t), outer, lambda);
        Ok(())
    }

    fn work(&self) -> Work {
        self.gradients.work
    }
}

/// BOME: with `z` some lower steps beyond `w` and `q = g(w, lambda) - g(z, lambda)`, both `w` and `lambda` move along
/// `grad E + c grad q`, `c = max(0, u - <grad E, grad q> / |grad q|^2)` (Ye, Liu, Wright, Stone, Liu, NeurIPS 2022, Algorithm 1).
///
/// Inner steps have the lower step; `w` and `lambda` have the outer one.
pub(super) struct DynamicBarrier<'a> {
    gradients: Gradients<'a>,
    lower_steps: usize,
    barrier: f64,
    steps: Steps,
    layout: Layout,
    direction: Vec<f64>,
    objective: [Vec<f64>; 2],
    gap: [Vec<f64>; 2],
    outer_part: Vec<f64>,
}

impl<'a> DynamicBarrier<'a> {
    pub(super) fn new(
        problem: Bilevel<'a>,
        lower_steps: usize,
        barrier: f64,
        steps: Steps,
        batch: Batch,
        streams: Streams,
    ) -> Self {
        let dims = problem.dims();
        let both = || [vec![0.0; dims.w], vec![0.0; dims.lambda]];
        DynamicBarrier {
            gradients: Gradients::new(problem, batch, streams),
            lower_steps,
            barrier,
            steps,
            layout: Layout(dims),
            direction: vec![0.0; dims.w],
            objective: both(),
            gap: both(),
            outer_part: vec![0.0; dims.lambda],
        }
    }
}

impl Scheme for DynamicBarrier<'_> {
    fn iterate(&mut self, t: usize, point: &mut Point) -> Result<()> {
        let [w, z, lambda] = self.layout.split_mut(&mut point.x);
        let DynamicBarrier { gradients, direction, objective, gap, outer_part, .. } = self;
        let (eta, outer_eta) = (self.steps.lower.eta(t), self.steps.outer.eta(t));
        z.copy_from_slice(w);
        for _ in 0..self.lower_steps {
            gradients.draw_lower();
            gradients.lower(z, lambda, direction);
            vector::axpy(-eta, direction, z);
        }
        gradients.draw_lower();
        gradients.draw_upper();
        let [objective_w, objective_lambda] = objective;
        gradients.upper(w, lambda, objective_w, objective_lambda);
        gradients.lower(w, lambda, &mut gap[0]);
        gradients.lower_lambda(w, lambda, &mut gap[1]);
        gradients.lower_lambda(z, lambda, outer_part);
        vector::axpy(-1.0, outer_part, &mut gap[1]);
        let (mut inner, mut size) = (0.0, 0.0);
        for (objective, gap) in objective.iter().zip(gap.iter()) {
            inner += vector::dot(objective, gap);
            size += vector::norm_squared(gap);
        }
        let weight = if size > 0.0 { (self.barrier - inner / size).max(0.0) } else { 0.0 };
        for ((x, objective), gap) in [w, lambda].into_iter().zip(objective.iter()).zip(gap.iter()) {
            vector::axpy(-outer_eta, objective, x);
            vector::axpy(-outer_eta * weight, gap, x);
        }
        gradients.problem.domain.project(self.layout.split_mut(&mut point.x)[2]);
        Ok(())
    }

    fn work(&self) -> Work {
        self.gradients.work
    }
}
