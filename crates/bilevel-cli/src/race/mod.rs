//! `bilevel race`.

mod args;
mod figures;
mod file;
mod simulated;

use std::path::Path;
use std::process::ExitCode;
use std::time::Instant;

use bilevel::algorithms::{Algorithm, Point};
use bilevel::domain::Domain;
use bilevel::lower::StochasticLoss;
use bilevel::newton::Newton;
use bilevel::problems::glm::{Glm, Penalty, Reweighting};
use bilevel::race::{Budget, Contest, Contestant, End, Grid, Judge, compete, screen};
use bilevel::sample::{Batch, Sample};
use bilevel::stop::StopSignal;
use bilevel::tune::{GlmProblem, Observer};
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
use file::{Lane, RaceFile};

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
        let contest = Contest { lower: &*problem.lower, upper: &*problem.upper, domain: &problem.domain, start };
        return Race { args, contest, steps }.run(problem.description, "λ = 0");
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
    let contest = Contest { lower: &lower, upper: &upper, domain: &domain, start: start_point };
    Race { args, contest, steps }.run(description, &start)
}

/// A race on the weights of the training rows.
fn clean(
    args: &RaceArgs,
    problem: &GlmProblem,
    description: Vec<(String, String)>,
    steps: Option<[f64; 3]>,
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
    let contest = Contest { lower: &lower, upper: &upper, domain: &domain, start };
    Race { args, contest, steps }.run(description, "all weights 1/2")
}

/// A race that is about to begin.
struct Race<'a> {
    args: &'a RaceArgs,
    contest: Contest<'a>,
    /// The steps for all, where they are given.
    steps: Option<[f64; 3]>,
}

