//! The methods by name: one value that a command line, a configuration file or a comparison can hold.

use serde::{Deserialize, Serialize};

use super::{AidConjugateGradient, AidFixedPoint, Hypergradient, Sid, WarmStart};
use crate::error::Result;
use crate::lower::Symmetric;
use crate::upper::UpperObjective;

/// A method and its settings, for maps with symmetric `d1Phi` (gradient steps on a loss), to which all apply.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Method {
    /// Stochastic implicit differentiation.
    Sid(Sid),
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
        M: Symmetric + ?Sized,
        U: UpperObjective + ?Sized,
    {
        match self {
            Method::Sid(sid) => sid.estimate(map, upper, lambda, start, seed, index),
            Method::AidFixedPoint(aid) => aid.estimate(map, upper, lambda, start),
            Method::AidConjugateGradient(aid) => aid.estimate(map, upper, lambda, start),
        }
    }
}
