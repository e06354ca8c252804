//! Rows as they were read, in a form that can be dealt out, packed into bytes and unpacked again.
//!
//! All tables are lists of fields: numbers with a fixed number for each row, or with as many as the field of lengths says.
//! Labels, where there are any, are the last field. Where single precision spoils the numbers of some rows, a field holds them
//! in double precision, and others in single precision may join it.

use std::collections::HashMap;

use super::packed::{pack, unpack};
use crate::data::csr::CsrMatrix;
use crate::data::dense::DenseMatrix;
use crate::data::design::{DesignMatrix, Precision};
use crate::data::read::Format;
use crate::data::span::Span;
use crate::data::table::{Column, ColumnData, Contents, Labels, MISSING, Origin, Table};

#[derive(Debug, Clone)]
enum Numbers {
    U32(Vec<u32>),
    F32(Vec<f32>),
    F64(Vec<f64>),
}

impl Numbers {
    /// Takes double precision where it is single.
    fn widen(&mut self) {
        if let Numbers::F32(values) = self {
            *self = Numbers::F64(values.iter().map(|&value| value.into()).collect());
        }
    }
}

macro_rules! each {
    ($numbers:expr, $vector:ident => $body:expr) => {
        match $numbers {
            Numbers::U32($vector) => $body,
            Numbers::F32($vector) => $body,
            Numbers::F64($vector) => $body,
        }
    };
}

/// How many numbers of a field belong to a row.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Width {
    Fixed(usize),
    /// As many as the number in [`LENGTHS`].
    Ragged,
}

/// The field of the lengths, where there is one.
const LENGTHS: usize = 0;

#[derive(Debug, Clone)]
struct Field {
    width: Width,
    numbers: Numbers,
}

/// Some rows.
#[derive(Debug, Clone)]
pub(super) struct Piece {
    rows: usize,
    fields: Vec<Field>,
}

/// Texts numbered as they come.
#[derive(Debug, Default)]
pub(super) struct Levels {
    known: HashMap<String, u32>,
    pub(super) names: Vec<String>,
}

impl Levels {
    /// `codes` for `levels` as codes for all texts so far.
    pub(super) fn codes(&mut self, codes: &[u32], levels: &[String]) -> Vec<u32> {
        let global: Vec<u32> = levels.iter().map(|level| self.code(level)).collect();
        codes.iter().map(|&code| if code == MISSING { MISSING } else { global[code as usize] }).collect()
    }

    /// A column of `codes` with the texts that it holds alone: of all texts of a file there may be as many as rows.
    fn in_use(&self, mut codes: Vec<u32>) -> ColumnData {
        let mut used: Vec<u32> = codes.iter().copied().filter(|&code| code != MISSING).collect();
        used.sort_unstable();
        used.dedup();
        let name = |code: u32| &self.names[code as usize];
        used.sort_unstable_by(|&a, &b| name(a).cmp(name(b)));
        let local: HashMap<u32, u32> = used.iter().copied().zip(0..).collect();
        codes.iter_mut().filter(|code| **code != MISSING).for_each(|code| *code = local[code]);
        ColumnData::Text { codes, levels: used.into_iter().map(|code| name(code).clone()).collect() }
    }

    fn code(&mut self, level: &str) -> u32 {
        if let Some(&code) = self.known.get(level) {
            return code;
        }
        let code = self.names.len() as u32;
        self.known.insert(level.to_string(), code);
        self.names.push(level.to_string());
        code
    }
}

/// What the pieces of a file have in common: the way between them and tables.
#[derive(Debug)]
pub(super) struct Template {
    origin: Origin,
    format: Format,
    named: bool,
    labels: LabelField,
    kind: Kind,
}

#[derive(Debug)]
enum LabelField {
    None,
    Numbers,
    Texts(Levels),
}

#[derive(Debug)]
enum Kind {
    Columns(Vec<(String, usize, Option<Levels>)>),
    Dense(usize),
    Csr(usize),
}

