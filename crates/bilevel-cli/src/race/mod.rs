//! `bilevel race`.

mod args;
mod figures;
mod file;
mod simulated;

use std::ops::ControlFlow;
use std::path::Path;
use std::process::ExitCode;

use bilevel::algorithms::Point;
use bilevel::domain::Domain;
use bilevel::lower::StochasticLoss;
use bilevel::problems::glm::{Glm, Penalty, Reweighting};
use bilevel::race::{Contest, Contested, Entry, Event, Grid, Judge, Race, StepChoice};
use bilevel::row_sums::RowSumObjective;
use bilevel::sample::{Batch, Sample};
use bilevel::stop::StopSignal;
use bilevel::tune::GlmProblem;
use bilevel::{Error, Result};
use serde_json::{Map, Value, json};

use crate::at::{At, Opened};
use crate::mapped::Verify;
use crate::progress::Progress;
use crate::report::charts::escape;
use crate::report::page;
use crate::table::description_text;
use crate::{at, interrupt, numbers, output, problem, settings};

pub use args::RaceArgs;
use args::StepRule;
use args::Unknowns;
use file::RaceFile;

/// The page that shows all.
const PAGE: &str = "race.html";
/// What is written.
const FILES: [&str; 5] = [file::RUNS, file::ROWS, PAGE, "race-seconds.svg", "race-samples.svg"];
/// The box of penalties.
const PENALTIES: [f64; 2] = [1e-8, 100.0];
/// The penalty beside weights of rows: 0.2 |w|^2.
const HELD: f64 = 0.4;
/// The box of the hyperparameters of rows; their sigmoid is 1 or 0 beyond it, to nine digits.
const WEIGHTS: f64 = 20.0;
/// The start of penalties.
const START: &str = "0.1";

pub fn run(args: &RaceArgs) -> Result<ExitCode> {
    let steps = args.steps()?;
    let inputs = args.problem.inputs().chain(args.at.as_deref().map(Path::new));
    output::check_folder(&args.out, &FILES, inputs)?;
    if let Some(kind) = simulated::asked_for(args) {
        problem::start_threads(&args.problem)?;
        let problem = simulated::problem(kind, args)?;
        let dims = problem.lower.dims();
        let (zero, lambda) = (vec![0.0; dims.w], vec![0.0; dims.lambda]);
        let start = Point::new(&zero, &zero, &lambda);
        let contest = contest(args, &*problem.lower, &*problem.upper, &problem.domain, start);
        return Prepared::new(args, contest, steps).run(problem.description, "λ = 0");
    }
    simulated::refuse_sizes(&args.simulated)?;
    let start = args.at.as_deref().unwrap_or(START);
    let at = At::parse(start)?;
    let mut progress = Progress::new(args.quiet, 1);
    let Opened { problem, description, .. } =
        at::open(&args.problem, Some(&at), Verify::All, |phase| progress.phase(phase))?;
    progress.finish();
    if args.unknowns == Unknowns::Cleaning {
        return clean(args, &problem, description, steps);
    }
    let mut lambda = at.log_penalties(problem.hyperparameters())?;
    let [low, high] = PENALTIES.map(f64::ln);
    let domain = Domain::uniform(lambda.len(), low, high)?;
    let mut start = format!("penalty {start}");
    if !domain.contains(&lambda) {
        domain.project(&mut lambda);
        let [low, high] = PENALTIES.map(numbers::short);
        start += &format!(", brought into the box from {low} to {high}");
    }
    let (lower, upper) = (problem.lower(), problem.upper());
    let w = lower.risk().null_parameters();
    let start_point = Point::new(&w, &vec![0.0; w.len()], &lambda);
    let contest = contest(args, &lower, &upper, &domain, start_point);
    Prepared::new(args, contest, steps).run(description, &start)
}

