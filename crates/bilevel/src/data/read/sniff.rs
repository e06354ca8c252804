//! Recognising the format of a file.

use std::path::Path;

use super::Format;
use super::number::{is_blank, parse};
use super::place::without_mark;
use crate::{Error, Result};

/// Bytes looked at.
const WINDOW: usize = 1 << 16;

/// The format of the file at `path` that holds `bytes`.
pub(super) fn format(path: &Path, bytes: &[u8]) -> Result<Format> {
    let name = path.file_name().map(|name| name.to_string_lossy().to_ascii_lowercase()).unwrap_or_default();
    if let Some(format) = by_magic(bytes) {
        return Ok(format);
    }
    for (ending, format) in
        [(".npy", Format::Npy), (".npz", Format::Npz), (".parquet", Format::Parquet), ("-ubyte", Format::Idx)]
    {
        if without_compression(&name).ends_with(ending) {
            return Ok(format);
        }
    }
    let head = &bytes[..bytes.len().min(WINDOW)];
    if bytes.get(257..262) == Some(b"ustar") {
        return Err(Error::input("this is a tar archive").in_file(path).remedy("unpack it and give the file inside"));
    }
    if head.starts_with(&[0xff, 0xfe]) || head.starts_with(&[0xfe, 0xff]) {
        return Err(Error::input("the text is encoded in UTF-16").in_file(path).remedy("convert it to UTF-8"));
    }
    if head.iter().any(|&byte| byte < 9 || (14..32).contains(&byte) || byte == 127) {
        let known = if cfg!(feature = "parquet") { "IDX or Parquet" } else { "or IDX" };
        return Err(Error::input("this is neither text nor a known binary format").in_file(path).remedy(format!(
            "give svmlight, CSV, .npy, .npz, {known}, plain or compressed with gzip, bzip2, xz or zstd"
        )));
    }
    match extension(without_compression(&name)) {
        "csv" | "tsv" => Ok(Format::Delimited),
        "svm" | "libsvm" | "svmlight" => Ok(Format::Svmlight),
        _ if looks_like_svmlight(without_mark(head), bytes.len() > head.len()) => Ok(Format::Svmlight),
        _ => Ok(Format::Delimited),
    }
}

/// `name` without an ending that only says how it is compressed.
pub(super) fn without_compression(name: &str) -> &str {
    [".gz", ".bz2", ".xz", ".zst"].iter().find_map(|ending| name.strip_suffix(ending)).unwrap_or(name)
}

fn extension(name: &str) -> &str {
    name.rsplit_once('.').map_or("", |(_, extension)| extension)
}

fn by_magic(bytes: &[u8]) -> Option<Format> {
    match bytes {
        [0x93, b'N', b'U', b'M', b'P', b'Y', ..] => Some(Format::Npy),
        [b'P', b'K', 3 | 5, 4 | 6, ..] => Some(Format::Npz),
        [b'P', b'A', b'R', b'1', ..] => Some(Format::Parquet),
        [0, 0, 8 | 9 | 11..=14, 1..=8, ..] => Some(Format::Idx),
        _ => None,
    }
}

/// True when the lines hold `index:value` after an optional label; lines of a label alone prove nothing.
fn looks_like_svmlight(head: &[u8], cut: bool) -> bool {
    let mut lines: Vec<&[u8]> = head.split(|&byte| byte == b'\n').collect();
    if cut && lines.len() > 1 {
        lines.pop();
    }
    for line in lines.into_iter().take(1000) {
        let mut tokens = line.split(|&byte| is_blank(byte)).filter(|token| !token.is_empty());
        let Some(first) = tokens.next() else { continue };
        if first.starts_with(b"#") {
            continue;
        }
        if is_pair(first) {
            return true;
        }
        match tokens.next() {
            Some(token) if is_pair(token) => return true,
            Some(_) => return false,
            None if first.iter().any(|byte| b",;|".contains(byte)) => return false,
            None => {}
        }
    }
    false
}

/// `12:0.5`, `0:1` or `qid:3`.
fn is_pair(token: &[u8]) -> bool {
    let mut parts = token.splitn(2, |&byte| byte == b':');
    match (parts.next(), parts.next()) {
        (Some(index), Some(value)) => {
            (index == b"qid" || !index.is_empty() && index.iter().all(u8::is_ascii_digit)) && parse(value).is_some()
        }
        _ => false,
    }
}
