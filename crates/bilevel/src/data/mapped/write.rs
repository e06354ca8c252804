//! Writing a mapped file, block of rows by block of rows, under a temporary name until it is complete.

use std::fs::{File, OpenOptions};
use std::io::{BufWriter, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use super::header::{ElementType, Header, Layout, NumberSummary, Provenance, Section};
use super::{MAGIC, PREFIX, VERSION, aligned};
use crate::data::buffer::{Plain, bytes_of};
use crate::data::csr::CsrMatrix;
use crate::data::dataset::Groups;
use crate::data::dense::DenseMatrix;
use crate::data::design::DesignMatrix;
use crate::data::element::Element;
use crate::data::encode::Encoder;
use crate::data::standardize::Standardization;
use crate::data::target::{LabelMap, TargetKind};
use crate::{Error, Result};

/// What must be known before the first row is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shape {
    /// Number of rows `n`.
    pub rows: usize,
    /// Number of features `p`.
    pub features: usize,
    /// Order of the entries.
    pub layout: Layout,
    /// Type of the entries.
    pub element: ElementType,
    /// For sparse rows a number of entries that is not exceeded.
    pub entries: usize,
    /// Number of classes; 0 for a target of numbers.
    pub classes: usize,
}

/// What is said of the rows once they are written; see [`Header`].
#[derive(Debug, Clone, PartialEq)]
pub struct About {
    /// Kind of the target and names of its classes.
    pub labels: LabelMap,
    /// Names of the features, where they are not those of the encoder.
    pub feature_names: Option<Vec<String>>,
    /// Groups of the features, where they are not those of the encoder.
    pub groups: Option<Groups>,
    /// Whether each feature is a measurement.
    pub measured: Vec<bool>,
    /// What was done to the features.
    pub standardization: Option<Standardization>,
    /// From other files to these features.
    pub encoder: Encoder,
    /// Seed of the order of the rows.
    pub seed: u64,
    /// Where the rows came from.
    pub provenance: Provenance,
}

/// Writes rows that are in random order already.
#[derive(Debug)]
pub struct RowsWriter {
    pub(super) path: PathBuf,
    pub(super) temporary: PathBuf,
    pub(super) shape: Shape,
    pub(super) sections: Vec<SectionWriter>,
    pub(super) rows: usize,
    entries: usize,
    pub(super) nonzero: u64,
    class_counts: Vec<u64>,
    target: NumberSummary,
    complete: bool,
}

/// Where the parts of a row go, as positions among the sections.
pub(super) const VALUES: usize = 0;
const NUMBERS: usize = 1;
pub(super) const OFFSETS: usize = 2;
pub(super) const INDICES: usize = 3;

impl RowsWriter {
    /// A file that will be called `path` once it is complete.
    ///
    /// # Errors
    /// Input, when it cannot be created or the shape is empty.
    pub fn create(path: &Path, shape: Shape) -> Result<Self> {
        if cfg!(target_endian = "big") || cfg!(not(target_pointer_width = "64")) {
            return Err(Error::input("mapped files need a little-endian machine with 64 bits").in_file(path));
        }
        if shape.rows == 0 || shape.features == 0 || shape.rows >= u32::MAX as usize {
            let Shape { rows, features, .. } = shape;
            return Err(Error::input(format!("{rows} rows of {features} features cannot be written")).in_file(path));
        }
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let temporary = path.with_file_name(format!(".{name}.{}.part", std::process::id()));
        let element = match shape.element {
            ElementType::F32 => size_of::<f32>(),
            ElementType::F64 => size_of::<f64>(),
        };
        let mut wanted = match shape.layout {
            Layout::Dense => vec![("values", shape.rows * shape.features * element), ("numbers", shape.rows * 8)],
            Layout::Csr => vec![
                ("values", shape.entries * element),
                ("numbers", shape.rows * 8),
                ("offsets", (shape.rows + 1) * 8),
                ("indices", shape.entries * 4),
            ],
        };
        if shape.classes > 0 {
            wanted.push(("codes", shape.rows * 4));
        }
        let io = |error| Error::io(path, &error);
        File::create(&temporary).map_err(io)?;
        let (mut sections, mut at) = (Vec::new(), PREFIX as u64);
        for (name, bytes) in wanted {
            sections.push(SectionWriter::open(&temporary, name, at).map_err(io)?);
            at = aligned(at + bytes as u64);
        }
        let mut writer = RowsWriter {
            path: path.to_path_buf(),
            temporary,
            shape,
            sections,
            rows: 0,
            entries: 0,
            nonzero: 0,
            class_counts: vec![0; shape.classes],
            target: NumberSummary { min: f64::INFINITY, mean: 0.0, max: f64::NEG_INFINITY },
            complete: false,
        };
        if shape.layout == Layout::Csr {
            writer.put(OFFSETS, &[0usize])?;
        }
        Ok(writer)
    }

