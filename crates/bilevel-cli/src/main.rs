//! The command `bilevel`.
fn main() {}
