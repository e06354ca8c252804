//! From a data file to a model, a report and predictions.

use std::path::Path;

use crate::common::{Scratch, bilevel, data, small_csv, text};
#[cfg(unix)]
use crate::common::{interrupted, interrupted_after};
use serde_json::Value;

/// Runs `bilevel` with these arguments and gives what it printed.
fn run(args: &[&str]) -> String {
    let output = bilevel().args(args).output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{args:?}: {stderr}");
    String::from_utf8(output.stdout).unwrap()
}

fn summary(out: &Path) -> Value {
    serde_json::from_str(&std::fs::read_to_string(out.join("summary.json")).unwrap()).unwrap()
}

#[test]
fn a_table_with_categories() {
    let folder = Scratch::new();
    let (train, test) =
        (folder.write("train.csv", small_csv(300)), folder.write("new.csv", "colour,x\nred,4\nmauve,-5\n"));
    let out = folder.join("out");
    let printed = run(&["tune", text(&train), "--target", "y", "--test", "0.25", "--out", text(&out)]);
    for expected in ["225 rows, 4 features in 2 groups", "two classes: no (", "best shared", "test AUC", "report.html"]
    {
        let alternative = expected == "best shared" && printed.contains("chosen: shared");
        assert!(printed.contains(expected) || alternative, "'{expected}' is missing in\n{printed}");
    }
    let mut names: Vec<_> =
        std::fs::read_dir(&out).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    assert_eq!(names, ["model", "report.html", "summary.json", "trace.csv"]);

    let summary = summary(&out);
    for key in [
        "status",
        "model",
        "method",
        "penalties",
        "rows",
        "features",
        "hyperparameters",
        "validation_loss",
        "test_loss",
        "test_accuracy",
        "seconds",
        "passes",
    ] {
        assert!(!summary[key].is_null(), "{key} is missing");
    }
    assert_eq!((&summary["model"], &summary["rows"]), (&"logistic".into(), &225.into()));
    assert!(summary["test_accuracy"].as_f64().unwrap() > 0.7 && summary["test_r2"].is_null());
    let candidates = summary["candidates"].as_array().unwrap();
    assert!(candidates.len() > 2);
    for key in ["penalties", "validation_loss", "monitor_loss", "test_loss"] {
        assert!(candidates.iter().all(|candidate| candidate.get(key).is_some()), "{key} is missing");
    }
    let everything = std::fs::read_to_string(out.join("trace.csv")).unwrap() + &summary.to_string();
    assert!(!everything.to_lowercase().contains("nan") && !everything.contains("inf"), "only finite numbers");

    // Columns are found by name, the target may be absent, a category that was not seen is no fault.
    let model = out.join("model");
    assert_eq!(run(&["predict", text(&model), text(&test)]), "prediction\nyes\nno\n");
    let probabilities = run(&["predict", text(&model), text(&test), "--proba"]);
    let lines: Vec<&str> = probabilities.lines().collect();
    assert_eq!((lines[0], lines.len()), ("no,yes", 3));
    for line in &lines[1..] {
        let sum: f64 = line.split(',').map(|p| p.parse::<f64>().unwrap()).sum();
        assert!((sum - 1.0).abs() < 1e-12);
    }
    let file = folder.join("predictions.csv");
    assert_eq!(run(&["predict", text(&model), text(&test), "--out", text(&file)]), "");
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "prediction\nyes\nno\n");

    let table = run(&["evaluate", text(&model), text(&train)]);
    assert!(table.contains("accuracy") && table.contains("true \\ predicted"), "{table}");
    let json: Value = serde_json::from_str(&run(&["evaluate", text(&model), text(&train), "--json"])).unwrap();
    assert_eq!((&json["rows"], &json["classes"][1]), (&300.into(), &"yes".into()));
    assert_eq!(json["confusion"]["counts"].as_array().unwrap().len(), 4);
}

