//! Kernels on slices of `f64`: the few operations every solver is made of.
//!
//! Two reasons to have them here rather than to write loops in place. Speed: the compiler vectorises sums only when the
//! order of summation is ours to choose, and only for the instruction set it may assume, so the loops run under
//! `pulp`'s runtime dispatch. Replay: the order of summation is fixed by the code (eight-lane blocks, then a tree, then the
//! tail) and no fused multiply-add is used, so that a seed gives the same bits on every machine, whatever its vectors.
//!
//! All slices of one call must have one length; this is asserted.

use crate::scratch::scratch;
use crate::simd::vectorize;

/// Number of independent partial sums of a reduction.
const LANES: usize = 32;

/// Runs a loop under the best instruction set of the machine; what it calls must be inlined into it.
macro_rules! dispatch {
    ($run:expr) => {
        vectorize($run)
    };
}

/// `sum_i f(x_i, y_i)` in the fixed order described in the module documentation.
#[inline(always)]
fn reduce(x: &[f64], y: &[f64], f: impl Fn(f64, f64) -> f64) -> f64 {
    let mut lanes = [0.0; LANES];
    let (x_blocks, x_tail) = x.as_chunks::<LANES>();
    let (y_blocks, y_tail) = y.as_chunks::<LANES>();
    for (x, y) in x_blocks.iter().zip(y_blocks) {
        for i in 0..LANES {
            lanes[i] += f(x[i], y[i]);
        }
    }
    let mut width = LANES / 2;
    while width > 0 {
        for i in 0..width {
            lanes[i] += lanes[i + width];
        }
        width /= 2;
    }
    let mut total = lanes[0];
    for (&x, &y) in x_tail.iter().zip(y_tail) {
        total += f(x, y);
    }
    total
}

/// `x^T y`.
pub fn dot(x: &[f64], y: &[f64]) -> f64 {
    assert_eq!(x.len(), y.len());
    dispatch!(|| reduce(x, y, |x, y| x * y))
}

/// `sum_i x_i`.
pub fn sum(x: &[f64]) -> f64 {
    dispatch!(|| reduce(x, x, |x, _| x))
}

/// `|x|^2`.
pub fn norm_squared(x: &[f64]) -> f64 {
    dot(x, x)
}

/// Euclidean norm `|x|`.
pub fn norm(x: &[f64]) -> f64 {
    norm_squared(x).sqrt()
}

/// `|x - y|^2`.
pub fn distance_squared(x: &[f64], y: &[f64]) -> f64 {
    assert_eq!(x.len(), y.len());
    dispatch!(|| reduce(x, y, |x, y| (x - y) * (x - y)))
}

/// `|x - y|`.
pub fn distance(x: &[f64], y: &[f64]) -> f64 {
    distance_squared(x, y).sqrt()
}

/// `sum_i |x_i y_i|`: the size against which the rounding error of [`dot`] is to be judged.
pub fn dot_abs(x: &[f64], y: &[f64]) -> f64 {
    assert_eq!(x.len(), y.len());
    dispatch!(|| reduce(x, y, |x, y| (x * y).abs()))
}

/// `max_i |x_i|`; zero for an empty slice, NaN when any element is NaN.
pub fn max_abs(x: &[f64]) -> f64 {
    dispatch!(|| {
        let mut largest = 0.0_f64;
        let mut nan = false;
        for &x in x {
            let x_abs = x.abs();
            nan |= x.is_nan();
            largest = if x_abs > largest { x_abs } else { largest };
        }
        if nan { f64::NAN } else { largest }
    })
}

/// True when no element is infinite or NaN.
pub fn all_finite(x: &[f64]) -> bool {
    dispatch!(|| x.iter().fold(true, |ok, x| ok & x.is_finite()))
}

/// True when both have one length and the same elements.
pub fn equal(x: &[f64], y: &[f64]) -> bool {
    x.len() == y.len() && dispatch!(|| x.iter().zip(y).fold(true, |same, (x, y)| same & (x == y)))
}

/// `out = x - a out`: a gradient becomes the gradient step from `x`.
pub fn step_from(x: &[f64], a: f64, out: &mut [f64]) {
    assert_eq!(x.len(), out.len());
    dispatch!(|| {
        for (out, &x) in out.iter_mut().zip(x) {
            *out = x - a * *out;
        }
    })
}

/// `y += a x`.
pub fn axpy(a: f64, x: &[f64], y: &mut [f64]) {
    assert_eq!(x.len(), y.len());
    dispatch!(|| {
        for (y, &x) in y.iter_mut().zip(x) {
            *y += a * x;
        }
    })
}

/// `y = x + b y` (the direction update of conjugate gradients).
pub fn xpby(x: &[f64], b: f64, y: &mut [f64]) {
    assert_eq!(x.len(), y.len());
    dispatch!(|| {
        for (y, &x) in y.iter_mut().zip(x) {
            *y = x + b * *y;
        }
    })
}

/// `x *= a`.
pub fn scale(a: f64, x: &mut [f64]) {
    dispatch!(|| {
        for x in x.iter_mut() {
            *x *= a;
        }
    })
}

