//! Products with several outputs, against the speed at which the processor multiplies and adds, and against faer.
//!
//! ```text
//! cargo bench -p bilevel --bench outputs
//! ```
//! The speed of multiply-adds is measured in the same run, on numbers in registers, in the precision that the product is computed in:
//! single for the steps on 64 rows, double for passes over all rows. Everything on one thread. Steps contain the softmax and what
//! goes with it, and the rows of each are elsewhere; faer only multiplies, and always the same rows.

mod common;

use std::hint::black_box;

use bilevel::data::{DesignMatrix, Pass, RowRanges};
use bilevel::lower::StochasticLoss;
use bilevel::problems::glm::{EmpiricalRisk, Glm, Loss, Penalty};
use bilevel::sample::{Purpose, Rng, Sample};
use common::{Candidate, Data};
use faer::linalg::matmul::matmul;
use faer::{Accum, MatMut, MatRef, Par};
use pulp::{Arch, Simd, WithSimd};

const BATCH: usize = 64;
/// Sums that do not wait for each other.
const SUMS: usize = 12;
/// Multiply-adds of one call, for each sum.
const TIMES: usize = 1000;

struct Peak<const DOUBLE: bool>;

impl<const DOUBLE: bool> WithSimd for Peak<DOUBLE> {
    /// Multiply-adds of single numbers.
    type Output = f64;

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) -> f64 {
        let times = black_box(TIMES);
        if DOUBLE {
            let (x, mut sums) = (simd.splat_f64s(black_box(0.5)), [simd.splat_f64s(1.0); SUMS]);
            for _ in 0..times {
                for sum in &mut sums {
                    *sum = simd.mul_add_f64s(*sum, x, x);
                }
            }
            black_box(sums);
            (TIMES * SUMS * S::F64_LANES) as f64
        } else {
            let (x, mut sums) = (simd.splat_f32s(black_box(0.5)), [simd.splat_f32s(1.0); SUMS]);
            for _ in 0..times {
                for sum in &mut sums {
                    *sum = simd.mul_add_f32s(*sum, x, x);
                }
            }
            black_box(sums);
            (TIMES * SUMS * S::F32_LANES) as f64
        }
    }
}

/// `X W` and `X^T G` of the same block of rows by faer, all matrices row after row as in a visit.
fn by_general_products(data: &Data, classes: usize) -> impl FnMut() {
    let DesignMatrix::DenseF32(matrix) = &data.design else { unreachable!("simulated data are dense") };
    let p = matrix.cols();
    let x = MatRef::from_row_major_slice(&matrix.values()[..BATCH * p], BATCH, p);
    let (w, mut margins, mut sums) = (vec![0.01_f32; p * classes], vec![0.0; BATCH * classes], vec![0.0; p * classes]);
    move || {
        let w = MatRef::from_row_major_slice(&w, p, classes);
        let mut margins = MatMut::from_row_major_slice_mut(&mut margins, BATCH, classes);
        matmul(margins.as_mut(), Accum::Replace, x, w, 1.0, Par::Seq);
        let sums = MatMut::from_row_major_slice_mut(&mut sums, p, classes);
        matmul(black_box(sums), Accum::Add, x.transpose(), margins.as_ref(), 1.0, Par::Seq);
    }
}

fn outputs(data: &Data, classes: usize) {
    let (n, p) = (data.design.rows(), data.design.cols());
    let y: Vec<f64> = (0..n).map(|i| (i * 7 % classes) as f64).collect();
    let risk = EmpiricalRisk::new(&data.design, &y, RowRanges::all(n), Loss::Softmax { classes }, true);
    let glm = Glm::new(risk, Penalty::PerClass { outputs: classes });
    let (d, lambda) = (glm.dims().w, vec![-2.0; classes]);
    let (w, v) = (vec![0.01; d], vec![0.1; d]);
    let pass = Pass::new(&data.design, &RowRanges::all(n));
    let (mut rngs, mut samples) = ([1, 2].map(|k| Rng::stream(0, Purpose::Lower, k)), [Sample::Full, Sample::Full]);
    let ([rng, other_rng], [sample, other]) = (rngs.each_mut(), samples.each_mut());
    let (mut gradient, mut gradient_too, mut product) = (vec![0.0; d], vec![0.0; d], vec![0.0; d]);
    let (mut cross, mut sums, mut columns) = (vec![0.0; classes], vec![0.0; p * classes], vec![0.0; classes]);
    let mut candidates = [
        Candidate::new("multiply-adds, single", || {
            black_box(Arch::new().dispatch(Peak::<false>));
        }),
        Candidate::new("multiply-adds, double", || {
            black_box(Arch::new().dispatch(Peak::<true>));
        }),
        Candidate::new("64 rows: gradient", || {
            glm.draw(BATCH, rng, sample);
            glm.gradient_only(&w, &lambda, sample, &mut gradient);
        }),
        Candidate::new("64 rows: and Hessian product", || {
            glm.draw(BATCH, other_rng, other);
            glm.directions(&w, &lambda, other, &v, [&mut gradient_too, &mut product, &mut cross]);
        }),
        Candidate::new("64 rows: products by faer", by_general_products(data, classes)),
        Candidate::new("all rows: X^T (X W)", || {
            pass.margins_and_transpose(&w[..p * classes], &vec![0.0; classes], |_, _, _| 0.0, &mut sums, &mut columns);
        }),
    ];
    let seconds = common::measure(&mut candidates);
    let numbers = [Arch::new().dispatch(Peak::<false>), Arch::new().dispatch(Peak::<true>)];
    let peaks = [numbers[0] / seconds[0].quiet, numbers[1] / seconds[1].quiet];
    let once = (2 * p * classes) as f64;
    let work =
        [numbers[0], numbers[1], once * BATCH as f64, 2.0 * once * BATCH as f64, once * BATCH as f64, once * n as f64];
    for (k, (candidate, seconds)) in candidates.iter().zip(&seconds).enumerate() {
        let peak = peaks[usize::from(k == 1 || k == 5)];
        let (speed, share) = (work[k] / seconds.quiet / 1e9, 100.0 * work[k] / seconds.quiet / peak);
        let name = format!("{}, {classes} classes", data.name);
        println!("{name:<40} {:<30} {:10.2} {speed:10.1} {share:8.0} %", candidate.name, seconds.quiet * 1e6);
    }
}

fn main() {
    println!(
        "matrix                                   product                        microseconds  G mult-adds/s  of the processor (quiet tenth)"
    );
    let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build().expect("a thread");
    pool.install(|| {
        outputs(&common::normal(20_000, 54), 7);
        outputs(&common::normal(20_000, 784), 10);
        outputs(&common::normal(20_000, 54), 40);
    });
}
