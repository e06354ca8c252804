//! The arguments of `bilevel clean`.

use std::path::{Path, PathBuf};
use std::time::Duration;

use bilevel::clean::Start;
use bilevel::tune::{LossChoice, Method, Penalties};
use clap::Args;

use crate::args::{DataArgs, EncodingArgs, ProblemArgs, duration, positive, rows_file, seed, threads};
use crate::names::{self, CLEAN_METHODS, CLEAN_STARTS, MODELS};

const EXAMPLES: &str = "\
Examples:
  bilevel clean scraped.csv --trusted checked.csv --target label
  bilevel clean train.svm.bz2 --trusted checked.svm --test test.svm.bz2 --out cleaned
  bilevel predict cleaned/model new.svm

The trusted rows have the columns of the training rows and labels that are known to be right; a few hundred help.
Exit codes: 0 done, 1 the computation failed, 2 bad input (nothing is written), 130 interrupted (the best so far is
written).";

#[derive(Debug, Clone, Args)]
#[command(after_help = EXAMPLES)]
pub struct CleanArgs {
    /// Training rows, some of which may have wrong labels.
    #[arg(value_parser = rows_file())]
    pub train: PathBuf,

    /// Rows whose labels are known to be right.
    #[arg(long, value_name = "FILE", value_parser = rows_file(), help_heading = "Judging")]
    pub trusted: PathBuf,
    /// Labels of the trusted rows, where they are in a file of their own.
    #[arg(long, value_name = "FILE", value_parser = rows_file(), help_heading = "Judging")]
    pub trusted_labels: Option<PathBuf>,
    /// Share of the trusted rows kept as monitor rows, which do not steer and say when to stop; 0 lets all of them steer.
    #[arg(long, value_name = "FRACTION", value_parser = share, default_value_t = 0.2, help_heading = "Judging")]
    pub monitor: f64,
    /// Rows that are only looked at to report on the models.
    #[arg(long, value_name = "FILE", value_parser = rows_file(), help_heading = "Judging")]
    pub test: Option<PathBuf>,
    /// Labels of the test rows, where they are in a file of their own.
    #[arg(long, value_name = "FILE", value_parser = rows_file(), requires = "test", help_heading = "Judging")]
    pub test_labels: Option<PathBuf>,

    #[command(flatten, next_help_heading = "Data")]
    pub data: DataArgs,
    #[command(flatten, next_help_heading = "Data")]
    pub encoding: EncodingArgs,

    /// The loss.
    #[arg(long, value_parser = names::parser::<LossChoice>(MODELS), default_value = "auto", help_heading = "Model")]
    pub model: LossChoice,
    /// Strength X of the penalty 1/2 X |W|^2 [default: tuned on the trusted rows]
    #[arg(long, value_name = "X", value_parser = positive, help_heading = "Model")]
    pub penalty: Option<f64>,
    /// Fit without an intercept.
    #[arg(long, help_heading = "Model")]
    pub no_intercept: bool,

    /// How hypergradients are computed.
    #[arg(long, value_parser = names::parser::<Method>(CLEAN_METHODS), default_value = "auto", help_heading = "Run")]
    pub method: Method,
    /// Where the weights begin.
    #[arg(long, value_parser = names::parser::<Start>(CLEAN_STARTS), default_value = "trusted", help_heading = "Run")]
    pub start: Start,
    /// Stop after this time with the best so far: `30s`, `5m`, `2h`, or seconds.
    #[arg(long, value_name = "TIME", value_parser = duration, help_heading = "Run")]
    pub max_time: Option<Duration>,
    /// Stop after this many steps of the weights [default: 3, or 30 from the uniform start]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..), help_heading = "Run")]
    pub max_iterations: Option<u32>,
    /// Seed of everything random.
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = seed, help_heading = "Run")]
    pub seed: u64,
    /// Number of threads, at most 512; all cores by default.
    #[arg(long, value_name = "N", value_parser = threads(), help_heading = "Run")]
    pub threads: Option<u32>,

    /// Folder for the weights, the model, the report and the summary.
    #[arg(long, value_name = "DIR", default_value = "bilevel-clean", help_heading = "Output")]
    pub out: PathBuf,
    /// Print nothing but errors.
    #[arg(long, short, help_heading = "Output")]
    pub quiet: bool,
}

impl CleanArgs {
    /// The part that says how files are to be read, as that of a problem whose trusted rows judge.
    pub fn problem(&self) -> ProblemArgs {
        ProblemArgs {
            train: self.train.clone(),
            data: self.data.clone(),
            encoding: self.encoding.clone(),
            validation: Some(self.trusted.to_string_lossy().into_owned()),
            validation_labels: self.trusted_labels.clone(),
            model: self.model,
            penalties: Penalties::Shared,
            groups: None,
            no_intercept: self.no_intercept,
            sampling: None,
            seed: self.seed,
            threads: self.threads,
        }
    }

    /// The files that are read.
    pub fn inputs(&self) -> impl Iterator<Item = &Path> {
        let labels = [&self.data.labels, &self.trusted_labels, &self.test_labels, &self.test].into_iter().flatten();
        [&self.train, &self.trusted].into_iter().chain(labels).map(PathBuf::as_path)
    }
}

fn share(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(x) if (0.0..1.0).contains(&x) => Ok(x),
        _ => Err("a number from 0 to below 1 is needed".into()),
    }
}
