//! Hypergradients on the bundled data: every estimator against `exact`, and `exact` against finite differences.

use crate::models::{Bundled, penalties};
use bilevel::Result;
use bilevel::diagnose::{NoiseEstimate, Taylor, ensure, loss_constants};
use bilevel::fixed_point::LowerSolver;
use bilevel::hypergradient::{
    AidConjugateGradient, AidFixedPoint, ExactLinear, Hypergradient, Implicit, Sid, WarmStart, replicate,
};
use bilevel::linear_system::ConjugateGradient;
use bilevel::lower::{Curved, GradientMap, StochasticLoss};
use bilevel::newton::{Newton, NewtonDirection};
use bilevel::problems::glm::{EmpiricalRisk, Glm, Loss, Penalty};
use bilevel::step_size::StepSize;
use bilevel::upper::UpperObjective;
use bilevel::{sample::Sample, vector};

/// A fit on two thirds of the rows, judged by the rest.
struct Problem<'a> {
    name: String,
    lower: Glm<'a>,
    upper: EmpiricalRisk<'a>,
    lambda: Vec<f64>,
}

/// Each loss with the data it fits.
fn data() -> Vec<(Loss, &'static str, usize)> {
    vec![
        (Loss::Logistic, "heart_scale.gz", 270),
        (Loss::Logistic, "german.numer.gz", 1000),
        (Loss::SquaredHinge, "german.numer.gz", 600),
        (Loss::Softmax { classes: 10 }, "pendigits.gz", 450),
        (Loss::Squared, "abalone_scale.bz2", 900),
        (Loss::Huber { delta: 2.0 }, "abalone_scale.bz2", 900),
        (Loss::Poisson, "abalone_scale.bz2", 900),
    ]
}

fn for_each_problem(visit: impl Fn(&Problem<'_>)) {
    for (loss, name, rows) in data() {
        let data = Bundled::read(name, rows);
        let fitted = 2 * rows / 3;
        for penalty in penalties(data.design.cols(), loss.outputs()) {
            let m = penalty.hyperparameters();
            visit(&Problem {
                name: format!("{name}, {loss:?}, {}", kind(&penalty)),
                lower: Glm::new(data.risk(0..fitted, loss, true), penalty),
                upper: data.risk(fitted..rows, loss, true).as_upper(m),
                lambda: (0..m).map(|j| -1.5 + 0.8 * (j as f64).sin()).collect(),
            });
        }
    }
}

fn kind(penalty: &Penalty) -> &'static str {
    match penalty {
        Penalty::Shared => "shared",
        Penalty::PerGroup { .. } => "per group",
        Penalty::PerClass { .. } => "per class",
        Penalty::PerFeature { .. } => "per feature",
    }
}

impl Problem<'_> {
    fn exact(&self) -> (Hypergradient, WarmStart) {
        let mut point = WarmStart::zeros(self.lower.dims());
        let estimate = Implicit::default()
            .estimate(&self.lower, &self.upper, &self.lambda, Some(&mut point), &Newton::default())
            .unwrap_or_else(|error| panic!("{}: {error}", self.name));
        (estimate, point)
    }

    /// `f(lambda)`, solved anew.
    fn objective(&self, lambda: &[f64], w: &[f64]) -> Result<f64> {
        let mut w = w.to_vec();
        Newton::default().solve(&self.lower, lambda, &mut w)?;
        Ok(self.upper.value(&w, lambda, &Sample::Full))
    }

    /// The gradient map with the best step at the solution.
    fn map(&self, w: &[f64]) -> (GradientMap<'_, dyn StochasticLoss + '_>, f64) {
        let curvature = self.lower.curvature(w, &self.lambda);
        let rows = self.lower.size(&Sample::Full);
        let constants = loss_constants(&*curvature, w.len(), rows, 100, 0).unwrap();
        (GradientMap { loss: &self.lower, map_step: constants.map_step }, constants.contraction)
    }

    /// Near the solution of the unpenalised intercept, far from that of the weights.
    fn start(&self) -> WarmStart {
        let w = self.lower.risk().null_parameters();
        WarmStart { v: vec![0.0; w.len()], w }
    }

    fn assert_close(&self, what: &str, found: &[f64], expected: &[f64], tolerance: f64) {
        let error = vector::distance(found, expected) / vector::norm(expected);
        assert!(error <= tolerance, "{}, {what}: relative error {error:e}\n{found:?}\n{expected:?}", self.name);
    }
}

