//! An algorithm as data.

use serde::{Deserialize, Serialize};

use super::adjoint::Adjoint;
use super::memory::Memory;
use crate::error::{Error, Result};

/// What one iteration does.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Recipe {
    /// All blocks move at once, along directions made at one point.
    Together {
        /// How `v` comes about.
        adjoint: Adjoint,
        /// What the directions remember.
        memory: Memory,
        /// 1: all blocks move. Above 1: `lambda` moves alone in every so many-th iteration, and `w` and `v` in the others.
        outer_every: usize,
    },
    /// First `w`, then `v`, then `lambda`, each seeing what the earlier ones did.
    InTurn {
        /// Steps of `w`.
        lower: Count,
        /// How `v` comes about.
        adjoint: Adjoint,
        /// Where `w` and `v` begin.
        start: Start,
    },
    /// First order only: `w` minimises `g`, and a second copy `z` minimises `E + s g`, with a growing multiplier `s`
    /// (Kwon, Kwon, Wright, Nowak, ICML 2023).
    Penalized {
        /// Steps of both copies in an iteration.
        lower_steps: usize,
        /// `s_t = initial (1 + t)^growth`.
        initial: f64,
        /// How fast it grows.
        growth: f64,
    },
    /// First order only: `E` is lowered with a correction that also lowers `g(w) - g(z)`, `z` near the minimum (Ye, Liu,
    /// Wright, Stone, Liu, NeurIPS 2022).
    DynamicBarrier {
        /// Steps from `w` to `z`.
        lower_steps: usize,
        /// Factor `u` of the barrier `u |grad q|^2`.
        barrier: f64,
    },
    /// `dw/dlambda` along random directions by differences of two runs of the lower steps on the same samples (Sow, Ji, Liang,
    /// NeurIPS 2022).
    ZerothOrder {
        /// Lower steps of each run.
        lower_steps: usize,
        /// Random directions.
        directions: usize,
        /// Length of the difference.
        smoothing: f64,
    },
    /// Everything on all rows, lower level and linear system to a tolerance that falls with the iterations, an outer step that
    /// adapts (Pedregosa, ICML 2016).
    Inexact {
        /// The first tolerance.
        tolerance: f64,
        /// Its factor from one iteration to the next, below 1.
        decrease: f64,
    },
    /// A single loop on remembered directions with steps that are measured on the way; the steps of the settings are factors
    /// of these. No recipe of a paper: what to take without tuning.
    Adaptive {
        /// What the directions remember.
        memory: Memory,
    },
}

impl Recipe {
    /// Checks that an iteration moves all blocks, and by numbers that are some.
    ///
    /// # Errors
    /// Input, naming the part that means nothing.
    pub fn validate(&self) -> Result<()> {
        match *self {
            Recipe::Together { adjoint, memory, outer_every } => {
                match adjoint {
                    Adjoint::Steps(Count::Fixed(1)) => {}
                    Adjoint::Steps(count) => {
                        return Err(Error::input(format!(
                            "blocks that move together make one step each, not {count:?}"
                        ))
                        .remedy("use Steps(Fixed(1)), or blocks that move in turn"));
                    }
                    series if memory == Memory::Saga => {
                        return Err(Error::input(format!("tables of SAGA hold no {series:?}"))
                            .remedy("use Steps(Fixed(1)) with them, or another memory"));
                    }
                    series => series.validate()?,
                }
                memory.validate()?;
                at_least_one("outer_every", outer_every)
            }
            Recipe::InTurn { lower, adjoint, start: _ } => {
                lower.validate("lower")?;
                adjoint.validate()
            }
            Recipe::Penalized { lower_steps, initial, growth } => {
                at_least_one("lower_steps", lower_steps)?;
                positive("initial", initial)?;
                not_negative("growth", growth)
            }
            Recipe::DynamicBarrier { lower_steps, barrier } => {
                at_least_one("lower_steps", lower_steps)?;
                positive("barrier", barrier)
            }
            Recipe::ZerothOrder { lower_steps, directions, smoothing } => {
                at_least_one("lower_steps", lower_steps)?;
                at_least_one("directions", directions)?;
                positive("smoothing", smoothing)
            }
            Recipe::Inexact { tolerance, decrease } => {
                positive("tolerance", tolerance)?;
                match decrease > 0.0 && decrease < 1.0 {
                    true => Ok(()),
                    false => Err(Error::input(format!("decrease = {decrease} of the recipe must be between 0 and 1"))),
                }
            }
            Recipe::Adaptive { memory } => memory.validate(),
        }
    }
}

pub(super) fn at_least_one(name: &str, count: usize) -> Result<()> {
    if count > 0 { Ok(()) } else { Err(Error::input(format!("{name} = 0 of the recipe must be at least 1"))) }
}

pub(super) fn positive(name: &str, value: f64) -> Result<()> {
    match value > 0.0 && value.is_finite() {
        true => Ok(()),
        false => Err(Error::input(format!("{name} = {value} of the recipe must be positive and finite"))),
    }
}

pub(super) fn not_negative(name: &str, value: f64) -> Result<()> {
    match value >= 0.0 && value.is_finite() {
        true => Ok(()),
        false => Err(Error::input(format!("{name} = {value} of the recipe must be finite and not negative"))),
    }
}

/// How many steps iteration `t` makes.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Count {
    /// Always the same number.
    Fixed(usize),
    /// `ceil((1 + t)^exponent)`.
    Growing {
        /// The exponent.
        exponent: f64,
    },
}

impl Count {
    pub(super) fn validate(self, name: &str) -> Result<()> {
        match self {
            Count::Fixed(steps) => at_least_one(name, steps),
            Count::Growing { exponent } => not_negative(&format!("{name} exponent"), exponent),
        }
    }

    /// Steps of iteration `t`.
    pub fn at(self, t: usize) -> usize {
        match self {
            Count::Fixed(steps) => steps,
            Count::Growing { exponent } => (1.0 + t as f64).powf(exponent).ceil() as usize,
        }
    }
}

/// Where the lower level and the linear system begin in each iteration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Start {
    /// Where they ended in the last one.
    Warm,
    /// At the start of the run.
    Cold,
}
