//! A file as a sequence of tables, for data that are larger than memory.
//!
//! svmlight and delimited text are cut at the ends of rows and parsed some blocks at a time, each by the reader of whole
//! files; other formats come as one table. What a column holds is found out on the first block. Where a later one proves
//! it wrong (a text among numbers), the visitor starts anew with what is known now.

use std::collections::BTreeSet;
use std::io::Read;
use std::ops::Range;
use std::path::Path;

use rayon::prelude::*;

use super::place::Place;
use super::{
    Format, ReadOptions, bytes, check, check_features, check_target, delimited, labels, other_number, records, sniff,
    svmlight, target,
};
use crate::data::table::{Column, ColumnData, Contents, Labels, Table};
use crate::{Error, Result};

/// Bytes of text that one thread parses at a time: what is made of them fits the caches, and an allocator that keeps it for
/// the next block keeps little.
const BLOCK: usize = 1 << 20;
/// Bytes of the first block, which tells what the columns hold.
const FIRST: usize = 1 << 22;

/// Who is told of the blocks of a file.
pub(in crate::data) trait BlockVisitor {
    /// The next rows; `done` of `total` bytes of the file were read.
    fn block(&mut self, table: Table, done: u64, total: u64) -> Result<()>;
    /// Everything begins again.
    fn restart(&mut self) -> Result<()>;
}

/// A file that is read in blocks.
pub(in crate::data) struct Blocks<'a> {
    path: &'a Path,
    options: &'a ReadOptions,
    contents: bytes::Contents,
    format: Format,
    /// Labels from a file of their own.
    labels: Option<Labels>,
}

/// How text is cut and parsed.
enum Text {
    Svmlight { textual: bool },
    Delimited(delimited::Shape),
}

/// Columns that were taken for numbers and hold texts.
type Surprise = BTreeSet<usize>;

impl<'a> Blocks<'a> {
    /// Opens `path` and finds out its format.
    pub(in crate::data) fn open(path: &'a Path, options: &'a ReadOptions) -> Result<Self> {
        check_features(options)?;
        let contents = bytes::Contents::open(path)?;
        let mut head = Vec::new();
        let read = contents.reader().and_then(|(reader, _)| reader.take(1 << 17).read_to_end(&mut head));
        read.map_err(|error| contents.damaged(path, &error))?;
        if head.is_empty() {
            return Err(Error::input("the file is empty").in_file(path));
        }
        let format = match options.format {
            Some(format) => format,
            None => sniff::format(path, &head)?,
        };
        check_target(path, format, options)?;
        let labels = options.labels.as_deref().map(labels::read).transpose()?;
        Ok(Blocks { path, options, contents, format, labels })
    }

    /// Number of bytes of text, by a guess where the file is compressed.
    pub(in crate::data) fn size(&self) -> u64 {
        self.contents.sizes().1
    }

    /// Shows all blocks to `visitor`.
    pub(in crate::data) fn visit(self, visitor: &mut dyn BlockVisitor) -> Result<()> {
        let mut text = match self.format {
            Format::Svmlight => Text::Svmlight { textual: false },
            Format::Delimited => Text::Delimited(delimited::Shape::find(self.path, &self.head()?, self.options)?),
            _ => {
                let total = self.contents.sizes().0;
                let bytes = self.contents.load(self.path)?;
                let table = super::table_of(self.path, bytes, self.format, self.labels, self.options)?;
                return visitor.block(table, total, total);
            }
        };
        loop {
            let surprise = self.visit_text(&mut text, visitor)?;
            if surprise.is_empty() {
                return Ok(());
            }
            match &mut text {
                Text::Svmlight { textual } => *textual = true,
                Text::Delimited(shape) => surprise.iter().for_each(|&column| shape.textual[column] = true),
            }
            visitor.restart()?;
        }
    }

    /// The beginning of delimited text: two records at least, or all of it.
    fn head(&self) -> Result<Vec<u8>> {
        let damaged = |error| self.contents.damaged(self.path, &error);
        let (mut reader, _) = self.contents.reader().map_err(damaged)?;
        let (mut head, mut wanted) = (Vec::new(), FIRST);
        loop {
            let missing = (wanted - head.len()) as u64;
            if reader.by_ref().take(missing).read_to_end(&mut head).map_err(damaged)? as u64 != missing {
                return Ok(head);
            }
            let delimiter = delimited::delimiter(self.path, &head, self.options);
            let end = records::complete(&head, delimiter);
            if records::complete(&head[..end.saturating_sub(1)], delimiter) > 0 {
                head.truncate(end);
                return Ok(head);
            }
            wanted *= 2;
        }
    }

