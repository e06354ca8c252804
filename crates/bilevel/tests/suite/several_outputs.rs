//! Products with several outputs against their definition, on all storages, at sizes around those of the vectors and of what
//! counts as wide.

use crate::models::{Stored, matrix};
use bilevel::data::{CodedMatrix, DenseMatrix, DesignMatrix, RowPick, RowRanges};
use bilevel::lower::StochasticLoss;
use bilevel::problems::glm::{EmpiricalRisk, Glm, Loss, Penalty};
use bilevel::sample::{Purpose, Rng, Sample};

const ROWS: usize = 150;
const COLUMNS: [usize; 11] = [1, 2, 7, 8, 9, 16, 21, 54, 131, 171, 176];
const OUTPUTS: [usize; 12] = [2, 3, 4, 5, 6, 7, 8, 9, 10, 16, 17, 40];

/// Whole numbers, of which a byte an entry is enough.
fn numbers(p: usize, rng: &mut Rng) -> Vec<f64> {
    (0..ROWS * p).map(|_| rng.below(9) as f64 - 4.0).collect()
}

fn designs(x: &[f64], p: usize) -> [DesignMatrix; 5] {
    let single = DenseMatrix::new(ROWS, p, x.iter().map(|&x| x as f32).collect());
    let coded = CodedMatrix::encode(&single).expect("whole numbers lie on grids");
    let [double, csr, wide_csr] = [Stored::DenseF64, Stored::CsrF32, Stored::CsrF64].map(|stored| matrix(x, p, stored));
    [double, DesignMatrix::DenseF32(single), DesignMatrix::Coded(coded), csr, wide_csr]
}

fn normals(count: usize, rng: &mut Rng) -> Vec<f64> {
    (0..count).map(|_| rng.normal()).collect()
}

fn assert_close(found: &[f64], expected: &[f64], tolerance: f64, what: &str) {
    let size = expected.iter().fold(1.0_f64, |size, x| size.max(x.abs()));
    for (at, (a, b)) in found.iter().zip(expected).enumerate() {
        assert!((a - b).abs() <= tolerance * size, "{what}, entry {at}: {a}, {b}");
    }
}

#[test]
fn products_are_those_of_the_definition() {
    let mut rng = Rng::stream(1, Purpose::Start, 0);
    let scattered: Vec<u32> = (0..77).map(|i| i * 31 % ROWS as u32).collect();
    for p in COLUMNS {
        let x = numbers(p, &mut rng);
        for outputs in OUTPUTS {
            let (w, start) = (normals(p * outputs, &mut rng), normals(p * outputs, &mut rng));
            for pick in [RowPick::Span(3..142), RowPick::List(&scattered), RowPick::Span(5..6), RowPick::Span(0..0)] {
                let g = normals(pick.len() * outputs, &mut rng);
                let (mut margins, mut sums) = (vec![0.0; pick.len() * outputs], start.clone());
                for i in 0..pick.len() {
                    let row = &x[pick.row(i) * p..][..p];
                    for c in 0..outputs {
                        margins[i * outputs + c] = (0..p).map(|j| row[j] * w[j * outputs + c]).sum();
                        (0..p).for_each(|j| sums[j * outputs + c] += row[j] * g[i * outputs + c]);
                    }
                }
                for design in designs(&x, p) {
                    let what = format!("{p} columns, {outputs} outputs, {} rows", pick.len());
                    let (mut found, mut found_sums) = (vec![f64::NAN; margins.len()], start.clone());
                    design.block_margins(&pick, &w, outputs, &mut found);
                    assert_close(&found, &margins, 1e-13, &what);
                    design.add_block_transpose(&pick, &g, outputs, &mut found_sums);
                    assert_close(&found_sums, &sums, 1e-13, &what);
                }
            }
        }
    }
}

