//! Every estimator beside SID and AID on bundled data, against the exact hypergradient.

use crate::models::Bundled;
use bilevel::diagnose::loss_constants;
use bilevel::fixed_point::FixedPoint;
use bilevel::hypergradient::{
    AidGmres, AidNormalEquations, Capable, ForwardMode, Implicit, Method, MixedFixedPoint, Neumann, Nystrom,
    ReverseMode, SeriesLength, Sid, TruncatedReverse, UnbiasedSid, WarmStart, ZerothOrder, replicate,
};
use bilevel::linear_system::{Gmres, NormalEquations};
use bilevel::lower::{Curved, GradientMap, StochasticLoss};
use bilevel::newton::Newton;
use bilevel::problems::glm::{EmpiricalRisk, Glm, Loss, Penalty};
use bilevel::sample::{Batch, Sample};
use bilevel::step_size::StepSize;
use bilevel::vector;

/// A logistic model on two thirds of the rows, judged by the rest.
struct Problem<'a> {
    name: &'static str,
    lower: Glm<'a>,
    upper: EmpiricalRisk<'a>,
    lambda: Vec<f64>,
}

fn for_each_problem(visit: impl Fn(&Problem<'_>)) {
    for (name, rows) in [("heart_scale.gz", 270), ("german.numer.gz", 600), ("a9a.gz", 900)] {
        let data = Bundled::read(name, rows);
        let (fitted, features) = (2 * rows / 3, data.design.cols());
        for penalty in [Penalty::Shared, Penalty::PerFeature { features }] {
            let m = penalty.hyperparameters();
            visit(&Problem {
                name,
                lower: Glm::new(data.risk(0..fitted, Loss::Logistic, true), penalty),
                upper: data.risk(fitted..rows, Loss::Logistic, true).as_upper(m),
                lambda: (0..m).map(|j| -0.5 + 0.3 * (j as f64).sin()).collect(),
            });
        }
    }
}

impl Problem<'_> {
    /// The exact hypergradient, the solution, the gradient map with the best step there and its contraction.
    fn solved(&self) -> (Vec<f64>, WarmStart, GradientMap<'_, Glm<'_>>, f64) {
        let mut point = WarmStart::zeros(self.lower.dims());
        let exact = Implicit::default()
            .estimate(&self.lower, &self.upper, &self.lambda, Some(&mut point), &Newton::default())
            .unwrap();
        let curvature = self.lower.curvature(&point.w, &self.lambda);
        let rows = self.lower.size(&Sample::Full);
        let constants = loss_constants(&*curvature, point.w.len(), rows, 100, 0).unwrap();
        let map = GradientMap { loss: &self.lower, map_step: constants.map_step };
        (exact.value, point, map, constants.contraction)
    }
}

#[test]
fn deterministic_estimators_reach_exact() {
    for_each_problem(|problem| {
        let (exact, point, map, q) = problem.solved();
        let steps = (1.3 * 1e-8_f64.ln() / q.ln()).ceil() as usize;
        let lower = FixedPoint::exact(steps, 1e-10);
        let d = point.w.len();
        let (normal, gmres) =
            (NormalEquations { steps: 1000, tolerance: 1e-10 }, Gmres { steps: 500, restart: 60, tolerance: 1e-10 });
        let reverse = ReverseMode::new(lower);
        let mut methods = vec![
            Method::AidNormalEquations(AidNormalEquations {
                lower_steps: steps,
                lower_tolerance: 1e-10,
                linear: normal,
            }),
            Method::AidGmres(AidGmres { lower_steps: steps, lower_tolerance: 1e-10, linear: gmres }),
            Method::Neumann(Neumann { lower, ..Neumann::exact(steps, steps) }),
            Method::Nystrom(Nystrom::new(lower, d, 1e-9)),
            Method::ReverseMode(reverse),
            Method::TruncatedReverse(TruncatedReverse { reverse, window: steps * 3 / 4 }),
            Method::MixedFixedPoint(MixedFixedPoint {
                batch: Batch::All,
                ..MixedFixedPoint::plain(lower, steps, 1, 0.5)
            }),
        ];
        if exact.len() < 30 {
            methods.push(Method::ForwardMode(ForwardMode::new(lower)));
        }
        for method in methods {
            let map = Capable::gradient_step(&map).jvp_lambda(&map);
            let found = method
                .estimate_on(map, &problem.upper, &problem.lambda, None, 1, 0)
                .unwrap_or_else(|error| panic!("{}, {}: {error}", problem.name, method.name()));
            assert_eq!(found.work.cross_products, 0, "{}: the penalty visits no rows", method.name());
            let error = vector::distance(&found.value, &exact) / vector::norm(&exact);
            assert!(error < 1e-5, "{}, {}, {steps} steps: relative error {error:e}", problem.name, method.name());
        }
    });
}

