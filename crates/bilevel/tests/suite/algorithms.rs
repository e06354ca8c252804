//! The published algorithms on the quadratic with a closed form.

use std::ops::ControlFlow;

use bilevel::algorithms::{
    Adjoint, Algorithm, Bilevel, Blocks, Count, FirstSteps, Iterate, Memory, Point, Recipe, Settings, Start, Steps, run,
};
use bilevel::domain::Domain;
use bilevel::problems::quadratic::{Quadratic, QuadraticOptions};
use bilevel::sample::Batch;
use bilevel::vector;

const D: usize = 8;
const M: usize = 4;

fn quadratic(noise: f64) -> Quadratic {
    Quadratic::random(&QuadraticOptions {
        rows: 103,
        w: D,
        lambda: M,
        upper_rows: 25,
        condition: 4.0,
        noise,
        reg: 0.5,
        seed: 3,
        ..QuadraticOptions::default()
    })
}

/// `lambda*` by gradient descent on the exact hypergradient.
fn optimum(quadratic: &Quadratic) -> Vec<f64> {
    let mut lambda = vec![0.0; M];
    for _ in 0..2000 {
        let gradient = quadratic.hypergradient(&lambda);
        vector::axpy(-0.1, &gradient, &mut lambda);
    }
    assert!(vector::norm(&quadratic.hypergradient(&lambda)) < 1e-12);
    lambda
}

/// The distance to `lambda*` after so many iterations.
fn error_of(settings: &Settings, quadratic: &Quadratic, optimum: &[f64], iterations: usize) -> f64 {
    let domain = Domain::unbounded(M);
    let problem = Bilevel { lower: quadratic, upper: quadratic.upper(), domain: &domain };
    let start = Point::new(&[0.0; D], &[0.0; D], &[0.0; M]);
    let mut watch = |at: &Iterate<'_>| match at.iterations {
        n if n == iterations => ControlFlow::Break(()),
        _ => ControlFlow::Continue(iterations),
    };
    let end = run(problem, settings, start, &mut watch).unwrap();
    assert_eq!(end.iterations, iterations);
    vector::distance(end.point.lambda(), optimum)
}

#[test]
fn on_all_rows_they_find_the_optimum() {
    let quadratic = quadratic(0.5);
    let optimum = optimum(&quadratic);
    for (algorithm, iterations) in [
        (Algorithm::Hoag, 2000),
        (Algorithm::Amigo, 2000),
        (Algorithm::Bsgm, 6000),
        (Algorithm::Fsla, 3000),
        (Algorithm::Soba, 3000),
        (Algorithm::MaSoba, 3000),
        (Algorithm::Saba, 3000),
        (Algorithm::Srba, 3000),
    ] {
        let settings = Settings::of(algorithm, FirstSteps::from([0.9, 0.9, 0.02]), Batch::All, 0);
        let error = error_of(&settings, &quadratic, &optimum, iterations);
        assert!(error < 1e-8, "{algorithm}: {error:e}");
    }
}

#[test]
fn with_long_series_so_do_those_with_neumann_series() {
    let quadratic = quadratic(0.5);
    let optimum = optimum(&quadratic);
    let long = |recipe| match recipe {
        Recipe::InTurn { lower, start, .. } => {
            Recipe::InTurn { lower, adjoint: Adjoint::Neumann { terms: 100 }, start }
        }
        Recipe::Together { memory, outer_every, .. } => {
            Recipe::Together { adjoint: Adjoint::Neumann { terms: 100 }, memory, outer_every }
        }
        other => other,
    };
    for algorithm in [Algorithm::StocBio, Algorithm::Mrbo, Algorithm::Vrbo] {
        let short = Settings::of(algorithm, FirstSteps::from([0.9, 0.9, 0.05]), Batch::All, 0);
        let settings = Settings { recipe: long(short.recipe), ..short };
        let error = error_of(&settings, &quadratic, &optimum, 4000);
        assert!(error < 1e-8, "{algorithm}: {error:e}");
        // Ten terms are a bias, and the limit knows nothing of the number of iterations.
        let biased = [3000, 4000].map(|n| error_of(&short, &quadratic, &optimum, n));
        assert!(biased[1] > 1e-4 && (biased[0] - biased[1]).abs() < 1e-6, "{algorithm}: {biased:?}");
    }
}

#[test]
fn the_penalised_problem_is_off_by_the_inverse_of_its_multiplier() {
    let quadratic = quadratic(0.5);
    let optimum = optimum(&quadratic);
    let error = |initial: f64| {
        let recipe = Recipe::Penalized { lower_steps: 20, initial, growth: 0.0 };
        let settings = Settings { recipe, steps: Steps::constant(0.9, 0.9, 0.02), batch: Batch::All, seed: 0 };
        error_of(&settings, &quadratic, &optimum, 5000)
    };
    let errors = [100.0, 1000.0].map(error);
    let ratio = errors[0] / errors[1];
    assert!((9.0..11.0).contains(&ratio), "{errors:?}");
}

