//! A model predicts from data with its features, and says so where it cannot.

use std::ops::ControlFlow;

use crate::common::Scratch;
use bilevel::data::mapped::{ConvertOptions, MappedRows, convert};
use bilevel::data::{Dataset, LearnOptions, Learned, ReadOptions, Relabel, Schema, Target};
use bilevel::observer::Silent;
use bilevel::problems::glm::Loss;
use bilevel::tune::{LinearModel, SavedModel, TuneOptions, tune};

const ROWS: &str = "x,c,y\n1,7,a\n2,8,b\n3,7,a\n4,9,b\n";

fn model(features: usize) -> LinearModel {
    LinearModel { loss: Loss::Logistic, features, outputs: 1, coef: vec![0.5; features], intercept: vec![-1.0] }
}

fn in_memory(file: &Scratch) -> Dataset {
    Schema::learn(&file.0, &LearnOptions::default()).unwrap().data
}

#[test]
fn rows_that_were_standardized_when_they_were_written_are_predicted_as_they_came() {
    let file = Scratch::new("rows.csv", ROWS);
    let output = file.0.with_file_name("rows.bilevel");
    let options = ConvertOptions {
        learn: LearnOptions::default(),
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

/// Columns of a text, a number and a rating, in rows enough to tune; without the rating on request.
fn ratings(rows: usize, with_target: bool) -> String {
    let mut text = String::from(if with_target { "town,size,rating\n" } else { "size,town\n" });
    for i in 0..rows {
        let (town, size) = (["Ulm", "Genova", "Bern"][i % 3], (i * 37 % 101) as f64 / 10.0);
        let rating = (i % 3 + usize::from(size > 5.0) + usize::from(i % 7 == 0)).min(3);
        text += &if with_target { format!("{town},{size},{rating}\n") } else { format!("{size},{town}\n") };
    }
    text
}

#[test]
fn a_saved_model_predicts_from_files() {
    let file = Scratch::new("train.csv", ratings(120, true));
    file.beside("groups.txt", "town,all\nsize,all\n");
    let learn = LearnOptions {
        read: ReadOptions { target: Some("rating".into()), ..ReadOptions::default() },
        relabel: Relabel::parse(&["good=2,3", "bad=*"]).unwrap(),
        positive: Some("bad".into()),
        groups: Some(file.0.with_file_name("groups.txt")),
        ..LearnOptions::default()
    };
    let Learned { schema, data, .. } = Schema::learn(&file.0, &learn).unwrap();
    assert_eq!((schema.labels.names(), schema.groups.len()), (&["good".to_string(), "bad".into()][..], 1));
    let tuned = tune(&data, None, None, &TuneOptions::default(), &mut Silent).unwrap();
    let path = file.0.with_file_name("model");
    SavedModel::new(&tuned, schema).write(&path).unwrap();

    let saved = SavedModel::read(&path).unwrap();
    assert_eq!(saved.model, tuned.model);
    let expected = tuned.model.predict(&data).unwrap();
    let plain = ReadOptions::default();
    let (again, _) = saved.about.schema.read(&file.0, &plain).unwrap();
    assert_eq!((&again.target, &again.groups), (&data.target, &data.groups));
    assert_eq!(saved.predict_file(&file.0, &plain).unwrap(), expected);
    // Other columns, in another order, without a target.
    file.beside("new.csv", ratings(120, false));
    let new = file.0.with_file_name("new.csv");
    assert_eq!(saved.predict_file(&new, &plain).unwrap(), expected);
    let without = saved.about.schema.read(&new, &plain).unwrap_err();
    assert!(without.is_input() && without.to_string().contains("there is no column 'rating'"), "{without}");
    let named = ReadOptions { target: Some("rating".into()), ..plain };
    assert!(saved.predict_file(&new, &named).unwrap_err().is_input(), "a target that is named must be there");
}

#[test]
fn what_cannot_be_learned_is_said() {
    let file = Scratch::new("train.csv", ratings(30, true));
    let fails = |options: LearnOptions| Schema::learn(&file.0, &options).unwrap_err().to_string();
    let relabel = Relabel::parse(&["good=2,3,9", "bad=*"]).unwrap();
    assert!(fails(LearnOptions { relabel, ..LearnOptions::default() }).contains("no row has the label '9'"));
    let positive = Some("7".into());
    assert!(fails(LearnOptions { positive, ..LearnOptions::default() }).contains("a positive class is one of two"));
    let groups = Some(file.0.with_file_name("nowhere"));
    assert!(fails(LearnOptions { groups, ..LearnOptions::default() }).contains("no such file"));
}
