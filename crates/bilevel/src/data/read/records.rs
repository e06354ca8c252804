//! The records of delimited text: where they end, and whether they have the form of the others.

use std::path::Path;

use csv::{ByteRecord, Reader, ReaderBuilder};

use crate::{Error, Result};

/// Rows looked at to find out whether there is a header.
const SAMPLE: usize = 200;

/// Some text of a file.
pub(super) struct File<'a> {
    pub(super) path: &'a Path,
    pub(super) text: &'a [u8],
    pub(super) delimiter: u8,
    pub(super) first_line: u64,
}

/// The first records of a file.
pub(super) struct Sample {
    /// The cells of each, from the first that is not empty on.
    pub(super) rows: Vec<Vec<Vec<u8>>>,
    /// Empty records before them.
    pub(super) empty: usize,
}

/// The length of the records at the beginning of `text` that are surely complete; 0 without any.
pub(super) fn complete(text: &[u8], delimiter: u8) -> usize {
    if memchr::memchr(b'"', text).is_none() {
        return memchr::memrchr(b'\n', text).map_or(0, |end| end + 1);
    }
    // A line may end within quotes: only reading tells.
    let file = File { path: Path::new(""), text, delimiter, first_line: 1 };
    let (mut reader, mut record, mut end) = (file.reader(), ByteRecord::new(), 0);
    while let Ok(true) = reader.read_byte_record(&mut record) {
        let next = reader.position().byte() as usize;
        if next >= text.len() {
            break;
        }
        end = next;
    }
    end
}

impl File<'_> {
    fn reader(&self) -> Reader<&[u8]> {
        ReaderBuilder::new()
            .delimiter(self.delimiter)
            .has_headers(false)
            .flexible(true)
            .buffer_capacity(1 << 16)
            .from_reader(self.text)
    }

    /// Calls `row` for each record behind the first `before`, with its first line and number of fields checked; stops when it
    /// returns `false`. Lines without fields are no records.
    pub(super) fn each(
        &self,
        width: usize,
        mut before: usize,
        mut row: impl FnMut(&ByteRecord, u64) -> Result<bool>,
    ) -> Result<()> {
        let (mut reader, mut record) = (self.reader(), ByteRecord::new());
        loop {
            let start = reader.position().byte() as usize;
            let line = reader.position().line() + self.first_line - 1;
            let more = reader
                .read_byte_record(&mut record)
                .map_err(|error| Error::input(error.to_string()).in_file(self.path).at_line(line))?;
            if !more {
                return Ok(());
            }
            if width > 1 && record.len() == 1 && record[0].trim_ascii().is_empty() {
                continue;
            }
            let end = reader.position().byte() as usize;
            let last_line = reader.position().line() + self.first_line - 1;
            if record.len() != width || end >= self.text.len() {
                // Empty lines before the record count as part of it.
                let raw = &self.text[start.min(end)..end.min(self.text.len())];
                self.check_shape(raw, line + blank_lines(raw), last_line, record.len(), width)?;
            }
            if before > 0 {
                before -= 1;
                continue;
            }
            let line = if matches!(self.text.get(start), Some(b'\n' | b'\r')) {
                line + blank_lines(&self.text[start..end])
            } else {
                line
            };
            if !row(&record, line)? {
                return Ok(());
            }
        }
    }

    /// Refuses the record `raw` of `fields` fields where others have `width`, or where its last quote is open.
    pub(super) fn check_shape(&self, raw: &[u8], line: u64, last: u64, fields: usize, width: usize) -> Result<()> {
        let at = |message: String| Error::input(message).in_file(self.path).at_line(line);
        if ends_within_quotes(raw, self.delimiter) || fields != width && has_odd_quotes(raw, self.delimiter) {
            return Err(at("a quote is opened in this row and never closed".into())
                .remedy("close the quote, or write a quote inside a field twice"));
        }
        if fields != width {
            let spread = if last > line + 1 { " (a quote in it spans several lines)" } else { "" };
            return Err(at(format!("the row has {fields} fields where the first row has {width}{spread}"))
                .remedy("check the delimiters and quotes of this row"));
        }
        Ok(())
    }

    /// The first rows.
    pub(super) fn sample(&self) -> Sample {
        let (mut rows, mut empty) = (Vec::new(), Vec::new());
        let (mut reader, mut record) = (self.reader(), ByteRecord::new());
        while rows.len() < SAMPLE && matches!(reader.read_byte_record(&mut record), Ok(true)) {
            if rows.is_empty() && record.iter().all(|cell| cell.trim_ascii().is_empty()) {
                empty.push(record.len());
                continue;
            }
            rows.push(record.iter().map(|cell| cell.trim_ascii().to_vec()).collect::<Vec<_>>());
        }
        let width = rows.first().map_or(0, Vec::len);
        // Lines without fields are no records, see `each`.
        let empty = empty.into_iter().filter(|&fields| fields > 1 || width == 1).count();
        Sample { rows, empty }
    }
}

/// Whether the last field of a record is in quotes that nothing closes.
fn ends_within_quotes(raw: &[u8], delimiter: u8) -> bool {
    let (mut begins, mut quoted) = (true, false);
    let mut bytes = raw.iter().copied().peekable();
    while let Some(byte) = bytes.next() {
        match byte {
            // A quote within quotes is written twice.
            b'"' if quoted => quoted = bytes.next_if_eq(&b'"').is_some(),
            _ if quoted => {}
            _ => quoted = byte == b'"' && begins,
        }
        begins = !quoted && (byte == delimiter || matches!(byte, b'\n' | b'\r'));
    }
    quoted
}

/// Whether some field of a record begins with a quote, and one of them may have no partner.
fn has_odd_quotes(raw: &[u8], delimiter: u8) -> bool {
    raw.iter().filter(|&&byte| byte == b'"').count() % 2 == 1
        && (raw.trim_ascii_start().starts_with(b"\"") || raw.windows(2).any(|pair| pair == [delimiter, b'"']))
}

/// Number of line ends before the first other byte.
fn blank_lines(raw: &[u8]) -> u64 {
    raw.iter().take_while(|byte| matches!(byte, b'\n' | b'\r')).filter(|&&byte| byte == b'\n').count() as u64
}
