//! `bilevel inspect`.

use std::process::ExitCode;

use bilevel::Result;
use bilevel::data::{self, EncodeOptions, Missing, ReadOptions};

use crate::args::InspectArgs;
use crate::input::read_options;
use crate::output;

pub fn run(args: &InspectArgs) -> Result<ExitCode> {
    let options = read_options(&args.how);
    let table = match data::read(&args.data, &options) {
        Ok(table) => table,
        Err(error) if args.how.target.is_some() => return Err(error),
        // A file without a target can be looked at as well.
        Err(_) => data::read(&args.data, &ReadOptions { target_required: false, ..options })?,
    };
    // Missing values are what one looks for here, not a reason to stop.
    let profile = data::profile(&table, &EncodeOptions { missing: Missing::Impute, ..EncodeOptions::default() })?;
    output::print(&profile.to_string())?;
    Ok(ExitCode::SUCCESS)
}
