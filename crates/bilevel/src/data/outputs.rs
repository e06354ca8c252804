//! Products of dense rows with a matrix of several columns, and of their transpose with another.
//!
//! The lanes of a vector are columns of the rows, so that none is idle whatever the number of outputs, and entries are taken as they
//! are stored. The outputs go in [`Panels`]: each entry that is read serves all of a panel.

use std::array;
use std::hint::black_box;
use std::ops::Range;

use super::design::Element;
use super::lanes::{Number, Weights, fetch_chunk, multiply, plus_multiple};
use super::panels::{Panels, WIDEST};
use crate::company;
use crate::simd::vectorize;

/// Rows whose margins are taken at a time.
const ROWS: usize = 4;
/// Chunks of columns whose sums over the rows are taken at a time.
const CHUNKS: usize = 4;
/// `body` with the constant `K` as wide as a panel.
macro_rules! with_width {
    ($width:expr, $K:ident => $body:expr) => {
        with_width!($width, $K => $body, 1 2 3 4 5)
    };
    ($width:expr, $K:ident => $body:expr, $($narrow:literal)*) => {
        match $width {
            $($narrow => {
                const $K: usize = $narrow;
                $body
            })*
            _ => {
                const $K: usize = WIDEST;
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
    /// fetched.
    pub(super) fn margins<T: Element + Into<N>, N: Number, const IN: usize>(
        self,
        rows: &[&[T]],
        ahead: &[&[T]],
        weights: &[&[[N; L]]; IN],
        offsets: &[&[f64]; IN],
        margins: &mut [&mut [f64]; IN],
    ) {
        let middle = rows.len() / 2 / ROWS * ROWS;
        let mut second: [&mut [f64]; IN] = [(); IN].map(|()| Default::default());
        let mut of_second = second.iter_mut();
        let mut first = margins.each_mut().map(|margins| {
            let (first, second) = margins.split_at_mut(middle * self.outputs);
            *of_second.next().expect("one for each of the weights") = second;
            first
        });
        let (rows, ahead) = (rows.split_at(middle), ahead.split_at(middle.min(ahead.len())));
        company::join(
            || self.margins_of_half(rows.0, ahead.0, weights, offsets, &mut first),
            || self.margins_of_half(rows.1, ahead.1, weights, offsets, &mut second),
        );
    }

    // Not once for each number of weights, and each half.
    #[inline(never)]
    fn margins_of_half<T: Element + Into<N>, N: Number>(
        self,
        rows: &[&[T]],
        ahead: &[&[T]],
        weights: &[&[[N; L]]],
        offsets: &[&[f64]],
        margins: &mut [&mut [f64]],
    ) {
        vectorize(
            #[inline(always)]
            || {
                let (blocks, rest) = rows.as_chunks::<ROWS>();
                let (blocks_ahead, _) = ahead.as_chunks::<ROWS>();
                for (block, rows) in blocks.iter().enumerate() {
                    let next = blocks_ahead.get(block).unwrap_or(rows).map(<[T]>::as_ptr);
                    self.margins_of_rows(rows, block * ROWS, &next, weights, offsets, margins);
                }
                for (i, row) in rest.iter().enumerate() {
                    self.margins_of_rows(&[*row], blocks.len() * ROWS + i, &[row.as_ptr()], weights, offsets, margins);
                }
            },
        );
    }

    #[inline(always)]
    fn margins_of_rows<T: Element + Into<N>, N: Number, const R: usize>(
        self,
        rows: &[&[T]; R],
        position: usize,
        next: &[*const T; R],
        weights: &[&[[N; L]]],
        offsets: &[&[f64]],
        margins: &mut [&mut [f64]],
    ) {
        for ((weights, offsets), margins) in weights.iter().zip(offsets).zip(margins) {
            let margins = &mut margins[position * self.outputs..(position + R) * self.outputs];
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
                    for k in 0..K {
                        totals[k] = N::totals(&sums[k]);
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
                });
            }
        }
    }

    /// `sums += X^T G`, packed, for rows of `X` and `outputs` numbers of `g` for each.
    pub(super) fn add_transposed<T: Element + Into<N>, N: Number>(self, rows: &[&[T]], g: &[N], sums: &mut [[N; L]]) {
        let middle = self.count / 2;
        let (first, second) = sums.split_at_mut(self.packed(&self.panel(middle)).start);
        company::join(
            || self.add_to_panels(0..middle, rows, g, first),
            || self.add_to_panels(middle..self.count, rows, g, second),
        );
    }

    /// The sums of some of the panels.
    #[inline(never)]
    fn add_to_panels<T: Element + Into<N>, N: Number>(
        self,
        panels: Range<usize>,
        rows: &[&[T]],
        g: &[N],
        sums: &mut [[N; L]],
    ) {
        vectorize(
            #[inline(always)]
            || {
                let mut rest = &mut *sums;
                for panel in panels.clone().map(|k| self.panel(k)) {
                    let sums = rest.split_off_mut(..self.packed(&panel).len()).expect("sums of all of these panels");
                    with_width!(panel.len(), K => {
                        let (blocks, rest) = sums.as_chunks_mut::<K>().0.as_chunks_mut::<CHUNKS>();
                        let whole = blocks.len() * CHUNKS;
                        for (block, sums) in blocks.iter_mut().enumerate() {
                            self.add_to_chunks(rows, g, panel.start, block * CHUNKS, sums);
                        }
                        for (chunk, sums) in rest.iter_mut().enumerate() {
                            self.add_to_chunks(rows, g, panel.start, whole + chunk, array::from_mut(sums));
                        }
                    });
                }
            },
        );
    }

    /// The sums of `V` chunks and `K` outputs, from the `chunk`-th and the `first` on.
    #[inline(always)]
    fn add_to_chunks<T: Element + Into<N>, N: Number, const K: usize, const V: usize>(
        self,
        rows: &[&[T]],
        g: &[N],
        first: usize,
        chunk: usize,
        sums: &mut [[[N; L]; K]; V],
    ) {
        let starts: [usize; V] = array::from_fn(|v| ((chunk + v) * L).min(self.cols.max(L) - L));
        let mut lanes = *sums;
        for (row, g) in rows.iter().zip(g.chunks_exact(self.outputs)) {
            let g = numbers_of::<N, K>(g, first);
            for v in 0..V {
                let x: &[T; L] = row[starts[v]..].first_chunk().expect("rows are no shorter than a chunk");
                for k in 0..K {
                    lanes[v][k] = plus_multiple(lanes[v][k], x, g[k], |x| x);
                }
            }
        }
        *sums = black_box(lanes);
    }
}
