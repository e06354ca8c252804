//! Where `v ~ (hess_w g)^{-1} grad_w E` comes from.

use serde::{Deserialize, Serialize};

use super::recipe::{Count, at_least_one};
use crate::error::Result;

/// How an algorithm comes by `v`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Adjoint {
    /// `v` is carried along and moves by so many steps along `D_v` in each iteration.
    Steps(Count),
    /// Afresh in each iteration: `v = a sum_{q=0}^{Q} prod_{i<=q} (I - a H_i) grad_w E` with the linear step `a` and a new sample for
    /// each `H_i` (Ji, Yang, Liang, ICML 2021, equation 6).
    Neumann {
        /// Products `Q`.
        terms: usize,
    },
    /// Afresh: one term of that series, drawn at random, `v = Q a prod_{i<=q} (I - a H_i) grad_w E` with `q` uniform in
    /// `0..Q` (Ghadimi, Wang, 2018, equation 3.10).
    RandomNeumann {
        /// Terms `Q` of the series; that of the drawn one costs `q` products.
        terms: usize,
    },
}

impl Adjoint {
    pub(super) fn validate(self) -> Result<()> {
        match self {
            Adjoint::Steps(count) => count.validate("adjoint steps"),
            // Without products the series is its first term.
            Adjoint::Neumann { terms: _ } => Ok(()),
            Adjoint::RandomNeumann { terms } => at_least_one("terms", terms),
        }
    }

    /// True where `v` is carried from one iteration to the next.
    pub(super) fn is_carried(self) -> bool {
        matches!(self, Adjoint::Steps(_))
    }

    /// Samples of the Hessian that one evaluation needs beside the one of the lower level.
    pub(super) fn products(self) -> usize {
        match self {
            Adjoint::Steps(_) => 0,
            Adjoint::Neumann { terms } | Adjoint::RandomNeumann { terms } => terms,
        }
    }
}
