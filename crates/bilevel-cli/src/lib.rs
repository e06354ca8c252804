//! The command `bilevel`: arguments -> plan -> run -> pictures.
//!
//! A library with one entry, [`run`], so that other front ends offer the same command.

mod args;
mod at;
mod check;
mod clean;
mod command;
mod convert;
mod csv;
mod evaluate;
mod hypergradient;
mod input;
mod inspect;
mod interrupt;
mod mapped;
mod memory;
mod names;
mod numbers;
mod output;
mod place;
mod plan;
mod predict;
mod problem;
mod progress;
mod race;
mod report;
mod reproduce;
mod results;
mod settings;
mod study;
mod table;
mod tune;
mod words;

use std::ffi::OsString;
use std::process::ExitCode;

use bilevel::Error;
use clap::error::ErrorKind;

use command::{Arguments, Command};

/// Does what the command line `arguments` asks for; the first of them is the name of the program.
///
/// Listens for interrupts from then on and may end the process, so it is to be called once, and last.
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let arguments = match Arguments::of_line(arguments) {
        Ok(arguments) => arguments,
        Err(error) => return usage(&error),
    };
    interrupt::listen();
    let result = match &arguments.command {
        Command::Tune(args) => tune::run(args),
        Command::Clean(args) => clean::run(args),
        Command::Predict(args) => predict::run(args),
        Command::Evaluate(args) => evaluate::run(args),
        Command::Hypergradient(args) => hypergradient::run(args),
        Command::Inspect(args) => inspect::run(args),
        Command::Convert(args) => convert::run(args),
        Command::Check(args) => check::run(args),
        Command::Study(args) => study::run(args),
        Command::Race(args) => race::run(args),
        Command::Reproduce(args) => reproduce::run(args),
    };
    result.unwrap_or_else(|error| {
        let text = match error.is_interrupted() {
            true => interrupt::ended_without_result().into(),
            false => one_line(&error.to_string()),
        };
        eprintln!("error: {text}");
        exit_code(&error)
    })
}

fn exit_code(error: &Error) -> ExitCode {
    match error {
        error if error.is_input() => ExitCode::from(2),
        error if error.is_interrupted() => ExitCode::from(interrupt::EXIT_CODE),
        _ => ExitCode::FAILURE,
    }
}

/// Help and version as they are; mistakes in one line like all other errors.
fn usage(error: &clap::Error) -> ExitCode {
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            error.print().ok();
            if error.use_stderr() { ExitCode::from(2) } else { ExitCode::SUCCESS }
        }
        _ => {
            let text = error.to_string();
            let body = text.split("\n\nUsage:").next().unwrap_or_default();
            let body = body.split("\n\nFor more information").next().unwrap_or_default();
            let parts: Vec<_> = body.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
            eprintln!("{}; see bilevel --help", one_line(&parts.join(" ").replace(" tip: ", "; ")));
            ExitCode::from(2)
        }
    }
}

/// Text from files may hold anything; an error is one line.
fn one_line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}
