//! What the user may write on the command line.

use std::path::PathBuf;
use std::time::Duration;

use bilevel::sample::{Batch, Sampling};
use bilevel::tune::{LossChoice, Method, Penalties, PreciseMethod};
use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::clean::CleanArgs;
use crate::names::{self, METHODS, MODELS, PENALTIES, PRECISE_METHODS, SAMPLINGS};
use crate::race::RaceArgs;
use crate::reproduce::ReproduceArgs;
use crate::study::StudyArgs;

/// Tuned linear models from a data file: as many penalties as the data can tell apart, by bilevel optimisation.
#[derive(Debug, Parser)]
#[command(name = "bilevel", version, about, max_term_width = 110, disable_help_subcommand = true)]
pub struct Arguments {
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Tune the penalties of a linear model and fit it on all rows.
    Tune(Box<TuneArgs>),
    /// Predict the target of each row with a model that was tuned before.
    Predict(PredictArgs),
    /// Learn a weight for each training row from rows that are known to be right: which labels are wrong?
    Clean(Box<CleanArgs>),
    /// Report how well a model predicts the target of a file.
    Evaluate(EvaluateArgs),
    /// Compute the gradient of the validation loss in the log-penalties, with an error bar.
    Hypergradient(Box<HypergradientArgs>),
    /// Print what a data file holds: rows, columns, kinds, missing values, target; with --at the constants of its problem.
    Inspect(Box<InspectArgs>),
    /// Write a data file in random order into one that is used from where it lies, also when it is larger than memory.
    Convert(Box<ConvertArgs>),
    /// Test the problem of a data file: derivatives, samples, and the hypergradient against finite differences.
    Check(Box<CheckArgs>),
    /// Measure the error of one hypergradient against samples, epochs and seconds.
    Study(Box<StudyArgs>),
    /// Race the stochastic bilevel algorithms of the literature from one start on one budget.
    Race(Box<RaceArgs>),
    /// Repeat the experiments of a paper and say what agrees with it.
    Reproduce(ReproduceArgs),
}

const TUNE_EXAMPLES: &str = "\
Examples:
  bilevel tune adult.csv.gz --target income
  bilevel tune train.svm.bz2 --validation valid.svm.bz2 --test test.svm.bz2 --penalties per-feature
  bilevel tune houses.csv --target 9 --folds 10 --model huber --out houses

  Odd against even digits from the MNIST files (any label may be gathered under a new name):
  bilevel tune train-images-idx3-ubyte.gz --labels train-labels-idx1-ubyte.gz \\
      --test t10k-images-idx3-ubyte.gz --test-labels t10k-labels-idx1-ubyte.gz \\
      --classes odd=1,3,5,7,9 --classes even=0,2,4,6,8

Files may be svmlight, CSV or TSV, NumPy .npy or .npz, or IDX; plain or compressed (gz, bz2, xz, zst).
Exit codes: 0 done, 1 the computation failed, 2 bad input (nothing is written), 130 interrupted (the best so far is
written).";

#[derive(Debug, Clone, Args)]
#[command(after_help = TUNE_EXAMPLES)]
pub struct TuneArgs {
    #[command(flatten)]
    pub problem: ProblemArgs,

    /// Judge the penalties by cross-validation with K folds.
    #[arg(long, value_name = "K", value_parser = clap::value_parser!(u32).range(2..=1000))]
    #[arg(conflicts_with = "validation", help_heading = "Judging")]
    pub folds: Option<u32>,
    /// Rows that are only looked at to report on: a file, or a fraction of the training rows.
    #[arg(long, value_name = "FILE|FRACTION", help_heading = "Judging")]
    pub test: Option<String>,
    /// Labels of the test file, where they are in a file of their own.
    #[arg(long, value_name = "FILE", requires = "test", help_heading = "Judging")]
    pub test_labels: Option<PathBuf>,

