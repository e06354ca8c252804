//! One visit of a sample of narrow rows, for several outputs, in single precision.

use std::array;
use std::ops::Range;

use super::coded::CodedMatrix;
use super::dense::DenseMatrix;
use super::design::RowPick;
use super::output_lanes::{
    COPIED, LANES, lines, margins, pack_columns, pack_rows, pairs, transposed, unpack_columns, unpack_rows,
};
use super::sampled::{GROUP, Transform};
use crate::scratch::scratch;
use crate::simd::{prefetch, vectorize};
use crate::vector;

/// Rows with fewer columns are narrow. With 7 and 10 outputs and 64 rows the two ways take the same time somewhere between 100 and
/// 250 columns, each for some of the products.
pub(super) const WIDE: usize = 160;
/// Rows between the one that is multiplied and the one that is fetched.
const AHEAD: usize = 16;

/// Rows in single precision.
pub(super) trait SingleRows {
    /// Numbers of a row.
    fn width(&self) -> usize;

    /// Numbers that so many rows are converted to, none where they are used as they are stored.
    fn converted(&self, rows: usize) -> usize;

    /// The rows at `positions`, at most [`GROUP`]; in `tile` where they have to be converted.
    fn numbers<'n>(&'n self, rows: &RowPick<'_>, positions: Range<usize>, tile: &'n mut [f32]) -> [&'n [f32]; GROUP];
}

impl SingleRows for DenseMatrix<f32> {
    fn width(&self) -> usize {
        self.cols()
    }

    fn converted(&self, _: usize) -> usize {
        0
    }

    fn numbers<'n>(&'n self, rows: &RowPick<'_>, positions: Range<usize>, _: &'n mut [f32]) -> [&'n [f32]; GROUP] {
        array::from_fn(|i| if i < positions.len() { self.row(rows.row(positions.start + i)) } else { &[] })
    }
}

impl SingleRows for CodedMatrix {
    fn width(&self) -> usize {
        self.cols()
    }

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
    let pairs = pairs(matrix.width());
    let [lines_in, lines_out] = [IN, OUT].map(|parts| lines(parts * outputs));
    // What is copied at a time may be more than there is.
    let [of_weights, of_sums, of_rows] = [lines_in * pairs, lines_out * pairs, lines_in * GROUP].map(|lines| lines + 1);
    let (columns, margins_of) = (2 * pairs * outputs + COPIED, GROUP * outputs + COPIED);
    scratch(IN * (margins_of + columns), |wide: &mut [f64]| {
        let (wide, room) = wide.split_at_mut(IN * margins_of);
        scratch((of_weights + of_sums + of_rows) * LANES + matrix.converted(GROUP), |buffer: &mut [f32]| {
            let (packed, tile) = buffer.split_at_mut((of_weights + of_sums + of_rows) * LANES);
            let (packed_weights, rest) = packed.as_chunks_mut().0.split_at_mut(of_weights);
            let (sums, of_rows) = rest.split_at_mut(of_sums);
            for first in (0..rows.len()).step_by(GROUP) {
                let positions = first..(first + GROUP).min(rows.len());
                let count = positions.len();
                let numbers = &matrix.numbers(rows, positions.clone(), tile)[..count];
                numbers.iter().take(AHEAD).for_each(|row| prefetch(row));
                if first == 0 {
                    // While the first rows arrive.
                    vectorize(
                        #[inline(always)]
                        || pack_columns(&weights, outputs, packed_weights, room),
                    );
                }
                margins(numbers, packed_weights, &mut of_rows[..count * lines_in], IN * outputs, |block| {
                    numbers[(block.start + AHEAD).min(count)..(block.end + AHEAD).min(count)]
                        .iter()
                        .for_each(|row| prefetch(row));
                });
                let mut parts = wide.chunks_exact_mut(margins_of);
                let mut whole: [&mut [f64]; IN] =
                    array::from_fn(|_| parts.next().expect("one part for each of the weights"));
                vectorize(
                    #[inline(always)]
                    || unpack_rows(&of_rows[..=count * lines_in], outputs, &mut whole),
                );
                let mut margins = whole.each_mut().map(|margins| &mut margins[..count * outputs]);
                transform(positions, &mut margins);
                if OUT > 0 {
                    let g: [&[f64]; OUT] = array::from_fn(|k| &*whole[k]);
                    vectorize(
                        #[inline(always)]
                        || pack_rows(&g, outputs, &mut of_rows[..=count * lines_out]),
                    );
                    transposed(numbers, &of_rows[..count * lines_out], sums, OUT * outputs);
                    for (k, out) in out.iter_mut().enumerate() {
                        vectorize(
                            #[inline(always)]
                            || unpack_columns::<OUT>(sums, k, outputs, room),
                        );
                        vector::axpy(1.0, &room[..out.len()], out);
                    }
                }
            }
        });
    });
}
