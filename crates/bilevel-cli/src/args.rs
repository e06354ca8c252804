//! What the commands are told alike: the data file, how it is read, and the problem that is made of it.

use std::path::{Path, PathBuf};
use std::time::Duration;

use bilevel::sample::{Batch, Sampling};
use bilevel::tune::{LossChoice, Penalties};
use clap::builder::{PathBufValueParser, RangedI64ValueParser, TypedValueParser};
use clap::{Args, ValueEnum};

use crate::names::{self, MODELS, PENALTIES, SAMPLINGS};
use crate::place::STANDARD_OUTPUT;

/// A bilevel problem made of data: what is fitted, what judges, and the hyperparameters between them.
#[derive(Debug, Clone, Args)]
pub struct ProblemArgs {
    /// Training rows; `-` reads them from standard input.
    #[arg(value_parser = rows_file())]
    pub train: PathBuf,

    #[command(flatten, next_help_heading = "Data")]
    pub data: DataArgs,
    #[command(flatten, next_help_heading = "Data")]
    pub encoding: EncodingArgs,

    /// Rows that judge the penalties: a file (`-` is standard input), or a fraction of the training rows to hold out.
    #[arg(long, value_name = "FILE|FRACTION", help_heading = "Judging")]
    pub validation: Option<String>,
    /// Labels of the validation file, where they are in a file of their own.
    #[arg(long, value_name = "FILE", value_parser = rows_file(), requires = "validation", help_heading = "Judging")]
    pub validation_labels: Option<PathBuf>,

    /// The loss.
    #[arg(long, value_parser = names::parser::<LossChoice>(MODELS), default_value = "auto", help_heading = "Model")]
    pub model: LossChoice,
    /// How many penalties there are.
    #[arg(long, value_parser = names::parser::<Penalties>(PENALTIES), default_value = "auto", help_heading = "Model")]
    pub penalties: Penalties,
    /// Groups of features: lines `FEATURE,GROUP` with the name of a feature or column (of x3 also 3), or a group a
    /// line in their order.
    #[arg(long, value_name = "FILE", value_parser = rows_file(), help_heading = "Model")]
    pub groups: Option<PathBuf>,
    /// Fit without an intercept.
    #[arg(long, help_heading = "Model")]
    pub no_intercept: bool,

    /// How rows are drawn where samples are taken [default: blocks, in a converted file runs of them].
    #[arg(long, value_parser = names::parser::<Sampling>(SAMPLINGS), help_heading = "Run")]
    pub sampling: Option<Sampling>,
    /// Seed of everything random.
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = seed, help_heading = "Run")]
    pub seed: u64,
    /// Number of threads, at most 512; all cores by default.
    #[arg(long, value_name = "N", value_parser = threads(), help_heading = "Run")]
    pub threads: Option<u32>,
}

impl ProblemArgs {
    /// The files that are read, among names that may be none.
    pub fn inputs(&self) -> impl Iterator<Item = &Path> {
        let labels = [&self.data.labels, &self.validation_labels, &self.groups].into_iter().flatten();
        let validation = self.validation.iter().map(Path::new);
        std::iter::once(&self.train).chain(labels).map(PathBuf::as_path).chain(validation)
    }

    /// The options that were given and that say something of data files alone.
    pub fn given(&self) -> impl Iterator<Item = &'static str> {
        let more = [
            ("--validation", self.validation.is_some()),
            ("--model", self.model != LossChoice::Auto),
            ("--penalties", self.penalties != Penalties::Auto),
            ("--groups", self.groups.is_some()),
            ("--no-intercept", self.no_intercept),
            ("--sampling", self.sampling.is_some()),
        ];
        self.data.given().chain(self.encoding.given()).chain(named(more))
    }
}

