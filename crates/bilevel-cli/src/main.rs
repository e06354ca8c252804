//! The command `bilevel`: arguments -> plan -> run -> pictures.
#![allow(dead_code, missing_docs)]
mod args;
mod interrupt;
mod names;
mod numbers;
mod output;
mod progress;
mod report;
mod table;

fn main() {}
