//! The sampled directions `(D_w, D_v, D_lambda)` at a point.

use super::adjoint::Adjoint;
use super::point::Layout;
use super::problem::Bilevel;
use crate::company;
use crate::lower::{Dims, StochasticLoss};
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
    pub room: Room,
    /// For a second point.
    other: Room,
}

/// Room for what evaluations make on the way, and the count of their work.
#[derive(Debug, Clone)]
pub(super) struct Room {
    /// `grad_w E`.
    pub grad_w: Vec<f64>,
    /// The cross product.
    pub cross: Vec<f64>,
    power: Vec<f64>,
    image: Vec<f64>,
    pub work: Work,
}

impl Room {
    fn new(dims: Dims) -> Self {
        let zeros = || vec![0.0; dims.w];
        Room { grad_w: zeros(), cross: vec![0.0; dims.lambda], power: zeros(), image: zeros(), work: Work::default() }
    }
}

impl<'a> Field<'a> {
    pub(super) fn new(problem: Bilevel<'a>, adjoint: Adjoint, batch: Batch) -> Self {
        let dims = problem.dims();
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
            room: Room::new(dims),
            other: Room::new(dims),
        }
    }

    /// All work so far.
    pub(super) fn work(&self) -> Work {
        self.room.work + self.other.work
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

    /// Parts of the directions, one by one.
    pub(super) fn parts(&mut self) -> Parts<'_> {
        let Field { problem, adjoint, samples, room, .. } = self;
        Parts { problem, adjoint: *adjoint, samples, room }
    }

    /// `out = (D_w, D_v, D_lambda)` at `x` on the sample; `D_v` is zero where `v` is not carried along. `linear_step` is the step of
    /// the series.
    pub(super) fn evaluate(&mut self, x: &[f64], linear_step: f64, out: &mut [f64]) {
        let (at, out) = (self.layout.split(x), self.layout.split_mut(out));
        self.parts().directions(at, linear_step, out);
    }

    /// [`Field::evaluate`] at two points on one sample.
    pub(super) fn evaluate_both(&mut self, x: [&[f64]; 2], linear_step: f64, [out, out_other]: [&mut [f64]; 2]) {
        let Field { problem, adjoint, samples, layout, room, other, .. } = self;
        let mut here = Parts { problem, adjoint: *adjoint, samples, room };
        let mut there = Parts { problem, adjoint: *adjoint, samples, room: other };
        let [at, at_other] = x.map(|x| layout.split(x));
        let (out, out_other) = (layout.split_mut(out), layout.split_mut(out_other));
        company::join(|| here.directions(at, linear_step, out), || there.directions(at_other, linear_step, out_other));
    }

    /// `out` = the directions at `x` without those at `other`, on the sample; for a `v` that is carried along.
    pub(super) fn evaluate_change(&mut self, x: &[f64], other: &[f64], out: &mut [f64]) {
        let ([w, v, lambda], [w0, v0, lambda0]) = (self.layout.split(x), self.layout.split(other));
        let [out_w, out_v, out_lambda] = self.layout.split_mut(out);
        let Field { problem, samples, room: Room { grad_w, cross, work, .. }, .. } = self;
        let (w, v, lambda) = ([w, w0], [v, v0], [lambda, lambda0]);
        company::join(
            || problem.lower.directions_change(w, lambda, &samples.lower, v, [out_w, &mut *out_v, cross]),
            || problem.upper.gradients_change(w, lambda, &samples.upper, grad_w, out_lambda),
        );
        company::axpy(-1.0, grad_w, out_v);
        company::axpy(-1.0, cross, out_lambda);
        *work += Work::upper_gradient(2 * problem.upper.size(&samples.upper));
        *work += all_three(problem.lower, 2 * problem.lower.size(&samples.lower));
    }
}

/// Gradient, Hessian product and cross product of the lower loss in one visit of so many rows.
pub(super) fn all_three(lower: &dyn StochasticLoss, rows: usize) -> Work {
    let rows = rows as u64;
    let cross_products = if lower.cross_size(&Sample::Full) == 0 { 0 } else { rows };
    Work { rows, gradients: rows, hessian_products: rows, cross_products, ..Work::default() }
}

