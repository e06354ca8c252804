//! `bilevel inspect`.

mod constants;

use std::process::ExitCode;

use bilevel::data::{self, EncodeOptions, Missing, ReadOptions, Relabel};
use bilevel::{Error, Result};
use clap::Args;

use crate::args::{ProblemArgs, positive};
use crate::input::{encode_options, read_options};
use crate::mapped::{self, Verify};
use crate::output;

#[derive(Debug, Args)]
pub struct InspectArgs {
    #[command(flatten)]
    pub problem: ProblemArgs,

    /// Print the constants of the bilevel problem at these penalties: a number, numbers with commas, or a model file.
    #[arg(long, value_name = "LAMBDA", help_heading = "Constants")]
    pub at: Option<String>,
    /// Rows of a minibatch, for the noise; not more than there are.
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
        mapped::refuse_options(file, &args.problem)?;
        refuse_problem(&args.problem)?;
        output::print(&mapped::inspect(&rows))?;
        return Ok(ExitCode::SUCCESS);
    }
    refuse_problem(&args.problem)?;
    // A file without a target can be looked at as well.
    let precision = args.problem.encoding.dtype.into();
    let options = ReadOptions { target_required: how.target.is_some(), precision, ..read_options(how) };
    let mut table = data::read(file, &options)?;
    table.take_likely_target();
    let encoding = &args.problem.encoding;
    let relabel = Relabel::parse(&encoding.classes)?;
    table.labels = table.labels.map(|labels| relabel.checked(labels)).transpose().map_err(|e| e.in_file(file))?;
    // Missing values are what one looks for here, not a reason to stop.
    let profile = data::profile(&table, &EncodeOptions { missing: Missing::Impute, ..encode_options(encoding) })?;
    output::print(&profile.to_string())?;
    Ok(ExitCode::SUCCESS)
}

/// Refuses options that say nothing of the file alone.
fn refuse_problem(problem: &ProblemArgs) -> Result<()> {
    let of_file = ["--missing", "--storage", "--dtype", "--normalize-rows", "--classes"];
    let given = problem.given().skip(problem.data.given().count()).find(|name| !of_file.contains(name));
    match given {
        None => Ok(()),
        Some(option) => Err(Error::input(format!("{option} changes nothing of what is said of the file"))
            .remedy("leave it out, or ask for the constants of the problem with --at")),
    }
}
