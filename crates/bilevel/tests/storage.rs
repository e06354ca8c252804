//! The storage of the features is a matter of speed and must not change the model.

mod common;

use bilevel::data::{Dataset, EncodeOptions, Encoder, LabelMap, ReadOptions, Storage, read};
use bilevel::sample::{Purpose, Rng};
use bilevel::tune::{Penalties, Silent, TuneOptions, Tuned, tune};
use common::Scratch;

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

fn tuned(file: &Scratch, storage: Storage, penalties: Penalties, intercept: bool) -> (Tuned, Dataset) {
    let table = read(&file.0, &ReadOptions { target_required: true, ..Default::default() }).unwrap();
    let labels = table.labels.clone().unwrap();
    let target = LabelMap::learn(&labels, None, &table.origin).unwrap().apply(&labels, &table.origin).unwrap();
    let encoder = Encoder::learn(&table, &EncodeOptions { storage, ..Default::default() }).unwrap();
    let encoded = encoder.encode(table).unwrap();
    let data = Dataset {
        design: encoded.design,
        target,
        feature_names: encoded.feature_names,
        groups: encoded.groups,
        measured: encoded.measured,
        arrangement: None,
        weights: None,
    };
    let options = TuneOptions { penalties, intercept, ..Default::default() };
    (tune(&data, None, None, &options, &mut Silent).unwrap(), data)
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
        let (p, q) = (dense.model.predict(&data.design), sparse.model.predict(&same_data.design));
        let apart = p.iter().zip(&q).map(|(p, q)| (p - q).abs()).fold(0.0, f64::max);
        assert!(apart < 1e-4, "{penalties:?}, intercept {intercept}: predictions {apart} apart");
    }
}
