//! `bilevel clean`: weights, report and a model that predicts.

use crate::common::{Scratch, bilevel, data, interrupted_after, text};
use serde_json::Value;

/// Rows of the bundled digits, `labels` of them changed to the next digit.
fn digits(from: usize, rows: usize, changed: usize) -> String {
    let mut text = String::new();
    let mut reader = flate2::read::GzDecoder::new(std::fs::File::open(data("pendigits.gz")).unwrap());
    std::io::Read::read_to_string(&mut reader, &mut text).unwrap();
    let lines = text.lines().skip(from).take(rows).enumerate().map(|(row, line)| {
        let (label, features) = line.split_once(' ').unwrap();
        let label: u32 = label.parse().unwrap();
        let label = if row < changed { (label + 1) % 10 } else { label };
        format!("{label} {features}\n")
    });
    lines.collect()
}

#[test]
fn changed_labels_are_listed() {
    let folder = Scratch::new();
    let train = folder.write("train.svm", digits(0, 600, 200));
    let trusted = folder.write("trusted.svm", digits(600, 300, 0));
    let test = folder.write("test.svm", digits(900, 400, 0));
    let out = folder.join("out");
    let arguments = ["clean", text(&train), "--trusted", text(&trusted), "--test", text(&test), "--out", text(&out)];
    let output = bilevel().args(arguments).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let printed = String::from_utf8(output.stdout).unwrap();
    for expected in [
        "trusted data",
        "300 rows",
        "weighted rows",
        "weigh less than one half",
        "weights.csv",
        "to fit one of the models",
        "3 steps as planned in",
    ] {
        assert!(printed.contains(expected), "'{expected}' is missing in\n{printed}");
    }
    let mut names: Vec<_> =
        std::fs::read_dir(&out).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    assert_eq!(names, ["model", "report.html", "summary.json", "weights.csv"]);

    let weights = std::fs::read_to_string(out.join("weights.csv")).unwrap();
    let mut lines = weights.lines();
    assert_eq!(lines.next(), Some("row,label,weight,rank,suggested_label,label_probability,trusted_loss"));
    let rows: Vec<Vec<&str>> = lines.map(|line| line.split(',').collect()).collect();
    assert_eq!(rows.len(), 600);
    let mut ranks: Vec<usize> = rows.iter().map(|row| row[3].parse().unwrap()).collect();
    let early = ranks[..200].iter().filter(|&&rank| rank <= 200).count();
    assert!(early > 180, "{early} of the 200 changed rows are among the 200 most suspicious");
    ranks.sort_unstable();
    assert_eq!(ranks, (1..=600).collect::<Vec<_>>());
    // The digit before the one that was given is the right one.
    let suggested = rows[..200].iter().filter(|row| row[4].parse() == Ok((row[1].parse::<u32>().unwrap() + 9) % 10));
    assert!(suggested.count() > 170);
    assert_eq!((rows[0][0], rows[599][0]), ("1", "600"));

    let summary: Value = serde_json::from_str(&std::fs::read_to_string(out.join("summary.json")).unwrap()).unwrap();
    let accuracy = |number: usize| summary["fits"][number]["test"]["accuracy"].as_f64().unwrap();
    assert_eq!(summary["fits"][2]["of"], "weighted-rows");
    assert_eq!(summary["status"], "iteration-limit");
    assert!(accuracy(2) > accuracy(0), "{} {}", accuracy(0), accuracy(2));
    assert!(summary["steps"].as_array().unwrap().len() > 1 && summary["rows"] == 600);
    let page = std::fs::read_to_string(out.join("report.html")).unwrap();
    for expected in ["Most suspicious rows", "Histogram of the weights", "class=\"confusion\"", "<th>suggested</th>"] {
        assert!(page.contains(expected), "'{expected}' is missing");
    }
    assert!(!page.contains("NaN") && !page.contains("http"), "the page is complete and asks nobody");

    // The model is one like all others.
    let evaluated = bilevel().args(["evaluate", text(&out.join("model")), text(&test)]).output().unwrap();
    assert!(evaluated.status.success() && String::from_utf8_lossy(&evaluated.stdout).contains("accuracy"));

    // The command in the report gives the same weights again.
    let again = page.split("<pre>").nth(1).unwrap().split("</pre>").next().unwrap();
    let words: Vec<&str> = again.split(' ').skip(1).collect();
    assert!(bilevel().args(words).output().unwrap().status.success(), "{again}");
    assert_eq!(std::fs::read_to_string(out.join("weights.csv")).unwrap(), weights);
}

