//! What the user can choose.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::tune::{LossChoice, Method};

/// The strength `s` of the penalty `1/2 s |W|^2` of the lower level.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub enum Strength {
    /// The one that serves a model of the trusted rows best, tuned on part of them.
    #[default]
    Tuned,
    /// This one. Published figures for `c |W|^2` with `c = 0.2` are those of 0.4 here.
    Fixed(f64),
}

/// Where the weights of the rows begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Start {
    /// At the probability that the label is none that was drawn anew, by a model of the trusted rows (`docs/cleaning.md`).
    #[default]
    Trusted,
    /// At one half, as published.
    Uniform,
}

impl Start {
    /// Most steps of the weights, unless told otherwise. From the trusted start few are needed; further ones serve the
    /// trusted loss alone, while weights tell wrong labels worse and the model classifies no better.
    pub fn steps(self) -> usize {
        match self {
            Start::Trusted => 3,
            Start::Uniform => 30,
        }
    }
}

/// Everything [`clean`](super::clean) can be told.
#[derive(Debug, Clone, PartialEq)]
pub struct CleanOptions {
    /// The loss.
    pub loss: LossChoice,
    /// The penalty of the lower level.
    pub strength: Strength,
    /// Where the weights begin.
    pub start: Start,
    /// How hypergradients are computed: by factorisations ([`Method::Exact`]), by conjugate gradients ([`Method::AidCg`]), or
    /// by whichever costs less.
    pub method: Method,
    /// Fit an intercept (never penalised).
    pub intercept: bool,
    /// Bring features to variance 1 while fitting, and those of dense data to mean 0.
    pub standardize: bool,
    /// Share of the trusted rows kept as monitor rows, which do not steer; the weights that serve them best are kept. With 0
    /// all of them steer, to the end.
    pub monitor: f64,
    /// Seed of all randomness.
    pub seed: u64,
    /// Time for everything once the rows are arranged.
    pub time: Option<Duration>,
    /// Most steps of the weights; nothing for [`Start::steps`].
    pub iterations: Option<usize>,
    /// Stop when the largest entry of the projected gradient is below this share of the trusted loss, divided by the number of
    /// rows: the weight of one row among many moves the loss by little.
    pub tolerance: f64,
}

impl CleanOptions {
    /// Most steps of the weights.
    pub fn steps(&self) -> usize {
        self.iterations.unwrap_or_else(|| self.start.steps())
    }
}

impl Default for CleanOptions {
    fn default() -> Self {
        CleanOptions {
            loss: LossChoice::Auto,
            strength: Strength::Tuned,
            start: Start::Trusted,
            method: Method::Auto,
            intercept: true,
            standardize: true,
            monitor: 0.2,
            seed: 0,
            time: None,
            iterations: None,
            tolerance: 1e-5,
        }
    }
}