#[test]
fn the_same_seed_gives_the_same_files() {
    let folder = Scratch::new();
    let train = folder.write("train.csv", small_csv(200));
    let outs = ["a", "b"].map(|name| folder.join(name));
    for (out, threads) in outs.iter().zip(["1", "2"]) {
        run(&["tune", text(&train), "--seed", "3", "--threads", threads, "--out", text(out), "--quiet"]);
    }
    let model = |out: &Path| {
        // The command that is kept names the folder and the threads; the numbers stand behind the text.
        let bytes = std::fs::read(out.join("model")).unwrap();
        let length = u64::from_le_bytes(bytes[16..24].try_into().unwrap()) as usize;
        bytes[24 + length..].to_vec()
    };
    assert!(model(&outs[0]) == model(&outs[1]), "the model must not depend on the number of threads");
    assert_eq!(summary(&outs[0])["validation_loss"], summary(&outs[1])["validation_loss"]);
}

#[test]
fn the_command_in_the_report_repeats_the_run() {
    let folder = Scratch::new();
    let train = folder.write("train.csv", small_csv(120));
    let out = folder.join("out");
    run(&["tune", text(&train), "--penalties", "per-group", "--no-intercept", "--out", text(&out), "--quiet"]);
    let page = std::fs::read_to_string(out.join("report.html")).unwrap();
    let command = page.split("<pre>").nth(1).unwrap().split("</pre>").next().unwrap();
    let first = std::fs::read(out.join("model")).unwrap();
    std::fs::remove_dir_all(&out).unwrap();
    let words: Vec<&str> = command.split(' ').skip(1).collect();
    run(&words);
    let again = std::fs::read_to_string(out.join("report.html")).unwrap();
    assert_eq!(again.split("<pre>").nth(1).unwrap().split("</pre>").next().unwrap(), command);
    assert!(std::fs::read(out.join("model")).unwrap() == first, "the same command must give the same model");
}

#[test]
fn labels_are_gathered_and_mapped_back() {
    let folder = Scratch::new();
    let out = folder.join("out");
    let (train, test) = (data("pendigits.gz"), data("pendigits.t.gz"));
    let classes = ["--classes", "odd=1,3,5,7,9", "--classes", "even=*", "--positive-class", "even"];
    let args = ["tune", text(&train), "--test", text(&test), "--penalties", "shared", "--out", text(&out)];
    let printed = run(&[&args[..], &classes].concat());
    assert!(printed.contains("two classes: odd (3,715), even (3,779)"), "{printed}");
    let predictions = run(&["predict", text(&out.join("model")), text(&test)]);
    assert!(predictions.lines().skip(1).all(|line| line == "odd" || line == "even"));
    assert_eq!(predictions.lines().count(), 3499);
    // The labels of the file are digits; the model knows how they were gathered.
    let table = run(&["evaluate", text(&out.join("model")), text(&test)]);
    assert!(table.contains("accuracy"), "{table}");
}

#[test]
fn numbers_and_counts() {
    let folder = Scratch::new();
    let file = data("abalone_scale.bz2");
    for (model, figure) in [("squared", "test_r2"), ("huber", "test_r2"), ("poisson", "test_deviance_explained")] {
        let out = folder.join(model);
        run(&[
            "tune",
            text(&file),
            "--model",
            model,
            "--penalties",
            "shared",
            "--test",
            "0.2",
            "--quiet",
            "--out",
            text(&out),
        ]);
        let summary = summary(&out);
        assert!(summary[figure].as_f64().unwrap() > 0.3, "{model}: {summary}");
        assert!(summary["test_accuracy"].is_null());
        let predictions = run(&["predict", text(&out.join("model")), text(&file)]);
        let mean = predictions.lines().skip(1).map(|line| line.parse::<f64>().unwrap()).sum::<f64>() / 4177.0;
        assert!((mean - 9.93).abs() < 0.6, "{model}: mean prediction {mean}");
        let page = std::fs::read_to_string(out.join("report.html")).unwrap();
        assert!(page.contains("Residuals") && !page.contains("Confusion"));
    }
}

#[test]
fn constant_columns_are_kept_and_said_so() {
    let folder = Scratch::new();
    let constant = small_csv(100).replace("\nx,", "\n").replacen("x,colour", "x,one,colour", 1);
    let lines: Vec<String> = (constant.lines().enumerate())
        .map(|(i, line)| if i == 0 { line.into() } else { line.replacen(',', ",7,", 1) })
        .collect();
    let train = folder.write("train.csv", lines.join("\n"));
    let printed = run(&["tune", text(&train), "--storage", "dense", "--out", text(&folder.join("out"))]);
    assert!(printed.contains("constant"), "{printed}");
}

