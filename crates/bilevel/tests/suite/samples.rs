//! How rows are drawn, and what a visit of a sample computes.

use std::collections::HashSet;

use crate::models::{LOSSES, Numbers, STORED, Stored, matrix};
use bilevel::data::{CodedMatrix, DenseMatrix, DesignMatrix, RowRanges};
use bilevel::lower::StochasticLoss;
use bilevel::problems::glm::{EmpiricalRisk, Glm, Loss, Penalty, Reweighting, Weighting};
use bilevel::problems::quadratic::{Quadratic, QuadraticOptions};
use bilevel::problems::scaled::Scaled;
use bilevel::sample::{Purpose, Rng, Sample, Sampling};
use bilevel::upper::UpperObjective;

/// Numbers as tests of the losses need them: class codes, counts or reals.
fn targets(loss: Loss, n: usize) -> Vec<f64> {
    (0..n).map(|i| f64::from((i * 7 % 5) as u32 % loss.outputs().max(2) as u32)).collect()
}

fn rows_of(sample: &Sample) -> Vec<usize> {
    match sample {
        Sample::Block(block) => block.clone().collect(),
        Sample::Rows(rows) => rows.iter().map(|&row| row as usize).collect(),
        other => panic!("{other:?} holds no rows"),
    }
}

/// Draws `counts[row] += 1` and compares with equal shares: Pearson's statistic, below its 1 - 1e-6 quantile (Laurent and
/// Massart 2000: `n + 2 sqrt(n x) + 2 x` with `x = ln 1e6`).
fn assert_uniform(counts: &[f64], what: &str) {
    let mean = counts.iter().sum::<f64>() / counts.len() as f64;
    let statistic: f64 = counts.iter().map(|count| (count - mean).powi(2) / mean).sum();
    let (n, x) = (counts.len() as f64, 1e6_f64.ln());
    assert!(statistic < n + 2.0 * (n * x).sqrt() + 2.0 * x, "{what}: {statistic} for {n} rows");
}

#[test]
fn every_row_is_equally_likely() {
    for (n, batch) in [(10, 3), (7, 7), (12, 4), (5, 64), (1, 1)] {
        let mut rng = Rng::stream(3, Purpose::Lower, n as u64);
        let (mut sample, mut first, mut any) = (Sample::Full, vec![0.0; n], vec![0.0; n]);
        for _ in 0..20_000 {
            Sampling::Blocks.draw(n, batch, &mut rng, &mut sample);
            let rows = rows_of(&sample);
            assert_eq!(rows.len(), batch.min(n));
            assert_eq!(rows.iter().collect::<HashSet<_>>().len(), rows.len(), "a block holds no row twice");
            first[rows[0]] += 1.0;
            Sampling::Rows.draw(n, batch, &mut rng, &mut sample);
            assert_eq!(rows_of(&sample).len(), batch);
            rows_of(&sample).iter().for_each(|&row| any[row] += 1.0);
        }
        // A block is its start: uniform starts on a circle make every row exactly as likely as any other.
        assert_uniform(&first, "starts of blocks");
        assert_uniform(&any, "rows");
    }
}

#[test]
fn blocks_of_a_run_follow_one_another() {
    for (n, batch) in [(100_000, 64), (100_000, 1000), (100_000, 5000), (1500, 64), (300, 64), (64, 64), (3, 1)] {
        let (mut rng, mut sample) = (Rng::stream(6, Purpose::Lower, n as u64), Sample::Full);
        let mut draw = |rng: &mut Rng| {
            Sampling::Runs.draw(n, batch, rng, &mut sample);
            rows_of(&sample)
        };
        let blocks = (1024.min(n) / batch).max(1);
        let (mut starts, mut thirds) = (HashSet::new(), [0.0; 3]);
        for _ in 0..600 {
            let mut again = rng.clone();
            let run: Vec<Vec<usize>> = (0..blocks).map(|_| draw(&mut rng)).collect();
            assert_eq!(run, (0..blocks).map(|_| draw(&mut again)).collect::<Vec<_>>(), "a copy draws the same");
            let rows: Vec<usize> = run.concat();
            assert!(rows.windows(2).all(|pair| pair[1] == (pair[0] + 1) % n), "the rows of a run follow one another");
            assert_eq!(rows.iter().collect::<HashSet<_>>().len(), blocks * batch.min(n), "no row twice");
            starts.insert(rows[0]);
            for block in &run {
                thirds[3 * block[0] / n] += 1.0 / blocks as f64;
            }
        }
        // 600 starts among n places: of 1500 places some 494 are hit.
        assert!(starts.len() > 400.min(n / 4), "{} starts for {n} rows", starts.len());
        // A third of the rows has 200 of 600 runs: off by 80 with probability 1e-9 (Hoeffding).
        assert!(
            thirds.iter().all(|&third| (third - 200.0_f64).abs() < 80.0),
            "{n} rows in blocks of {batch}: {thirds:?}"
        );
    }
}

