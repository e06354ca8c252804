//! The cost of a hypergradient to 1 % against the number of rows: by samples, and by passes (AID-CG).
//!
//! ```text
//! cargo run --release --example rows [LARGEST EXPONENT = 6 [PRECISION = 0.01 [SEEDS = 10]]]
//! ```
//! Training rows are drawn from one distribution: 20 normal features, two classes from a logistic model, penalty 0.1 for each
//! feature; 10 000 other rows judge. Prints CSV; the figures of the samples are means over the seeds.

use std::time::Instant;

use bilevel::data::{Dataset, DenseMatrix, Target};
use bilevel::hypergradient::{AidConjugateGradient, Precision};
use bilevel::linear_system::ConjugateGradient;
use bilevel::lower::{Curved, GradientMap, StochasticLoss};
use bilevel::observer::Silent;
use bilevel::sample::{Purpose, Rng};
use bilevel::stop::StopSignal;
use bilevel::tune::{GlmProblem, HypergradientOptions, Penalties, PreciseMethod, TuneOptions};
use bilevel::{diagnose, vector};

const FEATURES: usize = 20;
const PENALTY: f64 = 0.1;
const JUDGING_ROWS: usize = 10_000;

fn main() -> bilevel::Result<()> {
    let argument = |i: usize| std::env::args().nth(i).and_then(|text| text.parse::<f64>().ok());
    let (largest, precision) = (argument(1).unwrap_or(6.0) as u32, argument(2).unwrap_or(0.01));
    let seeds = argument(3).unwrap_or(10.0) as u64;
    let validation = dataset(JUDGING_ROWS, 1)?;
    println!("n,sid_rows,sid_seconds,sid_relative_error,aid_cg_rows,aid_cg_seconds,aid_cg_relative_error");
    for exponent in 4..=largest {
        let n = 10_usize.pow(exponent);
        let options = TuneOptions {
            penalties: Penalties::PerFeature,
            standardize: false,
            intercept: false,
            ..TuneOptions::default()
        };
        let problem = GlmProblem::new(dataset(n, 0)?, Some(&validation), &options)?;
        let lambda = vec![PENALTY.ln(); problem.hyperparameters()];
        let truth = problem.exact_hypergradient(&lambda, &StopSignal::never())?.value;
        let error = |value: &[f64]| vector::distance(value, &truth) / vector::norm(&truth);

        let (mut sid_rows, mut sid_seconds, mut sid_error) = (0.0, 0.0, 0.0);
        for seed in 0..seeds {
            let clock = Instant::now();
            let options =
                HypergradientOptions { method: PreciseMethod::Sid, precision: Precision::relative(precision), seed };
            let sid = problem.hypergradient(&lambda, &options, &mut Silent)?;
            sid_seconds += clock.elapsed().as_secs_f64() / seeds as f64;
            sid_rows += sid.estimate.work.rows as f64 / seeds as f64;
            sid_error += error(&sid.estimate.value) / seeds as f64;
        }

        // The same precision by passes: more and more steps until it is kept.
        let (lower, upper) = (problem.lower(), problem.upper());
        let zeros = vec![0.0; lower.dims().w];
        let constants = diagnose::loss_constants(&*lower.curvature(&zeros, &lambda), zeros.len(), n, 20, 0)?;
        let map = GradientMap { loss: &lower, map_step: constants.map_step };
        let (mut aid, mut aid_seconds) = (None, 0.0);
        for steps in (1..).map(|k| 1 << k) {
            let method = AidConjugateGradient {
                lower_steps: steps,
                lower_tolerance: 0.0,
                linear: ConjugateGradient { steps, tolerance: 0.0 },
            };
            let clock = Instant::now();
            let found = method.estimate(&map, &upper, &lambda, None)?;
            aid_seconds = clock.elapsed().as_secs_f64();
            if error(&found.value) <= precision {
                aid = Some(found);
                break;
            }
        }
        let Some(aid) = aid else { unreachable!("the loop ends when it is found") };
        println!(
            "{n},{sid_rows:.0},{sid_seconds:.3},{sid_error:.2e},{},{aid_seconds:.3},{:.2e}",
            aid.work.rows,
            error(&aid.value),
        );
    }
    Ok(())
}

fn dataset(n: usize, stream: u64) -> bilevel::Result<Dataset> {
    let mut rng = Rng::stream(5, Purpose::Start, 9);
    let weights: Vec<f64> = (0..FEATURES).map(|_| rng.normal()).collect();
    let mut rng = Rng::stream(5, Purpose::Start, stream);
    let values: Vec<f32> = (0..n * FEATURES).map(|_| rng.normal() as f32).collect();
    let codes = values
        .chunks_exact(FEATURES)
        .map(|x| {
            let margin: f64 = x.iter().zip(&weights).map(|(x, w)| f64::from(*x) * w).sum();
            u32::from(rng.uniform() < 1.0 / (1.0 + (-margin).exp()))
        })
        .collect();
    let target = Target::Classes { codes, names: vec!["0".into(), "1".into()] };
    Dataset::new(DenseMatrix::try_new(n, FEATURES, values)?, target)
}
