//! The coefficients of a quadratic `1/2 w' A w - b' w - w' B lambda`, and all products with them in one visit.
//!
//! Reading a matrix takes longer than multiplying with it. So of the symmetric one half is kept, each of its numbers serves both
//! of its places and all vectors, and of the other one each number serves the product with it and that with its transpose.
//! Products are linear in the coefficients, so those of several rows are added up before anything is multiplied.

use std::array;
use std::ops::Range;

use crate::simd::{Simd, Vectors, WithSimd, dispatch, lanes};

/// Rows of a block of `A`, which are cut off together; lengths are multiples of it.
pub(super) const BLOCK: usize = 8;
/// Rows that are multiplied at a time: so rarely are the sums over them read and written.
const ROWS: usize = 4;

/// Where the coefficients of a quadratic lie, for `w` in R^d and `lambda` in R^m.
///
/// First `L`, with `A = L + L'` and half the diagonal of `A` on its own: of the `k`-th eight rows the first `8 (k + 1)` entries. Then
/// the `m + 1` rows of `[b B]'`. Rows are filled up with zeros to a multiple of eight.
#[derive(Debug, Clone, Copy)]
pub(super) struct Layout {
    pub d: usize,
    pub m: usize,
}

/// Products with `A`: `products[k] += A x[k]`. Vectors of R^d are filled up with zeros to [`Layout::width`].
pub(super) struct Symmetric<'v, const K: usize> {
    pub x: [&'v [f64]; K],
    pub products: [&'v mut [f64]; K],
}

/// Products with `[b B]`: `plain += [b B] right`, and `transposed += [b B]' left`.
pub(super) struct Mixed<'v> {
    pub right: &'v [f64],
    pub plain: &'v mut [f64],
    pub left: &'v [f64],
    pub transposed: &'v mut [f64],
}

impl Layout {
    /// Entries of a row, and of the vectors it is multiplied with.
    pub fn width(self) -> usize {
        self.d.next_multiple_of(BLOCK)
    }

    /// Where the `k`-th eight rows of `L` begin.
    fn block(self, k: usize) -> usize {
        BLOCK * BLOCK * k * (k + 1) / 2
    }

    /// Where `[b B]'` begins.
    fn mixed(self) -> usize {
        self.block(self.width() / BLOCK)
    }

    /// What of the coefficients products with `A`, and with `[b B]`, take.
    pub fn part(self, symmetric: bool, mixed: bool) -> Range<usize> {
        let start = if symmetric { 0 } else { self.mixed() };
        start..if mixed { self.len() } else { self.mixed() }
    }

    /// Numbers in all.
    pub fn len(self) -> usize {
        self.mixed() + (self.m + 1) * self.width()
    }

    /// Where `L_ij` lies, `i >= j`.
    fn place(self, i: usize, j: usize) -> usize {
        self.block(i / BLOCK) + i % BLOCK * (i / BLOCK + 1) * BLOCK + j
    }

    /// `A_ij`.
    pub fn symmetric(self, coefficients: &[f64], i: usize, j: usize) -> f64 {
        coefficients[self.place(i.max(j), i.min(j))] * if i == j { 2.0 } else { 1.0 }
    }

    /// Puts `A_ij`, for `i >= j`, and `A_ji` in place.
    pub fn set_symmetric(self, coefficients: &mut [f64], i: usize, j: usize, x: f64) {
        coefficients[self.place(i, j)] = x / if i == j { 2.0 } else { 1.0 };
    }

    /// Puts `[b B]_jk` in place.
    pub fn set_mixed(self, coefficients: &mut [f64], j: usize, k: usize, x: f64) {
        coefficients[self.mixed() + k * self.width() + j] = x;
    }

    /// Adds the products with coefficients of which [`Layout::part`] is given.
    pub fn add_products<const K: usize>(
        self,
        part: &[f64],
        symmetric: &mut Symmetric<'_, K>,
        mixed: Option<&mut Mixed<'_>>,
    ) {
        let (triangle, rows) = part.split_at(self.part(K > 0, false).len());
        if K > 0 {
            dispatch(Triangle { layout: self, triangle, symmetric });
        }
        if let Some(mixed) = mixed {
            dispatch(MixedRows { width: self.width(), rows, mixed });
        }
    }
}

