//! The algorithms that sample all three directions: blocks that move together, and blocks that move in turn.

use super::adjoint::Adjoint;
use super::field::{Field, Streams};
use super::memory::{Memory, Remembered};
use super::point::Point;
use super::problem::Bilevel;
use super::recipe::{Count, Start};
use super::scheme::{Scheme, Steps};
use crate::company;
use crate::error::Result;
use crate::sample::Batch;
use crate::work::Work;

/// All blocks along directions made at one point.
pub(super) struct Together<'a> {
    field: Field<'a>,
    remembered: Remembered,
    outer_every: usize,
    steps: Steps,
    streams: Streams,
    direction: Vec<f64>,
}

impl<'a> Together<'a> {
    pub(super) fn new(
        problem: Bilevel<'a>,
        adjoint: Adjoint,
        memory: Memory,
        outer_every: usize,
        steps: Steps,
        batch: Batch,
        streams: Streams,
    ) -> Result<Self> {
        let field = Field::new(problem, adjoint, batch);
        let remembered = Remembered::new(memory, &field)?;
        let direction = vec![0.0; field.layout.len()];
        Ok(Together { field, remembered, outer_every, steps, streams, direction })
    }
}

impl Scheme for Together<'_> {
    fn iterate(&mut self, t: usize, point: &mut Point) -> Result<()> {
        let linear = self.steps.linear.eta(t);
        let outer = self.steps.outer.eta(t);
        let shrunk = outer / self.steps.outer.eta(0);
        let Together { field, remembered, streams, direction, .. } = self;
        remembered.direction(t, shrunk, field, streams, &point.x, linear, direction);
        let layout = self.field.layout;
        let [d_w, d_v, d_lambda] = layout.split(&self.direction);
        let [w, v, lambda] = layout.split_mut(&mut point.x);
        let outer_turn = t.is_multiple_of(self.outer_every);
        if self.outer_every == 1 || !outer_turn {
            company::axpy(-self.steps.lower.eta(t), d_w, w);
            if self.field.adjoint.is_carried() {
                company::axpy(-linear, d_v, v);
            }
        }
        if outer_turn {
            self.field.problem.domain.descend(outer, d_lambda, lambda);
        }
        Ok(())
    }

    fn work(&self) -> Work {
        self.field.work()
    }
}

/// First `w`, then `v`, then `lambda`.
pub(super) struct InTurn<'a> {
    field: Field<'a>,
    lower: Count,
    /// `w` and `v` to begin each iteration with.
    cold: Option<(Vec<f64>, Vec<f64>)>,
    steps: Steps,
    streams: Streams,
    direction: Vec<f64>,
    outer: Vec<f64>,
}

impl<'a> InTurn<'a> {
    #[allow(clippy::too_many_arguments)]
    pub(super) fn new(
        problem: Bilevel<'a>,
        lower: Count,
        adjoint: Adjoint,
        from: Start,
        steps: Steps,
        batch: Batch,
        streams: Streams,
        start: &Point,
    ) -> Self {
        let dims = problem.dims();
        InTurn {
            field: Field::new(problem, adjoint, batch),
            lower,
            cold: (from == Start::Cold).then(|| (start.w().to_vec(), start.v().to_vec())),
            steps,
            streams,
            direction: vec![0.0; dims.w],
            outer: vec![0.0; dims.lambda],
        }
    }
}

impl Scheme for InTurn<'_> {
    fn iterate(&mut self, t: usize, point: &mut Point) -> Result<()> {
        let InTurn { field, streams, direction, outer, .. } = self;
        let [w, v, lambda] = field.layout.split_mut(&mut point.x);
        if let Some((cold_w, cold_v)) = &self.cold {
            w.copy_from_slice(cold_w);
            v.copy_from_slice(cold_v);
        }
        let eta = self.steps.lower.eta(t);
        for _ in 0..self.lower.at(t) {
            field.draw_lower(streams);
            field.parts().lower(w, lambda, direction);
            company::axpy(-eta, direction, w);
        }
        // One sample of the upper objective serves the linear system and the outer direction.
        field.draw_upper(streams);
        field.parts().upper(w, lambda, outer);
        let eta = self.steps.linear.eta(t);
        if let Adjoint::Steps(count) = field.adjoint {
            for _ in 0..count.at(t) {
                field.draw_lower(streams);
                field.parts().linear(w, v, lambda, direction);
                company::axpy(-eta, direction, v);
            }
        }
        field.draw_lower(streams);
        field.draw_series(streams);
        if !field.adjoint.is_carried() {
            field.parts().series(w, lambda, eta, v);
        }
        field.parts().subtract_cross(w, lambda, v, outer);
        field.problem.domain.descend(self.steps.outer.eta(t), outer, lambda);
        Ok(())
    }

    fn work(&self) -> Work {
        self.field.work()
    }
}
