//! `bilevel clean`.

mod args;
mod file;
mod page;

use std::process::ExitCode;

use bilevel::Result;
use bilevel::clean::{CleanOptions, Cleaned, FitOf, Strength};
use bilevel::data::{Dataset, Target};
use bilevel::tune::{Ending, Metrics};

pub use args::CleanArgs;

use crate::mapped::Verify;
use crate::plan::{self, Part};
use crate::problem::{self, Inputs};
use crate::progress::Progress;
use crate::table::{TextTable, description_text};
use crate::{csv, interrupt, numbers, output};

pub fn run(args: &CleanArgs) -> Result<ExitCode> {
    bilevel::data::Relabel::parse(&args.encoding.classes)?;
    output::check_folder(&args.out, &file::NAMES, args.inputs())?;
    problem::start(args.threads)?;
    let asked = args.problem();
    let trusted = Part::File(args.trusted.clone());
    let test = args.test.clone().map(Part::File);
    let test = test.as_ref().map(|part| (part, &args.test_labels));
    let iterations = args.max_iterations.map(|n| n as usize);
    let mut progress = Progress::new(args.quiet, iterations.unwrap_or_else(|| args.start.steps()));
    let mut inputs = problem::read(&asked, Some(&trusted), test, Verify::All, |phase| progress.phase(phase))?;
    for (name, _) in &mut inputs.description {
        *name = name.replace("validation data", "trusted data");
    }
    if !args.quiet {
        progress.pause(|| output::print(&description_text(&inputs.description)))?;
    }
    let given = plan::problem_options(&asked, None, inputs.schema.labels.kind());
    let options = CleanOptions {
        loss: given.loss,
        strength: args.penalty.map_or(Strength::Tuned, Strength::Fixed),
        method: args.method,
        start: args.start,
        intercept: given.intercept,
        standardize: given.standardize,
        monitor: args.monitor,
        seed: args.seed,
        time: args.max_time,
        iterations,
        ..CleanOptions::default()
    };
    let Inputs { train, validation, test, .. } = &inputs;
    let trusted = validation.as_ref().expect("the trusted rows were read");
    let cleaned = interrupt::keeping(|| bilevel::clean::clean(train, trusted, test.as_ref(), &options, &mut progress));
    progress.finish();
    let mut cleaned = cleaned?;
    cleaned.notes.splice(0..0, inputs.notes.iter().cloned());
    file::write(args, &inputs, &cleaned)?;
    if !args.quiet {
        output::print(&format!("\n{}\n{}", text(&cleaned, train), closing(args, &cleaned)))?;
    }
    Ok(if cleaned.status == Ending::Interrupted { ExitCode::from(interrupt::EXIT_CODE) } else { ExitCode::SUCCESS })
}

/// The label of a row as it was written.
fn label(data: &Dataset, row: usize) -> String {
    match &data.target {
        Target::Classes { codes, names } => names[codes[row] as usize].clone(),
        Target::Values(values) => csv::number(values[row]),
    }
}

/// The label that the model would rather give a row.
fn suggestion<'a>(data: &'a Dataset, cleaned: &Cleaned, row: usize) -> Option<&'a str> {
    let Target::Classes { codes, names } = &data.target else { return None };
    cleaned.suggestion(row, codes[row]).map(|class| names[class as usize].as_str())
}

/// Rows whose labels are rather wrong than right.
fn weighed_down(cleaned: &Cleaned) -> usize {
    cleaned.suspicious.iter().filter(|&&row| cleaned.weights[row as usize] < 0.5).count()
}

/// What losses on the trusted rows are worth.
const FLATTERED: &str = "Trusted rows were used to fit one of the models (trusted rows alone) and to steer another (weighted \
                         rows), so their losses there are optimistic; test rows (--test) compare all three fairly.";

/// How the cleaning ended; its planned steps are no limit that was hit.
fn ended(cleaned: &Cleaned, args: &CleanArgs) -> String {
    let steps = cleaned.trace.last().map_or(0, |step| step.iteration);
    match (cleaned.status, args.max_iterations) {
        (Ending::IterationLimit, None) => format!("{} as planned", numbers::counted(steps, "step", "steps")),
        (Ending::IterationLimit, Some(_)) => format!("{} as asked", numbers::counted(steps, "step", "steps")),
        (Ending::Monitor, _) => {
            format!("stopped (the loss on the monitor rows was lowest at step {})", numbers::count(cleaned.kept))
        }
        (other, _) => other.to_string(),
    }
}

/// A figure on the test rows, and how it is written.
type Written = (&'static str, fn(&Metrics) -> Option<f64>, fn(f64) -> String);

/// The three models beside each other.
fn text(cleaned: &Cleaned, train: &Dataset) -> String {
    let figures: [Written; 4] = [
        ("test loss", |m| Some(m.loss), numbers::loss),
        ("test accuracy", |m| m.accuracy, numbers::percent),
        ("test AUC", |m| m.auc, numbers::unit),
        ("test R²", |m| m.r2, numbers::unit),
    ];
    let known = |(_, figure, _): &Written| cleaned.fits.iter().any(|fit| fit.test.as_ref().and_then(*figure).is_some());
    let shown: Vec<Written> = figures.into_iter().filter(known).collect();
    let mut table =
        TextTable::new(["model of", "trusted loss"].into_iter().chain(shown.iter().map(|(name, ..)| *name)));
    for fit in &cleaned.fits {
        let test = shown
            .iter()
            .map(|(_, figure, write)| fit.test.as_ref().and_then(*figure).map_or(numbers::NONE.into(), *write));
        table.row([fit.of.name().into(), numbers::loss(fit.trusted.loss)].into_iter().chain(test));
    }
    let mut text = table.render();
    text += &format!(
        "{FLATTERED}\n\n{} of {} rows weigh less than one half\n",
        numbers::count(weighed_down(cleaned)),
        numbers::count(train.rows())
    );
    for note in &cleaned.notes {
        text += &format!("note: {note}\n");
    }
    text
}

fn closing(args: &CleanArgs, cleaned: &Cleaned) -> String {
    format!(
        "{} in {} ({}, {} hypergradients, weights of step {} kept)\nfiles: {}: report.html, weights.csv, model, summary.json\n",
        ended(cleaned, args),
        numbers::seconds(cleaned.seconds),
        numbers::passes(cleaned.passes),
        cleaned.method,
        cleaned.kept,
        args.out.display(),
    )
}

/// The figure of a model that a person asks for first.
fn headline(cleaned: &Cleaned, of: FitOf) -> Option<(&'static str, f64)> {
    cleaned.fit(of)?.test?.headline()
}
