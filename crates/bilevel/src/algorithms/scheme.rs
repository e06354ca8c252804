//! What the families of algorithms have in common: one iteration, and how far it goes.

use serde::{Deserialize, Serialize};

use super::point::Point;
use crate::error::Result;
use crate::step_size::StepSize;
use crate::work::Work;

/// One iteration of a family of algorithms.
pub(super) trait Scheme: Send {
    /// Moves `point`; `t` counts from 0.
    fn iterate(&mut self, t: usize, point: &mut Point) -> Result<()>;

    /// Work so far.
    fn work(&self) -> Work;
}

/// Steps of the three blocks.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Steps {
    /// Of `w`.
    pub lower: StepSize,
    /// Of `v`, and of Neumann series.
    pub linear: StepSize,
    /// Of `lambda`.
    pub outer: StepSize,
}

impl Steps {
    /// Constant steps.
    pub fn constant(lower: f64, linear: f64, outer: f64) -> Self {
        Self::falling(lower, linear, outer, [0.0; 3])
    }

    /// Steps that fall like `(1 + t)^{-exponent}`.
    pub fn falling(lower: f64, linear: f64, outer: f64, exponents: [f64; 3]) -> Self {
        let step = |eta, exponent| match exponent {
            0.0 => StepSize::Constant { eta },
            exponent => StepSize::Power { eta, exponent },
        };
        Steps { lower: step(lower, exponents[0]), linear: step(linear, exponents[1]), outer: step(outer, exponents[2]) }
    }

    pub(super) fn validate(&self) -> Result<()> {
        self.lower.validate()?;
        self.linear.validate()?;
        self.outer.validate()
    }
}
