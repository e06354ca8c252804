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
    /// Both solves by the fixed-point iteration on the exact mean.
    AidFp,
    /// The lower solve as AID-FP, the linear system by conjugate gradients.
    AidCg,
}

impl CurveKind {
    /// All of them.
    pub const ALL: [CurveKind; 4] =
        [CurveKind::SidConstant, CurveKind::SidDecreasing, CurveKind::AidFp, CurveKind::AidCg];

    /// The name in tables, files and on the command line.
    pub fn name(self) -> &'static str {
        match self {
            CurveKind::SidConstant => "sid-constant",
            CurveKind::SidDecreasing => "sid-decreasing",
            CurveKind::AidFp => "aid-fp",
            CurveKind::AidCg => "aid-cg",
        }
    }

    /// True for the methods that draw samples; the others give the same at every replicate.
    pub fn is_sampled(self) -> bool {
        matches!(self, CurveKind::SidConstant | CurveKind::SidDecreasing)
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
            Curve::AidFp => CurveKind::AidFp,
            Curve::AidCg => CurveKind::AidCg,
        }
    }

    /// The constant step, where there is one.
    pub fn eta(&self) -> Option<f64> {
        if let Curve::SidConstant { eta } = self { Some(*eta) } else { None }
    }

    /// The steps of a sampled method.
    pub fn step(&self) -> Option<StepSize> {
        match *self {
            Curve::SidConstant { eta } => Some(StepSize::Constant { eta }),
            Curve::SidDecreasing { beta, gamma } => Some(StepSize::Decreasing { beta, gamma }),
            Curve::AidFp | Curve::AidCg => None,
        }
    }
}