/// The names that are marked.
fn named<const N: usize>(marked: [(&'static str, bool); N]) -> impl Iterator<Item = &'static str> {
    marked.into_iter().filter(|(_, given)| *given).map(|(name, _)| name)
}

impl DataArgs {
    /// The options that were given.
    pub fn given(&self) -> impl Iterator<Item = &'static str> {
        named([
            ("--target", self.target.is_some()),
            ("--exclude", !self.exclude.is_empty()),
            ("--labels", self.labels.is_some()),
            ("--header", self.header.is_some()),
            ("--delimiter", self.delimiter.is_some()),
        ])
    }
}

impl EncodingArgs {
    /// The options that were given, as far as they differ from the defaults.
    pub fn given(&self) -> impl Iterator<Item = &'static str> {
        named([
            ("--missing", self.missing != Missing::default()),
            ("--storage", self.storage != Storage::default()),
            ("--dtype", self.dtype != Dtype::default()),
            ("--normalize-rows", self.normalize_rows),
            ("--no-standardize", self.no_standardize),
            ("--classes", !self.classes.is_empty()),
            ("--positive-class", self.positive_class.is_some()),
        ])
    }
}

/// How a data file is to be understood.
#[derive(Debug, Clone, Default, Args)]
pub struct DataArgs {
    /// Column to predict, by name or number; by default one named target, label, class or y, else the last.
    #[arg(long, value_name = "NAME|NUMBER")]
    pub target: Option<String>,
    /// Column to leave out, such as an identifier, by name or number; may be repeated.
    #[arg(long, value_name = "NAME|NUMBER")]
    pub exclude: Vec<String>,
    /// Labels in a file of their own (IDX, .npy, or one a line).
    #[arg(long, value_name = "FILE", value_parser = rows_file())]
    pub labels: Option<PathBuf>,
    /// Whether the first line of a CSV file names the columns; found out by default.
    #[arg(long, value_enum, value_name = "WHETHER")]
    pub header: Option<YesNo>,
    /// Character between the fields of a CSV file; found out by default.
    #[arg(long, value_name = "CHAR", value_parser = delimiter)]
    pub delimiter: Option<u8>,
}

/// How its rows become numbers and classes.
#[derive(Debug, Clone, Args)]
pub struct EncodingArgs {
    /// Impute missing values (mean, or a category of its own) instead of refusing them.
    #[arg(long, value_enum, value_name = "HOW", default_value_t)]
    pub missing: Missing,
    /// How features are stored: auto is dense when at least 15 % of the entries are nonzero.
    #[arg(long, value_enum, value_name = "HOW", default_value_t)]
    pub storage: Storage,
    /// Number format of the features.
    #[arg(long, value_enum, default_value_t)]
    pub dtype: Dtype,
    /// Scale each row to unit length.
    #[arg(long)]
    pub normalize_rows: bool,
    /// Keep the features as they are (by default they are brought to one scale for the fit; the weights are given in
    /// the original units either way).
    #[arg(long)]
    pub no_standardize: bool,
    /// Gather labels under a new name; may be repeated. `*` stands for all labels not named.
    #[arg(long, value_name = "NEW=A,B,..")]
    pub classes: Vec<String>,
    /// The class whose probability is modelled, of two.
    #[arg(long, value_name = "LABEL", allow_hyphen_values = true)]
    pub positive_class: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum YesNo {
    Yes,
    No,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum Missing {
    #[default]
    Error,
    Impute,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum Storage {
    #[default]
    Auto,
    Dense,
    Sparse,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum Dtype {
    #[default]
    F32,
    F64,
}

/// Standard input by the name of a file.
pub const STANDARD_INPUT: &str = "/dev/stdin";

/// A file of rows, or of labels.
pub fn rows_file() -> impl TypedValueParser<Value = PathBuf> {
    PathBufValueParser::new().map(or_standard_input)
}

/// `-` is standard input.
pub fn or_standard_input(path: PathBuf) -> PathBuf {
    if path == Path::new("-") && cfg!(unix) { STANDARD_INPUT.into() } else { path }
}

/// A file that is written; `-` is standard output.
pub fn written_file() -> impl TypedValueParser<Value = PathBuf> {
    PathBufValueParser::new().map(|path| if path == Path::new("-") { STANDARD_OUTPUT.into() } else { path })
}

pub fn positive(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(x) if x > 0.0 && x.is_finite() => Ok(x),
        _ => Err("a positive number is needed".into()),
    }
}

/// A number of threads: as many as large machines have cores; many more take minutes to start.
pub fn threads() -> RangedI64ValueParser<u32> {
    clap::value_parser!(u32).range(1..=512)
}

/// Any number that starts a stream of random numbers.
pub fn seed(text: &str) -> Result<u64, String> {
    text.parse().map_err(|_| format!("a whole number from 0 to {} is needed", u64::MAX))
}

/// How often something is done.
pub fn count(text: &str) -> Result<u64, String> {
    match text.parse() {
        Ok(0) | Err(_) => Err("a whole number of at least 1 is needed".into()),
        Ok(count) => Ok(count),
    }
}

/// A number of rows, or `all`.
pub fn batch(text: &str) -> Result<Batch, String> {
    match (text, text.parse::<usize>()) {
        ("all", _) => Ok(Batch::All),
        (_, Ok(rows)) if rows > 0 => Ok(Batch::Rows(rows)),
        _ => Err("a positive number of rows is needed, or all".into()),
    }
}

pub fn probability(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(x) if x > 0.0 && x < 1.0 => Ok(x),
        _ => Err("a number between 0 and 1 is needed".into()),
    }
}

/// One ASCII character, or `tab`.
fn delimiter(text: &str) -> Result<u8, String> {
    match text.as_bytes() {
        b"tab" | b"\\t" => Ok(b'\t'),
        [byte] if byte.is_ascii() && !byte.is_ascii_alphanumeric() && *byte != b'"' => Ok(*byte),
        _ => Err("one character is needed, such as ';' or tab".into()),
    }
}

/// A century, in seconds: longer than any run, and short enough to be added to a clock.
const LONGEST: f64 = 1e6 * 3600.0;

/// `30s`, `5m`, `2h`, `1.5` (seconds).
pub fn duration(text: &str) -> Result<Duration, String> {
    let (number, unit) = match text.strip_suffix(['s', 'm', 'h']) {
        Some(number) => (number, &text[number.len()..]),
        None => (text, "s"),
    };
    let seconds = positive(number).map_err(|_| "a time is needed, such as 30s, 5m or 2h")?
        * match unit {
            "m" => 60.0,
            "h" => 3600.0,
            _ => 1.0,
        };
    match Duration::try_from_secs_f64(seconds) {
        Ok(time) if seconds <= LONGEST => Ok(time),
        _ => Err("a time of at most 1000000h is needed".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times() {
        for (text, seconds) in [("30s", 30.0), ("5m", 300.0), ("2h", 7200.0), ("1.5", 1.5)] {
            assert_eq!(duration(text).unwrap().as_secs_f64(), seconds, "{text}");
        }
        for text in ["", "s", "-1", "nan", "inf", "5 m", "5d"] {
            assert!(duration(text).is_err(), "{text}");
        }
        assert!(duration("1000000h").is_ok());
        for text in ["1e30", "1000001h"] {
            assert!(duration(text).unwrap_err().contains("at most 1000000h"), "{text}");
        }
    }
}
