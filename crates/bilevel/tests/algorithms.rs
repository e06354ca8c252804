//! The published algorithms on the quadratic with a closed form.

use std::ops::ControlFlow;

use bilevel::algorithms::{Algorithm, Bilevel, Point, Settings, run};
use bilevel::domain::Domain;
use bilevel::problems::quadratic::{Quadratic, QuadraticOptions};
use bilevel::sample::Batch;
use bilevel::vector;

fn quadratic(noise: f64) -> Quadratic {
    Quadratic::random(&QuadraticOptions {
        rows: 100,
        w: 8,
        lambda: 4,
        condition: 4.0,
        noise,
        reg: 0.5,
        seed: 3,
        ..QuadraticOptions::default()
    })
}

/// `lambda*` by gradient descent on the exact hypergradient.
fn optimum(quadratic: &Quadratic) -> Vec<f64> {
    let mut lambda = vec![0.0; 4];
    for _ in 0..20_000 {
        let gradient = quadratic.hypergradient(&lambda);
        vector::axpy(-0.1, &gradient, &mut lambda);
    }
    assert!(vector::norm(&quadratic.hypergradient(&lambda)) < 1e-12);
    lambda
}

fn end_of(algorithm: Algorithm, quadratic: &Quadratic, steps: [f64; 3], batch: Batch, iterations: usize) -> Vec<f64> {
    let domain = Domain::unbounded(4);
    let problem = Bilevel { lower: quadratic, upper: quadratic.upper(), domain: &domain };
    let settings = Settings::of(algorithm, steps, batch, 0);
    let start = Point::new(&[0.0; 8], &[0.0; 8], &[0.0; 4]);
    let mut watch = |at: &bilevel::algorithms::Iterate<'_>| {
        if at.iterations == iterations { ControlFlow::Break(()) } else { ControlFlow::Continue(iterations) }
    };
    run(problem, &settings, start, &mut watch).unwrap().point.lambda().to_vec()
}

#[test]
fn explore() {
    let quadratic = quadratic(0.5);
    let optimum = optimum(&quadratic);
    println!("optimum {optimum:?}");
    for algorithm in Algorithm::ALL {
        let all = end_of(algorithm, &quadratic, [0.5, 0.5, 0.01], Batch::All, 6000);
        let sampled = end_of(algorithm, &quadratic, [0.1, 0.1, 0.01], Batch::Rows(4), 50_000);
        println!(
            "{algorithm:10} {:10.2e} {:10.2e}",
            vector::distance(&all, &optimum),
            vector::distance(&sampled, &optimum)
        );
    }
}