/// Ten thousand steps on ten rows each, falling as in the papers.
#[test]
fn on_samples_they_come_near() {
    let quadratic = quadratic(0.3);
    let optimum = optimum(&quadratic);
    let origin = vector::norm(&optimum);
    for (algorithm, share) in [
        (Algorithm::Amigo, 0.2),
        (Algorithm::Bsgm, 0.2),
        (Algorithm::Soba, 0.2),
        (Algorithm::MaSoba, 0.1),
        (Algorithm::Fsla, 0.1),
    ] {
        let settings = Settings::of(algorithm, FirstSteps::from([0.3, 0.3, 0.06]), Batch::Rows(10), 0);
        let error = error_of(&settings, &quadratic, &optimum, 10_000);
        assert!(error < share * origin, "{algorithm}: {error:e} of {origin:e}");
    }
}

/// With long series, so that only noise is left.
#[test]
fn on_samples_series_come_near_too() {
    let quadratic = quadratic(0.3);
    let optimum = optimum(&quadratic);
    let origin = vector::norm(&optimum);
    let long = |recipe| {
        let longer = |adjoint| match adjoint {
            Adjoint::RandomNeumann { .. } => Adjoint::RandomNeumann { terms: 40 },
            _ => Adjoint::Neumann { terms: 40 },
        };
        match recipe {
            Recipe::InTurn { lower, adjoint, start } => Recipe::InTurn { lower, adjoint: longer(adjoint), start },
            Recipe::Together { adjoint, memory, outer_every } => {
                Recipe::Together { adjoint: longer(adjoint), memory, outer_every }
            }
            other => other,
        }
    };
    for (algorithm, share) in [
        (Algorithm::Bsa, 0.5),
        (Algorithm::Ttsa, 0.5),
        (Algorithm::StocBio, 0.2),
        (Algorithm::Sustain, 0.5),
        (Algorithm::Mrbo, 0.3),
        (Algorithm::Vrbo, 0.1),
    ] {
        let short = Settings::of(algorithm, FirstSteps::from([0.3, 0.3, 0.06]), Batch::Rows(10), 0);
        let settings = Settings { recipe: long(short.recipe), ..short };
        // A constant step in the series: a falling one would make it shorter and shorter.
        let linear = bilevel::step_size::StepSize::Constant { eta: 0.3 };
        let settings = Settings { steps: Steps { linear, ..settings.steps }, ..settings };
        let error = error_of(&settings, &quadratic, &optimum, 10_000);
        assert!(error < share * origin, "{algorithm}: {error:e} of {origin:e}");
    }
}

/// SAGA and SARAH have no noise at the end: a linear rate with constant steps, to rounding.
#[test]
fn variance_reduction_reaches_the_optimum_on_samples() {
    let quadratic = quadratic(0.3);
    let optimum = optimum(&quadratic);
    for algorithm in [Algorithm::Saba, Algorithm::Srba] {
        let settings = Settings::of(algorithm, FirstSteps::from([0.3, 0.3, 0.03]), Batch::Rows(10), 0);
        let errors = [500, 1000, 3000].map(|n| error_of(&settings, &quadratic, &optimum, n));
        assert!(errors[2] < 1e-12 && errors[1] < 0.2 * errors[0], "{algorithm}: {errors:e}", errors = errors[1]);
    }
}

/// Two errors, and no third: the series that the lower steps cut short, as `q` is not differentiated through them, and a
/// rattle as wide as the step, as `c` grows like the inverse of `|grad q|`.
#[test]
fn a_barrier_is_as_near_as_its_lower_steps_are_many_and_its_step_is_short() {
    let quadratic = quadratic(0.5);
    let optimum = optimum(&quadratic);
    let error = |lower_steps: usize, outer: f64, iterations| {
        let recipe = Recipe::DynamicBarrier { lower_steps, barrier: 0.5 };
        let settings = Settings { recipe, steps: Steps::constant(0.9, 0.9, outer), batch: Batch::All, seed: 0 };
        error_of(&settings, &quadratic, &optimum, iterations)
    };
    let cut_short = [5, 10, 40].map(|lower_steps| error(lower_steps, 0.001, 40_000));
    assert!(cut_short[2] < 0.25 * cut_short[1] && cut_short[1] < 0.5 * cut_short[0], "{cut_short:?}");
    let long = error(40, 0.01, 10_000);
    assert!((3.0..30.0).contains(&(long / cut_short[2])), "{long:e} {cut_short:?}");
}

