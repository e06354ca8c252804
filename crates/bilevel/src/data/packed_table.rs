//! From a file to its design matrix in little more memory than the matrix takes.
//!
//! What a column means is known at the end of a file, so its cells must wait somewhere. They wait block by block, packed in
//! the fewest bytes that lose nothing, outside of the heap: a block that has been encoded is given back to the system at
//! once, and the matrix takes its place. A file of one block is encoded as it is.

use std::path::Path;

use memmap2::{Mmap, MmapMut};
use rayon::prelude::*;

use super::design::{DesignMatrix, Precision};
use super::encode::{EncodeOptions, Encoded, Encoder};
use super::learn::EncoderLearner;
use super::piece::{Levels, Piece, Template};
use super::read::{BlockVisitor, Blocks, Format, ReadOptions};
use super::table::{Labels, MISSING, Origin, Table};
use crate::{Error, Result};

/// A file as it was read, whose features wait until it is known how to encode them.
#[derive(Debug)]
pub struct PackedTable {
    /// Where the rows came from, for messages.
    pub origin: Origin,
    /// Format in which the file was written.
    pub format: Format,
    /// What is to be predicted, one entry per row, if the file (or the labels file) has it.
    pub labels: Option<Labels>,
    /// Name of the target column, where the format names it.
    pub target_name: Option<String>,
    /// True when the columns were named by the file.
    pub named: bool,
    /// Choices made for the user that he may want to know about.
    pub notes: Vec<String>,
    encoder: Encoder,
    waiting: Waiting,
}

impl PackedTable {
    /// Reads `path`, from which an encoder is learned.
    ///
    /// # Errors
    /// Those of [`read`](super::read()) and [`Encoder::learn`].
    pub fn read(path: &Path, read: &ReadOptions, encode: &EncodeOptions) -> Result<Self> {
        let mut packing = Packing { encode: *encode, room: Vec::new(), found: None };
        Blocks::open(path, read)?.visit(&mut packing)?;
        let found = packing.found.ok_or_else(|| no_rows(path))?;
        let (encoder, _) = found.learner.finish(path)?;
        let notes = [found.notes, encoder.doubts(found.side.rows)].concat();
        Ok(PackedTable {
            origin: found.side.origin,
            labels: found.side.labels.and_then(LabelStack::finish),
            format: found.format,
            target_name: found.target_name,
            named: found.named,
            notes,
            encoder,
            waiting: found.waiting,
        })
    }

    /// What was learned from the file.
    pub fn encoder(&self) -> &Encoder {
        &self.encoder
    }

    /// The design matrix; see [`Encoder::encode`].
    ///
    /// # Errors
    /// Those of [`Encoder::encode`].
    pub fn encode(self) -> Result<Encoded> {
        let design = match self.waiting {
            Waiting::Nothing => return Err(no_rows(self.origin.path())),
            Waiting::Whole(table) => self.encoder.encode_rows(table)?,
            Waiting::Packed(template, blocks) => encode_blocks(&template, blocks, &self.encoder)?,
        };
        Ok(self.encoder.encoded(design, self.labels, self.origin))
    }
}

/// Reads `path` into a design matrix of `encoder`, block by block.
pub(super) fn encode_file(encoder: &Encoder, path: &Path, read: &ReadOptions) -> Result<Encoded> {
    let mut direct = Direct { encoder, design: None, side: Side::new(path) };
    let known = read.known.clone().or_else(|| encoder.known_columns());
    // What is stored in double precision must not pass through single precision.
    let options = ReadOptions { known, exclude: Vec::new(), precision: encoder.precision(), ..read.clone() };
    Blocks::open(path, &options)?.visit(&mut direct)?;
    let Direct { design, side, .. } = direct;
    Ok(encoder.encoded(design.ok_or_else(|| no_rows(path))?, side.labels.and_then(LabelStack::finish), side.origin))
}

fn no_rows(path: &Path) -> Error {
    Error::input("the file holds no rows").in_file(path)
}

/// The features of all rows.
#[derive(Debug)]
enum Waiting {
    Nothing,
    /// One block.
    Whole(Table),
    Packed(Template, Vec<Packed>),
}

impl Waiting {
    /// Puts `table` behind the rows that wait, which are packed once they are more than one block; `room` is memory that is
    /// used again from block to block.
    fn push(&mut self, table: Table, precision: Precision, room: &mut Vec<u8>) -> Result<()> {
        *self = match std::mem::replace(self, Waiting::Nothing) {
            Waiting::Nothing => Waiting::Whole(table),
            Waiting::Whole(first) => {
                let mut template = Template::of(&first);
                let blocks = [first, table].into_iter().map(|table| Packed::new(&mut template, table, precision, room));
                let blocks = blocks.collect::<Result<_>>()?;
                Waiting::Packed(template, blocks)
            }
            Waiting::Packed(mut template, mut blocks) => {
                blocks.push(Packed::new(&mut template, table, precision, room)?);
                Waiting::Packed(template, blocks)
            }
        };
        Ok(())
    }
}

/// The features of some rows.
#[derive(Debug)]
struct Packed {
    origin: Origin,
    /// What kind of numbers the fields hold.
    fields: Piece,
    bytes: Mmap,
}

