//! The frame of implicit methods: solve the lower level, pose the linear system there, put the parts together.

use super::parts::{Sampled, check_problem, differentiate};
use super::{Hypergradient, WarmStart};
use crate::error::Result;
use crate::fixed_point::{FixedPoint, Workspace};
use crate::lower::StochasticMap;
use crate::operator::{AdjointOperator, LowerOperator};
use crate::sample::{Batch, Purpose, Rng, Sample};
use crate::status::{Info, Status};
use crate::upper::UpperObjective;
use crate::vector;
use crate::work::Work;

/// Everything but the linear solve.
pub(super) struct Frame<'s> {
    pub lower: &'s FixedPoint,
    pub cross_batch: Batch,
    pub upper_batch: Batch,
}

impl<'s> Frame<'s> {
    /// All parts but the lower solve on everything.
    pub fn exact(lower: &'s FixedPoint) -> Self {
        Frame { lower, cross_batch: Batch::All, upper_batch: Batch::All }
    }

    /// The estimate; `linear` solves the adjoint system from `v` on samples from the stream it is given, and leaves the
    /// solution there.
    pub fn estimate<M, U>(
        &self,
        map: &M,
        upper: &U,
        lambda: &[f64],
        start: Option<&mut WarmStart>,
        (seed, index): (u64, u64),
        linear: impl FnOnce(AdjointOperator<'_, M>, &mut [f64], &mut Rng) -> Info,
    ) -> Result<Hypergradient>
    where
        M: StochasticMap + ?Sized,
        U: UpperObjective + ?Sized,
    {
        self.lower.validate()?;
        self.cross_batch.validate("cross_batch")?;
        self.upper_batch.validate("upper_batch")?;
        check_problem(map, upper, lambda, start.as_deref())?;
        let mut point = start.as_deref().cloned().unwrap_or_else(|| WarmStart::zeros(map.dims()));
        let stream = |purpose| Rng::stream(seed, purpose, index);

        let mut workspace = Workspace::new(point.w.len());
        let mut operator = LowerOperator { map, lambda };
        let lower = self.lower.solve(&mut operator, &mut point.w, &mut stream(Purpose::Lower), &mut workspace);
        let lower = lower.usable("lower level")?;

        let (mut upper_rng, mut cross_rng) = ([stream(Purpose::Upper)], [stream(Purpose::Cross)]);
        let samples = (
            Sampled { batch: self.upper_batch, rngs: &mut upper_rng },
            Sampled { batch: self.cross_batch, rngs: &mut cross_rng },
        );
        let mut rng = stream(Purpose::Linear);
        let estimate =
            differentiate(map, upper, &mut point, lambda, samples, |operator, v| linear(operator, v, &mut rng))?
                .after(&lower);
        if let Some(start) = start {
            *start = point;
        }
        Ok(estimate)
    }
}

/// Products with `Y_hat = d1Phi_hat^T` on a new sample each, for solves that are no fixed-point iteration, and a watch on
/// their growth.
pub(super) struct Products<'a, M: ?Sized> {
    map: &'a M,
    w: &'a [f64],
    lambda: &'a [f64],
    batch: Batch,
    sample: Sample,
    pub work: Work,
}

/// Growth of a product of exact Jacobians that proves there is no contraction: of many factors, and in the end. On the way a map
/// that contracts in another norm may grow as well.
const EXACT_GROWTH: f64 = 1e6;
const FINAL_GROWTH: f64 = 10.0;
/// Growth of a product of sampled ones that no noise explains.
const SAMPLED_GROWTH: f64 = 1e6;

impl<'a, M: StochasticMap + ?Sized> Products<'a, M> {
    pub fn new(operator: &AdjointOperator<'a, M>, batch: Batch) -> Self {
        let AdjointOperator { map, w, lambda, .. } = *operator;
        Products { map, w, lambda, batch, sample: Sample::Full, work: Work::default() }
    }

    /// Draws the next sample.
    pub fn draw(&mut self, rng: &mut Rng) {
        if let Batch::Rows(rows) = self.batch {
            self.map.draw(rows, rng, &mut self.sample);
        }
    }

    /// `out = Y_hat v` on the sample drawn last.
    pub fn apply(&mut self, v: &[f64], out: &mut [f64]) {
        self.map.vjp_w(self.w, self.lambda, &self.sample, v, out);
        self.work += Work::hessian_product(self.map.size(&self.sample));
    }

    /// What is wrong where a vector of norm `first` has become one of norm `now`.
    pub fn failure(&self, first: f64, now: f64) -> Option<Status> {
        match self.batch {
            _ if !now.is_finite() => Some(Status::Diverged),
            Batch::All if now > EXACT_GROWTH * first => Some(Status::NotContraction),
            Batch::Rows(_) if now > SAMPLED_GROWTH * first => Some(Status::Diverged),
            _ => None,
        }
    }

    /// How a series ends whose last product has the norm `now`, and whose sum is `sum`.
    pub fn end(&self, first: f64, now: f64, sum: &[f64]) -> Status {
        match self.batch {
            _ if !vector::all_finite(sum) => Status::Diverged,
            Batch::All if now > FINAL_GROWTH * first => Status::NotContraction,
            _ => Status::StepLimit,
        }
    }
}
