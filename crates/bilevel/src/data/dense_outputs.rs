//! Dense rows and several outputs: whole products, and one visit of a sample.

use std::array;
use std::ops::Range;

use super::coded::CodedMatrix;
use super::dense::DenseMatrix;
use super::design::{Element, RowPick};
use super::lanes::{Number, narrow};
use super::panels::{Columns, Panels};
use super::sampled::{GROUP, Transform};
use crate::company;
use crate::scratch::scratch;
use crate::simd::{prefetch, vectorize};
use crate::vector::add_rows;

/// Bytes of the rows that are multiplied before the next ones are looked at.
const TILE_BYTES: usize = 256 * 1024;
/// Rows between the one that is multiplied and the one that is fetched.
const AHEAD: usize = 8;
/// Columns of a chunk in double precision.
const LANES: usize = 8;

/// Dense rows by their entries.
pub(super) trait DenseRows: Columns {
    type Entry: Element;

    fn entries(&self) -> &DenseMatrix<Self::Entry>;
}

impl<T: Element> DenseRows for DenseMatrix<T> {
    type Entry = T;

    fn entries(&self) -> &DenseMatrix<T> {
        self
    }
}

impl<T: Element> Columns for DenseMatrix<T> {
    #[inline(always)]
    fn grid(&self) -> Option<(&[f64], &[f64])> {
        None
    }
}

impl DenseRows for CodedMatrix {
    type Entry = u8;

    fn entries(&self) -> &DenseMatrix<u8> {
        self.codes()
    }
}

impl Columns for CodedMatrix {
    #[inline(always)]
    fn grid(&self) -> Option<(&[f64], &[f64])> {
        Some(self.shifts_and_scales())
    }
}

/// Rows of a tile.
fn tile_rows<T>(cols: usize) -> usize {
    (TILE_BYTES / (cols * size_of::<T>()).max(1)).clamp(AHEAD, GROUP) / AHEAD * AHEAD
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
        panels.add_unpacked(sums, matrix, totals, out);
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
    let panels = Panels::<L>::new(cols, outputs);
    let (wide, packed) = ((IN + OUT + IN * size) * outputs, (IN + OUT) * panels.len());
    let mut tile = [[M::Entry::default(); L]; GROUP];
    scratch(wide, |wide: &mut [f64]| {
        scratch(packed * L + size * outputs, |buffer: &mut [N]| {
            let (packed, narrowed) = buffer.split_at_mut(packed * L);
            let (inputs, sums) = packed.as_chunks_mut::<L>().0.split_at_mut(IN * panels.len());
            let (offsets, wide) = wide.split_at_mut(IN * outputs);
            let (totals, margins) = wide.split_at_mut(OUT * outputs);
            let intercepts = |weights: &'_ [f64]| weights.len() > cols * outputs;
            let mut packing: [_; IN] = {
                let mut inputs = inputs.chunks_exact_mut(panels.len());
                let mut offsets = offsets.chunks_exact_mut(outputs);
                weights.map(|weights| {
                    let part = "one part for each of the weights";
                    (weights, inputs.next().expect(part), offsets.next().expect(part))
                })
            };
            company::for_each(&mut packing, |(weights, input, offsets)| {
                match intercepts(weights) {
                    true => offsets.copy_from_slice(&weights[cols * outputs..]),
                    false => offsets.fill(0.0),
                }
                panels.pack(weights, matrix, input, offsets);
            });
            sums.as_flattened_mut().fill(N::default());
            totals.fill(0.0);
            let mut parts = inputs.chunks_exact(panels.len());
            let inputs: [&[[N; L]]; IN] = array::from_fn(|_| parts.next().expect("one part for each of the weights"));
            let mut parts = offsets.chunks_exact(outputs);
            let offsets: [&[f64]; IN] = array::from_fn(|_| parts.next().expect("one part for each of the weights"));
            for first in (0..rows.len()).step_by(size) {
                let positions = first..(first + size).min(rows.len());
                let (count, done) = (positions.len(), positions.end == rows.len());
                let picked = &picked(entries, rows, positions.clone(), &mut tile)[..count];
                picked.iter().take(AHEAD).for_each(|row| prefetch(row));
                let mut parts = margins.chunks_exact_mut(size * outputs);
                let mut margins: [&mut [f64]; IN] =
                    array::from_fn(|_| &mut parts.next().expect("one part for each of the weights")[..count * outputs]);
                panels.margins(picked, &picked[AHEAD.min(count)..], &inputs, &offsets, &mut margins);
                transform(positions, &mut margins);
                let parts = sums.chunks_exact_mut(panels.len()).zip(totals.chunks_exact_mut(outputs));
                for (((sums, totals), g), out) in parts.zip(&margins).zip(&mut out) {
                    let narrowed = &mut narrowed[..g.len()];
                    vectorize(
                        #[inline(always)]
                        || narrow(g, narrowed),
                    );
                    panels.add_transposed(picked, narrowed, sums);
                    add_rows(g, totals);
                    // Sums over many rows are in double precision.
                    if size_of::<N>() < size_of::<f64>() || done {
                        panels.add_unpacked(sums, matrix, totals, out);
                        if intercepts(out) {
                            out[cols * outputs..].iter_mut().zip(&*totals).for_each(|(out, total)| *out += total);
                        }
                        sums.as_flattened_mut().fill(N::default());
                        totals.fill(0.0);
                    }
                }
            }
        });
    });
}