#[test]
fn sampled_gradients_average_to_the_full_one() {
    let numbers = Numbers::random(45, 6, 1);
    let (design, y) = (matrix(&numbers.x, 6, STORED[0]), targets(Loss::Logistic, 45));
    let rows = RowRanges::new([0..17, 20..45]);
    for sampling in [Sampling::Blocks, Sampling::Runs, Sampling::Rows] {
        let risk = EmpiricalRisk::new(&design, &y, rows.clone(), Loss::Logistic, true)
            .weighted(Weighting::Rows(&numbers.row_weights))
            .sampled_by(sampling);
        let glm = Glm::new(risk, Penalty::Shared);
        let (w, lambda) = ([0.3, -0.2, 0.1, 0.5, -0.4, 0.2, 0.1], [-1.0]);
        let (mut full, mut one) = (vec![0.0; 7], vec![0.0; 7]);
        glm.gradient(&w, &lambda, &Sample::Full, &mut full);
        let (mut rng, mut sample) = (Rng::stream(5, Purpose::Lower, 0), Sample::Full);
        let draws = 20_000.0;
        let (mut sum, mut squares) = (vec![0.0; 7], vec![0.0; 7]);
        for _ in 0..draws as usize {
            glm.draw(8, &mut rng, &mut sample);
            glm.gradient_only(&w, &lambda, &sample, &mut one);
            for ((sum, square), g) in sum.iter_mut().zip(&mut squares).zip(&one) {
                *sum += g;
                *square += g * g;
            }
        }
        for j in 0..7 {
            let mean = sum[j] / draws;
            let error = ((squares[j] / draws - mean * mean) / draws).sqrt();
            // Six standard errors in each of 14 comparisons: wrong by chance with probability 3e-8.
            assert!((mean - full[j]).abs() < 6.0 * error + 1e-12, "{sampling:?} {j}: {mean} {} +- {error}", full[j]);
        }
    }
}

#[test]
fn one_visit_gives_what_three_give() {
    for p in [1, 3, 5, 8, 13, 22, 70] {
        let n = 150;
        let numbers = Numbers::random(n, p, 2);
        let exact = STORED.into_iter().filter(|&stored| stored != Stored::DenseF32);
        for (loss, stored) in exact.flat_map(|stored| LOSSES.map(|loss| (loss, stored))) {
            let (design, y) = (matrix(&numbers.x, p, stored), targets(loss, n));
            let risk = EmpiricalRisk::new(&design, &y, RowRanges::all(n), loss, true)
                .weighted(Weighting::Rows(&numbers.row_weights));
            let glm = Glm::new(risk, Penalty::PerFeature { features: p });
            let dim = glm.dims().w;
            let mut rng = Rng::stream(6, Purpose::Start, 0);
            let mut random = |scale: f64| (0..dim).map(|_| scale * rng.normal()).collect::<Vec<f64>>();
            let (w, v, lambda) = (random(0.1), random(1.0), vec![-0.7; p]);
            let scale: Vec<f64> = random(0.1).iter().map(|s| 1.0 + s.abs()).collect();
            let scaled = Scaled { inner: &glm, scale: &scale[..] };
            let reweighted = glm.clone().reweighted(Reweighting::Sigmoid);
            let cleaning = reweighted.clone().holding(lambda.clone());
            let of_rows: Vec<f64> = (0..n).map(|i| (i as f64).sin()).collect();
            for zeta in [Sample::Full, Sample::Block(11..111), Sample::Rows((0..75).map(|i| i * 31 % 150).collect())] {
                compare(&glm, &w, &v, &lambda, &zeta, &format!("{loss:?} {stored:?} p = {p}"));
                compare(&scaled, &w, &v, &lambda, &zeta, &format!("scaled {loss:?} {stored:?} p = {p}"));
                for (glm, lambda) in [(&reweighted, [&lambda[..], &of_rows].concat()), (&cleaning, of_rows.clone())] {
                    compare(glm, &w, &v, &lambda, &zeta, &format!("weights of rows, {loss:?} {stored:?} p = {p}"));
                }
            }
        }
    }
}

