//! Data set in, tuned model out.
//!
//! The only floor that makes choices for the user: which loss, which criterion, which method, how many
//! hyperparameters. Each choice is an option with a stated default, and everything that was tried is in the result.
//!
//! From a file to predictions:
//!
//! ```
//! use std::path::Path;
//!
//! use bilevel::data::{LearnOptions, Learned, ReadOptions, Schema};
//! use bilevel::observer::Silent;
//! use bilevel::tune::{SavedModel, TuneOptions, tune};
//!
//! let folder = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../data"));
//! let Learned { schema, data, .. } = Schema::learn(&folder.join("heart_scale.gz"), &LearnOptions::default())?;
//! let tuned = tune(data, None, None, &TuneOptions::default(), &mut Silent)?;
//! let path = std::env::temp_dir().join(format!("heart-{}.model", std::process::id()));
//! SavedModel::new(&tuned, schema).write(&path)?;
//!
//! let saved = SavedModel::read(&path)?;
//! let probabilities = saved.predict_file(&folder.join("heart_scale.gz"), &ReadOptions::default())?;
//! assert_eq!(probabilities.len(), 270);
//! # std::fs::remove_file(&path).unwrap();
//! # Ok::<(), bilevel::Error>(())
//! ```

use std::borrow::Cow;

use crate::Result;
use crate::data::Dataset;
use crate::observer::{Event, Observer};

mod bounds;
mod check;
mod compare;
mod context;
mod descend;
mod diagnostics;
mod digest;
mod ending;
mod engine;
mod fit;
mod fitted;
mod judging;
mod kinds;
mod loss_choice;
mod metrics;
mod model;
mod model_file;
mod objective;
mod options;
mod outcome;
mod partition;
mod path;
mod precise;
mod prior;
mod problem;
mod refit;
mod relevance;
mod run;
mod sampled_fold;
mod select;
mod shared;
mod stochastic;
mod summary;
mod units;
mod whitened;

pub(crate) use engine::direct_is_cheaper;
pub(crate) use model::target_numbers;

pub(crate) use bounds::FeatureScale;
pub use diagnostics::{Calibration, CalibrationBin, Confusion, Diagnostics, Residuals};
pub use digest::{GroupPenalties, StrongWeight, feature_deviations, penalties_by_group, strongest_weights};
pub use ending::Ending;
pub use metrics::{Metrics, predicted_classes};
pub use model::LinearModel;
pub use model_file::{About, SavedModel};
pub use options::{Criterion, Limits, LossChoice, Method, Penalties, TuneOptions};
pub use outcome::{Candidate, CandidateRole, Law, TraceRow, Tuned};
pub use precise::{HypergradientOptions, PreciseMethod};
pub use problem::GlmProblem;
pub use summary::Summary;

/// Tunes the hyperparameters of a linear model on `train` and fits it on all rows.
///
/// `validation` are held-out rows that judge the hyperparameters (without them, [`TuneOptions::criterion`] sets some of
/// `train` aside); `test` rows are only looked at to report on all candidates. All three must have the same features
/// and class codes. Whoever hands over `train` instead of lending it saves a copy of the rows, which are brought into a
/// random order and to one scale.
///
/// # Errors
/// Input, when the data do not fit together or are too few; numeric, when no candidate could be fitted; interrupted, when
/// `observer` breaks off before the rows are arranged.
pub fn tune<'a>(
    train: impl Into<Cow<'a, Dataset>>,
    validation: Option<&Dataset>,
    test: Option<&Dataset>,
    options: &TuneOptions,
    observer: &mut dyn for<'e> Observer<Event<'e, TraceRow>>,
) -> Result<Tuned> {
    run::run(train.into(), validation, test, options, observer)
}
