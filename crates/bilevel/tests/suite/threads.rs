//! Algorithms on one thread, and on two where that may pay: the same iterates, and callbacks stay where they belong.

use std::iter;
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::{self, ThreadId};

use bilevel::algorithms::{Algorithm, Bilevel, FirstSteps, Iterate, Point, Settings, run};
use bilevel::data::{DenseMatrix, DesignMatrix, RowRanges};
use bilevel::domain::Domain;
use bilevel::lower::{Dims, FirstOrder, StochasticLoss};
use bilevel::newton::Newton;
use bilevel::problems::glm::{EmpiricalRisk, Glm, Loss, Penalty};
use bilevel::problems::quadratic::{Quadratic, QuadraticOptions};
use bilevel::row_sums::RowSumLoss;
use bilevel::sample::{Batch, Purpose, Rng, Sample};
use bilevel::stop::StopSignal;

/// Enough for both ways to be timed, and for some iterations with what was found.
const ITERATIONS: usize = 900;
/// Iterations that show how long they take.
const FIRST: usize = 20;

/// All that are made of steps on samples.
fn sampled() -> impl Iterator<Item = Algorithm> {
    Algorithm::ALL.into_iter().filter(|&algorithm| algorithm != Algorithm::Hoag)
}

fn next(iterations: usize) -> ControlFlow<(), usize> {
    match iterations {
        ITERATIONS.. => ControlFlow::Break(()),
        FIRST.. => ControlFlow::Continue(ITERATIONS),
        _ => ControlFlow::Continue(FIRST),
    }
}

