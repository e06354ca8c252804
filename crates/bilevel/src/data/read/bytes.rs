//! The bytes of a file, decompressed when it is an archive of one of the four usual kinds.
//!
//! Compression is recognised by the first bytes, not by the name: files lose and gain `.gz` on their way.

use std::fs::File;
use std::io::{self, Read};
use std::ops::Deref;
use std::path::Path;

use crate::{Error, Result};

/// Plain files from this size on are memory-mapped instead of copied.
const MAP_FROM: u64 = 1 << 22;

/// Contents of a file.
pub(crate) enum Bytes {
    Owned(Vec<u8>),
    Mapped(memmap2::Mmap),
}

impl Deref for Bytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Bytes::Owned(bytes) => bytes,
            Bytes::Mapped(map) => map,
        }
    }
}

/// Reads and decompresses the whole of `path`; an empty file is an error.
pub(crate) fn load(path: &Path) -> Result<Bytes> {
    let raw = open(path).map_err(|error| Error::io(path, &error))?;
    let bytes = match Compression::of(&raw) {
        None => raw,
        Some(compression) => Bytes::Owned(compression.decode(&raw).map_err(|error| {
            Error::input(format!("the {} archive is damaged or cut short ({error})", compression.name()))
                .in_file(path)
                .remedy("copy or download the file again")
        })?),
    };
    if bytes.is_empty() {
        return Err(Error::input("the file is empty").in_file(path));
    }
    Ok(bytes)
}

fn open(path: &Path) -> io::Result<Bytes> {
    let mut file = File::open(path)?;
    let metadata = file.metadata()?;
    if metadata.is_dir() {
        return Err(io::ErrorKind::IsADirectory.into());
    }
    if metadata.is_file() && metadata.len() >= MAP_FROM {
        // SAFETY: the map is read-only and private to this process; as with every memory-mapped input, the file must
        // not be truncated by others while it is read.
        return Ok(Bytes::Mapped(unsafe { memmap2::Mmap::map(&file)? }));
    }
    let mut bytes = Vec::with_capacity(metadata.len() as usize);
    file.read_to_end(&mut bytes)?;
    Ok(Bytes::Owned(bytes))
}

#[derive(Clone, Copy)]
enum Compression {
    Gzip,
    Bzip2,
    Xz,
    Zstd,
}

impl Compression {
    fn of(bytes: &[u8]) -> Option<Self> {
        match bytes {
            [0x1f, 0x8b, ..] => Some(Compression::Gzip),
            [b'B', b'Z', b'h', b'1'..=b'9', ..] => Some(Compression::Bzip2),
            [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => Some(Compression::Xz),
            [0x28, 0xb5, 0x2f, 0xfd, ..] => Some(Compression::Zstd),
            _ => None,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Compression::Gzip => "gzip",
            Compression::Bzip2 => "bzip2",
            Compression::Xz => "xz",
            Compression::Zstd => "zstd",
        }
    }

    /// All members or frames, one after the other.
    fn decode(self, raw: &[u8]) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::with_capacity(raw.len().saturating_mul(3));
        match self {
            Compression::Gzip => flate2::bufread::MultiGzDecoder::new(raw).read_to_end(&mut bytes)?,
            Compression::Bzip2 => bzip2::bufread::MultiBzDecoder::new(raw).read_to_end(&mut bytes)?,
            Compression::Xz => lzma_rust2::XzReader::new(raw, true).read_to_end(&mut bytes)?,
            Compression::Zstd => zstd_frames(raw, &mut bytes)?,
        };
        Ok(bytes)
    }
}

/// The zstd decoder stops after a frame; a file may hold several.
fn zstd_frames(mut raw: &[u8], bytes: &mut Vec<u8>) -> io::Result<usize> {
    while !raw.is_empty() {
        let mut frame = ruzstd::decoding::StreamingDecoder::new(&mut raw).map_err(io::Error::other)?;
        frame.read_to_end(bytes)?;
    }
    Ok(bytes.len())
}

impl AsRef<[u8]> for Bytes {
    fn as_ref(&self) -> &[u8] {
        self
    }
}
