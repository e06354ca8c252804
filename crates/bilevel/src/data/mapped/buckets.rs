//! A uniform shuffle of more rows than fit in memory.
//!
//! Every row goes to a bucket drawn uniformly, and every bucket is shuffled on its own: as if all rows were sorted by
//! random numbers of which the bucket is the leading digit. All orders are equally likely, and the sizes of the buckets
//! are as random as they must be.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use crate::data::piece::Piece;
use crate::sample::{Purpose, Rng};

/// Bytes that a bucket holds on average, up to [`MOST`] buckets.
pub(super) const BUCKET: u64 = 1 << 25;
/// Largest number of buckets.
const MOST: u64 = 256;
/// Bytes of a bucket that wait in memory to be written.
const WAITING: usize = 1 << 18;
/// Streams of random numbers from here on: those below belong to the parts of a data set.
const STREAMS: u64 = 1 << 33;

/// Files that rows are dealt to. They are gone when this is dropped, or with the program.
pub(super) struct Buckets {
    seed: u64,
    rng: Rng,
    files: Vec<File>,
    waiting: Vec<Piece>,
    paths: Vec<PathBuf>,
    dealt: Vec<Vec<u32>>,
    /// Numbers in each field of the rows that were written.
    written: Vec<Vec<usize>>,
    packed: Vec<u8>,
}

impl Buckets {
    /// Buckets beside `output` for about `bytes` bytes of rows.
    pub(super) fn create(output: &Path, bytes: u64, seed: u64) -> io::Result<Self> {
        Self::create_some(output, bytes.div_ceil(BUCKET).clamp(1, MOST) as usize, seed)
    }

    fn create_some(output: &Path, count: usize, seed: u64) -> io::Result<Self> {
        let name = output.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let rng = Rng::stream(seed, Purpose::Split, STREAMS);
        let mut this = Buckets {
            seed,
            rng,
            files: Vec::new(),
            waiting: Vec::new(),
            paths: Vec::new(),
            dealt: vec![Vec::new(); count],
            written: Vec::new(),
            packed: Vec::new(),
        };
        for index in 0..count {
            let path = output.with_file_name(format!(".{name}.{}.{index}.part", std::process::id()));
            this.files.push(OpenOptions::new().read(true).write(true).create(true).truncate(true).open(&path)?);
            // A file without a name goes with the program, however that ends.
            if cfg!(not(unix)) || std::fs::remove_file(&path).is_err() {
                this.paths.push(path);
            }
        }
        Ok(this)
    }

    /// Number of buckets.
    pub(super) fn len(&self) -> usize {
        self.files.len()
    }

    /// Forgets all rows.
    pub(super) fn clear(&mut self) -> io::Result<()> {
        self.rng = Rng::stream(self.seed, Purpose::Split, STREAMS);
        self.waiting.clear();
        for file in &mut self.files {
            file.set_len(0)?;
            file.seek(SeekFrom::Start(0))?;
        }
        Ok(())
    }

    /// Deals the rows of `piece` to the buckets.
    pub(super) fn deal(&mut self, piece: &Piece) -> io::Result<()> {
        if self.waiting.is_empty() {
            self.waiting = vec![piece.empty(); self.files.len()];
            self.written = vec![piece.counts().map(|_| 0).collect(); self.files.len()];
        }
        self.dealt.iter_mut().for_each(Vec::clear);
        for row in 0..piece.rows() as u32 {
            let bucket = if self.files.len() == 1 { 0 } else { self.rng.below(self.files.len()) };
            self.dealt[bucket].push(row);
        }
        let starts = piece.starts();
        for index in 0..self.files.len() {
            self.waiting[index].extend(piece, &starts, &self.dealt[index]);
            if self.waiting[index].bytes() >= WAITING {
                self.write(index)?;
            }
        }
        Ok(())
    }