    /// How hypergradients are computed.
    #[arg(long, value_parser = names::parser::<Method>(METHODS), default_value = "auto", help_heading = "Tuning")]
    pub method: Method,
    /// Smallest penalty [default: 8e-7 times the mean variance of the features].
    #[arg(long, value_name = "X", value_parser = positive, help_heading = "Tuning")]
    pub lambda_min: Option<f64>,
    /// Largest penalty [default: 3000 times the mean variance of the features].
    #[arg(long, value_name = "X", value_parser = positive, help_heading = "Tuning")]
    pub lambda_max: Option<f64>,
    /// Stop after this time with the best so far: `30s`, `5m`, `2h`, or seconds.
    #[arg(long, value_name = "TIME", value_parser = duration, help_heading = "Tuning")]
    pub max_time: Option<Duration>,
    /// Stop each candidate after this many steps of the penalties.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..), help_heading = "Tuning")]
    pub max_iterations: Option<u32>,
    /// Stop when the projected gradient is below this fraction of the loss.
    #[arg(long, value_name = "X", value_parser = positive, help_heading = "Tuning")]
    pub tolerance: Option<f64>,

    /// Folder for the model, the report, the summary and the trace.
    #[arg(long, value_name = "DIR", default_value = "bilevel-out", help_heading = "Output")]
    pub out: PathBuf,
    /// Print nothing but errors.
    #[arg(long, short, help_heading = "Output")]
    pub quiet: bool,
}

/// A bilevel problem made of data: what is fitted, what judges, and the hyperparameters between them.
#[derive(Debug, Clone, Args)]
pub struct ProblemArgs {
    /// Training rows.
    pub train: PathBuf,

    #[command(flatten, next_help_heading = "Data")]
    pub data: DataArgs,
    /// Impute missing values (mean, or a category of its own) instead of refusing them.
    #[arg(long, value_enum, value_name = "HOW", default_value_t, help_heading = "Data")]
    pub missing: Missing,
    /// How features are stored: auto is dense when at least 15 % of the entries are nonzero.
    #[arg(long, value_enum, value_name = "HOW", default_value_t, help_heading = "Data")]
    pub storage: Storage,
    /// Number format of the features.
    #[arg(long, value_enum, default_value_t, help_heading = "Data")]
    pub dtype: Dtype,
    /// Scale each row to unit length.
    #[arg(long, help_heading = "Data")]
    pub normalize_rows: bool,
    /// Keep the columns of dense data as they are (by default they are brought to mean 0 and variance 1 for the
    /// fit; the weights are given in the original units either way).
    #[arg(long, help_heading = "Data")]
    pub no_standardize: bool,
    /// Gather labels under a new name; may be repeated. `*` stands for all labels not named.
    #[arg(long, value_name = "NEW=A,B,..", help_heading = "Data")]
    pub classes: Vec<String>,
    /// The class whose probability is modelled, of two.
    #[arg(long, value_name = "LABEL", help_heading = "Data")]
    pub positive_class: Option<String>,

    /// Rows that judge the penalties: a file, or a fraction of the training rows to hold out.
    #[arg(long, value_name = "FILE|FRACTION", help_heading = "Judging")]
    pub validation: Option<String>,
    /// Labels of the validation file, where they are in a file of their own.
    #[arg(long, value_name = "FILE", requires = "validation", help_heading = "Judging")]
    pub validation_labels: Option<PathBuf>,

    /// The loss.
    #[arg(long, value_parser = names::parser::<LossChoice>(MODELS), default_value = "auto", help_heading = "Model")]
    pub model: LossChoice,
    /// How many penalties there are.
    #[arg(long, value_parser = names::parser::<Penalties>(PENALTIES), default_value = "auto", help_heading = "Model")]
    pub penalties: Penalties,
    /// Groups of features: lines `FEATURE GROUP`, the feature by name or number.
    #[arg(long, value_name = "FILE", help_heading = "Model")]
    pub groups: Option<PathBuf>,
    /// Fit without an intercept.
    #[arg(long, help_heading = "Model")]
    pub no_intercept: bool,

