//! How the numbers of several outputs lie for products with rows.
//!
//! Some outputs at a time form a panel, as many as have sums that fit into the registers. Its numbers lie side by side in the order
//! in which products read them (Goto and van de Geijn 2008, Anatomy of high-performance matrix multiplication, section 5). A
//! sample of few rows is multiplied in hardly more time than it takes to pack and unpack them one by one, so that is done by small
//! blocks, which are transposed in the registers.

use std::array;
use std::ops::Range;

use super::lanes::Number;
use super::transpose::{Block, SIDE};
use crate::simd::{register_bytes, vectorize};
use crate::vector;

/// Outputs of a panel at most: with two rows, or two chunks of columns, their sums and what they are made of fill the registers.
pub(super) const WIDEST: usize = 10;
/// Outputs with which four rows are multiplied at a time at most.
pub(super) const MANY_ROWS: usize = 5;
/// Outputs of which the sums of four chunks are taken at a time at most.
pub(super) const MANY_CHUNKS: usize = 3;
/// [`WIDEST`] where there are few registers.
const WIDEST_OF_FEW: usize = 2;

/// `shift_j` and `scale_j` of columns of numbers `shift_j + scale_j x_ij`, with entries `x_ij` as they are stored; `None` where entries
/// are numbers as they are.
pub(super) type Grids<'g> = Option<(&'g [f64], &'g [f64])>;

/// Outputs in panels of about the same width, and columns in chunks of `L`.
///
/// Of each panel, packed numbers are `L` columns of its first output, of the next, and so on, then the next columns. The last chunk
/// ends with the columns, of which there are at least `L`, and where it overlaps the one before its weights are zero.
#[derive(Debug, Clone, Copy)]
pub(super) struct Panels<const L: usize> {
    cols: usize,
    pub outputs: usize,
    /// How many panels there are.
    count: usize,
}

/// Up to [`SIDE`] outputs of a panel, from the `first` on, in a chunk of columns.
#[derive(Clone, Copy)]
struct Lines {
    chunk: usize,
    first: usize,
    count: usize,
}

impl<const L: usize> Panels<L> {
    pub fn new(cols: usize, outputs: usize) -> Self {
        let widest = if few_registers() { WIDEST_OF_FEW } else { WIDEST };
        Panels { cols, outputs, count: outputs.div_ceil(widest) }
    }

    /// Whether four rows are multiplied with some outputs at a time, and not two: so many sums hide the latency of the processor.
    #[inline(always)]
    pub fn many_rows(self, outputs: usize) -> bool {
        outputs <= if few_registers() { 1 } else { MANY_ROWS }
    }

    /// Whether the sums of four chunks and of some outputs are taken at a time, and not of two.
    #[inline(always)]
    pub fn many_chunks(self, outputs: usize) -> bool {
        outputs <= if few_registers() { 1 } else { MANY_CHUNKS }
    }

    /// Chunks of `L` packed numbers in all.
    pub fn len(self) -> usize {
        self.outputs * self.chunks()
    }

    fn chunks(self) -> usize {
        self.cols.div_ceil(L).max(1)
    }

    /// The outputs of each panel.
    #[inline(always)]
    pub fn ranges(self) -> impl Iterator<Item = Range<usize>> {
        (0..self.count).map(move |k| k * self.outputs / self.count..(k + 1) * self.outputs / self.count)
    }

    /// The packed numbers of a panel.
    #[inline(always)]
    pub fn packed(self, panel: &Range<usize>) -> Range<usize> {
        panel.start * self.chunks()..panel.end * self.chunks()
    }

    /// The column that a chunk begins with.
    #[inline(always)]
    pub fn first_column(self, chunk: usize) -> usize {
        (chunk * L).min(self.cols.max(L) - L)
    }

    /// Of a chunk, its columns, and the lane of the first of them.
    #[inline(always)]
    fn columns(self, chunk: usize) -> (Range<usize>, usize) {
        let columns = chunk * L..((chunk + 1) * L).min(self.cols);
        let idle = if chunk == 0 { 0 } else { L - columns.len() };
        (columns, idle)
    }

    /// Packs `scale_j w_jc` for `weights` of `outputs` numbers a column, and adds `shift_j w_jc` to `offsets[c]`.
    pub fn pack<N: Number>(self, weights: &[f64], grid: Grids<'_>, packed: &mut [[N; L]], offsets: &mut [f64]) {
        let weights = &weights[..self.cols * self.outputs];
        vectorize(
            #[inline(always)]
            || {
                for panel in self.ranges() {
                    let packed = &mut packed[self.packed(&panel).start..];
                    for chunk in 0..self.chunks() {
                        for k in (0..panel.len()).step_by(SIDE) {
                            let lines = Lines { chunk, first: panel.start + k, count: SIDE.min(panel.len() - k) };
                            self.pack_lines(lines, weights, grid, &mut packed[chunk * panel.len() + k..]);
                        }
                    }
                }
            },
        );
        if let Some((shifts, _)) = grid
            && shifts.iter().any(|&shift| shift != 0.0)
        {
            vector::add_weighted_rows(shifts, weights, offsets);
        }
    }

