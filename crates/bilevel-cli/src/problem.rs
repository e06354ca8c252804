//! Reading the files of a bilevel problem: training, validation and test rows, all encoded as the training rows are.

use std::path::{Path, PathBuf};

use bilevel::data::mapped::{Header, MappedRows};
use bilevel::data::{Dataset, Groups, PackedTable, Parts, ReadOptions, stratified_order};
use bilevel::{Error, Result};

use crate::args::{ProblemArgs, STANDARD_INPUT};
use crate::input::{Learned, describe, encode_options, read_options};
use crate::mapped::{self, Verify};
use crate::memory::Lean;
use crate::numbers;
use crate::plan::{self, Part};

/// All that was read.
pub struct Inputs {
    pub learned: Learned,
    pub train: Dataset,
    pub validation: Option<Dataset>,
    pub test: Option<Dataset>,
    /// Name or number of the target column.
    pub target_name: Option<String>,
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
    learned: Learned,
    data: Dataset,
    target_name: Option<String>,
    /// What kind of file it is.
    format: String,
    /// The header of a mapped file.
    mapped: Option<Header>,
    notes: Vec<String>,
}

impl Training {
    fn read(args: &ProblemArgs, options: &ReadOptions, verify: Verify) -> Result<Self> {
        let path = &args.train;
        if let Some(rows) = mapped::open(path, verify)? {
            return Self::of_mapped(args, &rows);
        }
        let table = PackedTable::read(path, options, &encode_options(&args.encoding))?;
        let target_name = table.target_name.clone();
        let format = table.format;
        let notes = table.notes.clone();
        let (learned, data) = Learned::new(table, args, plan::target_kind(args.model))?;
        let format = format.to_string();
        Ok(Training { learned, data, target_name, format, mapped: None, notes })
    }

    fn of_mapped(args: &ProblemArgs, rows: &MappedRows) -> Result<Self> {
        mapped::refuse_options(&args.train, args)?;
        let (header, mut data) = (rows.header(), rows.dataset()?);
        let mut learned = mapped::learned(header)?;
        if let Some(path) = &args.groups {
            learned.groups = Groups::read(path, &data.feature_names, &header.encoder.groups())?;
            data.groups = learned.groups.clone();
        }
        let target_name = header.provenance.target_name.clone();
        Ok(Training {
            learned,
            data,
            target_name,
            format: "mapped".into(),
            mapped: Some(header.clone()),
            notes: Vec::new(),
        })
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
    let _lean = Lean::begin();
    let mut phase = |path: &Path| phase(&format!("reading {}", path.display()));
    let options = ReadOptions { precision: args.encoding.dtype.into(), ..read_options(&args.data) };
    phase(&args.train);
    let Training { learned, data: mut train, target_name, format, mapped: mapped_header, notes } =
        Training::read(args, &options, verify)?;
    let mut other = |path: &PathBuf, labels: &Option<PathBuf>| -> Result<Dataset> {
        phase(path);
        if let Some(rows) = mapped::open(path, verify)? {
            return mapped::dataset_like(&rows, &learned);
        }
        let target = if labels.is_none() { target_name.clone() } else { None };
        let precision = learned.encoder.precision();
        let options = ReadOptions { target, labels: labels.clone(), precision, ..options.clone() };
        learned.read(path, &options).map(|(data, _)| data)
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
        None => describe(&train, &learned.encoder, learned.labels.kind()),
    });
    if let Some(name) = &target_name {
        description.push(("target column".into(), name.clone()));
    }
    let parts = [("validation", &validation_data, validation), ("test", &test_data, test.map(|(part, _)| part))];
    for (name, data, part) in parts {
        if let (Some(data), Some(part)) = (data, part) {
            let rows = numbers::counted(data.rows(), "row", "rows");
            description.push((format!("{name} data"), format!("{rows} ({part})")));
        }
    }
    Ok(Inputs { learned, train, validation: validation_data, test: test_data, target_name, description, notes })
}

/// Refuses standard input for two files: what was read of it is gone.
fn refuse_one_input_twice(
    args: &ProblemArgs,
    validation: Option<&Part>,
    test: Option<(&Part, &Option<PathBuf>)>,
) -> Result<()> {
    let parts = [validation, test.map(|(part, _)| part)].into_iter().flatten();
    let of_parts = parts.filter_map(|part| if let Part::File(path) = part { Some(path) } else { None });
    let labels = [&args.data.labels, &args.validation_labels].into_iter().chain(test.map(|(_, labels)| labels));
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
