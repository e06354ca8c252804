//! `bilevel race`: files, resumption, the simulated problem, refusals.

use std::path::Path;

#[cfg(unix)]
use crate::common::interrupted;
use crate::common::{Scratch, bilevel, data, text};
use serde_json::Value;

/// Runs `bilevel race` and gives its exit code, standard output and standard error.
fn race(on: &str, out: &Path, more: &[&str]) -> (i32, String, String) {
    let args = [&["race", on, "--out", text(out)], more].concat();
    let output = bilevel().args(&args).output().unwrap();
    let [stdout, stderr] = [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).unwrap());
    (output.status.code().unwrap(), stdout, stderr)
}

/// The lines of `race.csv` in cells, without the seconds.
fn rows(out: &Path) -> Vec<Vec<String>> {
    let text = std::fs::read_to_string(out.join("race.csv")).unwrap();
    let row = |line: &str| {
        let mut cells: Vec<String> = line.split(',').map(String::from).collect();
        assert_eq!(cells.len(), 12, "{line}");
        cells.remove(3);
        cells
    };
    text.lines().skip(1).map(row).collect()
}

fn last_value(out: &Path, algorithm: &str) -> (f64, f64) {
    let rows = rows(out);
    let value = |row: &Vec<String>| row[8].parse::<f64>().unwrap();
    let of: Vec<_> = rows.iter().filter(|row| row[0] == algorithm).collect();
    (value(of[0]), value(of[of.len() - 1]))
}

const SHORT: [&str; 6] = ["--iterations", "200", "--batch", "16", "--penalties", "per-feature"];

#[test]
fn a_race_is_continued_and_does_not_depend_on_threads() {
    let folder = Scratch::new();
    let (one, two) = (folder.join("one"), folder.join("two"));
    let heart = data("heart_scale.gz");
    let on = text(&heart);
    let (code, printed, errors) =
        race(on, &one, &[&SHORT[..], &["--algorithms", "soba,vrbo", "--threads", "1"]].concat());
    assert_eq!((code, errors.as_str()), (0, ""), "{printed}");
    for expected in ["soba", "vrbo", "200", "finished", "race.html", "(2 new)"] {
        assert!(printed.contains(expected), "'{expected}' is missing in\n{printed}");
    }
    for name in ["race-samples.svg", "race-seconds.svg", "race.html"] {
        let file = std::fs::read_to_string(one.join(name)).unwrap();
        assert!(file.contains("soba") && !file.contains("NaN"), "{name}");
    }
    for algorithm in ["soba", "vrbo"] {
        let (first, last) = last_value(&one, algorithm);
        assert!(last < first, "{algorithm} ends lower than it began: {first} {last}");
    }
    let before = std::fs::read_to_string(one.join("race.csv")).unwrap();
    let more = [&SHORT[..], &["--algorithms", "soba,vrbo,hoag", "--seeds", "2", "--threads", "2"]].concat();
    assert!(race(on, &one, &more).1.contains("(4 new)"));
    let after = std::fs::read_to_string(one.join("race.csv")).unwrap();
    assert!(before.lines().all(|line| after.lines().any(|other| other == line)), "runs that were there are kept");
    assert_eq!(race(on, &two, &more).0, 0);
    assert_eq!(rows(&one), rows(&two), "at once or in two runs, on one or two threads");
    let other = ["--iterations", "201", "--batch", "16", "--penalties", "per-feature"];
    let (code, _, errors) = race(on, &one, &other);
    assert!(code == 2 && errors.contains("holds another race: iterations was 200"), "{errors}");
    for (other, difference) in
        [(["--sampling", "rows"], "sampling was"), (["--at", "0.2"], "at was not given and is 0.2")]
    {
        let (code, _, errors) = race(on, &one, &[&SHORT[..], &other].concat());
        assert!(code == 2 && errors.contains(difference), "{errors}");
    }
    // What is given is what is done in any case, and another name is the same file.
    assert!(race(on, &one, &[&more[..], &["--sampling", "blocks"]].concat()).1.contains("(0 new)"));
    let name = format!("{}/./{}", heart.parent().unwrap().display(), heart.file_name().unwrap().to_str().unwrap());
    let (code, _, errors) = race(&name, &one, &[&SHORT[..], &["--no-intercept"]].concat());
    assert!(code == 2 && errors.contains("holds another race: its data, its model or its penalty differ"), "{errors}");
    assert_eq!(race(on, &one, &[&other[..], &["--overwrite", "--algorithms", "soba", "-q"]].concat()).0, 0);
    assert!(rows(&one).iter().all(|row| row[0] == "soba"));
}

