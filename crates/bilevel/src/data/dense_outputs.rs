//! Dense rows and several outputs: whole products, and one visit of a sample.

use std::array;
use std::ops::Range;

use super::coded::CodedMatrix;
use super::column_part::{ColumnPart, taken};
use super::dense::DenseMatrix;
use super::design::{Element, RowPick};
use super::lanes::{Number, narrow};
use super::narrow_outputs::WIDE;
use super::panels::{Grids, Panels};
use super::sampled::{GROUP, Transform};
use crate::company;
use crate::scratch::scratch;
use crate::simd::vectorize;
use crate::vector::{self, add_rows};

/// Bytes of the rows that are multiplied before the next ones are looked at.
const TILE_BYTES: usize = 256 * 1024;
/// Tiles have a multiple of so many rows.
const ROWS: usize = 8;
/// Columns of a chunk in double precision.
const LANES: usize = 8;

/// Dense rows by their entries.
pub(super) trait DenseRows: Sync {
    type Entry: Element;

    fn entries(&self) -> &DenseMatrix<Self::Entry>;

    fn grids(&self) -> Grids<'_>;
}

impl<T: Element> DenseRows for DenseMatrix<T> {
    type Entry = T;

    fn entries(&self) -> &DenseMatrix<T> {
        self
    }

    fn grids(&self) -> Grids<'_> {
        None
    }
}

impl DenseRows for CodedMatrix {
    type Entry = u8;

    fn entries(&self) -> &DenseMatrix<u8> {
        self.codes()
    }

    fn grids(&self) -> Grids<'_> {
        Some(self.shifts_and_scales())
    }
}

/// Rows of a tile.
fn tile_rows<T>(cols: usize) -> usize {
    (TILE_BYTES / (cols * size_of::<T>()).max(1)).clamp(ROWS, GROUP) / ROWS * ROWS
}

/// The rows at `positions`, at most [`GROUP`]; those that are shorter than `L` in `tile`, which has zeros behind
/// them.
fn picked<'r, T: Element, const L: usize>(
    matrix: &'r DenseMatrix<T>,
    rows: &RowPick<'_>,
    positions: Range<usize>,
    tile: &'r mut [[T; L]; GROUP],
) -> [&'r [T]; GROUP] {
    let (first, count, cols) = (positions.start, positions.len(), matrix.cols());
    if cols >= L {
        return array::from_fn(|i| if i < count { matrix.row(rows.row(first + i)) } else { &[] });
    }
    for (i, padded) in tile[..count].iter_mut().enumerate() {
        padded[..cols].copy_from_slice(matrix.row(rows.row(first + i)));
    }
    let tile = &*tile;
    array::from_fn(|i| &tile[i][..])
}

/// `out = X[rows] W`, `W` of shape `p x C`.
pub(super) fn outputs_margins<M: DenseRows<Entry: Into<f64>>>(
    matrix: &M,
    rows: &RowPick<'_>,
    weights: &[f64],
    outputs: usize,
    out: &mut [f64],
) {
    outputs_pass::<f64, M, LANES, 1, 0>(matrix, rows, [weights], outputs, [], &mut |positions, [margins]| {
        out[positions.start * outputs..positions.end * outputs].copy_from_slice(margins);
    });
}

/// `out += X[rows]^T G`, `G` of `C` numbers for each of the rows.
pub(super) fn add_outputs_transposed<M: DenseRows<Entry: Into<f64>>>(
    matrix: &M,
    rows: &RowPick<'_>,
    g: &[f64],
    outputs: usize,
    out: &mut [f64],
) {
    let entries = matrix.entries();
    let (cols, size) = (entries.cols(), tile_rows::<M::Entry>(entries.cols()));
    let panels = Panels::<LANES>::new(cols, outputs);
    let mut tile = [[M::Entry::default(); LANES]; GROUP];
    scratch(outputs + panels.len() * LANES, |buffer: &mut [f64]| {
        buffer.fill(0.0);
        let (totals, sums) = buffer.split_at_mut(outputs);
        let sums = sums.as_chunks_mut().0;
        for first in (0..rows.len()).step_by(size) {
            let positions = first..(first + size).min(rows.len());
            let g = &g[positions.start * outputs..positions.end * outputs];
            let picked = &picked(entries, rows, positions.clone(), &mut tile)[..positions.len()];
            panels.add_transposed(picked, g, sums);
            add_rows(g, totals);
        }
        panels.add_unpacked(sums, matrix.grids(), totals, out);
    });
}

