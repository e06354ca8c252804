//! Data cleaning on bundled digits with labels replaced at random.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::models::Bundled;
use bilevel::clean::{CleanOptions, Cleaned, FitOf, Start, Step, Strength, clean};
use bilevel::data::{Dataset, DenseMatrix, Target};
use bilevel::observer::{Event, Observer, Silent};
use bilevel::sample::{Purpose, Rng};
use bilevel::tune::{Ending, LossChoice, Method};

/// Digits: rows whose labels were replaced in part, trusted rows, test rows, and which of the first are wrong.
fn digits(train: usize, trusted: usize, test: usize) -> ([Dataset; 3], Vec<bool>) {
    let data = Bundled::read("pendigits.gz", train + trusted + test);
    let part = |rows: std::ops::Range<usize>, codes: Vec<u32>| {
        let order: Vec<u32> = rows.map(|row| row as u32).collect();
        let names = (0..data.classes).map(|c| c.to_string()).collect();
        Dataset::new(data.design.select_rows(&order), Target::Classes { codes: codes.into(), names }).unwrap()
    };
    let codes: Vec<u32> = data.target.iter().map(|&y| y as u32).collect();
    let mut rng = Rng::stream(5, Purpose::Start, 0);
    // Half of the labels are drawn anew from all classes, so that a tenth of these stay right.
    let noisy: Vec<u32> = codes[..train]
        .iter()
        .map(|&code| if rng.uniform() < 0.5 { rng.below(data.classes) as u32 } else { code })
        .collect();
    let wrong = noisy.iter().zip(&codes).map(|(noisy, code)| noisy != code).collect();
    let rest = |rows: std::ops::Range<usize>| part(rows.clone(), codes[rows].to_vec());
    ([part(0..train, noisy), rest(train..train + trusted), rest(train + trusted..train + trusted + test)], wrong)
}

/// The probability that a right row gets the larger score, equal ones counting one half.
fn area(scores: &[f64], wrong: &[bool]) -> f64 {
    let (mut wins, mut pairs) = (0.0, 0.0);
    for (a, _) in scores.iter().zip(wrong).filter(|(_, wrong)| !**wrong) {
        for (b, _) in scores.iter().zip(wrong).filter(|(_, wrong)| **wrong) {
            wins += if a > b { 1.0 } else { 0.5 * f64::from(u8::from(a == b)) };
            pairs += 1.0;
        }
    }
    wins / pairs
}

fn accuracy(cleaned: &Cleaned, of: FitOf) -> f64 {
    cleaned.fit(of).unwrap().test.unwrap().accuracy.unwrap()
}

#[test]
fn wrong_labels_are_found() {
    let ([train, trusted, test], wrong) = digits(1500, 400, 800);
    let cleaned = clean(&train, &trusted, Some(&test), &CleanOptions::default(), &mut Silent).unwrap();
    let found = area(&cleaned.weights, &wrong);
    assert!(found > 0.95, "the weights tell wrong labels with an area of {found}");
    let [all, alone, weighted] =
        [FitOf::AllRows, FitOf::TrustedRows, FitOf::WeightedRows].map(|of| accuracy(&cleaned, of));
    assert!(weighted > all + 0.01 && weighted > alone - 0.01, "{all} {alone} {weighted}");

    assert!(cleaned.weights.iter().all(|w| (0.0..1.0).contains(w)));
    assert_eq!(cleaned.suspicious.len(), 1500);
    let ranked: Vec<f64> = cleaned.suspicious.iter().map(|&row| cleaned.weights[row as usize]).collect();
    assert!(ranked.is_sorted(), "the smallest weights come first");
    let first = &cleaned.suspicious[..300];
    let share = first.iter().filter(|&&row| wrong[row as usize]).count() as f64 / 300.0;
    assert!(share > 0.97, "{share} of the most suspicious rows are wrong");
    // The steps descend, and what was kept is one of them.
    assert!(cleaned.trace.windows(2).all(|pair| pair[1].trusted_loss <= pair[0].trusted_loss));
    assert!(cleaned.kept > 0 && cleaned.trace[cleaned.kept].monitor_loss < cleaned.trace[0].monitor_loss);
    // The same again, to the last bit.
    let again = clean(&train, &trusted, None, &CleanOptions::default(), &mut Silent).unwrap();
    assert_eq!(again.weights, cleaned.weights);
}