#[cfg(unix)]
#[test]
fn an_interrupt_keeps_the_weights_there_are() {
    let folder = Scratch::new();
    let table: String = (0..20_000)
        .map(|row: usize| {
            let numbers = (0..40).map(|j| format!(" {}:{}", j + 1, (row * 7919 + j * 104_729 + row * j) % 1000));
            format!("{}{}\n", row % 5, numbers.collect::<String>())
        })
        .collect();
    let rows = folder.write("rows.svm", table);
    let out = folder.join("out");
    // All of it takes a third of a second on a fast machine.
    let long = ["--monitor", "0", "--start", "uniform", "--out", text(&out)];
    let arguments = ["clean", text(&rows), "--trusted", text(&rows)].into_iter().chain(long);
    let end = interrupted_after(10, arguments.collect::<Vec<_>>());
    assert_eq!(end.code, Some(130), "{}", end.printed);
    // While the penalty is tuned there is nothing to keep yet.
    if out.exists() {
        let summary: Value = serde_json::from_str(&std::fs::read_to_string(out.join("summary.json")).unwrap()).unwrap();
        assert_eq!(summary["status"], "interrupted");
    }
    assert!(end.took < std::time::Duration::from_secs(20), "{:?}", end.took);
}

/// The figures of the README, on its data: which of the lightest rows have wrong labels, and how well the models predict.
#[test]
fn labels_drawn_anew_are_found() {
    let folder = Scratch::new();
    let out = folder.join("out");
    let files = ["digits-noisy.csv.gz", "digits-trusted.csv.gz", "digits-test.csv.gz"].map(data);
    let [noisy, trusted, test] = files.each_ref().map(|path| text(path));
    let columns = ["--target", "digit", "--exclude", "true_digit"];
    let arguments = ["clean", noisy, "--trusted", trusted, "--test", test, "--out", text(&out)];
    let output = bilevel().args(arguments).args(columns).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));

    let mut table = String::new();
    let mut reader = flate2::read::GzDecoder::new(std::fs::File::open(noisy).unwrap());
    std::io::Read::read_to_string(&mut reader, &mut table).unwrap();
    let wrong: Vec<bool> = (table.lines().skip(1))
        .map(|line| {
            let [truth, given] = line.rsplitn(3, ',').take(2).collect::<Vec<_>>()[..] else { panic!("{line}") };
            truth != given
        })
        .collect();
    let weights = std::fs::read_to_string(out.join("weights.csv")).unwrap();
    let ranked = |line: &str| -> (usize, usize) {
        let cells: Vec<&str> = line.split(',').collect();
        (cells[3].parse().unwrap(), cells[0].parse().unwrap())
    };
    let mut ranks: Vec<(usize, usize)> = weights.lines().skip(1).map(ranked).collect();
    ranks.sort_unstable();
    let found = ranks[..300].iter().filter(|&&(_, row)| wrong[row - 1]).count();
    assert!(found >= 295, "of the 300 lightest rows {found} have wrong labels");

    let summary: Value = serde_json::from_str(&std::fs::read_to_string(out.join("summary.json")).unwrap()).unwrap();
    let fits = summary["fits"].as_array().unwrap();
    let accuracies: Vec<f64> = fits.iter().map(|fit| fit["test"]["accuracy"].as_f64().unwrap()).collect();
    // Of all rows alike, of the trusted rows alone, of the weighted rows.
    assert!(accuracies.len() == 3 && accuracies.is_sorted(), "{accuracies:?}");
}

/// A softmax of trusted rows of one class has no minimum: refused where all are, and no fold of the penalty where its fit is.
#[test]
fn trusted_rows_of_few_classes() {
    let folder = Scratch::new();
    let train = folder.write("train.svm", digits(0, 300, 100));
    let all = digits(600, 1500, 0);
    let of = |digit: &str| all.lines().filter(|line| line.starts_with(digit)).collect::<Vec<_>>();
    let out = folder.join("out");
    let clean = |trusted: &[&str]| {
        let trusted = folder.write("trusted.svm", trusted.join("\n") + "\n");
        let arguments = ["clean", text(&train), "--trusted", text(&trusted), "--out", text(&out)];
        bilevel().args(arguments).output().unwrap()
    };
    let refused = clean(&of("3 "));
    let errors = String::from_utf8_lossy(&refused.stderr);
    assert!(refused.status.code() == Some(2) && errors.contains("of one class") && !out.exists(), "{errors}");
    let nearly = clean(&[of("3 "), of("5 ")[..1].to_vec()].concat());
    assert!(nearly.status.success(), "{}", String::from_utf8_lossy(&nearly.stderr));
}

/// The end was called "monitor", and a share without rows was passed over.
#[test]
fn monitor_rows_are_spoken_of() {
    let folder = Scratch::new();
    let train = folder.write("train.svm", digits(0, 300, 100));
    let trusted = folder.write("trusted.svm", digits(600, 100, 0));
    let out = folder.join("out");
    let clean = |more: [&str; 2]| {
        let arguments = ["clean", text(&train), "--trusted", text(&trusted), "--out", text(&out)];
        let output = bilevel().args(arguments).args(more).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    let (printed, served) = (clean(["--max-iterations", "40"]), "the loss on the monitor rows was lowest at step");
    assert!(printed.contains(&format!("stopped ({served}")), "{printed}");
    assert!(std::fs::read_to_string(out.join("report.html")).unwrap().contains(served));
    let printed = clean(["--monitor", "0.001"]);
    assert!(printed.contains("100 trusted rows are too few to keep a share of 0.001"), "{printed}");
}
