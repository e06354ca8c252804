//! From any file that is read to a mapped file, in two passes and bounded memory.
//!
//! The first pass parses block by block, learns categories, means and labels, and deals the rows to buckets on disk. The
//! second encodes one bucket after the other in random order. Standardization is learned on the rows as they were
//! written, by the code that does it in memory, and applied to them in place.
//!
//! Memory: for each thread some blocks of text as they are parsed and three copies of a bucket of 32 MB (larger for files
//! beyond some gigabytes, of which there are at most 256), beside categories and labels in files of their own.

use std::ops::ControlFlow;
use std::path::Path;

use rayon::prelude::*;

use super::buckets::Buckets;
use super::header::{ElementType, Header, Layout, Provenance};
use super::write::{About, RowsWriter, Shape};
use crate::data::columns::too_large;
use crate::data::convert::count_nonzero;
use crate::data::dataset::{Groups, Target};
use crate::data::design::{DesignMatrix, Precision, Storage};
use crate::data::encode::{EncodeOptions, Encoder, Missing};
use crate::data::label_counts::LabelCounts;
use crate::data::learn::EncoderLearner;
use crate::data::piece::Template;
use crate::data::read::{BlockVisitor, Blocks, Format, ReadOptions};
use crate::data::relabel::Relabel;
use crate::data::row_ranges::RowRanges;
use crate::data::schema::{LearnOptions, Schema};
use crate::data::standardize::Standardization;
use crate::data::table::{ColumnData, Contents, Labels, Table};
use crate::data::target::{LabelMap, absent_label, check_present};
use crate::{Error, Result};

/// How to convert.
#[derive(Debug, Clone)]
pub struct ConvertOptions<'a> {
    /// How the file is read, and what is learned from it.
    pub learn: LearnOptions,
    /// Bring features to one scale.
    pub standardize: bool,
    /// Whether there will be an intercept, which makes shifts good.
    pub intercept: bool,
    /// Seed of the order of the rows.
    pub seed: u64,
    /// Encode, label, group and standardize as it was done for another file; of [`ConvertOptions::learn`] only how to read
    /// says something then.
    pub like: Option<&'a Header>,
    /// Name of the program, for the header.
    pub program: String,
}

/// What a conversion is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// Reading the file and dealing out its rows.
    Reading,
    /// Writing rows in random order.
    Shuffling,
    /// Bringing features to one scale.
    Standardizing,
}

/// Who watches: the stage, how much of it is done, and of how much; breaks the conversion off.
pub type Watch<'a> = dyn FnMut(Stage, u64, u64) -> ControlFlow<()> + 'a;

/// Writes the rows of `input` to the mapped file `output`, in random order; all or nothing.
///
/// # Errors
/// Those of [`read`](crate::data::read()), of [`Encoder::learn`] and [`LabelMap::learn`]; when `output` cannot be written;
/// interrupted.
pub fn convert(input: &Path, output: &Path, options: &ConvertOptions<'_>, watch: &mut Watch<'_>) -> Result<Header> {
    let io = |error: std::io::Error| Error::io(output, &error);
    let schema = options.like.map(Header::schema).transpose()?;
    let read = read_options(options, schema.as_ref());
    let blocks = Blocks::open(input, &read)?;
    // Numbers take about twice the bytes of their text.
    let buckets = Buckets::create(output, 2 * blocks.size(), options.seed).map_err(io)?;
    let features = Features::new(options);
    let relabel = schema.as_ref().map_or(&options.learn.relabel, |schema| &schema.relabel);
    let mut scatter =
        Scatter { options, relabel, output, buckets, features, found: None, absent: None, rows: 0, watch };
    blocks.visit(&mut scatter)?;
    let Scatter { mut buckets, features, found, absent, rows, .. } = scatter;
    buckets.flush().map_err(io)?;
    let in_file = |error: Error| error.in_file(input);
    let found = found.ok_or_else(|| in_file(Error::input("the file holds no rows")))?;
    if let Some(label) = absent.iter().flatten().next() {
        return Err(in_file(absent_label(label)));
    }
    let (encoder, entries, labels) = match features {
        Features::Known { like, entries } => (like.encoder.clone(), entries, like.labels.clone()),
        Features::Learned { learner, .. } => {
            let (learned, entries) = learner.finish(input)?;
            let map = LabelMap::learn_counts(&found.labels, options.learn.kind, &crate::data::Origin::new(input))?;
            let map = match &options.learn.positive {
                Some(positive) => map.with_positive(positive).map_err(in_file)?,
                None => map,
            };
            (learned, entries, map)
        }
    };
    let shape = Shape {
        rows,
        features: encoder.features(),
        layout: if encoder.storage() == Storage::Dense { Layout::Dense } else { Layout::Csr },
        element: if encoder.precision() == Precision::F64 { ElementType::F64 } else { ElementType::F32 },
        entries,
        classes: labels.names().len(),
    };
    let groups = match (options.like, &options.learn.groups) {
        (Some(like), _) => like.groups.clone(),
        (None, Some(path)) => Some(Groups::read(path, &encoder.feature_names(), &encoder.groups())?),
        (None, None) => None,
    };
    let mut writer = RowsWriter::create(output, shape)?;
    let template = &found.template;
    let encoded = |index: usize| -> Result<(DesignMatrix, Vec<f64>)> {
        let table = template.table(buckets.shuffled(index).map_err(io)?);
        encode_rows(table, &encoder, &labels)
    };
    let indices: Vec<usize> = (0..buckets.len()).collect();
    let mut done = 0;
    for some in indices.chunks(rayon::current_num_threads()) {
        let ready: Vec<Result<_>> = some.par_iter().map(|&index| encoded(index)).collect();
        for ready in ready {
            let (design, numbers) = ready?;
            writer.push(&design, &numbers)?;
            done += numbers.len();
        }
        go_on(watch(Stage::Shuffling, done as u64, rows as u64))?;
    }
    drop(buckets);
    let (measured, standardization) = writer.standardize(
        |design| {
            let measured = encoder.measured(design);
            let standardization = match options.like {
                Some(like) => like.standardization.clone(),
                None => options.standardize.then(|| learn(design, options.intercept, &measured)),
            };
            (measured, standardization)
        },
        &mut |done| go_on(watch(Stage::Standardizing, done, rows as u64)),
    )?;
    writer.finish(About {
        labels,
        feature_names: None,
        groups,
        measured,
        standardization,
        encoder,
        seed: options.seed,
        provenance: Provenance {
            file: input.file_name().unwrap_or_default().to_string_lossy().into_owned(),
            format: found.format.to_string(),
            target_name: found.target_name,
            named: (found.format == Format::Delimited).then_some(found.named),
            relabel: relabel.definitions(),
            program: options.program.clone(),
        },
    })
}

