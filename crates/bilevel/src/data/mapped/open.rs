//! Opening and checking a mapped file.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use memmap2::Mmap;
use rayon::prelude::*;

use super::header::{ElementType, Header, Layout, Section};
use super::write::checksum;
use super::{ALIGNMENT, MAGIC, PREFIX, VERSION};
use crate::data::buffer::{Buffer, Plain};
use crate::data::csr::CsrMatrix;
use crate::data::dataset::{Arrangement, Dataset, Target};
use crate::data::dense::DenseMatrix;
use crate::data::design::DesignMatrix;
use crate::data::element::Element;
use crate::data::schema::Schema;
use crate::data::target::TargetKind;
use crate::{Error, Result};

/// Bytes whose checksum is computed by one thread at a time.
const CHUNK: usize = 1 << 24;
/// Rows whose classes are checked whenever they are used.
const CHECKED_CLASSES: usize = 1 << 22;

/// A mapped file whose header was read; its rows are read from the file when they are used.
///
/// As with every mapped file, it must not be truncated by others while it is in use.
#[derive(Debug, Clone)]
pub struct MappedRows {
    path: PathBuf,
    map: Arc<Mmap>,
    header: Header,
}

impl MappedRows {
    /// True when `path` is a file that begins as a mapped file does. Of a pipe nothing is read, since it would be lost.
    pub fn recognises(path: &Path) -> bool {
        let mut first = [0; MAGIC.len()];
        let begins = |mut file: File| file.read_exact(&mut first).map(|()| first == *MAGIC);
        path.is_file() && File::open(path).and_then(begins).unwrap_or(false)
    }

    /// Maps the file `path` and checks its length, its header, and that all sections lie within it.
    ///
    /// # Errors
    /// Input, when it is no mapped file, cut short, damaged, of another version, or cannot be opened.
    pub fn open(path: &Path) -> Result<Self> {
        Self::opened(path).map_err(|error| error.in_file(path))
    }

    fn opened(path: &Path) -> Result<Self> {
        if cfg!(target_endian = "big") || cfg!(not(target_pointer_width = "64")) {
            return Err(Error::input("mapped files need a little-endian machine with 64 bits"));
        }
        let io = |error: std::io::Error| Error::io(path, &error);
        let file = File::open(path).map_err(io)?;
        let length = file.metadata().map_err(io)?.len();
        if length < PREFIX as u64 {
            return Err(cut_short());
        }
        // SAFETY: the map is read-only; as with every mapped file, others must not truncate it while it is in use.
        let map = unsafe { Mmap::map(&file) }.map_err(io)?;
        if !map.starts_with(MAGIC) {
            return Err(Error::input("this is no mapped file").remedy("make one with bilevel convert"));
        }
        let number = |at: usize| u64::from_le_bytes(map[at..at + 8].try_into().expect("eight bytes"));
        let version = number(8) as u32;
        let (place, size, whole) = (number(16), number(24), number(32));
        if version != VERSION {
            return Err(Error::input(format!("the file has version {version}, and this program reads {VERSION}"))
                .remedy("convert the data again with this version of bilevel"));
        }
        if map.len() as u64 != whole {
            return Err(if (map.len() as u64) < whole { cut_short() } else { damaged("its length") });
        }
        let end = place.checked_add(size).filter(|&end| end <= whole && place >= PREFIX as u64);
        let text = end.map(|end| &map[place as usize..end as usize]).ok_or_else(|| damaged("its first bytes"))?;
        if checksum(&map[..PREFIX], text) != (number(8) >> 32) as u32 {
            return Err(damaged("the checksum of its header"));
        }
        let header: Header = serde_json::from_slice(text).map_err(|error| {
            Error::input(format!("the header is not as it should be ({error})")).remedy("see docs/formats.md")
        })?;
        if let Some(fault) = header.fault() {
            return Err(Error::input(fault).remedy("see docs/formats.md"));
        }
        let rows = MappedRows { path: path.to_path_buf(), map: Arc::new(map), header };
        rows.check_sections()?;
        Ok(rows)
    }

    /// What the header says.
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    fn is_classes(&self) -> bool {
        matches!(self.header.labels.kind(), TargetKind::Binary | TargetKind::Classes)
    }

    /// Every section that is needed is there, of the right size, and within the file.
    fn check_sections(&self) -> Result<()> {
        let (n, p) = (self.header.rows as u64, self.header.features as u64);
        let element = match self.header.element {
            ElementType::F32 => 4,
            ElementType::F64 => 8,
        };
        let mut needed = vec![("numbers", Some(8 * n))];
        match self.header.layout {
            Layout::Dense => needed.push(("values", n.checked_mul(p).and_then(|entries| entries.checked_mul(element)))),
            Layout::Csr => {
                let entries = self.header.section("indices").map_or(0, |section| section.bytes / 4);
                needed.push(("offsets", Some(8 * (n + 1))));
                needed.push(("indices", Some(4 * entries)));
                needed.push(("values", entries.checked_mul(element)));
            }
        }
        if self.is_classes() {
            needed.push(("codes", Some(4 * n)));
        }
        for (name, bytes) in needed {
            let section = self.header.section(name).ok_or_else(|| damaged(&format!("the section `{name}`")))?;
            let end = section.offset.checked_add(section.bytes);
            let within = end.is_some_and(|end| end <= self.map.len() as u64);
            if bytes != Some(section.bytes) || !within || section.offset % ALIGNMENT as u64 != 0 {
                return Err(damaged(&format!("the section `{name}`")));
            }
        }
        Ok(())
    }

