//! The program `bilevel`.

use std::process::ExitCode;

fn main() -> ExitCode {
    bilevel_cli::run(std::env::args_os())
}