/// How to read the file: as the one that is followed, which has the `schema`, unless told otherwise.
fn read_options(options: &ConvertOptions<'_>, schema: Option<&Schema>) -> ReadOptions {
    let read = options.learn.read.clone();
    match schema {
        None => ReadOptions { precision: options.learn.encode.precision, ..read },
        Some(schema) => ReadOptions {
            precision: schema.encoder.precision(),
            target: read.target.or_else(|| schema.target_name.clone().filter(|_| read.labels.is_none())),
            known: read.known.or_else(|| schema.encoder.known_columns()),
            ..read
        },
    }
}

/// The standardization of all rows, which keeps the values of features that are constant and will be stored as 0.
fn learn(design: &DesignMatrix, intercept: bool, measured: &[bool]) -> Standardization {
    let mut found = Standardization::learn(design, &RowRanges::all(design.rows()), None, intercept, measured);
    let p = found.features();
    let mut first = vec![0.0; p];
    design.add_scaled_row(0, &vec![1.0; p], &mut first);
    for j in (0..p).filter(|&j| found.constant[j]).collect::<Vec<_>>() {
        found.shift[j] = first[j];
    }
    found
}

fn go_on(flow: ControlFlow<()>) -> Result<()> {
    if flow.is_break() { Err(Error::interrupted()) } else { Ok(()) }
}

/// The features and the target of some rows.
fn encode_rows(mut table: Table, encoder: &Encoder, labels: &LabelMap) -> Result<(DesignMatrix, Vec<f64>)> {
    let found = table.labels.take().unwrap_or(Labels::Numbers(Vec::new()));
    let numbers = match labels.apply(&found, &table.origin)? {
        Target::Classes { codes, .. } => codes.iter().map(|&code| f64::from(code)).collect(),
        Target::Values(values) => values.into_vec(),
    };
    if table.rows() == 0 {
        // A bucket may be empty; its table does not know its width.
        return Ok((empty(encoder), numbers));
    }
    Ok((encoder.encode_rows(table)?, numbers))
}

fn empty(encoder: &Encoder) -> DesignMatrix {
    use crate::data::{CsrMatrix, DenseMatrix};
    let p = encoder.features();
    match (encoder.storage(), encoder.precision()) {
        (Storage::Dense, Precision::F32) => DesignMatrix::DenseF32(DenseMatrix::new(0, p, Vec::new())),
        (Storage::Dense, Precision::F64) => DesignMatrix::DenseF64(DenseMatrix::new(0, p, Vec::new())),
        (_, Precision::F32) => DesignMatrix::CsrF32(CsrMatrix::new(p, vec![0], Vec::new(), Vec::new())),
        (_, Precision::F64) => DesignMatrix::CsrF64(CsrMatrix::new(p, vec![0], Vec::new(), Vec::new())),
    }
}

