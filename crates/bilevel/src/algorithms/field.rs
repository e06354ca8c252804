//! The sampled directions `(D_w, D_v, D_lambda)` at a point.

use super::adjoint::Adjoint;
use super::point::Layout;
use super::problem::Bilevel;
use crate::sample::{Batch, Purpose, Rng, Sample};
use crate::vector;
use crate::work::Work;

/// One draw of everything that an evaluation needs.
#[derive(Debug, Clone)]
pub(super) struct Samples {
    /// Of the lower level: `D_w`, the product in `D_v` and the cross product.
    pub lower: Sample,
    /// Of the upper objective.
    pub upper: Sample,
    /// Of the Hessians of a series.
    pub hessians: Vec<Sample>,
    /// Which term of the series was drawn.
    pub term: usize,
}

/// Streams of samples, one for each purpose.
#[derive(Debug, Clone)]
pub(super) struct Streams {
    pub lower: Rng,
    pub upper: Rng,
    pub linear: Rng,
}

impl Streams {
    pub(super) fn new(seed: u64) -> Self {
        let stream = |purpose| Rng::stream(seed, purpose, 0);
        Streams { lower: stream(Purpose::Lower), upper: stream(Purpose::Upper), linear: stream(Purpose::Linear) }
    }
}

/// Evaluates directions on the sample drawn last.
pub(super) struct Field<'a> {
    pub problem: Bilevel<'a>,
    pub adjoint: Adjoint,
    pub layout: Layout,
    pub samples: Samples,
    pub batch: Batch,
    pub work: Work,
    /// Scratch: `grad_w E`.
    pub grad_w: Vec<f64>,
    /// Scratch: the cross product.
    pub cross: Vec<f64>,
    pub(super) power: Vec<f64>,
    pub(super) image: Vec<f64>,
}

impl<'a> Field<'a> {
    pub(super) fn new(problem: Bilevel<'a>, adjoint: Adjoint, batch: Batch) -> Self {
        let dims = problem.dims();
        let zeros = || vec![0.0; dims.w];
        Field {
            problem,
            adjoint,
            layout: Layout(dims),
            samples: Samples {
                lower: Sample::Full,
                upper: Sample::Full,
                hessians: vec![Sample::Full; adjoint.products()],
                term: 0,
            },
            batch,
            work: Work::default(),
            grad_w: zeros(),
            cross: vec![0.0; dims.lambda],
            power: zeros(),
            image: zeros(),
        }
    }

    /// Draws a sample of the lower level.
    pub(super) fn draw_lower(&mut self, streams: &mut Streams) {
        if let Batch::Rows(rows) = self.batch {
            self.problem.lower.draw(rows, &mut streams.lower, &mut self.samples.lower);
        }
    }

    /// Draws a sample of the upper objective.
    pub(super) fn draw_upper(&mut self, streams: &mut Streams) {
        if let Batch::Rows(rows) = self.batch {
            self.problem.upper.draw(rows, &mut streams.upper, &mut self.samples.upper);
        }
    }

    /// Draws all that [`Field::evaluate`] needs.
    pub(super) fn draw(&mut self, streams: &mut Streams) {
        self.draw_lower(streams);
        self.draw_upper(streams);
        self.draw_series(streams);
    }

    /// Draws the samples of the series that makes `v`.
    pub(super) fn draw_series(&mut self, streams: &mut Streams) {
        if let Adjoint::RandomNeumann { terms } = self.adjoint {
            self.samples.term = streams.linear.below(terms);
        }
        if let Batch::Rows(rows) = self.batch {
            for zeta in &mut self.samples.hessians {
                self.problem.lower.draw(rows, &mut streams.linear, zeta);
            }
        }
    }

    /// From now on, until the next draw, all rows.
    pub(super) fn take_all(&mut self) {
        self.samples.lower = Sample::Full;
        self.samples.upper = Sample::Full;
        self.samples.hessians.fill(Sample::Full);
    }