    /// How rows are drawn where samples are taken.
    #[arg(long, value_parser = names::parser::<Sampling>(SAMPLINGS), default_value = "blocks", help_heading = "Run")]
    pub sampling: Sampling,
    /// Seed of everything random.
    #[arg(long, value_name = "N", default_value_t = 0, help_heading = "Run")]
    pub seed: u64,
    /// Number of threads; all cores by default.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=4096), help_heading = "Run")]
    pub threads: Option<u32>,
}

/// How a data file is to be understood.
#[derive(Debug, Clone, Default, Args)]
pub struct DataArgs {
    /// Column to predict, by name or number; by default one named target, label, class or y, else the last.
    #[arg(long, value_name = "NAME|NUMBER")]
    pub target: Option<String>,
    /// Labels in a file of their own (IDX, .npy, or one a line).
    #[arg(long, value_name = "FILE")]
    pub labels: Option<PathBuf>,
    /// Whether the first line of a CSV file names the columns; found out by default.
    #[arg(long, value_enum, value_name = "WHETHER")]
    pub header: Option<YesNo>,
    /// Character between the fields of a CSV file; found out by default.
    #[arg(long, value_name = "CHAR", value_parser = delimiter)]
    pub delimiter: Option<u8>,
}

#[derive(Debug, Args)]
pub struct PredictArgs {
    /// The file `model` in the folder that `bilevel tune` wrote.
    pub model: PathBuf,
    /// Rows to predict; the target may be absent.
    pub data: PathBuf,
    /// Give the probability of each class instead of the class.
    #[arg(long)]
    pub proba: bool,
    /// Write to this file instead of the terminal.
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
    #[command(flatten)]
    pub how: DataArgs,
}

#[derive(Debug, Args)]
pub struct EvaluateArgs {
    /// The file `model` in the folder that `bilevel tune` wrote.
    pub model: PathBuf,
    /// Rows with their target.
    pub data: PathBuf,
    /// Print JSON, with the confusion matrix, calibration and residuals.
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    pub how: DataArgs,
}

const HYPERGRADIENT_EXAMPLES: &str = "\
Examples:
  bilevel hypergradient adult.csv.gz --target income --at 0.01 --penalties per-group
  bilevel hypergradient train.svm.bz2 --at 1e-3 --penalties per-feature --precision 0.001 --out hypergradient.csv

The cost follows from the precision and not from the number of rows. Exit codes: 0 done, 1 the precision was not reached
within --max-rows or the computation failed, 2 bad input, 130 interrupted.";

#[derive(Debug, Args)]
#[command(after_help = HYPERGRADIENT_EXAMPLES)]
pub struct HypergradientArgs {
    #[command(flatten)]
    pub problem: ProblemArgs,
    /// Penalties: a number for all, as many as there are with commas between them, or a model file.
    #[arg(long, value_name = "X|X,X,..|MODEL", help_heading = "Hypergradient")]
    pub at: String,
    /// Largest error, as a fraction of the norm of the hypergradient.
    #[arg(long, value_name = "X", value_parser = positive, default_value = "0.01", help_heading = "Hypergradient")]
    pub precision: f64,
    /// Largest error in the units of the hypergradient.
    #[arg(long, value_name = "X", value_parser = positive, conflicts_with = "precision")]
    #[arg(help_heading = "Hypergradient")]
    pub absolute: Option<f64>,
    /// Probability with which the error must be below that.
    #[arg(long, value_name = "P", value_parser = probability, default_value = "0.95", help_heading = "Hypergradient")]
    pub probability: f64,
    /// How it is computed; `auto` by the rows each is expected to visit.
    #[arg(long, value_parser = names::parser::<PreciseMethod>(PRECISE_METHODS), default_value = "auto")]
    #[arg(help_heading = "Hypergradient")]
    pub method: PreciseMethod,
    /// Give up after visiting this many rows.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..), help_heading = "Hypergradient")]
    pub max_rows: Option<u64>,
    /// Compare the checksums of a converted file first, which reads all of it (other commands always do).
    #[arg(long, help_heading = "Hypergradient")]
    pub verify: bool,
    /// Compute the exact hypergradient too, by passes over all rows.
    #[arg(long, help_heading = "Hypergradient")]
    pub exact: bool,
    /// Write all components to this CSV file.
    #[arg(long, value_name = "FILE", help_heading = "Output")]
    pub out: Option<PathBuf>,
    /// Print JSON.
    #[arg(long, help_heading = "Output")]
    pub json: bool,
    /// Show no progress.
    #[arg(long, short, help_heading = "Output")]
    pub quiet: bool,
}