    fn put<T: Plain>(&mut self, section: usize, numbers: &[T]) -> Result<()> {
        self.sections[section].write(bytes_of(numbers)).map_err(|error| Error::io(&self.path, &error))
    }

    /// Appends the rows of `design`, with their targets (class codes, or the values).
    ///
    /// # Errors
    /// Input, when rows do not have the announced shape, or cannot be written.
    pub fn push(&mut self, design: &DesignMatrix, numbers: &[f64]) -> Result<()> {
        if design.rows() != numbers.len() || design.cols() != self.shape.features {
            let (rows, cols, targets) = (design.rows(), design.cols(), numbers.len());
            return Err(Error::input(format!("{rows} rows of {cols} features with {targets} targets do not fit")));
        }
        match (design, self.shape.layout, self.shape.element) {
            (DesignMatrix::DenseF32(m), Layout::Dense, ElementType::F32) => self.push_dense(m)?,
            (DesignMatrix::DenseF64(m), Layout::Dense, ElementType::F64) => self.push_dense(m)?,
            (DesignMatrix::CsrF32(m), Layout::Csr, ElementType::F32) => self.push_csr(m)?,
            (DesignMatrix::CsrF64(m), Layout::Csr, ElementType::F64) => self.push_csr(m)?,
            _ => return Err(Error::input("the rows are not stored as announced")),
        }
        self.put(NUMBERS, numbers)?;
        self.rows += numbers.len();
        for &y in numbers {
            self.target.min = self.target.min.min(y);
            self.target.max = self.target.max.max(y);
            self.target.mean += (y - self.target.mean) / (self.rows as f64);
        }
        if self.shape.classes > 0 {
            let codes: Vec<u32> = numbers.iter().map(|&y| y as u32).collect();
            for (&code, &y) in codes.iter().zip(numbers) {
                match self.class_counts.get_mut(code as usize) {
                    Some(count) if f64::from(code) == y => *count += 1,
                    _ => return Err(Error::input(format!("{y} is no code of a class"))),
                }
            }
            let section = self.sections.len() - 1;
            self.put(section, &codes)?;
        }
        Ok(())
    }

    fn push_dense<T: Element + Plain>(&mut self, matrix: &DenseMatrix<T>) -> Result<()> {
        self.nonzero += matrix.values().iter().filter(|&&x| x != T::default()).count() as u64;
        self.put(VALUES, matrix.values())
    }

    fn push_csr<T: Element + Plain>(&mut self, matrix: &CsrMatrix<T>) -> Result<()> {
        let before = self.entries;
        self.entries += matrix.stored();
        if self.entries > self.shape.entries {
            return Err(Error::input(format!("there are more entries than the {} announced", self.shape.entries)));
        }
        self.nonzero += matrix.values().iter().filter(|&&x| x != T::default()).count() as u64;
        let mut end = before;
        let offsets: Vec<usize> = (0..matrix.rows())
            .map(|i| {
                end += matrix.row(i).0.len();
                end
            })
            .collect();
        self.put(OFFSETS, &offsets)?;
        self.put(INDICES, matrix.indices())?;
        self.put(VALUES, matrix.values())
    }