#[test]
fn missing_values_are_filled_in_on_request() {
    let folder = Scratch::new();
    let train = folder.write("train.csv", small_csv(100) + ",red,yes\n1.5,,no\n");
    run(&["tune", text(&train), "--missing", "impute", "--quiet", "--out", text(&folder.join("out"))]);
    let new = folder.write("new.csv", "x,colour\n,\n");
    assert_eq!(run(&["predict", text(&folder.join("out/model")), text(&new)]).lines().count(), 2);
}

/// A target that is only remembered by its number takes no feature of a file without it.
#[test]
fn rows_without_header_may_lack_the_target() {
    let folder = Scratch::new();
    let rows = || (0..60).map(|i| (["no", "yes"][usize::from(i % 10 > 4)], i % 10, i % 7));
    let labelled: String = rows().map(|(y, a, b)| format!("{y},{a}.5,{b}\n")).collect();
    let bare: String = rows().map(|(_, a, b)| format!("{a}.5,{b}\n")).collect();
    let (train, bare) = (folder.write("train.csv", labelled), folder.write("new.csv", bare));
    let model = folder.join("out/model");
    run(&["tune", text(&train), "--target", "1", "--quiet", "--out", text(&folder.join("out"))]);
    let predictions = run(&["predict", text(&model), text(&train)]);
    assert_eq!(predictions.lines().count(), 61);
    assert_eq!(run(&["predict", text(&model), text(&bare)]), predictions);
    assert!(run(&["evaluate", text(&model), text(&train)]).contains("accuracy"));
}

#[test]
fn inspecting() {
    let folder = Scratch::new();
    let printed = run(&["inspect", text(&folder.write("a.csv", small_csv(50)))]);
    for expected in ["50", "colour", "3 categories", "two classes"] {
        assert!(printed.contains(expected), "'{expected}' is missing in\n{printed}");
    }
    // As the options say it would be read and encoded, whatever is missing.
    let gaps = folder.write("gaps.csv", "a,empty,y\n1,,no\n,,yes\n3,,maybe\n");
    let options = ["--storage", "sparse", "--dtype", "f64", "--classes", "sure=yes,no"];
    let printed = run(&[&["inspect", text(&gaps)][..], &options].concat());
    for expected in ["sparse f64", "no values, 3 missing", "sure", "two classes", "1 to 3"] {
        assert!(printed.contains(expected), "'{expected}' is missing in\n{printed}");
    }
    let unlabelled = folder.write("b.svm", "1:0.5 2:1\n2:3\n");
    assert!(run(&["inspect", text(&unlabelled)]).contains("svmlight"));
}

/// What was read of a pipe is gone.
#[cfg(unix)]
#[test]
fn rows_come_from_a_pipe() {
    let rows = "x,y\n10,p\n20,q\n30,p\n40,q\n";
    for file in ["/dev/stdin", "-"] {
        let output = bilevel().args(["inspect", file]).write_stdin(rows).output().unwrap();
        let printed = String::from_utf8(output.stdout).unwrap();
        assert!(output.status.success() && printed.contains("rows      4"), "{file}: {printed}");
    }
    // Formats that are read as a whole, and files without a target, are read once, too.
    let folder = Scratch::new();
    let mut array = b"\x93NUMPY\x01\x00\x76\x00".to_vec();
    array.extend(format!("{:117}\n", "{'descr': '|u1', 'fortran_order': False, 'shape': (60, 2), }").bytes());
    array.extend((0..120u8).map(|i| i % 13));
    let labels = folder.write("y.txt", (0..60).map(|i| format!("{}\n", i % 2)).collect::<String>());
    let out = folder.join("out");
    let tune = ["tune", "-", "--labels", text(&labels), "--quiet", "--out", text(&out)];
    for (args, input, part) in [
        (&tune[..], array.clone(), ""),
        (&["inspect", "-"], array, "rows      60"),
        (&["inspect", "-"], b"1:1 2:3\n1:2\n".to_vec(), "rows      2"),
        (&["inspect", "-"], b"x\n1\n2\n".to_vec(), "rows      2"),
    ] {
        let output = bilevel().args(args).write_stdin(input).output().unwrap();
        let printed = String::from_utf8(output.stdout).unwrap();
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && printed.contains(part), "{args:?}: {printed}{errors}");
    }
}

