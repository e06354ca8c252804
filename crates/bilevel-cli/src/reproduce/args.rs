//! Options of `bilevel reproduce`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use crate::args::{positive, threads};

/// Nobody waits for more.
const LARGEST_BUDGET: f64 = 1e4;

const EXAMPLES: &str = "\
Examples:
  bilevel reproduce aistats2021 --data data
  bilevel reproduce aistats2021 --data /somewhere/with/mnist/and/20news --out reproduction

DIR is looked through for mnist/ (the four IDX files) and 20news/ (20news-counts.train.svm.xz, .test.svm.xz); without
them, or with --quick, a small version is made of pendigits.gz and pendigits.t.gz.";

/// A paper whose experiments can be repeated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Paper {
    /// Grazzi, Pontil, Salzo: Convergence properties of stochastic hypergradients.
    Aistats2021,
}

#[derive(Debug, Clone, Args)]
#[command(after_help = EXAMPLES)]
pub struct ReproduceArgs {
    /// The paper.
    pub paper: Paper,
    /// Folder of the data.
    #[arg(long, value_name = "DIR")]
    pub data: PathBuf,
    /// Folder for figures, tables and the page.
    #[arg(long, value_name = "DIR", default_value = "bilevel-reproduction")]
    pub out: PathBuf,
    /// The small version, in seconds instead of minutes.
    #[arg(long)]
    pub quick: bool,
    /// Multiplies the number of replicates and the epochs of the descents.
    #[arg(long, value_name = "X", default_value_t = 1.0, value_parser = budget)]
    pub budget: f64,
    /// Begin anew if the folder holds another reproduction.
    #[arg(long)]
    pub overwrite: bool,
    /// Number of threads, at most 512; all cores by default.
    #[arg(long, value_name = "N", value_parser = threads())]
    pub threads: Option<u32>,
    /// Print nothing but errors.
    #[arg(long, short)]
    pub quiet: bool,
}

/// A multiple of the usual work.
fn budget(text: &str) -> Result<f64, String> {
    match positive(text)? {
        x if x <= LARGEST_BUDGET => Ok(x),
        _ => Err(format!("a number up to {LARGEST_BUDGET} is needed")),
    }
}