/// The first pass.
struct Scatter<'a, 'w> {
    options: &'a ConvertOptions<'a>,
    relabel: &'a Relabel,
    output: &'a Path,
    buckets: Buckets,
    features: Features<'a>,
    found: Option<Found>,
    /// Labels that no row had so far.
    absent: Option<Vec<String>>,
    rows: usize,
    watch: &'a mut Watch<'w>,
}

/// What the blocks have told.
struct Found {
    labels: LabelCounts,
    template: Template,
    format: Format,
    named: bool,
    target_name: Option<String>,
}

/// How the features will be encoded.
enum Features<'a> {
    /// As these rows say.
    Learned { learner: EncoderLearner, encode: EncodeOptions },
    /// As those of another file were; the number of entries that are not zero then.
    Known { like: &'a Header, entries: usize },
}

impl<'a> Features<'a> {
    fn new(options: &ConvertOptions<'a>) -> Self {
        match options.like {
            None => {
                Features::Learned { learner: EncoderLearner::new(&options.learn.encode), encode: options.learn.encode }
            }
            Some(like) => Features::Known { like, entries: 0 },
        }
    }

    /// Adds the rows of `table`, with these labels. What the second pass would find wrong is found here, while the lines are
    /// known.
    fn add(&mut self, table: &Table, labels: &Labels) -> Result<()> {
        match self {
            Features::Learned { learner, encode } => {
                check_cells(table, encode)?;
                learner.add(table);
            }
            Features::Known { like, entries } => {
                like.labels.apply(labels, &table.origin)?;
                *entries += count_nonzero(&like.encoder.encode_rows(table.clone())?);
            }
        }
        Ok(())
    }

    /// The precision that the rows so far need.
    fn precision(&self) -> Precision {
        match self {
            Features::Learned { learner, .. } => learner.precision(),
            Features::Known { like, .. } => like.encoder.precision(),
        }
    }
}

impl BlockVisitor for Scatter<'_, '_> {
    fn block(&mut self, mut table: Table, done: u64, total: u64) -> Result<()> {
        let labels = table.labels.take().ok_or_else(|| {
            Error::input("there is no target")
                .in_file(table.origin.path())
                .remedy("name it with --target, or give --labels FILE")
        })?;
        // Rows that follow another file may lack some.
        let absent = if self.options.like.is_some() { Vec::new() } else { self.relabel.absent(&labels) };
        match &mut self.absent {
            Some(known) => known.retain(|label| absent.contains(label)),
            None => self.absent = Some(absent),
        }
        let labels = self.relabel.apply(labels);
        check_present(&labels, &table.origin)?;
        self.features.add(&table, &labels)?;
        let counts = LabelCounts::of(&labels);
        table.labels = Some(labels);
        let found = match &mut self.found {
            Some(found) => {
                found.labels.add(counts);
                found
            }
            None => self.found.insert(Found {
                labels: counts,
                template: Template::of(&table),
                format: table.format,
                named: table.named,
                target_name: table.target_name.clone(),
            }),
        };
        self.rows += table.rows();
        if self.rows >= u32::MAX as usize {
            return Err(Error::input("there are more rows than are supported").in_file(table.origin.path()));
        }
        let piece = found.template.piece(table, self.features.precision());
        self.buckets.deal(&piece).map_err(|error| Error::io(self.output, &error))?;
        go_on((self.watch)(Stage::Reading, done, total))
    }

    fn restart(&mut self) -> Result<()> {
        self.features = Features::new(self.options);
        (self.found, self.absent, self.rows) = (None, None, 0);
        self.buckets.clear().map_err(|error| Error::io(self.output, &error))
    }
}

/// Refuses cells that cannot be encoded.
fn check_cells(table: &Table, options: &EncodeOptions) -> Result<()> {
    let Contents::Columns(columns) = &table.contents else { return Ok(()) };
    let largest = if options.precision == Precision::F32 { f64::from(f32::MAX) } else { f64::MAX };
    for column in columns {
        if options.missing == Missing::Error && column.data.missing() > 0 {
            let row = match &column.data {
                ColumnData::Numeric(values) => values.iter().position(|value| value.is_nan()),
                ColumnData::Text { codes, .. } => codes.iter().position(|&code| code == crate::data::MISSING),
            };
            return Err(table
                .origin
                .error(row.unwrap_or(0), format!("the value of column '{}' is missing", column.name))
                .at_column(column.number as u64)
                .remedy("fill it in, or convert with --missing impute"));
        }
        if let ColumnData::Numeric(values) = &column.data
            && let Some(row) = values.iter().position(|value| value.abs() > largest)
        {
            return Err(too_large(values[row], row, column, &table.origin));
        }
    }
    Ok(())
}