    /// Writes the header and gives the file its name.
    ///
    /// # Errors
    /// Input, when rows are missing or the description does not fit them, or the file cannot be written.
    pub fn finish(mut self, about: About) -> Result<Header> {
        let Shape { rows, features, layout, element, .. } = self.shape;
        if self.rows != rows {
            return Err(Error::input(format!("{} of {rows} rows were written", self.rows)));
        }
        let io = |error: std::io::Error| Error::io(&self.path, &error);
        let mut sections = Vec::new();
        for section in self.sections.drain(..) {
            sections.push(section.finish().map_err(io)?);
        }
        let is_class = matches!(about.labels.kind(), TargetKind::Binary | TargetKind::Classes);
        let header = Header {
            rows,
            features,
            layout,
            element,
            nonzero: self.nonzero,
            labels: about.labels,
            class_counts: std::mem::take(&mut self.class_counts),
            target: self.target,
            feature_names: about.feature_names,
            groups: about.groups,
            measured: about.measured,
            standardization: about.standardization,
            encoder: about.encoder,
            seed: about.seed,
            provenance: about.provenance,
            sections,
        };
        if let Some(fault) = header.fault() {
            return Err(Error::input(fault));
        }
        debug_assert_eq!(is_class, self.shape.classes > 0);
        let text = serde_json::to_vec(&header).map_err(|error| Error::numeric(format!("cannot write: {error}")))?;
        let end = header.sections.iter().map(|section| section.offset + section.bytes).max().unwrap_or(0);
        let place = aligned(end);
        let prefix = prefix(place, &text);
        let mut file = OpenOptions::new().write(true).open(&self.temporary).map_err(io)?;
        file.set_len(place + text.len() as u64).map_err(io)?;
        let put = |file: &mut File, at: u64, bytes: &[u8]| {
            file.seek(SeekFrom::Start(at)).and_then(|_| file.write_all(bytes)).map_err(io)
        };
        put(&mut file, place, &text)?;
        put(&mut file, 0, &prefix)?;
        // Who could not read what is replaced cannot read this.
        if let Ok(replaced) = std::fs::metadata(&self.path) {
            file.set_permissions(replaced.permissions()).map_err(io)?;
        }
        std::fs::rename(&self.temporary, &self.path).map_err(io)?;
        self.complete = true;
        Ok(header)
    }
}

impl Drop for RowsWriter {
    fn drop(&mut self) {
        if !self.complete {
            let _ = std::fs::remove_file(&self.temporary);
        }
    }
}

/// The first bytes of a file with the header `text` at `place`.
fn prefix(place: u64, text: &[u8]) -> [u8; PREFIX] {
    let mut prefix = [0; PREFIX];
    prefix[..8].copy_from_slice(MAGIC);
    prefix[8..12].copy_from_slice(&VERSION.to_le_bytes());
    prefix[16..24].copy_from_slice(&place.to_le_bytes());
    prefix[24..32].copy_from_slice(&(text.len() as u64).to_le_bytes());
    prefix[32..40].copy_from_slice(&(place + text.len() as u64).to_le_bytes());
    let checksum = checksum(&prefix, text);
    prefix[12..16].copy_from_slice(&checksum.to_le_bytes());
    prefix
}

/// CRC-32 of the first bytes but for the magic ones and the checksum itself, and of the header.
pub(super) fn checksum(prefix: &[u8], header: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&prefix[8..12]);
    hasher.update(&prefix[16..PREFIX]);
    hasher.update(header);
    hasher.finalize()
}

/// Writes one section from its place on.
#[derive(Debug)]
pub(super) struct SectionWriter {
    pub(super) name: &'static str,
    pub(super) offset: u64,
    pub(super) bytes: u64,
    checksum: crc32fast::Hasher,
    pub(super) file: BufWriter<File>,
}

impl SectionWriter {
    pub(super) fn open(path: &Path, name: &'static str, offset: u64) -> std::io::Result<Self> {
        let mut file = OpenOptions::new().write(true).open(path)?;
        file.seek(SeekFrom::Start(offset))?;
        let file = BufWriter::with_capacity(1 << 18, file);
        Ok(SectionWriter { name, offset, bytes: 0, checksum: crc32fast::Hasher::new(), file })
    }

    pub(super) fn write(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.checksum.update(bytes);
        self.bytes += bytes.len() as u64;
        self.file.write_all(bytes)
    }

    fn finish(mut self) -> std::io::Result<Section> {
        self.file.flush()?;
        let crc32 = self.checksum.finalize();
        Ok(Section { name: self.name.into(), offset: self.offset, bytes: self.bytes, crc32 })
    }
}
