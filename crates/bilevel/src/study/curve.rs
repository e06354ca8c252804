//! What is compared: a method with its step sizes.

use serde::{Deserialize, Serialize};

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
}

impl CurveKind {
    /// All of them.
    pub const ALL: [CurveKind; 6] = [
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
        }
    }

    /// True for the methods that draw samples; the others give the same at every replicate.
    pub fn is_sampled(self) -> bool {
        !matches!(self, CurveKind::AidFp | CurveKind::AidCg)
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
        }
    }

    /// The constant step, where there is one.
    pub fn eta(&self) -> Option<f64> {
        match self {
            Curve::SidConstant { eta } | Curve::SidSvrg { eta, .. } | Curve::SidSaga { eta } => Some(*eta),
            Curve::SidDecreasing { .. } | Curve::AidFp | Curve::AidCg => None,
        }
    }

    /// The steps of a sampled method.
    pub fn step(&self) -> Option<StepSize> {
        match *self {
            Curve::SidConstant { eta } | Curve::SidSvrg { eta, .. } | Curve::SidSaga { eta } => {
                Some(StepSize::Constant { eta })
            }
            Curve::SidDecreasing { beta, gamma } => Some(StepSize::Decreasing { beta, gamma }),
            Curve::AidFp | Curve::AidCg => None,
        }
    }
}
