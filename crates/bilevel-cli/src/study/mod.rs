//! `bilevel study`.

mod args;
pub mod figures;
pub mod file;

use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use bilevel::Result;
use bilevel::lower::GradientMap;
use bilevel::problems::glm::Glm;
use bilevel::sample::Batch;
use bilevel::stop::StopSignal;
use bilevel::study::{Curve, Job, Reference, Replicate, StudySettings, Subject, choose_curves, summarize};
use bilevel::tune::{GlmProblem, Observer};
use serde_json::{Map, Value, json};

use crate::mapped::Verify;
use crate::progress::Progress;
use crate::report::page;
use crate::settings::fingerprint;
use crate::{at, interrupt, numbers, output, problem};

pub use args::StudyArgs;
use file::StudyFile;

/// Time between two writings of what is done.
const BETWEEN_WRITINGS: Duration = Duration::from_secs(5);

pub fn run(args: &StudyArgs) -> Result<ExitCode> {
    output::check_folder(&args.out)?;
    let mut progress = Progress::new(args.quiet, 1);
    let (problem, description) = at::open(&args.problem, Verify::All, |phase| progress.phase(phase))?;
    if !args.quiet {
        progress.pause(|| output::print(&problem::text(&description)))?;
    }
    let lambda = at::log_penalties(&args.at, problem.hyperparameters())?;
    let rows = problem.lower().risk().len();
    let batch = (args.batch as usize).min(rows.div_ceil(4));
    let settings = StudySettings {
        batch,
        cross_batch: args.cross_batch.unwrap_or(Batch::Rows(batch)),
        max_epochs: args.max_epochs,
        checkpoints: args.checkpoints(),
        seed: args.problem.seed,
    };
    settings.validate()?;
    progress.phase("solving the lower level exactly");
    let question = Question::new(&problem, lambda)?;
    let curves = choose_curves(
        &question.map(),
        &question.reference,
        &question.lambda,
        &args.kinds(),
        &args.eta,
        settings.batch,
        settings.seed,
    )?;
    let mut file = StudyFile::open(&args.out, question.identity(&settings), args.overwrite)?;
    let before = file.replicates().len();
    let jobs = Job::all(&curves, u64::from(args.replicates));
    progress.finish();
    let ended =
        interrupt::keeping(|| question.measure(&settings, &jobs, &mut file, args.quiet, |file| file.write(&[])));
    match &ended {
        Err(error) if !error.is_interrupted() || file.replicates().is_empty() => {
            if file.replicates().len() > before {
                file.write(&[])?;
            }
            return ended.map(|()| ExitCode::FAILURE);
        }
        _ => {}
    }
    let summaries = summarize(file.replicates());
    let name = args.problem.train.file_name().unwrap_or(args.problem.train.as_os_str()).to_string_lossy();
    let title = format!("{name}: error of one hypergradient");
    let facts = [description, question.facts(&settings, &curves, &args.at)].concat();
    let mut more = figures::files(&summaries, "study", &title);
    more.push(("study.html".into(), html(&title, &summaries, &facts)));
    file.write(&more)?;
    if !args.quiet {
        output::print(&format!(
            "\n{}\n{}",
            figures::text_table(&summaries),
            closing(&args.out, file.replicates(), before)
        ))?;
    }
    Ok(if ended.is_err() { ExitCode::from(interrupt::EXIT_CODE) } else { ExitCode::SUCCESS })
}

/// A hypergradient to be studied: a problem, where it is looked at, and the answer.
pub struct Question<'a> {
    pub problem: &'a GlmProblem,
    pub lambda: Vec<f64>,
    pub reference: Reference,
    lower: Glm<'a>,
}

impl<'a> Question<'a> {
    pub fn new(problem: &'a GlmProblem, lambda: Vec<f64>) -> Result<Self> {
        let lower = problem.lower();
        let reference = Reference::new(&lower, &problem.upper(), &lambda, 0)?;
        Ok(Question { problem, lambda, reference, lower })
    }

