//! Reading the files of a bilevel problem: training, validation and test rows, all encoded as the training rows are.

use std::path::{Path, PathBuf};

use bilevel::data::{self, Dataset, Parts, ReadOptions, stratified_order};
use bilevel::{Error, Result};

use crate::args::ProblemArgs;
use crate::input::{Learned, describe, read_options};
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
    /// Whether the training file had a header, where there could be one.
    pub header: Option<bool>,
    /// Pairs of a name and a text.
    pub description: Vec<(String, String)>,
    pub notes: Vec<String>,
}

/// Starts as many threads as were asked for.
pub fn start_threads(args: &ProblemArgs) -> Result<()> {
    let Some(threads) = args.threads else { return Ok(()) };
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads as usize).build_global();
    pool.map_err(|error| Error::input(format!("cannot start {threads} threads: {error}")))
}

/// Reads training and validation rows, and test rows with the file of their labels where there are any; `phase` is told
/// what is being read.
pub fn read(
    args: &ProblemArgs,
    validation: Option<&Part>,
    test: Option<(&Part, &Option<PathBuf>)>,
    mut phase: impl FnMut(&str),
) -> Result<Inputs> {
    let mut phase = |path: &Path| phase(&format!("reading {}", path.display()));
    let options = ReadOptions { precision: args.dtype.into(), ..read_options(&args.data) };
    phase(&args.train);
    let table = data::read(&args.train, &options)?;
    let target_name = table.target_name.clone();
    let format = table.format;
    // Other files are like this one: a header is not guessed again from what may be few rows.
    let header = if format == data::Format::Delimited { Some(table.named) } else { None };
    let notes = table.notes.clone();
    let (learned, mut train) = Learned::new(table, args, plan::target_kind(args.model))?;
    let mut description = vec![("file".into(), format!("{} ({format})", args.train.display()))];
    let mut other = |path: &PathBuf, labels: &Option<PathBuf>| -> Result<Dataset> {
        phase(path);
        let target = if labels.is_none() { target_name.clone() } else { None };
        let options = ReadOptions { target, labels: labels.clone(), header, ..options.clone() };
        learned.apply(data::read(path, &options)?)
    };
    let validation_data = match validation {
        Some(Part::File(path)) => Some(other(path, &args.validation_labels)?),
        _ => None,
    };
    let test_data = match test {
        Some((Part::File(path), labels)) => Some(other(path, labels)?),
        Some((Part::Fraction(fraction), _)) => {
            let parts = stratified_order(&train.target, Parts::Fractions(&[1.0 - fraction, *fraction]), args.seed)?;
            let test = train.select(&parts[1]);
            train = train.select(&parts[0]);
            Some(test)
        }
        None => None,
    };
    description.extend(describe(&train, &learned.encoder, learned.labels.kind()));
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
    Ok(Inputs { learned, train, validation: validation_data, test: test_data, target_name, header, description, notes })
}

/// The description as lines, names padded to one width.
pub fn text(inputs: &Inputs) -> String {
    let width = inputs.description.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    inputs.description.iter().map(|(name, text)| format!("{name:width$}  {text}\n")).collect()
}
