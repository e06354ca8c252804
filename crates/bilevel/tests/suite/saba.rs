//! SABA with a memory of numbers a row: the same algorithm as with a table of directions, to the exact optimum on real data.

use std::ops::ControlFlow;

use crate::models::Bundled;
use bilevel::algorithms::{Algorithm, Bilevel, FirstSteps, Iterate, LowerLoss, Point, Settings, run};
use bilevel::domain::Domain;
use bilevel::hypergradient::{Implicit, WarmStart};
use bilevel::lower::{Dims, FirstOrder, StochasticLoss};
use bilevel::newton::Newton;
use bilevel::problems::glm::{EmpiricalRisk, Glm, Loss, Penalty, Weighting};
use bilevel::row_sums::{RowSumLoss, RowSumObjective};
use bilevel::sample::{Batch, Rng, Sample};
use bilevel::upper::UpperObjective;
use bilevel::vector;
use bilevel::work::Work;

/// A problem that does not say by which numbers its rows enter, so that whole directions must be remembered.
struct Opaque<'a, G>(&'a G);

impl<G: StochasticLoss> StochasticLoss for Opaque<'_, G> {
    fn dims(&self) -> Dims {
        self.0.dims()
    }
    fn draw(&self, batch: usize, rng: &mut Rng, sample: &mut Sample) {
        self.0.draw(batch, rng, sample);
    }
    fn size(&self, zeta: &Sample) -> usize {
        self.0.size(zeta)
    }
    fn cross_size(&self, zeta: &Sample) -> usize {
        self.0.cross_size(zeta)
    }
    fn value(&self, w: &[f64], lambda: &[f64], zeta: &Sample) -> f64 {
        self.0.value(w, lambda, zeta)
    }
    fn gradient(&self, w: &[f64], lambda: &[f64], zeta: &Sample, out: &mut [f64]) -> f64 {
        self.0.gradient(w, lambda, zeta, out)
    }
    fn hessian_product(&self, w: &[f64], lambda: &[f64], zeta: &Sample, v: &[f64], out: &mut [f64]) {
        self.0.hessian_product(w, lambda, zeta, v, out);
    }
    fn cross_product(&self, w: &[f64], lambda: &[f64], zeta: &Sample, v: &[f64], out: &mut [f64]) {
        self.0.cross_product(w, lambda, zeta, v, out);
    }
}

impl<G: FirstOrder> FirstOrder for Opaque<'_, G> {
    fn gradient_lambda(&self, w: &[f64], lambda: &[f64], zeta: &Sample, out: &mut [f64]) {
        self.0.gradient_lambda(w, lambda, zeta, out);
    }
}

impl<G: StochasticLoss> RowSumLoss for Opaque<'_, G> {}

struct OpaqueObjective<'a>(&'a EmpiricalRisk<'a>);

impl UpperObjective for OpaqueObjective<'_> {
    fn dims(&self) -> Dims {
        self.0.dims()
    }
    fn draw(&self, batch: usize, rng: &mut Rng, sample: &mut Sample) {
        self.0.draw(batch, rng, sample);
    }
    fn size(&self, xi: &Sample) -> usize {
        self.0.size(xi)
    }
    fn value(&self, w: &[f64], lambda: &[f64], xi: &Sample) -> f64 {
        self.0.value(w, lambda, xi)
    }
    fn gradients(&self, w: &[f64], lambda: &[f64], xi: &Sample, grad_w: &mut [f64], grad_lambda: &mut [f64]) -> f64 {
        self.0.gradients(w, lambda, xi, grad_w, grad_lambda)
    }
}

impl RowSumObjective for OpaqueObjective<'_> {}

/// Where SABA is after so many iterations of 16 rows, and what they cost.
fn saba(
    lower: &dyn LowerLoss,
    upper: &dyn RowSumObjective,
    (first, lambda): ([f64; 3], f64),
    iterations: usize,
) -> (Point, Work) {
    let dims = lower.dims();
    let domain = Domain::unbounded(dims.lambda);
    let settings = Settings::of(Algorithm::Saba, FirstSteps::from(first), Batch::Rows(16), 1);
    let start = Point::new(&vec![0.0; dims.w], &vec![0.0; dims.w], &vec![lambda; dims.lambda]);
    let mut watch = |at: &Iterate<'_>| {
        if at.iterations < iterations { ControlFlow::Continue(iterations) } else { ControlFlow::Break(()) }
    };
    let end = run(Bilevel { lower, upper, domain: &domain }, &settings, start, &mut watch).unwrap();
    (end.point, end.work)
}

/// The same steps to rounding for 700 iterations, where the penalty, which only a table remembers, is nothing; a prime number
/// of rows leaves a smaller block.
#[test]
fn numbers_of_rows_and_whole_directions_are_one_algorithm() {
    let data = Bundled::read("heart_scale.gz", 270);
    let features = data.design.cols();
    let row_weights: Vec<f64> = (0..data.rows()).map(|i| 0.5 + (i % 3) as f64).collect();
    for (loss, weighting) in [(Loss::Logistic, Weighting::Rows(&row_weights)), (Loss::Squared, Weighting::Uniform)] {
        let risk = data.risk(0..197, loss, true).weighted(weighting);
        let lower = Glm::new(risk, Penalty::PerFeature { features });
        let upper = data.risk(197..data.rows(), loss, true).as_upper(features);
        let settings = ([0.1, 0.1, 0.5], -60.0);
        for iterations in [1, 5, 700] {
            let (by_rows, work) = saba(&lower, &upper, settings, iterations);
            let (by_blocks, expected) = saba(&Opaque(&lower), &OpaqueObjective(&upper), settings, iterations);
            assert_eq!(work, expected);
            for (a, b) in [(by_rows.w(), by_blocks.w()), (by_rows.v(), by_blocks.v())] {
                let apart = vector::distance(a, b) / vector::norm(b);
                assert!(apart <= 1e-11, "{loss:?} after {iterations}: {apart:e}");
            }
        }
    }
}

/// Constant steps on samples of 16 rows: to a hypergradient of zero, from one that is a million times larger at least.
#[test]
fn it_finds_the_exact_optimum_on_samples() {
    let data = Bundled::read("german.numer.gz", 1000);
    let lower = Glm::new(data.risk(0..601, Loss::Logistic, true), Penalty::Shared);
    let upper = data.risk(601..data.rows(), Loss::Logistic, true).as_upper(1);
    let exact = |lambda: &[f64]| {
        let newton = Newton { tolerance: 1e-18, ..Newton::default() };
        let mut start = WarmStart::zeros(lower.dims());
        Implicit::default().estimate(&lower, &upper, lambda, Some(&mut start), &newton).unwrap().value[0]
    };
    let (end, _) = saba(&lower, &upper, ([0.1, 0.1, 1.0], -3.0), 60_000);
    let (first, last) = (exact(&[-3.0]), exact(end.lambda()));
    assert!(last.abs() < 1e-6 * first.abs(), "{first:e} and then {last:e} at {:?}", end.lambda());
}
