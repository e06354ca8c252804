//! `bilevel tune`.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use bilevel::data::{self, Dataset, Parts, ReadOptions, stratified_order};
use bilevel::tune::{About, Observer, SavedModel, Summary, Tuned, strongest_weights};
use bilevel::{Error, Result};

use crate::args::TuneArgs;
use crate::input::{Learned, describe, read_options};
use crate::output::Files;
use crate::plan::{self, Part};
use crate::progress::Progress;
use crate::report::Report;
use crate::{csv, interrupt, numbers, output, repeat, results};

/// Weights shown in the report.
const STRONGEST: usize = 30;

/// All that was read.
struct Inputs {
    learned: Learned,
    train: Dataset,
    validation: Option<Dataset>,
    test: Option<Dataset>,
    /// Name or number of the target column.
    target_name: Option<String>,
    /// Whether the training file had a header, where there could be one.
    header: Option<bool>,
    /// Pairs of a name and a text.
    description: Vec<(String, String)>,
    notes: Vec<String>,
}

pub fn run(args: &TuneArgs) -> Result<ExitCode> {
    plan::check(args)?;
    let part = |text: &Option<String>, option| text.as_ref().map(|text| Part::parse(text, option)).transpose();
    let (validation, test) = (part(&args.validation, "--validation")?, part(&args.test, "--test")?);
    output::check_folder(&args.out)?;
    if let Some(threads) = args.threads {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads as usize).build_global();
        pool.map_err(|error| Error::input(format!("cannot start {threads} threads: {error}")))?;
    }
    let limit = plan::options(args, None, data::TargetKind::Real).limits.iterations;
    let mut progress = Progress::new(args.quiet, limit);
    let inputs = read(args, validation.as_ref(), test.as_ref(), &mut progress)?;
    if !args.quiet {
        progress.pause(|| output::print(&read_text(&inputs)))?;
    }
    let options = plan::options(args, validation.as_ref(), inputs.learned.labels.kind());
    let tuned = interrupt::keeping(|| {
        let Inputs { train, validation, test, .. } = &inputs;
        bilevel::tune::tune(train, validation.as_ref(), test.as_ref(), &options, &mut progress)
    });
    progress.finish();
    let mut tuned = tuned?;
    tuned.notes.splice(0..0, inputs.notes.iter().cloned());
    if let (None, Some(test)) = (&tuned.diagnostics, &inputs.test) {
        tuned.diagnostics = Some(tuned.model.diagnostics(test, "test rows"));
    }
    let command = repeat::command(args, &options, inputs.target_name.as_deref());
    write(args, &inputs, &tuned, &command)?;
    if !args.quiet {
        output::print(&format!("\n{}\n{}", results::text(&tuned), closing(args, &tuned)))?;
    }
    Ok(if tuned.status == "interrupted" { ExitCode::from(interrupt::EXIT_CODE) } else { ExitCode::SUCCESS })
}

fn read(args: &TuneArgs, validation: Option<&Part>, test: Option<&Part>, progress: &mut Progress) -> Result<Inputs> {
    let mut phase = |path: &Path| progress.phase(&format!("reading {}", path.display()));
    let options = ReadOptions { precision: args.precision.into(), ..read_options(&args.data) };
    phase(&args.train);
    let table = data::read(&args.train, &options)?;
    let target_name = table.target_name.clone();
    let format = table.format;
    // Other files are like this one: a header is not guessed again from what may be few rows.
    let header = if format == data::Format::Delimited { Some(table.named) } else { None };
    let notes = table.notes.clone();
    let (learned, mut train) = Learned::new(table, args, plan::target_kind(args.model))?;
    let mut description = vec![("file".into(), format!("{} ({format})", args.train.display()))];
    let mut other = |path: &PathBuf, labels: &Option<PathBuf>| -> Result<Dataset> {
        phase(path);
        let target = if labels.is_none() { target_name.clone() } else { None };
        let options = ReadOptions { target, labels: labels.clone(), header, ..options.clone() };
        learned.apply(data::read(path, &options)?)
    };
    let validation = match validation {
        Some(Part::File(path)) => Some(other(path, &args.validation_labels)?),
        _ => None,
    };
    let test = match test {
        Some(Part::File(path)) => Some(other(path, &args.test_labels)?),
        Some(Part::Fraction(fraction)) => {
            let parts = stratified_order(&train.target, Parts::Fractions(&[1.0 - fraction, *fraction]), args.seed)?;
            let test = train.select(&parts[1]);
            train = train.select(&parts[0]);
            Some(test)
        }
        None => None,
    };
    description.extend(describe(&train, &learned.encoder, learned.labels.kind()));
    if let Some(name) = &target_name {
        description.push(("target column".into(), name.clone()));
    }
    for (name, part, file) in [("validation", &validation, &args.validation), ("test", &test, &args.test)] {
        if let Some(part) = part {
            let from = file.as_deref().unwrap_or_default();
            let rows = numbers::counted(part.rows(), "row", "rows");
            description.push((format!("{name} data"), format!("{rows} ({from})")));
        }
    }
    Ok(Inputs { learned, train, validation, test, target_name, header, description, notes })
}

fn read_text(inputs: &Inputs) -> String {
    // Names padded to one width; texts as they are.
    let width = inputs.description.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    inputs.description.iter().map(|(name, text)| format!("{name:width$}  {text}\n")).collect()
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

fn write(args: &TuneArgs, inputs: &Inputs, tuned: &Tuned, command: &str) -> Result<()> {
    let Inputs { learned, train, .. } = inputs;
    let saved = SavedModel {
        model: tuned.model.clone(),
        lambda: tuned.lambda.clone(),
        about: About {
            encoder: learned.encoder.clone(),
            labels: learned.labels.clone(),
            relabel: learned.relabel.clone(),
            target_name: inputs.target_name.clone(),
            header: inputs.header,
            groups: learned.groups.clone(),
            penalties: tuned.penalties,
            lambda_names: tuned.lambda_names.clone(),
            status: tuned.status.clone(),
            method: tuned.method.clone(),
            criterion: tuned.criterion.clone(),
            command: command.into(),
        },
    };
    let title = args.train.file_name().unwrap_or(args.train.as_os_str()).to_string_lossy();
    let report = Report {
        title: &title,
        data: &inputs.description,
        command,
        tuned,
        feature_names: &train.feature_names,
        groups: &train.groups,
        class_names: learned.labels.names(),
        strongest: &strongest_weights(&tuned.model, &train.design, STRONGEST),
    };
    let summary = serde_json::to_string_pretty(&Summary::new(tuned)).expect("plain data can be written as JSON");
    let mut files = Files::new(&args.out)?;
    files.add("model", &saved.to_bytes()?)?;
    files.add("trace.csv", trace(tuned).as_bytes())?;
    files.add("summary.json", (summary + "\n").as_bytes())?;
    files.add("report.html", report.render().as_bytes())?;
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