/// Lengths around those of the blocks that its matrices are kept in.
#[test]
fn one_visit_of_a_quadratic_gives_what_three_give() {
    for (d, m) in [(1, 1), (3, 4), (7, 2), (8, 3), (9, 5), (16, 7), (21, 8), (30, 13)] {
        for ridge in [0.0, 0.3] {
            let g = Quadratic::random(&QuadraticOptions { rows: 20, w: d, lambda: m, ridge, ..Default::default() });
            let mut rng = Rng::stream(7, Purpose::Start, 0);
            let mut random = |n: usize| (0..n).map(|_| rng.normal()).collect::<Vec<f64>>();
            let (w, v, lambda) = (random(d), random(d), random(m));
            for zeta in [Sample::Full, Sample::Rows(vec![3, 19, 3, 7]), Sample::Block(2..9)] {
                compare(&g, &w, &v, &lambda, &zeta, &format!("d = {d}, m = {m}, ridge {ridge}, {zeta:?}"));
            }
            // The mean of the rows is the whole.
            let (mut full, mut of_rows) = (vec![0.0; d], vec![0.0; d]);
            g.gradient_only(&w, &lambda, &Sample::Full, &mut full);
            g.gradient_only(&w, &lambda, &Sample::Block(0..20), &mut of_rows);
            for (a, b) in full.iter().zip(&of_rows) {
                assert!((a - b).abs() <= 1e-12 * (1.0 + a.abs()), "d = {d}, m = {m}: {a}, {b}");
            }
        }
    }
}

fn compare(g: &impl StochasticLoss, w: &[f64], v: &[f64], lambda: &[f64], zeta: &Sample, what: &str) {
    let mut one = [vec![0.0; w.len()], vec![0.0; w.len()], vec![0.0; lambda.len()]];
    let mut three = one.clone();
    let [gradient, hessian, cross] = &mut one;
    g.directions(w, lambda, zeta, v, [gradient, hessian, cross]);
    let value = g.value(w, lambda, zeta);
    let expected = g.gradient(w, lambda, zeta, &mut three[0]);
    g.hessian_product(w, lambda, zeta, v, &mut three[1]);
    g.cross_product(w, lambda, zeta, v, &mut three[2]);
    assert!((value - expected).abs() <= 1e-12 * (1.0 + expected.abs()), "{what}: value {value}, {expected}");
    let mut only = vec![0.0; w.len()];
    g.gradient_only(w, lambda, zeta, &mut only);
    for (a, b) in one.iter().flatten().zip(three.iter().flatten()).chain(only.iter().zip(&three[0])) {
        assert!((a - b).abs() <= 1e-11 * (1.0 + b.abs()), "{what}: {a}, {b}");
    }
    // Two points on one sample: the difference.
    let other = |x: &[f64], shift: f64| x.iter().map(|x| 0.9 * x + shift).collect::<Vec<f64>>();
    let (w0, v0, lambda0) = (other(w, 0.01), other(v, -0.1), other(lambda, 0.2));
    let (mut there, mut change) = (one.clone(), one.clone());
    let [gradient, hessian, cross] = &mut there;
    g.directions(&w0, &lambda0, zeta, &v0, [gradient, hessian, cross]);
    let [gradient, hessian, cross] = &mut change;
    g.directions_change([w, &w0], [lambda, &lambda0], zeta, [v, &v0], [gradient, hessian, cross]);
    for ((change, a), b) in change.iter().flatten().zip(one.iter().flatten()).zip(there.iter().flatten()) {
        assert!((change - (a - b)).abs() <= 1e-11 * (1.0 + a.abs() + b.abs()), "{what}: {change}, {a} - {b}");
    }
}

#[test]
fn an_objective_at_two_points_gives_their_difference() {
    let (n, p) = (150, 22);
    let numbers = Numbers::random(n, p, 4);
    for (loss, stored) in STORED.into_iter().flat_map(|stored| LOSSES.map(|loss| (loss, stored))) {
        let (design, y) = (matrix(&numbers.x, p, stored), targets(loss, n));
        let risk = EmpiricalRisk::new(&design, &y, RowRanges::all(n), loss, true).as_upper(2);
        let dim = risk.dims().w;
        let points = [0.03, 0.05].map(|scale| (0..dim).map(|i| scale * (i as f64).sin()).collect::<Vec<f64>>());
        for zeta in [Sample::Full, Sample::Block(11..111), Sample::Rows((0..75).map(|i| i * 31 % 150).collect())] {
            let (mut one, mut two, mut change) = (vec![0.0; dim], vec![0.0; dim], vec![1.0; dim]);
            let mut of_lambda = vec![1.0; 2];
            risk.gradients(&points[0], &[0.0; 2], &zeta, &mut one, &mut of_lambda);
            risk.gradients(&points[1], &[0.0; 2], &zeta, &mut two, &mut of_lambda);
            let both = [&points[0][..], &points[1]];
            risk.gradients_change(both, [&[0.0; 2]; 2], &zeta, &mut change, &mut of_lambda);
            let rounding = if stored == Stored::DenseF32 { 1e-5 } else { 1e-11 };
            for ((change, a), b) in change.iter().zip(&one).zip(&two) {
                assert!(
                    (change - (a - b)).abs() <= rounding * (1.0 + a.abs()),
                    "{loss:?} {stored:?}: {change}, {a} - {b}"
                );
            }
            assert_eq!(of_lambda, [0.0; 2]);
        }
    }
}

