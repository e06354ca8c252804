//! The methods by name: one value that a command line, a configuration file or a comparison can hold.

use serde::{Deserialize, Serialize};

use super::{AidConjugateGradient, AidFixedPoint, Hypergradient, Sid, SidSaga, SidSvrg, WarmStart};
use crate::error::Result;
use crate::lower::Symmetric;
use crate::row_sums::RowSums;
use crate::upper::UpperObjective;

/// A method and its settings, for gradient steps on a mean over rows, to which all apply: symmetric `d1Phi`, sums of rows.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Method {
    /// Stochastic implicit differentiation.
    Sid(Sid),
    /// The same with variance reduction by anchors.
    SidSvrg(SidSvrg),
    /// The same with variance reduction by memory.
    SidSaga(SidSaga),
    /// Batch implicit differentiation by fixed-point iteration.
    AidFixedPoint(AidFixedPoint),
    /// Batch implicit differentiation by conjugate gradients.
    AidConjugateGradient(AidConjugateGradient),
}

impl Method {
    /// The name of the method in tables and plots.
    pub fn name(&self) -> &'static str {
        match self {
            Method::Sid(_) => "SID",
            Method::SidSvrg(_) => "SID-SVRG",
            Method::SidSaga(_) => "SID-SAGA",
            Method::AidFixedPoint(_) => "AID-FP",
            Method::AidConjugateGradient(_) => "AID-CG",
        }
    }

    /// Estimates `grad f(lambda)`; arguments and errors as in [`Sid::estimate`], of which batch methods ignore the last two.
    ///
    /// # Errors
    /// Those of the method.
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
        M: Symmetric + RowSums + ?Sized,
        U: UpperObjective + ?Sized,
    {
        match self {
            Method::Sid(sid) => sid.estimate(map, upper, lambda, start, seed, index),
            Method::SidSvrg(sid) => sid.estimate(map, upper, lambda, start, seed, index),
            Method::SidSaga(sid) => sid.estimate(map, upper, lambda, start, seed, index),
            Method::AidFixedPoint(aid) => aid.estimate(map, upper, lambda, start),
            Method::AidConjugateGradient(aid) => aid.estimate(map, upper, lambda, start),
        }
    }
}