#[test]
fn weights_start_at_what_the_trusted_rows_say() {
    let ([train, trusted, _], wrong) = digits(1500, 400, 1);
    let from = |start| {
        let options = CleanOptions { start, iterations: Some(2), ..CleanOptions::default() };
        clean(&train, &trusted, None, &options, &mut Silent).unwrap()
    };
    let (trusted, uniform) = (from(Start::Trusted), from(Start::Uniform));
    assert_eq!(uniform.trace[0].mean_weight, 0.5);
    // Half of the labels were drawn anew.
    assert!((trusted.trace[0].mean_weight - 0.5).abs() < 0.05, "{}", trusted.trace[0].mean_weight);
    assert!(trusted.trace[0].monitor_loss < uniform.trace[0].monitor_loss);
    let (found, less) = (area(&trusted.weights, &wrong), area(&uniform.weights, &wrong));
    assert!(found > less + 0.005 && found > 0.98, "{found} {less}");
    let sure = |row: usize| trusted.weights[row] < 0.1 || trusted.weights[row] > 0.8;
    let share = (0..1500).filter(|&row| sure(row)).count() as f64 / 1500.0;
    assert!(share > 0.7, "{share} of the weights are far from one half");
}

#[test]
fn both_ways_to_solve_agree() {
    let ([train, trusted, _], _) = digits(400, 200, 1);
    let weights = |method| {
        let options = CleanOptions {
            method,
            strength: Strength::Fixed(0.02),
            monitor: 0.0,
            iterations: Some(3),
            ..CleanOptions::default()
        };
        let cleaned = clean(&train, &trusted, None, &options, &mut Silent).unwrap();
        assert_eq!((cleaned.kept, cleaned.status), (3, Ending::IterationLimit));
        cleaned.weights
    };
    let (exact, cg) = (weights(Method::Exact), weights(Method::AidCg));
    let apart = exact.iter().zip(&cg).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
    assert!(apart < 0.02, "{apart}");
}

#[test]
fn numbers_are_cleaned_too() {
    let ([mut train, mut trusted, _], wrong) = digits(500, 150, 1);
    // A line through the first features, with an offset where the label is wrong.
    for (data, wrong) in [(&mut train, Some(&wrong)), (&mut trusted, None)] {
        let margins: Vec<f64> = (0..data.rows())
            .map(|row| {
                let mut x = vec![0.0; data.features()];
                data.design.add_scaled_row(row, &vec![1.0; data.features()], &mut x);
                let right = x[0] - 2.0 * x[1] + 0.5 * x[2];
                right + if wrong.is_some_and(|wrong| wrong[row]) { 6.0 } else { 0.0 }
            })
            .collect();
        data.target = Target::Values(margins.into());
    }
    let cleaned = clean(&train, &trusted, None, &CleanOptions::default(), &mut Silent).unwrap();
    assert!(area(&cleaned.weights, &wrong) > 0.95);
    assert!(cleaned.predicted.is_empty() && cleaned.suggestion(0, 0).is_none());
}

#[test]
fn rows_of_weight_zero_are_left_out() {
    let ([mut train, trusted, _], _) = digits(300, 100, 1);
    let mut given = vec![1.0; 300];
    given[7] = 0.0;
    train.weights = Some(given);
    let cleaned = clean(&train, &trusted, None, &CleanOptions::default(), &mut Silent).unwrap();
    assert_eq!((cleaned.weights[7], cleaned.suspicious.len()), (0.0, 299));
    assert!(!cleaned.suspicious.contains(&7));
}

#[test]
fn an_interrupt_keeps_the_best_weights() {
    struct Stops(usize, Arc<AtomicBool>);
    impl<'e> Observer<Event<'e, Step>> for Stops {
        fn observe(&mut self, event: &Event<'e, Step>) -> ControlFlow<()> {
            if matches!(event, Event::Iteration(step) if step.iteration == self.0) {
                self.1.store(true, Ordering::Relaxed);
            }
            ControlFlow::Continue(())
        }
        fn stop_flag(&self) -> Option<Arc<AtomicBool>> {
            Some(self.1.clone())
        }
    }
    let ([train, trusted, _], wrong) = digits(600, 200, 1);
    let published = CleanOptions { start: Start::Uniform, ..CleanOptions::default() };
    let cleaned = clean(&train, &trusted, None, &published, &mut Stops(2, Arc::default())).unwrap();
    assert_eq!((cleaned.status, cleaned.kept), (Ending::Interrupted, 2));
    assert!(area(&cleaned.weights, &wrong) > 0.9);
    let raised = Arc::new(AtomicBool::new(true));
    let before = clean(&train, &trusted, None, &CleanOptions::default(), &mut Stops(9, raised)).unwrap_err();
    assert!(before.is_interrupted(), "{before}");
}

