//! What the command tells of a bilevel problem: its constants, and whether it is what it says it is.

mod common;

use std::process::Output;

use common::{Scratch, bilevel, data, small_csv};
use serde_json::Value;

fn run(args: &[&str]) -> Output {
    bilevel().args(args).output().unwrap()
}

fn printed(args: &[&str]) -> String {
    let output = run(args);
    assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// The second cell of the line that begins with `name`.
fn number(text: &str, name: &str) -> f64 {
    let line = text.lines().find(|line| line.split_whitespace().next() == Some(name));
    let line = line.unwrap_or_else(|| panic!("no {name} in\n{text}"));
    line.split_whitespace().nth(1).unwrap().parse().unwrap_or_else(|_| panic!("no number in `{line}`"))
}

#[test]
fn constants_of_a_problem() {
    let file = data("heart_scale.gz");
    let file = file.to_str().unwrap();
    let text = printed(&["inspect", file, "--at", "0.1", "--penalties", "per-feature"]);
    let (mu, l, kappa) = (number(&text, "mu"), number(&text, "L"), number(&text, "kappa"));
    assert!((l / mu / kappa - 1.0).abs() < 0.02, "{text}");
    assert!((number(&text, "q") - (kappa - 1.0) / (kappa + 1.0)).abs() < 0.01, "{text}");
    for word in ["Lanczos", "sampling", "formula", "sigma2", "L_Phi", "rows visited", "batches of 64 rows"] {
        assert!(text.contains(word), "'{word}' is missing in\n{text}");
    }
    // Noise falls like one over the batch; 200 samples give it within a few tenths.
    let smaller = printed(&["inspect", file, "--at", "0.1", "--penalties", "per-feature", "--batch", "16"]);
    let ratio = number(&smaller, "sigma1") / number(&text, "sigma1");
    assert!((2.0..9.0).contains(&ratio), "{ratio}");
    let hinge = printed(&["inspect", file, "--at", "0.1", "--model", "squared-hinge"]);
    assert!(hinge.contains("nu1 has no formula"), "{hinge}");
}

#[test]
fn a_step_that_is_too_long_is_one_line_with_names_and_a_remedy() {
    let folder = Scratch::new();
    let file = folder.write("a.csv", small_csv(120));
    let output = run(&["inspect", file.to_str().unwrap(), "--at", "0.01", "--map-step", "50"]);
    let text = String::from_utf8(output.stderr).unwrap();
    assert_eq!((output.status.code(), text.lines().count()), (Some(1), 1), "{text}");
    for word in ["does not contract", "mainly", "colour", "--map-step", "2/L"] {
        assert!(text.contains(word), "'{word}' is missing in {text}");
    }
    assert!(output.stdout.is_empty());
}

#[test]
fn right_problems_pass_all_checks() {
    let file = |name: &str| data(name).to_str().unwrap().to_string();
    for args in [
        vec!["check".to_string(), file("heart_scale.gz"), "--penalties".into(), "per-feature".into()],
        vec![
            "check".to_string(),
            file("abalone_scale.bz2"),
            "--model".into(),
            "poisson".into(),
            "--at".into(),
            "0.1".into(),
        ],
        vec!["check".to_string(), file("abalone_scale.bz2"), "--model".into(), "squared".into()],
        vec!["check".to_string(), file("heart_scale.gz"), "--model".into(), "squared-hinge".into()],
        vec!["check".to_string(), file("abalone_scale.bz2"), "--model".into(), "huber".into()],
        vec!["check".to_string(), file("breast-cancer.gz"), "--storage".into(), "sparse".into(), "--json".into()],
    ] {
        let output = bilevel().args(&args).output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        assert_eq!(output.status.code(), Some(0), "{args:?}: {text}{}", String::from_utf8_lossy(&output.stderr));
        if args.last().is_some_and(|last| last == "--json") {
            let report: Value = serde_json::from_str(&text).unwrap();
            assert_eq!(report["passed"], true);
            let names: Vec<&str> =
                report["checks"].as_array().unwrap().iter().map(|check| check["name"].as_str().unwrap()).collect();
            for name in ["lower level, all rows: gradient", "samples of the map: apply", "whole problem: hypergradient"]
            {
                assert!(names.contains(&name), "{name} is missing in {names:?}");
            }
        } else {
            assert!(text.ends_with("checks passed.\n") && !text.contains("FAILED"), "{text}");
        }
    }
}

#[test]
fn a_model_says_how_many_penalties_there_are() {
    let folder = Scratch::new();
    let (heart, out) = (data("heart_scale.gz"), folder.join("out"));
    let (heart, out) = (heart.to_str().unwrap(), out.to_str().unwrap());
    printed(&["tune", heart, "--penalties", "per-feature", "--max-iterations", "3", "--quiet", "--out", out]);
    let model = format!("{out}/model");
    let text = printed(&["hypergradient", heart, "--at", &model, "--precision", "0.5", "--json", "--quiet"]);
    let json: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(json["log_penalties"].as_array().unwrap().len(), 13);
    let output = run(&["hypergradient", heart, "--at", &model, "--penalties", "shared"]);
    let errors = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.code() == Some(2) && errors.contains("--at gives 13 penalties"), "{errors}");
}

#[test]
fn mistakes_are_refused() {
    let file = data("heart_scale.gz");
    let file = file.to_str().unwrap();
    for (args, word) in [
        (vec!["inspect", file, "--at", "0"], "--at"),
        (vec!["inspect", file, "--at", "1,2"], "penalties"),
        (vec!["inspect", file, "--map-step", "1"], "--at"),
        (vec!["inspect", file, "--at", "1", "--batch", "0"], "batch"),
        (vec!["check", file, "--at", "nonsense"], "--at"),
        (vec!["check", "no-such-file"], "no-such-file"),
    ] {
        let output = run(&args);
        let text = String::from_utf8(output.stderr).unwrap();
        assert_eq!((output.status.code(), text.lines().count()), (Some(2), 1), "{args:?}: {text}");
        assert!(text.contains(word), "{args:?}: {text}");
    }
}