/// The stationary point of a constant step is off by its noise; falling like `t^{-2/5}` and `t^{-3/5}` the squared gradient,
/// averaged over the iterations, falls at least like `T^{-2/5}` (Dagreou et al. 2022, theorem 1), and SAGA's with constant
/// steps at a linear rate (theorem 3: the value function is strongly convex here).
#[test]
fn the_published_rates_hold() {
    let quadratic = quadratic(0.3);
    let mean_square = |algorithm: Algorithm, outer: f64, seed: u64, horizons: [usize; 2]| {
        let domain = Domain::unbounded(M);
        let problem = Bilevel { lower: &quadratic, upper: quadratic.upper(), domain: &domain };
        let settings = Settings::of(algorithm, FirstSteps::from([0.3, 0.3, outer]), Batch::Rows(10), seed);
        let start = Point::new(&[0.0; D], &[0.0; D], &[0.0; M]);
        let (mut sum, mut means) = (0.0, [0.0; 2]);
        let mut watch = |at: &Iterate<'_>| {
            let gradient = quadratic.hypergradient(at.point.lambda());
            // Every tenth iterate stands for ten.
            sum += 10.0 * vector::norm_squared(&gradient);
            for (mean, horizon) in means.iter_mut().zip(horizons) {
                if at.iterations == horizon {
                    *mean = sum / horizon as f64;
                }
            }
            if at.iterations >= horizons[1] {
                ControlFlow::Break(())
            } else {
                ControlFlow::Continue(at.iterations + 10)
            }
        };
        run(problem, &settings, start, &mut watch).unwrap();
        means
    };
    for (algorithm, outer, rate) in [(Algorithm::Soba, 0.06, 0.4), (Algorithm::MaSoba, 0.06, 0.5)] {
        let mut means = [0.0; 2];
        for seed in 0..4 {
            let found = mean_square(algorithm, outer, seed, [1000, 16_000]);
            means.iter_mut().zip(found).for_each(|(mean, found)| *mean += found);
        }
        let slope = (means[0] / means[1]).ln() / 16.0_f64.ln();
        assert!(slope >= rate, "{algorithm}: {slope} {means:?}");
    }
    // Linear: the sum over all iterations stays bounded, so that the mean falls like 1/T.
    for algorithm in [Algorithm::Saba, Algorithm::Srba] {
        let means = mean_square(algorithm, 0.03, 0, [1000, 4000]);
        let slope = (means[0] / means[1]).ln() / 4.0_f64.ln();
        assert!(slope > 0.99, "{algorithm}: {slope}");
    }
}

/// Without any step to choose.
#[test]
fn without_tuning_it_finds_the_optimum_on_samples() {
    for (condition, noise) in [(4.0, 0.3), (100.0, 0.1)] {
        let quadratic = Quadratic::random(&QuadraticOptions {
            rows: 103,
            w: D,
            lambda: M,
            upper_rows: 25,
            condition,
            noise,
            reg: 0.5,
            seed: 3,
            ..QuadraticOptions::default()
        });
        let exact = |lambda: &[f64]| vector::norm(&quadratic.hypergradient(lambda));
        let domain = Domain::unbounded(M);
        let problem = Bilevel { lower: &quadratic, upper: quadratic.upper(), domain: &domain };
        let start = Point::new(&[0.0; D], &[0.0; D], &[0.0; M]);
        let mut watch = |at: &Iterate<'_>| match at.iterations {
            60_000 => ControlFlow::Break(()),
            _ => ControlFlow::Continue(60_000),
        };
        let end = run(problem, &Settings::recommended(Batch::Rows(10), 0), start, &mut watch).unwrap();
        let (before, after) = (exact(&[0.0; M]), exact(end.point.lambda()));
        assert!(after < 1e-6 * before, "condition {condition}: {before:e} {after:e}");
    }
}

#[test]
fn differences_of_many_long_runs_give_the_jacobian() {
    let quadratic = quadratic(0.5);
    let optimum = optimum(&quadratic);
    let recipe = Recipe::ZerothOrder { lower_steps: 40, directions: 20, smoothing: 1e-3 };
    let steps = Steps::falling(FirstSteps { lower: 0.9, linear: 0.9, outer: 0.2 }, [0.0, 0.0, 0.6]);
    let settings = Settings { recipe, steps, batch: Batch::All, seed: 0 };
    let error = error_of(&settings, &quadratic, &optimum, 5000);
    assert!(error < 0.02, "{error:e}");
}

