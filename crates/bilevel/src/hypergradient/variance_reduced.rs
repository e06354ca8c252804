//! SID with directions whose noise vanishes as the solves settle: an error that falls linearly with constant steps.

use serde::{Deserialize, Serialize};

use super::{Hypergradient, Sid, WarmStart};
use crate::error::{Error, Result};
use crate::lower::StochasticMap;
use crate::operator::{SagaDirection, SvrgDirection};
use crate::row_sums::RowSums;
use crate::upper::UpperObjective;

/// SID with [`Svrg`](crate::operator::Svrg) in both solves. A step visits two batches in the lower level and one in the
/// linear system; each period begins with a pass.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct SidSvrg {
    /// Everything else.
    pub sid: Sid,
    /// Steps between two passes.
    pub period: usize,
}

impl SidSvrg {
    /// As [`Sid::estimate`].
    ///
    /// # Errors
    /// Those of [`Sid::estimate`]; input, for a period of zero.
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
        M: StochasticMap + ?Sized,
        U: UpperObjective + ?Sized,
    {
        if self.period == 0 {
            return Err(Error::input("period = 0 steps between two passes must be positive"));
        }
        self.sid.estimate_by(&SvrgDirection { period: self.period }, map, upper, lambda, start, (seed, index))
    }
}

/// SID with [`Saga`](crate::operator::Saga) in both solves. A step visits one batch; either solve begins with a pass.
///
/// What is remembered is old, so steps are safe up to about half of the longest that no sample expands, for gradient steps
/// `1/(2 L)` (Defazio, Bach, Lacoste-Julien 2014), even where there is no noise at all.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct SidSaga {
    /// Everything else.
    pub sid: Sid,
}

impl SidSaga {
    /// As [`Sid::estimate`].
    ///
    /// # Errors
    /// Those of [`Sid::estimate`].
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
        M: RowSums + ?Sized,
        U: UpperObjective + ?Sized,
    {
        self.sid.estimate_by(&SagaDirection, map, upper, lambda, start, (seed, index))
    }
}
