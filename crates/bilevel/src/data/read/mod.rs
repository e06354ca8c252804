//! From a file to a [`Table`]: the format is recognised by content first, by name where content leaves a doubt.

mod blocks;
mod bytes;
mod categories;
mod delimited;
mod header;
mod idx;
mod labels;
mod npy;
mod npz;
mod number;
#[cfg(feature = "parquet")]
mod parquet;
mod place;
mod records;
mod sniff;
mod svmlight;
mod target;

use std::path::{Path, PathBuf};

pub(super) use blocks::{BlockVisitor, Blocks};
pub use header::KnownColumns;
pub use svmlight::LARGEST_INDEX;
pub(super) use target::suggestion;

use super::design::Precision;
use super::table::{Contents, Labels, Origin, Table};
use crate::stop::StopSignal;
use crate::{Error, Result};

/// Format of a data file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// `label index:value ...`
    Svmlight,
    /// Values separated by commas, tabs, semicolons or bars.
    Delimited,
    /// A NumPy array.
    Npy,
    /// NumPy arrays `X` and `y`, or a SciPy sparse matrix.
    Npz,
    /// The format of MNIST.
    Idx,
    /// Apache Parquet.
    Parquet,
}

impl std::fmt::Display for Format {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Format::Svmlight => "svmlight",
            Format::Delimited => "CSV",
            Format::Npy => "NumPy array",
            Format::Npz => "NumPy archive",
            Format::Idx => "IDX",
            Format::Parquet => "Parquet",
        })
    }
}

/// How to read a file; the default asks for a target and leaves the rest to the reader.
#[derive(Debug, Clone)]
pub struct ReadOptions {
    /// Format, if the reader shall not find out.
    pub format: Option<Format>,
    /// The target: a column by name or number (from 1), or the name of an array in an `.npz` file. By default a column
    /// named target, label, class or y, else the last column (with a note), or the array `y`.
    pub target: Option<String>,
    /// Columns of a table that are no features: by name or number, as `target`.
    pub exclude: Vec<String>,
    /// A file with the labels, one per row: `.npy`, IDX, or a text file with one label per line.
    pub labels: Option<PathBuf>,
    /// Whether the first row of a delimited file holds the names of the columns, if the reader shall not find out.
    pub header: Option<bool>,
    /// What is known of the columns of a delimited file, which helps to find that out.
    pub known: Option<KnownColumns>,
    /// Delimiter of a delimited file.
    pub delimiter: Option<u8>,
    /// Precision of matrices that are read without encoding.
    pub precision: Precision,
    /// Least number of features of an svmlight file.
    pub features: Option<usize>,
    /// False for prediction: the target may be absent, and only a column that `target` names is taken for it.
    pub target_required: bool,
    /// Ends the reading of text when it is raised.
    pub stop: StopSignal,
}

impl Default for ReadOptions {
    fn default() -> Self {
        ReadOptions {
            format: None,
            target: None,
            exclude: Vec::new(),
            labels: None,
            header: None,
            known: None,
            delimiter: None,
            precision: Precision::default(),
            features: None,
            target_required: true,
            stop: StopSignal::never(),
        }
    }
}

/// Reads `path`, plain or compressed (gzip, bzip2, xz, zstd).
///
/// # Errors
/// An input error that names file, line and column, says what is wrong there and what to do about it; interrupted, where
/// [`ReadOptions::stop`] is raised.
pub fn read(path: &Path, options: &ReadOptions) -> Result<Table> {
    check_features(options)?;
    let bytes = bytes::load(path)?;
    let format = match options.format {
        Some(format) => format,
        None => sniff::format(path, &bytes)?,
    };
    check_target(path, format, options)?;
    let labels = options.labels.as_deref().map(labels::read).transpose()?;
    table_of(path, bytes, format, labels, options)
}

