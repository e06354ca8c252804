//! `bilevel study`.

mod args;
mod failures;
pub mod figures;
pub mod file;
mod question;
mod simulated;

use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use bilevel::sample::Batch;
use bilevel::stop::StopSignal;
use bilevel::study::{Curve, CurveKind, Job, Replicate, StepLimits, StudySettings, Subject, choose_curves, summarize};
use bilevel::{Error, Result};
use serde_json::{Map, Value, json};

use crate::at::{At, Opened};
use crate::mapped::Verify;
use crate::progress::Progress;
use crate::report::page;
use crate::settings::{fingerprint, given};
use crate::table::description_text;
use crate::{at, interrupt, numbers, output, problem};

#[cfg(test)]
pub use args::METHODS;
pub use args::StudyArgs;
pub use failures::Failures;
use file::StudyFile;
pub use question::Question;

/// The page that shows all.
const PAGE: &str = "study.html";
/// What is written.
const FILES: [&str; 6] =
    [file::ROWS, file::SETTINGS, PAGE, "study-epochs.svg", "study-samples.svg", "study-seconds.svg"];
/// Time between two writings of what is done.
const BETWEEN_WRITINGS: Duration = Duration::from_secs(5);

pub fn run(args: &StudyArgs) -> Result<ExitCode> {
    let inputs = args.problem.inputs().chain(args.at.as_deref().map(Path::new));
    output::check_folder(&args.out, &FILES, inputs)?;
    if let Some(kind) = simulated::asked_for(args) {
        problem::start_threads(&args.problem)?;
        return kind.study(args, |studied| measured(args, studied));
    }
    let text = simulated::place_in_file(args)?;
    let at = At::parse(text)?;
    let mut progress = Progress::new(args.quiet, 1);
    let Opened { problem, description, .. } =
        at::open(&args.problem, Some(&at), Verify::All, |phase| progress.phase(phase))?;
    if !args.quiet {
        progress.pause(|| output::print(&description_text(&description)))?;
    }
    let lambda = at.log_penalties(problem.hyperparameters())?;
    let settings = args.settings(problem.lower().risk().len())?;
    progress.phase("solving the lower level exactly");
    let question = Question::new(&problem, lambda)?;
    let limits = question.limits(settings.batch, settings.seed)?;
    progress.finish();
    let name = args.problem.train.file_name().unwrap_or(args.problem.train.as_os_str()).to_string_lossy();
    question.with_subject(|subject| {
        let identity = question.identity(&settings);
        let facts = [description.clone(), question.facts(&settings, text)].concat();
        let usual = &CurveKind::DEFAULT;
        measured(args, Studied { name: &name, subject, settings: &settings, usual, limits, identity, facts })
    })
}

/// What is studied, and what is known of it.
pub struct Studied<'a> {
    pub name: &'a str,
    pub subject: Subject<'a>,
    pub settings: &'a StudySettings,
    /// Methods where none are asked for.
    pub usual: &'a [CurveKind],
    pub limits: StepLimits,
    pub identity: Map<String, Value>,
    pub facts: Vec<(String, String)>,
}

fn measured(args: &StudyArgs, studied: Studied<'_>) -> Result<ExitCode> {
    let Studied { name, subject, settings, usual, limits, mut identity, mut facts } = studied;
    let curves = choose_curves(&args.kinds(usual), &args.eta, &limits)?;
    if !args.eta.is_empty() && curves.iter().all(|curve| curve.eta().is_none()) {
        let names = args.kinds(usual).iter().map(|kind| kind.name()).collect::<Vec<_>>().join(", ");
        return Err(Error::input(format!("--eta gives constant steps, and there are none in {names}"))
            .remedy("leave it out, or compare a method with constant steps, such as sid-constant"));
    }
    subject.check(&curves)?;
    settings.check_reached(&curves, subject.rows, subject.cross_rows())?;
    facts.extend(decreasing_steps(&curves));
    identity.extend(given(&args.problem, args.at.as_deref()));
    let mut file = StudyFile::open(&args.out, identity, args.overwrite)?;
    let before = file.replicates().len();
    let jobs = Job::all(&curves, u64::from(args.replicates));
    let mut failures = Failures::default();
    let ended = interrupt::keeping(|| {
        measure(&subject, settings, &jobs, (&mut file, &mut failures), args.quiet, |file| file.write(&[]))
    });
    if file.replicates().is_empty() && ended.is_ok() {
        return failures.none().map(|()| ExitCode::SUCCESS);
    }
    match &ended {
        Err(error) if !error.is_interrupted() || file.replicates().is_empty() => {
            if file.replicates().len() > before {
                file.write(&[])?;
            }
            return ended.map(|()| ExitCode::FAILURE);
        }
        _ => {}
    }
    facts.extend(failures.facts(&jobs));
    let summaries = summarize(file.replicates());
    let title = format!("{name}: error of one hypergradient");
    let mut more = figures::files(&summaries, "study", &title);
    more.push((PAGE.into(), html(&title, &summaries, &facts)));
    file.write(&more)?;
    if !args.quiet {
        output::print(&format!(
            "\n{}\n{}{}",
            figures::text_table(&summaries),
            failures.facts(&jobs).iter().map(|(name, text)| format!("{name}: {text}\n")).collect::<String>(),
            closing(&args.out, file.replicates(), before)
        ))?;
    }
    Ok(if ended.is_err() { ExitCode::from(interrupt::EXIT_CODE) } else { ExitCode::SUCCESS })
}