/// With steps that are given, and as many passes as are asked for.
#[test]
fn the_simulated_problem_is_solved() {
    let folder = Scratch::new();
    let out = folder.join("out");
    let sizes = ["--rows", "100", "--dim", "5", "--hyperparameters", "3", "--condition", "2", "--batch", "all"];
    let more = ["--algorithms", "soba,amigo", "--steps", "0.5,0.5,0.05", "--passes", "40000"];
    let (code, printed, errors) = race("quadratic", &out, &[&sizes[..], &more].concat());
    assert_eq!((code, errors.as_str()), (0, ""), "{printed}");
    let json: Value = serde_json::from_str(&std::fs::read_to_string(out.join("race.json")).unwrap()).unwrap();
    for run in json["runs"].as_array().unwrap() {
        let last = run["curve"].as_array().unwrap().last().unwrap();
        assert!(last["cost"]["work"]["rows"].as_f64().unwrap() >= 40_000.0 * 100.0, "{last}");
        let gradient = last["judgement"]["gradient_squared"].as_f64().unwrap();
        assert!(gradient < 1e-12, "all rows, a linear rate: {run}");
        assert_eq!(run["steps"], serde_json::json!([0.5, 0.5, 0.05]));
    }
}

/// On a tenth of the budget the best steps of some algorithms do not show that they are too long.
#[test]
fn a_run_that_ends_above_its_start_is_not_called_finished() {
    let folder = Scratch::new();
    let out = folder.join("out");
    let ends = |more: &[&str]| {
        let hard = ["--condition", "100", "--batch", "16", "--overwrite"];
        let (code, printed, errors) = race("quadratic", &out, &[&hard[..], more].concat());
        assert_eq!((code, errors.as_str()), (0, ""), "{printed}");
        let json: Value = serde_json::from_str(&std::fs::read_to_string(out.join("race.json")).unwrap()).unwrap();
        (printed, json["runs"].as_array().unwrap().iter().map(|run| run["end"].clone()).collect::<Vec<_>>())
    };
    let (_, found) = ends(&["--algorithms", "fsla,ma-soba", "--passes", "200"]);
    assert_eq!(found, ["finished", "finished"], "by the next pairs of steps");
    for algorithm in ["fsla", "ma-soba"] {
        let (first, last) = last_value(&out, algorithm);
        assert!(last < first, "{algorithm}: {first} {last}");
    }
    let (printed, found) = ends(&["--algorithms", "soba", "--passes", "20", "--steps", "0.5,0.5,0.05"]);
    assert_eq!(found, ["above-start"]);
    assert!(printed.contains("above its start") && !printed.contains("finished"), "{printed}");
}

#[test]
fn samples_are_not_larger_than_the_data_and_starts_lie_in_the_box() {
    let folder = Scratch::new();
    let heart = data("heart_scale.gz");
    let settings = |name: &str, on: &str, more: &[&str]| -> (Value, String) {
        let out = folder.join(name);
        let usual = ["--algorithms", "soba", "--steps", "0.01,0.01,0.01", "--iterations", "2"];
        let (code, printed, errors) = race(on, &out, &[&usual[..], more].concat());
        assert_eq!((code, errors.as_str()), (0, ""), "{printed}");
        let json: Value = serde_json::from_str(&std::fs::read_to_string(out.join("race.json")).unwrap()).unwrap();
        (json["settings"].clone(), printed)
    };
    let most = u64::MAX.to_string();
    let (simulated, _) = settings("simulated", "quadratic", &["--rows", "100", "--batch", &most]);
    let (rows, _) = settings("rows", text(&heart), &["--sampling", "rows", "--batch", &most]);
    assert_eq!(simulated["batch"], serde_json::json!({"rows": 100}));
    assert!(rows["batch"]["rows"].as_u64().unwrap() <= rows["rows"].as_u64().unwrap(), "{rows}");
    let (_, printed) = settings("far", text(&heart), &["--at", "1000"]);
    assert!(printed.contains("penalty 1000, brought into the box from 1e-8 to 100"), "{printed}");
}

