//! `bilevel hypergradient`: the gradient of the validation loss in the log-penalties, with an error bar.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Instant;

use bilevel::data::mapped::MappedRows;
use bilevel::hypergradient::{PreciseHypergradient, Precision, Stage};
use bilevel::observer::Observer;
use bilevel::status::Status;
use bilevel::stop::StopSignal;
use bilevel::tune::{GlmProblem, HypergradientOptions, PreciseMethod};
use bilevel::{Error, Result, vector};
use clap::Args;
use serde::Serialize;

use crate::args::{ProblemArgs, positive, probability, written_file};
use crate::at::{self, At, Opened};
use crate::mapped::Verify;
use crate::names::{self, PRECISE_METHODS};
use crate::place::STANDARD_OUTPUT;
use crate::progress::Progress;
use crate::table::TextTable;
use crate::{csv, interrupt, numbers, output};

/// Components shown on the terminal.
const SHOWN: usize = 10;

/// What `--json` prints.
#[derive(Serialize)]
struct Output<'a> {
    names: &'a [String],
    log_penalties: &'a [f64],
    #[serde(flatten)]
    precise: Shown<'a>,
    relative_error: f64,
    seconds: f64,
    exact: Option<&'a [f64]>,
    notes: &'a [String],
}

/// The result without its replicates.
#[derive(Serialize)]
struct Shown<'a> {
    estimate: &'a bilevel::hypergradient::Hypergradient,
    bias: f64,
    error: f64,
    allowed: f64,
    replicates: usize,
    anchors: usize,
    settings: bilevel::hypergradient::Sid,
}

const EXAMPLES: &str = "\
Examples:
  bilevel hypergradient adult.csv.gz --target income --at 0.01 --penalties per-group
  bilevel hypergradient train.svm.bz2 --at 1e-3 --penalties per-feature --precision 0.001 --out hypergradient.csv

The cost follows from the precision and not from the number of rows. Exit codes: 0 done, 1 the precision was not reached
within --max-rows or the computation failed, 2 bad input, 130 interrupted.";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct HypergradientArgs {
    #[command(flatten)]
    pub problem: ProblemArgs,
    /// Penalties: a number for all, as many as there are with commas between them, or a model file.
    #[arg(long, value_name = "X|X,X,..|MODEL", help_heading = "Hypergradient")]
    pub at: String,
    /// Largest error, as a fraction of the norm of the hypergradient.
    #[arg(long, value_name = "X", value_parser = positive, default_value = "0.01", help_heading = "Hypergradient")]
    pub precision: f64,
    /// Largest error in the units of the hypergradient.
    #[arg(long, value_name = "X", value_parser = positive, conflicts_with = "precision")]
    #[arg(help_heading = "Hypergradient")]
    pub absolute: Option<f64>,
    /// Probability with which the error must be below that.
    #[arg(long, value_name = "P", value_parser = probability, default_value = "0.95", help_heading = "Hypergradient")]
    pub probability: f64,
    /// How it is computed; `auto` by the rows each is expected to visit.
    #[arg(long, value_parser = names::parser::<PreciseMethod>(PRECISE_METHODS), default_value = "auto")]
    #[arg(help_heading = "Hypergradient")]
    pub method: PreciseMethod,
    /// Never start a longer estimate that would visit more rows than this; the first one always runs.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..), help_heading = "Hypergradient")]
    pub max_rows: Option<u64>,
    /// Compare the checksums of a converted file first, which reads all of it (other commands always do).
    #[arg(long, help_heading = "Hypergradient")]
    pub verify: bool,
    /// Compute the exact hypergradient too, by passes over all rows.
    #[arg(long, help_heading = "Hypergradient")]
    pub exact: bool,
    /// Write all components to this CSV file, `-` to standard output in the place of what is printed there.
    #[arg(long, value_name = "FILE", value_parser = written_file(), help_heading = "Output")]
    pub out: Option<PathBuf>,
    /// Print JSON.
    #[arg(long, help_heading = "Output")]
    pub json: bool,
    /// Show no progress.
    #[arg(long, short, help_heading = "Output")]
    pub quiet: bool,
}