impl Template {
    /// For the file of which `table` is a block.
    pub(super) fn of(table: &Table) -> Self {
        let texts = |data: &ColumnData| matches!(data, ColumnData::Text { .. }).then(Levels::default);
        Template {
            origin: Origin::new(table.origin.path()),
            format: table.format,
            named: table.named,
            labels: match table.labels {
                None => LabelField::None,
                Some(Labels::Numbers(_)) => LabelField::Numbers,
                Some(Labels::Text { .. }) => LabelField::Texts(Levels::default()),
            },
            kind: match &table.contents {
                Contents::Columns(columns) => {
                    let column = |c: &Column| (c.name.clone(), c.number, texts(&c.data));
                    Kind::Columns(columns.iter().map(column).collect())
                }
                Contents::Matrix(matrix) if matrix.is_sparse() => Kind::Csr(0),
                Contents::Matrix(matrix) => Kind::Dense(matrix.cols()),
            },
        }
    }

    /// The rows of a block, which has labels of the kind of the first block, or none as that. Numeric columns will be stored in
    /// `precision`, by what is known so far.
    pub(super) fn piece(&mut self, table: Table, precision: Precision) -> Piece {
        let rows = table.rows();
        let mut fields = Vec::new();
        let mut add = |width, numbers| fields.push(Field { width, numbers });
        match (table.contents, &mut self.kind) {
            (Contents::Columns(columns), Kind::Columns(known)) => {
                for (column, (_, _, levels)) in columns.into_iter().zip(known) {
                    let numbers = match (column.data, levels) {
                        (ColumnData::Text { codes, levels }, Some(known)) => Numbers::U32(known.codes(&codes, &levels)),
                        (ColumnData::Numeric(values), _) => match precision {
                            Precision::F32 if !is_for_double(&values) => {
                                Numbers::F32(values.into_iter().map(|value| value as f32).collect())
                            }
                            _ => Numbers::F64(values),
                        },
                        _ => unreachable!("a column is of one kind in all blocks"),
                    };
                    add(Width::Fixed(1), numbers);
                }
            }
            (Contents::Matrix(matrix), kind) => {
                if let Kind::Csr(width) = kind {
                    *width = matrix.cols().max(*width);
                }
                let cols = matrix.cols();
                match matrix {
                    DesignMatrix::DenseF32(m) => add(Width::Fixed(cols), Numbers::F32(m.into_values())),
                    DesignMatrix::DenseF64(m) => add(Width::Fixed(cols), Numbers::F64(m.into_values())),
                    DesignMatrix::Coded(m) => add(Width::Fixed(cols), Numbers::F32(m.decode().into_values())),
                    DesignMatrix::CsrF32(m) => ragged(m, Numbers::F32, &mut add),
                    DesignMatrix::CsrF64(m) => ragged(m, Numbers::F64, &mut add),
                }
            }
            _ => unreachable!("the blocks of a file are of one kind"),
        }
        match (table.labels, &mut self.labels) {
            (None, LabelField::None) => {}
            (Some(Labels::Numbers(values)), LabelField::Numbers) => add(Width::Fixed(1), Numbers::F64(values)),
            (Some(Labels::Text { codes, levels }), LabelField::Texts(known)) => {
                add(Width::Fixed(1), Numbers::U32(known.codes(&codes, &levels)));
            }
            _ => unreachable!("all rows have labels of one kind"),
        }
        Piece { rows, fields }
    }

