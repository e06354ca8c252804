//! The command that repeats a run, with all defaults spelled out.

use std::path::{Path, PathBuf};

use bilevel::tune::TuneOptions;

use crate::args::{DataArgs, Dtype, Missing, ProblemArgs, Storage, TuneArgs, YesNo};
use crate::names::name_of;

/// A line for the shell.
pub fn command(args: &TuneArgs, options: &TuneOptions, target: Option<&str>) -> String {
    let problem = &args.problem;
    let mut words = Words::new("tune", &problem.train);
    words.data(&problem.data, target);
    words.encoding(problem);
    words.option("validation", problem.validation.clone());
    words.path("validation-labels", problem.validation_labels.as_ref());
    words.option("folds", args.folds.map(|folds| folds.to_string()));
    words.option("test", args.test.clone());
    words.path("test-labels", args.test_labels.as_ref());
    words.option("model", Some(name_of(&options.loss)));
    words.option("penalties", Some(name_of(&options.penalties)));
    words.path("groups", problem.groups.as_ref());
    words.option("sampling", Some(name_of(&options.sampling)));
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
        ("normalize-rows", problem.normalize_rows),
        ("no-standardize", problem.no_standardize),
        ("no-intercept", problem.no_intercept),
    ]);
    words.text()
}

/// The words of a command that is being put together.
pub struct Words(Vec<String>);

impl Words {
    /// `bilevel NAME FILE`.
    pub fn new(name: &str, file: &Path) -> Self {
        Words(vec!["bilevel".into(), name.into(), quote_path(file)])
    }

    /// An option, where it has a value.
    pub fn option(&mut self, name: &str, value: Option<String>) {
        if let Some(value) = value {
            self.0.push(format!("--{name}"));
            self.0.push(quote(&value));
        }
    }

    /// An option whose value is a path.
    pub fn path(&mut self, name: &str, path: Option<&PathBuf>) {
        self.option(name, path.map(|path| path.to_string_lossy().into_owned()));
    }

    /// The flags that are set.
    pub fn flags(&mut self, flags: &[(&str, bool)]) {
        self.0.extend(flags.iter().filter(|(_, set)| *set).map(|(name, _)| format!("--{name}")));
    }

    /// How a file is to be understood; `target` is the column that was found.
    pub fn data(&mut self, data: &DataArgs, target: Option<&str>) {
        let target = data.target.clone().or(target.map(str::to_string));
        self.option("target", target.filter(|_| data.labels.is_none()));
        self.path("labels", data.labels.as_ref());
        self.option("header", data.header.map(|h| if h == YesNo::Yes { "yes" } else { "no" }.into()));
        self.option("delimiter", data.delimiter.map(|byte| char::from(byte).to_string().replace('\t', "tab")));
    }

    /// How rows become numbers.
    pub fn encoding(&mut self, problem: &ProblemArgs) {
        for classes in &problem.classes {
            self.option("classes", Some(classes.clone()));
        }
        self.option("positive-class", problem.positive_class.clone());
        self.option("missing", Some(if problem.missing == Missing::Impute { "impute" } else { "error" }.into()));
        let storage = match problem.storage {
            Storage::Auto => "auto",
            Storage::Dense => "dense",
            Storage::Sparse => "sparse",
        };
        self.option("storage", Some(storage.into()));
        self.option("dtype", Some(if problem.dtype == Dtype::F64 { "f64" } else { "f32" }.into()));
    }

    /// The line.
    pub fn text(self) -> String {
        self.0.join(" ")
    }
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
