//! The linear system by its Neumann series.
//!
//! With `Y = d1Phi^T`, `Y_eta = (1 - eta) I + eta Y` and a relaxation `0 < eta <= 1`,
//!
//! ```text
//! v = (I - Y)^{-1} grad1 E = eta sum_{j >= 0} Y_eta^j grad1 E.
//! ```
//!
//! Each factor is taken on a sample of its own, so the mean of a product of samples is the product of the means, and what
//! is left of the bias at a given `w` is what is left out of the series: `|v - v_K| <= (1 - eta (1 - q))^K |v|` for the
//! first `K` terms (Lorraine, Vicol, Duvenaud, AISTATS 2020; Ji, Yang, Liang, ICML 2021, on fresh samples). For gradient
//! steps `eta` times the `map_step` is the step of those papers. Which terms are taken is a [`SeriesLength`]; random
//! lengths trade bias for variance.

use serde::{Deserialize, Serialize};

use super::frame::{Frame, Products};
use super::{Hypergradient, WarmStart};
use crate::error::{Error, Result};
use crate::fixed_point::FixedPoint;
use crate::lower::StochasticMap;
use crate::operator::AdjointOperator;
use crate::sample::{Batch, Rng};
use crate::status::Info;
use crate::upper::UpperObjective;
use crate::vector;

/// Which terms of the series are taken.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SeriesLength {
    /// The first `terms`, at `terms - 1` products.
    Fixed {
        /// Terms `K`.
        terms: usize,
    },
    /// One of the first `terms`, drawn uniformly, times their number: the mean of `Fixed` at half of its products, with more
    /// variance (Ghadimi, Wang 2018, equation 3.10).
    Uniform {
        /// Terms `K`.
        terms: usize,
    },
    /// All terms up to a random one: the series goes on with the probability `survival` after each term, and term `j` is
    /// divided by the probability `survival^j` that it is reached. Its mean is the whole series. The variance is finite
    /// when `|Y_eta|^2`, in mean square over samples, is below `survival`; about `survival/(1 - survival)` products.
    Geometric {
        /// In (0, 1).
        survival: f64,
    },
}

/// Implicit differentiation with a Neumann series. Needs products `d1Phi_hat^T v` alone; memory of three vectors.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Neumann {
    /// The lower solve.
    pub lower: FixedPoint,
    /// The terms of the series.
    pub length: SeriesLength,
    /// The relaxation `eta` of each factor.
    pub eta: f64,
    /// Elements of each factor.
    pub batch: Batch,
    /// Elements `J` of the cross derivative `d2Phi`.
    pub cross_batch: Batch,
    /// Elements of the upper objective.
    pub upper_batch: Batch,
}

impl Neumann {
    /// `terms` terms after `steps` steps of the lower level, everything on the exact mean: AID-FP from a cold start.
    pub fn exact(steps: usize, terms: usize) -> Self {
        let length = SeriesLength::Fixed { terms };
        Neumann::new(FixedPoint::exact(steps, 0.0), length, 1.0, Batch::All)
    }

    /// Factors on `batch` elements, everything of `d2Phi` and of the upper objective.
    pub fn new(lower: FixedPoint, length: SeriesLength, eta: f64, batch: Batch) -> Self {
        Neumann { lower, length, eta, batch, cross_batch: Batch::All, upper_batch: Batch::All }
    }

    /// Estimates `grad f(lambda)`; arguments as in [`Sid::estimate`](super::Sid::estimate). `start` has its `v` overwritten: a
    /// series has no start.
    ///
    /// # Errors
    /// Input, for unusable settings or sizes; numeric, when the lower solve diverged, the terms grow or anything is not
    /// finite.
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
        self.validate()?;
        let frame = Frame { lower: &self.lower, cross_batch: self.cross_batch, upper_batch: self.upper_batch };
        frame.estimate(map, upper, lambda, start, (seed, index), |operator, v, rng| self.series(&operator, v, rng))
    }

    fn validate(&self) -> Result<()> {
        self.batch.validate("batch")?;
        if !(self.eta > 0.0 && self.eta <= 1.0) {
            return Err(Error::input(format!("eta = {} of the Neumann series must be in (0, 1]", self.eta)));
        }
        match self.length {
            SeriesLength::Fixed { terms: 0 } | SeriesLength::Uniform { terms: 0 } => {
                Err(Error::input("a Neumann series needs at least one term"))
            }
            SeriesLength::Geometric { survival } if !(survival > 0.0 && survival < 1.0) => {
                Err(Error::input(format!("survival = {survival} of the terms must be in (0, 1)")))
            }
            _ => Ok(()),
        }
    }

    fn series<M: StochasticMap + ?Sized>(
        &self,
        operator: &AdjointOperator<'_, M>,
        v: &mut [f64],
        rng: &mut Rng,
    ) -> Info {
        let mut products = Products::new(operator, self.batch);
        let mut power = operator.grad_w.to_vec();
        let mut image = vec![0.0; v.len()];
        let first = vector::norm(&power);
        let drawn = match self.length {
            SeriesLength::Uniform { terms } => rng.below(terms),
            _ => 0,
        };
        v.fill(0.0);
        let mut term = 0;
        let status = loop {
            let (weight, is_last) = match self.length {
                SeriesLength::Fixed { terms } => (1.0, term + 1 == terms),
                SeriesLength::Uniform { terms } if term == drawn => (terms as f64, true),
                SeriesLength::Uniform { .. } => (0.0, false),
                SeriesLength::Geometric { survival } => (survival.powf(-(term as f64)), rng.uniform() >= survival),
            };
            vector::axpy(self.eta * weight, &power, v);
            if is_last {
                break products.end(first, vector::norm(&power), v);
            }
            products.draw(rng);
            products.apply(&power, &mut image);
            vector::move_towards(self.eta, &image, &mut power);
            term += 1;
            if let Some(failure) = products.failure(first, vector::norm(&power)) {
                break failure;
            }
        };
        Info { status, steps: term, residual: None, work: products.work }
    }
}
