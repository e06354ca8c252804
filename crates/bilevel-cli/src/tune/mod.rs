//! `bilevel tune`.

mod args;
mod repeat;

use std::process::ExitCode;

use bilevel::Result;
use bilevel::data::{Schema, TargetKind};
use bilevel::tune::{Ending, SavedModel, StrongWeight, Summary, Tuned, feature_deviations, strongest_weights};

pub use args::TuneArgs;

use crate::mapped::Verify;
use crate::output::Files;
use crate::plan::Part;
use crate::problem::{self, Inputs};
use crate::progress::Progress;
use crate::report::Report;
use crate::table::description_text;
use crate::{csv, interrupt, memory, numbers, output, results};

/// What is written.
const FILES: [&str; 4] = ["report.html", "summary.json", "trace.csv", "model"];
/// Weights shown in the report.
const STRONGEST: usize = 30;

pub fn run(args: &TuneArgs) -> Result<ExitCode> {
    args.check()?;
    let part = |text: &Option<String>, option| text.as_ref().map(|text| Part::parse(text, option)).transpose();
    let (validation, test) = (part(&args.problem.validation, "--validation")?, part(&args.test, "--test")?);
    output::check_folder(&args.out, &FILES, args.inputs())?;
    problem::start_threads(&args.problem)?;
    let limit = args.options(None, TargetKind::Real).limits.iterations;
    let mut progress = Progress::new(args.quiet, limit);
    let test = test.as_ref().map(|part| (part, &args.test_labels));
    let inputs = problem::read(&args.problem, validation.as_ref(), test, Verify::All, |phase| progress.phase(phase))?;
    if !args.quiet {
        progress.pause(|| output::print(&description_text(&inputs.description)))?;
    }
    let options = args.options(validation.as_ref(), inputs.schema.labels.kind());
    // The rows are handed over: there is no room for a second copy of them.
    let Inputs { train, validation, test, .. } = inputs;
    let (deviations, feature_names) = (feature_deviations(&train), train.feature_names.clone());
    let tuned =
        interrupt::keeping(|| bilevel::tune::tune(train, validation.as_ref(), test.as_ref(), &options, &mut progress));
    progress.finish();
    memory::give_back();
    let mut tuned = tuned?;
    tuned.notes.splice(0..0, inputs.notes.iter().cloned());
    if let (None, Some(test)) = (&tuned.diagnostics, &test) {
        tuned.diagnostics = Some(tuned.model.diagnostics(test, "test rows")?);
    }
    let command = repeat::command(args, &options, inputs.schema.target_name.as_deref());
    let strongest = strongest_weights(&tuned.model, &deviations, STRONGEST);
    let known = Known {
        schema: &inputs.schema,
        description: &inputs.description,
        feature_names: &feature_names,
        strongest: &strongest,
        command: &command,
    };
    write(args, &known, &mut tuned)?;
    if !args.quiet {
        output::print(&format!("\n{}\n{}", results::text(&tuned), closing(args, &tuned)))?;
    }
    Ok(if tuned.status == Ending::Interrupted { ExitCode::from(interrupt::EXIT_CODE) } else { ExitCode::SUCCESS })
}

fn closing(args: &TuneArgs, tuned: &Tuned) -> String {
    format!(
        "{} in {} ({}, {} hypergradients, judged by {})\nfiles: {}: report.html, model, summary.json, trace.csv\n",
        tuned.status,
        numbers::seconds(tuned.seconds),
        numbers::passes(tuned.passes),
        tuned.method,
        tuned.criterion,
        args.out.display(),
    )
}

/// What is known beside the result.
struct Known<'a> {
    schema: &'a Schema,
    description: &'a [(String, String)],
    feature_names: &'a [String],
    strongest: &'a [StrongWeight],
    command: &'a str,
}

/// Writes all files; the coefficients, which may be most of what is in memory, go into the last of them.
fn write(args: &TuneArgs, known: &Known<'_>, tuned: &mut Tuned) -> Result<()> {
    let Known { schema, command, .. } = *known;
    let title = args.problem.train.file_name().unwrap_or(args.problem.train.as_os_str()).to_string_lossy();
    let report = Report {
        title: &title,
        data: known.description,
        command,
        tuned,
        feature_names: known.feature_names,
        groups: &schema.groups,
        class_names: schema.labels.names(),
        strongest: known.strongest,
    };
    let mut files = Files::new(&args.out)?;
    let [report_name, summary_name, trace_name, model_name] = FILES;
    files.add(report_name, report.render().as_bytes())?;
    let summary = serde_json::to_string_pretty(&Summary::new(tuned)).expect("plain data can be written as JSON");
    files.add(summary_name, (summary + "\n").as_bytes())?;
    files.add(trace_name, trace(tuned).as_bytes())?;
    let coef = std::mem::take(&mut tuned.model.coef);
    let mut saved = SavedModel::new(tuned, schema.clone());
    saved.model.coef = coef;
    saved.about.command = command.into();
    files.add(model_name, &saved.to_bytes()?)?;
    files.publish()
}

fn trace(tuned: &Tuned) -> String {
    let mut text =
        String::from("penalties,law,iteration,seconds,validation_loss,train_loss,projected_gradient,passes\n");
    for row in &tuned.trace {
        let numbers = [row.validation_loss, row.train_loss, row.projected_gradient, row.passes].map(csv::number);
        text += &format!(
            "{},{},{},{:.6},{}\n",
            row.penalties.name(),
            row.law,
            row.iteration,
            row.seconds,
            numbers.join(",")
        );
    }
    text
}
