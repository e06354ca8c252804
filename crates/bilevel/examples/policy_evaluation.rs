//! Rewards from observed values: a Bellman equation with sampled transitions below, a fit to the values above.
//!
//! `cargo run --release --example policy_evaluation`
//!
//! The lower level is `w = F lambda + gamma P w` of which only transitions are seen, one from each state at a step. The upper
//! level compares values with those observed; its hypergradients by SID drive a few hundred gradient steps, and
//! the rewards come out.

use bilevel::Result;
use bilevel::hypergradient::{AidFixedPoint, Sid, replicate};
use bilevel::lower::Dims;
use bilevel::problems::policy_evaluation::PolicyEvaluation;
use bilevel::problems::target::Target;
use bilevel::step_size::StepSize;
use bilevel::vector;

fn main() -> Result<()> {
    let dims = Dims { w: 30, lambda: 3 };
    let chain = PolicyEvaluation::random(dims, 5, 0.7, 0.2, 4);
    let truth = [1.0, -0.5, 0.25];
    let upper = Target::new(dims, chain.solution(&truth), 0.0);
    println!("{} states, {} reward weights, contraction {:.3}\n", dims.w, dims.lambda, chain.contraction());

    // One hypergradient, by SID with an error bar and exactly.
    let lambda = [0.0; 3];
    let exact = chain.hypergradient(&upper, &lambda);
    let batch = AidFixedPoint { lower_steps: 1000, linear_steps: 1000, tolerance: 1e-12 };
    let by_iteration = batch.estimate(&chain, &upper, &lambda, None)?;
    let step = StepSize::decreasing_from_constants(chain.contraction(), 0.0)?;
    let sid = Sid::new(300, 1, step);
    let sampled = replicate(50, |index| sid.estimate(&chain, &upper, &lambda, None, 1, index))?;
    let errors = sampled.std_error.as_deref().unwrap_or_default();
    println!("{:>14} {:>14} {:>24}", "closed form", "AID-FP", "SID, 50 replicates");
    for j in 0..dims.lambda {
        println!("{:>14.4} {:>14.4} {:>14.4} +- {:.4}", exact[j], by_iteration.value[j], sampled.value[j], errors[j]);
    }

    // Descent on single estimates: the noise averages out over the steps.
    let mut lambda = [0.0; 3];
    println!("\n{:>6} {:>24} {:>18}", "step", "reward weights", "distance to truth");
    for s in 0..=300 {
        if s % 60 == 0 {
            let text: Vec<String> = lambda.iter().map(|x| format!("{x:.3}")).collect();
            println!("{s:>6} {:>24} {:>18.4}", text.join(" "), vector::distance(&lambda, &truth));
        }
        let estimate = sid.estimate(&chain, &upper, &lambda, None, 2, s)?;
        vector::axpy(-0.02, &estimate.value, &mut lambda);
    }
    Ok(())
}
