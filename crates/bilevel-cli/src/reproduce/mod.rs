//! `bilevel reproduce`: the experiments of a paper, and what agrees with its picture.
//!
//! What is said to agree is decided by the figures that were measured, whatever they are.

mod args;
mod descent;
mod error;
mod sources;
mod verdict;

use std::process::ExitCode;
use std::time::Instant;

use bilevel::{Error, Result};

use crate::output::{self, Files};
use crate::progress::Progress;
use crate::report::charts::escape;
use crate::report::page;
use crate::study::figures;
use crate::{csv, interrupt, numbers};

pub use args::ReproduceArgs;
use descent::DescentResult;
use error::ErrorResult;
use sources::Plan;
use verdict::Verdict;

/// What is written beside figures.
const FILES: [&str; 4] = ["verdicts.csv", "slopes.csv", "descent.csv", "reproduction.html"];

pub fn run(args: &ReproduceArgs) -> Result<ExitCode> {
    let args::Paper::Aistats2021 = args.paper;
    let clock = Instant::now();
    let plan = Plan::find(args)?;
    output::check_folder(&args.out, &FILES, [])?;
    if let Some(threads) = args.threads {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads as usize).build_global();
        pool.map_err(|error| Error::input(format!("cannot start {threads} threads: {error}")))?;
    }
    let mut progress = Progress::new(args.quiet, 1000);
    let mut errors = Vec::new();
    {
        let inputs = plan.digits.read(true, |phase| progress.phase(phase))?;
        progress.finish();
        for setting in &plan.errors {
            let folder = args.out.join(format!("error-{}", setting.name));
            let result = error::run(setting, &inputs, &folder, args.overwrite, args.quiet)?;
            if !args.quiet {
                let table = figures::text_table(&result.summaries);
                output::print(&format!("{}\n{table}{}\n", result.title, verdict::text(&result.verdicts)))?;
            }
            errors.push(result);
        }
    }
    let mut descents = Vec::new();
    for (files, setting) in &plan.descents {
        let mut progress = Progress::new(args.quiet, 1000);
        let inputs = files.read(false, |phase| progress.phase(phase))?;
        let result = interrupt::keeping(|| descent::run(setting, &inputs, &mut progress));
        progress.finish();
        let result = result?;
        if !args.quiet {
            output::print(&format!("Bilevel optimisation, {}\n{}\n", result.name, verdict::text(&result.verdicts)))?;
        }
        descents.push(result);
    }
    let seconds = clock.elapsed().as_secs_f64();
    write(args, &plan, &errors, &descents, seconds)?;
    if !args.quiet {
        let all: Vec<&Verdict> = verdicts(&errors, &descents).into_iter().flat_map(|(_, v)| v).collect();
        let agree = all.iter().filter(|v| v.agrees).count();
        output::print(&format!(
            "{agree} of {} points agree with the paper; {}\nfiles: {}: reproduction.html, verdicts.csv, slopes.csv, descent.csv, figures\n",
            all.len(),
            numbers::seconds(seconds),
            args.out.display()
        ))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn verdicts<'a>(errors: &'a [ErrorResult], descents: &'a [DescentResult]) -> Vec<(&'a str, &'a [Verdict])> {
    let first = errors.iter().map(|result| (result.title.as_str(), &result.verdicts[..]));
    first.chain(descents.iter().map(|result| (result.name, &result.verdicts[..]))).collect()
}

fn write(
    args: &ReproduceArgs,
    plan: &Plan,
    errors: &[ErrorResult],
    descents: &[DescentResult],
    seconds: f64,
) -> Result<()> {
    let [verdicts_name, slopes_name, descent_name, page_name] = FILES;
    let mut files = Files::new(&args.out)?;
    files.add(verdicts_name, verdict::csv(&verdicts(errors, descents)).as_bytes())?;
    files.add(slopes_name, slopes(errors).as_bytes())?;
    let header =
        "problem,method,iteration,epochs,seconds,validation_loss,validation_accuracy,test_loss,test_accuracy\n";
    let lines: String = descents.iter().map(DescentResult::csv_lines).collect();
    files.add(descent_name, format!("{header}{lines}").as_bytes())?;
    let figures = errors.iter().flat_map(|result| result.files.clone());
    for (name, svg) in figures.chain(descents.iter().flat_map(DescentResult::files)) {
        files.add(name, svg.as_bytes())?;
    }
    files.add(page_name, html(plan, errors, descents, seconds).as_bytes())?;
    files.publish()
}

/// Slopes and floors: `experiment,method,eta,replicates,slope,slope_std_error,floor,floor_std_error,floor_slope`.
fn slopes(errors: &[ErrorResult]) -> String {
    let mut text =
        String::from("experiment,method,eta,replicates,slope,slope_std_error,floor,floor_std_error,floor_slope\n");
    let number = |x: Option<f64>| x.map(csv::number).unwrap_or_default();
    for result in errors {
        for s in &result.summaries {
            let cells = [
                s.slope.map(|slope| slope.value),
                s.slope.and_then(|slope| slope.std_error),
                s.floor.map(|floor| floor.value),
                s.floor.and_then(|floor| floor.std_error),
                s.floor.map(|floor| floor.slope),
            ]
            .map(number);
            let (title, name) = (csv::cell(&result.title), s.kind.name());
            text += &format!("{title},{name},{},{},{}\n", number(s.eta), s.replicates, cells.join(","));
        }
    }
    text
}

fn html(plan: &Plan, errors: &[ErrorResult], descents: &[DescentResult], seconds: f64) -> String {
    let title = "Convergence properties of stochastic hypergradients, repeated";
    let mut body = format!(
        "<header>\n<h1>{title}</h1>\n<p class=\"lead\">Grazzi, Pontil, Salzo, AISTATS 2021: {}, in {}.</p>\n</header>\n<main>\n",
        escape(plan.title),
        numbers::seconds(seconds)
    );
    for result in errors {
        let mut part = verdict::table(&result.verdicts);
        part += &format!("<div class=\"charts\">\n{}</div>\n", figures::figures(&result.summaries));
        part += &figures::table(&result.summaries);
        part += &page::facts(&result.facts);
        body += &page::section(&result.title, &part);
    }
    for result in descents {
        let mut part = verdict::table(&result.verdicts);
        part += &format!("<div class=\"charts\">\n{}</div>\n", result.figures());
        part += &page::facts(&result.facts);
        body += &page::section(&format!("Bilevel optimisation: {}", result.name), &part);
    }
    body += &format!("</main>\n<footer>bilevel {}</footer>\n", env!("CARGO_PKG_VERSION"));
    page::page(title, &body)
}