/// The table in the `bytes` of a file, with `labels` from a file of their own where they have one.
fn table_of(
    path: &Path,
    bytes: bytes::Bytes,
    format: Format,
    labels: Option<Labels>,
    options: &ReadOptions,
) -> Result<Table> {
    let matrix = |(design, labels): (_, _)| Table {
        origin: Origin::new(path),
        format,
        contents: Contents::Matrix(design),
        labels,
        target_name: None,
        named: false,
        notes: Vec::new(),
    };
    let mut table = match format {
        Format::Svmlight => {
            let (design, labels, origin) = svmlight::read(path, &bytes, options)?;
            Table { origin, ..matrix((design, labels)) }
        }
        Format::Delimited => delimited::read(path, &bytes, options)?,
        Format::Npy => matrix(npy::read(path, &bytes, options)?),
        Format::Npz => matrix(npz::read(path, &bytes, options)?),
        Format::Idx => matrix(idx::read(path, bytes, options)?),
        Format::Parquet => read_parquet(path, bytes, options)?,
    };
    table.labels = labels.or(table.labels);
    check(path, &table, options)?;
    Ok(table)
}

fn check_features(options: &ReadOptions) -> Result<()> {
    match options.features {
        Some(features) if features as u64 > LARGEST_INDEX => {
            Err(Error::input(format!("{features} features are more than the {LARGEST_INDEX} supported")))
        }
        _ => Ok(()),
    }
}

/// Only some formats have named targets.
fn check_target(path: &Path, format: Format, options: &ReadOptions) -> Result<()> {
    if options.target.is_some()
        && options.target_required
        && matches!(format, Format::Svmlight | Format::Npy | Format::Idx)
    {
        return Err(Error::input(format!("{format} data have no named target"))
            .in_file(path)
            .remedy("leave --target away, or give the labels with --labels FILE"));
    }
    if !options.exclude.is_empty() && !matches!(format, Format::Delimited | Format::Parquet) {
        return Err(Error::input(format!("{format} data have no named columns"))
            .in_file(path)
            .remedy("leave --exclude away"));
    }
    Ok(())
}

/// What must hold of every table, whatever its format.
fn check(path: &Path, table: &Table, options: &ReadOptions) -> Result<()> {
    let rows = table.rows();
    if rows == 0 {
        return Err(Error::input("the file holds no rows").in_file(path));
    }
    if rows >= u32::MAX as usize {
        return Err(Error::input(format!("{rows} rows are more than the {} supported", u32::MAX - 1)).in_file(path));
    }
    if table.contents.columns() == 0 {
        return Err(Error::input("the file holds no features").in_file(path));
    }
    match &table.labels {
        Some(labels) if labels.len() != rows => Err(other_number(&format!("{rows}"), labels.len(), path, options)),
        None if options.target_required => Err(Error::input("there is no target")
            .in_file(path)
            .remedy("give the labels with --labels FILE, or name the target with --target")),
        _ => Ok(()),
    }
}

/// The file, or that of the labels, holds another number of them than there are rows.
fn other_number(rows: &str, labels: usize, path: &Path, options: &ReadOptions) -> Error {
    match &options.labels {
        None => Error::input(format!("there are {rows} rows but {labels} labels")).in_file(path),
        Some(file) => Error::input(format!("there are {labels} labels for the {rows} rows of {}", path.display()))
            .in_file(file)
            .remedy("give one label a row, without a heading"),
    }
}

/// Rows of text between two looks at [`ReadOptions::stop`].
const ATTENTION: usize = 1024;

#[cfg(feature = "parquet")]
fn read_parquet(path: &Path, bytes: bytes::Bytes, options: &ReadOptions) -> Result<Table> {
    parquet::read(path, bytes, options)
}

#[cfg(not(feature = "parquet"))]
fn read_parquet(path: &Path, _: bytes::Bytes, _: &ReadOptions) -> Result<Table> {
    Err(Error::input("this build does not read Parquet files").in_file(path).remedy(
        "build the command with `cargo build --release -p bilevel-cli --features parquet`, or convert the file to CSV",
    ))
}

/// A token as it may stand in a message: printable and not too long.
fn shown(token: &[u8]) -> String {
    let text = String::from_utf8_lossy(&token[..token.len().min(40)]);
    let mut shown: String = text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect();
    if token.len() > 40 {
        shown.push('…');
    }
    shown
}
