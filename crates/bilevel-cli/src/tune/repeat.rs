//! The command that repeats a run, with all defaults spelled out.

use bilevel::tune::TuneOptions;

use super::args::TuneArgs;
use crate::names::name_of;
use crate::words::Words;

/// A line for the shell.
pub fn command(args: &TuneArgs, options: &TuneOptions, target: Option<&str>) -> String {
    let problem = &args.problem;
    let mut words = Words::new("tune", &problem.train);
    words.rows(&problem.train, &problem.data, &problem.encoding, target);
    words.option("validation", problem.validation.clone());
    words.path("validation-labels", problem.validation_labels.as_ref());
    words.option("folds", args.folds.map(|folds| folds.to_string()));
    words.option("test", args.test.clone());
    words.path("test-labels", args.test_labels.as_ref());
    words.option("model", Some(name_of(&options.loss)));
    words.option("penalties", Some(name_of(&options.penalties)));
    words.path("groups", problem.groups.as_ref());
    words.option("sampling", options.sampling.as_ref().map(name_of));
    words.option("method", Some(name_of(&options.method)));
    words.option("lambda-min", args.lambda_min.map(|penalty| format!("{penalty:e}")));
    words.option("lambda-max", args.lambda_max.map(|penalty| format!("{penalty:e}")));
    words.option("max-iterations", Some(options.limits.iterations.to_string()));
    words.option("tolerance", Some(format!("{:e}", options.limits.tolerance)));
    words.option("max-time", options.limits.time.map(|time| format!("{}s", time.as_secs_f64())));
    words.option("seed", Some(options.seed.to_string()));
    words.option("threads", problem.threads.map(|threads| threads.to_string()));
    words.path("out", Some(&args.out));
    words.flags(&[
        ("normalize-rows", problem.encoding.normalize_rows),
        ("no-standardize", problem.encoding.no_standardize),
        ("no-intercept", problem.no_intercept),
    ]);
    words.text()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::{Arguments, Command};

    fn parse(line: &[&str]) -> TuneArgs {
        match Arguments::of_line(line).unwrap().command {
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
        let options = args.options(None, bilevel::data::TargetKind::Binary);
        let again = command(&args, &options, None);
        assert!(again.contains(r"'a b.csv' --target 'it'\''s'") && again.contains("--classes 'other=*'"), "{again}");
        let words: Vec<String> =
            again.replace(r"'it'\''s'", "it’s").split(' ').map(|w| w.trim_matches('\'').replace('’', "'")).collect();
        // The only word with a blank is the name of the file.
        let words: Vec<&str> =
            [&["bilevel", "tune", "a b.csv"], &words[4..].iter().map(String::as_str).collect::<Vec<_>>()[..]].concat();
        let parsed = parse(&words);
        assert_eq!(parsed.options(None, bilevel::data::TargetKind::Binary), options);
        assert_eq!(command(&parsed, &options, None), again);
    }
}
