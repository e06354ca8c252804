//! A whole hypergradient: by samples (SID), and by passes (AID-CG) to the same error.
//!
//! ```text
//! cargo bench -p bilevel --bench hypergradients
//! ```
//! On bundled data, or on the file that `BILEVEL_BENCH_FILE` names (labels by `BILEVEL_BENCH_FILE_LABELS`). Errors are
//! relative to the exact hypergradient. AID-CG doubles its steps until its error is no larger; only the last run is timed.
//! `BILEVEL_BENCH_STEPS` is the number of steps of both solves of SID, instead of 300 and then 3000.

mod common;

use std::hint::black_box;
use std::path::Path;

use bilevel::data::{Dataset, Storage, Target};
use bilevel::hypergradient::{AidConjugateGradient, Sid};
use bilevel::linear_system::ConjugateGradient;
use bilevel::lower::{Curved, GradientMap, StochasticLoss};
use bilevel::step_size::StepSize;
use bilevel::stop::StopSignal;
use bilevel::tune::{GlmProblem, Penalties, TuneOptions};
use bilevel::{diagnose, vector};
use common::{Candidate, Data};

/// Penalty of every feature.
const PENALTY: f64 = 0.1;
const BATCH: usize = 64;
/// Steps of AID-CG at which the search for the same error ends.
const LARGEST: usize = 1 << 14;

fn dataset(data: Data) -> bilevel::Result<(String, Dataset)> {
    let codes = data.target.iter().map(|&y| y as u32).collect();
    let target = Target::Classes { codes, names: vec!["0".into(), "1".into()] };
    Ok((data.name, Dataset::new(data.design, target)?))
}

/// Steps of SID, one comparison each.
fn steps() -> Vec<usize> {
    match std::env::var("BILEVEL_BENCH_STEPS") {
        Ok(steps) => vec![steps.parse().expect("BILEVEL_BENCH_STEPS is a number of steps")],
        Err(_) => vec![300, 3_000],
    }
}

fn compare(data: Data) -> bilevel::Result<()> {
    let (name, data) = dataset(data)?;
    let options = TuneOptions { penalties: Penalties::PerFeature, ..TuneOptions::default() };
    let problem = GlmProblem::new(&data, None, &options)?;
    let (lower, upper) = (problem.lower(), problem.upper());
    let lambda = vec![PENALTY.ln(); problem.hyperparameters()];
    let truth = problem.exact_hypergradient(&lambda, &StopSignal::never())?.value;
    let error = |value: &[f64]| vector::distance(value, &truth) / vector::norm(&truth);
    let zeros = vec![0.0; lower.dims().w];
    let rows = lower.risk().len();
    let constants = diagnose::loss_constants(&*lower.curvature(&zeros, &lambda), zeros.len(), rows, 20, 0)?;
    let map = GradientMap { loss: &lower, map_step: constants.map_step };
    for steps in steps() {
        let sid = Sid::new(steps, BATCH, StepSize::Constant { eta: 30.0 / steps as f64 });
        let sampled = sid.estimate(&map, &upper, &lambda, None, 1, 0)?;
        let reached = error(&sampled.value);
        let mut aid = AidConjugateGradient {
            lower_steps: 1,
            lower_tolerance: 0.0,
            linear: ConjugateGradient { steps: 1, tolerance: 0.0 },
        };
        let mut found = aid.estimate(&map, &upper, &lambda, None)?;
        while error(&found.value) > reached && aid.lower_steps < LARGEST {
            (aid.lower_steps, aid.linear.steps) = (2 * aid.lower_steps, 2 * aid.linear.steps);
            found = aid.estimate(&map, &upper, &lambda, None)?;
        }
        let mut candidates = [
            Candidate::new("SID", || drop(black_box(sid.estimate(&map, &upper, &lambda, None, 1, 0)))),
            Candidate::new("AID-CG", || drop(black_box(aid.estimate(&map, &upper, &lambda, None)))),
        ];
        let seconds = common::measure(&mut candidates);
        for ((method, estimate), seconds) in [("SID", &sampled), ("AID-CG", &found)].iter().zip(&seconds) {
            let (rows, error) = (estimate.work.rows, error(&estimate.value));
            println!("{name:<32} {method:<8} {error:9.2e} {rows:10} {:10.2} ms", seconds.median * 1e3);
        }
    }
    Ok(())
}

fn main() -> bilevel::Result<()> {
    println!("data                             method       error       rows     median");
    if let Some(path) = std::env::var_os("BILEVEL_BENCH_FILE") {
        let labels = std::env::var_os("BILEVEL_BENCH_FILE_LABELS");
        return compare(common::file(Path::new(&path), labels.as_deref().map(Path::new), Storage::Auto)?);
    }
    compare(common::bundled("a9a.gz", Storage::Auto)?)?;
    compare(common::bundled("mushrooms.gz", Storage::Auto)?)
}
