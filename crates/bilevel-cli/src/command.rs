//! The commands by their names.

use std::ffi::OsString;

use bilevel::tune::Penalties;
use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};

use crate::check::CheckArgs;
use crate::clean::CleanArgs;
use crate::convert::ConvertArgs;
use crate::evaluate::EvaluateArgs;
use crate::hypergradient::HypergradientArgs;
use crate::inspect::InspectArgs;
use crate::names::{self, PENALTIES_AT};
use crate::predict::PredictArgs;
use crate::race::RaceArgs;
use crate::reproduce::ReproduceArgs;
use crate::study::StudyArgs;
use crate::tune::TuneArgs;

/// Tuned linear models from a data file: as many penalties as the data can tell apart, by bilevel optimisation.
#[derive(Debug, Parser)]
#[command(name = "bilevel", version, about, max_term_width = 110)]
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

impl Arguments {
    /// The definition of the command line.
    pub fn definition() -> clap::Command {
        // What is refused as the value of an option is refused for what the option says of it, and not as another option.
        let negative = |arg: clap::Arg| match arg.is_positional() || !arg.get_action().takes_values() {
            true => arg,
            false => arg.allow_negative_numbers(true),
        };
        // Nothing is tuned where the penalties are given.
        let penalties = |arg: clap::Arg| arg.value_parser(names::parser::<Penalties>(PENALTIES_AT));
        Arguments::command().mut_subcommands(|command| {
            let given = command.get_arguments().any(|arg| arg.get_id() == "at");
            let command = command.mut_args(negative);
            if given { command.mut_arg("penalties", penalties) } else { command }
        })
    }

    /// Understands a command line; the first word is the name of the program.
    pub fn of_line(words: impl IntoIterator<Item = impl Into<OsString> + Clone>) -> Result<Self, clap::Error> {
        Arguments::from_arg_matches(&Arguments::definition().try_get_matches_from(words)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_definition_is_sound() {
        Arguments::definition().debug_assert();
    }

    #[test]
    fn the_kind_of_penalty_is_tuned_by_tune_alone() {
        for mut command in Arguments::definition().get_subcommands().cloned() {
            let help = command.render_long_help().to_string();
            let tuned = help.contains("coarse to fine");
            assert_eq!(tuned, command.get_name() == "tune", "{}", command.get_name());
            assert_eq!(help.contains("of the model that --at names"), help.contains("--at "), "{}", command.get_name());
        }
    }
}
