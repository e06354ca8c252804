//! How the numbers of several outputs lie for products with rows.
//!
//! Some outputs at a time form a panel, as many as have sums that fit into the registers. Its numbers lie side by side in the order
//! in which products read them (Goto and van de Geijn 2008, Anatomy of high-performance matrix multiplication, section 5). A
//! sample of few rows is multiplied in hardly more time than it takes to pack and unpack them one by one, so that is done by small
//! blocks, which are transposed in the registers.

use std::array;
use std::ops::Range;

use super::lanes::{Number, narrow};
use super::transpose::{Block, SIDE};
use crate::company;
use crate::scratch::scratch;
use crate::simd::{register_bytes, vectorize};
use crate::vector;

/// Outputs of a panel at most.
pub(super) const WIDEST: usize = 6;

/// Columns of numbers `shift_j + scale_j x_ij`, with entries `x_ij` as they are stored.
pub(super) trait Columns: Sync {
    /// All `shift_j`, and all `scale_j`; nothing where entries are numbers as they are.
    fn grid(&self) -> Option<(&[f64], &[f64])>;
}

/// Outputs in panels of about the same width, and columns in chunks of `L`.
///
/// Of each panel, packed numbers are `L` columns of its first output, of the next, and so on, then the next columns. The last chunk
/// ends with the columns, of which there are at least `L`, and where it overlaps the one before its weights are zero.
#[derive(Debug, Clone, Copy)]
pub(super) struct Panels<const L: usize> {
    pub cols: usize,
    pub outputs: usize,
    /// How many panels there are.
    pub count: usize,
}

/// Up to [`SIDE`] outputs in packed numbers.
struct Lines {
    /// The first of them.
    first: usize,
    /// How many they are.
    count: usize,
    /// The first chunk of each, and the distance to its next one.
    places: [(usize, usize); SIDE],
}

impl<const L: usize> Panels<L> {
    pub fn new(cols: usize, outputs: usize) -> Self {
        // A chunk is one register of AVX-512. With half as many, each half as long, the sums of one output fill them.
        let widest = if register_bytes() < 32 * 64 { 1 } else { WIDEST };
        Panels { cols, outputs, count: outputs.div_ceil(widest) }
    }

    /// Chunks of `L` packed numbers in all.
    pub fn len(self) -> usize {
        self.outputs * self.chunks()
    }

    fn chunks(self) -> usize {
        self.cols.div_ceil(L).max(1)
    }

    /// The outputs of the `k`-th panel.
    #[inline(always)]
    pub fn panel(self, k: usize) -> Range<usize> {
        k * self.outputs / self.count..(k + 1) * self.outputs / self.count
    }

    /// The outputs of each panel.
    #[inline(always)]
    pub fn ranges(self) -> impl Iterator<Item = Range<usize>> {
        (0..self.count).map(move |k| self.panel(k))
    }

    /// The packed numbers of a panel.
    #[inline(always)]
    pub fn packed(self, panel: &Range<usize>) -> Range<usize> {
        panel.start * self.chunks()..panel.end * self.chunks()
    }

    fn lines(self, first: usize) -> Lines {
        let count = SIDE.min(self.outputs - first);
        let places = array::from_fn(|k| {
            let output = first + k.min(count - 1);
            let panel = self.ranges().find(|panel| panel.contains(&output)).expect("all outputs are in a panel");
            (self.packed(&panel).start + output - panel.start, panel.len())
        });
        Lines { first, count, places }
    }

    /// Of a chunk, its columns, and the lane of the first of them.
    #[inline(always)]
    fn columns(self, chunk: usize) -> (Range<usize>, usize) {
        let columns = chunk * L..((chunk + 1) * L).min(self.cols);
        let idle = if chunk == 0 { 0 } else { L - columns.len() };
        (columns, idle)
    }

    /// Packs `scale_j w_jc` for `weights` of `outputs` numbers a column, and adds `shift_j w_jc` to `offsets[c]`.
    pub fn pack<N: Number>(self, weights: &[f64], columns: &impl Columns, packed: &mut [[N; L]], offsets: &mut [f64]) {
        let weights = &weights[..self.cols * self.outputs];
        let grid = columns.grid();
        // Behind the last outputs of the last column some more numbers are read.
        scratch(weights.len() + SIDE + grid.map_or(0, |_| self.cols), |narrowed: &mut [N]| {
            let (narrowed, scales) = narrowed.split_at_mut(weights.len() + SIDE);
            vectorize(
                #[inline(always)]
                || {
                    narrow(weights, narrowed);
                    narrowed[weights.len()..].fill(N::default());
                    if let Some((_, wide)) = grid {
                        narrow(wide, scales);
                    }
                    if !self.cols.is_multiple_of(L) {
                        packed.as_flattened_mut().fill(N::default());
                    }
                },
            );
            let scales = grid.map(|_| &*scales);
            vectorize(
                #[inline(always)]
                || {
                    for first in (0..self.outputs).step_by(SIDE) {
                        self.pack_lines(narrowed, self.lines(first), scales, packed);
                    }
                },
            );
        });
        let Some((shifts, _)) = grid else { return };
        for (shift, weights) in
            shifts.iter().zip(weights.chunks_exact(self.outputs)).filter(|(shift, _)| **shift != 0.0)
        {
            vector::axpy(*shift, weights, offsets);
        }
    }