/// Several outputs; see [`DesignMatrix::sampled_pass`](super::DesignMatrix::sampled_pass). Computes in `N`, by chunks of `L`
/// columns.
pub(super) fn outputs_pass<
    N: Number,
    M: DenseRows<Entry: Into<N>>,
    const L: usize,
    const IN: usize,
    const OUT: usize,
>(
    matrix: &M,
    rows: &RowPick<'_>,
    weights: [&[f64]; IN],
    outputs: usize,
    mut out: [&mut [f64]; OUT],
    transform: Transform<'_, IN>,
) {
    let entries = matrix.entries();
    let (cols, size) = (entries.cols(), tile_rows::<M::Entry>(entries.cols()));
    let middle = if cols < WIDE { cols } else { cols / (2 * L) * L };
    let (columns, parts) = ([0..middle, middle..cols], if middle < cols { 2 } else { 1 });
    let (packed, wide) = ColumnPart::<N, L, IN, OUT>::needed(&columns, size, outputs);
    let mut intercepts = out.each_mut().map(|out| out.split_off_mut(cols * outputs..).expect("numbers of all columns"));
    let mut tile = [[M::Entry::default(); L]; GROUP];
    // Sums over many rows are in double precision.
    let summed = size_of::<N>() == size_of::<f64>();
    scratch(OUT * outputs + wide, |mut wide: &mut [f64]| {
        scratch(packed * L + OUT * size * outputs, |buffer: &mut [N]| {
            let (packed, narrowed) = buffer.split_at_mut(packed * L);
            let mut packed = packed.as_chunks_mut::<L>().0;
            let totals = taken(&mut wide, OUT * outputs);
            let mut all_parts = columns.map(|columns| {
                let out = out.each_mut().map(|out| taken(out, columns.len() * outputs));
                ColumnPart::new(columns, size, outputs, matrix.grids(), &mut packed, &mut wide, out)
            });
            let parts: &mut [ColumnPart<'_, N, L, IN, OUT>] = &mut all_parts[..parts];
            for first in (0..rows.len()).step_by(size) {
                let positions = first..(first + size).min(rows.len());
                let (fresh, done) = (first == 0, positions.end == rows.len());
                let count = positions.len();
                let picked = &picked(entries, rows, positions.clone(), &mut tile)[..count];
                company::for_each(parts, |part| part.multiply(picked, fresh.then_some(&weights), cols));
                let margins = ColumnPart::added_up(parts, IN * count * outputs);
                let mut each = margins.chunks_exact_mut(count * outputs);
                let mut margins: [&mut [f64]; IN] = array::from_fn(|_| each.next().expect("margins of each"));
                transform(positions, &mut margins);
                if fresh || !summed {
                    totals.fill(0.0);
                }
                let narrowed = &mut narrowed[..OUT * count * outputs];
                let of_each = totals.chunks_exact_mut(outputs).zip(narrowed.chunks_exact_mut(count * outputs));
                for (g, (totals, narrowed)) in margins.iter().zip(of_each) {
                    add_rows(g, totals);
                    vectorize(
                        #[inline(always)]
                        || narrow(g, narrowed),
                    );
                }
                company::for_each(parts, |part| {
                    part.add_transposed(picked, narrowed, fresh || !summed);
                    if done || !summed {
                        part.unpack(totals);
                    }
                });
                if done || !summed {
                    let intercepts = intercepts.iter_mut().filter(|intercepts| !intercepts.is_empty());
                    for (intercepts, totals) in intercepts.zip(totals.chunks_exact(outputs)) {
                        vector::axpy(1.0, totals, intercepts);
                    }
                }
            }
        });
    });
}
