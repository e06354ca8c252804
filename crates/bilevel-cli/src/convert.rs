//! `bilevel convert`: any file that is read into one that is mapped.

use std::ops::ControlFlow;
use std::process::ExitCode;
use std::time::Instant;

use bilevel::data::mapped::{ConvertOptions, MappedRows, Stage, convert};
use bilevel::data::{EncodeOptions, ReadOptions};
use bilevel::tune::{Observer, Relabel};
use bilevel::{Error, Result};

use crate::args::ConvertArgs;
use crate::input::read_options;
use crate::progress::Progress;
use crate::{interrupt, mapped, numbers, output, plan};

/// Length of the progress bar.
const PARTS: u64 = 1000;

pub fn run(args: &ConvertArgs) -> Result<ExitCode> {
    output::check_file(&args.output)?;
    if MappedRows::recognises(&args.input) {
        return Err(Error::input("the file is converted already").in_file(&args.input).remedy("use it as it is"));
    }
    crate::problem::start(args.threads)?;
    let like = args.like.as_deref().map(MappedRows::open).transpose()?;
    let relabel = match &like {
        Some(like) => Relabel::parse(&like.header().provenance.relabel)?,
        None => Relabel::parse(&args.classes)?,
    };
    let mut read = ReadOptions { precision: args.dtype.into(), ..read_options(&args.data) };
    if let Some(like) = &like {
        let provenance = &like.header().provenance;
        read.precision = like.header().encoder.precision();
        read.target = read.target.or_else(|| provenance.target_name.clone().filter(|_| read.labels.is_none()));
        read.header = read.header.or(provenance.named);
    }
    let options = ConvertOptions {
        read,
        encode: EncodeOptions {
            missing: args.missing.into(),
            storage: args.storage.into(),
            precision: args.dtype.into(),
            normalize_rows: args.normalize_rows,
        },
        kind: plan::target_kind(args.model),
        positive: args.positive_class.clone(),
        relabel: &|labels| relabel.apply(labels),
        definitions: relabel.definitions(),
        groups: args.groups.clone(),
        standardize: !args.no_standardize,
        intercept: !args.no_intercept,
        seed: args.seed,
        like: like.as_ref().map(MappedRows::header),
        program: format!("bilevel {}", env!("CARGO_PKG_VERSION")),
    };
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
    let header = interrupt::undoing(|| convert(&args.input, &args.output, &options, &mut watch));
    progress.finish();
    let header = header?;
    if !args.quiet {
        let lines = mapped::describe(&header);
        let took = (args.output.display().to_string(), numbers::seconds(clock.elapsed().as_secs_f64()));
        let text: String = lines.iter().map(|(name, text)| format!("{name:13}  {text}\n")).collect();
        output::print(&format!("{text}written to {} in {}\n", took.0, took.1))?;
    }
    Ok(ExitCode::SUCCESS)
}