/// A race on the weights of the training rows.
fn clean(
    args: &RaceArgs,
    problem: &GlmProblem,
    description: Vec<(String, String)>,
    steps: StepChoice,
) -> Result<ExitCode> {
    let of_penalties =
        [("--at", args.at.is_some()), ("--penalties", args.problem.penalties != bilevel::tune::Penalties::Auto)];
    if let Some((name, _)) = of_penalties.iter().find(|(_, given)| *given) {
        return Err(Error::input(format!("{name} is about penalties, and --problem cleaning holds the penalty"))
            .remedy("leave it out; all rows start at the weight 1/2"));
    }
    let risk = problem.lower().risk().clone();
    let w = risk.null_parameters();
    let lower = Glm::new(risk, Penalty::Shared).holding(vec![HELD.ln()]).reweighted(Reweighting::Sigmoid);
    let m = lower.dims().lambda;
    let upper = problem.upper().clone().as_upper(m);
    let domain = Domain::uniform(m, -WEIGHTS, WEIGHTS)?;
    let start = Point::new(&w, &vec![0.0; w.len()], &vec![0.0; m]);
    let contest = contest(args, &lower, &upper, &domain, start);
    Prepared::new(args, contest, steps).run(description, "all weights 1/2")
}

fn contest<'a>(
    args: &RaceArgs,
    lower: &'a dyn Contested,
    upper: &'a dyn RowSumObjective,
    domain: &'a Domain,
    start: Point,
) -> Contest<'a> {
    // Where they are drawn with replacement, more rows than there are would take time and memory without end.
    let most = lower.size(&Sample::Full).max(upper.size(&Sample::Full));
    let batch = match args.batch {
        Batch::Rows(rows) => Batch::Rows(rows.min(most)),
        Batch::All => Batch::All,
    };
    Contest { lower, upper, domain, start, batch }
}

/// A race that is about to begin.
struct Prepared<'a> {
    args: &'a RaceArgs,
    contest: Contest<'a>,
    race: Race,
}

impl<'a> Prepared<'a> {
    fn new(args: &'a RaceArgs, contest: Contest<'a>, steps: StepChoice) -> Self {
        let race = args.race(contest.lower.size(&Sample::Full), steps);
        Prepared { args, contest, race }
    }

    fn run(&self, mut description: Vec<(String, String)>, start: &str) -> Result<ExitCode> {
        let args = self.args;
        description.push(("hyperparameters".into(), numbers::count(self.contest.start.lambda().len())));
        description.push(("start".into(), start.into()));
        if !args.quiet {
            output::print(&description_text(&description))?;
        }
        let (file, mut entries) = RaceFile::open(&args.out, self.identity()?, args.overwrite)?;
        let before = entries.len();
        let ended = interrupt::keeping(|| self.compete(&file, &mut entries));
        match &ended {
            Err(error) if !error.is_interrupted() || entries.is_empty() => {
                return ended.map(|()| ExitCode::FAILURE);
            }
            _ => {}
        }
        let train = &args.problem.train;
        let name = train.file_name().unwrap_or(train.as_os_str()).to_string_lossy();
        let title = format!("{name}: bilevel algorithms");
        let facts = [description, self.facts()].concat();
        let mut more = figures::files(&entries, &title);
        more.push((PAGE.into(), html(&title, &entries, &facts)));
        file.write(&entries, &more)?;
        if !args.quiet {
            let closing = closing(&args.out, entries.len(), before);
            output::print(&format!("\n{}\n{closing}", figures::text_table(&entries)))?;
        }
        Ok(if ended.is_err() { ExitCode::from(interrupt::EXIT_CODE) } else { ExitCode::SUCCESS })
    }

