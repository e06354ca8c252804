//! What the command tells of a bilevel problem: its constants, and whether it is what it says it is.

use std::process::Output;

use crate::common::{Scratch, bilevel, data, small_csv};
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

/// A column that one stray text turns into categories.
fn stray() -> String {
    let class = |i: usize| if (i * 5) % 11 + i % 3 > 6 { "yes" } else { "no" };
    let rows = (0..80).map(|i| format!("{i}.5,{},{}\n", i % 7, class(i)));
    format!("a,b,y\n{}stray,1,yes\n", rows.collect::<String>())
}

#[test]
fn notes_about_the_data_are_shown_by_all_commands() {
    let folder = Scratch::new();
    let (file, out) = (folder.write("a.csv", stray()), folder.join("out"));
    let (file, out) = (file.to_str().unwrap(), out.to_str().unwrap());
    let race = ["race", file, "--algorithms", "auto", "--iterations", "3", "--out", out];
    let study = ["study", file, "--at", "1", "--methods", "aid-cg", "--max-epochs", "8", "--out", out];
    let hypergradient = ["hypergradient", file, "--at", "1"];
    for args in [&hypergradient[..], &["check", file, "--at", "1"], &["inspect", file, "--at", "1"], &race, &study] {
        let text = printed(args);
        assert!(text.contains("note") && text.contains("'stray' among its numbers"), "{args:?}: {text}");
        if args.len() > 4 {
            let page = std::fs::read_to_string(format!("{out}/{}.html", args[0])).unwrap();
            assert!(page.contains("among its numbers"), "{}", args[0]);
        }
        if args[0] != "inspect" && args.len() == 4 {
            let json: Value = serde_json::from_str(&printed(&[args, &["--json"]].concat())).unwrap();
            assert!(json["notes"][0].as_str().unwrap().contains("'stray'"), "{json}");
        }
    }
}

#[test]
fn groups_ask_for_a_penalty_each() {
    let folder = Scratch::new();
    let heart = data("heart_scale.gz");
    let groups: String = (0..13).map(|feature| format!("g{}\n", feature / 5)).collect();
    let groups = folder.write("groups", groups);
    let args = ["hypergradient", heart.to_str().unwrap(), "--at", "1", "--json", "--groups", groups.to_str().unwrap()];
    let json: Value = serde_json::from_str(&printed(&args)).unwrap();
    assert_eq!(json["log_penalties"].as_array().unwrap().len(), 3);
}

/// It said that an error of no number was below what was allowed.
#[test]
fn a_fraction_of_a_hypergradient_of_zero_is_not_reached() {
    let folder = Scratch::new();
    let rows: String = (0..60).map(|i| format!("7,{}\n", i % 3 % 2)).collect();
    let file = folder.write("constant.csv", format!("x,y\n{rows}"));
    let at = ["hypergradient", file.to_str().unwrap(), "--at", "0.1"];
    let relative = run(&at);
    let text = String::from_utf8(relative.stdout).unwrap();
    assert_eq!(relative.status.code(), Some(1), "{text}");
    assert!(text.contains("below 0 with probability 95 %, which is no part of a norm of 0"), "{text}");
    let absolute = run(&[&at[..], &["--absolute", "1e-3"]].concat());
    let text = String::from_utf8(absolute.stdout).unwrap();
    assert_eq!(absolute.status.code(), Some(0), "{text}");
    for line in [["error", "below 0 with probability 95 %"], ["allowed", "0.001"]] {
        let found = text.lines().any(|text| text.starts_with(line[0]) && text.ends_with(line[1]));
        assert!(found, "{line:?} is missing in\n{text}");
    }
}
