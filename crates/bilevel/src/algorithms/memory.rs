//! What an algorithm remembers of earlier directions, to make the next estimate better than one sample allows.

use serde::{Deserialize, Serialize};

use super::field::{Field, Streams};
use super::problem::Bilevel;
use super::recipe::{not_negative, positive};
use super::saga::Saga;
use crate::company;
use crate::error::{Error, Result};
use crate::sample::{Batch, Sample};
use crate::vector;

/// How the direction `d_t` is made of samples `F(x_t; zeta_t)` of `(D_w, D_v, D_lambda)`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Memory {
    /// `d_t = F(x_t; zeta_t)`.
    None,
    /// `d_t = (1 - a_t) d_{t-1} + a_t F(x_t; zeta_t)` for `lambda`, none for the rest (Chen, Xiao, Balasubramanian, 2023). The weights
    /// `a_t` start at `weight` and fall like the outer step.
    MovingAverage {
        /// The first weight, at most 1.
        weight: f64,
    },
    /// `d_t = F(x_t; zeta_t) + (1 - a_t) (d_{t-1} - F(x_{t-1}; zeta_t))` (STORM: Cutkosky, Orabona, NeurIPS 2019). The
    /// weights `a_t` start at `weight` and fall like a power of the outer step.
    Storm {
        /// The first weight, at most 1.
        weight: f64,
        /// The power.
        power: f64,
        /// For `lambda` only, or for everything.
        blocks: Blocks,
    },
    /// `d_t = d_{t-1} + F(x_t; zeta_t) - F(x_{t-1}; zeta_t)`, and `d_t = F(x_t)` on all rows every `period` steps (SARAH: Nguyen,
    /// Liu, Scheinberg, Takac, ICML 2017; SPIDER).
    Sarah {
        /// Steps between two passes over all rows, in passes over the rows of both levels: `period (n + m) / batch` steps.
        period: f64,
    },
    /// `d_t = F_i(x_t) - table_i + mean of the table` for a block `i` of rows, then `table_i = F_i(x_t)` (SAGA: Defazio, Bach,
    /// Lacoste-Julien, NeurIPS 2014).
    Saga,
}

impl Memory {
    pub(super) fn validate(self) -> Result<()> {
        let share = |weight: f64| match weight > 0.0 && weight <= 1.0 {
            true => Ok(()),
            false => Err(Error::input(format!("weight = {weight} of the recipe must be above 0 and at most 1"))),
        };
        match self {
            Memory::None | Memory::Saga => Ok(()),
            Memory::MovingAverage { weight } => share(weight),
            Memory::Storm { weight, power, blocks: _ } => {
                share(weight)?;
                not_negative("power", power)
            }
            Memory::Sarah { period } => positive("period", period),
        }
    }
}

/// Blocks of `(w, v, lambda)`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Blocks {
    /// `lambda`.
    Outer,
    /// All three.
    All,
}

/// A [`Memory`] at work.
pub(super) enum Remembered {
    Nothing,
    /// The point of the last estimate, and room for samples there and here.
    Estimate {
        memory: Memory,
        previous: Vec<f64>,
        at_previous: Vec<f64>,
        fresh: Vec<f64>,
    },
    Table(Saga),
}

impl Remembered {
    pub(super) fn new(memory: Memory, field: &Field<'_>) -> Result<Self> {
        let length = field.layout.len();
        Ok(match memory {
            Memory::None => Remembered::Nothing,
            Memory::Saga => Remembered::Table(Saga::new(field)?),
            _ => {
                let zeros = vec![0.0; length];
                Remembered::Estimate { memory, previous: zeros.clone(), at_previous: zeros.clone(), fresh: zeros }
            }
        })
    }

    /// `d = d_t`, which held `d_{t-1}`; draws what it needs. `shrunk` is the ratio of the outer step to the first one;
    /// `linear_step` as in [`Field::evaluate`].
    #[allow(clippy::too_many_arguments)]
    pub(super) fn direction(
        &mut self,
        t: usize,
        shrunk: f64,
        field: &mut Field<'_>,
        streams: &mut Streams,
        x: &[f64],
        linear_step: f64,
        d: &mut [f64],
    ) {
        let (memory, previous, at_previous, fresh) = match self {
            Remembered::Nothing => {
                field.draw(streams);
                return field.evaluate(x, linear_step, d);
            }
            Remembered::Table(saga) => return saga.direction(field, streams, x, d),
            Remembered::Estimate { memory, previous, at_previous, fresh } => (*memory, previous, at_previous, fresh),
        };
        let lambda = field.layout.lambda();
        match memory {
            Memory::Sarah { period } if t.is_multiple_of(steps_of(period, field)) => {
                field.draw_series(streams);
                field.take_all();
                field.evaluate(x, linear_step, d);
            }
            _ if t == 0 => {
                field.draw(streams);
                field.evaluate(x, linear_step, d);
            }
            Memory::MovingAverage { weight } => {
                at_previous[lambda.clone()].copy_from_slice(&d[lambda.clone()]);
                field.draw(streams);
                field.evaluate(x, linear_step, d);
                let keep = 1.0 - weight * shrunk;
                vector::move_towards(keep, &at_previous[lambda.clone()], &mut d[lambda]);
                return;
            }
            Memory::Sarah { .. } if field.adjoint.is_carried() => {
                field.draw(streams);
                field.evaluate_change(x, previous, at_previous);
                company::axpy(1.0, at_previous, d);
            }
            _ => {
                // On one sample at both points.
                field.draw(streams);
                field.evaluate_both([x, previous], linear_step, [fresh, at_previous]);
                let (keep, from) = match memory {
                    Memory::Storm { weight, power, blocks } => {
                        let from = if blocks == Blocks::Outer { lambda.start } else { 0 };
                        (1.0 - weight * shrunk.powf(power), from)
                    }
                    _ => (1.0, 0),
                };
                d[..from].copy_from_slice(&fresh[..from]);
                company::in_halves(&mut d[from..], [&fresh[from..], &at_previous[from..]], |d, [fresh, before]| {
                    vector::recur(keep, fresh, before, d);
                });
            }
        }
        company::in_halves(previous, [x], |previous, [x]| previous.copy_from_slice(x));
    }
}

/// Steps in `period` passes over the rows of both levels.
fn steps_of(period: f64, field: &Field<'_>) -> usize {
    let Bilevel { lower, upper, .. } = field.problem;
    let rows = (lower.size(&Sample::Full) + upper.size(&Sample::Full)) as f64;
    match field.batch {
        Batch::All => 1,
        Batch::Rows(batch) => (period * rows / batch as f64).ceil().max(1.0) as usize,
    }
}
