//! `bilevel inspect`.

mod constants;

use std::process::ExitCode;

use bilevel::Result;
use bilevel::data::{self, EncodeOptions, Missing, ReadOptions};
use clap::Args;

use crate::args::{ProblemArgs, positive};
use crate::input::read_options;
use crate::mapped::{self, Verify};
use crate::output;

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

pub fn run(args: &InspectArgs) -> Result<ExitCode> {
    if let Some(at) = &args.at {
        return constants::run(args, at);
    }
    let (file, how) = (&args.problem.train, &args.problem.data);
    if let Some(rows) = mapped::open(file, Verify::All)? {
        mapped::refuse_reading(file, how)?;
        output::print(&mapped::inspect(&rows))?;
        return Ok(ExitCode::SUCCESS);
    }
    // A file without a target can be looked at as well.
    let options = ReadOptions { target_required: how.target.is_some(), ..read_options(how) };
    let mut table = data::read(file, &options)?;
    table.take_likely_target();
    // Missing values are what one looks for here, not a reason to stop.
    let profile = data::profile(&table, &EncodeOptions { missing: Missing::Impute, ..EncodeOptions::default() })?;
    output::print(&profile.to_string())?;
    Ok(ExitCode::SUCCESS)
}
