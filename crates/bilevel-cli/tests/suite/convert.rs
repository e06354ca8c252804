//! `bilevel convert`, and the other commands on what it writes.

use std::path::Path;

use crate::common::{Scratch, bilevel, data, small_csv, text};
use bilevel::data::mapped::MappedRows;
use bilevel::tune::SavedModel;
use serde_json::Value;

fn run(args: &[&str]) -> (Option<i32>, String, String) {
    let output = bilevel().args(args).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

fn done(args: &[&str]) -> String {
    let (code, out, err) = run(args);
    assert_eq!(code, Some(0), "{args:?}: {err}");
    out
}

fn summary(folder: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(folder.join("summary.json")).unwrap()).unwrap()
}

/// With rows of their own to judge and to test, the order of the training rows changes nothing but rounding.
#[test]
fn tuning_a_converted_file_gives_the_losses_of_the_file_itself() {
    let folder = Scratch::new();
    let (train, test) = (folder.join("train.bilevel"), folder.join("test.bilevel"));
    let (raw, raw_test) = (data("pendigits.gz"), data("pendigits.t.gz"));
    done(&["convert", text(&raw), text(&train), "--quiet"]);
    done(&["convert", text(&raw_test), text(&test), "--like", text(&train), "--quiet"]);
    let tune = |train: &Path, test: &Path, out: &str| {
        let out = folder.join(out);
        let files = ["tune", text(train), "--validation", text(test), "--test", text(test)];
        done(&[&files[..], &["--penalties", "shared", "--quiet", "--out", text(&out)]].concat());
        summary(&out)
    };
    let (plain, mapped, mixed) = (tune(&raw, &raw_test, "a"), tune(&train, &test, "b"), tune(&train, &raw_test, "c"));
    for other in [mapped, mixed] {
        for loss in ["train_loss", "validation_loss", "test_loss"] {
            let (a, b) = (plain[loss].as_f64().unwrap(), other[loss].as_f64().unwrap());
            assert!((a - b).abs() < 2e-3 * a, "{loss}: {a} and {b}");
        }
    }
    // The models predict both kinds of file.
    let evaluate = |model: &str, data: &Path| -> Value {
        let model = folder.join(model).join("model");
        serde_json::from_str(&done(&["evaluate", text(&model), text(data), "--json"])).unwrap()
    };
    for model in ["a", "b"] {
        let [a, b] = [&raw_test, &test].map(|data| evaluate(model, data)["metrics"]["loss"].as_f64().unwrap());
        assert!((a - b).abs() < 1e-5 * a, "{model}: {a} and {b}");
    }
    let model = folder.join("b").join("model");
    let classes = |data: &Path| {
        let mut lines: Vec<String> = done(&["predict", text(&model), text(data)]).lines().map(String::from).collect();
        lines.sort();
        lines
    };
    assert_eq!(classes(&raw_test), classes(&test), "the same predictions in another order");
    let said = [&raw_test, &test].map(|data| run(&["predict", text(&model), text(data)]).2);
    assert!(said[0].is_empty() && said[1].contains("in the order of") && said[1].contains("random"), "{said:?}");
}

#[test]
fn all_commands_take_a_converted_file() {
    let folder = Scratch::new();
    let file = folder.join("a9a.bilevel");
    let printed = done(&["convert", text(&data("a9a.gz")), text(&file)]);
    assert!(printed.contains("32,561 rows") && printed.contains("written to"), "{printed}");
    let inspected = done(&["inspect", text(&file)]);
    for word in ["a9a.gz (svmlight)", "checksums", "24,720", "sparse f32"] {
        assert!(inspected.contains(word), "'{word}' is missing in\n{inspected}");
    }
    for verify in [&[][..], &["--verify"]] {
        let args = ["hypergradient", text(&file), "--at", "0.01", "--exact", "--json"];
        let found: Value = serde_json::from_str(&done(&[&args[..], verify].concat())).unwrap();
        let (value, exact) = (&found["estimate"]["value"][0], &found["exact"][0]);
        let (value, exact) = (value.as_f64().unwrap(), exact.as_f64().unwrap());
        assert!((value - exact).abs() < 0.02 * exact.abs(), "{value} and {exact}");
    }
    let out = folder.join("out");
    done(&["tune", text(&file), "--test", "0.2", "--penalties", "shared", "--quiet", "--out", text(&out)]);
    assert!(summary(&out)["test_accuracy"].as_f64().unwrap() > 0.83);
    let small = folder.join("small.bilevel");
    done(&["convert", text(&folder.write("small.csv", small_csv(200))), text(&small), "--quiet"]);
    done(&["check", text(&small)]);
    let study = folder.join("study");
    done(&[
        "study",
        text(&small),
        "--at",
        "0.1",
        "--methods",
        "aid-fp",
        "--quiet",
        "--max-epochs",
        "8",
        "--out",
        text(&study),
    ]);
}