#[test]
fn help_says_how() {
    assert!(run(&["--help"]).contains("tune"));
    assert_eq!(run(&["help", "tune"]), run(&["tune", "--help"]));
    assert_eq!(run(&["help"]), run(&["--help"]));
    assert!(run(&["--version"]).starts_with("bilevel "));
    let help = run(&["tune", "--help"]);
    for option in [
        "--classes odd=1,3,5,7,9",
        "--validation <FILE|FRACTION>",
        "per-feature",
        "aid-cg",
        "[default: 200]",
        "1e-5]",
        "Exit codes",
    ] {
        assert!(help.contains(option), "{option}");
    }
    for command in ["predict", "evaluate", "inspect"] {
        assert!(run(&[command, "--help"]).contains("--target"));
    }
    let output = bilevel().output().unwrap();
    assert_eq!(output.status.code(), Some(2), "no command is a mistake, answered with the help");
}

#[test]
fn a_time_limit_keeps_the_best_so_far() {
    let folder = Scratch::new();
    let out = folder.join("out");
    run(&["tune", text(&data("pendigits.gz")), "--max-time", "0.3s", "--quiet", "--out", text(&out)]);
    assert!(out.join("model").exists());
    let summary = summary(&out);
    assert_eq!(summary["status"], "time-limit");
    // Strong penalties are tried first; when the time is over among them, the usual one is better.
    let candidates = summary["candidates"].as_array().unwrap();
    let loss = |wanted: &dyn Fn(&serde_json::Value) -> bool| {
        candidates.iter().find(|candidate| wanted(candidate)).unwrap()["validation_loss"].as_f64().unwrap()
    };
    let [chosen, untuned] =
        [loss(&|candidate| candidate["chosen"] == true), loss(&|candidate| candidate["role"] == "untuned")];
    assert!(chosen <= untuned * (1.0 + 1e-9), "{chosen} is worse than {untuned} without tuning");
}

#[cfg(unix)]
#[test]
fn an_interrupt_keeps_the_best_so_far() {
    let folder = Scratch::new();
    let out = folder.join("out");
    let end = interrupted(["tune", text(&data("pendigits.gz")), "--out", text(&out)]);
    assert_eq!(end.code, Some(130), "{}", end.printed);
    assert!(end.took < std::time::Duration::from_secs(20), "stopping took {:?}", end.took);
    assert_eq!(summary(&out)["status"], "interrupted");
    assert!(out.join("model").exists() && out.join("report.html").exists());
}

/// Files are read before there is anything to keep.
#[cfg(unix)]
#[test]
fn an_interrupt_while_reading_says_that_nothing_was_written() {
    use std::process::{Command, Stdio};
    let folder = Scratch::new();
    let out = folder.join("out");
    let commands = [&["tune", "-", "--out", text(&out)][..], &["check", "-"], &["inspect", "-", "--at", "1"]];
    let waiting = commands.map(|arguments| {
        let command = &mut Command::new(assert_cmd::cargo_bin!("bilevel"));
        command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap()
    });
    std::thread::sleep(std::time::Duration::from_millis(1500));
    for mut child in waiting {
        // Rows that never come.
        let rows = child.stdin.take();
        assert!(Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap().success());
        let end = child.wait_with_output().unwrap();
        let errors = String::from_utf8(end.stderr).unwrap();
        assert_eq!((end.status.code(), errors.lines().count()), (Some(130), 1), "{errors}");
        assert!(errors.contains("nothing was written"), "{errors}");
        drop(rows);
    }
    assert!(!out.exists());
}

