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

/// Outputs of a panel at most.
pub(super) const WIDEST: usize = 6;

/// Columns of numbers `shift_j + scale_j x_ij`, with entries `x_ij` as they are stored.
pub(super) trait Columns {
    /// `(shift_j, scale_j)`.
    fn grid(&self, j: usize) -> (f64, f64);
}

/// Outputs in panels of about the same width, and columns in chunks of `L`.
///
/// Of each panel, packed numbers are `L` columns of its first output, of the next, and so on, then the next columns. The last chunk
/// ends with the columns, of which there are at least `L`, and where it overlaps the one before its weights are zero.
#[derive(Debug, Clone, Copy)]
pub(super) struct Panels<const L: usize> {
    pub cols: usize,
    pub outputs: usize,
    count: usize,
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
    fn panel(self, k: usize) -> Range<usize> {
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

    /// Calls `visit` with a chunk, a lane, its column, and whether it begins a block, all of whose numbers, from the output `first` on,
    /// lie within `numbers` of them; where it does not, with the next column.
    #[inline(always)]
    fn for_each_block(self, first: usize, numbers: usize, mut visit: impl FnMut(usize, usize, usize, bool)) {
        // Behind the last outputs of a column come those of the next.
        let whole = (numbers.saturating_sub(first + SIDE) / self.outputs + 1).min(self.cols);
        for chunk in 0..self.chunks() {
            let columns = chunk * L..((chunk + 1) * L).min(self.cols);
            let idle = if chunk == 0 { 0 } else { L - columns.len() };
            let mut j = columns.start;
            while j < columns.end {
                let block = j + SIDE <= columns.end.min(whole);
                visit(chunk, idle + j - columns.start, j, block);
                j += if block { SIDE } else { 1 };
            }
        }
    }

    /// Packs `scale_j w_jc` for `weights` of `outputs` numbers a column, and adds `shift_j w_jc` to `offsets[c]`.
    pub fn pack<N: Number>(self, weights: &[f64], columns: &impl Columns, packed: &mut [[N; L]], offsets: &mut [f64]) {
        vectorize(
            #[inline(always)]
            || {
                if !self.cols.is_multiple_of(L) {
                    packed.as_flattened_mut().fill(N::default());
                }
                for first in (0..self.outputs).step_by(SIDE) {
                    self.pack_lines(weights, self.lines(first), columns, packed, offsets);
                }
            },
        );
    }

    #[inline(always)]
    fn pack_lines<N: Number>(
        self,
        weights: &[f64],
        Lines { first, count, places }: Lines,
        columns: &impl Columns,
        packed: &mut [[N; L]],
        offsets: &mut [f64],
    ) {
        let mut sums = [0.0; SIDE];
        self.for_each_block(
            first,
            weights.len(),
            #[inline(always)]
            |chunk, lane, j, block| {
                if !block {
                    let (shift, scale) = columns.grid(j);
                    let weights = &weights[j * self.outputs + first..][..count];
                    for (((start, step), w), sum) in places.into_iter().zip(weights).zip(&mut sums) {
                        packed[start + chunk * step][lane] = N::narrowed(scale * w);
                        *sum += shift * w;
                    }
                    return;
                }
                let mut rows: Block<N> = [[N::default(); SIDE]; SIDE];
                for (i, row) in rows.iter_mut().enumerate() {
                    let (shift, scale) = columns.grid(j + i);
                    let weights = numbers_at(weights, (j + i) * self.outputs + first);
                    for k in 0..SIDE {
                        row[k] = N::narrowed(scale * weights[k]);
                        sums[k] += shift * weights[k];
                    }
                }
                let rows = N::transposed(&rows);
                for k in 0..count {
                    let (start, step) = places[k];
                    packed[start + chunk * step][lane..lane + SIDE].copy_from_slice(&rows[k]);
                }
            },
        );
        offsets[first..first + count].iter_mut().zip(sums).for_each(|(offset, sum)| *offset += sum);
    }

    /// Adds `scale_j s_jc + shift_j totals[c]` to `out` for packed numbers `s_jc`.
    pub fn add_unpacked<N: Number>(self, packed: &[[N; L]], columns: &impl Columns, totals: &[f64], out: &mut [f64]) {
        vectorize(
            #[inline(always)]
            || {
                for first in (0..self.outputs).step_by(SIDE) {
                    self.add_lines(packed, self.lines(first), columns, totals, out);
                }
            },
        );
    }

    #[inline(always)]
    fn add_lines<N: Number>(
        self,
        packed: &[[N; L]],
        Lines { first, count, places }: Lines,
        columns: &impl Columns,
        totals: &[f64],
        out: &mut [f64],
    ) {
        let mut shifts = [0.0; SIDE];
        shifts[..count].copy_from_slice(&totals[first..first + count]);
        self.for_each_block(
            first,
            out.len(),
            #[inline(always)]
            |chunk, lane, j, block| {
                if !block {
                    let (shift, scale) = columns.grid(j);
                    let out = &mut out[j * self.outputs + first..][..count];
                    for (((start, step), out), total) in places.into_iter().zip(out).zip(shifts) {
                        *out += scale.mul_add(packed[start + chunk * step][lane].widened(), shift * total);
                    }
                    return;
                }
                // Zeros are added to the numbers of the outputs that come next.
                let mut rows: Block<N> = [[N::default(); SIDE]; SIDE];
                for k in 0..count {
                    let (start, step) = places[k];
                    rows[k].copy_from_slice(&packed[start + chunk * step][lane..lane + SIDE]);
                }
                let rows = N::transposed(&rows);
                for i in 0..SIDE {
                    let (shift, scale) = columns.grid(j + i);
                    let out: &mut [f64; SIDE] =
                        out[(j + i) * self.outputs + first..].first_chunk_mut().expect("the block is whole");
                    for k in 0..SIDE {
                        out[k] += scale.mul_add(rows[i][k].widened(), shift * shifts[k]);
                    }
                }
            },
        );
    }
}

/// [`SIDE`] numbers from `first` on.
#[inline(always)]
fn numbers_at(numbers: &[f64], first: usize) -> &[f64; SIDE] {
    numbers[first..].first_chunk().expect("the block is whole")
}