/// Does the jobs that are not in `file` yet, with a bar, and lets `write` keep what is done now and then.
pub fn measure(
    subject: &Subject<'_>,
    settings: &StudySettings,
    jobs: &[Job],
    (file, failures): (&mut StudyFile, &mut Failures),
    quiet: bool,
    write: impl Fn(&StudyFile) -> Result<()>,
) -> Result<()> {
    let mut missing = Vec::new();
    for &job in jobs {
        let checkpoints = subject.checkpoints(settings, &job.curve)?;
        if !file.holds(job.curve.kind(), job.curve.eta(), job.replicate, &checkpoints) {
            missing.push(job);
        }
    }
    let mut progress = Progress::new(quiet, missing.len());
    let stop = StopSignal::new(None, Some(interrupt::flag()));
    let (mut done, mut written) = (0, Instant::now());
    if !file.replicates().is_empty() {
        interrupt::found();
    }
    let threads = rayon::current_num_threads();
    let ended = bilevel::study::run(subject, settings, &missing, threads, &stop, |job, measurements| {
        let Job { curve, replicate } = *job;
        let measurements = match measurements {
            // Other curves have nothing to do with a step that is too long for this one.
            Err(error) if error.is_numeric() => {
                failures.add(job, error);
                return Ok(());
            }
            measurements => measurements?,
        };
        file.add(Replicate { kind: curve.kind(), eta: curve.eta(), replicate, measurements });
        interrupt::found();
        done += 1;
        progress.done(done, &format!("{done} of {} replicates ({})", missing.len(), curve.kind().name()));
        if written.elapsed() > BETWEEN_WRITINGS {
            write(file)?;
            written = Instant::now();
        }
        Ok(())
    });
    progress.finish();
    ended
}

/// What makes two runs the same study; `numbers` are all that the problem depends on.
pub fn identity(
    numbers: &[f64],
    rows: usize,
    hyperparameters: usize,
    map_step: Option<f64>,
    settings: &StudySettings,
) -> Map<String, Value> {
    let value = json!({
        "format": 1,
        "rows": rows,
        "hyperparameters": hyperparameters,
        "problem": fingerprint(numbers),
        "map_step": map_step,
        "batch": settings.batch,
        "cross_batch": settings.cross_batch,
        "max_epochs": settings.max_epochs,
        "checkpoints": settings.checkpoints,
        "seed": settings.seed,
    });
    match value {
        Value::Object(map) => map,
        other => unreachable!("an object was written, not {other}"),
    }
}

/// The facts about steps that shrink.
pub fn decreasing_steps(curves: &[Curve]) -> Option<(String, String)> {
    curves.iter().find_map(|curve| match curve {
        Curve::SidDecreasing { beta, gamma } => {
            let text = format!("{} / ({} + s)", numbers::short(*beta), numbers::short(*gamma));
            Some(("decreasing steps".into(), text))
        }
        _ => None,
    })
}

/// The facts about samples.
pub fn minibatches(settings: &StudySettings) -> (String, String) {
    let cross = match settings.cross_batch {
        Batch::All => "all rows".into(),
        Batch::Rows(rows) => numbers::counted(rows, "row", "rows"),
    };
    let text = format!("{} a step, cross derivative on {cross}", numbers::counted(settings.batch, "row", "rows"));
    ("minibatches".into(), text)
}

fn html(title: &str, summaries: &[bilevel::study::CurveSummary], facts: &[(String, String)]) -> String {
    let mut body = format!("<header>\n<h1>{}</h1>\n</header>\n<main>\n", crate::report::charts::escape(title));
    body += &format!("<div class=\"charts\">\n{}</div>\n", figures::figures(summaries));
    body += &page::section("Slopes and floors", &figures::table(summaries));
    body += &page::section("Problem and settings", &page::facts(facts));
    body += &format!("</main>\n<footer>bilevel {}</footer>\n", env!("CARGO_PKG_VERSION"));
    page::page(title, &body)
}

fn closing(out: &Path, replicates: &[Replicate], before: usize) -> String {
    format!(
        "{} ({} new)\nfiles: {}: study.html, study.csv, study.json, study-epochs.svg, study-samples.svg, study-seconds.svg\n",
        numbers::counted(replicates.len(), "replicate", "replicates"),
        numbers::count(replicates.len() - before),
        out.display(),
    )
}