/// Gradient and Hessian product of the mean softmax loss over `rows`, and the means of the intercept's unit penalty.
fn by_definition(
    x: &[f64],
    y: &[f64],
    [p, classes]: [usize; 2],
    intercept: bool,
    rows: &[usize],
    w: &[f64],
    v: &[f64],
) -> [Vec<f64>; 2] {
    let mut out = [vec![0.0; w.len()], vec![0.0; w.len()]];
    for &i in rows {
        let entry = |j: usize| if j == p { 1.0 } else { x[i * p + j] };
        let height = p + usize::from(intercept);
        let product = |w: &[f64], c: usize| -> f64 { (0..height).map(|j| entry(j) * w[j * classes + c]).sum() };
        let exponentials: Vec<f64> = (0..classes).map(|c| product(w, c).exp()).collect();
        let total: f64 = exponentials.iter().sum();
        let mean: f64 = (0..classes).map(|c| exponentials[c] / total * product(v, c)).sum();
        for c in 0..classes {
            let probability = exponentials[c] / total;
            let own = if y[i] as usize == c { 1.0 } else { 0.0 };
            let numbers = [probability - own, probability * (product(v, c) - mean)];
            for (out, number) in out.iter_mut().zip(numbers) {
                (0..height).for_each(|j| out[j * classes + c] += entry(j) * number / rows.len() as f64);
            }
        }
    }
    // The sum of the intercepts is held near zero.
    if intercept {
        for (out, at) in out.iter_mut().zip([w, v]) {
            let sum: f64 = at[p * classes..].iter().sum();
            out[p * classes..].iter_mut().for_each(|out| *out += sum / classes as f64);
        }
    }
    out
}

#[test]
fn a_visit_of_a_sample_is_that_of_the_definition() {
    let mut rng = Rng::stream(2, Purpose::Start, 0);
    for p in COLUMNS {
        let x = numbers(p, &mut rng);
        for classes in OUTPUTS {
            let y: Vec<f64> = (0..ROWS).map(|_| rng.below(classes) as f64).collect();
            for intercept in [false, true] {
                let d = (p + usize::from(intercept)) * classes;
                let w: Vec<f64> = normals(d, &mut rng).iter().map(|x| 0.1 * x).collect();
                let v = normals(d, &mut rng);
                let scattered = (0..75).map(|i| i * 31 % 150).collect();
                for (zeta, rows) in [
                    (Sample::Block(11..131), (11..131).collect::<Vec<usize>>()),
                    (Sample::Rows(scattered), (0..75).map(|i| i * 31 % 150).collect()),
                ] {
                    let expected = by_definition(&x, &y, [p, classes], intercept, &rows, &w, &v);
                    for (storage, design) in designs(&x, p).iter().enumerate() {
                        let loss = Loss::Softmax { classes };
                        let risk = EmpiricalRisk::new(design, &y, RowRanges::all(ROWS), loss, intercept);
                        // No penalty: strengths of exp(-700).
                        let (glm, lambda) =
                            (Glm::new(risk, Penalty::PerClass { outputs: classes }), vec![-700.0; classes]);
                        let what = format!("{p} columns, {classes} classes, storage {storage}, {intercept}, {zeta:?}");
                        let tolerance = if matches!(storage, 1 | 2) { 2e-6 } else { 1e-13 };
                        let (mut gradient, mut product) = (vec![0.0; d], vec![0.0; d]);
                        let mut cross = vec![0.0; classes];
                        glm.gradient_only(&w, &lambda, &zeta, &mut gradient);
                        assert_close(&gradient, &expected[0], tolerance, &what);
                        glm.directions(&w, &lambda, &zeta, &v, [&mut gradient, &mut product, &mut cross]);
                        assert_close(&gradient, &expected[0], tolerance, &what);
                        assert_close(&product, &expected[1], tolerance * 10.0, &what);
                        // A gradient that comes with a value is in double precision.
                        glm.gradient(&w, &lambda, &zeta, &mut gradient);
                        assert_close(&gradient, &expected[0], 1e-13, &what);
                    }
                }
            }
        }
    }
}