impl Packed {
    fn new(template: &mut Template, table: Table, precision: Precision, room: &mut Vec<u8>) -> Result<Self> {
        let origin = table.origin.clone();
        let mut piece = template.piece(table, precision);
        let fields = piece.empty();
        room.clear();
        piece.pack_to(room);
        let map = MmapMut::map_anon(room.len()).and_then(|mut map| {
            map.copy_from_slice(room);
            map.make_read_only()
        });
        let bytes = map.map_err(|error| Error::io(origin.path(), &error))?;
        Ok(Packed { origin, fields, bytes })
    }

    fn encode(mut self, template: &Template, encoder: &Encoder) -> Result<DesignMatrix> {
        self.fields.unpack(&self.bytes).expect("packed above");
        drop(self.bytes);
        let table = Table { origin: self.origin, ..template.table(self.fields) };
        encoder.encode_rows(table)
    }
}

/// One block after the other, as many at a time as there are threads.
fn encode_blocks(template: &Template, blocks: Vec<Packed>, encoder: &Encoder) -> Result<DesignMatrix> {
    let mut design: Option<DesignMatrix> = None;
    let mut blocks = blocks.into_iter();
    loop {
        let some: Vec<Packed> = blocks.by_ref().take(rayon::current_num_threads()).collect();
        if some.is_empty() {
            return Ok(design.expect("a file has one block at least"));
        }
        let ready: Vec<_> = some.into_par_iter().map(|block| block.encode(template, encoder)).collect();
        for more in ready {
            append(&mut design, more?);
        }
    }
}

fn append(design: &mut Option<DesignMatrix>, more: DesignMatrix) {
    match design {
        Some(design) => design.append(&more),
        None => *design = Some(more),
    }
}

/// What is kept beside the features.
struct Side {
    rows: usize,
    origin: Origin,
    labels: Option<LabelStack>,
}

impl Side {
    fn new(path: &Path) -> Self {
        Side { rows: 0, origin: Origin::new(path), labels: None }
    }

    /// Takes the labels of `table` and notes where its rows stand.
    fn take(&mut self, table: &mut Table) {
        self.origin.append(self.rows, &table.origin);
        let labels = table.labels.take();
        self.labels = Some(match self.labels.take() {
            None => LabelStack::new(labels),
            Some(stack) => stack.push(labels),
        });
        self.rows += table.rows();
    }
}

/// The labels of one block after the other.
enum LabelStack {
    /// Some block had none, and then the file has none.
    None,
    Numbers(Vec<f64>),
    Texts(Vec<u32>, Levels),
}

impl LabelStack {
    fn new(labels: Option<Labels>) -> Self {
        let empty = match labels {
            None => return LabelStack::None,
            Some(Labels::Numbers(_)) => LabelStack::Numbers(Vec::new()),
            Some(Labels::Text { .. }) => LabelStack::Texts(Vec::new(), Levels::default()),
        };
        empty.push(labels)
    }

    fn push(self, labels: Option<Labels>) -> Self {
        match (self, labels) {
            (LabelStack::Numbers(mut values), Some(Labels::Numbers(more))) => {
                values.extend(more);
                LabelStack::Numbers(values)
            }
            (LabelStack::Texts(mut codes, mut known), Some(Labels::Text { codes: more, levels })) => {
                codes.extend(known.codes(&more, &levels));
                LabelStack::Texts(codes, known)
            }
            _ => LabelStack::None,
        }
    }

    /// All labels, texts in order.
    fn finish(self) -> Option<Labels> {
        match self {
            LabelStack::None => None,
            LabelStack::Numbers(values) => Some(Labels::Numbers(values)),
            LabelStack::Texts(mut codes, known) => {
                let mut levels = known.names.clone();
                levels.sort();
                let place = |name: &String| levels.partition_point(|level| level < name) as u32;
                let places: Vec<u32> = known.names.iter().map(place).collect();
                codes.iter_mut().filter(|code| **code != MISSING).for_each(|code| *code = places[*code as usize]);
                Some(Labels::Text { codes, levels })
            }
        }
    }
}

/// Learns an encoder and packs the blocks.
struct Packing {
    encode: EncodeOptions,
    room: Vec<u8>,
    found: Option<Found>,
}

struct Found {
    learner: EncoderLearner,
    side: Side,
    format: Format,
    target_name: Option<String>,
    named: bool,
    notes: Vec<String>,
    waiting: Waiting,
}

impl BlockVisitor for Packing {
    fn block(&mut self, mut table: Table, _done: u64, _total: u64) -> Result<()> {
        let found = self.found.get_or_insert_with(|| Found {
            learner: EncoderLearner::new(&self.encode),
            side: Side::new(table.origin.path()),
            format: table.format,
            target_name: table.target_name.clone(),
            named: table.named,
            notes: table.notes.clone(),
            waiting: Waiting::Nothing,
        });
        found.side.take(&mut table);
        found.learner.add(&table);
        found.waiting.push(table, found.learner.precision(), &mut self.room)
    }

    fn restart(&mut self) -> Result<()> {
        self.found = None;
        Ok(())
    }
}

/// Encodes the blocks as they come.
struct Direct<'a> {
    encoder: &'a Encoder,
    design: Option<DesignMatrix>,
    side: Side,
}

impl BlockVisitor for Direct<'_> {
    fn block(&mut self, mut table: Table, _done: u64, _total: u64) -> Result<()> {
        self.side.take(&mut table);
        append(&mut self.design, self.encoder.encode_rows(table)?);
        Ok(())
    }

    fn restart(&mut self) -> Result<()> {
        self.design = None;
        self.side = Side::new(self.side.origin.path());
        Ok(())
    }
}
