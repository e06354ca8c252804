//! `bilevel inspect`.

use std::process::ExitCode;

use bilevel::Result;
use bilevel::data::{self, EncodeOptions, Missing, ReadOptions};

use crate::args::InspectArgs;
use crate::constants;
use crate::input::read_options;
use crate::mapped::{self, Verify};
use crate::output;

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
    let options = read_options(how);
    let table = match data::read(file, &options) {
        Ok(table) => table,
        Err(error) if how.target.is_some() => return Err(error),
        // A file without a target can be looked at as well.
        Err(_) => data::read(file, &ReadOptions { target_required: false, ..options })?,
    };
    // Missing values are what one looks for here, not a reason to stop.
    let profile = data::profile(&table, &EncodeOptions { missing: Missing::Impute, ..EncodeOptions::default() })?;
    output::print(&profile.to_string())?;
    Ok(ExitCode::SUCCESS)
}