impl Race<'_> {
    fn run(&self, mut description: Vec<(String, String)>, start: &str) -> Result<ExitCode> {
        let args = self.args;
        description.push(("hyperparameters".into(), numbers::count(self.contest.start.lambda().len())));
        description.push(("start".into(), start.into()));
        if !args.quiet {
            output::print(&description_text(&description))?;
        }
        let mut file = RaceFile::open(&args.out, self.identity()?, args.overwrite)?;
        let before = file.lanes().len();
        let ended = interrupt::keeping(|| self.compete(&mut file));
        match &ended {
            Err(error) if !error.is_interrupted() || file.lanes().is_empty() => {
                return ended.map(|()| ExitCode::FAILURE);
            }
            _ => {}
        }
        let train = &args.problem.train;
        let name = train.file_name().unwrap_or(train.as_os_str()).to_string_lossy();
        let title = format!("{name}: bilevel algorithms");
        let facts = [description, self.facts()].concat();
        let mut more = figures::files(file.lanes(), &title);
        more.push((PAGE.into(), html(&title, file.lanes(), &facts)));
        file.write(&more)?;
        if !args.quiet {
            let closing = closing(&args.out, file.lanes().len(), before);
            output::print(&format!("\n{}\n{closing}", figures::text_table(file.lanes())))?;
        }
        Ok(if ended.is_err() { ExitCode::from(interrupt::EXIT_CODE) } else { ExitCode::SUCCESS })
    }

    /// Runs what is not in `file` yet, one after another, so that all have the machine alike.
    fn compete(&self, file: &mut RaceFile) -> Result<()> {
        let mut missing: Vec<(Algorithm, u64)> = Vec::new();
        for algorithm in self.args.contestants() {
            let seeds = self.args.seeds().filter(|&seed| file.find(algorithm, seed).is_none());
            missing.extend(seeds.map(|seed| (algorithm, seed)));
        }
        if missing.is_empty() {
            return Ok(());
        }
        if !file.lanes().is_empty() {
            interrupt::found();
        }
        let mut progress = Progress::new(self.args.quiet, missing.len());
        let ended = self.compete_all(&missing, file, &mut progress);
        progress.finish();
        ended
    }

    fn compete_all(&self, missing: &[(Algorithm, u64)], file: &mut RaceFile, progress: &mut Progress) -> Result<()> {
        let (batch, first) = (self.batch(), self.args.problem.seed);
        let stop = StopSignal::new(None, Some(interrupt::flag()));
        let budget = self.budget();
        let grid = self.args.grid();
        let pairs = match self.steps {
            Some(steps) => vec![steps],
            None if missing.iter().all(|(algorithm, _)| algorithm.finds_steps()) => Vec::new(),
            None => grid.steps(&self.contest, batch, Newton::default(), first, &stop)?,
        };
        for (done, &(algorithm, seed)) in missing.iter().enumerate() {
            progress.done(done, &format!("{algorithm}, {} of {} runs", done + 1, missing.len()));
            // All seeds of an algorithm take the steps that the first one chose.
            let chosen = file.lanes().iter().find(|lane| lane.entry.algorithm == algorithm);
            let clock = Instant::now();
            let (ranked, mut screening) = match (chosen, &pairs[..]) {
                (Some(lane), _) => (vec![lane.entry.steps], lane.screening_seconds),
                (None, _) if algorithm.finds_steps() => (vec![self.steps.unwrap_or([1.0; 3])], 0.0),
                (None, &[only]) => (vec![only], 0.0),
                (None, _) => {
                    let part = budget.part(grid.part);
                    let ranked =
                        screen(&self.contest, algorithm, (batch, first), &pairs, &part, &mut self.judge(), &stop)?;
                    (ranked, clock.elapsed().as_secs_f64())
                }
            };
            let race = |&steps: &[f64; 3]| {
                let contestant = Contestant { algorithm, steps, batch, seed };
                // A judge of its own, so that no figure depends on who ran before.
                compete(&self.contest, &contestant, &budget, &mut self.judge(), &stop)
            };
            let (first, others) = ranked.split_first().expect("there is a pair of steps");
            let mut entry = race(first)?;
            let mut others = others.iter();
            while entry.end != End::Finished
                && let Some(steps) = others.next()
            {
                screening = clock.elapsed().as_secs_f64();
                let next = race(steps)?;
                // Lower in any case where it has finished; else the least of what has risen.
                if next.value() < entry.value() {
                    entry = next;
                }
            }
            file.add(Lane::new(entry, screening));
            interrupt::found();
            file.write(&[])?;
        }
        Ok(())
    }

    fn judge(&self) -> Judge<'_> {
        let Contest { lower, upper, domain, ref start } = self.contest;
        let stop = StopSignal::new(None, Some(interrupt::flag()));
        Judge::new(lower, upper, domain, Newton::default(), start.w()).until(stop)
    }

    fn rows(&self) -> usize {
        self.contest.lower.size(&Sample::Full)
    }

    /// Rows of a sample. Where they are drawn with replacement, more than there are would take time and memory without end.
    fn batch(&self) -> Batch {
        let most = self.rows().max(self.contest.upper.size(&Sample::Full));
        match self.args.batch {
            Batch::Rows(rows) => Batch::Rows(rows.min(most)),
            Batch::All => Batch::All,
        }
    }

    fn budget(&self) -> Budget {
        self.args.budget(self.rows())
    }

    /// What makes two races the same.
    fn identity(&self) -> Result<Map<String, Value>> {
        // The exact value and gradient at the start depend on all of the data, the model and lambda.
        let judged = self.judge().judge(&self.contest.start)?;
        let numbers = [judged.value, judged.gradient_squared, judged.distance_squared];
        let budget = self.budget();
        let limit = |limit: f64| if limit.is_finite() { Some(limit) } else { None };
        let value = json!({
            "format": 1,
            "rows": self.rows(),
            "hyperparameters": self.contest.start.lambda().len(),
            "problem": settings::fingerprint(numbers.iter().chain(self.contest.start.lambda())),
            "batch": self.batch(),
            "seconds": limit(budget.seconds),
            "passes": self.args.passes,
            "iterations": self.args.iterations,
            "steps": self.steps,
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
        let budget = self.budget();
        let mut limits = Vec::new();
        if budget.seconds.is_finite() {
            limits.push(numbers::seconds(budget.seconds));
        }
        limits.extend(self.args.passes.map(numbers::passes));
        limits.extend(self.args.iterations.map(|n| numbers::counted(n as usize, "iteration", "iterations")));
        let batch = match self.batch() {
            Batch::All => "all rows".into(),
            Batch::Rows(rows) => numbers::counted(rows, "row", "rows"),
        };
        let steps = match self.steps {
            Some(steps) => format!("given: {}", steps.map(numbers::short).join(", ")),
            None => {
                let Grid { lower, outer, part } = self.args.grid();
                let list = |factors: &[f64]| factors.iter().map(|x| numbers::short(*x)).collect::<Vec<_>>().join(", ");
                format!(
                    "{} of the longest safe step of w and v; {} of the step that moves λ by 1; each pair on {} of the budget",
                    list(&lower),
                    list(&outer),
                    numbers::short(part)
                )
            }
        };
        vec![("budget of a run".into(), limits.join(", or ")), ("samples".into(), batch), ("first steps".into(), steps)]
    }
}

fn html(title: &str, lanes: &[Lane], facts: &[(String, String)]) -> String {
    let mut body = format!("<header>\n<h1>{}</h1>\n</header>\n<main>\n", escape(title));
    body += &format!("<div class=\"charts\">\n{}</div>\n", figures::figures(lanes));
    body += &page::section("Runs, the lowest value first", &figures::table(lanes));
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
