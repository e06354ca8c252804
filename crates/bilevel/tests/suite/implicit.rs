//! Estimators where the second derivatives depend on `w` and `lambda`, on the independence of their samples, on error
//! bars, and on poor factorisations.

use std::sync::Mutex;

use bilevel::diagnose::{Taylor, ensure};
use bilevel::fixed_point::{FixedPoint, LowerSolver, Workspace};
use bilevel::hypergradient::{
    AidConjugateGradient, AidFixedPoint, ExactLinear, Hypergradient, Implicit, Sid, WarmStart, replicate,
};
use bilevel::linear_system::ConjugateGradient;
use bilevel::lower::{Curvature, Curved, Dims, Factorization, GradientMap, StochasticLoss, StochasticMap};
use bilevel::operator::LowerOperator;
use bilevel::problems::linear_contraction::LinearContraction;
use bilevel::problems::quadratic::{Quadratic, QuadraticOptions};
use bilevel::problems::target::Target;
use bilevel::sample::{Batch, Purpose, Rng, Sample};
use bilevel::status::{Info, Status};
use bilevel::step_size::StepSize;
use bilevel::stop::StopSignal;
use bilevel::upper::UpperObjective;
use bilevel::work::Work;
use bilevel::{Error, Result, vector};

const DIMS: Dims = Dims { w: 6, lambda: 3 };
const LAMBDA: [f64; 3] = [0.3, -0.5, 0.1];

/// `sum_j exp(lambda_{j mod m}) cosh(w_j) - b'w + 1/20 (sum_j w_j)^2`.
struct Cosh;

const B: [f64; 6] = [1.0, -2.0, 0.5, 1.5, -1.0, 0.7];

impl StochasticLoss for Cosh {
    fn dims(&self) -> Dims {
        DIMS
    }

    fn draw(&self, _batch: usize, _rng: &mut Rng, sample: &mut Sample) {
        *sample = Sample::Full;
    }

    fn size(&self, _zeta: &Sample) -> usize {
        1
    }

    fn value(&self, w: &[f64], lambda: &[f64], _zeta: &Sample) -> f64 {
        let total: f64 = w.iter().sum();
        (0..6).map(|j| lambda[j % 3].exp() * w[j].cosh() - B[j] * w[j]).sum::<f64>() + 0.05 * total * total
    }

    fn gradient(&self, w: &[f64], lambda: &[f64], zeta: &Sample, out: &mut [f64]) -> f64 {
        let total: f64 = w.iter().sum();
        (0..6).for_each(|j| out[j] = lambda[j % 3].exp() * w[j].sinh() - B[j] + 0.1 * total);
        self.value(w, lambda, zeta)
    }

    fn hessian_product(&self, w: &[f64], lambda: &[f64], _zeta: &Sample, v: &[f64], out: &mut [f64]) {
        let total: f64 = v.iter().sum();
        (0..6).for_each(|j| out[j] = lambda[j % 3].exp() * w[j].cosh() * v[j] + 0.1 * total);
    }

    fn cross_product(&self, w: &[f64], lambda: &[f64], _zeta: &Sample, v: &[f64], out: &mut [f64]) {
        out.fill(0.0);
        (0..6).for_each(|j| out[j % 3] += lambda[j % 3].exp() * w[j].sinh() * v[j]);
    }
}

impl Curved for Cosh {
    fn curvature<'a>(&'a self, w: &[f64], lambda: &[f64]) -> Box<dyn Curvature + 'a> {
        Box::new(ByProducts { loss: self, w: w.to_vec(), lambda: lambda.to_vec() })
    }
}

/// A Hessian known by products only.
struct ByProducts<'a> {
    loss: &'a Cosh,
    w: Vec<f64>,
    lambda: Vec<f64>,
}

impl Curvature for ByProducts<'_> {
    fn product(&self, v: &[f64], out: &mut [f64]) {
        self.loss.hessian_product(&self.w, &self.lambda, &Sample::Full, v, out);
    }

    fn diagonal(&self, out: &mut [f64]) {
        (0..6).for_each(|j| out[j] = self.lambda[j % 3].exp() * self.w[j].cosh() + 0.1);
    }

    fn factorize(&self, _: &StopSignal) -> Option<Result<Box<dyn Factorization>>> {
        None
    }
}