/// The parts that directions are made of, on the sample drawn last.
pub(super) struct Parts<'f> {
    problem: &'f Bilevel<'f>,
    adjoint: Adjoint,
    samples: &'f Samples,
    room: &'f mut Room,
}

impl Parts<'_> {
    /// What [`Field::evaluate`] says.
    fn directions(
        &mut self,
        [w, v, lambda]: [&[f64]; 3],
        linear_step: f64,
        [out_w, out_v, out_lambda]: [&mut [f64]; 3],
    ) {
        if self.adjoint.is_carried() {
            let Parts { problem, samples, room: Room { grad_w, cross, work, .. }, .. } = self;
            company::join(
                || problem.lower.directions(w, lambda, &samples.lower, v, [out_w, &mut *out_v, cross]),
                || problem.upper.gradients_only(w, lambda, &samples.upper, grad_w, out_lambda),
            );
            company::axpy(-1.0, grad_w, out_v);
            company::axpy(-1.0, cross, out_lambda);
            *work += Work::upper_gradient(problem.upper.size(&samples.upper));
            *work += all_three(problem.lower, problem.lower.size(&samples.lower));
            return;
        }
        self.upper(w, lambda, out_lambda);
        self.lower(w, lambda, out_w);
        self.series(w, lambda, linear_step, out_v);
        self.subtract_cross(w, lambda, out_v, out_lambda);
        out_v.fill(0.0);
    }

    /// `out = D_w`.
    pub(super) fn lower(&mut self, w: &[f64], lambda: &[f64], out: &mut [f64]) {
        self.problem.lower.gradient_only(w, lambda, &self.samples.lower, out);
        self.room.work += Work::gradient(self.problem.lower.size(&self.samples.lower));
    }

    /// `out = D_v`, with the gradient that [`Parts::upper`] has left.
    pub(super) fn linear(&mut self, w: &[f64], v: &[f64], lambda: &[f64], out: &mut [f64]) {
        self.problem.lower.hessian_product(w, lambda, &self.samples.lower, v, out);
        self.room.work += Work::hessian_product(self.problem.lower.size(&self.samples.lower));
        company::axpy(-1.0, &self.room.grad_w, out);
    }

    /// `out = grad_lambda E`; leaves `grad_w E` for the parts that need it.
    pub(super) fn upper(&mut self, w: &[f64], lambda: &[f64], out: &mut [f64]) {
        self.problem.upper.gradients_only(w, lambda, &self.samples.upper, &mut self.room.grad_w, out);
        self.room.work += Work::upper_gradient(self.problem.upper.size(&self.samples.upper));
    }

    /// `out -= (d/dlambda grad_w g)^T v`.
    pub(super) fn subtract_cross(&mut self, w: &[f64], lambda: &[f64], v: &[f64], out: &mut [f64]) {
        self.problem.lower.cross_product(w, lambda, &self.samples.lower, v, &mut self.room.cross);
        self.room.work += Work::cross_product(self.problem.lower.cross_size(&self.samples.lower));
        company::axpy(-1.0, &self.room.cross, out);
    }

    /// `v` by a series in `I - step H` from the `grad_w E` that [`Parts::upper`] has left; uses the samples drawn for it.
    pub(super) fn series(&mut self, w: &[f64], lambda: &[f64], step: f64, v: &mut [f64]) {
        let Parts { problem, samples, room: Room { grad_w, power, image, work, .. }, .. } = self;
        let (used, sums) = match self.adjoint {
            Adjoint::RandomNeumann { .. } => (samples.term, false),
            _ => (samples.hessians.len(), true),
        };
        power.copy_from_slice(grad_w);
        v.copy_from_slice(power);
        for zeta in &samples.hessians[..used] {
            problem.lower.hessian_product(w, lambda, zeta, power, image);
            *work += Work::hessian_product(problem.lower.size(zeta));
            company::axpy(-step, image, power);
            if sums {
                company::axpy(1.0, power, v);
            }
        }
        let factor = match self.adjoint {
            Adjoint::RandomNeumann { terms } => {
                v.copy_from_slice(power);
                step * terms as f64
            }
            _ => step,
        };
        vector::scale(factor, v);
    }
}
