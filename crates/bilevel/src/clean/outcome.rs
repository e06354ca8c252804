//! What a cleaning found.

use serde::{Deserialize, Serialize};

use crate::tune::{Ending, LinearModel, Metrics};

/// One step of the weights.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Step {
    /// Its number; 0 is the start.
    pub iteration: usize,
    /// Seconds since the cleaning began.
    pub seconds: f64,
    /// Mean loss on the trusted rows that steer.
    pub trusted_loss: f64,
    /// The same on the monitor rows, where there are any.
    pub monitor_loss: Option<f64>,
    /// Mean weight of the rows.
    pub mean_weight: f64,
    /// Largest component of the hypergradient.
    pub gradient: f64,
    /// Passes over the training rows so far.
    pub passes: f64,
}

/// Which rows a model was fitted on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FitOf {
    /// The training rows as they were given, all weights alike.
    AllRows,
    /// The trusted rows alone.
    TrustedRows,
    /// The training rows with the weights that were learned.
    WeightedRows,
}

impl FitOf {
    /// A few words for tables.
    pub fn name(self) -> &'static str {
        match self {
            FitOf::AllRows => "all rows alike",
            FitOf::TrustedRows => "trusted rows alone",
            FitOf::WeightedRows => "weighted rows",
        }
    }
}

/// Figures of a model.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Fit {
    /// What it was fitted on.
    pub of: FitOf,
    /// On the trusted rows. The model of these rows was fitted on them, and the weights were learned from them: only the
    /// test rows compare the three.
    pub trusted: Metrics,
    /// On the test rows, where given.
    pub test: Option<Metrics>,
}

/// Weights of the rows, the model they lead to, and how they came about. Rows are those of the data set that was given.
#[derive(Debug, Clone)]
pub struct Cleaned {
    /// The model of the weighted rows, in the scale of the features as given.
    pub model: LinearModel,
    /// The model of the trusted rows alone.
    pub trusted_model: LinearModel,
    /// The weight in (0, 1) of each training row; 0 for rows that the data set gives the weight 0.
    pub weights: Vec<f64>,
    /// The training rows (numbers from 0), most suspicious first: by weight, and among equal weights by loss.
    pub suspicious: Vec<u32>,
    /// The loss of each training row under the model of the trusted rows alone: the simple way to find wrong labels.
    pub trusted_losses: Vec<f64>,
    /// For each training row the class code that the model of the weighted rows gives it; empty for regression.
    pub predicted: Vec<u32>,
    /// For each training row the probability of its given label under that model; empty where the loss has none.
    pub probability: Vec<f64>,
    /// All rows alike, trusted rows alone, weighted rows.
    pub fits: Vec<Fit>,
    /// Strength `s` of the penalty `1/2 s |W|^2`, on the scale the model was fitted in.
    pub strength: f64,
    /// Why the cleaning ended.
    pub status: Ending,
    /// Name of the method that computed the hypergradients.
    pub method: String,
    /// The number of the step whose weights were kept.
    pub kept: usize,
    /// Every step.
    pub trace: Vec<Step>,
    /// Training rows that weigh something.
    pub training_rows: usize,
    /// The same of the trusted rows.
    pub trusted_rows: usize,
    /// Features.
    pub features: usize,
    /// Remarks the user should read.
    pub notes: Vec<String>,
    /// Seconds, reading excluded.
    pub seconds: f64,
    /// Passes over the training rows.
    pub passes: f64,
}

impl Cleaned {
    /// The figures of the model that was fitted on `of`.
    pub fn fit(&self, of: FitOf) -> Option<&Fit> {
        self.fits.iter().find(|fit| fit.of == of)
    }

    /// The class code the model gives a row (number from 0), where it is another than `given`.
    pub fn suggestion(&self, row: usize, given: u32) -> Option<u32> {
        self.predicted.get(row).copied().filter(|&predicted| predicted != given)
    }
}