    /// All blocks, up to one that holds texts where there were numbers.
    fn visit_text(&self, text: &mut Text, visitor: &mut dyn BlockVisitor) -> Result<Surprise> {
        let (mut reader, done) = self.contents.reader().map_err(|error| self.contents.damaged(self.path, &error))?;
        let total = self.contents.sizes().0;
        let (mut rest, mut place, mut rows, mut ended) = (Vec::new(), Place::START, 0usize, false);
        // Text is read into the same memory again and again: between large vectors that come and go, what stays would lie
        // scattered, and an allocator could use little of what is free again.
        let mut spare: Vec<Vec<u8>> = Vec::new();
        while !ended {
            // The first rows alone tell what the columns hold.
            let (threads, size) = if rows == 0 { (1, FIRST) } else { (rayon::current_num_threads(), BLOCK) };
            let mut blocks: Vec<(Vec<u8>, Place)> = Vec::new();
            while blocks.len() < threads && !ended {
                let mut block = spare.pop().unwrap_or_default();
                block.clear();
                block.append(&mut rest);
                let mut wanted = size;
                loop {
                    let missing = wanted.saturating_sub(block.len()) as u64;
                    block.reserve_exact(missing as usize);
                    let read = reader.by_ref().take(missing).read_to_end(&mut block);
                    if read.map_err(|error| self.contents.damaged(self.path, &error))? as u64 != missing {
                        ended = true;
                        break;
                    }
                    let end = text.complete(&block);
                    if end > 0 {
                        rest.extend_from_slice(&block[end..]);
                        block.truncate(end);
                        break;
                    }
                    wanted *= 2;
                }
                let lines = memchr::memchr_iter(b'\n', &block).count() as u64;
                blocks.push((block, place));
                place = Place { line: place.line + lines, begins: false };
            }
            let parse = |(block, place): &(Vec<u8>, Place)| text.parse(self, block, *place);
            let tables: Vec<Result<Table>> = blocks.par_iter().map(parse).collect();
            spare.extend(blocks.into_iter().map(|(block, _)| block));
            for table in tables {
                let mut table = table?;
                let first = rows == 0;
                let surprise = text.surprise(&table);
                if first {
                    text.learn(surprise);
                } else if !surprise.is_empty() {
                    return Ok(surprise);
                }
                target::take(&mut table, self.options)?;
                let count = table.rows();
                if let Some(labels) = &self.labels {
                    let missing =
                        || other_number(&format!("{} or more", rows + count), labels.len(), self.path, self.options);
                    table.labels = Some(labels_of(labels, rows..rows + count).ok_or_else(missing)?);
                }
                rows += count;
                if count > 0 {
                    check(self.path, &table, self.options)?;
                    visitor.block(table, done.load(std::sync::atomic::Ordering::Relaxed), total)?;
                }
            }
        }
        if rows == 0 {
            return Err(Error::input("the file holds no rows, only comments and empty lines").in_file(self.path));
        }
        match &self.labels {
            Some(labels) if labels.len() != rows => {
                Err(other_number(&rows.to_string(), labels.len(), self.path, self.options))
            }
            _ => Ok(Surprise::new()),
        }
    }
}

impl Text {
    /// Length of the rows at the beginning of `block` that are complete.
    fn complete(&self, block: &[u8]) -> usize {
        match self {
            Text::Svmlight { .. } => memchr::memrchr(b'\n', block).map_or(0, |end| end + 1),
            Text::Delimited(shape) => records::complete(block, shape.delimiter),
        }
    }

    fn parse(&self, file: &Blocks<'_>, block: &[u8], place: Place) -> Result<Table> {
        match self {
            Text::Delimited(shape) => shape.columns(file.path, block, place),
            Text::Svmlight { textual } => {
                let part = svmlight::Part { place, textual: *textual };
                let (design, labels, origin) = svmlight::read_part(file.path, block, &part, file.options)?;
                Ok(Table {
                    origin,
                    format: Format::Svmlight,
                    contents: Contents::Matrix(design),
                    labels,
                    target_name: None,
                    named: false,
                    notes: Vec::new(),
                })
            }
        }
    }

    /// The columns of `table` that hold texts where numbers were expected; for svmlight column 0 is the label.
    fn surprise(&self, table: &Table) -> Surprise {
        match (self, &table.contents) {
            (Text::Delimited(shape), Contents::Columns(columns)) => {
                let text = |column: &Column| matches!(column.data, ColumnData::Text { .. });
                (0..columns.len()).filter(|&j| text(&columns[j]) && !shape.textual[j]).collect()
            }
            (Text::Svmlight { textual: false }, _) => match table.labels {
                Some(Labels::Text { .. }) => Surprise::from([0]),
                _ => Surprise::new(),
            },
            _ => Surprise::new(),
        }
    }

    fn learn(&mut self, found: Surprise) {
        match self {
            Text::Svmlight { textual } => *textual |= !found.is_empty(),
            Text::Delimited(shape) => found.into_iter().for_each(|column| shape.textual[column] = true),
        }
    }
}

/// The labels of these rows, where there are so many.
fn labels_of(labels: &Labels, rows: Range<usize>) -> Option<Labels> {
    Some(match labels {
        Labels::Numbers(values) => Labels::Numbers(values.get(rows)?.to_vec()),
        Labels::Text { codes, levels } => Labels::Text { codes: codes.get(rows)?.to_vec(), levels: levels.clone() },
    })
}