impl HypergradientArgs {
    /// Refuses what would change nothing.
    fn check(&self) -> Result<()> {
        if self.json && self.prints_components() {
            return Err(
                Error::input("--json and --out - both write to standard output").remedy("leave out one of them")
            );
        }
        if self.verify && !self.problem.inputs().any(MappedRows::recognises) {
            return Err(Error::input("--verify compares the checksums of a converted file, which this is not")
                .in_file(&self.problem.train)
                .remedy("leave it out"));
        }
        Ok(())
    }

    /// True where the components go to standard output.
    fn prints_components(&self) -> bool {
        self.out.as_deref() == Some(Path::new(STANDARD_OUTPUT))
    }
}

impl Observer<Stage> for Progress {
    fn observe(&mut self, stage: &Stage) -> ControlFlow<()> {
        interrupt::found();
        self.phase(&describe(stage));
        if interrupt::requested() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }

    fn stop_flag(&self) -> Option<Arc<AtomicBool>> {
        Some(interrupt::flag())
    }
}

pub fn run(args: &HypergradientArgs) -> Result<ExitCode> {
    args.check()?;
    if let Some(path) = &args.out {
        output::check_file(path, args.problem.inputs().chain([Path::new(&args.at)]))?;
    }
    let mut progress = Progress::new(args.quiet || args.json, 1);
    let verify = if args.verify { Verify::All } else { Verify::HeaderOnly };
    let at = At::parse(&args.at)?;
    let Opened { problem, notes, .. } = at::open(&args.problem, Some(&at), verify, |phase| progress.phase(phase))?;
    let lambda = at.log_penalties(problem.hyperparameters())?;
    let names = problem.hyperparameter_names();
    let mut precision = match args.absolute {
        Some(error) => Precision::absolute(error),
        None => Precision::relative(args.precision),
    }
    .with_probability(args.probability);
    if let Some(rows) = args.max_rows {
        precision = precision.with_max_rows(rows);
    }
    progress.phase("estimating the hypergradient");
    let clock = Instant::now();
    let options = HypergradientOptions { method: args.method, precision, seed: args.problem.seed };
    let precise = interrupt::keeping(|| problem.hypergradient(&lambda, &options, &mut progress));
    let seconds = clock.elapsed().as_secs_f64();
    progress.finish();
    let precise = precise?;
    let stop = StopSignal::new(None, Some(interrupt::flag()));
    let exact = match args.exact.then(|| problem.exact_hypergradient(&lambda, &stop)).transpose() {
        // The estimate is there all the same.
        Err(error) if error.is_interrupted() => None,
        exact => exact?,
    };
    let exact = exact.as_ref().map(|exact| &exact.value[..]);

    if let Some(path) = &args.out {
        output::write_file(path, table(&names, &lambda, &precise, exact).as_bytes())?;
    }
    if args.json {
        let PreciseHypergradient { estimate, bias, error, allowed, settings, replicates, anchors, .. } = &precise;
        let output = Output {
            names: &names,
            log_penalties: &lambda,
            precise: Shown {
                estimate,
                bias: *bias,
                error: *error,
                allowed: *allowed,
                replicates: replicates.len(),
                anchors: *anchors,
                settings: *settings,
            },
            relative_error: precise.relative_error(),
            seconds,
            exact,
            notes: &notes,
        };
        let text = serde_json::to_string_pretty(&output).expect("plain data can be written as JSON");
        output::print(&(text + "\n"))?;
    } else if args.prints_components() {
        eprint!("{}", Opened::notes_text(&notes));
    } else {
        let text = text(args, &problem, &names, &precise, exact, seconds);
        output::print(&(text + &Opened::notes_text(&notes)))?;
    }
    Ok(match precise.estimate.status {
        _ if interrupt::requested() => ExitCode::from(interrupt::EXIT_CODE),
        Status::Converged => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    })
}

fn describe(stage: &Stage) -> String {
    format!(
        "{} of {}: error {} of {} allowed, {}",
        numbers::counted(stage.replicates, "replicate", "replicates"),
        numbers::counted(stage.steps, "step", "steps"),
        numbers::short(stage.error),
        numbers::short(stage.allowed),
        numbers::counted(stage.rows as usize, "row", "rows"),
    )
}

