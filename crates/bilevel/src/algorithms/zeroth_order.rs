//! PZOBO: the Jacobian of the lower steps by differences (Sow, Ji, Liang, NeurIPS 2022, Algorithm 1).
//!
//! From one start, on the same samples, `N` lower steps are made at `lambda` and at `lambda + mu u_j`, `u_j` standard normal. The
//! difference quotients `delta_j` stand for `(dw_N/dlambda) u_j`, and
//!
//! ```text
//! grad f ~ grad_lambda E(w_N) + (1/Q) sum_j <delta_j, grad_w E(w_N)> u_j.
//! ```

use super::field::Streams;
use super::point::{Layout, Point};
use super::problem::Bilevel;
use super::scheme::{Scheme, Steps};
use crate::error::Result;
use crate::sample::{Batch, Purpose, Rng, Sample};
use crate::vector;
use crate::work::Work;

pub(super) struct ZerothOrder<'a> {
    problem: Bilevel<'a>,
    directions: usize,
    smoothing: f64,
    steps: Steps,
    batch: Batch,
    streams: Streams,
    normals: Rng,
    layout: Layout,
    samples: Vec<Sample>,
    upper_sample: Sample,
    start: Vec<f64>,
    perturbed: Vec<f64>,
    perturbed_lambda: Vec<f64>,
    normal: Vec<f64>,
    gradient: Vec<f64>,
    grad_w: Vec<f64>,
    outer: Vec<f64>,
    work: Work,
}

impl<'a> ZerothOrder<'a> {
    pub(super) fn new(
        problem: Bilevel<'a>,
        lower_steps: usize,
        directions: usize,
        smoothing: f64,
        steps: Steps,
        batch: Batch,
        seed: u64,
    ) -> Self {
        let dims = problem.dims();
        let (d, m) = (|| vec![0.0; dims.w], || vec![0.0; dims.lambda]);
        ZerothOrder {
            problem,
            directions,
            smoothing,
            steps,
            batch,
            streams: Streams::new(seed),
            normals: Rng::stream(seed, Purpose::Start, 0),
            layout: Layout(dims),
            samples: vec![Sample::Full; lower_steps],
            upper_sample: Sample::Full,
            start: d(),
            perturbed: d(),
            perturbed_lambda: m(),
            normal: m(),
            gradient: d(),
            grad_w: d(),
            outer: m(),
            work: Work::default(),
        }
    }

    /// The lower steps from `w` at `lambda`, on the samples drawn.
    fn descend(&mut self, w: &mut [f64], lambda: &[f64], eta: f64) {
        for zeta in &self.samples {
            self.problem.lower.gradient(w, lambda, zeta, &mut self.gradient);
            vector::axpy(-eta, &self.gradient, w);
            self.work += Work::gradient(self.problem.lower.size(zeta));
        }
    }
}

impl Scheme for ZerothOrder<'_> {
    fn iterate(&mut self, t: usize, point: &mut Point) -> Result<()> {
        let [w, _, lambda] = self.layout.split_mut(&mut point.x);
        let eta = self.steps.lower.eta(t);
        if let Batch::Rows(rows) = self.batch {
            for zeta in &mut self.samples {
                self.problem.lower.draw(rows, &mut self.streams.lower, zeta);
            }
            self.problem.upper.draw(rows, &mut self.streams.upper, &mut self.upper_sample);
        }
        self.start.copy_from_slice(w);
        self.descend(w, lambda, eta);
        self.problem.upper.gradients(w, lambda, &self.upper_sample, &mut self.grad_w, &mut self.outer);
        self.work += Work::upper_gradient(self.problem.upper.size(&self.upper_sample));
        let (mut perturbed, mut shifted) =
            (std::mem::take(&mut self.perturbed), std::mem::take(&mut self.perturbed_lambda));
        for _ in 0..self.directions {
            self.normal.fill_with(|| self.normals.normal());
            shifted.copy_from_slice(lambda);
            vector::axpy(self.smoothing, &self.normal, &mut shifted);
            perturbed.copy_from_slice(&self.start);
            self.descend(&mut perturbed, &shifted, eta);
            let along = (vector::dot(&perturbed, &self.grad_w) - vector::dot(w, &self.grad_w)) / self.smoothing;
            vector::axpy(along / self.directions as f64, &self.normal, &mut self.outer);
        }
        (self.perturbed, self.perturbed_lambda) = (perturbed, shifted);
        self.problem.domain.descend(self.steps.outer.eta(t), &self.outer, lambda);
        Ok(())
    }

    fn work(&self) -> Work {
        self.work
    }
}