    #[inline(always)]
    fn pack_lines<N: Number>(
        self,
        weights: &[N],
        Lines { first, count, places }: Lines,
        scales: Option<&[N]>,
        packed: &mut [[N; L]],
    ) {
        for chunk in 0..self.chunks() {
            let places = places.map(|(start, step)| start + chunk * step);
            let (columns, idle) = self.columns(chunk);
            if columns.len() < L {
                for (lane, j) in columns.enumerate() {
                    for k in 0..count {
                        let w = weights[j * self.outputs + first + k];
                        packed[places[k]][idle + lane] = scales.map_or(w, |scales| w * scales[j]);
                    }
                }
                continue;
            }
            let weights = &weights[columns.start * self.outputs + first..];
            let scales: Option<&[N; L]> = scales.map(|scales| numbers_at(scales, columns.start));
            for lane in (0..L).step_by(SIDE) {
                let rows: Block<N> = array::from_fn(|i| *numbers_at(weights, (lane + i) * self.outputs));
                let lines = N::transposed(&rows);
                for k in 0..count {
                    let mut line = lines[k];
                    if let Some(scales) = scales {
                        for i in 0..SIDE {
                            line[i] = line[i] * scales[lane + i];
                        }
                    }
                    packed[places[k]][lane..lane + SIDE].copy_from_slice(&line);
                }
            }
        }
    }

    /// Adds `scale_j s_jc + shift_j totals[c]` to `out` for packed numbers `s_jc`.
    pub fn add_unpacked<N: Number>(self, packed: &[[N; L]], columns: &impl Columns, totals: &[f64], out: &mut [f64]) {
        let (grid, chunks) = (columns.grid(), self.chunks());
        let (first, second) = out.split_at_mut((chunks / 2 * L * self.outputs).min(out.len()));
        company::join(
            || self.add_chunks(0..chunks / 2, packed, grid, totals, first),
            || self.add_chunks(chunks / 2..chunks, packed, grid, totals, second),
        );
    }

    /// The same for some of the chunks of columns, whose numbers in `out` are given.
    #[inline(never)]
    fn add_chunks<N: Number>(
        self,
        chunks: Range<usize>,
        packed: &[[N; L]],
        grid: Option<(&[f64], &[f64])>,
        totals: &[f64],
        out: &mut [f64],
    ) {
        vectorize(
            #[inline(always)]
            || {
                for first in (0..self.outputs).step_by(SIDE) {
                    self.add_lines(chunks.clone(), packed, self.lines(first), grid, totals, out);
                }
            },
        );
    }

    #[inline(always)]
    fn add_lines<N: Number>(
        self,
        chunks: Range<usize>,
        packed: &[[N; L]],
        Lines { first, count, places }: Lines,
        grid: Option<(&[f64], &[f64])>,
        totals: &[f64],
        out: &mut [f64],
    ) {
        let mut shifted = [0.0; SIDE];
        shifted[..count].copy_from_slice(&totals[first..first + count]);
        for chunk in chunks.clone() {
            let places = places.map(|(start, step)| start + chunk * step);
            let (columns, idle) = self.columns(chunk);
            let out = &mut out[(chunk - chunks.start) * L * self.outputs + first..];
            // Behind the last outputs of a column come those of the next, to which zeros are added.
            if columns.len() < L || (L - 1) * self.outputs + SIDE > out.len() {
                for (lane, j) in columns.enumerate() {
                    let (shift, scale) = grid.map_or((0.0, 1.0), |(shifts, scales)| (shifts[j], scales[j]));
                    for k in 0..count {
                        out[lane * self.outputs + k] +=
                            scale.mul_add(packed[places[k]][idle + lane].widened(), shift * shifted[k]);
                    }
                }
                continue;
            }
            let grid: Option<(&[f64; L], &[f64; L])> =
                grid.map(|(shifts, scales)| (numbers_at(shifts, columns.start), numbers_at(scales, columns.start)));
            for lane in (0..L).step_by(SIDE) {
                let mut lines: Block<N> = [[N::default(); SIDE]; SIDE];
                for k in 0..count {
                    lines[k].copy_from_slice(&packed[places[k]][lane..lane + SIDE]);
                }
                let rows = N::transposed(&lines);
                for i in 0..SIDE {
                    let out: &mut [f64; SIDE] =
                        out[(lane + i) * self.outputs..].first_chunk_mut().expect("the chunk is whole");
                    let mut sums = *out;
                    for k in 0..SIDE {
                        let s = rows[i][k].widened();
                        sums[k] += match grid {
                            Some((shifts, scales)) => scales[lane + i].mul_add(s, shifts[lane + i] * shifted[k]),
                            None => s,
                        };
                    }
                    *out = sums;
                }
            }
        }
    }
}

/// Numbers from `first` on.
#[inline(always)]
fn numbers_at<N, const K: usize>(numbers: &[N], first: usize) -> &[N; K] {
    numbers[first..].first_chunk().expect("as many numbers follow")
}