const MAP: GradientMap<'static, Cosh> = GradientMap { loss: &Cosh, map_step: 0.3 };

fn upper() -> Target {
    Target::random(DIMS, 3, 0.5, 0.2, 4)
}

/// Exact gradient steps as a lower solver.
struct GradientSteps;

impl LowerSolver for GradientSteps {
    fn solve(&self, loss: &dyn Curved, lambda: &[f64], w: &mut [f64]) -> Result<Info> {
        let loss: &dyn StochasticLoss = loss;
        let map = GradientMap { loss, map_step: 0.3 };
        let mut rng = Rng::stream(0, Purpose::Lower, 0);
        let mut operator = LowerOperator { map: &map, lambda };
        Ok(FixedPoint::exact(5000, 1e-15).solve(&mut operator, w, &mut rng, &mut Workspace::new(w.len())))
    }
}

#[test]
fn every_method_differentiates_a_nonlinear_lower_level() {
    let upper = upper();
    let aid = AidFixedPoint { lower_steps: 2000, linear_steps: 2000, tolerance: 1e-14 };
    let cg = AidConjugateGradient {
        lower_steps: 2000,
        lower_tolerance: 1e-14,
        linear: ConjugateGradient { steps: 50, tolerance: 1e-13 },
    };
    // Without noise and with full steps SID is AID.
    let sid = Sid::new(2000, 1, StepSize::Constant { eta: 1.0 });
    let estimates: [(&str, Hypergradient); 4] = [
        ("AID-FP", aid.estimate(&MAP, &upper, &LAMBDA, None).unwrap()),
        ("AID-CG", cg.estimate(&MAP, &upper, &LAMBDA, None).unwrap()),
        ("SID", sid.estimate(&MAP, &upper, &LAMBDA, None, 0, 0).unwrap()),
        ("implicit", Implicit::default().estimate(&Cosh, &upper, &LAMBDA, None, &GradientSteps).unwrap()),
    ];
    let f = |lambda: &[f64]| aid.estimate(&MAP, &upper, lambda, None).map(|estimate| estimate.objective);
    for (name, estimate) in &estimates {
        let checks = Taylor::default().hypergradient(f, &LAMBDA, &estimate.value, 4, 1e-7).unwrap();
        ensure(&checks).unwrap_or_else(|error| panic!("{name}: {error}"));
        let distance = vector::distance(&estimate.value, &estimates[0].1.value);
        assert!(distance < 1e-10 * vector::norm(&estimate.value), "{name}: {distance:e}");
    }
}

/// Writes down the samples of each of the three products.
struct Recording {
    map: LinearContraction,
    samples: [Mutex<Vec<Sample>>; 3],
}

impl Recording {
    fn note(&self, part: usize, zeta: &Sample) {
        self.samples[part].lock().unwrap().push(zeta.clone());
    }
}

impl StochasticMap for Recording {
    fn dims(&self) -> Dims {
        self.map.dims()
    }

    fn draw(&self, batch: usize, rng: &mut Rng, sample: &mut Sample) {
        self.map.draw(batch, rng, sample);
    }

    fn size(&self, zeta: &Sample) -> usize {
        self.map.size(zeta)
    }

    fn apply(&self, w: &[f64], lambda: &[f64], zeta: &Sample, out: &mut [f64]) {
        self.note(0, zeta);
        self.map.apply(w, lambda, zeta, out);
    }

    fn vjp_w(&self, w: &[f64], lambda: &[f64], zeta: &Sample, v: &[f64], out: &mut [f64]) {
        self.note(1, zeta);
        self.map.vjp_w(w, lambda, zeta, v, out);
    }

    fn vjp_lambda(&self, w: &[f64], lambda: &[f64], zeta: &Sample, v: &[f64], out: &mut [f64]) {
        self.note(2, zeta);
        self.map.vjp_lambda(w, lambda, zeta, v, out);
    }
}

/// The proof of the error bound needs independent samples in the three parts, and fresh ones at every step.
#[test]
fn the_parts_of_sid_share_no_sample() {
    let map = Recording { map: LinearContraction::random(DIMS, 0.7, 0.3, 1), samples: Default::default() };
    let sid = Sid { cross_batch: Batch::Rows(2), ..Sid::new(10, 2, StepSize::Constant { eta: 0.2 }) };
    for index in 0..2 {
        sid.estimate(&map, &upper(), &LAMBDA, None, 7, index).unwrap();
    }
    let all: Vec<Sample> = map.samples.iter().flat_map(|part| part.lock().unwrap().clone()).collect();
    assert_eq!(all.len(), 2 * (10 + 10 + 1));
    for (i, sample) in all.iter().enumerate() {
        assert!(matches!(sample, Sample::Rows(rows) if rows.len() == 2), "{sample:?}");
        assert!(!all[..i].contains(sample), "sample {i} was used before");
    }
}