/// The other simulated problems and a softmax with a penalty for each class, by the algorithm that needs no steps.
#[test]
fn other_problems_are_solved_without_choosing_steps() {
    let folder = Scratch::new();
    let pendigits = data("pendigits.gz");
    for (name, on, more) in [
        ("meta", "meta-learning", &["--tasks", "10", "--dim", "4", "--batch", "16"][..]),
        ("poison", "poisoning", &["--rows", "60", "--dim", "3", "--poisoned", "10", "--batch", "16"]),
        ("softmax", text(&pendigits), &["--penalties", "per-class"]),
    ] {
        let out = folder.join(name);
        let auto = ["--algorithms", "auto", "--iterations", "1500"];
        let (code, printed, errors) = race(on, &out, &[more, &auto].concat());
        assert_eq!((code, errors.as_str()), (0, ""), "{printed}");
        let json: Value = serde_json::from_str(&std::fs::read_to_string(out.join("race.json")).unwrap()).unwrap();
        assert_eq!(json["runs"][0]["screening_seconds"], 0.0, "{name}");
        let (first, last) = last_value(&out, "auto");
        assert!(last < first, "{name}: {first} {last}");
        let hyperparameters = [4, 30, 10][["meta", "poison", "softmax"].iter().position(|n| *n == name).unwrap()];
        assert_eq!(json["settings"]["hyperparameters"], hyperparameters, "{name}");
    }
    let out = folder.join("middle");
    let sizes = ["--algorithms", "soba,srba", "--step-rule", "middle", "--iterations", "300"];
    assert_eq!(race("quadratic", &out, &sizes).0, 0);
    let json: Value = serde_json::from_str(&std::fs::read_to_string(out.join("race.json")).unwrap()).unwrap();
    assert_eq!(json["runs"][0]["steps"], json["runs"][1]["steps"], "untried");
}

#[test]
fn bad_options_leave_nothing() {
    let folder = Scratch::new();
    let out = folder.join("out");
    let heart = data("heart_scale.gz");
    for (on, more) in [
        (text(&heart), &["--algorithms", "sobas"][..]),
        (text(&heart), &["--steps", "0.1,0.1"]),
        (text(&heart), &["--steps", "0.1,0.1,-1"]),
        (text(&heart), &["--batch", "0"]),
        (text(&heart), &["--seconds", "0"]),
        (text(&heart), &["--at", "-1"]),
        (text(&heart), &["--condition", "2"]),
        ("quadratic", &["--condition", "0.5"]),
        ("quadratic", &["--at", "1"]),
        ("quadratic", &["--tasks", "3"]),
        ("quadratic", &["--labels", "nope"]),
        ("quadratic", &["--model", "squared"]),
        ("quadratic", &["--iterations", "-1"]),
        ("meta-learning", &["--groups", "nope"]),
        ("poisoning", &["--dtype", "f64"]),
        ("meta-learning", &["--condition", "3"]),
        ("meta-learning", &["--model", "poisson"]),
        ("poisoning", &["--rows", "5", "--poisoned", "9"]),
        ("equilibrium", &[]),
        ("bellman", &[]),
        ("quadratic", &["--rows", "1000000000"]),
        ("no-such-file", &[]),
    ] {
        let (code, _, errors) = race(on, &out, more);
        assert_eq!(code, 2, "{more:?}: {errors}");
        assert_eq!(errors.trim_end().lines().count(), 1, "{errors}");
        assert!(!out.exists(), "{more:?}");
    }
}

#[cfg(unix)]
#[test]
fn an_interrupt_keeps_finished_runs() {
    let folder = Scratch::new();
    let out = folder.join("out");
    let heart = data("heart_scale.gz");
    let common = ["--algorithms", "soba", "--steps", "0.1,0.1,1", "--seconds", "0.2"];
    let endless = ["race", text(&heart), "--seeds", "1000000", "--out", text(&out)];
    let end = interrupted(endless.into_iter().chain(common));
    assert_eq!(end.code, Some(130), "{}", end.printed);
    assert!(out.join("race.html").exists() && end.printed.contains("finished"), "{}", end.printed);
    let kept = rows(&out);
    assert!(kept.iter().any(|row| row[1] == "0"));
    assert!(race(text(&heart), &out, &common).1.contains("(0 new)"));
    assert_eq!(rows(&out), kept);
}