    /// Writes the rows of the bucket `index` that wait, behind the number of their bytes.
    fn write(&mut self, index: usize) -> io::Result<()> {
        let (waiting, written) = (&mut self.waiting[index], &mut self.written[index]);
        written.iter_mut().zip(waiting.counts()).for_each(|(written, more)| *written += more);
        self.packed.clear();
        self.packed.extend_from_slice(&[0; 8]);
        waiting.pack_to(&mut self.packed);
        let bytes = self.packed.len() as u64 - 8;
        self.packed[..8].copy_from_slice(&bytes.to_le_bytes());
        self.files[index].write_all(&self.packed)
    }

    /// Writes the rows that wait.
    pub(super) fn flush(&mut self) -> io::Result<()> {
        (0..self.files.len()).try_for_each(|index| self.write(index))
    }

    /// The rows of the bucket `index` in random order.
    pub(super) fn shuffled(&self, index: usize) -> io::Result<Piece> {
        let mut file = &self.files[index];
        file.seek(SeekFrom::Start(0))?;
        let mut rows = self.waiting[index].empty();
        rows.reserve(&self.written[index]);
        let (mut bytes, mut packed) = ([0; 8], Vec::new());
        loop {
            match file.read_exact(&mut bytes) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => break,
                Err(error) => return Err(error),
            }
            packed.resize(u64::from_le_bytes(bytes) as usize, 0);
            file.read_exact(&mut packed)?;
            rows.unpack(&packed).ok_or(io::ErrorKind::InvalidData)?;
        }
        let mut order: Vec<u32> = (0..rows.rows() as u32).collect();
        Rng::stream(self.seed, Purpose::Split, STREAMS + 1 + index as u64).shuffle(&mut order);
        let mut shuffled = rows.empty();
        shuffled.reserve(&self.written[index]);
        shuffled.extend(&rows, &rows.starts(), &order);
        Ok(shuffled)
    }
}

impl Drop for Buckets {
    fn drop(&mut self) {
        self.paths.iter().for_each(|path| drop(std::fs::remove_file(path)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::piece::Template;
    use crate::data::{Column, ColumnData, Contents, Format, Labels, Origin, Precision, Table};

    fn order(count: usize, seed: u64) -> Vec<f64> {
        let output = std::env::temp_dir().join(format!("bilevel-buckets-{seed}-{count}"));
        let mut buckets = Buckets::create_some(&output, count, seed).unwrap();
        let column = |values: Vec<f64>| Column { name: "x".into(), number: 1, data: ColumnData::Numeric(values) };
        let table = |values: Vec<f64>| Table {
            origin: Origin::new("x.csv"),
            format: Format::Delimited,
            contents: Contents::Columns(vec![column(values.clone())]),
            labels: Some(Labels::Numbers(values)),
            target_name: None,
            named: true,
            notes: Vec::new(),
        };
        let mut template = Template::of(&table(vec![0.0]));
        for block in [vec![0.0], vec![1.0, 2.0], vec![3.0]] {
            buckets.deal(&template.piece(table(block), Precision::F32)).unwrap();
        }
        buckets.flush().unwrap();
        (0..count)
            .flat_map(|index| {
                let Some(Labels::Numbers(values)) = template.table(buckets.shuffled(index).unwrap()).labels else {
                    panic!("labels are numbers")
                };
                values
            })
            .collect()
    }

    /// All 24 orders of four rows occur equally often, whatever the number of buckets: chi-squared with 23 degrees of
    /// freedom is below 49.7 with probability 0.999.
    #[test]
    fn all_orders_are_equally_likely() {
        for count in [1, 2, 3, 7] {
            let mut found = std::collections::HashMap::new();
            let trials = 2400;
            for seed in 0..trials {
                let order = order(count, seed);
                let mut sorted = order.clone();
                sorted.sort_by(f64::total_cmp);
                assert_eq!(sorted, [0.0, 1.0, 2.0, 3.0], "every row once");
                *found.entry(order.iter().fold(0, |key, row| 4 * key + *row as u32)).or_insert(0.0) += 1.0;
            }
            let expected = f64::from(trials as u32) / 24.0;
            let missing = (24 - found.len()) as f64 * expected;
            let chi: f64 =
                missing + found.values().map(|n: &f64| (n - expected) * (n - expected) / expected).sum::<f64>();
            assert!(chi < 49.7, "{count} buckets: chi-squared {chi}");
        }
    }
}
