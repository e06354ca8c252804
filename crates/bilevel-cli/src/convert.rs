//! `bilevel convert`: any file that is read into one that is mapped.

use std::ops::ControlFlow;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use bilevel::data::mapped::{ConvertOptions, MappedRows, Stage, convert};
use bilevel::tune::LossChoice;
use bilevel::{Error, Result};
use clap::Args;

use crate::args::{DataArgs, EncodingArgs, rows_file, seed, threads, written_file};
use crate::input::learn_options;
use crate::names::{self, MODELS};
use crate::output::NewFolders;
use crate::progress::Progress;
use crate::{interrupt, mapped, numbers, output, plan};

/// Length of the progress bar.
const PARTS: u64 = 1000;

const EXAMPLES: &str = "\
Examples:
  bilevel convert clicks.csv.gz clicks.bilevel --target clicked
  bilevel convert later.csv.gz later.bilevel --like clicks.bilevel
  bilevel tune clicks.bilevel --test later.bilevel

The input may have any format that is read, and be larger than memory. The output appears when it is complete. Exit
codes: 0 done, 1 it cannot be written, 2 bad input, 130 interrupted (nothing is written).";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct ConvertArgs {
    /// Rows in any format that is read.
    #[arg(value_parser = rows_file())]
    pub input: PathBuf,
    /// The file to write, by custom with the ending .bilevel.
    #[arg(value_parser = written_file())]
    pub output: PathBuf,

    #[command(flatten, next_help_heading = "Data")]
    pub data: DataArgs,
    #[command(flatten, next_help_heading = "Data")]
    pub encoding: EncodingArgs,
    /// Do not shift features: they will be fitted without an intercept.
    #[arg(long, help_heading = "Data")]
    pub no_intercept: bool,
    /// The loss that is meant, where the target leaves a doubt.
    #[arg(long, value_parser = names::parser::<LossChoice>(MODELS), default_value = "auto", help_heading = "Data")]
    pub model: LossChoice,
    /// Groups of features: lines `FEATURE,GROUP` with the name of a feature or column (of x3 also 3), or a group a
    /// line in their order.
    #[arg(long, value_name = "FILE", value_parser = rows_file(), help_heading = "Data")]
    pub groups: Option<PathBuf>,
    /// Encode, label and standardize as it was done for this converted file: for rows that validate or test.
    #[arg(long, value_name = "FILE", help_heading = "Data")]
    #[arg(conflicts_with_all = ["missing", "storage", "dtype", "normalize_rows", "no_standardize", "no_intercept"])]
    #[arg(conflicts_with_all = ["classes", "positive_class", "groups", "model"])]
    pub like: Option<PathBuf>,

    /// Seed of the order of the rows.
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = seed, help_heading = "Run")]
    pub seed: u64,
    /// Number of threads, at most 512; all cores by default.
    #[arg(long, value_name = "N", value_parser = threads(), help_heading = "Run")]
    pub threads: Option<u32>,
    /// Print nothing but errors.
    #[arg(long, short, help_heading = "Run")]
    pub quiet: bool,
}

pub fn run(args: &ConvertArgs) -> Result<ExitCode> {
    let also_read = [&args.data.labels, &args.groups, &args.like].into_iter().flatten();
    output::check_file(&args.output, std::iter::once(&args.input).chain(also_read).map(PathBuf::as_path))?;
    let written = output::regular_file(&args.output)?;
    if MappedRows::recognises(&args.input) {
        return Err(Error::input("the file is converted already").in_file(&args.input).remedy("use it as it is"));
    }
    crate::problem::start(args.threads)?;
    let like = args.like.as_deref().map(MappedRows::open).transpose()?;
    let options = ConvertOptions {
        learn: learn_options(&args.data, &args.encoding, plan::target_kind(args.model), args.groups.as_ref())?,
        standardize: !args.encoding.no_standardize,
        intercept: !args.no_intercept,
        seed: args.seed,
        like: like.as_ref().map(MappedRows::header),
        program: format!("bilevel {}", env!("CARGO_PKG_VERSION")),
    };
    let _folders = NewFolders::of(&written)?;
    let mut progress = Progress::new(args.quiet, PARTS as usize);
    let clock = Instant::now();
    let mut stage_before = None;
    let mut watch = |stage: Stage, done: u64, total: u64| {
        let text = match stage {
            Stage::Reading => "reading",
            Stage::Shuffling => "writing rows in random order",
            Stage::Standardizing => "bringing features to one scale",
        };
        if stage_before.replace(stage) != Some(stage) {
            progress.phase(text);
        }
        let part = done as f64 / total.max(1) as f64;
        progress.done((part * PARTS as f64) as usize, &format!("{text}: {}", numbers::percent(part)));
        if interrupt::requested() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    };
    let header = interrupt::undoing(|| convert(&args.input, &written, &options, &mut watch));
    progress.finish();
    let header = header?;
    if !args.quiet {
        let lines = mapped::describe(&header);
        let took = (args.output.display().to_string(), numbers::seconds(clock.elapsed().as_secs_f64()));
        let mut text: String = lines.iter().map(|(name, text)| format!("{name:13}  {text}\n")).collect();
        text.extend(header.encoder.doubts(header.rows).iter().map(|doubt| format!("note: {doubt}\n")));
        output::print(&format!("{text}written to {} in {}\n", took.0, took.1))?;
    }
    Ok(ExitCode::SUCCESS)
}
