//! Tuning where rows are few, or few of a class, or weigh nothing.

use bilevel::data::{Dataset, DenseMatrix, Target};
use bilevel::observer::Silent;
use bilevel::sample::{Purpose, Rng};
use bilevel::tune::{Criterion, Ending, Limits, LossChoice, Penalties, TuneOptions, tune};

const FEATURES: usize = 3;

/// Standard normal features, and a target made from them and a random number.
fn rows(n: usize, seed: u64, target: impl Fn(&[f64], f64) -> f64) -> (Vec<f64>, Vec<f64>) {
    let mut rng = Rng::stream(seed, Purpose::Start, 0);
    let x: Vec<f64> = (0..n * FEATURES).map(|_| rng.normal()).collect();
    let y = x.chunks(FEATURES).map(|x| target(x, rng.uniform())).collect();
    (x, y)
}

fn dataset(x: &[f64], target: Target) -> Dataset {
    Dataset::new(DenseMatrix::new(x.len() / FEATURES, FEATURES, x.to_vec()), target).unwrap()
}

fn classes(codes: Vec<u32>) -> Target {
    let count = codes.iter().max().map_or(0, |&largest| largest + 1);
    Target::Classes { codes: codes.into(), names: (0..count).map(|class| format!("class{class}")).collect() }
}

#[test]
fn each_fold_has_a_row() {
    for n in 4..9 {
        let (x, y) = rows(n, n as u64, |x, noise| x[0] + noise);
        let tuned = tune(dataset(&x, Target::Values(y.into())), None, None, &TuneOptions::default(), &mut Silent);
        assert!(tuned.unwrap().lambda.iter().all(|l| l.is_finite()), "{n} rows");
    }
    let (x, y) = rows(25, 3, |x, noise| x[0] + noise);
    for folds in [19, 20, 25] {
        let options = TuneOptions { criterion: Criterion::Folds(folds), ..TuneOptions::default() };
        tune(dataset(&x, Target::Values(y.clone().into())), None, None, &options, &mut Silent).unwrap();
    }
}

/// Most of the targets are equal, so that the median absolute deviation is zero and no target is near their mean.
#[test]
fn the_unit_of_the_target_does_not_matter_to_huber() {
    for seed in 0..6 {
        let (x, y) = rows(80, seed, |x, noise| if noise < 0.7 { 0.0 } else { 5.0 * x[0] * x[0] + 50.0 * noise });
        let options = TuneOptions { loss: LossChoice::Huber, penalties: Penalties::Shared, ..TuneOptions::default() };
        let [one, others @ ..] = [1.0, 1024.0, 1.0 / 1024.0].map(|unit| {
            let y: Vec<f64> = y.iter().map(|y| unit * y).collect();
            let tuned = tune(dataset(&x, Target::Values(y.into())), None, None, &options, &mut Silent).unwrap();
            (tuned.lambda, tuned.model.intercept[0] / unit)
        });
        for other in others {
            // Powers of two change no digit of the data.
            assert!((other.0[0] - one.0[0]).abs() < 1e-3, "{other:?}, {one:?}");
            assert!((other.1 - one.1).abs() < 1e-4 * (1.0 + one.1.abs()), "{other:?}, {one:?}");
        }
    }
}

#[test]
fn a_class_that_a_fit_would_lack_is_named() {
    // One row of class 2, which some seeds hold out.
    let (x, y) = rows(60, 5, |x, noise| f64::from(x[0] + noise > 0.5));
    let mut codes: Vec<u32> = y.iter().map(|&y| y as u32).collect();
    codes[7] = 2;
    let data = dataset(&x, classes(codes));
    let held_out = |seed| {
        let options = TuneOptions { criterion: Criterion::HeldOut(0.3), seed, ..TuneOptions::default() };
        tune(&data, None, None, &options, &mut Silent)
    };
    let mut refused = 0;
    for seed in 0..20 {
        match held_out(seed) {
            Ok(tuned) => assert!(tuned.candidates.iter().all(|c| c.validation.loss < 1.5), "seed {seed}"),
            Err(error) => {
                refused += 1;
                assert!(error.is_input() && error.to_string().contains("class class2"), "{error}");
            }
        }
    }
    assert!((1..20).contains(&refused), "{refused} of 20");
    // Two rows of class 1: with one of them among the monitor rows, a fold lacks it.
    let mut codes = vec![0; 40];
    (codes[3], codes[20]) = (1, 1);
    let data = dataset(&x[..40 * FEATURES], classes(codes));
    let tuned = tune(&data, None, None, &TuneOptions::default(), &mut Silent).unwrap();
    assert!(tuned.notes.iter().any(|note| note.contains("so few rows of class class1")), "{:?}", tuned.notes);
    assert_eq!(tuned.penalties, Penalties::Shared);
}

#[test]
fn rows_that_choose_many_penalties_are_said_to_flatter() {
    for (n, warned) in [(25, true), (200, false)] {
        let (x, y) = rows(n, 1, |x, noise| x[0] + noise);
        let options = TuneOptions { penalties: Penalties::PerFeature, ..TuneOptions::default() };
        let tuned = tune(dataset(&x, Target::Values(y.into())), None, None, &options, &mut Silent).unwrap();
        let note = format!("{n} rows chose 3 penalties");
        assert_eq!(tuned.notes.iter().any(|found| found.contains(&note)), warned, "{:?}", tuned.notes);
        assert_eq!(tuned.chosen().steered(), 3);
    }
}

#[test]
fn rows_that_weigh_nothing_do_not_judge() {
    let (x, y) = rows(150, 9, |x, noise| x[0] - x[1] + noise);
    let part = |rows: std::ops::Range<usize>| {
        dataset(&x[rows.start * FEATURES..rows.end * FEATURES], Target::Values(y[rows].to_vec().into()))
    };
    let (train, few) = (part(0..50), part(50..70));
    let mut all = part(50..150);
    all.weights = Some((0..100).map(|row| f64::from(row < 20)).collect::<Vec<f64>>());
    for penalties in [Penalties::Shared, Penalties::PerFeature, Penalties::Auto] {
        let options = TuneOptions { penalties, ..TuneOptions::default() };
        let [some, weighed] = [&few, &all].map(|rows| tune(&train, Some(rows), None, &options, &mut Silent).unwrap());
        let loss = |tuned: &bilevel::tune::Tuned| tuned.candidates[1].validation.loss;
        assert!((loss(&some) - loss(&weighed)).abs() < 1e-9, "{penalties:?}: {} {}", loss(&some), loss(&weighed));
    }
}

#[test]
fn a_search_that_is_cut_short_is_not_said_to_converge() {
    let (x, y) = rows(200, 2, |x, noise| x[0] + 4.0 * noise);
    let data = dataset(&x, Target::Values(y.into()));
    let status = |iterations| {
        let limits = Limits { iterations, tolerance: 1e-9, ..Limits::default() };
        let options = TuneOptions { penalties: Penalties::Shared, limits, ..TuneOptions::default() };
        tune(&data, None, None, &options, &mut Silent).unwrap().status
    };
    assert_eq!((status(1), status(200)), (Ending::IterationLimit, Ending::Converged));
}