/// Steps on samples of a dense matrix in single precision round each of their sums. With `|l''| <= c2` and `|l'''| <= c3` in
/// the margins, and the unit roundoff `u = 2^-24`:
///
/// * a margin is wrong by at most `e_i = (p + 2) u sum_j |x_ij w_j|` (Higham 2002, section 3.1; 2 for the vectors that were
///   rounded), so that `l'` is by `c2 e_i` and `l''` by `c3 e_i`;
/// * a sum over `n` rows adds `(n + 2) u` of the sum of the sizes of its terms.
///
/// The tests against formulas are on double precision, which the same code serves.
#[test]
fn single_precision_costs_a_step_no_more_than_its_roundings() {
    let n = 150;
    for p in [1, 3, 5, 8, 13, 16, 22, 70, 131] {
        let numbers = Numbers::random(n, p, 3);
        let pixels: Vec<f32> = numbers.x.iter().map(|x| (x.abs() * 100.0).round().min(255.0) as f32 - 128.0).collect();
        let pixels = DenseMatrix::new(n, p, pixels);
        let coded = CodedMatrix::encode(&pixels).expect("whole numbers lie on grids");
        let wide = |matrix: &DenseMatrix<f32>| matrix.values().iter().map(|&x| f64::from(x)).collect::<Vec<_>>();
        let DesignMatrix::DenseF32(plain) = matrix(&numbers.x, p, Stored::DenseF32) else { unreachable!() };
        let (plain_x, pixel_x) = (wide(&plain), wide(&pixels));
        // Codes are summed before the shift, of at most 128, is taken off: they are no larger than this beside the numbers.
        let designs = [
            (DesignMatrix::DenseF32(plain), plain_x, 0.0),
            (DesignMatrix::DenseF32(pixels), pixel_x.clone(), 0.0),
            (DesignMatrix::Coded(coded), pixel_x, 255.0),
        ];
        for (design, x, shift) in &designs {
            for (loss, c2, c3) in [(Loss::Logistic, 0.25, 0.1), (Loss::Squared, 1.0, 0.0)] {
                let y = targets(loss, n);
                let double = matrix(x, p, Stored::DenseF64);
                let model =
                    |design| Glm::new(EmpiricalRisk::new(design, &y, RowRanges::all(n), loss, false), Penalty::Shared);
                let models = [model(design), model(&double)];
                for zeta in [Sample::Block(11..131), Sample::Rows((0..75).map(|i| i * 31 % 150).collect())] {
                    let context = format!("{loss:?} p = {p} shift {shift} {zeta:?}");
                    within_roundings(&models, &zeta, x, &y, *shift, [c2, c3], &context);
                }
            }
        }
    }
}

