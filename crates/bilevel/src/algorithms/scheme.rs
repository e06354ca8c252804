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

/// What an algorithm leaves free of its steps: how long the first ones are. How they fall is its own.
///
/// Written as a list of three numbers.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(from = "[f64; 3]", into = "[f64; 3]")]
pub struct FirstSteps {
    /// Of `w`.
    pub lower: f64,
    /// Of `v`, and of Neumann series.
    pub linear: f64,
    /// Of `lambda`.
    pub outer: f64,
}

impl FirstSteps {
    /// Ones: for algorithms that find their steps themselves, and take these as factors.
    pub const ONES: FirstSteps = FirstSteps { lower: 1.0, linear: 1.0, outer: 1.0 };
}

impl From<[f64; 3]> for FirstSteps {
    fn from([lower, linear, outer]: [f64; 3]) -> Self {
        FirstSteps { lower, linear, outer }
    }
}

impl From<FirstSteps> for [f64; 3] {
    fn from(FirstSteps { lower, linear, outer }: FirstSteps) -> Self {
        [lower, linear, outer]
    }
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
        Self::falling(FirstSteps { lower, linear, outer }, [0.0; 3])
    }

    /// Steps that fall like `(1 + t)^{-exponent}`, with an exponent for each of `w`, `v` and `lambda`.
    pub fn falling(first: FirstSteps, exponents: [f64; 3]) -> Self {
        let FirstSteps { lower, linear, outer } = first;
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