    /// The rows as a table.
    pub(super) fn table(&self, piece: Piece) -> Table {
        let mut fields = piece.fields.into_iter().map(|field| field.numbers);
        let mut next = || fields.next().expect("a piece has all fields");
        let contents = match &self.kind {
            Kind::Columns(columns) => {
                let column = |(name, number, levels): &(String, usize, Option<Levels>)| {
                    let data = match (next(), levels) {
                        (Numbers::F64(values), _) => ColumnData::Numeric(values),
                        (Numbers::F32(values), _) => ColumnData::Numeric(values.into_iter().map(f64::from).collect()),
                        (Numbers::U32(codes), Some(levels)) => levels.in_use(codes),
                        _ => unreachable!("numbers or codes"),
                    };
                    Column { name: name.clone(), number: *number, data }
                };
                Contents::Columns(columns.iter().map(column).collect())
            }
            Kind::Dense(cols) => Contents::Matrix(match next() {
                Numbers::F32(values) => DesignMatrix::DenseF32(DenseMatrix::new(piece.rows, *cols, values)),
                Numbers::F64(values) => DesignMatrix::DenseF64(DenseMatrix::new(piece.rows, *cols, values)),
                Numbers::U32(_) => unreachable!("entries are no codes"),
            }),
            Kind::Csr(cols) => {
                let (Numbers::U32(lengths), Numbers::U32(indices)) = (next(), next()) else {
                    unreachable!("lengths and indices are u32")
                };
                let mut offsets = vec![0];
                let mut end = 0;
                offsets.extend(lengths.iter().map(|&length| {
                    end += length as usize;
                    end
                }));
                Contents::Matrix(match next() {
                    Numbers::F32(values) => DesignMatrix::CsrF32(CsrMatrix::new(*cols, offsets, indices, values)),
                    Numbers::F64(values) => DesignMatrix::CsrF64(CsrMatrix::new(*cols, offsets, indices, values)),
                    Numbers::U32(_) => unreachable!("entries are no codes"),
                })
            }
        };
        let labels = match &self.labels {
            LabelField::None => None,
            labels => Some(match (next(), labels) {
                (Numbers::F64(values), LabelField::Numbers) => Labels::Numbers(values),
                (Numbers::U32(codes), LabelField::Texts(levels)) => {
                    Labels::Text { codes, levels: levels.names.clone() }
                }
                _ => unreachable!("labels are numbers or codes"),
            }),
        };
        Table {
            origin: self.origin.clone(),
            format: self.format,
            contents,
            labels,
            target_name: None,
            named: self.named,
            notes: Vec::new(),
        }
    }
}

/// Whether numbers must wait in double precision: single precision might spoil them once others follow, or cannot hold them,
/// which is refused later on, and as they were written.
fn is_for_double(values: &[f64]) -> bool {
    values.iter().any(|value| value.abs() > f64::from(f32::MAX)) || Span::of(values).is_spoiled()
}

fn ragged<T: crate::data::Element>(
    matrix: CsrMatrix<T>,
    wrap: fn(Vec<T>) -> Numbers,
    add: &mut impl FnMut(Width, Numbers),
) {
    let lengths = (0..matrix.rows()).map(|i| matrix.row(i).0.len() as u32).collect();
    add(Width::Fixed(1), Numbers::U32(lengths));
    let (indices, values) = matrix.into_entries();
    add(Width::Ragged, Numbers::U32(indices));
    add(Width::Ragged, wrap(values));
}

impl Piece {
    /// A piece without rows that is to hold rows of `self`.
    pub(super) fn empty(&self) -> Piece {
        let fields = self.fields.iter().map(|field| Field {
            width: field.width,
            numbers: match field.numbers {
                Numbers::U32(_) => Numbers::U32(Vec::new()),
                Numbers::F32(_) => Numbers::F32(Vec::new()),
                Numbers::F64(_) => Numbers::F64(Vec::new()),
            },
        });
        Piece { rows: 0, fields: fields.collect() }
    }

    /// Number of rows.
    pub(super) fn rows(&self) -> usize {
        self.rows
    }

    /// Bytes of all numbers.
    pub(super) fn bytes(&self) -> usize {
        self.fields.iter().map(|field| each!(&field.numbers, numbers => size_of_val(&numbers[..]))).sum()
    }