/// `models` are of the same numbers, in storage and in double precision.
fn within_roundings(
    models: &[Glm<'_>; 2],
    zeta: &Sample,
    x: &[f64],
    y: &[f64],
    shift: f64,
    [c2, c3]: [f64; 2],
    context: &str,
) {
    let (p, lambda) = (models[0].dims().w, [-1.0]);
    let mut rng = Rng::stream(8, Purpose::Start, p as u64);
    let mut random = || (0..p).map(|_| 0.01 * rng.normal()).collect::<Vec<f64>>();
    let (w, v) = (random(), random());
    let rows = rows_of(zeta);
    let (count, u) = (rows.len() as f64, f64::from(f32::EPSILON) / 2.0);
    let (of_margins, of_rows) = ((p as f64 + 2.0) * u, (count + 2.0) * u);
    let mut bounds = [vec![1e-12; p], vec![1e-12; p]];
    for &row in &rows {
        let entry = |j: usize| x[row * p + j].abs() + shift;
        let size = |vector: &[f64]| (0..p).map(|j| entry(j) * vector[j].abs()).sum::<f64>();
        let (w, v) = (size(&w), size(&v));
        let derivative = c2 * w + 2.0 + y[row].abs();
        let [of_gradient, of_product] = &mut bounds;
        for (j, (gradient, product)) in of_gradient.iter_mut().zip(of_product).enumerate() {
            *gradient += entry(j) / count * (c2 * of_margins * w + of_rows * derivative);
            *product += entry(j) / count * v * (c2 * of_margins + c3 * of_margins * w + of_rows * c2);
        }
    }
    let found = models.each_ref().map(|glm| {
        let mut apart = [vec![0.0; p], vec![0.0; p]];
        glm.gradient_only(&w, &lambda, zeta, &mut apart[0]);
        glm.hessian_product(&w, &lambda, zeta, &v, &mut apart[1]);
        let mut fused = [vec![0.0; p], vec![0.0; p]];
        let [gradient, product] = &mut fused;
        glm.directions(&w, &lambda, zeta, &v, [gradient, product, &mut [0.0]]);
        let mut gradient = vec![0.0; p];
        let value = glm.gradient(&w, &lambda, zeta, &mut gradient);
        (apart, fused, value, gradient)
    });
    let [(apart, fused, value, gradient), (expected, _, expected_value, _)] = &found;
    for k in 0..2 {
        for j in 0..p {
            for found in [apart[k][j], fused[k][j]] {
                let (error, bound) = ((found - expected[k][j]).abs(), bounds[k][j]);
                // Second order in the roundings: a hundredth more.
                assert!(error <= 1.01 * bound, "{context}: product {k}, entry {j}: {error:e} > {bound:e}");
            }
        }
    }
    // Values, and gradients that are compared with them, are in double precision.
    assert!((value - expected_value).abs() <= 1e-11 * (1.0 + expected_value), "{context}: {value} {expected_value}");
    for (a, b) in gradient.iter().zip(&expected[0]) {
        assert!((a - b).abs() <= 1e-9 * (1.0 + b.abs()), "{context}: {a}, {b}");
    }
}

#[test]
fn codes_hold_the_same_numbers_and_give_the_same_products() {
    let (n, p) = (130, 21);
    let mut rng = Rng::stream(7, Purpose::Start, 0);
    // Pixels, brought to mean 0 and variance 1 as the tuning does.
    let mean: Vec<f64> = (0..p).map(|_| 100.0 * rng.uniform()).collect();
    let deviation: Vec<f64> = (0..p).map(|_| 20.0 + 50.0 * rng.uniform()).collect();
    let pixel = |at: usize, rng: &mut Rng| ((rng.below(256) as f64 - mean[at % p]) / deviation[at % p]) as f32;
    let values: Vec<f32> = (0..n * p).map(|at| pixel(at, &mut rng)).collect();
    let dense = DenseMatrix::new(n, p, values.clone());
    let coded = CodedMatrix::encode(&dense).expect("pixels lie on grids");
    assert_eq!(coded.decode().values(), values, "nothing is lost");
    assert_eq!(coded.select_rows(&[3, 1]).decode(), dense.select_rows(&[3, 1]));
    let mut broken = dense.clone();
    broken.values_mut()[5 * p] += 0.001;
    assert!(CodedMatrix::encode(&broken).is_none(), "a number off the grid has no code");

    let designs = [DesignMatrix::DenseF32(dense), DesignMatrix::Coded(coded)];
    for loss in LOSSES {
        let y = targets(loss, n);
        let results = designs.each_ref().map(|design| {
            let glm = Glm::new(EmpiricalRisk::new(design, &y, RowRanges::all(n), loss, true), Penalty::Shared);
            let dim = glm.dims().w;
            let (w, v): (Vec<f64>, Vec<f64>) = (0..dim).map(|i| (0.01 * (i as f64).sin(), (i as f64).cos())).unzip();
            let mut all = Vec::new();
            for zeta in [Sample::Full, Sample::Block(5..99), Sample::Rows(vec![3, 77, 3, 129])] {
                let mut out = [vec![0.0; dim], vec![0.0; dim], vec![0.0; 1]];
                let [gradient, hessian, cross] = &mut out;
                glm.directions(&w, &[-1.0], &zeta, &v, [gradient, hessian, cross]);
                all.push(glm.value(&w, &[-1.0], &zeta));
                all.extend(out.concat());
            }
            let mut diagonal = vec![0.0; dim];
            use bilevel::lower::Curved;
            glm.curvature(&w, &[-1.0]).diagonal(&mut diagonal);
            all.extend(diagonal);
            all
        });
        for (a, b) in results[0].iter().zip(&results[1]) {
            // The one rounds its numbers to single precision, the other does not.
            assert!((a - b).abs() <= 1e-6 * (1.0 + a.abs()), "{loss:?}: {a}, {b}");
        }
    }
}
