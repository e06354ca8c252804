//! Weights of rows, folds that are given, and a start from a similar tuning.

use crate::models::Bundled;
use bilevel::data::{Dataset, DenseMatrix, Target};
use bilevel::observer::Silent;
use bilevel::tune::{Criterion, Limits, LossChoice, Penalties, TuneOptions, Tuned, tune};

fn dataset(rows: usize) -> Dataset {
    let Bundled { design, target, .. } = Bundled::read("heart_scale.gz", rows);
    let codes = target.iter().map(|&y| y as u32).collect();
    Dataset::new(design, Target::Classes { codes, names: vec!["-1".into(), "1".into()] }).unwrap()
}

/// Rows counted 0, 1, 2 times in turn: by weight, and by repetition.
fn weighted_and_repeated(data: &Dataset) -> (Dataset, Dataset, Vec<u32>) {
    let counts: Vec<usize> = (0..data.rows()).map(|i| (i * 7 + i / 5) % 3).collect();
    let weighted = data.clone().with_weights(counts.iter().map(|&c| c as f64).collect()).unwrap();
    let order: Vec<u32> = counts.iter().enumerate().flat_map(|(i, &c)| std::iter::repeat_n(i as u32, c)).collect();
    (weighted, data.select(&order), order)
}

fn run(data: &Dataset, options: &TuneOptions) -> Tuned {
    tune(data, None, None, options, &mut Silent).unwrap()
}

fn distance(a: &Tuned, b: &Tuned) -> f64 {
    let size = a.model.coef.iter().fold(0.0f64, |m, x| m.max(x.abs()));
    a.model.coef.iter().zip(&b.model.coef).fold(0.0f64, |m, (x, y)| m.max((x - y).abs())) / size
}

#[test]
fn a_row_of_weight_two_counts_like_two_rows() {
    let data = dataset(150);
    let (weighted, repeated, order) = weighted_and_repeated(&data);
    let folds: Vec<u32> = (0..data.rows() as u32).map(|i| i % 3).collect();
    let repeated_folds: Vec<u32> = order.iter().map(|&i| folds[i as usize]).collect();
    for penalties in [Penalties::Shared, Penalties::PerFeature] {
        for loss in [LossChoice::Logistic, LossChoice::SquaredHinge, LossChoice::Softmax] {
            let options = |folds: &[u32]| TuneOptions {
                loss,
                penalties,
                criterion: Criterion::GivenFolds(folds.to_vec()),
                limits: Limits { iterations: 15, ..Limits::default() },
                ..TuneOptions::default()
            };
            let (a, b) = (run(&weighted, &options(&folds)), run(&repeated, &options(&repeated_folds)));
            let (a_loss, b_loss) = (a.chosen().validation.loss, b.chosen().validation.loss);
            assert!((a_loss - b_loss).abs() < 1e-7 * b_loss, "{penalties:?} {loss:?}: {a_loss} {b_loss}");
            assert!(distance(&a, &b) < 1e-5, "{penalties:?} {loss:?}: {}", distance(&a, &b));
            let plain = run(&data, &options(&folds));
            assert!(distance(&a, &plain) > 1e-3, "the weights must matter");
        }
    }
}

#[test]
fn only_ratios_of_weights_matter() {
    let (weighted, ..) = weighted_and_repeated(&dataset(150));
    let times = |factor: f64| Dataset {
        weights: weighted.weights.as_ref().map(|w| w.iter().map(|w| w * factor).collect()),
        ..weighted.clone()
    };
    let options = TuneOptions { criterion: Criterion::Folds(4), ..TuneOptions::default() };
    assert_eq!(run(&weighted, &options).model.coef, run(&times(1024.0), &options).model.coef);
}

