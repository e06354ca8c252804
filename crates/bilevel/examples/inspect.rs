//! Describes the data files given as arguments and says how fast they were read.

use std::path::Path;
use std::time::Instant;

use bilevel::data::{EncodeOptions, ReadOptions, profile, read};

fn main() -> bilevel::Result<()> {
    for file in std::env::args().skip(1) {
        let start = Instant::now();
        let table = read(Path::new(&file), &ReadOptions { target_required: false, ..ReadOptions::default() })?;
        let seconds = start.elapsed().as_secs_f64();
        print!("{}", profile(&table, &EncodeOptions::default())?);
        println!("read in {seconds:.3} s\n");
    }
    Ok(())
}
