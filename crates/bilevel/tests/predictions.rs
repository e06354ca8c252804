//! A model predicts from data with its features, and says so where it cannot.

mod common;

use std::ops::ControlFlow;

use bilevel::data::mapped::{ConvertOptions, MappedRows, convert};
use bilevel::data::{Dataset, EncodeOptions, Encoder, LabelMap, ReadOptions, Relabel, Target, read};
use bilevel::problems::glm::Loss;
use bilevel::tune::LinearModel;
use common::Scratch;

const ROWS: &str = "x,c,y\n1,7,a\n2,8,b\n3,7,a\n4,9,b\n";

fn model(features: usize) -> LinearModel {
    LinearModel { loss: Loss::Logistic, features, outputs: 1, coef: vec![0.5; features], intercept: vec![-1.0] }
}

fn in_memory(file: &Scratch) -> Dataset {
    let table = read(&file.0, &ReadOptions::default()).unwrap();
    let labels = table.labels.clone().unwrap();
    let target = LabelMap::learn(&labels, None, &table.origin).unwrap().apply(&labels, &table.origin).unwrap();
    Encoder::learn(&table, &EncodeOptions::default()).unwrap().encode(table).unwrap().with_target(target)
}

#[test]
fn rows_that_were_standardized_when_they_were_written_are_predicted_as_they_came() {
    let file = Scratch::new("rows.csv", ROWS);
    let output = file.0.with_file_name("rows.bilevel");
    let options = ConvertOptions {
        read: ReadOptions::default(),
        encode: EncodeOptions::default(),
        kind: None,
        positive: None,
        relabel: Relabel::default(),
        groups: None,
        standardize: true,
        intercept: true,
        seed: 1,
        like: None,
        program: "a test".into(),
    };
    convert(&file.0, &output, &options, &mut |_, _, _| ControlFlow::Continue(())).unwrap();
    let sorted = |data: &Dataset| {
        let mut found = model(2).predict(data).unwrap();
        found.sort_by(f64::total_cmp);
        found
    };
    let mapped = MappedRows::open(&output).unwrap().dataset().unwrap();
    let (found, expected) = (sorted(&mapped), sorted(&in_memory(&file)));
    assert!(found.iter().zip(&expected).all(|(a, b)| (a - b).abs() < 1e-6), "{found:?} and {expected:?}");
    assert!(model(3).margins(&mapped).unwrap_err().is_input(), "a wrong width, in units of the file");
}

#[test]
fn data_of_another_kind_are_refused() {
    let data = in_memory(&Scratch::new("rows.csv", ROWS));
    let wide = model(3);
    for error in [
        wide.margins(&data).unwrap_err(),
        wide.predict(&data).unwrap_err(),
        wide.metrics(&data).unwrap_err(),
        wide.diagnostics(&data, "rows").unwrap_err(),
    ] {
        assert!(error.is_input() && error.to_string().contains("2 features, and the model weighs 3"), "{error}");
    }
    let numbers = Dataset { target: Target::Values(vec![1.0; 4].into()), ..data.clone() };
    let error = model(2).metrics(&numbers).unwrap_err();
    assert!(error.is_input() && error.to_string().contains("is numbers, and the model predicts 2 classes"), "{error}");
    assert_eq!(model(2).metrics(&data).unwrap().accuracy, Some(0.5));
}