#[derive(Debug, Args)]
pub struct InspectArgs {
    #[command(flatten)]
    pub problem: ProblemArgs,

    /// Print the constants of the bilevel problem at these penalties: a number, numbers with commas, or a model file.
    #[arg(long, value_name = "LAMBDA", help_heading = "Constants")]
    pub at: Option<String>,
    /// Rows of a minibatch, for the noise.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..), default_value_t = 64)]
    #[arg(requires = "at", help_heading = "Constants")]
    pub batch: u32,
    /// Step of the gradient map [default: the best one, 2/(L + mu)].
    #[arg(long, value_name = "X", value_parser = positive, requires = "at", help_heading = "Constants")]
    pub map_step: Option<f64>,
    /// Radius of the ball around the solution in which the formulas hold [default: the distance of zero].
    #[arg(long, value_name = "X", value_parser = positive, requires = "at", help_heading = "Constants")]
    pub radius: Option<f64>,
}

const CONVERT_EXAMPLES: &str = "\
Examples:
  bilevel convert clicks.csv.gz clicks.bilevel --target clicked
  bilevel convert later.csv.gz later.bilevel --like clicks.bilevel
  bilevel tune clicks.bilevel --test later.bilevel

The input may have any format that is read, and be larger than memory. The output appears when it is complete. Exit
codes: 0 done, 1 it cannot be written, 2 bad input, 130 interrupted (nothing is written).";

#[derive(Debug, Args)]
#[command(after_help = CONVERT_EXAMPLES)]
pub struct ConvertArgs {
    /// Rows in any format that is read.
    pub input: PathBuf,
    /// The file to write, by custom with the ending .bilevel.
    pub output: PathBuf,

    #[command(flatten, next_help_heading = "Data")]
    pub data: DataArgs,
    /// Impute missing values (mean, or a category of its own) instead of refusing them.
    #[arg(long, value_enum, value_name = "HOW", default_value_t, help_heading = "Data")]
    pub missing: Missing,
    /// How features are stored: auto is dense when at least 15 % of the entries are nonzero.
    #[arg(long, value_enum, value_name = "HOW", default_value_t, help_heading = "Data")]
    pub storage: Storage,
    /// Number format of the features.
    #[arg(long, value_enum, default_value_t, help_heading = "Data")]
    pub dtype: Dtype,
    /// Scale each row to unit length.
    #[arg(long, help_heading = "Data")]
    pub normalize_rows: bool,
    /// Keep the features as they are (by default they are brought to one scale as tune does it, over all rows).
    #[arg(long, help_heading = "Data")]
    pub no_standardize: bool,
    /// Do not shift features: they will be fitted without an intercept.
    #[arg(long, help_heading = "Data")]
    pub no_intercept: bool,
    /// Gather labels under a new name; may be repeated. `*` stands for all labels not named.
    #[arg(long, value_name = "NEW=A,B,..", help_heading = "Data")]
    pub classes: Vec<String>,
    /// The class whose probability is modelled, of two.
    #[arg(long, value_name = "LABEL", help_heading = "Data")]
    pub positive_class: Option<String>,
    /// The loss that is meant, where the target leaves a doubt.
    #[arg(long, value_parser = names::parser::<LossChoice>(MODELS), default_value = "auto", help_heading = "Data")]
    pub model: LossChoice,
    /// Groups of features: lines `FEATURE GROUP`, the feature by name or number.
    #[arg(long, value_name = "FILE", help_heading = "Data")]
    pub groups: Option<PathBuf>,
    /// Encode, label and standardize as it was done for this converted file: for rows that validate or test.
    #[arg(long, value_name = "FILE", help_heading = "Data")]
    #[arg(conflicts_with_all = ["missing", "storage", "dtype", "normalize_rows", "no_standardize", "no_intercept"])]
    #[arg(conflicts_with_all = ["classes", "positive_class", "groups"])]
    pub like: Option<PathBuf>,