#[test]
fn bad_input_is_named() {
    let ([train, trusted, test], _) = digits(60, 20, 10);
    let refused = |train: &Dataset, trusted: &Dataset, options: &CleanOptions| {
        let error = clean(train, trusted, Some(&test), options, &mut Silent).unwrap_err();
        assert!(error.is_input(), "{error}");
        error.to_string()
    };
    let defaults = CleanOptions::default();
    let few = refused(&train, &trusted.select(&[0, 1]), &defaults);
    assert!(few.contains("2 trusted rows"), "{few}");
    for options in [
        CleanOptions { monitor: 1.0, ..defaults.clone() },
        CleanOptions { strength: Strength::Fixed(0.0), ..defaults.clone() },
        CleanOptions { method: Method::SidSvrg, ..defaults.clone() },
        CleanOptions { loss: LossChoice::Squared, ..defaults.clone() },
    ] {
        refused(&train, &trusted, &options);
    }
    let late = CleanOptions { time: Some(Duration::ZERO), ..defaults.clone() };
    let error = clean(&train, &trusted, None, &late, &mut Silent).unwrap_err();
    assert!(error.is_numeric() && error.to_string().contains("max-time"), "{error}");
}

/// Three clusters of this spread in the plane, of each so many rows.
fn clusters(rows: [usize; 3], spread: f64, stream: u64) -> Dataset {
    let centres = [[0.0, 2.0], [-2.0, -1.0], [2.0, -1.0]];
    let mut rng = Rng::stream(8, Purpose::Start, stream);
    let (mut x, mut codes) = (Vec::new(), Vec::new());
    for (class, &rows) in rows.iter().enumerate() {
        for _ in 0..rows {
            x.extend(centres[class].map(|centre| centre + spread * rng.normal()));
            codes.push(class as u32);
        }
    }
    let features = DenseMatrix::new(codes.len(), 2, x);
    let target = Target::Classes { codes: codes.into(), names: ["a", "b", "c"].map(String::from).to_vec() };
    Dataset::new(features, target).unwrap()
}

#[test]
fn a_class_without_trusted_rows_does_not_make_all_others_look_wrong() {
    let train = clusters([100; 3], 1.6, 0);
    for rows in [[40, 40, 0], [20, 20, 0]] {
        let trusted = clusters(rows, 1.6, 1);
        let cleaned = clean(&train, &trusted, None, &CleanOptions::default(), &mut Silent).unwrap();
        let light = |rows: std::ops::Range<usize>| cleaned.weights[rows].iter().filter(|&&weight| weight < 0.5).count();
        assert!(light(0..200) < 10 && light(200..300) > 95, "{} and {}", light(0..200), light(200..300));
        assert!(
            cleaned.notes.iter().any(|note| note.contains("no trusted row has the label c")),
            "{:?}",
            cleaned.notes
        );
    }
}

#[test]
fn the_only_trusted_row_of_a_class_steers() {
    let train = clusters([100; 3], 0.5, 0);
    let trusted = clusters([40, 40, 1], 0.5, 1);
    for seed in 0..12 {
        // A penalty that one row of a class would not choose alike for all seeds.
        let options = CleanOptions { seed, strength: Strength::Fixed(1e-3), ..CleanOptions::default() };
        let cleaned = clean(&train, &trusted, None, &options, &mut Silent).unwrap();
        // Some of its rows are believed, whatever part the row would have been in.
        let heaviest = cleaned.weights[200..300].iter().fold(0.0, |most: f64, &weight| most.max(weight));
        assert!(heaviest > 0.5, "seed {seed}: {heaviest}");
        let note = "1 of 81 trusted rows has the label c, of the training rows";
        assert!(cleaned.notes.iter().any(|found| found.contains(note)), "{:?}", cleaned.notes);
    }
    let fair = clusters([27; 3], 0.5, 1);
    assert_eq!(clean(&train, &fair, None, &CleanOptions::default(), &mut Silent).unwrap().notes, [""; 0]);
}