    /// Makes the runs that `entries` lacks, and writes `file` after each.
    fn compete(&self, file: &RaceFile, entries: &mut Vec<Entry>) -> Result<()> {
        let missing = self.race.missing(entries).len();
        if missing == 0 {
            return Ok(());
        }
        if !entries.is_empty() {
            interrupt::found();
        }
        let mut progress = Progress::new(self.args.quiet, missing);
        let mut written = Ok(());
        let mut watch = |event: &Event<'_>| {
            match event {
                Event::Begun { algorithm, number, of, .. } => {
                    progress.done(*number, &format!("{algorithm}, {} of {of} runs", number + 1));
                }
                Event::Ended { entries, .. } => {
                    interrupt::found();
                    written = file.write(entries, &[]);
                }
            }
            if written.is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        };
        let stop = StopSignal::new(None, Some(interrupt::flag()));
        let ended = self.race.run(&self.contest, entries, &stop, &mut watch);
        progress.finish();
        ended.and(written)
    }

    fn rows(&self) -> usize {
        self.contest.lower.size(&Sample::Full)
    }

    /// What makes two races the same.
    fn identity(&self) -> Result<Map<String, Value>> {
        // The exact value and gradient at the start depend on all of the data, the model and lambda.
        let stop = StopSignal::new(None, Some(interrupt::flag()));
        let judged = Judge::new(&self.contest).until(stop).judge(&self.contest.start)?;
        let numbers = [judged.value, judged.gradient_squared, judged.distance_squared];
        let budget = self.race.budget;
        let steps = match &self.race.steps {
            StepChoice::Given(steps) => Some(steps),
            StepChoice::Screened(_) => None,
        };
        let limit = |limit: f64| if limit.is_finite() { Some(limit) } else { None };
        let value = json!({
            "format": 1,
            "rows": self.rows(),
            "hyperparameters": self.contest.start.lambda().len(),
            "problem": settings::fingerprint(numbers.iter().chain(self.contest.start.lambda())),
            "batch": self.contest.batch,
            "seconds": limit(budget.seconds),
            "passes": self.args.passes,
            "iterations": self.args.iterations,
            "steps": steps,
            "seed": self.args.problem.seed,
        });
        match value {
            Value::Object(mut map) => {
                map.extend(settings::given(&self.args.problem, self.args.at.as_deref()));
                if self.args.step_rule == StepRule::Middle {
                    map.insert("step_rule".into(), "middle".into());
                }
                Ok(map)
            }
            other => unreachable!("an object was written, not {other}"),
        }
    }

    /// What the figures are about, in pairs of a name and a text.
    fn facts(&self) -> Vec<(String, String)> {
        let budget = self.race.budget;
        let mut limits = Vec::new();
        if budget.seconds.is_finite() {
            limits.push(numbers::seconds(budget.seconds));
        }
        limits.extend(self.args.passes.map(numbers::passes));
        limits.extend(self.args.iterations.map(|n| numbers::counted(n as usize, "iteration", "iterations")));
        let batch = match self.contest.batch {
            Batch::All => "all rows".into(),
            Batch::Rows(rows) => numbers::counted(rows, "row", "rows"),
        };
        let steps = match &self.race.steps {
            StepChoice::Given(steps) => format!("given: {}", <[f64; 3]>::from(*steps).map(numbers::short).join(", ")),
            StepChoice::Screened(Grid { lower, outer, part }) => {
                let list = |factors: &[f64]| factors.iter().map(|x| numbers::short(*x)).collect::<Vec<_>>().join(", ");
                format!(
                    "{} of the longest safe step of w and v; {} of the step that moves λ by 1; each pair on {} of the budget",
                    list(lower),
                    list(outer),
                    numbers::short(*part)
                )
            }
        };
        vec![("budget of a run".into(), limits.join(", or ")), ("samples".into(), batch), ("first steps".into(), steps)]
    }
}

fn html(title: &str, entries: &[Entry], facts: &[(String, String)]) -> String {
    let mut body = format!("<header>\n<h1>{}</h1>\n</header>\n<main>\n", escape(title));
    body += &format!("<div class=\"charts\">\n{}</div>\n", figures::figures(entries));
    body += &page::section("Runs, the lowest value first", &figures::table(entries));
    body += &page::section("Problem and settings", &page::facts(facts));
    body += &format!("</main>\n<footer>bilevel {}</footer>\n", env!("CARGO_PKG_VERSION"));
    page::page(title, &body)
}

fn closing(out: &Path, runs: usize, before: usize) -> String {
    format!(
        "{} ({} new)\nfiles: {}: race.html, race.csv, race.json, race-seconds.svg, race-samples.svg\n",
        numbers::counted(runs, "run", "runs"),
        numbers::count(runs - before),
        out.display(),
    )
}
