//! The storage of the features is a matter of speed and must not change the model.

use crate::common::Scratch;
use bilevel::data::{Dataset, EncodeOptions, LearnOptions, Schema, Storage};
use bilevel::observer::Silent;
use bilevel::sample::{Purpose, Rng};
use bilevel::tune::{Penalties, TuneOptions, Tuned, tune};

/// Categories beside numbers of very different sizes, one of them mostly 0.
fn mixed_table(rows: usize) -> String {
    let mut rng = Rng::stream(1, Purpose::Start, 0);
    let jobs = ["cook", "judge", "miner", "nurse", "pilot", "smith", "tailor", "weaver"];
    let mut text = String::from("age,weight,gain,job,y\n");
    for _ in 0..rows {
        let age = 20.0 + 50.0 * rng.uniform();
        let weight = (2e5 + 1e5 * rng.normal()).round();
        let gain = if rng.uniform() < 0.1 { (3e4 * rng.uniform()).round() } else { 0.0 };
        let job = rng.below(jobs.len());
        let margin = 0.05 * (age - 45.0) + gain / 1e4 + 0.4 * (job as f64 - 4.0) - weight / 1e6 + rng.normal();
        text += &format!("{age:.1},{weight},{gain},{},{}\n", jobs[job], if margin > 0.3 { "yes" } else { "no" });
    }
    text
}

/// Indicators of whom ten speak for a class and ten against it, and a rare amount that says nothing.
fn indicators_and_an_amount(rows: usize) -> String {
    let mut rng = Rng::stream(2, Purpose::Start, 0);
    let mut text = String::new();
    for _ in 0..rows {
        let (mut margin, mut entries) = (0.0, String::new());
        for j in 1..=20 {
            if rng.uniform() < 0.1 {
                margin += if j <= 10 { 3.0 } else { -3.0 };
                entries += &format!(" {j}:1");
            }
        }
        if rng.uniform() < 0.08 {
            entries += &format!(" 21:{}", 1_000 + rng.below(99_000));
        }
        let label = u8::from(rng.uniform() < 1.0 / (1.0 + f64::exp(-margin)));
        text += &format!("{label}{entries}\n");
    }
    text
}

fn tuned(file: &Scratch, storage: Storage, penalties: Penalties, intercept: bool) -> (Tuned, Dataset) {
    let options = TuneOptions { penalties, intercept, ..Default::default() };
    tuned_with(file, storage, &options)
}

fn tuned_with(file: &Scratch, storage: Storage, options: &TuneOptions) -> (Tuned, Dataset) {
    let encode = EncodeOptions { storage, ..Default::default() };
    let data = Schema::learn(&file.0, &LearnOptions { encode, ..Default::default() }).unwrap().data;
    (tune(&data, None, None, options, &mut Silent).unwrap(), data)
}

#[test]
fn mixed_columns_give_the_same_model_dense_and_sparse() {
    let file = Scratch::new("mixed.csv", mixed_table(400));
    for (penalties, intercept) in [(Penalties::Shared, true), (Penalties::PerGroup, true), (Penalties::Shared, false)] {
        let (dense, data) = tuned(&file, Storage::Dense, penalties, intercept);
        let (sparse, same_data) = tuned(&file, Storage::Sparse, penalties, intercept);
        assert!(!data.design.is_sparse() && same_data.design.is_sparse());
        for (a, b) in dense.lambda.iter().zip(&sparse.lambda) {
            assert!((a - b).abs() < 1e-2 * (1.0 + a.abs()), "{penalties:?}: log-penalties {a} and {b}");
        }
        let (p, q) = (dense.model.predict(&data).unwrap(), sparse.model.predict(&same_data).unwrap());
        let apart = p.iter().zip(&q).map(|(p, q)| (p - q).abs()).fold(0.0, f64::max);
        assert!(apart < 1e-4, "{penalties:?}, intercept {intercept}: predictions {apart} apart");
    }
}

#[test]
fn an_amount_among_indicators_has_a_unit_of_its_own() {
    let file = Scratch::new("amount.svm", indicators_and_an_amount(1_000));
    let options = TuneOptions { penalties: Penalties::Shared, ..Default::default() };
    let (dense, _) = tuned_with(&file, Storage::Dense, &options);
    let (sparse, data) = tuned_with(&file, Storage::Sparse, &options);
    assert!(data.design.is_sparse() && data.measured.iter().filter(|&&measured| measured).count() == 1);
    let loss = |tuned: &Tuned| tuned.candidates.iter().find(|c| c.chosen).unwrap().validation.loss;
    assert!((loss(&dense) - loss(&sparse)).abs() < 1e-6, "{} and {}", loss(&dense), loss(&sparse));
    // Unscaled, the amount makes the mean variance a hundred million times that of the others: they shall not pay for it.
    let unscaled = TuneOptions { standardize: false, ..options };
    for storage in [Storage::Dense, Storage::Sparse] {
        let (unscaled, _) = tuned_with(&file, storage, &unscaled);
        assert!(loss(&unscaled) < 1.02 * loss(&dense), "{} against {}", loss(&unscaled), loss(&dense));
    }
}

#[test]
fn a_penalty_at_the_end_of_what_is_tried_is_noted() {
    let mut rng = Rng::stream(3, Purpose::Start, 0);
    let row = |_| {
        let (a, b) = (rng.normal(), rng.normal());
        format!("{a},{b},{}\n", 2.0 * a - b)
    };
    let file = Scratch::new("exact.csv", (0..200).map(row).collect::<String>());
    let noted = |lambda_min| {
        let options = TuneOptions { penalties: Penalties::Shared, lambda_min, ..Default::default() };
        tuned_with(&file, Storage::Dense, &options).0.notes.iter().any(|note| note.contains("--lambda-min"))
    };
    assert!(noted(None) && !noted(Some(-9.0)));
}
