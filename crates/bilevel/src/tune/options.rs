//! What the user can choose.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::data::TargetKind;
use crate::sample::Sampling;

/// The loss to fit with.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LossChoice {
    /// Logistic for two classes, softmax for more, squared for numbers: those of a [`Target`](crate::data::Target) do not say
    /// that they count. [`LossChoice::for_kind`] does.
    #[default]
    Auto,
    /// Two classes, `log(1 + exp(-y m))`.
    Logistic,
    /// Several classes, cross entropy.
    Softmax,
    /// Regression, `(m - y)^2 / 2`.
    Squared,
    /// Regression that bounds the pull of outliers.
    Huber,
    /// Two classes, `max(0, 1 - y m)^2 / 2`.
    SquaredHinge,
    /// Counts, `exp(m) - y m`.
    Poisson,
}

impl LossChoice {
    /// The loss for a target of this kind, where none was asked for: Poisson for counts, too.
    pub fn for_kind(kind: TargetKind) -> Self {
        match kind {
            TargetKind::Binary => LossChoice::Logistic,
            TargetKind::Classes => LossChoice::Softmax,
            TargetKind::Counts => LossChoice::Poisson,
            TargetKind::Real => LossChoice::Squared,
        }
    }
}

/// How many hyperparameters the quadratic penalty has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Penalties {
    /// Tune coarse to fine and keep the finer only where data that did not steer the tuning confirm it.
    #[default]
    Auto,
    /// One for all weights.
    Shared,
    /// One for each group of features (of a CSV file: each source column).
    PerGroup,
    /// One for each class.
    PerClass,
    /// One for each feature.
    PerFeature,
}

impl Penalties {
    /// Name as in the command's options.
    pub fn name(self) -> &'static str {
        match self {
            Penalties::Auto => "auto",
            Penalties::Shared => "shared",
            Penalties::PerGroup => "per-group",
            Penalties::PerClass => "per-class",
            Penalties::PerFeature => "per-feature",
        }
    }
}

/// What the hyperparameters are judged by.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Default)]
#[serde(rename_all = "kebab-case")]
pub enum Criterion {
    /// Held-out rows given separately if there are any; else 5 folds, or a quarter held out of large data.
    #[default]
    Auto,
    /// This fraction of the training rows is held out.
    HeldOut(f64),
    /// The mean loss over `K` folds, each predicted by a fit on the others.
    Folds(usize),
    /// The same with folds that are given: for each training row the number of its fold, from 0.
    GivenFolds(Vec<u32>),
}

/// How hypergradients are computed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Method {
    /// By a stated cost model: see `docs/choosing-a-method.md`.
    #[default]
    Auto,
    /// Newton for `w`, Cholesky for `v` (conjugate gradients where a factorisation does not fit), to a relative residual of
    /// 1e-6.
    Exact,
    /// Inexact Newton for `w`, conjugate gradients for `v`, tolerances tightened along the way.
    AidCg,
    /// Fixed-point iteration over all rows for both.
    AidFp,
    /// Stochastic implicit differentiation, constant steps.
    SidConstant,
    /// Stochastic implicit differentiation, decreasing steps.
    SidDecreasing,
    /// Stochastic implicit differentiation, variance reduced by anchors.
    SidSvrg,
    /// Stochastic implicit differentiation, variance reduced by memory.
    SidSaga,
}

/// When to stop.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Limits {
    /// Time for the whole tuning once the rows are arranged. Some of it is put aside for the fits that follow the search; what
    /// these cannot end is as near as they came, or the fit of a fold, and a note says so.
    pub time: Option<Duration>,
    /// Upper-level iterations of each candidate.
    pub iterations: usize,
    /// Stop when the projected gradient is below this fraction of the objective.
    pub tolerance: f64,
}

impl Default for Limits {
    fn default() -> Self {
        Limits { time: None, iterations: 200, tolerance: 1e-5 }
    }
}

/// Everything [`crate::tune`] can be told.
#[derive(Debug, Clone, PartialEq)]
pub struct TuneOptions {
    /// The loss.
    pub loss: LossChoice,
    /// Number of hyperparameters.
    pub penalties: Penalties,
    /// What judges them.
    pub criterion: Criterion,
    /// How hypergradients are computed.
    pub method: Method,
    /// Fit an intercept (never penalised).
    pub intercept: bool,
    /// How rows are drawn where a method draws samples; by default [`Sampling::Blocks`] of rows in memory and
    /// [`Sampling::Runs`] of rows in a mapped file, where each block elsewhere costs a page fault or two.
    pub sampling: Option<Sampling>,
    /// Bring features to variance 1 while fitting, and those of dense data to mean 0 ([`Standardization`]).
    ///
    /// [`Standardization`]: crate::data::Standardization
    pub standardize: bool,
    /// Smallest log-penalty; by default 14 below the logarithm of the mean variance of the features, so that the box
    /// suits features of any scale.
    pub lambda_min: Option<f64>,
    /// Largest log-penalty; by default 8 above the logarithm of the mean variance of the features.
    pub lambda_max: Option<f64>,
    /// Log-penalties to begin with, on the scale of [`Tuned::lambda`](super::Tuned::lambda): those of a similar tuning,
    /// which spare the scan of the box. One for all, or as many as the kind of penalty that is asked for has.
    pub start: Option<Vec<f64>>,
    /// Seed of all randomness.
    pub seed: u64,
    /// When to stop.
    pub limits: Limits,
}

impl Default for TuneOptions {
    fn default() -> Self {
        TuneOptions {
            loss: LossChoice::Auto,
            penalties: Penalties::Auto,
            criterion: Criterion::Auto,
            method: Method::Auto,
            intercept: true,
            sampling: None,
            standardize: true,
            lambda_min: None,
            lambda_max: None,
            start: None,
            seed: 0,
            limits: Limits::default(),
        }
    }
}