    /// The gradient-step map.
    pub fn map(&self) -> GradientMap<'_, Glm<'a>> {
        self.reference.map(&self.lower)
    }

    /// Does the jobs that are not in `file` yet, with a bar, and lets `write` keep what is done now and then.
    pub fn measure(
        &self,
        settings: &StudySettings,
        jobs: &[Job],
        file: &mut StudyFile,
        quiet: bool,
        write: impl Fn(&StudyFile) -> Result<()>,
    ) -> Result<()> {
        let rows = self.lower.risk().len();
        let mut missing = Vec::new();
        for &job in jobs {
            let checkpoints = settings.checkpoints_of(&job.curve, rows)?;
            if !file.holds(job.curve.kind(), job.curve.eta(), job.replicate, &checkpoints) {
                missing.push(job);
            }
        }
        let (map, upper) = (self.map(), self.problem.upper());
        let reference = &self.reference.hypergradient;
        let subject = Subject { map: &map, upper: &upper, lambda: &self.lambda, rows, reference };
        let mut progress = Progress::new(quiet, missing.len());
        let stop = StopSignal::new(None, Some(interrupt::flag()));
        let (mut done, mut written) = (0, Instant::now());
        let threads = rayon::current_num_threads();
        let ended = bilevel::study::run(&subject, settings, &missing, threads, &stop, |job, measurements| {
            file.add(replicate(job, measurements));
            done += 1;
            progress.done(done, &format!("{done} of {} replicates ({})", missing.len(), job.curve.kind().name()));
            if written.elapsed() > BETWEEN_WRITINGS {
                write(file)?;
                written = Instant::now();
            }
            Ok(())
        });
        progress.finish();
        ended
    }

    /// What makes two runs the same study.
    pub fn identity(&self, settings: &StudySettings) -> Map<String, Value> {
        // The exact hypergradient and the constants depend on all of the data, the model and lambda.
        let numbers = [&self.reference.hypergradient[..], &self.reference.solution, &self.lambda].concat();
        let value = json!({
            "format": 1,
            "rows": self.lower.risk().len(),
            "hyperparameters": self.lambda.len(),
            "problem": fingerprint(&numbers),
            "map_step": self.reference.map_step,
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

    /// What the figures are about, in pairs of a name and a text.
    pub fn facts(&self, settings: &StudySettings, curves: &[Curve], at: &str) -> Vec<(String, String)> {
        let Reference { mu, l, map_step, contraction, objective, .. } = self.reference;
        let short = numbers::short;
        let mut facts = vec![
            ("penalties".into(), format!("{} at {at}", numbers::count(self.lambda.len()))),
            (
                "exact hypergradient".into(),
                format!("norm {}, objective {}", short(self.reference.norm()), numbers::loss(objective)),
            ),
            (
                "map".into(),
                format!(
                    "gradient step {}, curvature from {} to {}, contraction q = {contraction:.6}",
                    short(map_step),
                    short(mu),
                    short(l)
                ),
            ),
        ];
        let cross = match settings.cross_batch {
            Batch::All => "all rows".into(),
            Batch::Rows(rows) => numbers::counted(rows, "row", "rows"),
        };
        let text = format!("{} a step, cross derivative on {cross}", numbers::counted(settings.batch, "row", "rows"));
        facts.push(("minibatches".into(), text));
        for curve in curves {
            if let Curve::SidDecreasing { beta, gamma } = curve {
                facts.push(("decreasing steps".into(), format!("{} / ({} + s)", short(*beta), short(*gamma))));
            }
        }
        facts
    }
}

/// A replicate as it is kept.
pub fn replicate(job: &Job, measurements: Vec<bilevel::study::Measurement>) -> Replicate {
    Replicate { kind: job.curve.kind(), eta: job.curve.eta(), replicate: job.replicate, measurements }
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