#[test]
fn given_folds_are_the_folds() {
    // Two halves that contradict each other in the first feature: judged across, it must be penalised away.
    let n = 200;
    let noise = |i: usize| ((i as f64 * 12.9898).sin() * 43_758.547).fract();
    let half = |i: usize| if i.is_multiple_of(2) { 1.0 } else { -1.0 };
    let rows = (0..n).flat_map(|i| [noise(i), noise(i + 1000)]).collect();
    let target: Vec<f64> = (0..n).map(|i| half(i / 2) * noise(i)).collect();
    let data = Dataset::new(DenseMatrix::new(n, 2, rows), Target::Values(target.into())).unwrap();
    let data = data.with_feature_names(["opposed", "noise"]).unwrap();
    let options = |of_row: Vec<u32>| TuneOptions {
        penalties: Penalties::Shared,
        criterion: Criterion::GivenFolds(of_row),
        ..TuneOptions::default()
    };
    let across = run(&data, &options((0..n as u32).map(|i| (i / 2) % 2).collect()));
    assert!(across.model.coef[0].abs() < 1e-2, "{:?}", across.model.coef);
    assert_eq!(across.criterion, "2 given folds");
    // One fold a row, and folds of very different sizes, with all kinds of penalty compared.
    let auto = |of_row: Vec<u32>| TuneOptions { penalties: Penalties::Auto, ..options(of_row) };
    for of_row in [(0..n as u32).collect(), (0..n as u32).map(|i| u32::from(i == 7)).collect::<Vec<u32>>()] {
        let tuned = run(&data, &auto(of_row));
        assert!(tuned.model.coef.iter().all(|w| w.is_finite()));
    }
}

#[test]
fn a_start_spares_the_scan() {
    let data = dataset(270);
    for penalties in [Penalties::Shared, Penalties::PerFeature] {
        let options = TuneOptions { penalties, criterion: Criterion::Folds(4), ..TuneOptions::default() };
        let cold = run(&data, &options);
        let warm = run(&data, &TuneOptions { start: Some(cold.lambda.clone()), ..options.clone() });
        let (a, b) = (cold.chosen().validation.loss, warm.chosen().validation.loss);
        assert!((a - b).abs() < 1e-4 * a, "{penalties:?}: {a} {b}");
        assert!(2 * warm.trace.len() < cold.trace.len(), "{} {}", warm.trace.len(), cold.trace.len());
        // A start far off still finds the way.
        let far = run(&data, &TuneOptions { start: Some(vec![cold.lambda[0] + 5.0]), ..options });
        assert!(far.chosen().validation.loss < a * 1.02, "{penalties:?}: {a} {}", far.chosen().validation.loss);
    }
}

#[test]
fn mistakes_are_named() {
    let data = dataset(60);
    let fails = |data: &Dataset, options: TuneOptions| {
        let error = tune(data, None, None, &options, &mut Silent).unwrap_err();
        assert!(error.is_input());
        error.to_string()
    };
    let weighed = |weights: Vec<f64>| Dataset { weights: Some(weights), ..data.clone() };
    let folds = |of_row: Vec<u32>| TuneOptions { criterion: Criterion::GivenFolds(of_row), ..TuneOptions::default() };
    assert!(fails(&weighed(vec![1.0; 59]), TuneOptions::default()).contains("59 weights"));
    let mut negative = vec![1.0; 60];
    negative[4] = -1.0;
    assert!(fails(&weighed(negative), TuneOptions::default()).contains("row 5"));
    assert!(fails(&weighed(vec![0.0; 60]), TuneOptions::default()).contains("weight 0"));
    assert!(fails(&data, folds(vec![0; 60])).contains("one fold"));
    assert!(fails(&data, folds(vec![0; 3])).contains("3 fold numbers"));
    let Target::Classes { codes, .. } = &data.target else { unreachable!() };
    assert!(fails(&data, folds(codes.to_vec())).contains("in fold"));
    assert!(fails(&data, TuneOptions { start: Some(vec![f64::NAN]), ..TuneOptions::default() }).contains("finite"));
}
