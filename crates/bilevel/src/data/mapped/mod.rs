//! Rows in a file from which they are used without being read first: shuffled, encoded, standardized, mapped into memory.
//!
//! ```text
//! 0   8 bytes   BILROWS\n
//! 8   u32       version of the format
//! 12  u32       CRC-32 of bytes 8 to 11, 16 to 63 and of the header
//! 16  u64       place of the header
//! 24  u64       length of the header
//! 32  u64       length of the file
//! 40  24 bytes  zero
//! 64            sections, each at a multiple of 64 bytes
//!               header (JSON): shape, sections with their checksums, labels, encoder, standardization, origin
//! ```
//!
//! All numbers are little-endian. The header comes last, so that a writer needs no second look at the sections. Opening a
//! file checks its length and its header; the sections are checked by [`MappedRows::verify`], which reads all of them.
//! `docs/formats.md` describes the file to those who write it with other programs.

mod buckets;
mod convert;
mod header;
mod open;
mod standardize;
mod write;

pub use convert::{ConvertOptions, Stage, Watch, convert};
pub use header::{ElementType, Header, Layout, NumberSummary, Provenance, Section};
pub use open::MappedRows;
pub use write::{About, RowsWriter, Shape};

/// The first bytes of a file.
const MAGIC: &[u8; 8] = b"BILROWS\n";
/// The version that is written and read.
const VERSION: u32 = 1;
/// Bytes in front of the sections.
const PREFIX: usize = 64;
/// Sections begin at multiples of this.
const ALIGNMENT: usize = 64;

/// The first multiple of the alignment that is not below `at`.
fn aligned(at: u64) -> u64 {
    at.next_multiple_of(ALIGNMENT as u64)
}
