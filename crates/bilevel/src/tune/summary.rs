//! The outcome of a tuning in one flat record with stable keys, for programs.

use serde::Serialize;

use super::ending::Ending;
use super::metrics::Metrics;
use super::options::Penalties;
use super::outcome::{Candidate, CandidateRole, Tuned};

/// What `summary.json` holds. Keys are only ever added; what does not apply is `null`.
#[derive(Debug, Clone, Serialize)]
pub struct Summary {
    /// Version of the library that tuned.
    pub version: &'static str,
    /// Why the tuning ended.
    pub status: Ending,
    /// Name of the loss.
    pub model: &'static str,
    /// How hypergradients were computed.
    pub method: String,
    /// Kind of penalty that was chosen.
    pub penalties: Penalties,
    /// How the hyperparameters were judged, in words.
    pub criterion: String,
    /// Training rows.
    pub rows: usize,
    /// Features.
    pub features: usize,
    /// Number of hyperparameters.
    pub hyperparameters: usize,
    /// Loss of the chosen candidate on the training rows.
    pub train_loss: Option<f64>,
    /// Loss on the rows that steered the tuning.
    pub validation_loss: Option<f64>,
    /// Loss on the rows that chose among the candidates.
    pub monitor_loss: Option<f64>,
    /// Loss on the test rows.
    pub test_loss: Option<f64>,
    /// Share of right classes on the test rows.
    pub test_accuracy: Option<f64>,
    /// Area under the ROC curve on the test rows.
    pub test_auc: Option<f64>,
    /// Coefficient of determination on the test rows.
    pub test_r2: Option<f64>,
    /// Share of the deviance explained on the test rows.
    pub test_deviance_explained: Option<f64>,
    /// All candidates, coarse to fine.
    pub candidates: Vec<CandidateSummary>,
    /// Seconds of tuning, reading excluded.
    pub seconds: f64,
    /// Passes over the training rows.
    pub passes: f64,
    /// Upper-level iterations, all candidates together.
    pub iterations: usize,
    /// Remarks for the user.
    pub notes: Vec<String>,
}

/// One of the [`Summary::candidates`].
#[derive(Debug, Clone, Serialize)]
pub struct CandidateSummary {
    /// A few words: `untuned`, `shared`, `per-feature, shrinkage 0.01`.
    pub label: String,
    /// Comparison or contender.
    pub role: CandidateRole,
    /// Kind of penalty.
    pub penalties: Penalties,
    /// How freely the penalties were tuned: `free`, `shrinkage 0.25`, `by relevance`.
    pub law: String,
    /// Number of hyperparameters.
    pub hyperparameters: usize,
    /// Rows that its fit is on.
    pub rows: usize,
    /// Loss on these rows.
    pub train_loss: Option<f64>,
    /// Loss on the rows that steered.
    pub validation_loss: Option<f64>,
    /// Share of right classes on the rows that steered.
    pub validation_accuracy: Option<f64>,
    /// Loss on the rows that chose.
    pub monitor_loss: Option<f64>,
    /// Standard error of its difference from that of the shared penalty.
    pub monitor_std_error: Option<f64>,
    /// Loss on the test rows.
    pub test_loss: Option<f64>,
    /// Share of right classes on the test rows.
    pub test_accuracy: Option<f64>,
    /// True for the one the model was fitted with.
    pub chosen: bool,
}

impl Summary {
    /// The record of `tuned`.
    pub fn new(tuned: &Tuned) -> Self {
        let chosen = tuned.chosen();
        let test = |figure: fn(&Metrics) -> Option<f64>| chosen.test.as_ref().and_then(figure);
        Summary {
            version: env!("CARGO_PKG_VERSION"),
            status: tuned.status,
            model: tuned.model.loss.name(),
            method: tuned.method.clone(),
            penalties: tuned.penalties,
            criterion: tuned.criterion.clone(),
            rows: tuned.rows,
            features: tuned.features,
            hyperparameters: chosen.hyperparameters,
            train_loss: finite(chosen.train.loss),
            validation_loss: finite(chosen.validation.loss),
            monitor_loss: chosen.monitor_loss.and_then(finite),
            test_loss: test(|m| finite(m.loss)),
            test_accuracy: test(|m| m.accuracy),
            test_auc: test(|m| m.auc),
            test_r2: test(|m| m.r2),
            test_deviance_explained: test(|m| m.deviance_explained),
            candidates: tuned.candidates.iter().map(CandidateSummary::new).collect(),
            seconds: tuned.seconds,
            passes: tuned.passes,
            iterations: tuned.trace.len(),
            notes: tuned.notes.clone(),
        }
    }
}

impl CandidateSummary {
    fn new(candidate: &Candidate) -> Self {
        CandidateSummary {
            label: candidate.label(),
            role: candidate.role,
            penalties: candidate.penalties,
            law: candidate.law.to_string(),
            hyperparameters: candidate.hyperparameters,
            rows: candidate.rows,
            train_loss: finite(candidate.train.loss),
            validation_loss: finite(candidate.validation.loss),
            validation_accuracy: candidate.validation.accuracy,
            monitor_loss: candidate.monitor_loss.and_then(finite),
            monitor_std_error: candidate.monitor_std_error.and_then(finite),
            test_loss: candidate.test.and_then(|test| finite(test.loss)),
            test_accuracy: candidate.test.and_then(|test| test.accuracy),
            chosen: candidate.chosen,
        }
    }
}

fn finite(x: f64) -> Option<f64> {
    Some(x).filter(|x| x.is_finite())
}
