//! Products of dense rows with a matrix of several columns, and of their transpose with another.
//!
//! The lanes of a vector are columns of the rows, so that none is idle whatever the number of outputs, and entries are taken as they
//! are stored. The outputs go in [`Panels`]: each entry that is read serves all of a panel.
//!
//! Whether the compiler makes vectors of these loops depends on little: measure all widths and kinds of entries after a change, and
//! with AVX2, too (`vgather` among the instructions is a bad sign).

use std::array;
use std::hint::black_box;
use std::sync::atomic::{Ordering, compiler_fence};

use super::design::Element;
use super::lanes::{Number, Weights, fetch_chunk, multiply, plus_multiple};
use super::panels::{MANY_CHUNKS, MANY_ROWS, Panels, WIDEST};
use crate::simd::vectorize;

/// `body` with the constant `K` as wide as a panel.
macro_rules! with_width {
    ($width:expr, $K:ident => $body:expr) => {
        with_width!($width, $K => $body, 1 2 3 4 5 6 7 8 9)
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
        let of_each = rows.len() * self.outputs;
        vectorize(
            #[inline(always)]
            || {
                let parts = weights.chunks_exact(self.len()).zip(offsets.chunks_exact(self.outputs));
                let mut ahead = ahead;
                for ((weights, offsets), margins) in parts.zip(margins.chunks_exact_mut(of_each)) {
                    for panel in self.ranges() {
                        let packed = &weights[self.packed(&panel)];
                        with_width!(panel.len(), K => {
                            let (packed, offsets) = (packed.as_chunks::<K>().0, numbers_of(offsets, panel.start));
                            let margins = &mut margins[panel.start..];
                            // A constant, so that no code is made for the others.
                            if const { K <= MANY_ROWS } && self.many_rows(K) {
                                self.margins_of_panel::<T, N, K, 4>(rows, ahead, packed, offsets, margins);
                            } else {
                                self.margins_of_panel::<T, N, K, 2>(rows, ahead, packed, offsets, margins);
                            }
                        });
                        ahead = &[];
                    }
                }
            },
        );
    }

    #[inline(always)]
    fn margins_of_panel<T: Element + Into<N>, N: Number, const K: usize, const R: usize>(
        self,
        rows: &[&[T]],
        ahead: &[&[T]],
        weights: &[[[N; L]; K]],
        offsets: &[f64; K],
        margins: &mut [f64],
    ) {
        let (blocks, rest) = rows.as_chunks::<R>();
        let (blocks_ahead, _) = ahead.as_chunks::<R>();
        let mut place = 0;
        for (block, rows) in blocks.iter().enumerate() {
            let next = blocks_ahead.get(block).map(|rows| rows.map(<[T]>::as_ptr));
            self.margins_of_rows(rows, next.as_ref(), weights, offsets, &mut margins[place..]);
            place += R * self.outputs;
        }
        for row in rest {
            self.margins_of_rows(&[*row], None, weights, offsets, &mut margins[place..]);
            place += self.outputs;
        }
    }

    #[inline(always)]
    fn margins_of_rows<T: Element + Into<N>, N: Number, const K: usize, const R: usize>(
        self,
        rows: &[&[T]; R],
        next: Option<&[*const T; R]>,
        weights: &[[[N; L]; K]],
        offsets: &[f64; K],
        margins: &mut [f64],
    ) {
        let (body, last) = weights.split_at(rows[0].len() / L);
        let sums = multiply(rows, Weights { body, last: last.first() }, |chunk| {
            if let Some(next) = next {
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
        for r in 0..R {
            let margins: &mut [f64; K] =
                margins[r * self.outputs..].first_chunk_mut().expect("as many margins as outputs");
            for k in 0..K {
                margins[k] = totals[k][r].widened() + offsets[k];
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
                        let sums = sums.as_chunks_mut::<K>().0;
                        // A constant, so that no code is made for the others.
                        let many = const { K <= MANY_CHUNKS } && self.many_chunks(K);
                        let (fours, rest) = if many { sums.as_chunks_mut::<4>() } else { (&mut [][..], sums) };
                        let mut chunk = 0;
                        for sums in fours {
                            self.add_to_chunks(rows, g, panel.start, chunk, sums);
                            chunk += 4;
                        }
                        let (pairs, rest) = rest.as_chunks_mut::<2>();
                        for sums in pairs {
                            self.add_to_chunks(rows, g, panel.start, chunk, sums);
                            chunk += 2;
                        }
                        for sums in rest {
                            self.add_to_chunks(rows, g, panel.start, chunk, array::from_mut(sums));
                        }
                    });
                }
            },
        );
    }

    /// The sums of `K` outputs from the `first` on and of `V` chunks from the `chunk`-th on.
    #[inline(always)]
    fn add_to_chunks<T: Element + Into<N>, N: Number, const K: usize, const V: usize>(
        self,
        rows: &[&[T]],
        g: &[N],
        first: usize,
        chunk: usize,
        sums: &mut [[[N; L]; K]; V],
    ) {
        let start = self.first_column(chunk);
        // The last chunk may overlap the one before.
        let last = self.first_column(chunk + V - 1) - start;
        let mut lanes = *sums;
        for (row, g) in rows.iter().zip(g.chunks_exact(self.outputs)) {
            let g = numbers_of::<N, K>(g, first);
            let span = &row[start..start + last + L];
            let x: [&[T; L]; V] = array::from_fn(|v| {
                if v + 1 < V { span[v * L..].first_chunk() } else { span.last_chunk() }.expect("chunks of a row")
            });
            for k in 0..K {
                // Of more outputs than this the compiler would make the lanes of a vector, and gather their sums.
                if k > 0 && k % 6 == 0 {
                    compiler_fence(Ordering::SeqCst);
                }
                for v in 0..V {
                    lanes[v][k] = plus_multiple(lanes[v][k], x[v], g[k], |x| x);
                }
            }
        }
        *sums = black_box(lanes);
    }
}
