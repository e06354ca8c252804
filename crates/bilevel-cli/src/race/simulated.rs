//! `bilevel race quadratic`: a simulated problem, whose difficulty is chosen.

use bilevel::problems::quadratic::{Quadratic, QuadraticOptions};
use bilevel::tune::Penalties;
use bilevel::{Error, Result};
use clap::Args;

use super::args::RaceArgs;
use crate::numbers;

/// The word that stands for a data file.
const NAME: &str = "quadratic";
/// Numbers the problem may hold (2 GiB).
const LARGEST: u64 = 1 << 28;
/// Rows of the lower level for each of the upper one.
const LOWER_PER_UPPER: u32 = 4;

#[derive(Debug, Clone, Args)]
pub struct SimulatedArgs {
    /// Rows of the lower level [default: 1000]; the upper one has a quarter as many.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub rows: Option<u32>,
    /// Length of w [default: 20].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub dim: Option<u32>,
    /// Length of lambda [default: 10].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub hyperparameters: Option<u32>,
    /// Condition number of the Hessian of the lower level [default: 10].
    #[arg(long, value_name = "X", value_parser = condition)]
    pub condition: Option<f64>,
}

fn condition(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(x) if x >= 1.0 && x.is_finite() => Ok(x),
        _ => Err("a number of at least 1 is needed".into()),
    }
}

/// Whether the race is on the simulated problem. A file of that name comes first.
pub fn is_asked_for(args: &RaceArgs) -> bool {
    args.problem.train.as_os_str() == NAME && !args.problem.train.exists()
}

/// Refuses options of the simulated problem for a file.
pub fn refuse_sizes(args: &SimulatedArgs) -> Result<()> {
    let given = [
        ("--rows", args.rows.is_some()),
        ("--dim", args.dim.is_some()),
        ("--hyperparameters", args.hyperparameters.is_some()),
        ("--condition", args.condition.is_some()),
    ];
    match given.iter().find(|(_, given)| *given) {
        Some((name, _)) => Err(Error::input(format!("{name} is an option of the simulated problem"))
            .remedy(format!("leave it out, or race on `{NAME}` in the place of a file"))),
        None => Ok(()),
    }
}

/// The simulated problem, and its description.
///
/// # Errors
/// Input, for options that only a file has, and sizes beyond memory.
pub fn quadratic(args: &RaceArgs) -> Result<(Quadratic, Vec<(String, String)>)> {
    let of_files = [
        ("--at", args.at.is_some()),
        ("--validation", args.problem.validation.is_some()),
        ("--penalties", args.problem.penalties != Penalties::Auto),
    ];
    if let Some((name, _)) = of_files.iter().find(|(_, given)| *given) {
        return Err(Error::input(format!("{name} is an option for data files, {NAME} is a simulated problem"))
            .remedy("leave it out; all start at lambda = 0"));
    }
    let SimulatedArgs { rows, dim, hyperparameters, condition } = args.simulated;
    let (rows, dim, hyperparameters) = (rows.unwrap_or(1000), dim.unwrap_or(20), hyperparameters.unwrap_or(10));
    let row = u64::from(dim).saturating_mul(u64::from(dim) + 1 + u64::from(hyperparameters));
    if row.saturating_mul(u64::from(rows)) > LARGEST {
        let gigabytes = f64::from(rows) * row as f64 * 8e-9;
        return Err(Error::input(format!("a simulated problem of these sizes would take {gigabytes:.1} GB"))
            .remedy("choose smaller --rows or --dim"));
    }
    let options = QuadraticOptions {
        rows: rows as usize,
        w: dim as usize,
        lambda: hyperparameters as usize,
        upper_rows: rows.div_ceil(LOWER_PER_UPPER) as usize,
        condition: condition.unwrap_or(10.0),
        seed: args.problem.seed,
        ..QuadraticOptions::default()
    };
    let text = format!(
        "quadratic, {}, {} weights, condition {}",
        numbers::counted(options.rows, "row", "rows"),
        numbers::count(options.w),
        numbers::short(options.condition)
    );
    Ok((Quadratic::random(&options), vec![("simulated problem".into(), text)]))
}