    /// Where other lines follow these, what is in them is overwritten.
    #[inline(always)]
    fn pack_lines<N: Number>(
        self,
        Lines { chunk, first, count }: Lines,
        weights: &[f64],
        grid: Grids<'_>,
        packed: &mut [[N; L]],
    ) {
        let (columns, idle) = self.columns(chunk);
        let scales = grid.map(|(_, scales)| &scales[columns.clone()]);
        let weights = &weights[columns.start * self.outputs + first..];
        let whole = columns.len() == L && (L - 1) * self.outputs + SIDE <= weights.len();
        if let Some(lines) = packed.first_chunk_mut::<SIDE>()
            && whole
        {
            for lane in (0..L).step_by(SIDE) {
                let block: Block<N> = array::from_fn(|i| {
                    let mut w: [f64; SIDE] = *numbers_at(weights, (lane + i) * self.outputs);
                    if let Some(scales) = scales {
                        w = w.map(|w| w * scales[lane + i]);
                    }
                    w.map(N::narrowed)
                });
                for (line, numbers) in lines.iter_mut().zip(N::transposed(&block)) {
                    line[lane..lane + SIDE].copy_from_slice(&numbers);
                }
            }
            return;
        }
        for (k, line) in packed[..count].iter_mut().enumerate() {
            line.fill(N::default());
            for lane in 0..columns.len() {
                let w = weights[lane * self.outputs + k];
                line[idle + lane] = N::narrowed(scales.map_or(w, |scales| w * scales[lane]));
            }
        }
    }

    /// Adds `scale_j s_jc + shift_j totals[c]` to `out` for packed numbers `s_jc`.
    pub fn add_unpacked<N: Number>(self, packed: &[[N; L]], grid: Grids<'_>, totals: &[f64], out: &mut [f64]) {
        vectorize(
            #[inline(always)]
            || {
                for panel in self.ranges() {
                    let packed = &packed[self.packed(&panel).start..];
                    for chunk in 0..self.chunks() {
                        let out = &mut out[chunk * L * self.outputs..];
                        for k in (0..panel.len()).step_by(SIDE) {
                            let lines = Lines { chunk, first: panel.start + k, count: SIDE.min(panel.len() - k) };
                            self.add_lines(lines, &packed[chunk * panel.len() + k..], grid, totals, out);
                        }
                    }
                }
            },
        );
    }

    #[inline(always)]
    fn add_lines<N: Number>(
        self,
        Lines { chunk, first, count }: Lines,
        packed: &[[N; L]],
        grid: Grids<'_>,
        totals: &[f64],
        out: &mut [f64],
    ) {
        let mut shifted = [0.0; SIDE];
        shifted[..count].copy_from_slice(&totals[first..first + count]);
        let (columns, idle) = self.columns(chunk);
        let grid = grid.map(|(shifts, scales)| (&shifts[columns.clone()], &scales[columns.clone()]));
        let out = &mut out[first..];
        // Behind the last outputs of a column come those of the next, to which zeros are added. Where outputs are few that would
        // be read again at once, which the processor is slow at.
        let whole = columns.len() == L && (L - 1) * self.outputs + SIDE <= out.len() && self.outputs >= SIDE;
        if let Some(lines) = packed.first_chunk::<SIDE>()
            && whole
        {
            for lane in (0..L).step_by(SIDE) {
                let mut block: Block<N> = [[N::default(); SIDE]; SIDE];
                for k in 0..SIDE {
                    if k < count {
                        block[k].copy_from_slice(&lines[k][lane..lane + SIDE]);
                    }
                }
                let rows = N::transposed(&block);
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
            return;
        }
        for lane in 0..columns.len() {
            let (shift, scale) = grid.map_or((0.0, 1.0), |(shifts, scales)| (shifts[lane], scales[lane]));
            for k in 0..count {
                out[lane * self.outputs + k] += scale.mul_add(packed[k][idle + lane].widened(), shift * shifted[k]);
            }
        }
    }
}

/// Numbers from `first` on.
#[inline(always)]
fn numbers_at<N, const K: usize>(numbers: &[N], first: usize) -> &[N; K] {
    numbers[first..].first_chunk().expect("as many numbers follow")
}

/// Whether there are fewer registers than AVX-512 has, which hold a chunk each, or shorter ones.
fn few_registers() -> bool {
    register_bytes() < 32 * 64
}