#[test]
fn exact_is_the_slope_of_the_objective() {
    for_each_problem(|problem| {
        let (estimate, point) = problem.exact();
        assert!(
            (problem.objective(&problem.lambda, &point.w).unwrap() - estimate.objective).abs()
                <= 1e-8 * estimate.objective.abs()
        );
        // Losses of one curvature are smooth everywhere; where a row crosses a kink the second derivative of f jumps.
        let smooth = !matches!(problem.lower.risk().loss(), Loss::Huber { .. } | Loss::SquaredHinge);
        let tolerance = if smooth { 1e-6 } else { 1e-3 };
        let taylor = Taylor { step: 0.02, ..Taylor::default() };
        let f = |lambda: &[f64]| problem.objective(lambda, &point.w);
        let checks = taylor.hypergradient(f, &problem.lambda, &estimate.value, 3, tolerance).unwrap();
        ensure(&checks).unwrap_or_else(|error| panic!("{}: {error}", problem.name));
    });
}

#[test]
fn exact_by_conjugate_gradients_is_exact() {
    let linear = ExactLinear::ConjugateGradient(ConjugateGradient { steps: 5000, tolerance: 1e-11 });
    let newton = Newton { direction: NewtonDirection::ConjugateGradients { steps: 1000 }, ..Newton::default() };
    for_each_problem(|problem| {
        let (exact, _) = problem.exact();
        let found = Implicit { linear }
            .estimate(&problem.lower, &problem.upper, &problem.lambda, None, &newton)
            .unwrap_or_else(|error| panic!("{}: {error}", problem.name));
        problem.assert_close("iterative", &found.value, &exact.value, 1e-6);
    });
}

#[test]
fn batch_methods_reach_exact() {
    for_each_problem(|problem| {
        let (exact, point) = problem.exact();
        let (map, contraction) = problem.map(&point.w);
        // As many steps as the contraction needs for ten digits, and half as many again.
        let steps = (1.5 * 1e-10_f64.ln() / contraction.ln()).ceil() as usize;
        let fixed = AidFixedPoint { lower_steps: steps, linear_steps: steps, tolerance: 1e-9 };
        let found = fixed
            .estimate(&map, &problem.upper, &problem.lambda, Some(&mut problem.start()))
            .unwrap_or_else(|error| panic!("{}, {steps} steps: {error}", problem.name));
        problem.assert_close("AID-FP", &found.value, &exact.value, 1e-5);
        let cg = AidConjugateGradient {
            lower_steps: steps,
            lower_tolerance: 1e-9,
            linear: ConjugateGradient { steps: 1000, tolerance: 1e-9 },
        };
        let found = cg
            .estimate(&map, &problem.upper, &problem.lambda, Some(&mut problem.start()))
            .unwrap_or_else(|error| panic!("{}: {error}", problem.name));
        problem.assert_close("AID-CG", &found.value, &exact.value, 1e-5);
    });
}

/// The mean of independent estimates lies within four of its standard errors, and the bias of the theory, of `exact`.
#[test]
fn stochastic_estimates_with_decreasing_steps_agree_with_exact() {
    for_each_problem(|problem| {
        let (exact, point) = problem.exact();
        let (map, contraction) = problem.map(&point.w);
        let batch = 32;
        let noise = NoiseEstimate { batch, samples: 16, seed: 1 }
            .estimate(&map, &point.w, &problem.lambda)
            .unwrap_or_else(|error| panic!("{}: {error}", problem.name));
        let step = StepSize::decreasing_from_constants(contraction, noise.sigma2.max(noise.m1).max(1.0)).unwrap();
        // With beta = 2/(1 - q^2) what is left of the start falls like gamma/(gamma + t) in the slowest direction.
        let StepSize::Decreasing { gamma, .. } = step else { panic!("{step:?}") };
        let bias = 0.02;
        let sid = Sid::new((gamma / bias) as usize, batch, step);
        let mean = replicate(16, |index| {
            sid.estimate(&map, &problem.upper, &problem.lambda, Some(&mut problem.start()), 5, index)
        })
        .unwrap_or_else(|error| panic!("{}: {error}", problem.name));
        let std_error = mean.std_error.as_ref().unwrap();
        let size = vector::norm(&exact.value);
        let worst = (0..exact.value.len())
            .map(|j| ((mean.value[j] - exact.value[j]).abs() - bias * size) / std_error[j].max(1e-12 * size))
            .fold(0.0, f64::max);
        let error = vector::distance(&mean.value, &exact.value) / size;
        assert!(worst <= 4.0, "{}: {worst} standard errors", problem.name);
        assert!(error <= 0.04, "{}: relative error {error:e}", problem.name);
    });
}
