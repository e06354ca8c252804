//! How often the error bars of a hypergradient cover the truth.
//!
//! ```text
//! cargo run --release --example coverage -- linear [REPETITIONS [PRECISION]]
//! cargo run --release --example coverage -- FILE PENALTY shared|per-feature [REPETITIONS [PRECISION [sid|sid-svrg]]]
//! ```
//! A file `...images-idx3...` is MNIST, odd against even digits. Repeats the estimate with other seeds, and counts for 20
//! random projections how often the 95 % interval covers the exact one, and how often the requested precision was kept.

use bilevel::data::{LearnOptions, ReadOptions, Relabel, Schema};
use bilevel::hypergradient::{PreciseHypergradient, PreciseSid, Precision};
use bilevel::lower::Dims;
use bilevel::observer::Silent;
use bilevel::problems::linear_contraction::LinearContraction;
use bilevel::problems::target;
use bilevel::sample::{Purpose, Rng};
use bilevel::stop::StopSignal;
use bilevel::tune::{Criterion, GlmProblem, HypergradientOptions, Penalties, PreciseMethod, TuneOptions};
use bilevel::vector;

const PROJECTIONS: u64 = 20;

fn main() -> bilevel::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let number = |i: usize, default: f64| arguments.get(i).and_then(|text| text.parse().ok()).unwrap_or(default);
    match arguments.first().map(String::as_str) {
        None | Some("linear") => {
            let dims = Dims { w: 20, lambda: 10 };
            let map = LinearContraction::random(dims, 0.7, 0.5, 1);
            let upper = target::Target::random(dims, 200, 0.5, 0.1, 2);
            let lambda = vec![0.3; dims.lambda];
            let truth = map.hypergradient(&upper, &lambda);
            let precision = Precision::relative(number(2, 0.02));
            report(number(1, 100.0) as u64, &truth, |seed| {
                let sid = PreciseSid { batch: 4, contraction: Some(0.7), seed, ..PreciseSid::default() };
                sid.estimate(&map, &upper, &lambda, None, precision, &mut Silent)
            })
        }
        Some(file) => {
            // MNIST comes as two files, and its problem is odd against even digits.
            let labels = file.contains("images-idx3").then(|| file.replace("images-idx3", "labels-idx1").into());
            let odd_even = labels.is_some();
            let mut learn =
                LearnOptions { read: ReadOptions { labels, ..ReadOptions::default() }, ..LearnOptions::default() };
            let mut options = options(arguments.get(2));
            if odd_even {
                learn.relabel = Relabel::parse(&["even=0,2,4,6,8", "odd=1,3,5,7,9"])?;
                options = TuneOptions { criterion: Criterion::HeldOut(0.5), standardize: false, ..options };
            }
            let data = Schema::learn(std::path::Path::new(file), &learn)?.data;
            let problem = GlmProblem::new(data, None, &options)?;
            let lambda = vec![number(1, 0.01).ln(); problem.hyperparameters()];
            let truth = problem.exact_hypergradient(&lambda, &StopSignal::never())?.value;
            let precision = Precision::relative(number(4, 0.05));
            let method = match arguments.get(5).map(String::as_str) {
                Some("sid-svrg") => PreciseMethod::SidSvrg,
                _ => PreciseMethod::Sid,
            };
            report(number(3, 100.0) as u64, &truth, |seed| {
                problem.hypergradient(&lambda, &HypergradientOptions { method, precision, seed }, &mut Silent)
            })
        }
    }
}

fn options(penalties: Option<&String>) -> TuneOptions {
    let penalties = match penalties.map(String::as_str) {
        Some("per-feature") => Penalties::PerFeature,
        Some("per-class") => Penalties::PerClass,
        _ => Penalties::Shared,
    };
    TuneOptions { penalties, ..TuneOptions::default() }
}

fn report(
    repetitions: u64,
    truth: &[f64],
    estimate: impl Fn(u64) -> bilevel::Result<PreciseHypergradient>,
) -> bilevel::Result<()> {
    let mut rng = Rng::stream(0, Purpose::Start, 77);
    let directions: Vec<Vec<f64>> = (0..PROJECTIONS).map(|_| truth.iter().map(|_| rng.normal()).collect()).collect();
    let (mut covered, mut kept, mut rows, mut errors) = (0, 0, 0, 0.0);
    let (mut bias, mut replicates, mut mean) = (0.0, 0, vec![0.0; truth.len()]);
    for seed in 1..=repetitions {
        let found = estimate(seed)?;
        for direction in &directions {
            let (low, high) = found.interval_along(direction, 0.95);
            covered += u32::from((low..=high).contains(&vector::dot(direction, truth)));
        }
        let error = vector::distance(&found.estimate.value, truth);
        kept += u32::from(error <= found.allowed);
        errors += error * error;
        bias += found.bias;
        replicates += found.replicates.len();
        rows += found.estimate.work.rows;
        vector::axpy(1.0 / repetitions as f64, &found.estimate.value, &mut mean);
    }
    let n = repetitions as f64;
    let norm = vector::norm(truth);
    println!("intervals that cover the truth  {:.2} %", 100.0 * f64::from(covered) / (n * PROJECTIONS as f64));
    println!("estimates within the precision  {:.2} %", 100.0 * f64::from(kept) / n);
    println!("root mean square error          {:.3} %", 100.0 * (errors / n).sqrt() / norm);
    println!(
        "bias, measured and estimated    {:.3} %, {:.3} %",
        100.0 * vector::distance(&mean, truth) / norm,
        100.0 * bias / n / norm
    );
    println!("replicates, rows of each run    {:.1}, {:.0}", replicates as f64 / n, rows as f64 / n);
    Ok(())
}
