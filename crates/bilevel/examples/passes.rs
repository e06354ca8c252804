//! What a hypergradient to a high precision costs: variance-reduced SID, Newton with conjugate gradients, AID-CG.
//!
//! ```text
//! cargo run --release --example passes -- FILE PENALTY [PRECISION [SEEDS [MOST AID-CG STEPS]]]
//! ```
//! A penalty for each feature; half of the rows judge. A file `...images-idx3...` is MNIST, odd against even digits, in pixels
//! as they are. Passes are over the training rows; the judging rows that were visited are not among them. Where one visit
//! serves a gradient and a product with the Hessian it is one pass and two evaluations.

use std::ops::ControlFlow;
use std::path::Path;
use std::time::Instant;

use bilevel::data::{LearnOptions, ReadOptions, Relabel, Schema};
use bilevel::diagnose::loss_constants;
use bilevel::hypergradient::{
    AidConjugateGradient, ExactLinear, Implicit, PreciseHypergradient, Precision, Stage, WarmStart,
};
use bilevel::linear_system::ConjugateGradient;
use bilevel::lower::{Curved, GradientMap, StochasticLoss};
use bilevel::newton::{Newton, NewtonDirection};
use bilevel::sample::Batch;
use bilevel::stop::StopSignal;
use bilevel::tune::{Criterion, GlmProblem, HypergradientOptions, Penalties, PreciseMethod, TuneOptions};
use bilevel::vector;
use bilevel::work::Work;

fn main() -> bilevel::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let number = |i: usize, default: f64| arguments.get(i).and_then(|text| text.parse().ok()).unwrap_or(default);
    let Some(file) = arguments.first() else {
        return Err(bilevel::Error::input("a data file is needed"));
    };
    let problem = problem(file)?;
    let lambda = vec![number(1, 0.01).ln(); problem.hyperparameters()];
    let precision = number(2, 1e-3);
    let exact = problem.exact_hypergradient(&lambda, &StopSignal::never())?.value;
    let error = |value: &[f64]| vector::distance(value, &exact) / vector::norm(&exact);
    let (lower, upper) = (problem.lower(), problem.upper());
    let (n, judging) = (lower.risk().len(), upper.len());
    let norms = lower.risk().row_norms_squared();
    let mean = |of: fn(f64) -> f64| norms.iter().map(|&x| of(x)).sum::<f64>() / n as f64;
    println!("rows {n} + {judging}; noise saved by drawing rows by norm {:.3}", mean(f64::sqrt).powi(2) / mean(|x| x));
    let to = |method, seed| HypergradientOptions { method, precision: Precision::relative(precision), seed };
    let auto = problem.precise_method(&lambda, &to(PreciseMethod::Auto, 0));
    println!("auto: {auto:?}");

    println!("method,seconds,passes,evaluations,error,bound");
    for seed in 0..number(3, 5.0) as u64 {
        let clock = Instant::now();
        let mut chains = 0;
        let go_on = &mut |stage: &Stage| {
            chains += stage.replicates;
            ControlFlow::Continue(())
        };
        let found = problem.hypergradient(&lambda, &to(PreciseMethod::SidSvrg, seed), go_on)?;
        let seconds = clock.elapsed().as_secs_f64();
        let judged = judged(&found, chains, judging) as f64;
        let passes = (found.estimate.work.rows as f64 - judged) / n as f64;
        let evaluations = (evaluated(&found.estimate.work) - judged) / n as f64;
        let (error, bound) = (error(&found.estimate.value), found.relative_error());
        println!(
            "sid-svrg ({} anchors),{seconds:.3},{passes:.1},{evaluations:.1},{error:.2e},{bound:.2e}",
            found.anchors
        );
    }
    for tolerance in [1e-2, 1e-3, 1e-4, 1e-6] {
        let clock = Instant::now();
        let direction = NewtonDirection::ConjugateGradients { steps: 200 };
        let newton = Newton { tolerance: tolerance * tolerance, direction, ..Newton::default() };
        let linear = ExactLinear::ConjugateGradient(ConjugateGradient { steps: 1000, tolerance });
        let mut start = WarmStart::zeros(lower.dims());
        let found = Implicit { linear }.estimate(&lower, &upper, &lambda, Some(&mut start), &newton)?;
        let passes = found.work.rows as f64 / n as f64 - judging as f64 / n as f64;
        println!("newton-cg,{:.3},{passes:.1},{passes:.1},{:.2e},", clock.elapsed().as_secs_f64(), error(&found.value));
    }
    let zeros = vec![0.0; lower.dims().w];
    let constants = loss_constants(&*lower.curvature(&zeros, &lambda), zeros.len(), n, 20, 0)?;
    let map = GradientMap { loss: &lower, map_step: constants.map_step };
    for lower_steps in (6..).map(|k| 1 << k).take_while(|&steps| steps <= number(4, 512.0) as usize) {
        let clock = Instant::now();
        let linear = ConjugateGradient { steps: 1000, tolerance: 0.3 * precision };
        let method = AidConjugateGradient { lower_steps, lower_tolerance: 0.0, linear };
        let found = method.estimate(&map, &upper, &lambda, None)?;
        let passes = found.work.rows as f64 / n as f64 - judging as f64 / n as f64;
        let error = error(&found.value);
        let seconds = clock.elapsed().as_secs_f64();
        println!("aid-cg ({lower_steps} steps),{seconds:.3},{passes:.1},{passes:.1},{error:.2e},");
        if error <= precision {
            break;
        }
    }
    Ok(())
}

fn evaluated(work: &Work) -> f64 {
    (work.gradients + work.hessian_products) as f64
}

/// Judging rows visited: all at each anchor, the samples of the chains there and at the anchor, and those of the pilot.
fn judged(found: &PreciseHypergradient, chains: usize, judging: usize) -> u64 {
    let samples = match found.settings.upper_batch {
        Batch::All => judging,
        Batch::Rows(rows) => 2 * rows,
    };
    (found.anchors * judging + chains * samples + judging.min(4096)) as u64
}

fn problem(file: &str) -> bilevel::Result<GlmProblem> {
    let labels = file.contains("images-idx3").then(|| file.replace("images-idx3", "labels-idx1").into());
    let images = labels.is_some();
    let relabel = match images {
        true => Relabel::parse(&["even=0,2,4,6,8", "odd=1,3,5,7,9"])?,
        false => Relabel::default(),
    };
    let read = ReadOptions { labels, ..ReadOptions::default() };
    let data = Schema::learn(Path::new(file), &LearnOptions { read, relabel, ..LearnOptions::default() })?.data;
    let (penalties, criterion) = (Penalties::PerFeature, Criterion::HeldOut(0.5));
    GlmProblem::new(data, None, &TuneOptions { penalties, criterion, standardize: !images, ..TuneOptions::default() })
}