#[test]
fn error_bars_are_those_of_the_mean() {
    let one = |index: u64| {
        let value = vec![index as f64, 5.0];
        let work = Work::gradient(3);
        Ok(Hypergradient { value, objective: index as f64, std_error: None, status: Status::StepLimit, work })
    };
    // 0, 1, 2, 3: mean 1.5, variance 5/3, standard error sqrt(5/12).
    let mean = replicate(4, one).unwrap();
    assert_eq!((&mean.value[..], mean.objective), (&[1.5, 5.0][..], 1.5));
    let std_error = mean.std_error.unwrap();
    assert!((std_error[0] - (5.0_f64 / 12.0).sqrt()).abs() < 1e-15 && std_error[1] == 0.0);
    assert_eq!((mean.status, mean.work), (Status::StepLimit, Work::gradient(12)));

    assert!(replicate(1, one).is_err_and(|error| error.is_input()));
    let third_fails = |index| if index == 2 { Err(Error::numeric("diverged")) } else { one(index) };
    assert!(replicate(4, third_fails).is_err_and(|error| error.is_numeric()), "a failure is not averaged away");
}

/// A quadratic whose factorisation is wrong by a relative `error`.
struct Sloppy {
    quadratic: Quadratic,
    error: f64,
}

impl StochasticLoss for Sloppy {
    fn dims(&self) -> Dims {
        self.quadratic.dims()
    }

    fn draw(&self, batch: usize, rng: &mut Rng, sample: &mut Sample) {
        self.quadratic.draw(batch, rng, sample);
    }

    fn size(&self, zeta: &Sample) -> usize {
        self.quadratic.size(zeta)
    }

    fn value(&self, w: &[f64], lambda: &[f64], zeta: &Sample) -> f64 {
        self.quadratic.value(w, lambda, zeta)
    }

    fn gradient(&self, w: &[f64], lambda: &[f64], zeta: &Sample, out: &mut [f64]) -> f64 {
        self.quadratic.gradient(w, lambda, zeta, out)
    }

    fn hessian_product(&self, w: &[f64], lambda: &[f64], zeta: &Sample, v: &[f64], out: &mut [f64]) {
        self.quadratic.hessian_product(w, lambda, zeta, v, out);
    }

    fn cross_product(&self, w: &[f64], lambda: &[f64], zeta: &Sample, v: &[f64], out: &mut [f64]) {
        self.quadratic.cross_product(w, lambda, zeta, v, out);
    }
}

impl Curved for Sloppy {
    fn curvature<'a>(&'a self, w: &[f64], lambda: &[f64]) -> Box<dyn Curvature + 'a> {
        Box::new(SloppyCurvature { curvature: self.quadratic.curvature(w, lambda), error: self.error })
    }
}

struct SloppyCurvature<'a> {
    curvature: Box<dyn Curvature + 'a>,
    error: f64,
}

impl Curvature for SloppyCurvature<'_> {
    fn product(&self, v: &[f64], out: &mut [f64]) {
        self.curvature.product(v, out);
    }

    fn diagonal(&self, out: &mut [f64]) {
        self.curvature.diagonal(out);
    }

    fn factorize(&self, _: &StopSignal) -> Option<Result<Box<dyn Factorization>>> {
        let factorization = self.curvature.factorize(&StopSignal::never())?;
        let error = self.error;
        Some(factorization.map(|inner| Box::new(SloppyFactorization { inner, error }) as Box<dyn Factorization>))
    }
}

struct SloppyFactorization {
    inner: Box<dyn Factorization>,
    error: f64,
}

impl Factorization for SloppyFactorization {
    fn solve_in_place(&self, b: &mut [f64]) {
        self.inner.solve_in_place(b);
        b.iter_mut().enumerate().for_each(|(i, b)| *b *= 1.0 + self.error * (i as f64).cos());
    }
}