    /// First number of each row in the ragged fields; nothing where there are none.
    pub(super) fn starts(&self) -> Vec<usize> {
        let lengths = match self.fields.get(LENGTHS + 1) {
            Some(Field { width: Width::Ragged, .. }) => &self.fields[LENGTHS].numbers,
            _ => return Vec::new(),
        };
        let Numbers::U32(lengths) = lengths else { unreachable!("lengths are u32") };
        let mut end = 0;
        let ends = lengths.iter().map(|&length| {
            end += length as usize;
            end
        });
        std::iter::once(0).chain(ends).collect()
    }

    /// Appends the rows `rows` of `source`, whose [`Piece::starts`] are `starts`.
    pub(super) fn extend(&mut self, source: &Piece, starts: &[usize], rows: &[u32]) {
        fn copy<T: Copy, U: From<T>>(to: &mut Vec<U>, from: &[T], width: Width, starts: &[usize], rows: &[u32]) {
            let mut add = |numbers: &[T]| to.extend(numbers.iter().map(|&number| U::from(number)));
            match width {
                Width::Fixed(1) => to.extend(rows.iter().map(|&row| U::from(from[row as usize]))),
                Width::Fixed(width) => rows.iter().for_each(|&row| add(&from[row as usize * width..][..width])),
                Width::Ragged => {
                    rows.iter().for_each(|&row| add(&from[starts[row as usize]..starts[row as usize + 1]]));
                }
            }
        }
        self.rows += rows.len();
        for (field, from) in self.fields.iter_mut().zip(&source.fields) {
            if let Numbers::F64(_) = from.numbers {
                field.numbers.widen();
            }
            match (&mut field.numbers, &from.numbers) {
                (Numbers::U32(to), Numbers::U32(from)) => copy(to, from, field.width, starts, rows),
                (Numbers::F32(to), Numbers::F32(from)) => copy(to, from, field.width, starts, rows),
                (Numbers::F64(to), Numbers::F64(from)) => copy(to, from, field.width, starts, rows),
                (Numbers::F64(to), Numbers::F32(from)) => copy(to, from, field.width, starts, rows),
                _ => unreachable!("pieces of one file have the same fields"),
            }
        }
    }

    /// Numbers in each field.
    pub(super) fn counts(&self) -> impl Iterator<Item = usize> {
        self.fields.iter().map(|field| each!(&field.numbers, numbers => numbers.len()))
    }

    /// Makes room for `counts` more numbers in the fields.
    pub(super) fn reserve(&mut self, counts: &[usize]) {
        for (field, &count) in self.fields.iter_mut().zip(counts) {
            each!(&mut field.numbers, numbers => numbers.reserve_exact(count));
        }
    }

    /// Appends the rows to `out` and forgets them.
    pub(super) fn pack_to(&mut self, out: &mut Vec<u8>) {
        out.extend_from_slice(&(self.rows as u64).to_le_bytes());
        for field in &mut self.fields {
            out.push(u8::from(matches!(field.numbers, Numbers::F64(_))));
            each!(&mut field.numbers, numbers => {
                pack(numbers, out);
                numbers.clear();
            });
        }
        self.rows = 0;
    }

    /// Appends what was packed by [`Piece::pack_to`]; `None` where something else was.
    pub(super) fn unpack(&mut self, mut packed: &[u8]) -> Option<()> {
        let rows = packed.split_off(..8)?;
        self.rows += u64::from_le_bytes(rows.try_into().ok()?) as usize;
        for field in &mut self.fields {
            let is_double = packed.split_off(..1)? == [1];
            if is_double {
                field.numbers.widen();
            }
            match &mut field.numbers {
                Numbers::F64(numbers) if !is_double => {
                    let mut single = Vec::<f32>::new();
                    unpack(&mut packed, &mut single)?;
                    numbers.extend(single.into_iter().map(f64::from));
                }
                numbers => each!(numbers, numbers => unpack(&mut packed, numbers)?),
            }
        }
        packed.is_empty().then_some(())
    }
}
