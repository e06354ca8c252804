//! One visit of a sample of narrow rows, for several outputs, in single precision.

use std::array;
use std::ops::Range;

use super::coded::CodedMatrix;
use super::dense::DenseMatrix;
use super::design::RowPick;
use super::output_lanes::{add_transposed, add_unpacked, margins, pack, unpack};
use super::sampled::{GROUP, Transform};
use crate::scratch::scratch;
use crate::simd::prefetch;

/// Rows with fewer columns are narrow. With 7 and 10 outputs and 64 rows the two ways take the same time somewhere between 100 and
/// 250 columns, each for some of the products.
pub(super) const WIDE: usize = 160;
/// Rows between the one that is multiplied and the one that is fetched.
const AHEAD: usize = 8;
/// Numbers of a line.
const LANES: usize = 16;

/// Rows in single precision.
pub(super) trait SingleRows {
    /// Numbers that so many rows are converted to, none where they are used as they are stored.
    fn converted(&self, rows: usize) -> usize;

    /// The rows at `positions`, at most [`GROUP`]; in `tile` where they have to be converted.
    fn numbers<'n>(&'n self, rows: &RowPick<'_>, positions: Range<usize>, tile: &'n mut [f32]) -> [&'n [f32]; GROUP];
}

impl SingleRows for DenseMatrix<f32> {
    fn converted(&self, _: usize) -> usize {
        0
    }

    fn numbers<'n>(&'n self, rows: &RowPick<'_>, positions: Range<usize>, _: &'n mut [f32]) -> [&'n [f32]; GROUP] {
        array::from_fn(|i| if i < positions.len() { self.row(rows.row(positions.start + i)) } else { &[] })
    }
}

impl SingleRows for CodedMatrix {
    fn converted(&self, rows: usize) -> usize {
        rows * self.cols()
    }

    fn numbers<'n>(&'n self, rows: &RowPick<'_>, positions: Range<usize>, tile: &'n mut [f32]) -> [&'n [f32]; GROUP] {
        let (count, cols) = (positions.len(), self.cols());
        self.decode_rows(&rows.part(positions), &mut tile[..count * cols]);
        let tile = &*tile;
        array::from_fn(|i| if i < count { &tile[i * cols..(i + 1) * cols] } else { &[] })
    }
}

/// Narrow rows and several outputs; see [`DesignMatrix::sampled_pass`](super::DesignMatrix::sampled_pass).
pub(super) fn narrow_pass<M: SingleRows, const IN: usize, const OUT: usize>(
    matrix: &M,
    rows: &RowPick<'_>,
    weights: [&[f64]; IN],
    outputs: usize,
    mut out: [&mut [f64]; OUT],
    transform: Transform<'_, IN>,
) {
    let height = weights[0].len() / outputs;
    let [lines, lines_out] = [IN, OUT].map(|parts| (parts * outputs).div_ceil(LANES));
    let packed = (lines + lines_out) * height + lines * GROUP;
    scratch(IN * GROUP * outputs, |wide: &mut [f64]| {
        scratch(packed * LANES + matrix.converted(GROUP), |buffer: &mut [f32]| {
            let (packed, tile) = buffer.split_at_mut(packed * LANES);
            let (inputs, rest) = packed.as_chunks_mut::<LANES>().0.split_at_mut(lines * height);
            let (sums, of_rows) = rest.split_at_mut(lines_out * height);
            pack(&weights, outputs, inputs);
            for first in (0..rows.len()).step_by(GROUP) {
                let positions = first..(first + GROUP).min(rows.len());
                let count = positions.len();
                let numbers = &matrix.numbers(rows, positions.clone(), tile)[..count];
                let of_rows = &mut of_rows[..count * lines];
                margins(numbers, inputs, of_rows, IN * outputs, |block| {
                    numbers[(block.start + AHEAD).min(count)..(block.end + AHEAD).min(count)]
                        .iter()
                        .for_each(|row| prefetch(row));
                });
                let mut parts = wide.chunks_exact_mut(GROUP * outputs);
                let mut margins: [&mut [f64]; IN] =
                    array::from_fn(|_| &mut parts.next().expect("one part for each of the weights")[..count * outputs]);
                unpack(of_rows, outputs, &mut margins);
                transform(positions, &mut margins);
                if OUT > 0 {
                    let of_rows = &mut of_rows[..count * lines_out];
                    let g: [&[f64]; OUT] = array::from_fn(|k| &*margins[k]);
                    pack(&g, outputs, of_rows);
                    sums.as_flattened_mut().fill(0.0);
                    add_transposed(numbers, of_rows, sums, OUT * outputs);
                    add_unpacked(sums, outputs, &mut out);
                }
            }
        });
    });
}
