//! A random linear contraction, whose hypergradient is known in closed form: the mean-square error of SID against `1/t`.
//!
//! `cargo run --release --example linear_contraction`
//!
//! Everything is sampled, nothing is a gradient step, and the bound of the theory stands beside what is measured. With
//! decreasing steps error times `t` settles; with constant steps the error stops at a floor.

use bilevel::Result;
use bilevel::diagnose::{ErrorBound, ProblemConstants};
use bilevel::hypergradient::{Sid, replicate};
use bilevel::lower::Dims;
use bilevel::problems::linear_contraction::LinearContraction;
use bilevel::problems::target::Target;
use bilevel::sample::{Batch, Sample};
use bilevel::upper::UpperObjective;
use bilevel::vector;

const LAMBDA: [f64; 2] = [0.3, -0.5];
const REPLICATES: u64 = 100;

fn main() -> Result<()> {
    let dims = Dims { w: 4, lambda: LAMBDA.len() };
    let map = LinearContraction::random(dims, 0.6, 0.3, 1);
    let upper = Target::random(dims, 1, 0.0, 0.1, 1);
    let exact = map.hypergradient(&upper, &LAMBDA);

    let (mut grad_w, mut grad_lambda) = (vec![0.0; dims.w], vec![0.0; dims.lambda]);
    upper.gradients(&map.solution(&LAMBDA), &LAMBDA, &Sample::Full, &mut grad_w, &mut grad_lambda);
    let size = vector::norm(&map.solution(&LAMBDA));
    let noise = map.noise_constants(&LAMBDA, 1);
    let constants = ProblemConstants::of_linear_contraction(&map, &upper, &LAMBDA, size, 1);
    let decreasing = ErrorBound::decreasing(constants, (noise.sigma1, noise.sigma2), 1, size)?
        .with_upper_gradient(vector::norm(&grad_w));
    let constant = decreasing.with_constant_steps(0.2);

    println!(
        "mean |g_hat - grad f|^2 over {REPLICATES} replicates, t = k, |grad f|^2 = {:.3}\n",
        vector::norm_squared(&exact)
    );
    println!("{:>6}  {:>10} {:>10} {:>10}  {:>10} {:>10}", "t", "decreasing", "times t", "bound", "constant", "bound");
    for t in [10, 30, 100, 300, 1000] {
        let mut row = Vec::new();
        for bound in [&decreasing, &constant] {
            let sid = Sid { linear_step: bound.linear_step, ..Sid::new(t, 1, bound.lower_step) };
            let mse = std::sync::Mutex::new(vec![0.0; REPLICATES as usize]);
            replicate(REPLICATES as usize, |index| {
                let estimate = sid.estimate(&map, &upper, &LAMBDA, None, 7, index)?;
                mse.lock().expect("no replicate panics")[index as usize] =
                    vector::distance_squared(&estimate.value, &exact);
                Ok(estimate)
            })?;
            let errors = mse.into_inner().expect("no replicate panics");
            row.push(errors.iter().sum::<f64>() / REPLICATES as f64);
            row.push(bound.hypergradient_mse(t, t, Batch::All).unwrap_or(f64::NAN));
        }
        println!(
            "{t:>6}  {:>10.2e} {:>10.3} {:>10.2e}  {:>10.2e} {:>10.2e}",
            row[0],
            row[0] * t as f64,
            row[1],
            row[2],
            row[3]
        );
    }
    let plan = decreasing.plan(1e-2)?;
    println!(
        "\nFor an error of 1e-2 the theory asks for t = {}, k = {}, J = {}: {} samples.",
        plan.lower_steps, plan.linear_steps, plan.cross_batch, plan.samples
    );
    Ok(())
}
