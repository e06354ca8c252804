//! Dense rows and several outputs: whole products, and one visit of a sample.

use std::any::TypeId;
use std::array;
use std::ops::Range;

use super::coded::CodedMatrix;
use super::dense::DenseMatrix;
use super::design::{Element, RowPick};
use super::lanes::Number;
use super::outputs::{add_transposed, add_unpacked, margins, pack, unpack};
use super::sampled::GROUP;
use crate::scratch::scratch;
use crate::simd::{Vectors, prefetch, vectorize};

/// Bytes of the rows that are multiplied before the next ones are looked at.
const TILE_BYTES: usize = 256 * 1024;
/// Rows between the one that is multiplied and the one that is fetched.
const AHEAD: usize = 8;
/// Lanes of double precision in a line.
const LANES: usize = 8;

/// Dense rows as numbers of the type that products are computed in.
pub(super) trait DenseRows<N: Number + Vectors> {
    /// True where that is the type of storage.
    const AS_STORED: bool;

    fn cols(&self) -> usize;

    /// Row `i` where it lies, if rows are [`DenseRows::AS_STORED`].
    ///
    /// # Panics
    /// Where they are not.
    fn stored(&self, i: usize) -> &[N];

    /// Puts the rows into `tile`, one behind the other.
    fn convert(&self, rows: &RowPick<'_>, tile: &mut [N]);
}

impl<T: Element + Into<N>, N: Number + Vectors> DenseRows<N> for DenseMatrix<T> {
    const AS_STORED: bool = size_of::<T>() == size_of::<N>();

    fn cols(&self) -> usize {
        self.cols()
    }

    #[inline(always)]
    fn stored(&self, i: usize) -> &[N] {
        assert!(TypeId::of::<T>() == TypeId::of::<N>(), "rows of another type have to be converted");
        let row = self.row(i);
        // SAFETY: the types are the same.
        unsafe { std::slice::from_raw_parts(row.as_ptr().cast(), row.len()) }
    }

    fn convert(&self, rows: &RowPick<'_>, tile: &mut [N]) {
        vectorize(
            #[inline(always)]
            || {
                for (i, numbers) in tile.chunks_exact_mut(self.cols().max(1)).enumerate() {
                    numbers.iter_mut().zip(self.row(rows.row(i))).for_each(|(number, &x)| *number = x.into());
                }
            },
        );
    }
}

impl<N: Number + Vectors> DenseRows<N> for CodedMatrix
where
    u8: Into<N>,
{
    const AS_STORED: bool = false;

    fn cols(&self) -> usize {
        self.cols()
    }

    fn stored(&self, _: usize) -> &[N] {
        unreachable!("codes have to be converted")
    }

    fn convert(&self, rows: &RowPick<'_>, tile: &mut [N]) {
        self.decode_rows(rows, tile);
    }
}

/// Rows of a tile.
fn tile_rows<N>(cols: usize) -> usize {
    (TILE_BYTES / (cols * size_of::<N>()).max(1)).clamp(AHEAD, GROUP) / AHEAD * AHEAD
}

/// Numbers that a tile is converted to; none where rows are multiplied as they are stored.
fn tile_size<N: Number + Vectors, M: DenseRows<N>>(cols: usize) -> usize {
    match M::AS_STORED {
        true => 0,
        false => tile_rows::<N>(cols) * cols,
    }
}

/// The rows at `positions`, at most [`GROUP`]; in `tile` where they have to be converted.
fn numbers<'n, N: Number + Vectors, M: DenseRows<N>>(
    matrix: &'n M,
    rows: &RowPick<'_>,
    positions: Range<usize>,
    tile: &'n mut [N],
) -> [&'n [N]; GROUP] {
    let (first, count, cols) = (positions.start, positions.len(), matrix.cols());
    if M::AS_STORED {
        return array::from_fn(|i| if i < count { matrix.stored(rows.row(first + i)) } else { &[] });
    }
    matrix.convert(&rows.part(positions), &mut tile[..count * cols]);
    let tile = &*tile;
    array::from_fn(|i| if i < count { &tile[i * cols..(i + 1) * cols] } else { &[] })
}

