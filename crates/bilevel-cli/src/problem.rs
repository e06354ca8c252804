//! Reading the files of a bilevel problem: training, validation and test rows, all encoded as the training rows are.

use std::path::{Path, PathBuf};

use bilevel::data::mapped::{Header, MappedRows};
use bilevel::data::{Dataset, Groups, Learned, Parts, ReadOptions, Schema, stratified_order};
use bilevel::{Error, Result};

use crate::args::{ProblemArgs, STANDARD_INPUT};
use crate::input::{describe, learn_options, read_options};
use crate::mapped::{self, Verify};
use crate::memory::Lean;
use crate::numbers;
use crate::plan::{self, Part};

/// All that was read.
pub struct Inputs {
    pub schema: Schema,
    pub train: Dataset,
    pub validation: Option<Dataset>,
    pub test: Option<Dataset>,
    /// Pairs of a name and a text.
    pub description: Vec<(String, String)>,
    pub notes: Vec<String>,
}

/// Starts as many threads as were asked for.
pub fn start_threads(args: &ProblemArgs) -> Result<()> {
    start(args.threads)
}

/// Starts `threads` threads, all cores where no number is given.
pub fn start(threads: Option<u32>) -> Result<()> {
    let Some(threads) = threads else { return Ok(()) };
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads as usize).build_global();
    pool.map_err(|error| Error::input(format!("cannot start {threads} threads: {error}")))
}

/// The training rows, and what they say of other files.
struct Training {
    schema: Schema,
    data: Dataset,
    /// What kind of file it is.
    format: String,
    /// The header of a mapped file.
    mapped: Option<Header>,
    notes: Vec<String>,
}

impl Training {
    fn read(args: &ProblemArgs, verify: Verify) -> Result<Self> {
        let path = &args.train;
        if let Some(rows) = mapped::open(path, verify)? {
            return Self::of_mapped(args, &rows);
        }
        let kind = plan::target_kind(args.model);
        let options = learn_options(&args.data, &args.encoding, kind, args.groups.as_ref())?;
        let Learned { schema, data, format, notes } = Schema::learn(path, &options)?;
        Ok(Training { schema, data, format: format.to_string(), mapped: None, notes })
    }

    fn of_mapped(args: &ProblemArgs, rows: &MappedRows) -> Result<Self> {
        mapped::refuse_options(&args.train, args)?;
        let (header, mut data) = (rows.header(), rows.dataset()?);
        let mut schema = header.schema()?;
        if let Some(path) = &args.groups {
            schema.groups = Groups::read(path, &data.feature_names, &header.encoder.groups())?;
            data.groups = schema.groups.clone();
        }
        Ok(Training { schema, data, format: "mapped".into(), mapped: Some(header.clone()), notes: Vec::new() })
    }
}

/// Reads training and validation rows, and test rows with the file of their labels where there are any; `phase` is told
/// what is being read.
pub fn read(
    args: &ProblemArgs,
    validation: Option<&Part>,
    test: Option<(&Part, &Option<PathBuf>)>,
    verify: Verify,
    mut phase: impl FnMut(&str),
) -> Result<Inputs> {
    refuse_one_input_twice(args, validation, test)?;
    let labels_of_test = test.and_then(|(part, labels)| labels.as_ref().map(|_| (part, "--test")));
    let labels_of_validation = validation.filter(|_| args.validation_labels.is_some()).zip(Some("--validation"));
    labels_of_validation
        .into_iter()
        .chain(labels_of_test)
        .try_for_each(|(part, option)| refuse_labels(part, option))?;
    let _lean = Lean::begin();
    let mut phase = |path: &Path| phase(&format!("reading {}", path.display()));
    phase(&args.train);
    let Training { schema, data: mut train, format, mapped: mapped_header, notes } = Training::read(args, verify)?;
    let mut other = |path: &PathBuf, labels: &Option<PathBuf>| -> Result<Dataset> {
        phase(path);
        if let Some(rows) = mapped::open(path, verify)? {
            return rows.dataset_like(&schema);
        }
        let target = if labels.is_none() { schema.target_name.clone() } else { None };
        let options = ReadOptions { target, labels: labels.clone(), ..read_options(&args.data) };
        schema.read(path, &options).map(|(data, _)| data)
    };
    let validation_data = match validation {
        Some(Part::File(path)) => Some(other(path, &args.validation_labels)?),
        _ => None,
    };
    let test_data = match test {
        Some((Part::File(path), labels)) => Some(other(path, labels)?),
        Some((Part::Fraction(fraction), _)) => {
            let (rest, test) = held_out(&train, *fraction, args.seed)?;
            train = rest;
            Some(test)
        }
        None => None,
    };
    let mut description = vec![("file".into(), format!("{} ({format})", args.train.display()))];
    description.extend(match &mapped_header {
        Some(header) => mapped::describe_some(header, &train),
        None => describe(&train, &schema.encoder, schema.labels.kind()),
    });
    if let Some(name) = &schema.target_name {
        description.push(("target column".into(), name.clone()));
    }
    let parts = [("validation", &validation_data, validation), ("test", &test_data, test.map(|(part, _)| part))];
    for (name, data, part) in parts {
        if let (Some(data), Some(part)) = (data, part) {
            let rows = numbers::counted(data.rows(), "row", "rows");
            description.push((format!("{name} data"), format!("{rows} ({part})")));
        }
    }
    Ok(Inputs { schema, train, validation: validation_data, test: test_data, description, notes })
}

/// Refuses a file of labels where rows come with theirs: a fraction of the training rows, or a converted file.
fn refuse_labels(part: &Part, option: &str) -> Result<()> {
    let whose = match part {
        Part::Fraction(fraction) => format!("{option} {fraction} takes training rows, which have labels"),
        Part::File(path) if MappedRows::recognises(path) => format!("{} is converted and has labels", path.display()),
        Part::File(_) => return Ok(()),
    };
    Err(Error::input(format!("{option}-labels belongs to a file of rows, and {whose}"))
        .remedy(format!("leave out {option}-labels, or give {option} a file of rows alone")))
}

/// Refuses standard input for two files: what was read of it is gone.
fn refuse_one_input_twice(
    args: &ProblemArgs,
    validation: Option<&Part>,
    test: Option<(&Part, &Option<PathBuf>)>,
) -> Result<()> {
    let parts = [validation, test.map(|(part, _)| part)].into_iter().flatten();
    let of_parts = parts.filter_map(|part| if let Part::File(path) = part { Some(path) } else { None });
    let labels = [&args.data.labels, &args.validation_labels, &args.groups];
    let labels = labels.into_iter().chain(test.map(|(_, labels)| labels));
    let files = std::iter::once(&args.train).chain(of_parts).chain(labels.flatten());
    match files.filter(|path| *path == Path::new(STANDARD_INPUT)).count() {
        ..=1 => Ok(()),
        _ => Err(Error::input("standard input is given for two files").remedy("give one of them by its name")),
    }
}

/// `data` without a fraction of its rows, and these. Rows in random order are cut where they lie.
fn held_out(data: &Dataset, fraction: f64, seed: u64) -> Result<(Dataset, Dataset)> {
    if data.arrangement.is_some() {
        let n = data.rows();
        let first = n - ((fraction * n as f64).round() as usize).clamp(1, n - 1);
        return Ok((data.range(0..first), data.range(first..n)));
    }
    let parts = stratified_order(&data.target, Parts::Fractions(&[1.0 - fraction, fraction]), seed)?;
    Ok((data.select(&parts[0]), data.select(&parts[1])))
}
