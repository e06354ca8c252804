//! The command that repeats a run, with all defaults spelled out.

use std::path::Path;

use bilevel::tune::TuneOptions;

use crate::args::{Dtype, Missing, Storage, TuneArgs, YesNo};
use crate::names::name_of;

/// A line for the shell.
pub fn command(args: &TuneArgs, options: &TuneOptions, target: Option<&str>) -> String {
    let problem = &args.problem;
    let mut words = vec!["bilevel".into(), "tune".into(), quote_path(&problem.train)];
    let mut option = |name: &str, value: Option<String>| {
        if let Some(value) = value {
            words.push(format!("--{name}"));
            words.push(quote(&value));
        }
    };
    let path = |path: &Option<std::path::PathBuf>| path.as_deref().map(|path| path.to_string_lossy().into_owned());
    option(
        "target",
        problem.data.target.clone().or(target.map(str::to_string)).filter(|_| problem.data.labels.is_none()),
    );
    option("labels", path(&problem.data.labels));
    option("header", problem.data.header.map(|h| if h == YesNo::Yes { "yes" } else { "no" }.into()));
    option("delimiter", problem.data.delimiter.map(|byte| char::from(byte).to_string().replace('\t', "tab")));
    for classes in &problem.classes {
        option("classes", Some(classes.clone()));
    }
    option("positive-class", problem.positive_class.clone());
    option("missing", Some(if problem.missing == Missing::Impute { "impute" } else { "error" }.into()));
    let storage = match problem.storage {
        Storage::Auto => "auto",
        Storage::Dense => "dense",
        Storage::Sparse => "sparse",
    };
    option("storage", Some(storage.into()));
    option("dtype", Some(if problem.dtype == Dtype::F64 { "f64" } else { "f32" }.into()));
    option("validation", problem.validation.clone());
    option("validation-labels", path(&problem.validation_labels));
    option("folds", args.folds.map(|folds| folds.to_string()));
    option("test", args.test.clone());
    option("test-labels", path(&args.test_labels));
    option("model", Some(name_of(&options.loss)));
    option("penalties", Some(name_of(&options.penalties)));
    option("groups", path(&problem.groups));
    option("sampling", Some(name_of(&options.sampling)));
    option("method", Some(name_of(&options.method)));
    option("lambda-min", args.lambda_min.map(|penalty| format!("{penalty:e}")));
    option("lambda-max", args.lambda_max.map(|penalty| format!("{penalty:e}")));
    option("max-iterations", Some(options.limits.iterations.to_string()));
    option("tolerance", Some(format!("{:e}", options.limits.tolerance)));
    option("max-time", options.limits.time.map(|time| format!("{}s", time.as_secs_f64())));
    option("seed", Some(options.seed.to_string()));
    option("threads", problem.threads.map(|threads| threads.to_string()));
    option("out", Some(args.out.to_string_lossy().into_owned()));
    for (flag, set) in [
        ("--normalize-rows", problem.normalize_rows),
        ("--no-standardize", problem.no_standardize),
        ("--no-intercept", problem.no_intercept),
    ] {
        if set {
            words.push(flag.into());
        }
    }
    words.join(" ")
}

fn quote_path(path: &Path) -> String {
    quote(&path.to_string_lossy())
}

/// `word` such that a shell reads it as one word.
fn quote(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_-./:,+=@%".contains(c);
    match !word.is_empty() && word.chars().all(plain) {
        true => word.into(),
        false => format!("'{}'", word.replace('\'', r"'\''")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::{Arguments, Command};
    use crate::plan;
    use clap::Parser;

    fn parse(line: &[&str]) -> TuneArgs {
        match Arguments::try_parse_from(line).unwrap().command {
            Command::Tune(args) => *args,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_command_says_the_same_again() {
        let line = [
            "bilevel",
            "tune",
            "a b.csv",
            "--target",
            "it's",
            "--no-intercept",
            "--max-time",
            "5m",
            "--classes",
            "odd=1,3",
            "--classes",
            "other=*",
            "--lambda-min",
            "1e-3",
            "--folds",
            "7",
            "--delimiter",
            ";",
        ];
        let args = parse(&line);
        let options = plan::options(&args, None, bilevel::data::TargetKind::Binary);
        let again = command(&args, &options, None);
        assert!(again.contains(r"'a b.csv' --target 'it'\''s'") && again.contains("--classes 'other=*'"), "{again}");
        let words: Vec<String> =
            again.replace(r"'it'\''s'", "it’s").split(' ').map(|w| w.trim_matches('\'').replace('’', "'")).collect();
        // The only word with a blank is the name of the file.
        let words: Vec<&str> =
            [&["bilevel", "tune", "a b.csv"], &words[4..].iter().map(String::as_str).collect::<Vec<_>>()[..]].concat();
        let parsed = parse(&words);
        assert_eq!(plan::options(&parsed, None, bilevel::data::TargetKind::Binary), options);
        assert_eq!(command(&parsed, &options, None), again);
    }
}