#[test]
fn poor_factorisations_are_refined_or_owned_up_to() {
    let quadratic = Quadratic::random(&QuadraticOptions { ridge: 0.2, ..QuadraticOptions::default() });
    let lambda = [0.3, -0.5, 0.8, 0.1];
    let (w, exact) = (quadratic.solution(&lambda), quadratic.hypergradient(&lambda));
    let at = |error: f64| {
        let loss = Sloppy { quadratic: quadratic.clone(), error };
        let mut u = vec![0.0; w.len()];
        Implicit::default().at_solution(&loss, quadratic.upper(), &w, &lambda, &mut u, None, &StopSignal::never())
    };
    let refined = at(1e-4).unwrap();
    assert_eq!(refined.status, Status::Converged);
    assert!(vector::distance(&refined.value, &exact) < 1e-10 * vector::norm(&exact));
    assert_eq!(at(0.9).unwrap().status, Status::Stagnated);
    assert!(at(f64::NAN).is_err_and(|error| error.is_numeric()));
}

/// A lower level that is a saddle: neither linear solver may answer.
#[test]
fn an_indefinite_hessian_is_an_error() {
    struct Saddle;
    impl StochasticLoss for Saddle {
        fn dims(&self) -> Dims {
            Dims { w: 2, lambda: 1 }
        }
        fn draw(&self, _batch: usize, _rng: &mut Rng, _sample: &mut Sample) {}
        fn size(&self, _zeta: &Sample) -> usize {
            1
        }
        fn value(&self, w: &[f64], _lambda: &[f64], _zeta: &Sample) -> f64 {
            0.5 * (w[0] * w[0] - w[1] * w[1])
        }
        fn gradient(&self, w: &[f64], lambda: &[f64], zeta: &Sample, out: &mut [f64]) -> f64 {
            out.copy_from_slice(&[w[0], -w[1]]);
            self.value(w, lambda, zeta)
        }
        fn hessian_product(&self, _w: &[f64], _lambda: &[f64], _zeta: &Sample, v: &[f64], out: &mut [f64]) {
            out.copy_from_slice(&[v[0], -v[1]]);
        }
        fn cross_product(&self, _w: &[f64], _lambda: &[f64], _zeta: &Sample, _v: &[f64], out: &mut [f64]) {
            out.fill(0.0);
        }
    }
    impl Curved for Saddle {
        fn curvature<'a>(&'a self, _w: &[f64], _lambda: &[f64]) -> Box<dyn Curvature + 'a> {
            Box::new(SaddleCurvature)
        }
    }
    struct SaddleCurvature;
    impl Curvature for SaddleCurvature {
        fn product(&self, v: &[f64], out: &mut [f64]) {
            out.copy_from_slice(&[v[0], -v[1]]);
        }
        fn diagonal(&self, out: &mut [f64]) {
            out.copy_from_slice(&[1.0, -1.0]);
        }
        fn factorize(&self, _: &StopSignal) -> Option<Result<Box<dyn Factorization>>> {
            Some(Err(Error::numeric("not positive definite")))
        }
    }
    struct Toy;
    impl UpperObjective for Toy {
        fn dims(&self) -> Dims {
            Dims { w: 2, lambda: 1 }
        }
        fn draw(&self, _batch: usize, _rng: &mut Rng, _sample: &mut Sample) {}
        fn size(&self, _xi: &Sample) -> usize {
            1
        }
        fn value(&self, w: &[f64], _lambda: &[f64], _xi: &Sample) -> f64 {
            w[0] + 2.0 * w[1]
        }
        fn gradients(&self, w: &[f64], lambda: &[f64], xi: &Sample, gw: &mut [f64], gl: &mut [f64]) -> f64 {
            gw.copy_from_slice(&[1.0, 2.0]);
            gl.fill(0.0);
            self.value(w, lambda, xi)
        }
    }
    let cg = ConjugateGradient { steps: 10, tolerance: 1e-10 };
    for linear in [ExactLinear::Factorize(cg), ExactLinear::ConjugateGradient(cg)] {
        let mut start = WarmStart::zeros(Saddle.dims());
        let result =
            Implicit { linear }.at_solution(&Saddle, &Toy, &[0.0; 2], &[0.0], &mut start.v, None, &StopSignal::never());
        assert!(result.is_err_and(|error| error.is_numeric()), "{linear:?}");
    }
}
