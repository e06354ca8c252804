//! The methods by name: one value that a command line, a configuration file or a comparison can hold.

use serde::{Deserialize, Serialize};

use super::{
    AidConjugateGradient, AidFixedPoint, AidGmres, AidNormalEquations, Capable, ForwardMode, Hypergradient,
    MixedFixedPoint, Neumann, Nystrom, ReverseMode, SeriesLength, Sid, SidSaga, SidSvrg, TruncatedReverse, UnbiasedSid,
    WarmStart, ZerothOrder,
};
use crate::error::Result;
use crate::lower::Symmetric;
use crate::row_sums::RowSums;
use crate::step_size::StepSize;
use crate::upper::UpperObjective;

/// A method and its settings.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Method {
    /// Stochastic implicit differentiation; with minibatches in every part the estimator of BSGM ([`Sid::bsgm`]).
    Sid(Sid),
    /// The same with variance reduction by anchors.
    SidSvrg(SidSvrg),
    /// The same with variance reduction by memory; needs a mean over rows.
    SidSaga(SidSaga),
    /// The same without bias, by a random number of levels.
    UnbiasedSid(UnbiasedSid),
    /// Batch implicit differentiation by fixed-point iteration.
    AidFixedPoint(AidFixedPoint),
    /// Batch implicit differentiation by conjugate gradients; needs symmetry.
    AidConjugateGradient(AidConjugateGradient),
    /// Batch implicit differentiation by conjugate gradients on the normal equations; needs products with `d1Phi`.
    AidNormalEquations(AidNormalEquations),
    /// Batch implicit differentiation by GMRES.
    AidGmres(AidGmres),
    /// Implicit differentiation by a Neumann series of fixed or random length.
    Neumann(Neumann),
    /// Implicit differentiation by a mixture of the Neumann iteration and the unrolled sum.
    MixedFixedPoint(MixedFixedPoint),
    /// Implicit differentiation by a low-rank inverse; needs symmetry.
    Nystrom(Nystrom),
    /// Iterative differentiation backwards.
    ReverseMode(ReverseMode),
    /// Iterative differentiation backwards through the last steps alone.
    TruncatedReverse(TruncatedReverse),
    /// Iterative differentiation forwards; needs products with `d1Phi` and `d2Phi`.
    ForwardMode(ForwardMode),
    /// Differences of runs on the same samples.
    ZerothOrder(ZerothOrder),
}

impl Method {
    /// The name of the method in tables and plots.
    pub fn name(&self) -> &'static str {
        match self {
            Method::Sid(_) => "SID",
            Method::SidSvrg(_) => "SID-SVRG",
            Method::SidSaga(_) => "SID-SAGA",
            Method::UnbiasedSid(_) => "SID-multilevel",
            Method::AidFixedPoint(_) => "AID-FP",
            Method::AidConjugateGradient(_) => "AID-CG",
            Method::AidNormalEquations(_) => "AID-CG-normal",
            Method::AidGmres(_) => "AID-GMRES",
            Method::Neumann(Neumann { length: SeriesLength::Fixed { .. }, .. }) => "Neumann",
            Method::Neumann(_) => "Neumann-random",
            Method::MixedFixedPoint(MixedFixedPoint { step: StepSize::Constant { eta: 1.0 }, .. }) => "Mixed FP",
            Method::MixedFixedPoint(_) => "Mixed FP-KM",
            Method::Nystrom(_) => "Nystrom",
            Method::ReverseMode(_) => "ITD",
            Method::TruncatedReverse(_) => "ITD-truncated",
            Method::ForwardMode(_) => "ITD-forward",
            Method::ZerothOrder(_) => "PZOBO",
        }
    }

    /// Estimates `grad f(lambda)` for gradient steps on a mean over rows, to which all methods apply but
    /// [`Method::ForwardMode`], which asks for more; arguments and errors as in [`Sid::estimate`], of which batch methods
    /// ignore the last two.
    ///
    /// # Errors
    /// Those of the method; input, for forward mode.
    pub fn estimate<M, U>(
        &self,
        map: &M,
        upper: &U,
        lambda: &[f64],
        start: Option<&mut WarmStart>,
        seed: u64,
        index: u64,
    ) -> Result<Hypergradient>
    where
        M: Symmetric + RowSums,
        U: UpperObjective + ?Sized,
    {
        self.estimate_on(Capable::gradient_step(map), upper, lambda, start, seed, index)
    }

    /// Estimates `grad f(lambda)` for a map that can do what it says; otherwise as [`Method::estimate`].
    ///
    /// # Errors
    /// Those of the method; input, where it needs more than the map offers.
    pub fn estimate_on<U>(
        &self,
        map: Capable<'_>,
        upper: &U,
        lambda: &[f64],
        start: Option<&mut WarmStart>,
        seed: u64,
        index: u64,
    ) -> Result<Hypergradient>
    where
        U: UpperObjective + ?Sized,
    {
        let name = self.name();
        let any = map.map();
        match self {
            Method::Sid(sid) => sid.estimate(any, upper, lambda, start, seed, index),
            Method::SidSvrg(sid) => sid.estimate(any, upper, lambda, start, seed, index),
            Method::SidSaga(sid) => sid.estimate(map.as_row_sums(name)?, upper, lambda, start, seed, index),
            Method::UnbiasedSid(sid) => sid.estimate(any, upper, lambda, start, seed, index),
            Method::AidFixedPoint(aid) => aid.estimate(any, upper, lambda, start),
            Method::AidConjugateGradient(aid) => aid.estimate(map.as_symmetric(name)?, upper, lambda, start),
            Method::AidNormalEquations(aid) => aid.estimate(map.as_jvp(name)?, upper, lambda, start),
            Method::AidGmres(aid) => aid.estimate(any, upper, lambda, start),
            Method::Neumann(neumann) => neumann.estimate(any, upper, lambda, start, seed, index),
            Method::MixedFixedPoint(mixed) => mixed.estimate(any, upper, lambda, start, seed, index),
            Method::Nystrom(nystrom) => nystrom.estimate(map.as_symmetric(name)?, upper, lambda, start, seed, index),
            Method::ReverseMode(reverse) => reverse.estimate(any, upper, lambda, start, seed, index),
            Method::TruncatedReverse(reverse) => reverse.estimate(any, upper, lambda, start, seed, index),
            Method::ForwardMode(forward) => {
                forward.estimate(map.as_jvp_lambda(name)?, upper, lambda, start, seed, index)
            }
            Method::ZerothOrder(zeroth) => zeroth.estimate(any, upper, lambda, start, seed, index),
        }
    }
}