#[test]
fn bad_files_and_options_are_one_line_and_nothing_is_written() {
    let folder = Scratch::new();
    let csv = folder.write("small.csv", small_csv(100));
    let good = folder.join("good.bilevel");
    done(&["convert", text(&csv), text(&good), "--quiet"]);
    let bytes = std::fs::read(&good).unwrap();
    let cut = folder.write("cut.bilevel", &bytes[..bytes.len() / 2]);
    let flipped = |at: usize| {
        let mut bytes = bytes.clone();
        bytes[at] ^= 1;
        bytes
    };
    let values = folder.write("values.bilevel", flipped(70));
    let header = folder.write("header.bilevel", flipped(bytes.len() - 5));
    // One row of the second class becomes one of a class that there is not.
    let one = 1f64.to_le_bytes();
    let numbers = MappedRows::open(&good).unwrap().header().sections.iter().find(|s| s.name == "numbers").cloned();
    let (first, length) = numbers.map(|section| (section.offset as usize, section.bytes as usize)).unwrap();
    let place = (first..first + length).step_by(8).find(|&place| bytes[place..place + 8] == one).unwrap();
    let mut bad = bytes.clone();
    bad[place..place + 8].copy_from_slice(&1025f64.to_le_bytes());
    let numbers = folder.write("numbers.bilevel", bad);
    let raw = folder.join("raw.bilevel");
    done(&["convert", text(&csv), text(&raw), "--quiet", "--no-standardize"]);
    let out = folder.join("out");
    let before = folder.names();
    for (args, word) in [
        (vec!["tune", text(&cut), "--out", text(&out)], "cut short"),
        (vec!["tune", text(&values), "--out", text(&out)], "section `values`"),
        (vec!["inspect", text(&values)], "section `values`"),
        (vec!["hypergradient", text(&values), "--at", "1", "--verify"], "section `values`"),
        (vec!["hypergradient", text(&header), "--at", "1"], "header"),
        (vec!["hypergradient", text(&numbers), "--at", "1"], "is no class"),
        (vec!["tune", text(&good), "--target", "x", "--out", text(&out)], "bilevel convert"),
        (vec!["tune", text(&good), "--missing", "impute", "--out", text(&out)], "bilevel convert"),
        (vec!["tune", text(&good), "--no-standardize", "--out", text(&out)], "standardized"),
        (vec!["tune", text(&good), "--no-intercept", "--out", text(&out)], "intercept"),
        (vec!["tune", text(&raw), "--out", text(&out)], "--no-standardize"),
        (vec!["tune", text(&good), "--validation", text(&raw), "--out", text(&out)], "--like"),
        (vec!["convert", text(&good), text(&out)], "already"),
        (vec!["convert", "no-such-file", text(&out)], "no-such-file"),
        (vec!["convert", text(&csv), text(&out), "--target", "z"], "'z'"),
    ] {
        let (code, stdout, err) = run(&args);
        assert_eq!((code, err.lines().count()), (Some(2), 1), "{args:?}: {err}{stdout}");
        assert!(err.contains(word), "{args:?}: {err}");
        assert_eq!(folder.names(), before, "{args:?}");
    }
}

/// It named the target, which a converted file refuses.
#[test]
fn the_command_that_repeats_a_run_on_a_converted_file_is_taken() {
    let folder = Scratch::new();
    let (file, out) = (folder.join("small.bilevel"), folder.join("out"));
    done(&["convert", text(&folder.write("small.csv", small_csv(200))), text(&file), "--target", "y", "--quiet"]);
    let trusted = folder.write("trusted.csv", small_csv(60));
    let more = ["--trusted", text(&trusted)];
    for (command, args) in [("tune", &["--penalties", "shared"][..]), ("clean", &more)] {
        done(&[&[command, text(&file), "--quiet", "--out", text(&out)], args].concat());
        let model = SavedModel::read(&out.join("model")).unwrap();
        let again: Vec<&str> = model.about.command.split(' ').skip(1).collect();
        assert!(!again.contains(&"--target"), "{again:?}");
        done(&again);
        assert_eq!(SavedModel::read(&out.join("model")).unwrap().model, model.model, "{command}");
    }
}
