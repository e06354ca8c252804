//! Hypergradients: `grad f(lambda) = grad2 E + d2Phi^T v` with `(I - d1Phi^T) v = grad1 E`, all at `w(lambda)`.
//!
//! Methods are values: settings with an `estimate`. They differ in how the two solves are made and agree on everything else,
//! above all on this: a solve that diverged, or a map that does not contract, is an error with a remedy and never a
//! number; fewer steps than a tolerance asked for is a status of a usable result.

mod aid;
mod anchor;
mod capable;
mod differentiated_iterates;
mod exact;
mod forward_mode;
mod frame;
mod method;
mod mixed;
mod multilevel;
mod neumann;
mod nystrom;
pub(crate) mod parts;
mod precise_sid;
mod precise_svrg;
mod precision;
mod replicates;
mod reverse_mode;
mod round;
mod sid;
mod spread;
mod trial;
mod variance_reduced;
mod zeroth_order;

use serde::{Deserialize, Serialize};

use crate::lower::Dims;
use crate::status::Status;
use crate::work::Work;

pub use aid::{AidConjugateGradient, AidFixedPoint, AidGmres, AidNormalEquations};
pub use capable::Capable;
pub use exact::{ExactLinear, Implicit};
pub use forward_mode::ForwardMode;
pub use method::Method;
pub use mixed::MixedFixedPoint;
pub use multilevel::UnbiasedSid;
pub use neumann::{Neumann, SeriesLength};
pub use nystrom::Nystrom;
pub use precise_sid::{PreciseSid, Stage};
pub use precise_svrg::PreciseSvrg;
pub use precision::{PreciseHypergradient, Precision, Tolerance};
pub use replicates::replicate;
pub use reverse_mode::{ReverseMode, TruncatedReverse};
pub use sid::Sid;
pub use variance_reduced::{SidSaga, SidSvrg};
pub use zeroth_order::ZerothOrder;

/// A hypergradient and how far to trust it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Hypergradient {
    /// The estimate of `grad f(lambda)`, in R^m.
    pub value: Vec<f64>,
    /// The upper objective `E(w, lambda)` at the lower variable found, on the sample `xi` that was used.
    pub objective: f64,
    /// Standard error of each component of `value`, where the method can tell. It measures the spread of the estimate
    /// and not its bias.
    pub std_error: Option<Vec<f64>>,
    /// The worse of the statuses of the two solves; always usable.
    pub status: Status,
    /// What it cost.
    pub work: Work,
}

/// Starting points of the two solves, and where they ended: the caller keeps them from one `lambda` to the next.
///
/// `v` is the adjoint of [`Hypergradient`]'s sign convention. It scales with `1/map_step`, so rescale or reset it when
/// the map changes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct WarmStart {
    /// The lower variable.
    pub w: Vec<f64>,
    /// The adjoint.
    pub v: Vec<f64>,
}

impl WarmStart {
    /// Both at zero: where a cold start begins.
    pub fn zeros(dims: Dims) -> Self {
        WarmStart { w: vec![0.0; dims.w], v: vec![0.0; dims.w] }
    }
}
