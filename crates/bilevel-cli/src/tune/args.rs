//! The arguments of `bilevel tune`.

use std::path::{Path, PathBuf};
use std::time::Duration;

use bilevel::data::{Relabel, TargetKind};
use bilevel::tune::{Criterion, Limits, Method, TuneOptions};
use bilevel::{Error, Result};
use clap::Args;

use crate::args::{ProblemArgs, duration, positive, rows_file};
use crate::names::{self, METHODS};
use crate::plan::{Part, problem_options};

const EXAMPLES: &str = "\
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
#[command(after_help = EXAMPLES)]
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
    #[arg(long, value_name = "FILE", value_parser = rows_file(), requires = "test", help_heading = "Judging")]
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
    /// Stop after this time with the best so far: `30s`, `5m`, `2h`, or seconds; not counting the time to read the file.
    #[arg(long, value_name = "TIME", value_parser = duration, help_heading = "Tuning")]
    pub max_time: Option<Duration>,
    /// Stop each candidate after this many steps of the penalties [default: 200].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..), help_heading = "Tuning")]
    pub max_iterations: Option<u32>,
    /// Stop when the projected gradient is below this fraction of the loss [default: 1e-5].
    #[arg(long, value_name = "X", value_parser = positive, help_heading = "Tuning")]
    pub tolerance: Option<f64>,

    /// Folder for the model, the report, the summary and the trace.
    #[arg(long, value_name = "DIR", default_value = "bilevel-out", help_heading = "Output")]
    pub out: PathBuf,
    /// Print nothing but errors.
    #[arg(long, short, help_heading = "Output")]
    pub quiet: bool,
}

impl TuneArgs {
    /// What can be refused before any file is read.
    pub fn check(&self) -> Result<()> {
        if let (Some(min), Some(max)) = (self.lambda_min, self.lambda_max)
            && min >= max
        {
            return Err(Error::input(format!("the smallest penalty {min} is not below the largest {max}"))
                .remedy("give a smaller --lambda-min or a larger --lambda-max"));
        }
        Relabel::parse(&self.problem.encoding.classes).map(|_| ())
    }

    /// The files that are read, among names that may be none.
    pub fn inputs(&self) -> impl Iterator<Item = &Path> {
        self.problem.inputs().chain(self.test.iter().map(Path::new)).chain(self.test_labels.as_deref())
    }

    /// What the library is told. `kind` is the target that was found.
    pub fn options(&self, validation: Option<&Part>, kind: TargetKind) -> TuneOptions {
        let asked = problem_options(&self.problem, validation, kind);
        let defaults = TuneOptions::default();
        TuneOptions {
            criterion: self.folds.map_or(asked.criterion, |folds| Criterion::Folds(folds as usize)),
            method: self.method,
            lambda_min: self.lambda_min.map(f64::ln),
            lambda_max: self.lambda_max.map(f64::ln),
            limits: Limits {
                time: self.max_time,
                iterations: self.max_iterations.map_or(defaults.limits.iterations, |n| n as usize),
                tolerance: self.tolerance.unwrap_or(defaults.limits.tolerance),
            },
            ..asked
        }
    }
}