fn text(
    args: &HypergradientArgs,
    problem: &GlmProblem,
    names: &[String],
    precise: &PreciseHypergradient,
    exact: Option<&[f64]>,
    seconds: f64,
) -> String {
    let PreciseHypergradient { estimate, settings, .. } = precise;
    let percent = |x: f64| format!("{} %", numbers::short(100.0 * x));
    let norm = vector::norm(&estimate.value);
    let mut facts = TextTable::default();
    facts.row(["validation loss", &numbers::loss(estimate.objective)]);
    facts.row(["norm of the hypergradient", &numbers::short(norm)]);
    // A part of nothing says nothing.
    let parts = args.absolute.is_none() && norm > 0.0 && norm.is_finite();
    let size = |x: f64| if parts { percent(x / norm) } else { numbers::short(x) };
    let reached = match estimate.status {
        Status::Converged => "",
        _ if args.absolute.is_none() && norm == 0.0 => ", which is no part of a norm of 0: ask for an --absolute error",
        _ => " (more than was allowed)",
    };
    let sure = percent(args.probability);
    facts.row([
        "error".into(),
        match precise.error.is_finite() {
            true => format!("below {} with probability {sure}{reached}", size(precise.error)),
            false => "not bounded: it was cut short long before it settled".into(),
        },
    ]);
    facts.row(["allowed".into(), size(precise.allowed)]);
    let bias = if precise.bias.is_finite() { size(precise.bias) } else { "unknown".into() };
    facts.row(["estimated bias".into(), bias]);
    if let Some(exact) = exact {
        let (distance, of) = (vector::distance(exact, &estimate.value), vector::norm(exact));
        let text = if parts && of > 0.0 { percent(distance / of) } else { numbers::short(distance) };
        facts.row(["distance from the exact one".into(), text]);
    }
    let passes = estimate.work.passes(problem.lower().risk().len());
    let rows = numbers::count(estimate.work.rows as usize);
    facts.row(["cost".into(), format!("{rows} rows ({}), {}", numbers::passes(passes), numbers::seconds(seconds))]);
    let (replicates, steps) = (precise.replicates.len(), numbers::count(settings.lower_steps));
    let anchors = match precise.anchors {
        0 => String::new(),
        rounds => format!(" from each of {}", numbers::counted(rounds, "anchor", "anchors")),
    };
    let rows = numbers::counted(settings.batch, "row", "rows");
    let by = format!("{replicates} replicates of t = k = {steps} steps of {rows}{anchors}");
    facts.row(["by".into(), by]);
    let mut order: Vec<usize> = (0..names.len()).collect();
    order.sort_by(|&a, &b| estimate.value[b].abs().total_cmp(&estimate.value[a].abs()));
    let mut components = TextTable::new(["log-penalty", "derivative", "standard error", "exact"]);
    for &j in order.iter().take(SHOWN) {
        let error = estimate.std_error.as_ref().map_or(f64::NAN, |errors| errors[j]);
        let exact = exact.map_or(String::new(), |exact| format!("{:.6e}", exact[j]));
        components.row([names[j].clone(), format!("{:.6e}", estimate.value[j]), numbers::short(error), exact]);
    }
    let more = match names.len() > SHOWN {
        true => format!("… {} more; --out FILE or --json gives all\n", numbers::count(names.len() - SHOWN)),
        false => String::new(),
    };
    format!("{}\n{}{more}", facts.render(), components.render())
}

fn table(names: &[String], lambda: &[f64], precise: &PreciseHypergradient, exact: Option<&[f64]>) -> String {
    let mut text = String::from("name,log_penalty,derivative,std_error");
    text += if exact.is_some() { ",exact\n" } else { "\n" };
    for (j, name) in names.iter().enumerate() {
        let error = precise.estimate.std_error.as_ref().map_or(f64::NAN, |errors| errors[j]);
        let mut row = vec![lambda[j], precise.estimate.value[j], error];
        row.extend(exact.map(|exact| exact[j]));
        let row: Vec<String> = row.into_iter().map(csv::number).collect();
        text += &format!("{},{}\n", csv::cell(name), row.join(","));
    }
    text
}
