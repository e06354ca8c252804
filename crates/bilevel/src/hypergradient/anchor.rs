//! An exact look at both levels, shared by many short runs whose noise it takes out.
//!
//! Everything a hypergradient is made of is evaluated on all rows once, at the anchor: `Phi(w~)`, `d1Phi(w~)^T v~`, the
//! upper gradients, `d2Phi(w~)^T v~`. A *chain* then solves both levels anew by a few sampled steps from there, and each
//! of its sampled parts is the difference to the same part at the anchor, on the same sample, plus the exact one:
//!
//! ```text
//! w <- w + eta (Phi_hat(w) - Phi_hat(w~) + Phi(w~) - w)
//! v <- v + eta (d1Phi_hat(w_c)^T v - d1Phi_hat(w~)^T v~ + d1Phi(w~)^T v~ + grad1 E(w_c) - v)
//! ```
//!
//! This is SVRG (Johnson, Zhang, NeurIPS 2013) on the pair `(w, v)`, so that one anchor serves chains with different `w`.
//! Where rows enter by a few numbers each, these are remembered and need not be computed again ([`Anchoring`]).

use super::parts::{Sampled, Upper, check_finite, cross_term};
use super::{Hypergradient, WarmStart};
use crate::error::Result;
use crate::fixed_point::{FixedPoint, Workspace};
use crate::lower::StochasticMap;
use crate::operator::{AdjointOperator, AnchorPoint, Anchoring, LowerOperator};
use crate::sample::{Batch, Purpose, Rng};
use crate::upper::UpperObjective;
use crate::vector;
use crate::work::Work;

/// Both levels at one `lambda`.
pub(super) struct Levels<'a, A, M: ?Sized, U: ?Sized> {
    pub anchoring: &'a A,
    pub map: &'a M,
    pub upper: &'a U,
    pub lambda: &'a [f64],
}

/// What is known exactly at the anchor.
pub(super) struct Anchor<K> {
    pub point: WarmStart,
    kept: K,
    upper: Upper,
    cross: Vec<f64>,
    /// `grad2 E + d2Phi^T v~`.
    pub hypergradient: Vec<f64>,
    pub work: Work,
}

impl<K> Anchor<K> {
    fn at(&self) -> AnchorPoint<'_> {
        AnchorPoint { w: &self.point.w, v: &self.point.v, grad_w: &self.upper.grad_w }
    }
}

/// Where a chain ended.
pub(super) struct Chain {
    pub point: WarmStart,
    pub estimate: Hypergradient,
}

/// How a chain is run: the solver of both levels, and the rows of its upper sample.
#[derive(Debug, Clone, Copy)]
pub(super) struct ChainSettings {
    pub solver: FixedPoint,
    pub upper_batch: Batch,
    pub cross_batch: Batch,
}

impl<A, M, U> Levels<'_, A, M, U>
where
    A: Anchoring<M>,
    M: StochasticMap + ?Sized,
    U: UpperObjective + ?Sized,
{
    /// The exact look at `point`.
    pub fn anchor(&self, point: WarmStart) -> Result<Anchor<A::Kept>> {
        let Levels { anchoring, map, upper, lambda } = *self;
        let upper = Upper::at(upper, &point.w, lambda, Sampled::all())?;
        let at = AnchorPoint { w: &point.w, v: &point.v, grad_w: &upper.grad_w };
        let (kept, mut work) = anchoring.look(map, lambda, at);
        let mut cross = vec![0.0; lambda.len()];
        work += cross_term(map, &point, lambda, Sampled::all(), &mut cross);
        let mut hypergradient = upper.grad_lambda.clone();
        vector::axpy(1.0, &cross, &mut hypergradient);
        check_finite(&hypergradient)?;
        work += upper.work;
        Ok(Anchor { point, kept, upper, cross, hypergradient, work })
    }

    /// A chain from the anchor on the samples number `index` under `seed`.
    pub fn chain(&self, anchor: &Anchor<A::Kept>, settings: &ChainSettings, seed: u64, index: u64) -> Result<Chain> {
        let Levels { anchoring, map, upper, lambda } = *self;
        let stream = |purpose| Rng::stream(seed, purpose, index);
        let mut point = anchor.point.clone();
        let mut workspace = Workspace::new(point.w.len());

        let mut operator = anchoring.lower(LowerOperator { map, lambda }, anchor.at(), &anchor.kept);
        let lower = settings.solver.solve(&mut operator, &mut point.w, &mut stream(Purpose::Lower), &mut workspace);
        let lower = lower.usable("lower level")?;

        let upper_at = |w: &[f64]| {
            let rngs = &mut [stream(Purpose::Upper)];
            Upper::at(upper, w, lambda, Sampled { batch: settings.upper_batch, rngs })
        };
        let mut at = upper_at(&point.w)?;
        if settings.upper_batch != Batch::All {
            at.correct(&upper_at(&anchor.point.w)?, &anchor.upper);
        }

        let system = AdjointOperator { map, w: &point.w, lambda, grad_w: &at.grad_w };
        let mut operator = anchoring.linear(system, anchor.at(), &anchor.kept);
        let linear = settings.solver.solve(&mut operator, &mut point.v, &mut stream(Purpose::Linear), &mut workspace);
        drop(operator);
        let linear = linear.usable("linear system")?;

        let cross_at = |point: &WarmStart, out: &mut [f64]| {
            let rngs = &mut [stream(Purpose::Cross)];
            cross_term(map, point, lambda, Sampled { batch: settings.cross_batch, rngs }, out)
        };
        let (mut cross, mut there) = (vec![0.0; lambda.len()], vec![0.0; lambda.len()]);
        let cross_work = cross_at(&point, &mut cross) + cross_at(&anchor.point, &mut there);
        vector::axpy(-1.0, &there, &mut cross);
        vector::axpy(1.0, &anchor.cross, &mut cross);
        let work = lower.work + linear.work + cross_work;
        let estimate = at.assemble(1.0, &cross, lower.status.worst(linear.status), work)?;
        Ok(Chain { point, estimate })
    }
}