/// `x += b`, each element.
pub fn shift(b: f64, x: &mut [f64]) {
    dispatch!(|| {
        for x in x.iter_mut() {
            *x += b;
        }
    })
}

/// `out = a x`.
pub fn scaled_copy(a: f64, x: &[f64], out: &mut [f64]) {
    assert_eq!(x.len(), out.len());
    dispatch!(|| {
        for (out, &x) in out.iter_mut().zip(x) {
            *out = a * x;
        }
    })
}

/// `out = x - y`.
pub fn subtract(x: &[f64], y: &[f64], out: &mut [f64]) {
    assert!(x.len() == y.len() && x.len() == out.len());
    dispatch!(|| {
        for ((out, &x), &y) in out.iter_mut().zip(x).zip(y) {
            *out = x - y;
        }
    })
}

/// `out = x * y`, element by element.
pub fn multiply(x: &[f64], y: &[f64], out: &mut [f64]) {
    assert!(x.len() == y.len() && x.len() == out.len());
    dispatch!(|| {
        for ((out, &x), &y) in out.iter_mut().zip(x).zip(y) {
            *out = x * y;
        }
    })
}

/// `out += x * y + b z`, element by element.
pub fn add_combination(x: &[f64], y: &[f64], b: f64, z: &[f64], out: &mut [f64]) {
    assert!(x.len() == y.len() && x.len() == z.len() && x.len() == out.len());
    dispatch!(|| {
        for (((out, &x), &y), &z) in out.iter_mut().zip(x).zip(y).zip(z) {
            *out += x * y + b * z;
        }
    })
}

/// `x = fresh + keep (x - before)`: a recursive estimate (STORM).
pub(crate) fn recur(keep: f64, fresh: &[f64], before: &[f64], x: &mut [f64]) {
    assert!(x.len() == fresh.len() && x.len() == before.len());
    dispatch!(|| {
        for ((x, fresh), before) in x.iter_mut().zip(fresh).zip(before) {
            *x = fresh + keep * (*x - before);
        }
    })
}

/// `x += eta (target - x)`: one step of a relaxed fixed-point iteration, or of a running mean.
pub fn move_towards(eta: f64, target: &[f64], x: &mut [f64]) {
    assert_eq!(x.len(), target.len());
    dispatch!(|| {
        for (x, &target) in x.iter_mut().zip(target) {
            *x += eta * (target - *x);
        }
    })
}

/// Adds `b` to each row of `rows`.
pub(crate) fn add_to_rows(b: &[f64], rows: &mut [f64]) {
    match b {
        &[b] => shift(b, rows),
        _ => vectorize(
            #[inline(always)]
            || {
                for row in rows.chunks_exact_mut(b.len()) {
                    row.iter_mut().zip(b).for_each(|(x, b)| *x += b);
                }
            },
        ),
    }
}

/// Adds each row of `rows` to `out`.
pub(crate) fn add_rows(rows: &[f64], out: &mut [f64]) {
    // Rows may be shorter than a vector: several at a time are one long row.
    const ROWS: usize = 8;
    match out {
        [out] => *out += sum(rows),
        _ => scratch(ROWS * out.len(), |sums: &mut [f64]| {
            vectorize(
                #[inline(always)]
                || {
                    sums.fill(0.0);
                    for rows in rows.chunks(sums.len().max(1)) {
                        sums.iter_mut().zip(rows).for_each(|(sum, x)| *sum += x);
                    }
                    for row in sums.chunks_exact(out.len().max(1)) {
                        out.iter_mut().zip(row).for_each(|(out, x)| *out += x);
                    }
                },
            );
        }),
    }
}

/// Adds `sum_j x_j row_j` to `out`.
pub(crate) fn add_weighted_rows(x: &[f64], rows: &[f64], out: &mut [f64]) {
    assert_eq!(rows.len(), x.len() * out.len());
    vectorize(
        #[inline(always)]
        || {
            let mut first = 0;
            while first < out.len() {
                first += match out.len() - first {
                    8.. => add_weighted_columns::<8>(x, rows, first, out),
                    4.. => add_weighted_columns::<4>(x, rows, first, out),
                    2.. => add_weighted_columns::<2>(x, rows, first, out),
                    _ => add_weighted_columns::<1>(x, rows, first, out),
                };
            }
        },
    );
}

/// The numbers `first..first + N` of [`add_weighted_rows`]; returns `N`.
#[inline(always)]
fn add_weighted_columns<const N: usize>(x: &[f64], rows: &[f64], first: usize, out: &mut [f64]) -> usize {
    // Of rows in turn, so that additions do not wait for each other.
    const TURNS: usize = 4;
    let mut sums = [[0.0; N]; TURNS];
    for (x, rows) in x.chunks(TURNS).zip(rows.chunks(TURNS * out.len())) {
        for ((x, row), sums) in x.iter().zip(rows.chunks_exact(out.len())).zip(&mut sums) {
            let row = &row[first..first + N];
            for k in 0..N {
                sums[k] += x * row[k];
            }
        }
    }
    for k in 0..N {
        out[first + k] += (sums[0][k] + sums[1][k]) + (sums[2][k] + sums[3][k]);
    }
    N
}