struct Triangle<'t, 'v, const K: usize> {
    layout: Layout,
    triangle: &'t [f64],
    symmetric: &'t mut Symmetric<'v, K>,
}

impl<const K: usize> WithSimd for Triangle<'_, '_, K> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Symmetric { x, products } = self.symmetric;
        for block in 0..self.layout.width() / BLOCK {
            let width = (block + 1) * BLOCK;
            let rows = &self.triangle[self.layout.block(block)..self.layout.block(block + 1)];
            for (half, rows) in rows.chunks_exact(ROWS * width).enumerate() {
                let first = block * BLOCK + half * ROWS;
                let own = x.map(|x| x[first..].first_chunk().expect("as many entries as rows"));
                let out = products.each_mut().map(|out| &mut out[..width]);
                let dots = add_rows::<S, ROWS, K>(simd, rows, own, *x, out);
                for (out, dots) in products.iter_mut().zip(dots) {
                    out[first..].iter_mut().zip(dots).for_each(|(out, dot)| *out += dot);
                }
            }
        }
    }
}

struct MixedRows<'r, 'v> {
    width: usize,
    rows: &'r [f64],
    mixed: &'r mut Mixed<'v>,
}

impl WithSimd for MixedRows<'_, '_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let (Mixed { right, plain, left, transposed }, width) = (self.mixed, self.width);
        let (blocks, rest) = right.as_chunks::<ROWS>();
        let (of_blocks, of_rest) = self.rows.split_at(blocks.len() * ROWS * width);
        let (to_blocks, to_rest) = transposed.split_at_mut(blocks.len() * ROWS);
        let parts = blocks.iter().zip(of_blocks.chunks_exact(ROWS * width)).zip(to_blocks.chunks_exact_mut(ROWS));
        for ((own, rows), transposed) in parts {
            let [dots] = add_rows::<S, ROWS, 1>(simd, rows, [own], [left], [plain]);
            transposed.iter_mut().zip(dots).for_each(|(out, dot)| *out += dot);
        }
        for ((own, row), transposed) in rest.iter().zip(of_rest.chunks_exact(width)).zip(to_rest) {
            let [[dot]] = add_rows::<S, 1, 1>(simd, row, [&[*own]], [left], [plain]);
            *transposed += dot;
        }
    }
}

/// `out[k] += sum_r own[k][r] row_r`; returns `row_r' x[k]`. The rows are as long as `out`.
#[inline(always)]
fn add_rows<S: Simd, const R: usize, const K: usize>(
    simd: S,
    rows: &[f64],
    own: [&[f64; R]; K],
    x: [&[f64]; K],
    out: [&mut [f64]; K],
) -> [[f64; R]; K] {
    let width = rows.len() / R;
    let vectors = width / lanes::<S, f64>();
    let rows: [&[S::f64s]; R] = array::from_fn(|r| &f64::vectors::<S>(&rows[r * width..(r + 1) * width])[..vectors]);
    let x = x.map(|x| &f64::vectors::<S>(x)[..vectors]);
    let out = out.map(|out| &mut f64::vectors_mut::<S>(out)[..vectors]);
    // Loops, as functions that are handed to an array's methods are not compiled for the vectors.
    let mut dots = [[f64::splat(simd, 0.0); R]; K];
    let mut factors = dots;
    for k in 0..K {
        for r in 0..R {
            factors[k][r] = f64::splat(simd, own[k][r]);
        }
    }
    for at in 0..vectors {
        for k in 0..K {
            let mut sum = out[k][at];
            for r in 0..R {
                dots[k][r] = f64::plus_multiple(simd, dots[k][r], rows[r][at], x[k][at]);
                sum = f64::plus_multiple(simd, sum, rows[r][at], factors[k][r]);
            }
            out[k][at] = sum;
        }
    }
    let mut totals = [[0.0; R]; K];
    for k in 0..K {
        for r in 0..R {
            totals[k][r] = f64::total(simd, dots[k][r]);
        }
    }
    totals
}
