//! What a tuning found, with everything that was tried on the way.

use serde::{Deserialize, Serialize};

use super::diagnostics::Diagnostics;
use super::ending::Ending;
use super::metrics::Metrics;
use super::model::LinearModel;
use super::options::Penalties;

/// Part a candidate plays in the comparison that the user is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CandidateRole {
    /// A plain default penalty, for comparison only.
    Untuned,
    /// A tuned candidate.
    Tuned,
}

/// How freely the penalties of a kind were tuned.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Law {
    /// Each log-penalty on its own.
    #[default]
    Free,
    /// The log-penalties are pulled towards their mean: normal with this precision `1/s^2`.
    Shrunk(f64),
    /// `level + exponent b`, with relevances `b` from the fit with a shared penalty: two hyperparameters in all.
    Relevance,
}

impl Law {
    /// Standard deviation `s` of the log-penalties around their mean; infinite without a pull.
    pub(super) fn spread(self) -> f64 {
        match self {
            Law::Shrunk(precision) => precision.sqrt().recip(),
            Law::Free | Law::Relevance => f64::INFINITY,
        }
    }

    /// Numbers that are chosen where there are so many penalties.
    fn steered(self, penalties: usize) -> usize {
        match self {
            Law::Free | Law::Shrunk(_) => penalties,
            Law::Relevance => penalties.min(2),
        }
    }
}

impl std::fmt::Display for Law {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Law::Free => f.write_str("free"),
            Law::Shrunk(precision) => write!(f, "shrinkage {precision}"),
            Law::Relevance => f.write_str("by relevance"),
        }
    }
}

/// One setting of the hyperparameters that was tuned and compared.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Candidate {
    /// Comparison or contender.
    pub role: CandidateRole,
    /// Kind of penalty.
    pub penalties: Penalties,
    /// How freely the penalties were tuned.
    pub law: Law,
    /// Number of hyperparameters.
    pub hyperparameters: usize,
    /// Rows that its fit is on: all, or those on which the candidates were compared, where a candidate was ruled out there and
    /// tuning it once more would have taken long.
    pub rows: usize,
    /// Figures on these rows.
    pub train: Metrics,
    /// Figures on the rows that steered the tuning (mean over folds).
    pub validation: Metrics,
    /// Mean loss on rows that did not steer the tuning of this candidate, where there were such rows.
    pub monitor_loss: Option<f64>,
    /// Standard error of the difference between this monitor loss and that of the shared penalty (paired by row).
    pub monitor_std_error: Option<f64>,
    /// Figures on the test rows, where given.
    pub test: Option<Metrics>,
    /// True for the candidate the model was fitted with.
    pub chosen: bool,
}

/// One upper-level iteration.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TraceRow {
    /// Kind of penalty being tuned.
    pub penalties: Penalties,
    /// How freely it is tuned.
    pub law: Law,
    /// Iteration of this candidate, from 0.
    pub iteration: usize,
    /// Seconds since the tuning began.
    pub seconds: f64,
    /// Loss on the rows that steer.
    pub validation_loss: f64,
    /// Loss on the training rows.
    pub train_loss: f64,
    /// Largest component of the projected gradient.
    pub projected_gradient: f64,
    /// Passes over the training rows so far.
    pub passes: f64,
}

/// A tuned model and how it came about.
#[derive(Debug, Clone)]
pub struct Tuned {
    /// The model, fitted on all rows with the chosen hyperparameters, in the scale of the data set that was given.
    pub model: LinearModel,
    /// Why the tuning ended.
    pub status: Ending,
    /// Name of the method that computed the hypergradients.
    pub method: String,
    /// Kind of penalty that was chosen.
    pub penalties: Penalties,
    /// Log-penalties of the chosen candidate, one per hyperparameter, on the scale the model was fitted in.
    pub lambda: Vec<f64>,
    /// Name of each hyperparameter (feature, group, class or `shared`).
    pub lambda_names: Vec<String>,
    /// All candidates, coarse to fine; the first is the untuned one.
    pub candidates: Vec<Candidate>,
    /// Predictions of the chosen candidate against the truth on rows it was not fitted to: the test rows where given,
    /// else the rows that were held out, which chose the penalties.
    pub diagnostics: Option<Diagnostics>,
    /// Every upper-level iteration.
    pub trace: Vec<TraceRow>,
    /// Training rows used (all, for the refit).
    pub rows: usize,
    /// Features.
    pub features: usize,
    /// How the criterion was formed, in words: `5 folds`, `25 % held out`, `validation file`.
    pub criterion: String,
    /// Remarks the user should read (constant columns, time limit, ...).
    pub notes: Vec<String>,
    /// Seconds of tuning, reading excluded.
    pub seconds: f64,
    /// Passes over the training rows.
    pub passes: f64,
}

impl Candidate {
    /// What distinguishes the candidate, in a few words: `untuned`, `shared`, `per-feature, shrinkage 0.01`.
    pub fn label(&self) -> String {
        match self.role {
            CandidateRole::Untuned => "untuned".into(),
            CandidateRole::Tuned => tuning_label(self.penalties, self.law),
        }
    }

    /// How many numbers the judging rows chose: two behind all penalties that follow a law of relevances, none of the untuned
    /// candidate.
    pub fn steered(&self) -> usize {
        match self.role {
            CandidateRole::Untuned => 0,
            CandidateRole::Tuned => self.law.steered(self.hyperparameters),
        }
    }

    /// True when its figures on `rows` rows that judged it say little of others: there are fewer than ten for each number they
    /// chose.
    pub fn is_flattered_by(&self, rows: usize) -> bool {
        const ROWS_A_CHOICE: usize = 10;
        self.steered() * ROWS_A_CHOICE > rows
    }
}

impl TraceRow {
    /// The label of the candidate being tuned.
    pub fn label(&self) -> String {
        tuning_label(self.penalties, self.law)
    }
}

fn tuning_label(penalties: Penalties, law: Law) -> String {
    match law {
        Law::Free => penalties.name().into(),
        law => format!("{}, {law}", penalties.name()),
    }
}

impl Tuned {
    /// The candidate the model was fitted with.
    ///
    /// # Panics
    /// When no candidate is marked as chosen, which no tuning leaves behind.
    pub fn chosen(&self) -> &Candidate {
        self.candidates.iter().find(|candidate| candidate.chosen).expect("a tuning chooses a candidate")
    }

    /// The plain default that everything is compared with.
    pub fn untuned(&self) -> Option<&Candidate> {
        self.candidates.iter().find(|candidate| candidate.role == CandidateRole::Untuned)
    }

    /// The best single penalty, where one was tuned.
    pub fn best_shared(&self) -> Option<&Candidate> {
        (self.candidates.iter())
            .filter(|candidate| candidate.role == CandidateRole::Tuned && candidate.penalties == Penalties::Shared)
            .min_by(|a, b| a.validation.loss.total_cmp(&b.validation.loss))
    }
}
