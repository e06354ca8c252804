//! All tests of the command in one program: it is linked once.

mod bad_input;
mod clean;
mod common;
mod convert;
mod end_to_end;
mod memory;
mod output;
mod problem;
mod race;
mod study;
