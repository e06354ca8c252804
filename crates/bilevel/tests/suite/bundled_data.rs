//! The bundled data sets, read and recognised as their README describes them.

use std::path::PathBuf;

use bilevel::data::*;

fn bundled(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../data").join(name)
}

fn table(name: &str) -> Table {
    read(&bundled(name), &ReadOptions::default()).unwrap()
}

fn shape(name: &str) -> (usize, usize, TargetKind) {
    let table = table(name);
    let kind = Target::recognise(table.labels.as_ref().unwrap());
    (table.rows(), table.contents.columns(), kind)
}

#[test]
fn shapes_and_kinds_of_target() {
    assert_eq!(shape("a9a.gz"), (32561, 123, TargetKind::Binary));
    assert_eq!(shape("heart_scale.gz"), (270, 13, TargetKind::Binary));
    assert_eq!(shape("german.numer.gz"), (1000, 24, TargetKind::Binary));
    assert_eq!(shape("breast-cancer.gz"), (683, 10, TargetKind::Binary));
    assert_eq!(shape("mushrooms.gz"), (8124, 112, TargetKind::Binary));
    assert_eq!(shape("pendigits.gz"), (7494, 16, TargetKind::Classes));
    assert_eq!(shape("pendigits.t.gz"), (3498, 16, TargetKind::Classes));
    assert_eq!(shape("abalone_scale.bz2"), (4177, 8, TargetKind::Counts));
    assert_eq!(shape("adult.csv.gz"), (32561, 14, TargetKind::Binary));
}

#[test]
fn numbers_of_heart_scale() {
    let Contents::Matrix(DesignMatrix::CsrF32(matrix)) = table("heart_scale.gz").contents else { panic!() };
    let (indices, values) = matrix.row(0);
    assert_eq!(indices, [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 11, 12]);
    assert_eq!(&values[..4], &[0.708333, 1.0, 1.0, -0.320755]);
}

#[test]
fn adult_is_encoded_alike_for_training_and_test() {
    let train = table("adult.csv.gz");
    assert_eq!(train.target_name.as_deref(), Some("income"));
    assert_eq!(train.notes.len(), 1, "{:?}", train.notes);
    let encoder = Encoder::learn(&train, &EncodeOptions::default()).unwrap();
    assert_eq!(encoder.features(), 108);
    assert_eq!(encoder.storage(), Storage::Sparse);
    let labels = LabelMap::learn(train.labels.as_ref().unwrap(), None, &train.origin).unwrap();
    assert_eq!(labels.names(), ["<=50K", ">50K"]);
    let train = encoder.encode(train).unwrap();
    assert_eq!((train.design.rows(), train.design.cols()), (32561, 108));
    assert_eq!(train.groups.len(), 14);
    assert!(train.feature_names.contains(&"workclass=?".to_string()));

    let options = ReadOptions { target: Some("income".into()), target_required: false, ..ReadOptions::default() };
    let test = read(&bundled("adult-test.csv.gz"), &options).unwrap();
    let target = labels.apply(test.labels.as_ref().unwrap(), &test.origin).unwrap();
    let Target::Classes { codes, .. } = target else { panic!() };
    assert_eq!(codes.iter().sum::<u32>(), 3846);
    let test = encoder.encode(test).unwrap();
    assert_eq!((test.design.rows(), test.design.cols()), (16281, 108));
}

#[test]
fn profile_of_adult() {
    let profile = profile(&table("adult.csv.gz"), &EncodeOptions::default()).unwrap();
    assert_eq!((profile.rows, profile.columns, profile.features, profile.missing), (32561, 14, 108, 0));
    let target = profile.target.as_ref().unwrap();
    assert_eq!(target.classes, [("<=50K".to_string(), 24720), (">50K".to_string(), 7841)]);
    let text = profile.to_string();
    for part in ["32561", "108 (from 14 columns)", "two classes", "24720", "native_country"] {
        assert!(text.contains(part), "{part} is missing in\n{text}");
    }
}

#[test]
fn an_encoder_survives_serialization() {
    let train = table("adult.csv.gz");
    let encoder = Encoder::learn(&train, &EncodeOptions { missing: Missing::Impute, ..Default::default() }).unwrap();
    let text = serde_json::to_string(&encoder).unwrap();
    assert_eq!(serde_json::from_str::<Encoder>(&text).unwrap(), encoder);
}