/// Whenever the signal comes, what is said of it holds, and who is told nothing finds nothing.
#[cfg(unix)]
#[test]
fn an_early_interrupt_keeps_its_promise() {
    let folder = Scratch::new();
    let (a9a, adult) = (data("a9a.gz"), data("adult.csv.gz"));
    let (a9a, adult) = (text(&a9a), text(&adult));
    let sampled = ["tune", a9a, "--method", "sid-constant"];
    let uniform = ["clean", a9a, "--trusted", a9a, "--start", "uniform"];
    let cases: [(&[&str], u64, &str); 6] = [
        (&sampled, 60, "model"),
        (&sampled, 100, "model"),
        (&["tune", adult], 15, "model"),
        (&["tune", adult], 60, "model"),
        (&uniform, 15, "weights.csv"),
        (&uniform, 60, "weights.csv"),
    ];
    for (number, (arguments, milliseconds, file)) in cases.into_iter().enumerate() {
        let out = folder.join(&number.to_string());
        let end = interrupted_after(milliseconds, arguments.iter().copied().chain(["--out", text(&out)]));
        // After it was over nothing is said.
        if end.errors.is_empty() {
            assert_eq!(out.join(file).exists(), end.code == Some(0), "{arguments:?}");
            continue;
        }
        let (promised, nothing) = (end.errors.contains("will be kept"), end.errors.contains("nothing was written"));
        assert_eq!(end.code, Some(130), "{arguments:?}: {}", end.errors);
        assert_eq!(out.join(file).exists(), !nothing, "{arguments:?}: {}", end.errors);
        assert!(!(promised && nothing), "{arguments:?}: {}", end.errors);
        // A look of the sampled search ends before it stops.
        let begun = end.errors.contains("stopping");
        assert!(!nothing || !begun || arguments[0] != "tune" || arguments[1] != a9a, "{}", end.errors);
    }
}

#[test]
fn rates_beyond_all_numbers_are_refused() {
    let folder = Scratch::new();
    let counts: String = (0..60).map(|i| format!("{},{}\n", f64::from(i % 7) / 2.0, (i % 7) * (i % 3))).collect();
    let train = folder.write("train.csv", format!("x,y\n{counts}"));
    let large = folder.write("large.csv", "x,y\n1,1\n1e30,2\n");
    let out = folder.join("out");
    run(&["tune", text(&train), "--model", "poisson", "--quiet", "--out", text(&out)]);
    for command in ["predict", "evaluate"] {
        let output = bilevel().args([command, text(&out.join("model")), text(&large)]).output().unwrap();
        let errors = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{command}: {errors}");
        assert!(errors.contains("large.csv:3: the predicted rate") && output.stdout.is_empty(), "{command}: {errors}");
    }
}

/// One less a number close to 1 was taken for the other class, and was 0.
#[test]
fn small_probabilities_of_either_class_are_kept() {
    let folder = Scratch::new();
    let out = folder.join("out");
    run(&["tune", text(&folder.write("a.csv", small_csv(120))), "--quiet", "--out", text(&out)]);
    let far = folder.write("far.csv", "x,colour\n100,red\n-100,red\n");
    let table = run(&["predict", "--proba", text(&out.join("model")), text(&far)]);
    let cells: Vec<f64> = table.lines().skip(1).flat_map(|line| line.split(',')).map(|x| x.parse().unwrap()).collect();
    assert_eq!(cells.len(), 4, "{table}");
    let small = [cells[0], cells[3]];
    assert!(small.iter().all(|&p| p > 0.0 && p < 1e-16), "{table}");
}

/// Two classes that a line nearly separates: with weak penalties fixed-point steps soon expand.
const NEARLY_SEPARABLE: &str = "\
    -1.548,-1.093,no 1.289,1.591,yes -1.510,-0.576,no 1.974,0.861,yes \
    -1.104,-0.671,no 1.350,0.243,yes -1.999,-0.654,no -0.300,1.202,yes \
    -1.730,-0.578,no 1.434,0.199,yes -1.408,0.341,no 1.196,-1.240,yes \
    -1.674,-0.358,no 1.220,1.143,yes -1.411,0.271,no 1.752,-1.173,yes \
    -1.757,-1.229,no 1.397,-0.749,yes -1.618,0.078,no 1.938,-0.450,yes";

/// All was lost, also what exact fits had confirmed before.
#[test]
fn a_search_that_cannot_go_on_keeps_the_best_so_far() {
    let folder = Scratch::new();
    let rows: String = NEARLY_SEPARABLE.split_whitespace().map(|row| format!("{row}\n")).collect();
    let (file, out) = (folder.write("rows.csv", format!("a,b,y\n{rows}")), folder.join("out"));
    run(&["tune", text(&file), "--target", "y", "--method", "aid-fp", "--quiet", "--out", text(&out)]);
    let summary = summary(&out);
    let notes = summary["notes"].to_string();
    assert!(notes.contains("ended where a hypergradient could not be computed"), "{summary}");
    assert!(run(&["evaluate", text(&out.join("model")), text(&file)]).contains("accuracy"));
}
