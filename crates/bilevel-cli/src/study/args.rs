//! Options of `bilevel study`.

use std::path::PathBuf;

use bilevel::Result;
use bilevel::sample::Batch;
use bilevel::study::{Checkpoints, CurveKind, StudySettings};
use clap::Args;

use crate::args::{ProblemArgs, batch, positive};
use crate::names::{self, Names};

const EXAMPLES: &str = "\
Examples:
  bilevel study data/abalone_scale.bz2 --model squared --at 1
  bilevel study data/a9a.gz --at 0.1 --methods sid-constant,sid-decreasing --replicates 50 --out a9a-study
  bilevel study train.csv --at bilevel-out/model
  bilevel study bellman --methods sid-constant,aid-gmres,aid-normal,mixed-fp

`bellman` (rewards of a Markov chain from values) and `equilibrium` (an implicit layer) in the place of a file are simulated
problems whose map is the gradient step of no loss; --seed draws them.

Running again with the same settings continues from the rows in study.csv; methods, steps and replicates may be added.";

pub const METHODS: Names = &[
    ("sid-constant", "stochastic implicit differentiation, constant steps"),
    ("sid-decreasing", "stochastic implicit differentiation, decreasing steps"),
    ("sid-svrg", "stochastic implicit differentiation, noise reduced by a pass now and then"),
    ("sid-saga", "stochastic implicit differentiation, noise reduced by a memory of each row"),
    ("aid-fp", "fixed-point iteration over all rows"),
    ("aid-cg", "fixed-point iteration and conjugate gradients over all rows"),
    ("aid-normal", "the same with conjugate gradients on the normal equations"),
    ("aid-gmres", "the same with GMRES"),
    ("nystrom", "the same with a low-rank inverse from k random columns"),
    ("itd", "fixed-point iteration over all rows, differentiated backwards"),
    ("itd-truncated", "the same through the later half of the steps"),
    ("itd-forward", "the same forwards, for few penalties"),
    ("neumann", "sampled lower solve and a Neumann series of k terms on samples"),
    ("neumann-random", "the same with one random term of the series"),
    ("mixed-fp", "the same with a mixture of Neumann and unrolled sums (Mixed FP-KM)"),
    ("sid-averaged", "sid-constant whose solves return the mean of the later half of their iterates"),
    ("sid-multilevel", "sid-constant without bias, by a random number of levels above t steps"),
    ("pzobo", "differences of sampled lower solves along 10 random directions"),
];

#[derive(Debug, Clone, Args)]
#[command(after_help = EXAMPLES)]
pub struct StudyArgs {
    #[command(flatten)]
    pub problem: ProblemArgs,

    /// The penalty at which the hypergradient is looked at: a number for all, a list, or a model file.
    #[arg(long, value_name = "LAMBDA", help_heading = "Study")]
    pub at: Option<String>,
    /// What is compared [default: the first six; of a map that is no gradient step those that it can serve].
    #[arg(long, value_name = "LIST", value_delimiter = ',', help_heading = "Study")]
    #[arg(value_parser = names::parser::<CurveKind>(METHODS))]
    pub methods: Vec<CurveKind>,
    /// Constant steps [default: a half, a quarter and an eighth of the longest that no minibatch expands].
    #[arg(long, value_name = "LIST", value_delimiter = ',', value_parser = positive, help_heading = "Study")]
    pub eta: Vec<f64>,
    /// Independent repetitions of each sampled method.
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=1_000_000), help_heading = "Study")]
    pub replicates: u32,
    /// Rows drawn at each step, but at most a quarter of all.
    #[arg(long, value_name = "N", default_value_t = 32, value_parser = clap::value_parser!(u32).range(1..), help_heading = "Study")]
    pub batch: u32,
    /// Rows J of the cross derivative, or `all` [default: as many as at each step].
    #[arg(long, value_name = "N", value_parser = batch, help_heading = "Study")]
    pub cross_batch: Option<Batch>,
    /// Samples of the longest hypergradient, in passes over the rows.
    #[arg(long, value_name = "X", default_value_t = 50.0, value_parser = positive, help_heading = "Study")]
    pub max_epochs: f64,
    /// Numbers of steps t = k to look at, as a rising list, which some method must reach [default: four a decade].
    #[arg(long, value_name = "LIST", value_delimiter = ',', help_heading = "Study")]
    pub checkpoints: Vec<usize>,

    /// Folder for the rows, the figures and the page.
    #[arg(long, value_name = "DIR", default_value = "bilevel-study", help_heading = "Output")]
    pub out: PathBuf,
    /// Begin anew if the folder holds another study.
    #[arg(long, help_heading = "Output")]
    pub overwrite: bool,
    /// Print nothing but errors.
    #[arg(long, short, help_heading = "Output")]
    pub quiet: bool,
}

impl StudyArgs {
    /// The methods to compare, `usual` unless asked otherwise.
    pub fn kinds(&self, usual: &[CurveKind]) -> Vec<CurveKind> {
        let mut kinds = if self.methods.is_empty() { usual.to_vec() } else { self.methods.clone() };
        kinds.sort();
        kinds.dedup();
        kinds
    }

    /// What all curves have in common, on a problem of so many rows.
    pub fn settings(&self, rows: usize) -> Result<StudySettings> {
        let mut settings = StudySettings::new(rows, self.batch as usize);
        (settings.max_epochs, settings.seed) = (self.max_epochs, self.problem.seed);
        if let Some(rows) = self.cross_batch {
            settings.cross_batch = rows;
        }
        if !self.checkpoints.is_empty() {
            settings.checkpoints = Checkpoints::At(self.checkpoints.clone());
        }
        settings.validate().map(|()| settings)
    }
}
