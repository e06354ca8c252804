//! What is kept of an exact look at both levels, and how it takes the noise out of samples around that point.

use super::{AdjointOperator, ControlVariate, LowerOperator, RandomOperator, Remembered, RowMemory};
use crate::lower::StochasticMap;
use crate::row_sums::RowSums;
use crate::sample::Sample;
use crate::work::Work;

/// A point `(w~, v~)` at which both levels are known exactly: the lower variable, the adjoint, and `grad1 E` at `w~`.
#[derive(Debug, Clone, Copy)]
pub struct AnchorPoint<'a> {
    /// The lower variable.
    pub w: &'a [f64],
    /// The adjoint.
    pub v: &'a [f64],
    /// `grad1 E(w~, lambda)`.
    pub grad_w: &'a [f64],
}

/// A way to use anchors, for maps of the kind `M`.
pub trait Anchoring<M: StochasticMap + ?Sized>: Sync {
    /// What is kept of an anchor.
    type Kept: Sync;

    /// Looks at all rows.
    fn look(&self, map: &M, lambda: &[f64], at: AnchorPoint<'_>) -> (Self::Kept, Work);

    /// `moving` without the noise that its samples show at the anchor.
    fn lower<'a>(
        &self,
        moving: LowerOperator<'a, M>,
        at: AnchorPoint<'a>,
        kept: &'a Self::Kept,
    ) -> Box<dyn RandomOperator + 'a>
    where
        M: 'a;

    /// The same for the linear system; the two operators may belong to different `w`.
    fn linear<'a>(
        &self,
        moving: AdjointOperator<'a, M>,
        at: AnchorPoint<'a>,
        kept: &'a Self::Kept,
    ) -> Box<dyn RandomOperator + 'a>
    where
        M: 'a;
}

/// The exact images are kept, and each sample is evaluated at the anchor again: for any map.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ByRecomputing;

/// What [`ByRecomputing`] keeps.
#[doc(hidden)]
#[derive(Debug, Clone)]
pub struct Images {
    /// `Phi(w~, lambda)`.
    pub map: Vec<f64>,
    /// `d1Phi(w~, lambda)^T v~ + grad1 E`.
    pub linear: Vec<f64>,
}

impl<M: StochasticMap + ?Sized> Anchoring<M> for ByRecomputing {
    type Kept = Images;

    fn look(&self, map: &M, lambda: &[f64], at: AnchorPoint<'_>) -> (Images, Work) {
        let mut images = Images { map: vec![0.0; at.w.len()], linear: vec![0.0; at.w.len()] };
        let mut work = LowerOperator { map, lambda }.apply(at.w, &Sample::Full, &mut images.map);
        let mut system = AdjointOperator { map, w: at.w, lambda, grad_w: at.grad_w };
        work += system.apply(at.v, &Sample::Full, &mut images.linear);
        (images, work)
    }

    fn lower<'a>(
        &self,
        moving: LowerOperator<'a, M>,
        at: AnchorPoint<'a>,
        kept: &'a Images,
    ) -> Box<dyn RandomOperator + 'a>
    where
        M: 'a,
    {
        let anchored = LowerOperator { map: moving.map, lambda: moving.lambda };
        Box::new(ControlVariate { moving, anchored, anchor: at.w, mean: &kept.map })
    }

    fn linear<'a>(
        &self,
        moving: AdjointOperator<'a, M>,
        at: AnchorPoint<'a>,
        kept: &'a Images,
    ) -> Box<dyn RandomOperator + 'a>
    where
        M: 'a,
    {
        let anchored = AdjointOperator { map: moving.map, w: at.w, lambda: moving.lambda, grad_w: at.grad_w };
        Box::new(ControlVariate { moving, anchored, anchor: at.v, mean: &kept.linear })
    }
}

/// The few numbers by which each row enters are kept: one visit of all rows for both levels, and samples that cost as much as
/// without an anchor.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ByRemembering;

/// What [`ByRemembering`] keeps.
#[doc(hidden)]
#[derive(Debug, Clone)]
pub struct RowMemories {
    /// Of the map at `w~`.
    pub lower: RowMemory,
    /// Of `d1Phi(w~)^T v~`.
    pub linear: RowMemory,
}

impl<M: RowSums + ?Sized> Anchoring<M> for ByRemembering {
    type Kept = RowMemories;

    fn look(&self, map: &M, lambda: &[f64], at: AnchorPoint<'_>) -> (RowMemories, Work) {
        let rows = map.size(&Sample::Full);
        let empty = || RowMemory::zeros(rows, map.width(), at.w.len());
        let (mut lower, mut linear) = (empty(), empty());
        map.changes(
            at.w,
            lambda,
            &Sample::Full,
            at.v,
            [&[], &[]],
            [&mut lower.numbers, &mut linear.numbers],
            [&mut lower.mean, &mut linear.mean],
        );
        let rows = rows as u64;
        let work = Work { rows, gradients: rows, hessian_products: rows, ..Work::default() };
        (RowMemories { lower, linear }, work)
    }

    fn lower<'a>(
        &self,
        moving: LowerOperator<'a, M>,
        _at: AnchorPoint<'a>,
        kept: &'a RowMemories,
    ) -> Box<dyn RandomOperator + 'a>
    where
        M: 'a,
    {
        Box::new(Remembered::new(moving, &kept.lower))
    }

    fn linear<'a>(
        &self,
        moving: AdjointOperator<'a, M>,
        _at: AnchorPoint<'a>,
        kept: &'a RowMemories,
    ) -> Box<dyn RandomOperator + 'a>
    where
        M: 'a,
    {
        Box::new(Remembered::new(moving, &kept.linear))
    }
}
