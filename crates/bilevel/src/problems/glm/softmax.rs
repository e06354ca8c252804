//! The softmax on blocks of margins, `C` numbers a row.
//!
//! Rows of few classes are shorter than the processor's vectors, and a loop of a length that the compiler does not know takes
//! longer than the arithmetic in it. So the exponentials are taken over many rows at once, and the loops over a row are
//! compiled for each small number of classes.

use std::sync::atomic::{Ordering, compiler_fence};

use crate::elementary::exp;
use crate::simd::vectorize;

/// Rows of which exponentials are taken at once.
const ROWS: usize = 64;

/// `body` with `classes` as a constant where it is small.
macro_rules! with_constant {
    ($classes:ident, $body:expr) => {
        with_constant!($classes, $body, 2 3 4 5 6 7 8 9 10)
    };
    ($classes:ident, $body:expr, $($small:literal)*) => {
        match $classes {
            $($small => {
                let $classes = $small;
                $body
            })*
            _ => $body,
        }
    };
}

/// Replaces the margins of each row by its class probabilities; returns `sum_i weight(i) loss_i`.
#[inline(always)]
pub(super) fn probabilities(margins: &mut [f64], y: &[f64], weight: impl Fn(usize) -> f64, classes: usize) -> f64 {
    let (mut sum, mut own, mut totals) = (0.0, [0.0; ROWS], [0.0; ROWS]);
    for (block, (margins, y)) in margins.chunks_mut(ROWS * classes).zip(y.chunks(ROWS)).enumerate() {
        let (own, totals) = (&mut own[..y.len()], &mut totals[..y.len()]);
        with_constant!(classes, subtract_largest(margins, y, own, classes));
        margins.iter_mut().for_each(|m| *m = exp(*m));
        with_constant!(classes, normalise(margins, totals, classes));
        // A loop of its own, which goes where its sum is not used.
        for (i, (total, own)) in totals.iter().zip(&*own).enumerate() {
            sum += weight(block * ROWS + i) * (total.ln() - own);
        }
    }
    sum
}

/// Subtracts the largest margin of each row; puts what becomes of that of its class into `own`.
#[inline(always)]
fn subtract_largest(margins: &mut [f64], y: &[f64], own: &mut [f64], classes: usize) {
    for ((row, &y), own) in margins.chunks_exact_mut(classes).zip(y).zip(own) {
        let largest = row.iter().copied().fold(f64::NEG_INFINITY, |a, b| if b > a { b } else { a });
        row.iter_mut().for_each(|m| *m -= largest);
        *own = row[y as usize];
    }
}

/// Keeps the compiler from making the lanes of a vector of several rows: it takes longer to move their numbers than to add them, but
/// for two and three.
#[inline(always)]
fn row_by_row(classes: usize) {
    if classes > 3 {
        compiler_fence(Ordering::SeqCst);
    }
}

/// Divides each row by its sum, which goes into `totals`.
#[inline(always)]
fn normalise(exponentials: &mut [f64], totals: &mut [f64], classes: usize) {
    for (row, total) in exponentials.chunks_exact_mut(classes).zip(totals) {
        row_by_row(classes);
        *total = row.iter().sum();
        let inverse = 1.0 / *total;
        row.iter_mut().for_each(|m| *m *= inverse);
    }
}

/// From probabilities to the derivatives of the loss in the margins: `p_c - [c = y]`.
pub(super) fn subtract_targets(probabilities: &mut [f64], y: &[f64], classes: usize) {
    for (row, &y) in probabilities.chunks_exact_mut(classes).zip(y) {
        row[y as usize] -= 1.0;
    }
}

/// `u = (diag(p) - p p^T) u` for each row.
pub(super) fn curvature_product(probabilities: &[f64], u: &mut [f64], classes: usize) {
    #[inline(always)]
    fn rows(probabilities: &[f64], u: &mut [f64], classes: usize) {
        for (u, p) in u.chunks_exact_mut(classes).zip(probabilities.chunks_exact(classes)) {
            row_by_row(classes);
            let mean: f64 = u.iter().zip(p).map(|(u, p)| u * p).sum();
            u.iter_mut().zip(p).for_each(|(u, p)| *u = p * (*u - mean));
        }
    }
    vectorize(
        #[inline(always)]
        || with_constant!(classes, rows(probabilities, u, classes)),
    );
}