#[test]
fn divergence_is_an_error_with_a_remedy() {
    let quadratic = quadratic(0.5);
    let domain = Domain::unbounded(M);
    let problem = Bilevel { lower: &quadratic, upper: quadratic.upper(), domain: &domain };
    for algorithm in Algorithm::ALL {
        let settings = Settings::of(algorithm, FirstSteps::from([50.0, 50.0, 50.0]), Batch::Rows(4), 0);
        let start = Point::new(&[1.0; D], &[1.0; D], &[0.0; M]);
        let mut watch = |at: &Iterate<'_>| {
            if at.iterations < 2000 { ControlFlow::Continue(2000) } else { ControlFlow::Break(()) }
        };
        match run(problem, &settings, start, &mut watch) {
            Err(error) => assert!(error.is_numeric() && error.to_string().contains("step"), "{algorithm}: {error}"),
            Ok(_) => assert!([Algorithm::Hoag, Algorithm::Auto].contains(&algorithm), "finds its own step"),
        }
    }
}

#[test]
fn names_lead_back() {
    for algorithm in Algorithm::ALL {
        assert_eq!(algorithm.name().parse::<Algorithm>().unwrap(), algorithm);
        assert_eq!(serde_json::to_value(algorithm).unwrap(), algorithm.name());
    }
    assert!("sobas".parse::<Algorithm>().unwrap_err().is_input());
}

#[test]
fn recipes_and_starts_that_mean_nothing_are_refused() {
    let quadratic = quadratic(0.1);
    let domain = Domain::unbounded(M);
    let problem = Bilevel { lower: &quadratic, upper: quadratic.upper(), domain: &domain };
    let go = |recipe, start| {
        let settings = Settings { recipe, steps: Steps::constant(0.1, 0.1, 0.1), batch: Batch::Rows(8), seed: 0 };
        run(problem, &settings, start, &mut |at: &Iterate<'_>| match at.iterations {
            5 => ControlFlow::Break(()),
            _ => ControlFlow::Continue(5),
        })
    };
    let one = Adjoint::Steps(Count::Fixed(1));
    let together = |adjoint, memory, outer_every| Recipe::Together { adjoint, memory, outer_every };
    let in_turn = |lower, adjoint| Recipe::InTurn { lower, adjoint, start: Start::Warm };
    let storm = |weight, power| together(one, Memory::Storm { weight, power, blocks: Blocks::All }, 1);
    for (recipe, part) in [
        (together(Adjoint::RandomNeumann { terms: 0 }, Memory::None, 1), "terms = 0"),
        (together(one, Memory::None, 0), "outer_every = 0"),
        (together(Adjoint::Neumann { terms: 3 }, Memory::Saga, 1), "SAGA"),
        (together(Adjoint::Steps(Count::Fixed(5)), Memory::None, 1), "one step"),
        (together(one, Memory::Sarah { period: 0.0 }, 1), "period = 0"),
        (together(one, Memory::MovingAverage { weight: 5.0 }, 1), "weight = 5"),
        (storm(-1.0, 1.0), "weight = -1"),
        (storm(1.0, f64::NAN), "power = NaN"),
        (in_turn(Count::Fixed(0), one), "lower = 0"),
        (in_turn(Count::Fixed(1), Adjoint::Steps(Count::Fixed(0))), "adjoint steps = 0"),
        (in_turn(Count::Growing { exponent: -1.0 }, one), "exponent = -1"),
        (Recipe::Penalized { lower_steps: 5, initial: 0.0, growth: 0.1 }, "initial = 0"),
        (Recipe::DynamicBarrier { lower_steps: 5, barrier: f64::NAN }, "barrier = NaN"),
        (Recipe::ZerothOrder { lower_steps: 5, directions: 0, smoothing: 1e-2 }, "directions = 0"),
        (Recipe::ZerothOrder { lower_steps: 5, directions: 1, smoothing: 0.0 }, "smoothing = 0"),
        (Recipe::Inexact { tolerance: f64::NAN, decrease: 0.9 }, "tolerance = NaN"),
        (Recipe::Inexact { tolerance: 0.1, decrease: 1.5 }, "decrease = 1.5"),
        (Recipe::Adaptive { memory: Memory::Sarah { period: f64::NAN } }, "period = NaN"),
    ] {
        let error = go(recipe, Point::new(&[0.0; D], &[0.0; D], &[0.0; M])).unwrap_err();
        assert!(error.is_input() && error.to_string().contains(part), "'{part}' is missing in: {error}");
    }
    for algorithm in Algorithm::ALL {
        algorithm.recipe().validate().unwrap();
    }
    for start in [
        Point::new(&[f64::NAN; D], &[0.0; D], &[0.0; M]),
        Point::new(&[0.0; D], &[f64::INFINITY; D], &[0.0; M]),
        Point::new(&[0.0; D], &[0.0; D], &[f64::NAN; M]),
    ] {
        let error = go(Algorithm::Soba.recipe(), start).unwrap_err();
        assert!(error.is_input() && error.to_string().contains("the start holds NaN"), "{error}");
    }
}