/// Means of replicates are within four of their standard errors of the exact hypergradient in every component, beside a bias of
/// 2 % of its norm that truncation leaves (error probability 6e-5 a component). Linear systems are posed at the solution.
#[test]
fn stochastic_estimators_agree_with_exact() {
    for_each_problem(|problem| {
        let (exact, point, map, q) = problem.solved();
        // Half of what no sample expands: the steps of a minibatch are shorter than those of the whole.
        let (batch, eta) = (64, 0.25);
        let terms = (0.01_f64.ln() / (1.0 - eta * (1.0 - q)).ln()).ceil() as usize;
        let lower = FixedPoint::exact(0, 0.0);
        let series = |length| Method::Neumann(Neumann::new(lower, length, eta, Batch::Rows(batch)));
        let start = WarmStart { w: point.w.clone(), v: vec![0.0; point.w.len()] };
        let km = MixedFixedPoint::krasnoselskii_mann(lower, 2 * terms, batch, 0.5, StepSize::Constant { eta });
        let sampled = FixedPoint { steps: terms, ..FixedPoint::sampled(terms, batch, StepSize::Constant { eta }) };
        let cases = [
            (series(SeriesLength::Fixed { terms }), 16),
            (series(SeriesLength::Uniform { terms }), 100),
            (Method::MixedFixedPoint(km), 16),
            (Method::ReverseMode(ReverseMode::new(sampled)), 16),
            (
                Method::Sid(Sid {
                    cross_batch: Batch::Rows(batch),
                    ..Sid::new(terms, batch, StepSize::Constant { eta })
                }),
                16,
            ),
        ];
        for (method, replicates) in cases {
            let mean = replicate(replicates, |index| {
                method.estimate(&map, &problem.upper, &problem.lambda, Some(&mut start.clone()), 5, index)
            })
            .unwrap_or_else(|error| panic!("{}, {}: {error}", problem.name, method.name()));
            assert_eq!(mean.work.cross_products, 0, "{}: the penalty visits no rows", method.name());
            let (errors, size) = (mean.std_error.as_ref().unwrap(), vector::norm(&exact));
            // The iterates of reverse mode vary around the solution, and its mean with them to second order.
            let bias = if matches!(method, Method::ReverseMode(_)) { 0.06 } else { 0.02 };
            for j in 0..exact.len() {
                let z = ((mean.value[j] - exact[j]).abs() - bias * size) / errors[j].max(1e-12 * size);
                assert!(z < 4.0, "{}, {}, component {j}: {z} standard errors", problem.name, method.name());
            }
        }
    });
}

/// The same for those whose replicates vary much, on the smallest data alone: differences of runs, and levels.
#[test]
fn differences_and_levels_agree_with_exact() {
    let data = Bundled::read("heart_scale.gz", 270);
    let problem = Problem {
        name: "heart_scale.gz",
        lower: Glm::new(data.risk(0..180, Loss::Logistic, true), Penalty::Shared),
        upper: data.risk(180..270, Loss::Logistic, true).as_upper(1),
        lambda: vec![0.0],
    };
    let (exact, _, map, q) = problem.solved();
    let run = |method: Method, seed, index| method.estimate(&map, &problem.upper, &problem.lambda, None, seed, index);
    let steps = (1e-6_f64.ln() / q.ln()).ceil() as usize;
    let differences = Method::ZerothOrder(ZerothOrder::new(FixedPoint::exact(steps, 0.0), 400, 1e-4));
    let found = run(differences, 1, 0).unwrap();
    let z = (found.value[0] - exact[0]).abs() / found.std_error.unwrap()[0];
    assert!(z < 4.0, "differences: {z} standard errors");

    let eta = 0.25;
    let halved = (0.4_f64.ln() / (1.0 - eta * (1.0 - q)).ln()).ceil() as usize;
    let levels = Method::UnbiasedSid(UnbiasedSid::new(Sid::new(halved, 16, StepSize::Constant { eta })));
    let mean = replicate(1000, |index| run(levels, 3, index)).unwrap();
    let error = mean.std_error.unwrap()[0];
    assert!((mean.value[0] - exact[0]).abs() < 4.0 * error, "{:?} +- {error} against {exact:?}", mean.value);
    assert!(error < 0.1 * exact[0].abs(), "{error} beside {exact:?}");
}
