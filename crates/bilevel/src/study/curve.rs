//! What is compared: a method with its step sizes.

use serde::{Deserialize, Serialize};

use crate::error::Result;
use crate::hypergradient::Capable;
use crate::step_size::StepSize;

/// The methods of a study by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CurveKind {
    /// SID with constant steps.
    SidConstant,
    /// SID with decreasing steps.
    SidDecreasing,
    /// SID with constant steps and variance reduction by anchors.
    SidSvrg,
    /// SID with constant steps and variance reduction by memory.
    SidSaga,
    /// Both solves by the fixed-point iteration on the exact mean.
    AidFp,
    /// The lower solve as AID-FP, the linear system by conjugate gradients.
    AidCg,
    /// The same by conjugate gradients on the normal equations.
    AidNormal,
    /// The same by GMRES.
    AidGmres,
    /// The lower solve as AID-FP, the linear system by a low-rank inverse from random columns.
    Nystrom,
    /// The iterates of AID-FP, differentiated backwards.
    Itd,
    /// The same through the later half of them.
    ItdTruncated,
    /// The same forwards through all of them.
    ItdForward,
    /// A sampled lower solve and a Neumann series on samples.
    Neumann,
    /// The same with one random term of the series.
    NeumannRandom,
    /// The same with a mixture of the Neumann iteration and the unrolled sum (Mixed FP-KM).
    MixedFp,
    /// SID with constant steps, whose solves return the mean of the later half of their iterates.
    SidAveraged,
    /// SID without bias, by a random number of levels.
    SidMultilevel,
    /// Differences of sampled lower solves along random directions.
    Pzobo,
}

impl CurveKind {
    /// All of them.
    pub const ALL: [CurveKind; 18] = [
        CurveKind::SidConstant,
        CurveKind::SidDecreasing,
        CurveKind::SidSvrg,
        CurveKind::SidSaga,
        CurveKind::AidFp,
        CurveKind::AidCg,
        CurveKind::AidNormal,
        CurveKind::AidGmres,
        CurveKind::Nystrom,
        CurveKind::Itd,
        CurveKind::ItdTruncated,
        CurveKind::ItdForward,
        CurveKind::Neumann,
        CurveKind::NeumannRandom,
        CurveKind::MixedFp,
        CurveKind::SidAveraged,
        CurveKind::SidMultilevel,
        CurveKind::Pzobo,
    ];

    /// Those of a study that does not say which.
    pub const DEFAULT: [CurveKind; 6] = [
        CurveKind::SidConstant,
        CurveKind::SidDecreasing,
        CurveKind::SidSvrg,
        CurveKind::SidSaga,
        CurveKind::AidFp,
        CurveKind::AidCg,
    ];

    /// The name in tables, files and on the command line.
    pub fn name(self) -> &'static str {
        match self {
            CurveKind::SidConstant => "sid-constant",
            CurveKind::SidDecreasing => "sid-decreasing",
            CurveKind::SidSvrg => "sid-svrg",
            CurveKind::SidSaga => "sid-saga",
            CurveKind::AidFp => "aid-fp",
            CurveKind::AidCg => "aid-cg",
            CurveKind::AidNormal => "aid-normal",
            CurveKind::AidGmres => "aid-gmres",
            CurveKind::Nystrom => "nystrom",
            CurveKind::Itd => "itd",
            CurveKind::ItdTruncated => "itd-truncated",
            CurveKind::ItdForward => "itd-forward",
            CurveKind::Neumann => "neumann",
            CurveKind::NeumannRandom => "neumann-random",
            CurveKind::MixedFp => "mixed-fp",
            CurveKind::SidAveraged => "sid-averaged",
            CurveKind::SidMultilevel => "sid-multilevel",
            CurveKind::Pzobo => "pzobo",
        }
    }

    /// Whether `map` can do what the method asks of it.
    ///
    /// # Errors
    /// Input, naming what is missing.
    pub(super) fn check_map(self, map: &Capable<'_>) -> Result<()> {
        let name = self.name();
        match self {
            CurveKind::AidCg | CurveKind::Nystrom => map.as_symmetric(name).map(|_| ()),
            CurveKind::SidSaga => map.as_row_sums(name).map(|_| ()),
            CurveKind::AidNormal => map.as_jvp(name).map(|_| ()),
            CurveKind::ItdForward => map.as_jvp_lambda(name).map(|_| ()),
            _ => Ok(()),
        }
    }

    /// True for the methods that draw something at random; the others give the same at every replicate.
    pub fn is_sampled(self) -> bool {
        use CurveKind::*;
        !matches!(self, AidFp | AidCg | AidNormal | AidGmres | Itd | ItdTruncated | ItdForward)
    }
}