    /// Reads all sections and compares them with their checksums, and class codes with the numbers beside them;
    /// `progress` is told how many of how many bytes are done, and breaks it off by returning false.
    ///
    /// # Errors
    /// Input, naming the first section that is damaged; interrupted.
    pub fn verify(&self, progress: &mut dyn FnMut(u64, u64) -> bool) -> Result<()> {
        let total = self.header.sections.iter().map(|section| section.bytes).sum();
        let mut done = 0;
        for section in &self.header.sections {
            let mut found = crc32fast::Hasher::new();
            for part in self.bytes(section).chunks(CHUNK * rayon::current_num_threads()) {
                let hash = |chunk: &[u8]| {
                    let mut hasher = crc32fast::Hasher::new();
                    hasher.update(chunk);
                    hasher
                };
                let hashers: Vec<_> = part.par_chunks(CHUNK).map(hash).collect();
                hashers.iter().for_each(|hasher| found.combine(hasher));
                done += part.len() as u64;
                if !progress(done, total) {
                    return Err(Error::interrupted());
                }
            }
            if found.finalize() != section.crc32 {
                return Err(damaged(&format!("the checksum of the section `{}`", section.name)).in_file(&self.path));
            }
        }
        if self.is_classes() {
            self.check_classes(&self.buffer("codes")?, &self.buffer("numbers")?)?;
        }
        Ok(())
    }

    /// Every row has a class, and the same one by code and by number.
    fn check_classes(&self, codes: &[u32], numbers: &[f64]) -> Result<()> {
        let classes = self.header.labels.names().len() as u32;
        let is_wrong = |(&code, &number): (&u32, &f64)| code >= classes || f64::from(code) != number;
        match codes.par_iter().zip(numbers).position_first(is_wrong) {
            None => Ok(()),
            Some(row) => Err(damaged(&format!("the target of row {} is no class", row + 1)).in_file(&self.path)),
        }
    }

    fn bytes(&self, section: &Section) -> &[u8] {
        &self.map[section.offset as usize..(section.offset + section.bytes) as usize]
    }

    fn buffer<T: Plain>(&self, name: &str) -> Result<Buffer<T>> {
        let section = self.header.section(name);
        let buffer = section.and_then(|s| Buffer::mapped(&self.map, s.offset as usize..(s.offset + s.bytes) as usize));
        buffer.ok_or_else(|| damaged(&format!("the section `{name}`")).in_file(&self.path))
    }

    fn dense<T: Element + Plain>(&self) -> Result<DenseMatrix<T>> {
        Ok(DenseMatrix::of_buffer(self.header.rows, self.header.features, self.buffer("values")?))
    }

    fn csr<T: Element + Plain>(&self) -> Result<CsrMatrix<T>> {
        let (offsets, indices, values) = (self.buffer("offsets")?, self.buffer("indices")?, self.buffer("values")?);
        CsrMatrix::of_buffers(self.header.features, offsets, indices, values)
            .map_err(|wrong| damaged(wrong).in_file(&self.path))
    }

    /// The rows, which stay in the file. Sparse rows are checked for indices out of range, which reads them once, and the
    /// classes of the first four million rows for those that there are not: whoever looks at few of very many rows shall not
    /// wait for all ([`verify`](Self::verify) checks them).
    ///
    /// # Errors
    /// Input, when sparse rows or classes are damaged.
    pub fn dataset(&self) -> Result<Dataset> {
        let design = match (self.header.layout, self.header.element) {
            (Layout::Dense, ElementType::F32) => DesignMatrix::DenseF32(self.dense()?),
            (Layout::Dense, ElementType::F64) => DesignMatrix::DenseF64(self.dense()?),
            (Layout::Csr, ElementType::F32) => DesignMatrix::CsrF32(self.csr()?),
            (Layout::Csr, ElementType::F64) => DesignMatrix::CsrF64(self.csr()?),
        };
        let numbers: Buffer<f64> = self.buffer("numbers")?;
        let target = match self.is_classes() {
            true => {
                let codes: Buffer<u32> = self.buffer("codes")?;
                let some = codes.len().min(CHECKED_CLASSES);
                self.check_classes(&codes[..some], &numbers[..some])?;
                Target::Classes { codes, names: self.header.labels.names().to_vec() }
            }
            false => Target::Values(numbers.clone()),
        };
        Ok(Dataset {
            design,
            target,
            feature_names: self.header.feature_names(),
            groups: self.header.groups(),
            measured: self.header.measured.clone(),
            arrangement: Some(Arrangement {
                seed: self.header.seed,
                standardization: self.header.standardization.clone(),
                numbers,
            }),
            weights: None,
        })
    }

    /// The rows, in the groups of `schema`, as which they must be encoded and labelled.
    ///
    /// # Errors
    /// Those of [`MappedRows::dataset`]; input, when the rows are encoded or labelled in another way.
    pub fn dataset_like(&self, schema: &Schema) -> Result<Dataset> {
        let fault = match () {
            () if self.header.encoder != schema.encoder => "features are encoded in another way",
            () if self.header.labels != schema.labels => "target is understood in another way",
            () => return Ok(Dataset { groups: schema.groups.clone(), ..self.dataset()? }),
        };
        Err(Error::input(format!("its {fault} than those of the training data"))
            .in_file(&self.path)
            .remedy("give the file it was converted from, or convert that with --like the training file"))
    }
}

fn cut_short() -> Error {
    Error::input("the mapped file is cut short").remedy("copy it again, or convert the data again")
}

fn damaged(what: &str) -> Error {
    Error::input(format!("the mapped file is damaged: {what}")).remedy("copy it again, or convert the data again")
}