/// Where `algorithm` ends, started within a pool of so many threads.
fn end(problem: Bilevel<'_>, algorithm: Algorithm, start: &Point, threads: usize) -> Vec<f64> {
    let settings = Settings::of(algorithm, FirstSteps::from([1e-2, 1e-2, 1e-3]), Batch::Rows(16), 3);
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
    let outcome = pool.install(|| run(problem, &settings, start.clone(), &mut |at: &Iterate<'_>| next(at.iterations)));
    let point = outcome.unwrap_or_else(|error| panic!("{algorithm}: {error}")).point;
    [point.w(), point.v(), point.lambda()].concat()
}

fn assert_same_ends(problem: Bilevel<'_>, what: &str) {
    let Dims { w, lambda } = problem.dims();
    let start = Point::new(&vec![0.0; w], &vec![0.0; w], &vec![0.0; lambda]);
    for algorithm in sampled() {
        let [alone, in_company] = [1, 2].map(|threads| end(problem, algorithm, &start, threads));
        assert_eq!(alone, in_company, "{what}, {algorithm}");
    }
}

#[test]
fn iterates_do_not_depend_on_the_number_of_threads() {
    let quadratic = Quadratic::random(&QuadraticOptions { rows: 64, upper_rows: 32, ..QuadraticOptions::default() });
    let domain = Domain::uniform(4, -5.0, 5.0).unwrap();
    assert_same_ends(Bilevel { lower: &quadratic, upper: quadratic.upper(), domain: &domain }, "quadratic");
    let mut rng = Rng::stream(5, Purpose::Start, 0);
    for (columns, classes) in [(6, 2), (20, 4), (180, 7)] {
        let (rows, validation) = (200, 120..200);
        let x: Vec<f32> = (0..rows * columns).map(|_| rng.normal() as f32).collect();
        let y: Vec<f64> = (0..rows).map(|_| rng.below(classes) as f64).collect();
        let design = DesignMatrix::DenseF32(DenseMatrix::new(rows, columns, x));
        let (loss, penalty) = match classes {
            2 => (Loss::Logistic, Penalty::PerFeature { features: columns }),
            _ => (Loss::Softmax { classes }, Penalty::PerClass { outputs: classes }),
        };
        let lower = Glm::new(EmpiricalRisk::new(&design, &y, RowRanges::all(120), loss, true), penalty);
        let m = lower.dims().lambda;
        let upper = EmpiricalRisk::new(&design, &y, RowRanges::new(iter::once(validation)), loss, true).as_upper(m);
        let domain = Domain::uniform(m, -8.0, 2.0).unwrap();
        let problem = Bilevel { lower: &lower, upper: &upper, domain: &domain };
        assert_same_ends(problem, &format!("{columns} columns, {classes} classes"));
    }
}

/// Factors of rows, where there are fewer than features.
#[test]
fn solutions_of_wide_data_do_not_depend_on_the_number_of_threads() {
    let mut rng = Rng::stream(6, Purpose::Start, 0);
    let (rows, columns) = (250, 1000);
    let x: Vec<f64> = (0..rows * columns).map(|_| rng.normal()).collect();
    let y: Vec<f64> = (0..rows).map(|_| rng.below(2) as f64).collect();
    let design = DesignMatrix::DenseF64(DenseMatrix::new(rows, columns, x));
    let loss = Glm::new(EmpiricalRisk::new(&design, &y, RowRanges::all(rows), Loss::Logistic, true), Penalty::Shared);
    let solve = |threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        let mut w = loss.risk().null_parameters();
        pool.install(|| Newton::default().minimize(&loss, &[0.0], &mut w, None, &StopSignal::never())).unwrap();
        w
    };
    let alone = solve(1);
    assert!([2, 3].into_iter().all(|threads| solve(threads) == alone));
}

/// A quadratic that belongs to a thread, as functions of an interpreter do.
struct Bound {
    inner: Quadratic,
    home: ThreadId,
    calls: AtomicUsize,
}

impl Bound {
    fn called(&self) -> &Quadratic {
        assert_eq!(thread::current().id(), self.home, "called on another thread");
        self.calls.fetch_add(1, Ordering::Relaxed);
        &self.inner
    }
}

impl StochasticLoss for Bound {
    fn dims(&self) -> Dims {
        self.inner.dims()
    }
    fn draw(&self, batch: usize, rng: &mut Rng, sample: &mut Sample) {
        self.called().draw(batch, rng, sample);
    }
    fn size(&self, zeta: &Sample) -> usize {
        self.inner.size(zeta)
    }
    fn is_parallel(&self) -> bool {
        false
    }
    fn value(&self, w: &[f64], lambda: &[f64], zeta: &Sample) -> f64 {
        self.called().value(w, lambda, zeta)
    }
    fn gradient(&self, w: &[f64], lambda: &[f64], zeta: &Sample, out: &mut [f64]) -> f64 {
        self.called().gradient(w, lambda, zeta, out)
    }
    fn hessian_product(&self, w: &[f64], lambda: &[f64], zeta: &Sample, v: &[f64], out: &mut [f64]) {
        self.called().hessian_product(w, lambda, zeta, v, out);
    }
    fn cross_product(&self, w: &[f64], lambda: &[f64], zeta: &Sample, v: &[f64], out: &mut [f64]) {
        self.called().cross_product(w, lambda, zeta, v, out);
    }
}

impl FirstOrder for Bound {
    fn gradient_lambda(&self, w: &[f64], lambda: &[f64], zeta: &Sample, out: &mut [f64]) {
        self.called().gradient_lambda(w, lambda, zeta, out);
    }
}

impl RowSumLoss for Bound {}

#[test]
fn what_belongs_to_a_thread_is_called_on_it() {
    let inner = Quadratic::random(&QuadraticOptions { rows: 64, ..QuadraticOptions::default() });
    let lower = Bound { inner, home: thread::current().id(), calls: AtomicUsize::new(0) };
    let domain = Domain::uniform(4, -5.0, 5.0).unwrap();
    let problem = Bilevel { lower: &lower, upper: lower.inner.upper(), domain: &domain };
    for algorithm in [Algorithm::Soba, Algorithm::Sustain, Algorithm::Srba, Algorithm::StocBio] {
        let settings = Settings::of(algorithm, FirstSteps::from([1e-2, 1e-2, 1e-3]), Batch::Rows(16), 3);
        let start = Point::new(&[0.0; 10], &[0.0; 10], &[0.0; 4]);
        run(problem, &settings, start, &mut |at: &Iterate<'_>| next(at.iterations)).unwrap();
    }
    assert!(lower.calls.load(Ordering::Relaxed) > 4 * ITERATIONS);
}
