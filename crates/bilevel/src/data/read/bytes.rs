//! The bytes of a file, decompressed when it is an archive of one of the four usual kinds.
//!
//! Compression is recognised by the first bytes, not by the name: files lose and gain `.gz` on their way.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use ruzstd::decoding::errors::{FrameDecoderError, ReadFrameHeaderError};
use ruzstd::decoding::{BlockDecodingStrategy, FrameDecoder};

use crate::{Error, Result};

/// Plain files from this size on are memory-mapped instead of copied.
const MAP_FROM: u64 = 1 << 22;
/// Bytes of a map that are copied before their pages are given back.
const COPIED: usize = 1 << 22;

/// Contents of a file.
pub(crate) enum Bytes {
    Owned(Vec<u8>),
    Mapped(memmap2::Mmap),
}

impl Bytes {
    /// The contents from `start` on.
    pub(crate) fn into_vec_from(self, start: usize) -> Vec<u8> {
        match self {
            Bytes::Owned(mut bytes) => {
                bytes.drain(..start);
                bytes
            }
            Bytes::Mapped(map) => copied(&map, start),
        }
    }
}

/// The contents from `start` on; what has been copied does not stay in memory twice.
fn copied(map: &memmap2::Mmap, start: usize) -> Vec<u8> {
    let mut copy = Vec::with_capacity(map.len() - start);
    for first in (start..map.len()).step_by(COPIED) {
        let last = (first + COPIED).min(map.len());
        copy.extend_from_slice(&map[first..last]);
        // SAFETY: nobody writes to the map, so that its pages hold what the file holds, should they be read again.
        #[cfg(unix)]
        let _ = unsafe { map.unchecked_advise_range(memmap2::UncheckedAdvice::DontNeed, first, last - first) };
    }
    copy
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
    decoded(open(path).map_err(|error| Error::io(path, &error))?, path)
}

/// What `raw` holds, the bytes of `path`.
fn decoded(raw: Bytes, path: &Path) -> Result<Bytes> {
    let bytes = match Compression::of(&raw) {
        None => raw,
        Some(compression) => Bytes::Owned(compression.decode(&raw).map_err(|error| compression.damaged(path, &error))?),
    };
    if bytes.is_empty() {
        return Err(Error::input("the file is empty").in_file(path));
    }
    Ok(bytes)
}

/// The contents of a file, decompressed as they are read. The file is read and not mapped: what has been looked at is not
/// wanted in memory again.
pub(crate) struct Contents {
    source: Source,
    length: u64,
    compression: Option<Compression>,
}

enum Source {
    File(PathBuf),
    /// What can be read once only, such as a pipe.
    Memory(Vec<u8>),
}

impl Contents {
    /// Opens `path`; an empty file is an error.
    pub(crate) fn open(path: &Path) -> Result<Self> {
        let contents = Self::opened(path).map_err(|error| Error::io(path, &error))?;
        match contents.length {
            0 => Err(Error::input("the file is empty").in_file(path)),
            _ => Ok(contents),
        }
    }

    fn opened(path: &Path) -> io::Result<Self> {
        let mut file = File::open(path)?;
        let metadata = file.metadata()?;
        if metadata.is_dir() {
            return Err(io::ErrorKind::IsADirectory.into());
        }
        if !metadata.is_file() {
            let mut bytes = Vec::new();
            file.read_to_end(&mut bytes)?;
            let (length, compression) = (bytes.len() as u64, Compression::of(&bytes));
            return Ok(Contents { source: Source::Memory(bytes), length, compression });
        }
        let mut head = Vec::new();
        file.take(8).read_to_end(&mut head)?;
        let compression = Compression::of(&head);
        Ok(Contents { source: Source::File(path.into()), length: metadata.len(), compression })
    }

    /// All of them.
    pub(crate) fn load(self, path: &Path) -> Result<Bytes> {
        match self.source {
            Source::File(path) => load(&path),
            Source::Memory(bytes) => decoded(Bytes::Owned(bytes), path),
        }
    }

    /// Number of bytes of the file, and a guess at how many are in it.
    pub(crate) fn sizes(&self) -> (u64, u64) {
        (self.length, if self.compression.is_some() { 5 * self.length } else { self.length })
    }