    /// `out = (D_w, D_v, D_lambda)` at `x` on the sample; `D_v` is zero where `v` is not carried along. `linear_step` is the step of
    /// the series.
    pub(super) fn evaluate(&mut self, x: &[f64], linear_step: f64, out: &mut [f64]) {
        let [w, v, lambda] = self.layout.split(x);
        let [out_w, out_v, out_lambda] = self.layout.split_mut(out);
        if self.adjoint.is_carried() {
            self.upper(w, lambda, out_lambda);
            let Field { problem, samples, cross, .. } = self;
            problem.lower.directions(w, lambda, &samples.lower, v, [out_w, out_v, cross]);
            let rows = self.problem.lower.size(&self.samples.lower) as u64;
            self.work +=
                Work { rows, gradients: rows, hessian_products: rows, cross_products: rows, factorizations: 0 };
            vector::axpy(-1.0, &self.grad_w, out_v);
            vector::axpy(-1.0, &self.cross, out_lambda);
            return;
        }
        self.lower(w, lambda, out_w);
        self.upper(w, lambda, out_lambda);
        self.series(w, lambda, linear_step, out_v);
        self.subtract_cross(w, lambda, out_v, out_lambda);
        out_v.fill(0.0);
    }

    /// `out` = the directions at `x` without those at `other`, on the sample; for a `v` that is carried along.
    pub(super) fn evaluate_change(&mut self, x: &[f64], other: &[f64], out: &mut [f64]) {
        let ([w, v, lambda], [w0, v0, lambda0]) = (self.layout.split(x), self.layout.split(other));
        let [out_w, out_v, out_lambda] = self.layout.split_mut(out);
        let Field { problem, samples, grad_w, cross, .. } = self;
        problem.upper.gradients_change([w, w0], [lambda, lambda0], &samples.upper, grad_w, out_lambda);
        let (w, v, lambda) = ([w, w0], [v, v0], [lambda, lambda0]);
        problem.lower.directions_change(w, lambda, &samples.lower, v, [&mut *out_w, &mut *out_v, &mut *cross]);
        vector::axpy(-1.0, grad_w, out_v);
        vector::axpy(-1.0, cross, out_lambda);
        let rows = 2 * problem.lower.size(&samples.lower) as u64;
        self.work += Work::gradient(2 * problem.upper.size(&samples.upper));
        self.work += Work { rows, gradients: rows, hessian_products: rows, cross_products: rows, factorizations: 0 };
    }

    /// `out = D_w`.
    pub(super) fn lower(&mut self, w: &[f64], lambda: &[f64], out: &mut [f64]) {
        self.problem.lower.gradient_only(w, lambda, &self.samples.lower, out);
        self.work += Work::gradient(self.problem.lower.size(&self.samples.lower));
    }

    /// `out = D_v`, with the gradient that [`Field::upper`] has left in `grad_w`.
    pub(super) fn linear(&mut self, w: &[f64], v: &[f64], lambda: &[f64], out: &mut [f64]) {
        self.problem.lower.hessian_product(w, lambda, &self.samples.lower, v, out);
        self.work += Work::hessian_product(self.problem.lower.size(&self.samples.lower));
        vector::axpy(-1.0, &self.grad_w, out);
    }

    /// `grad_w = grad_w E` and `out = grad_lambda E`.
    pub(super) fn upper(&mut self, w: &[f64], lambda: &[f64], out: &mut [f64]) {
        let Field { problem, samples, grad_w, .. } = self;
        problem.upper.gradients_only(w, lambda, &samples.upper, grad_w, out);
        self.work += Work::gradient(self.problem.upper.size(&self.samples.upper));
    }

    /// `out -= (d/dlambda grad_w g)^T v`.
    pub(super) fn subtract_cross(&mut self, w: &[f64], lambda: &[f64], v: &[f64], out: &mut [f64]) {
        let Field { problem, samples, cross, .. } = self;
        problem.lower.cross_product(w, lambda, &samples.lower, v, cross);
        self.work += Work::cross_product(self.problem.lower.size(&self.samples.lower));
        vector::axpy(-1.0, &self.cross, out);
    }

    pub(super) fn count_hessian(&mut self, zeta: &Sample) {
        self.work += Work::hessian_product(self.problem.lower.size(zeta));
    }
}
