//! The cost of a hypergradient to 1 % on rows that stay in a mapped file, against their number.
//!
//! ```text
//! cargo run --release --example mapped_rows -- write FILE ROWS     # 88 bytes a row
//! cargo run --release --example mapped_rows -- measure FILE [PRECISION = 0.01 [SEEDS = 5]]
//! ```
//! The rows are those of the example `rows`: 20 normal features, two classes from a logistic model, penalty 0.1 for each
//! feature. The last quarter of them judges. `measure` prints a line of CSV for each seed, all on one map of the file, with the
//! memory that is not pages of files (RssAnon, on Linux).

use std::path::Path;
use std::time::Instant;

use bilevel::data::mapped::{About, ElementType, Layout, MappedRows, Provenance, RowsWriter, Shape};
use bilevel::data::{
    DenseMatrix, DesignMatrix, EncodeOptions, Encoder, LabelMap, Labels, Origin, Standardization, TargetKind,
};
use bilevel::hypergradient::Precision;
use bilevel::observer::Silent;
use bilevel::sample::{Purpose, Rng};
use bilevel::tune::{GlmProblem, HypergradientOptions, Penalties, PreciseMethod, TuneOptions};
use bilevel::{Error, Result};
use rayon::prelude::*;

const FEATURES: usize = 20;
const PENALTY: f64 = 0.1;
/// Rows made at a time by one thread.
const BLOCK: usize = 1 << 16;

fn main() -> Result<()> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let number = |i: usize| words.get(i).and_then(|word| word.parse::<f64>().ok());
    match (&words[..], number(2)) {
        (["write", file, _], Some(rows)) => write(Path::new(file), rows as usize),
        (["measure", file, ..], precision) => {
            measure(Path::new(file), precision.unwrap_or(0.01), number(3).unwrap_or(5.0) as u64)
        }
        _ => Err(Error::input("give `write FILE ROWS` or `measure FILE [PRECISION [SEEDS]]`")),
    }
}

fn write(file: &Path, rows: usize) -> Result<()> {
    let shape = Shape {
        rows,
        features: FEATURES,
        layout: Layout::Dense,
        element: ElementType::F32,
        entries: rows * FEATURES,
        classes: 2,
    };
    let mut rng = Rng::stream(5, Purpose::Start, 9);
    let weights: Vec<f64> = (0..FEATURES).map(|_| rng.normal()).collect();
    let mut writer = RowsWriter::create(file, shape)?;
    let threads = rayon::current_num_threads();
    let blocks: Vec<(u64, usize)> =
        (0..rows).step_by(BLOCK).map(|first| ((first / BLOCK) as u64, BLOCK.min(rows - first))).collect();
    for some in blocks.chunks(4 * threads) {
        let made: Vec<_> = some.par_iter().map(|&(stream, count)| block(stream, count, &weights)).collect();
        for (design, numbers) in made {
            writer.push(&design, &numbers)?;
        }
    }
    let labels = Labels::Numbers(vec![0.0, 1.0]);
    writer.finish(About {
        labels: LabelMap::learn(&labels, Some(TargetKind::Binary), &Origin::new(file))?,
        feature_names: None,
        groups: None,
        measured: vec![true; FEATURES],
        standardization: Some(Standardization::identity(FEATURES)),
        encoder: Encoder::of_matrices(FEATURES, &EncodeOptions::default()),
        seed: 5,
        provenance: Provenance { program: "the example mapped_rows".into(), ..Provenance::default() },
    })?;
    Ok(())
}

fn block(stream: u64, rows: usize, weights: &[f64]) -> (DesignMatrix, Vec<f64>) {
    let mut rng = Rng::stream(5, Purpose::Start, 10 + stream);
    let values: Vec<f32> = (0..rows * FEATURES).map(|_| rng.normal() as f32).collect();
    let class = |x: &[f32]| {
        let margin: f64 = x.iter().zip(weights).map(|(x, w)| f64::from(*x) * w).sum();
        f64::from(u8::from(rng.uniform() < 1.0 / (1.0 + (-margin).exp())))
    };
    let numbers = values.chunks_exact(FEATURES).map(class).collect();
    (DesignMatrix::DenseF32(DenseMatrix::new(rows, FEATURES, values)), numbers)
}

fn measure(file: &Path, precision: f64, seeds: u64) -> Result<()> {
    println!("n,seed,open_seconds,seconds,rows,relative_error_bound,anonymous_megabytes");
    let clock = Instant::now();
    let data = MappedRows::open(file)?.dataset()?;
    let options = TuneOptions { penalties: Penalties::PerFeature, intercept: false, ..TuneOptions::default() };
    let n = data.rows();
    let problem = GlmProblem::new(data, None, &options)?;
    let opened = clock.elapsed().as_secs_f64();
    let lambda = vec![PENALTY.ln(); problem.hyperparameters()];
    for seed in 0..seeds {
        let clock = Instant::now();
        let options =
            HypergradientOptions { method: PreciseMethod::Sid, precision: Precision::relative(precision), seed };
        let found = problem.hypergradient(&lambda, &options, &mut Silent)?;
        let (seconds, error) = (clock.elapsed().as_secs_f64(), found.relative_error());
        println!("{n},{seed},{opened:.4},{seconds:.3},{},{error:.2e},{}", found.estimate.work.rows, anonymous());
    }
    Ok(())
}

/// Resident memory that is not pages of files, in megabytes.
fn anonymous() -> String {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:"));
    let kilobytes = line.and_then(|line| line.split_whitespace().next()?.parse::<f64>().ok());
    kilobytes.map_or("unknown".into(), |kilobytes| format!("{:.1}", kilobytes / 1e3))
}