/// A method and its step sizes, the same in both solves.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Curve {
    /// SID with steps `eta_s = eta`.
    SidConstant {
        /// The step.
        eta: f64,
    },
    /// SID with steps `eta_s = beta / (gamma + s)`.
    SidDecreasing {
        /// Numerator.
        beta: f64,
        /// Offset.
        gamma: f64,
    },
    /// SID-SVRG with steps `eta_s = eta`.
    SidSvrg {
        /// The step.
        eta: f64,
        /// Steps between two passes.
        period: usize,
    },
    /// SID-SAGA with steps `eta_s = eta`.
    SidSaga {
        /// The step.
        eta: f64,
    },
    /// AID-FP.
    AidFp,
    /// AID-CG.
    AidCg,
    /// AID by conjugate gradients on the normal equations.
    AidNormal,
    /// AID by GMRES.
    AidGmres,
    /// A low-rank inverse from as many columns as steps.
    Nystrom,
    /// Iterative differentiation backwards.
    Itd,
    /// The same through the later half of the steps.
    ItdTruncated,
    /// The same forwards.
    ItdForward {
        /// Hyperparameters, each of which costs a product a step.
        hyperparameters: usize,
    },
    /// Neumann series of as many terms as steps, each factor relaxed by `eta`.
    Neumann {
        /// The step.
        eta: f64,
    },
    /// One random term of that series.
    NeumannRandom {
        /// The step.
        eta: f64,
    },
    /// Mixed FP-KM.
    MixedFp {
        /// The step.
        eta: f64,
    },
    /// SID with steps `eta_s = eta` and averaged iterates (Polyak, Juditsky 1992).
    SidAveraged {
        /// The step.
        eta: f64,
    },
    /// Unbiased SID whose level 0 makes as many steps.
    SidMultilevel {
        /// The step.
        eta: f64,
    },
    /// Differences along random directions.
    Pzobo {
        /// The step.
        eta: f64,
    },
}

impl Curve {
    /// The method.
    pub fn kind(&self) -> CurveKind {
        match self {
            Curve::SidConstant { .. } => CurveKind::SidConstant,
            Curve::SidDecreasing { .. } => CurveKind::SidDecreasing,
            Curve::SidSvrg { .. } => CurveKind::SidSvrg,
            Curve::SidSaga { .. } => CurveKind::SidSaga,
            Curve::AidFp => CurveKind::AidFp,
            Curve::AidCg => CurveKind::AidCg,
            Curve::AidNormal => CurveKind::AidNormal,
            Curve::AidGmres => CurveKind::AidGmres,
            Curve::Nystrom => CurveKind::Nystrom,
            Curve::Itd => CurveKind::Itd,
            Curve::ItdTruncated => CurveKind::ItdTruncated,
            Curve::ItdForward { .. } => CurveKind::ItdForward,
            Curve::Neumann { .. } => CurveKind::Neumann,
            Curve::NeumannRandom { .. } => CurveKind::NeumannRandom,
            Curve::MixedFp { .. } => CurveKind::MixedFp,
            Curve::SidAveraged { .. } => CurveKind::SidAveraged,
            Curve::SidMultilevel { .. } => CurveKind::SidMultilevel,
            Curve::Pzobo { .. } => CurveKind::Pzobo,
        }
    }

    /// The constant step, where there is one.
    pub fn eta(&self) -> Option<f64> {
        match *self {
            Curve::SidConstant { eta }
            | Curve::SidSvrg { eta, .. }
            | Curve::SidSaga { eta }
            | Curve::Neumann { eta }
            | Curve::NeumannRandom { eta }
            | Curve::MixedFp { eta }
            | Curve::SidAveraged { eta }
            | Curve::SidMultilevel { eta }
            | Curve::Pzobo { eta } => Some(eta),
            _ => None,
        }
    }

    /// The steps of a method that samples its lower solve.
    pub fn step(&self) -> Option<StepSize> {
        match *self {
            Curve::SidDecreasing { beta, gamma } => Some(StepSize::Decreasing { beta, gamma }),
            _ => self.eta().map(|eta| StepSize::Constant { eta }),
        }
    }
}