    /// Seed of the order of the rows.
    #[arg(long, value_name = "N", default_value_t = 0, help_heading = "Run")]
    pub seed: u64,
    /// Number of threads; all cores by default.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=4096), help_heading = "Run")]
    pub threads: Option<u32>,
    /// Print nothing but errors.
    #[arg(long, short, help_heading = "Run")]
    pub quiet: bool,
}

#[derive(Debug, Args)]
pub struct CheckArgs {
    #[command(flatten)]
    pub problem: ProblemArgs,

    /// The penalties at which to test: a number, numbers with commas, or a model file.
    #[arg(long, value_name = "LAMBDA", default_value = "0.01", help_heading = "Checks")]
    pub at: String,
    /// Print JSON.
    #[arg(long, help_heading = "Checks")]
    pub json: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum YesNo {
    Yes,
    No,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum Missing {
    #[default]
    Error,
    Impute,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum Storage {
    #[default]
    Auto,
    Dense,
    Sparse,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum Dtype {
    #[default]
    F32,
    F64,
}

pub fn positive(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(x) if x > 0.0 && x.is_finite() => Ok(x),
        _ => Err("a positive number is needed".into()),
    }
}

/// A number of rows, or `all`.
pub fn batch(text: &str) -> Result<Batch, String> {
    match (text, text.parse::<usize>()) {
        ("all", _) => Ok(Batch::All),
        (_, Ok(rows)) if rows > 0 => Ok(Batch::Rows(rows)),
        _ => Err("a positive number of rows is needed, or all".into()),
    }
}

fn probability(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(x) if x > 0.0 && x < 1.0 => Ok(x),
        _ => Err("a number between 0 and 1 is needed".into()),
    }
}

/// One ASCII character, or `tab`.
fn delimiter(text: &str) -> Result<u8, String> {
    match text.as_bytes() {
        b"tab" | b"\\t" => Ok(b'\t'),
        [byte] if byte.is_ascii() && !byte.is_ascii_alphanumeric() && *byte != b'"' => Ok(*byte),
        _ => Err("one character is needed, such as ';' or tab".into()),
    }
}

/// `30s`, `5m`, `2h`, `1.5` (seconds).
pub fn duration(text: &str) -> Result<Duration, String> {
    let (number, unit) = match text.strip_suffix(['s', 'm', 'h']) {
        Some(number) => (number, &text[number.len()..]),
        None => (text, "s"),
    };
    let seconds = positive(number).map_err(|_| "a time is needed, such as 30s, 5m or 2h")?
        * match unit {
            "m" => 60.0,
            "h" => 3600.0,
            _ => 1.0,
        };
    Duration::try_from_secs_f64(seconds).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_definition_is_sound() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn times() {
        for (text, seconds) in [("30s", 30.0), ("5m", 300.0), ("2h", 7200.0), ("1.5", 1.5)] {
            assert_eq!(duration(text).unwrap().as_secs_f64(), seconds, "{text}");
        }
        for text in ["", "s", "-1", "nan", "inf", "5 m", "5d", "1e300"] {
            assert!(duration(text).is_err(), "{text}");
        }
    }
}
