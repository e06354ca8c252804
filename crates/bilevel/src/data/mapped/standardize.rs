//! Bringing the features of rows that were written to one scale, where they lie.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::sync::Arc;

use memmap2::Mmap;

use super::header::{ElementType, Layout};
use super::write::{INDICES, OFFSETS, RowsWriter, SectionWriter, VALUES};
use crate::data::buffer::{Buffer, Plain, bytes_of, bytes_of_mut};
use crate::data::csr::CsrMatrix;
use crate::data::dense::DenseMatrix;
use crate::data::design::DesignMatrix;
use crate::data::element::Element;
use crate::data::standardize::Standardization;
use crate::{Error, Result};

/// Bytes of values that are rewritten at a time.
const BLOCK: usize = 1 << 22;

impl RowsWriter {
    /// Shows all rows written so far to `learn` and applies the standardization it returns to them; `progress` is told the
    /// number of rows that are done.
    ///
    /// # Errors
    /// Input, when the file cannot be read or written, or a sparse matrix would have to be shifted; that of `progress`.
    pub(super) fn standardize<X>(
        &mut self,
        learn: impl FnOnce(&DesignMatrix) -> (X, Option<Standardization>),
        progress: &mut dyn FnMut(u64) -> Result<()>,
    ) -> Result<(X, Option<Standardization>)> {
        for section in &mut self.sections {
            section.file.flush().map_err(|error| Error::io(&self.path, &error))?;
        }
        match self.shape.element {
            ElementType::F32 => self.standardize_as::<f32, X>(learn, progress),
            ElementType::F64 => self.standardize_as::<f64, X>(learn, progress),
        }
    }

    fn standardize_as<T: Stored, X>(
        &mut self,
        learn: impl FnOnce(&DesignMatrix) -> (X, Option<Standardization>),
        progress: &mut dyn FnMut(u64) -> Result<()>,
    ) -> Result<(X, Option<Standardization>)> {
        let found = {
            let map = self.map()?;
            let (rows, features) = (self.rows, self.shape.features);
            let values = self.section::<T>(&map, VALUES)?;
            let design = match self.shape.layout {
                Layout::Dense => T::dense(DenseMatrix::of_buffer(rows, features, values)),
                Layout::Csr => {
                    let (offsets, indices) = (self.section(&map, OFFSETS)?, self.section(&map, INDICES)?);
                    T::csr(CsrMatrix::of_buffers(features, offsets, indices, values).map_err(Error::input)?)
                }
            };
            learn(&design)
        };
        match &found.1 {
            Some(standardization) if !standardization.is_identity() => {
                self.rewrite::<T>(standardization, progress)?;
            }
            _ => {}
        }
        Ok(found)
    }

    fn map(&self) -> Result<Arc<Mmap>> {
        let io = |error| Error::io(&self.path, &error);
        let file = File::open(&self.temporary).map_err(io)?;
        // SAFETY: the file has a name of its own, and what is shown of it is not written to while the map is there.
        Ok(Arc::new(unsafe { Mmap::map(&file) }.map_err(io)?))
    }

    fn section<T: Plain>(&self, map: &Arc<Mmap>, position: usize) -> Result<Buffer<T>> {
        let SectionWriter { offset, bytes, .. } = self.sections[position];
        let buffer = Buffer::mapped(map, offset as usize..(offset + bytes) as usize);
        buffer.ok_or_else(|| Error::input("the file was changed while it was written").in_file(&self.path))
    }

    /// Reads the values block by block and writes them again.
    fn rewrite<T: Stored>(
        &mut self,
        standardization: &Standardization,
        progress: &mut dyn FnMut(u64) -> Result<()>,
    ) -> Result<()> {
        let path = self.path.clone();
        let io = |error| Error::io(&path, &error);
        // Of this map only offsets and indices are looked at, which stay as they are.
        let map = self.map()?;
        let sparse = match self.shape.layout {
            Layout::Dense => None,
            Layout::Csr => Some((self.section::<usize>(&map, OFFSETS)?, self.section::<u32>(&map, INDICES)?)),
        };
        let start = |row: usize| sparse.as_ref().map_or(row * self.shape.features, |(offsets, _)| offsets[row]);
        let mut source = File::open(&self.temporary).map_err(io)?;
        let place = self.sections[VALUES].offset;
        source.seek(SeekFrom::Start(place)).map_err(io)?;
        let mut out = SectionWriter::open(&self.temporary, "values", place).map_err(io)?;
        let (mut row, mut nonzero) = (0, 0);
        while row < self.rows {
            let mut end = row + 1;
            while end < self.rows && (start(end + 1) - start(row)) * size_of::<T>() <= BLOCK {
                end += 1;
            }
            let mut values = vec![T::default(); start(end) - start(row)];
            source.read_exact(bytes_of_mut(&mut values)).map_err(io)?;
            let mut block = match &sparse {
                None => T::dense(DenseMatrix::new(end - row, self.shape.features, values)),
                Some((offsets, indices)) => {
                    let first = offsets[row];
                    let own = offsets[row..=end].iter().map(|offset| offset - first).collect();
                    let indices = indices.slice(first..offsets[end]);
                    let block = CsrMatrix::of_buffers(self.shape.features, own, indices, values.into());
                    T::csr(block.map_err(Error::input)?)
                }
            };
            standardization.apply(&mut block)?;
            let values = T::values(&block);
            nonzero += values.iter().filter(|&&x| x != T::default()).count() as u64;
            out.write(bytes_of(values)).map_err(io)?;
            row = end;
            progress(row as u64)?;
        }
        out.file.flush().map_err(io)?;
        self.sections[VALUES] = out;
        self.nonzero = nonzero;
        Ok(())
    }
}

/// The two precisions, on their way into a design matrix and back.
trait Stored: Element + Plain {
    fn dense(matrix: DenseMatrix<Self>) -> DesignMatrix;
    fn csr(matrix: CsrMatrix<Self>) -> DesignMatrix;
    fn values(matrix: &DesignMatrix) -> &[Self];
}

macro_rules! stored {
    ($type:ty, $dense:ident, $csr:ident) => {
        impl Stored for $type {
            fn dense(matrix: DenseMatrix<Self>) -> DesignMatrix {
                DesignMatrix::$dense(matrix)
            }
            fn csr(matrix: CsrMatrix<Self>) -> DesignMatrix {
                DesignMatrix::$csr(matrix)
            }
            fn values(matrix: &DesignMatrix) -> &[Self] {
                match matrix {
                    DesignMatrix::$dense(matrix) => matrix.values(),
                    DesignMatrix::$csr(matrix) => matrix.values(),
                    _ => unreachable!("made by this trait"),
                }
            }
        }
    };
}

stored!(f32, DenseF32, CsrF32);
stored!(f64, DenseF64, CsrF64);