    /// What to say when it cannot be read to its end.
    pub(crate) fn damaged(&self, path: &Path, error: &io::Error) -> Error {
        match self.compression {
            Some(compression) => compression.damaged(path, error),
            None => Error::io(path, error),
        }
    }

    /// A reader from the beginning, and how far it is in the file.
    pub(crate) fn reader(&self) -> io::Result<(Box<dyn Read + '_>, Arc<AtomicU64>)> {
        let done = Arc::new(AtomicU64::new(0));
        let rest: Box<dyn Read + '_> = match &self.source {
            Source::File(path) => Box::new(File::open(path)?),
            Source::Memory(bytes) => Box::new(&bytes[..]),
        };
        let raw = BufReader::with_capacity(1 << 18, Counted { rest, done: Arc::clone(&done) });
        let reader: Box<dyn Read + '_> = match self.compression {
            None => Box::new(raw),
            Some(Compression::Gzip) => Box::new(flate2::bufread::MultiGzDecoder::new(raw)),
            Some(Compression::Bzip2) => Box::new(bzip2::bufread::MultiBzDecoder::new(raw)),
            Some(Compression::Xz) => Box::new(lzma_rust2::XzReader::new(raw, true)),
            Some(Compression::Zstd) => Box::new(ZstdFrames::new(raw)),
        };
        Ok((reader, done))
    }
}

/// Bytes that are counted as they are taken.
struct Counted<R> {
    rest: R,
    done: Arc<AtomicU64>,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let count = self.rest.read(out)?;
        self.done.fetch_add(count as u64, Ordering::Relaxed);
        Ok(count)
    }
}

/// One zstd frame after the other. Those that hold no data, which parallel compressors and seekable archives write, are
/// skipped.
struct ZstdFrames<R: BufRead> {
    raw: R,
    decoder: FrameDecoder,
    within: bool,
}

impl<R: BufRead> ZstdFrames<R> {
    fn new(raw: R) -> Self {
        ZstdFrames { raw, decoder: FrameDecoder::new(), within: false }
    }

    /// Begins the next frame; false where it holds no data.
    fn begin(&mut self) -> io::Result<bool> {
        match self.decoder.reset(&mut self.raw) {
            Ok(()) => Ok(true),
            Err(FrameDecoderError::ReadFrameHeaderError(ReadFrameHeaderError::SkipFrame { length, .. })) => {
                let length = u64::from(length);
                match io::copy(&mut self.raw.by_ref().take(length), &mut io::sink())? == length {
                    true => Ok(false),
                    false => Err(io::ErrorKind::UnexpectedEof.into()),
                }
            }
            Err(error) => Err(io::Error::other(error)),
        }
    }
}

impl<R: BufRead> Read for ZstdFrames<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        loop {
            if !self.within {
                if self.raw.fill_buf()?.is_empty() {
                    return Ok(0);
                }
                self.within = self.begin()?;
                continue;
            }
            let decoder = &mut self.decoder;
            while decoder.can_collect() == 0 && !decoder.is_finished() {
                decoder.decode_blocks(&mut self.raw, BlockDecodingStrategy::UptoBlocks(1)).map_err(io::Error::other)?;
            }
            let count = decoder.read(out)?;
            if count > 0 || out.is_empty() {
                return Ok(count);
            }
            // The decoder computes the checksum, but compares nothing.
            if decoder.get_checksum_from_data().is_some_and(|sum| decoder.get_calculated_checksum() != Some(sum)) {
                return Err(io::Error::other("its checksum is wrong"));
            }
            self.within = false;
        }
    }
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
            [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Some(Compression::Zstd),
            _ => None,
        }
    }

    fn damaged(self, path: &Path, error: &io::Error) -> Error {
        Error::input(format!("the {} archive is damaged or cut short ({error})", self.name()))
            .in_file(path)
            .remedy("copy or download the file again")
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
            Compression::Zstd => ZstdFrames::new(raw).read_to_end(&mut bytes)?,
        };
        Ok(bytes)
    }
}

impl AsRef<[u8]> for Bytes {
    fn as_ref(&self) -> &[u8] {
        self
    }
}
