//! Products of dense rows with a matrix of several columns, and of their transpose with another.
//!
//! The lanes of a vector are columns of the rows, so that none is idle whatever the number of outputs, and entries are taken as they
//! are stored. The outputs go in [`Panels`]: each entry that is read serves all of a panel.

use std::array;
use std::hint::black_box;

use super::design::Element;
use super::lanes::{Number, Weights, fetch_chunk, multiply, plus_multiple};
use super::panels::{Panels, WIDEST};
use crate::simd::vectorize;

/// Rows whose margins are taken at a time.
const ROWS: usize = 2;
/// `body` with the constant `K` as wide as a panel, which may have as many outputs as follow.
macro_rules! with_width {
    ($width:expr, $K:ident => $body:expr, $($narrow:literal)* or $widest:expr) => {
        match $width {
            $($narrow => {
                const $K: usize = $narrow;
                $body
            })*
            _ => {
                const $K: usize = $widest;
                $body
            }
        }
    };
}

/// The numbers of `K` outputs from `first` on.
#[inline(always)]
fn numbers_of<N, const K: usize>(numbers: &[N], first: usize) -> &[N; K] {
    numbers[first..].first_chunk().expect("as many numbers as outputs")
}

impl<const L: usize> Panels<L> {
    /// `margins[i] = X W_i + offsets[i]` for rows of `X`, which have at least `L` entries; meanwhile as many rows of `ahead` are
    /// fetched. Packed weights, offsets and margins of all `i` one after another.
    // Not once for each number of weights.
    #[inline(never)]
    pub(super) fn margins<T: Element + Into<N>, N: Number>(
        self,
        rows: &[&[T]],
        ahead: &[&[T]],
        weights: &[[N; L]],
        offsets: &[f64],
        margins: &mut [f64],
    ) {
        vectorize(
            #[inline(always)]
            || {
                let (blocks, rest) = rows.as_chunks::<ROWS>();
                let (blocks_ahead, _) = ahead.as_chunks::<ROWS>();
                let mut place = 0;
                for (block, rows) in blocks.iter().enumerate() {
                    let next = blocks_ahead.get(block).unwrap_or(rows).map(<[T]>::as_ptr);
                    self.margins_of_rows(rows, place, &next, weights, offsets, margins);
                    place += ROWS * self.outputs;
                }
                for row in rest {
                    self.margins_of_rows(&[*row], place, &[row.as_ptr()], weights, offsets, margins);
                    place += self.outputs;
                }
            },
        );
    }

    #[inline(always)]
    fn margins_of_rows<T: Element + Into<N>, N: Number, const R: usize>(
        self,
        rows: &[&[T]; R],
        place: usize,
        next: &[*const T; R],
        weights: &[[N; L]],
        offsets: &[f64],
        margins: &mut [f64],
    ) {
        let of_each = margins.len() / (offsets.len() / self.outputs);
        let parts = weights.chunks_exact(self.len()).zip(offsets.chunks_exact(self.outputs));
        for ((weights, offsets), margins) in parts.zip(margins.chunks_exact_mut(of_each)) {
            let margins = &mut margins[place..place + R * self.outputs];
            for panel in self.ranges() {
                let packed = &weights[self.packed(&panel)];
                with_width!(panel.len(), K => {
                    let (body, last) = packed.as_chunks::<K>().0.split_at(rows[0].len() / L);
                    let sums = multiply(rows, Weights { body, last: last.first() }, |chunk| {
                        if panel.start == 0 {
                            fetch_chunk::<T, L, R>(next, chunk);
                        }
                    });
                    let mut totals = [[N::default(); R]; K];
                    let (fours, rest) = sums.as_flattened().as_chunks::<4>();
                    let (of_fours, of_rest) = totals.as_flattened_mut().as_chunks_mut::<4>();
                    for (totals, sums) in of_fours.iter_mut().zip(fours) {
                        *totals = N::totals(sums);
                    }
                    for (total, sum) in of_rest.iter_mut().zip(rest) {
                        [*total] = N::totals(array::from_ref(sum));
                    }
                    let offsets = numbers_of::<f64, K>(offsets, panel.start);
                    for r in 0..R {
                        let margins: &mut [f64; K] = margins[r * self.outputs + panel.start..]
                            .first_chunk_mut()
                            .expect("as many margins as outputs");
                        for k in 0..K {
                            margins[k] = totals[k][r].widened() + offsets[k];
                        }
                    }
                }, 1 2 3 4 5 6 7 8 9 or WIDEST);
            }
        }
    }

    /// `sums += X^T G`, packed, for rows of `X` and `outputs` numbers of `g` for each.
    #[inline(never)]
    pub(super) fn add_transposed<T: Element + Into<N>, N: Number>(self, rows: &[&[T]], g: &[N], sums: &mut [[N; L]]) {
        vectorize(
            #[inline(always)]
            || {
                for panel in self.ranges() {
                    let sums = &mut sums[self.packed(&panel)];
                    with_width!(panel.len(), K => {
                        let (pairs, single) = sums.as_chunks_mut::<K>().0.as_chunks_mut::<2>();
                        let last = 2 * pairs.len();
                        for (pair, sums) in pairs.iter_mut().enumerate() {
                            let [start, next] = [2 * pair, 2 * pair + 1].map(|chunk| self.first_column(chunk));
                            self.add_to_pair(rows, g, panel.start, start, next - start, sums);
                        }
                        for sums in single {
                            self.add_to_chunk(rows, g, panel.start, self.first_column(last), sums);
                        }
                    }, 1 2 3 4 5 6 7 8 9 or WIDEST);
                }
            },
        );
    }

    /// The sums of `K` outputs from the `first` on, and of the two chunks from the columns `start` and `start + step` on.
    #[inline(always)]
    fn add_to_pair<T: Element + Into<N>, N: Number, const K: usize>(
        self,
        rows: &[&[T]],
        g: &[N],
        first: usize,
        start: usize,
        step: usize,
        sums: &mut [[[N; L]; K]; 2],
    ) {
        let mut lanes = *sums;
        for (row, g) in rows.iter().zip(g.chunks_exact(self.outputs)) {
            let g = numbers_of::<N, K>(g, first);
            let both = &row[start..start + step + L];
            let x: &[T; L] = both.first_chunk().expect("two chunks");
            let next: &[T; L] = both.last_chunk().expect("two chunks");
            for k in 0..K {
                lanes[0][k] = plus_multiple(lanes[0][k], x, g[k], |x| x);
                lanes[1][k] = plus_multiple(lanes[1][k], next, g[k], |x| x);
            }
        }
        *sums = black_box(lanes);
    }

    /// The same of one chunk.
    #[inline(always)]
    fn add_to_chunk<T: Element + Into<N>, N: Number, const K: usize>(
        self,
        rows: &[&[T]],
        g: &[N],
        first: usize,
        start: usize,
        sums: &mut [[N; L]; K],
    ) {
        let mut lanes = *sums;
        for (row, g) in rows.iter().zip(g.chunks_exact(self.outputs)) {
            let g = numbers_of::<N, K>(g, first);
            let x: &[T; L] = row[start..].first_chunk().expect("rows are no shorter than a chunk");
            for k in 0..K {
                lanes[k] = plus_multiple(lanes[k], x, g[k], |x| x);
            }
        }
        *sums = black_box(lanes);
    }
}