/// `out = X[rows] W`, `W` of shape `p x C`.
pub(super) fn outputs_margins<M: DenseRows<f64>>(
    matrix: &M,
    rows: &RowPick<'_>,
    weights: &[f64],
    outputs: usize,
    out: &mut [f64],
) {
    outputs_pass::<f64, M, LANES, 1, 0>(matrix, rows, [weights], outputs, [], |positions, [margins]| {
        out[positions.start * outputs..positions.end * outputs].copy_from_slice(margins);
    });
}

/// `out += X[rows]^T G`, `G` of `C` numbers for each of the rows.
pub(super) fn add_outputs_transposed<M: DenseRows<f64>>(
    matrix: &M,
    rows: &RowPick<'_>,
    g: &[f64],
    outputs: usize,
    out: &mut [f64],
) {
    let (cols, lines, size) = (matrix.cols(), outputs.div_ceil(LANES), tile_rows::<f64>(matrix.cols()));
    scratch(lines * (cols + size) * LANES + tile_size::<f64, M>(cols), |buffer: &mut [f64]| {
        let (packed, tile) = buffer.split_at_mut(lines * (cols + size) * LANES);
        let (sums, packed) = packed.as_chunks_mut::<LANES>().0.split_at_mut(lines * cols);
        sums.as_flattened_mut().fill(0.0);
        for first in (0..rows.len()).step_by(size) {
            let positions = first..(first + size).min(rows.len());
            let numbers = &numbers(matrix, rows, positions.clone(), tile)[..positions.len()];
            let packed = &mut packed[..positions.len() * lines];
            pack(&[&g[positions.start * outputs..positions.end * outputs]], outputs, packed);
            add_transposed(numbers, packed, sums, outputs);
        }
        add_unpacked(sums, outputs, &mut [out]);
    });
}

/// Several outputs; see [`DesignMatrix::sampled_pass`](super::DesignMatrix::sampled_pass). Computes in `N`, of which `L` fill a
/// line.
pub(super) fn outputs_pass<N: Number + Vectors, M: DenseRows<N>, const L: usize, const IN: usize, const OUT: usize>(
    matrix: &M,
    rows: &RowPick<'_>,
    weights: [&[f64]; IN],
    outputs: usize,
    mut out: [&mut [f64]; OUT],
    mut transform: impl FnMut(Range<usize>, &mut [&mut [f64]; IN]),
) {
    let (cols, size) = (matrix.cols(), tile_rows::<N>(matrix.cols()));
    let height = weights[0].len() / outputs;
    let [lines, lines_out] = [IN, OUT].map(|parts| (parts * outputs).div_ceil(L));
    let packed = (lines + lines_out) * height + lines * size;
    scratch(IN * size * outputs, |wide: &mut [f64]| {
        scratch(packed * L + tile_size::<N, M>(cols), |buffer: &mut [N]| {
            let (packed, tile) = buffer.split_at_mut(packed * L);
            let (inputs, rest) = packed.as_chunks_mut::<L>().0.split_at_mut(lines * height);
            let (sums, of_rows) = rest.split_at_mut(lines_out * height);
            pack(&weights, outputs, inputs);
            sums.as_flattened_mut().fill(N::default());
            for first in (0..rows.len()).step_by(size) {
                let positions = first..(first + size).min(rows.len());
                let count = positions.len();
                let numbers = &numbers(matrix, rows, positions.clone(), tile)[..count];
                let of_rows = &mut of_rows[..count * lines];
                margins(numbers, inputs, of_rows, IN * outputs, |block| {
                    numbers[(block.start + AHEAD).min(count)..(block.end + AHEAD).min(count)]
                        .iter()
                        .for_each(|row| prefetch(row));
                });
                let mut parts = wide.chunks_exact_mut(size * outputs);
                let mut margins: [&mut [f64]; IN] =
                    array::from_fn(|_| &mut parts.next().expect("one part for each of the weights")[..count * outputs]);
                unpack(of_rows, outputs, &mut margins);
                transform(positions, &mut margins);
                if OUT > 0 {
                    let of_rows = &mut of_rows[..count * lines_out];
                    let g: [&[f64]; OUT] = array::from_fn(|k| &*margins[k]);
                    pack(&g, outputs, of_rows);
                    add_transposed(numbers, of_rows, sums, OUT * outputs);
                    // Sums over many rows are in double precision.
                    if size_of::<N>() < size_of::<f64>() || first + size >= rows.len() {
                        add_unpacked(sums, outputs, &mut out);
                        sums.as_flattened_mut().fill(N::default());
                    }
                }
            }
        });
    });
}
