//! Options of `bilevel race`.

use std::path::PathBuf;

use bilevel::algorithms::{Algorithm, FirstSteps};
use bilevel::race::{Budget, Grid, Race, StepChoice};
use bilevel::sample::Batch;
use bilevel::{Error, Result};
use clap::{Args, ValueEnum};

use super::simulated::SimulatedArgs;
use crate::args::{ProblemArgs, batch, count, positive};
use crate::names::{self, ALGORITHMS};

const EXAMPLES: &str = "\
Examples:
  bilevel race data/german.numer.gz --seconds 1
  bilevel race train.svm.bz2 --validation valid.svm.bz2 --penalties per-feature --algorithms soba,saba,srba --seeds 3
  bilevel race quadratic --condition 100 --batch 16 --passes 200
  bilevel race corrupted.svm --validation trusted.svm --problem cleaning
  bilevel race meta-learning --tasks 100 --algorithms auto,saba,soba

DATA is a file, or the name of a simulated problem: `quadratic`, `meta-learning` (tasks that share a bias) or `poisoning`
(training rows that move within a box). Running again with the same settings keeps the runs in race.json;
algorithms and seeds may be added. Exit codes: 0 done, 1 the computation failed, 2 bad input, 130 interrupted (finished runs
are kept).";

/// Seconds of each run, where no budget is given.
const SECONDS: f64 = 5.0;

#[derive(Debug, Clone, Args)]
#[command(after_help = EXAMPLES)]
pub struct RaceArgs {
    #[command(flatten)]
    pub problem: ProblemArgs,

    /// What the hyperparameters of a data file are.
    #[arg(long = "problem", value_enum, value_name = "WHAT", default_value_t, help_heading = "Race")]
    pub unknowns: Unknowns,
    /// The penalty where all start: a number for all, a list, or a model file; brought into the
    /// box from 1e-8 to 100 [default: 0.1].
    #[arg(long, value_name = "LAMBDA", help_heading = "Race")]
    pub at: Option<String>,
    /// Who races [default: all].
    #[arg(long, value_name = "LIST", value_delimiter = ',', help_heading = "Race")]
    #[arg(value_parser = names::parser::<Algorithm>(ALGORITHMS))]
    pub algorithms: Vec<Algorithm>,
    /// Rows of each sample, but not more than the larger level has, or `all`.
    #[arg(long, value_name = "N", default_value = "64", value_parser = batch, help_heading = "Race")]
    pub batch: Batch,
    /// Stop each run after this time, exact values apart [default: 5, where no other limit is given].
    #[arg(long, value_name = "X", value_parser = positive, help_heading = "Race")]
    pub seconds: Option<f64>,
    /// Stop each run after so many passes over the training rows.
    #[arg(long, value_name = "X", value_parser = positive, help_heading = "Race")]
    pub passes: Option<f64>,
    /// Stop each run after so many iterations.
    #[arg(long, value_name = "N", value_parser = count, help_heading = "Race")]
    pub iterations: Option<u64>,
    /// Runs of each algorithm, with the seeds --seed, --seed + 1, ...
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1_000_000), help_heading = "Race")]
    pub seeds: u32,
    /// First steps of w, v and lambda for all [default: each algorithm chooses from a grid].
    #[arg(long, value_name = "LOWER,LINEAR,OUTER", value_delimiter = ',', value_parser = positive)]
    #[arg(help_heading = "Race")]
    pub steps: Vec<f64>,

    /// How the first steps are chosen, where --steps does not give them; auto finds its own.
    #[arg(long, value_enum, value_name = "HOW", default_value_t, help_heading = "Race")]
    pub step_rule: StepRule,

    #[command(flatten, next_help_heading = "Simulated problem")]
    pub simulated: SimulatedArgs,

    /// Folder for the runs, the figures and the page.
    #[arg(long, value_name = "DIR", default_value = "bilevel-race", help_heading = "Output")]
    pub out: PathBuf,
    /// Begin anew if the folder holds another race.
    #[arg(long, help_heading = "Output")]
    pub overwrite: bool,
    /// Print nothing but errors.
    #[arg(long, short, help_heading = "Output")]
    pub quiet: bool,
}

/// What is chosen by the upper level, on a data file.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub enum Unknowns {
    /// The logarithms of the penalties.
    #[default]
    Penalties,
    /// A weight for each training row, the sigmoid of its hyperparameter, beside the penalty 0.2 |w|^2; the validation
    /// rows are trusted.
    Cleaning,
}

/// How an algorithm comes by its first steps.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub enum StepRule {
    /// It tries a grid, each pair on a tenth of the budget.
    #[default]
    Grid,
    /// It takes the middle of the grid, without tuning.
    Middle,
}

impl RaceArgs {
    /// Who races on a problem of `rows` rows, and how far.
    pub fn race(&self, rows: usize, steps: StepChoice) -> Race {
        let chosen = |algorithm: &Algorithm| self.algorithms.is_empty() || self.algorithms.contains(algorithm);
        let first = self.problem.seed;
        Race {
            algorithms: Algorithm::ALL.into_iter().filter(chosen).collect(),
            seeds: (0..u64::from(self.seeds)).map(|number| first.wrapping_add(number)).collect(),
            budget: self.budget(rows),
            steps,
        }
    }

    /// What each run may spend on a problem of `rows` rows.
    fn budget(&self, rows: usize) -> Budget {
        let unlimited = self.passes.is_none() && self.iterations.is_none();
        let seconds = self.seconds.or(if unlimited { Some(SECONDS) } else { None });
        Budget {
            seconds: seconds.unwrap_or(f64::INFINITY),
            rows: self.passes.map_or(f64::INFINITY, |passes| passes * rows as f64),
            iterations: self.iterations.map_or(usize::MAX, |iterations| iterations as usize),
        }
    }

    /// How steps are chosen.
    ///
    /// # Errors
    /// Input, unless three are given or none.
    pub fn steps(&self) -> Result<StepChoice> {
        match self.steps[..] {
            [] => Ok(StepChoice::Screened(match self.step_rule {
                StepRule::Grid => Grid::default(),
                StepRule::Middle => Grid::middle(),
            })),
            [lower, linear, outer] => Ok(StepChoice::Given(FirstSteps { lower, linear, outer })),
            _ => Err(Error::input(format!("--steps gives {} numbers", self.steps.len()))
                .remedy("give three, the first steps of w, v and lambda, such as 0.1,0.1,0.01")),
        }
    }
}
