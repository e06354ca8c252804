//! `bilevel check`: is the problem of a data file what it says it is?

use std::process::ExitCode;

use bilevel::Result;
use bilevel::data::Dataset;
use bilevel::diagnose::{Check, SolvedDifference, Taylor, Unbiased};
use bilevel::fixed_point::LowerSolver;
use bilevel::hypergradient::WarmStart;
use bilevel::lower::{Curved, GradientMap, StochasticLoss};
use bilevel::newton::Newton;
use bilevel::problems::glm::Loss;
use bilevel::sample::{Purpose, Rng, Sample};
use bilevel::tune::GlmProblem;
use clap::Args;
use serde::Serialize;

use crate::args::ProblemArgs;
use crate::at::{At, Opened};
use crate::mapped::Verify;
use crate::{at, numbers, output};

/// Rows of the sample on which derivatives are tested, beside all rows.
const SAMPLE_ROWS: usize = 16;

/// Most entries that are tested in double precision (1 GiB).
const WIDENED: usize = 1 << 27;

/// Checks that a Taylor test cannot decide where second derivatives jump between the two ends of its steps.
const SECOND_DERIVATIVES: [&str; 2] = ["hessian_product", "vjp_w"];

fn second_derivative_jumps(loss: Loss) -> bool {
    matches!(loss, Loss::Huber { .. } | Loss::SquaredHinge)
}

/// One line of the machine-readable output.
#[derive(Serialize)]
struct Line<'a> {
    name: String,
    passed: bool,
    measure: Option<f64>,
    message: &'a str,
}

#[derive(Serialize)]
struct Report<'a> {
    passed: bool,
    checks: Vec<Line<'a>>,
    notes: &'a [String],
}

#[derive(Debug, Args)]
pub struct CheckArgs {
    #[command(flatten)]
    pub problem: ProblemArgs,

    /// The penalties at which to test: a number, numbers with commas, or a model file.
    #[arg(long, value_name = "LAMBDA", default_value = "0.01", help_heading = "Checks")]
    pub at: String,
    /// Print JSON.
    #[arg(long, help_heading = "Checks")]
    pub json: bool,
}

pub fn run(args: &CheckArgs) -> Result<ExitCode> {
    // Formulas are tested, and not what products with samples lose in single precision.
    let widened = |data: Dataset| match data.design.stored() {
        ..=WIDENED => Dataset { design: data.design.widened(), ..data },
        _ => data,
    };
    let at = At::parse(&args.at)?;
    let Opened { problem, notes, .. } = at::open_as(&args.problem, Some(&at), Verify::All, |_| {}, widened)?;
    let lambda = at.log_penalties(problem.hyperparameters())?;
    let checks = checks(&problem, &lambda, args.problem.seed)?;
    let failed = checks.iter().filter(|(_, check)| !check.passed).count();
    if args.json {
        let checks = checks.iter().map(|(place, check)| line(place, check)).collect();
        let report = Report { passed: failed == 0, checks, notes: &notes };
        output::print(&(serde_json::to_string_pretty(&report).expect("plain data can be written as JSON") + "\n"))?;
    } else {
        let mut text: String = checks.iter().map(|(place, check)| format!("{place}: {check}\n")).collect();
        if second_derivative_jumps(problem.loss()) {
            text += &format!(
                "\nThe second derivative of the {} loss jumps: only the whole problem tests it, to within 1 %.\n",
                problem.loss().name()
            );
        }
        text += &match failed {
            0 => format!("\nAll {} checks passed.\n", checks.len()),
            _ => format!("\n{} of {} failed.\n", numbers::counted(failed, "check", "checks"), checks.len()),
        };
        output::print(&(text + &Opened::notes_text(&notes)))?;
    }
    Ok(if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn line<'a>(place: &str, check: &'a Check) -> Line<'a> {
    let measure = check.measure.filter(|x| x.is_finite());
    Line { name: format!("{place}: {}", check.name), passed: check.passed, measure, message: &check.message }
}

/// All checks with the place each is about.
fn checks(problem: &GlmProblem, lambda: &[f64], seed: u64) -> Result<Vec<(&'static str, Check)>> {
    let (lower, upper) = (problem.lower(), problem.upper());
    let mut rng = Rng::stream(seed, Purpose::Start, 30);
    let mut solution = lower.risk().null_parameters();
    Newton::default().solve(&lower, lambda, &mut solution)?.usable("lower level")?;
    // Beside the solution, where no derivative vanishes by accident; in units in which the loss bends alike, whatever those of the
    // features.
    let mut bends = vec![0.0; solution.len()];
    lower.curvature(&solution, lambda).diagonal(&mut bends);
    let size = 0.1 / (solution.len() as f64).sqrt();
    let w: Vec<f64> = solution.iter().zip(&bends).map(|(w, d)| w + size * rng.normal() / (1.0 + d).sqrt()).collect();
    let mut sample = Sample::Full;
    lower.draw(SAMPLE_ROWS, &mut rng, &mut sample);
    let map = GradientMap { loss: &lower, map_step: 1.0 };

    let taylor = Taylor { seed, ..Taylor::default() };
    // Larger matrices stay in single precision.
    let sampled = Taylor { precision: lower.risk().sample_precision(), ..taylor };
    let unbiased = Unbiased { seed, ..Unbiased::default() };
    let jumps = second_derivative_jumps(problem.loss());
    let mut found = Vec::new();
    let mut add = |place: &'static str, checks: Vec<Check>| {
        let by_taylor = !place.starts_with("samples");
        let tested = |check: &Check| !(jumps && by_taylor && SECOND_DERIVATIVES.contains(&check.name.as_str()));
        found.extend(checks.into_iter().filter(tested).map(|check| (place, check)));
    };
    add("lower level, all rows", taylor.loss(&lower, &w, lambda, &Sample::Full));
    add("lower level, a sample", sampled.loss(&lower, &w, lambda, &sample));
    add("lower level, curvature", taylor.curvature(&lower, &w, lambda));
    add("map, all rows", taylor.map(&map, &w, lambda, &Sample::Full));
    add("map, a sample", sampled.map(&map, &w, lambda, &sample));
    add("upper level", taylor.upper(&upper, &w, lambda, &Sample::Full));
    add("samples of the map", unbiased.map(&map, &w, lambda));
    add("samples of the upper level", unbiased.upper(&upper, &w, lambda));
    let smooth = SolvedDifference { taylor, ..SolvedDifference::default() };
    let difference = if jumps { SolvedDifference { tolerance: 1e-2, ..smooth } } else { smooth };
    let start = WarmStart { w: solution, ..WarmStart::zeros(lower.dims()) };
    add("whole problem", difference.loss_from(start, &lower, &upper, lambda, &Newton::default())?);
    Ok(found)
}
