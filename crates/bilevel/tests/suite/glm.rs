//! Generalised linear models: every loss x penalty x storage x intercept x weighting, against Taylor's formula and against
//! each other.

use crate::models::{LOSSES, Numbers, STORED, Stored, matrix};
use bilevel::data::{CsrMatrix, DesignMatrix, RowRanges};
use bilevel::diagnose::{Taylor, ensure};
use bilevel::lower::{Curved, StochasticLoss};
use bilevel::problems::glm::{EmpiricalRisk, Glm, Loss, Penalty, Weighting};
use bilevel::problems::scaled::Scaled;
use bilevel::sample::{Purpose, Rng, Sample};
use bilevel::stop::StopSignal;
use bilevel::vector;

/// Short enough that no margin of the random models crosses a kink.
const TAYLOR: Taylor = Taylor { step: 2e-3, precision: f64::EPSILON, seed: 3 };

fn relative(a: &[f64], b: &[f64]) -> f64 {
    vector::distance(a, b) / vector::norm(b).max(1e-300)
}

/// Everything a model computes at one point, one vector after the other.
fn outputs(glm: &Glm<'_>, w: &[f64], lambda: &[f64], sample: &Sample) -> Vec<Vec<f64>> {
    let v: Vec<f64> = (0..w.len()).map(|i| ((i * 7 + 3) as f64).sin()).collect();
    let (mut gradient, mut hessian) = (vec![0.0; w.len()], vec![0.0; w.len()]);
    let mut cross = vec![0.0; lambda.len()];
    let value = glm.gradient(w, lambda, sample, &mut gradient);
    glm.hessian_product(w, lambda, sample, &v, &mut hessian);
    glm.cross_product(w, lambda, sample, &v, &mut cross);
    let mut all = vec![vec![value, glm.value(w, lambda, sample)], gradient, hessian, cross];
    if *sample == Sample::Full {
        let curvature = glm.curvature(w, lambda);
        let (mut product, mut diagonal, mut solved) = (vec![0.0; w.len()], vec![0.0; w.len()], v.clone());
        curvature.product(&v, &mut product);
        curvature.diagonal(&mut diagonal);
        curvature.factorize(&StopSignal::never()).unwrap().unwrap().solve_in_place(&mut solved);
        let (margins, targets) = glm.risk().margins_and_targets(w);
        all.extend([product, diagonal, solved, margins, targets, glm.risk().row_values(w)]);
    }
    all
}

fn assert_close(a: &[Vec<f64>], b: &[Vec<f64>], tolerance: f64, context: &str) {
    assert_eq!(a.len(), b.len());
    for (number, (a, b)) in a.iter().zip(b).enumerate() {
        assert!(relative(a, b) <= tolerance, "{context}, output {number}: {:e}", relative(a, b));
    }
}

/// What a random model is made of, but for the storage of its rows.
struct Model<'n> {
    numbers: &'n Numbers,
    loss: Loss,
    penalty: Penalty,
    intercept: bool,
    weighting: Weighting<'n>,
    w: Vec<f64>,
    y: Vec<f64>,
    lambda: Vec<f64>,
    name: String,
}

impl Model<'_> {
    fn design(&self, stored: Stored) -> DesignMatrix {
        matrix(&self.numbers.x, self.numbers.p, stored)
    }

    fn glm<'a>(&'a self, design: &'a DesignMatrix, rows: RowRanges) -> Glm<'a> {
        let risk = EmpiricalRisk::new(design, &self.y, rows, self.loss, self.intercept).weighted(self.weighting);
        Glm::new(risk, self.penalty.clone())
    }

    /// What `glm` computes at the point of the model.
    fn outputs(&self, glm: &Glm<'_>, sample: &Sample) -> Vec<Vec<f64>> {
        outputs(glm, &self.w, &self.lambda, sample)
    }
}

/// Calls `visit` for every loss, penalty, intercept and weighting.
fn for_each_model(n: usize, p: usize, mut visit: impl FnMut(&Model<'_>)) {
    for (number, loss) in LOSSES.into_iter().enumerate() {
        let numbers = Numbers::random(n, p, number as u64);
        for penalty in numbers.penalties(loss) {
            for intercept in [false, true] {
                for weighted in [false, true] {
                    let w = numbers.point(loss, intercept);
                    visit(&Model {
                        name: format!("{loss:?}, {penalty:?}, intercept {intercept}, weighted {weighted}"),
                        weighting: numbers.weighting(weighted),
                        y: numbers.target(loss, &w, intercept),
                        lambda: numbers.lambda(&penalty),
                        numbers: &numbers,
                        penalty: penalty.clone(),
                        loss,
                        intercept,
                        w,
                    });
                }
            }
        }
    }
}

#[test]
fn random_models_keep_off_the_kinks() {
    for (number, loss) in LOSSES.into_iter().enumerate() {
        let numbers = Numbers::random(40, 5, number as u64);
        for intercept in [false, true] {
            let w = numbers.point(loss, intercept);
            let y = numbers.target(loss, &w, intercept);
            let distance = (0..numbers.n).map(|i| match loss {
                Loss::Huber { delta } => ((numbers.margin(i, &w, intercept) - y[i]).abs() - delta).abs(),
                Loss::SquaredHinge => (1.0 - (2.0 * y[i] - 1.0) * numbers.margin(i, &w, intercept)).abs(),
                _ => 1.0,
            });
            // A step of 2e-3 times the norm of a row stays below.
            assert!(distance.fold(1.0, f64::min) > 0.01, "{loss:?} {intercept}");
        }
    }
}

/// All rows, and the samples where their products are in double precision. Steps on samples of a dense matrix in single
/// precision are in that precision; what it costs is tested in `samples.rs`.
fn exact_samples(stored: Stored, samples: [Sample; 2]) -> Vec<Sample> {
    let samples = samples.into_iter().filter(|_| stored != Stored::DenseF32);
    std::iter::once(Sample::Full).chain(samples).collect()
}

#[test]
fn derivatives_pass_taylor() {
    for_each_model(40, 5, |model| {
        let Model { w, lambda, name, .. } = model;
        for stored in STORED {
            let design = model.design(stored);
            let glm = model.glm(&design, RowRanges::all(40));
            let upper = glm.risk().clone().as_upper(lambda.len());
            for sample in exact_samples(stored, [Sample::Block(3..14), Sample::Rows(vec![5, 39, 5, 0, 17])]) {
                let failed = |what: &str| format!("{what}: {name}, {stored:?}, {sample:?}");
                ensure(&TAYLOR.loss(&glm, w, lambda, &sample)).unwrap_or_else(|e| panic!("{}\n{e}", failed("loss")));
                ensure(&TAYLOR.upper(&upper, w, lambda, &sample))
                    .unwrap_or_else(|e| panic!("{}\n{e}", failed("upper")));
            }
            ensure(&TAYLOR.curvature(&glm, w, lambda)).unwrap_or_else(|e| panic!("{name}, {stored:?}\n{e}"));
        }
    });
}

#[test]
fn values_are_those_of_the_formulas() {
    let numbers = Numbers::random(23, 4, 9);
    for loss in LOSSES {
        let w = numbers.point(loss, true);
        let y = numbers.target(loss, &w, true);
        let outputs = loss.outputs();
        let mut expected = 0.0;
        for i in 0..numbers.n {
            let margin = |c: usize| {
                let row = &numbers.x[i * 4..(i + 1) * 4];
                row.iter().enumerate().map(|(j, x)| x * w[j * outputs + c]).sum::<f64>() + w[4 * outputs + c]
            };
            let (m, y) = (margin(0), y[i]);
            let one = match loss {
                Loss::Logistic => m.exp().ln_1p() - y * m,
                Loss::Softmax { .. } => (0..outputs).map(|c| margin(c).exp()).sum::<f64>().ln() - margin(y as usize),
                Loss::Squared => 0.5 * (m - y) * (m - y),
                Loss::Huber { delta } if (m - y).abs() > delta => delta * ((m - y).abs() - 0.5 * delta),
                Loss::Huber { .. } => 0.5 * (m - y) * (m - y),
                Loss::SquaredHinge => 0.5 * (1.0 - (2.0 * y - 1.0) * m).max(0.0).powi(2),
                Loss::Poisson => m.exp() - y * m + if y > 0.0 { y * y.ln() - y } else { 0.0 },
            };
            expected += numbers.row_weights[i] * one;
        }
        expected /= numbers.row_weights.iter().sum::<f64>();
        let design = matrix(&numbers.x, 4, Stored::DenseF64);
        let risk = EmpiricalRisk::new(&design, &y, RowRanges::all(23), loss, true);
        let found = risk.weighted(numbers.weighting(true)).full_value(&w);
        assert!((found - expected).abs() < 1e-12 * expected.abs().max(1.0), "{loss:?}: {found} {expected}");
    }
}

#[test]
fn the_diagonal_is_that_of_the_products() {
    for_each_model(40, 5, |model| {
        let Model { w, lambda, name, .. } = model;
        for stored in STORED {
            let design = model.design(stored);
            let glm = model.glm(&design, RowRanges::all(40));
            let curvature = glm.curvature(w, lambda);
            let mut diagonal = vec![0.0; w.len()];
            curvature.diagonal(&mut diagonal);
            let expected: Vec<f64> = (0..w.len())
                .map(|j| {
                    let (mut e, mut column) = (vec![0.0; w.len()], vec![0.0; w.len()]);
                    e[j] = 1.0;
                    curvature.product(&e, &mut column);
                    column[j]
                })
                .collect();
            assert!(relative(&diagonal, &expected) < 1e-12, "{name}, {stored:?}");
        }
    });
}

#[test]
fn all_storages_give_the_same_numbers() {
    for_each_model(60, 7, |model| {
        let Model { numbers, loss, name, .. } = model;
        let computed = |x: &[f64], stored: Stored, sample: &Sample| {
            let design = matrix(x, numbers.p, stored);
            model.outputs(&model.glm(&design, RowRanges::all(60)), sample)
        };
        // The numbers are exact in single precision; multiplied by this they are not.
        let rounded: Vec<f64> = numbers.x.iter().map(|x| x * 0.9123456789).collect();
        for sample in [Sample::Full, Sample::Block(10..31), Sample::Rows(vec![59, 2, 2, 30])] {
            let reference = computed(&numbers.x, Stored::DenseF64, &sample);
            for stored in [Stored::CsrF64, Stored::DenseF32, Stored::CsrF32] {
                let (mut found, mut reference) = (computed(&numbers.x, stored, &sample), reference.clone());
                if stored == Stored::DenseF32 && sample != Sample::Full {
                    // The Hessian product is that of a step.
                    for outputs in [&mut found, &mut reference] {
                        outputs.remove(2);
                    }
                }
                assert_close(&found, &reference, 1e-11, &format!("{name}, {stored:?}, {sample:?}"));
            }
            let smooth = !matches!(loss, Loss::Huber { .. } | Loss::SquaredHinge);
            let (double, single) =
                (computed(&rounded, Stored::DenseF64, &sample), computed(&rounded, Stored::DenseF32, &sample));
            if smooth {
                assert_close(&single, &double, 1e-5, &format!("single precision, {name}, {sample:?}"));
                assert!(relative(&single[1], &double[1]) > 1e-12, "single precision must round");
            }
        }
    });
}

#[test]
fn parts_of_the_rows_are_a_matrix_of_their_own() {
    let order: Vec<u32> = (4..19).chain(31..50).collect();
    for_each_model(60, 5, |model| {
        let &Model { numbers, loss, ref penalty, intercept, weighting, ref y, ref name, .. } = model;
        for stored in [Stored::DenseF32, Stored::DenseF64, Stored::CsrF64] {
            let design = model.design(stored);
            let part = model.glm(&design, RowRanges::new([4..19, 31..50]));
            let copy = design.select_rows(&order);
            let copied = |source: &[f64]| order.iter().map(|&i| source[i as usize]).collect::<Vec<_>>();
            let (copied_y, copied_weights) = (copied(y), copied(&numbers.row_weights));
            let copied_weighting = match weighting {
                Weighting::Uniform => Weighting::Uniform,
                Weighting::Rows(_) => Weighting::Rows(&copied_weights),
            };
            let whole = EmpiricalRisk::new(&copy, &copied_y, RowRanges::all(34), loss, intercept);
            let whole = Glm::new(whole.weighted(copied_weighting), penalty.clone());
            let first = Glm::new(whole.risk().restricted(0..15), penalty.clone());
            let all = model.glm(&design, RowRanges::all(60));
            let restricted = Glm::new(all.risk().restricted(4..19), penalty.clone());
            for sample in exact_samples(stored, [Sample::Block(9..22), Sample::Rows(vec![0, 33, 15, 14, 15])]) {
                let context = format!("{name}, {stored:?}, {sample:?}");
                let (found, expected) = (model.outputs(&part, &sample), model.outputs(&whole, &sample));
                assert_close(&found, &expected, 1e-12, &context);
            }
            let (found, expected) = (model.outputs(&restricted, &Sample::Full), model.outputs(&first, &Sample::Full));
            assert_close(&found, &expected, 1e-12, &format!("restricted, {name}"));
            assert_eq!(relative(&part.risk().null_parameters(), &whole.risk().null_parameters()).max(0.0), 0.0);
        }
    });
}

#[test]
fn samples_are_unbiased() {
    for_each_model(37, 4, |model| {
        let name = &model.name;
        let design = model.design(Stored::DenseF64);
        for rows in [RowRanges::all(37), RowRanges::new([2..11, 20..37])] {
            let n = rows.len();
            let glm = model.glm(&design, rows);
            let exact = model.outputs(&glm, &Sample::Full);
            let mean_over = |samples: &[Sample]| {
                let mut mean: Vec<Vec<f64>> = exact[..4].iter().map(|v| vec![0.0; v.len()]).collect();
                for sample in samples {
                    for (mean, found) in mean.iter_mut().zip(model.outputs(&glm, sample)) {
                        vector::axpy(1.0 / samples.len() as f64, &found, mean);
                    }
                }
                mean
            };
            // The batch does not divide the rows; whatever can be drawn is drawn here, each equally often.
            let drawn = drawn_samples(&glm, 10);
            assert_eq!(drawn.len(), n, "{name}: one sample for each first row");
            assert_close(&mean_over(&drawn), &exact[..4], 1e-11, name);
            let singles: Vec<Sample> = (0..n as u32).map(|i| Sample::Rows(vec![i])).collect();
            assert_close(&mean_over(&singles), &exact[..4], 1e-11, name);
        }
    });
}

/// The distinct samples of `batch` rows, after so many draws that none is missing; their frequencies must agree.
fn drawn_samples(glm: &Glm<'_>, batch: usize) -> Vec<Sample> {
    let mut rng = Rng::stream(1, Purpose::Lower, 0);
    let mut distinct: Vec<(Sample, usize)> = Vec::new();
    let mut sample = Sample::Full;
    let draws = 4000;
    for _ in 0..draws {
        glm.draw(batch, &mut rng, &mut sample);
        assert_eq!(glm.size(&sample), batch);
        match distinct.iter_mut().find(|(known, _)| *known == sample) {
            Some((_, count)) => *count += 1,
            None => distinct.push((sample.clone(), 1)),
        }
    }
    let expected = draws as f64 / distinct.len() as f64;
    let chi_squared: f64 = distinct.iter().map(|(_, c)| (*c as f64 - expected).powi(2) / expected).sum();
    // Mean m, standard deviation sqrt(2 m).
    let m = distinct.len() as f64 - 1.0;
    assert!(chi_squared < m + 5.0 * (2.0 * m).sqrt(), "unequal frequencies: {chi_squared} for {m}");
    distinct.into_iter().map(|(sample, _)| sample).collect()
}

#[test]
fn fewer_rows_than_features_are_factorised_by_rows() {
    for loss in LOSSES.into_iter().filter(|loss| loss.outputs() == 1) {
        for (n, p) in [(12, 30), (29, 30), (30, 30), (31, 30)] {
            let numbers = Numbers::random(n, p, 7);
            for intercept in [false, true] {
                let w = numbers.point(loss, intercept);
                let y = numbers.target(loss, &w, intercept);
                let penalty = Penalty::PerFeature { features: p };
                let lambda: Vec<f64> = (0..p).map(|j| -6.0 + 9.0 * j as f64 / p as f64).collect();
                for weighted in [false, true] {
                    let design = matrix(&numbers.x, p, Stored::CsrF32);
                    let risk = EmpiricalRisk::new(&design, &y, RowRanges::all(n), loss, intercept)
                        .weighted(numbers.weighting(weighted));
                    let glm = Glm::new(risk, penalty.clone());
                    let curvature = glm.curvature(&w, &lambda);
                    let factors = curvature.factorize(&StopSignal::never()).unwrap().unwrap();
                    for column in 0..w.len() {
                        let mut e = vec![0.0; w.len()];
                        e[column] = 1.0;
                        let mut solved = e.clone();
                        factors.solve_in_place(&mut solved);
                        let mut image = vec![0.0; w.len()];
                        curvature.product(&solved, &mut image);
                        let error = vector::distance(&image, &e);
                        assert!(error < 1e-9, "{loss:?} {n} x {p}, {intercept}, column {column}: {error:e}");
                    }
                }
            }
        }
    }
}

/// Features that are not centred can nearly make an intercept: its Schur complement is then as small as the penalty, and was
/// lost as a difference of two numbers of size one.
#[test]
fn an_intercept_that_features_can_make_is_factorised_by_rows() {
    let (n, p) = (20, 30);
    let x: Vec<f64> = Numbers::random(n, p, 7).x.iter().map(|x| 5.0 + x.tanh()).collect();
    let y: Vec<f64> = (0..n).map(|i| f64::from(i as u32 % 2)).collect();
    let design = matrix(&x, p, Stored::CsrF64);
    for log_penalty in [-6.0, -14.0, -20.0] {
        let lambda = vec![log_penalty; p];
        let risk = EmpiricalRisk::new(&design, &y, RowRanges::all(n), Loss::Logistic, true);
        let glm = Glm::new(risk, Penalty::PerFeature { features: p });
        let curvature = glm.curvature(&vec![0.0; p + 1], &lambda);
        let factors = curvature.factorize(&StopSignal::never()).unwrap().unwrap();
        let mut e = vec![0.0; p + 1];
        e[p] = 1.0;
        let mut solved = e.clone();
        factors.solve_in_place(&mut solved);
        assert!(solved[p] > 0.0, "an entry of the diagonal of the inverse");
        let mut image = vec![0.0; p + 1];
        curvature.product(&solved, &mut image);
        let error = vector::distance(&image, &e) / vector::norm(&solved);
        assert!(error < 1e-12, "penalty exp({log_penalty}): {error:e}");
    }
}

#[test]
fn results_do_not_depend_on_the_number_of_threads() {
    let (n, p) = (3000, 12);
    let numbers = Numbers::random(n, p, 11);
    for loss in LOSSES {
        let w = numbers.point(loss, true);
        let y = numbers.target(loss, &w, true);
        for stored in STORED {
            let design = matrix(&numbers.x, p, stored);
            let rows = RowRanges::new([0..1100, 1500..n]);
            let risk = EmpiricalRisk::new(&design, &y, rows, loss, true).weighted(numbers.weighting(true));
            let glm = Glm::new(risk, Penalty::PerFeature { features: p });
            let lambda = numbers.lambda(glm.penalty());
            let in_pool = |threads| {
                let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
                pool.install(|| outputs(&glm, &w, &lambda, &Sample::Full))
            };
            let one = in_pool(1);
            assert!(one == in_pool(2) && one == in_pool(4), "{loss:?}, {stored:?}");
        }
    }
}

/// So wide that the transposed product goes by columns; checked against sums by hand.
#[test]
fn very_wide_sparse_matrices() {
    // So many entries a row that a chunk of rows takes more than one block.
    let (n, entries, stride) = (33_000, 50, 5_800);
    let p = entries * stride;
    let mut rng = Rng::stream(5, Purpose::Start, 0);
    let indices: Vec<u32> = (0..n * entries).map(|k| (k % entries * stride + rng.below(stride)) as u32).collect();
    let values: Vec<f64> = indices.iter().map(|_| rng.normal()).collect();
    let offsets = (0..=n).map(|i| i * entries).collect();
    let design = DesignMatrix::CsrF64(CsrMatrix::new(p, offsets, indices.clone(), values.clone()));
    let y: Vec<f64> = (0..n).map(|_| rng.normal()).collect();
    let rows = RowRanges::new([0..9000, 9500..n]);
    let risk = EmpiricalRisk::new(&design, &y, rows.clone(), Loss::Squared, true);
    let w: Vec<f64> = (0..=p).map(|_| rng.normal()).collect();
    let mut expected = vec![0.0; p + 1];
    for i in rows.ranges().iter().cloned().flatten() {
        let row = i * entries..(i + 1) * entries;
        let row = || indices[row.clone()].iter().map(|&j| j as usize).zip(&values[row.clone()]);
        let residual = (row().map(|(j, x)| x * w[j]).sum::<f64>() + w[p] - y[i]) / rows.len() as f64;
        row().for_each(|(j, x)| expected[j] += residual * x);
        expected[p] += residual;
    }
    let in_pool = |threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        let mut gradient = vec![0.0; p + 1];
        pool.install(|| risk.gradient(&w, &Sample::Full, &mut gradient));
        gradient
    };
    let found = in_pool(1);
    assert!(relative(&found, &expected) < 1e-12, "{:e}", relative(&found, &expected));
    assert!(found == in_pool(2) && found == in_pool(4));
}

#[test]
fn a_change_of_units_is_a_problem_of_its_own() {
    let numbers = Numbers::random(40, 5, 3);
    for loss in LOSSES {
        let w = numbers.point(loss, true);
        let y = numbers.target(loss, &w, true);
        let design = matrix(&numbers.x, 5, Stored::DenseF64);
        let risk = EmpiricalRisk::new(&design, &y, RowRanges::all(40), loss, true);
        let penalty = Penalty::PerFeature { features: 5 };
        let lambda = numbers.lambda(&penalty);
        let (glm, upper) = (Glm::new(risk.clone(), penalty), risk.as_upper(5));
        let scale: Vec<f64> = (0..w.len()).map(|i| 0.3 + 0.2 * (i % 4) as f64).collect();
        let at: Vec<f64> = w.iter().zip(&scale).map(|(w, s)| w / s).collect();
        let scaled = Scaled { inner: &glm, scale: &scale[..] };
        assert!(relative(&scaled.unscaled(&at), &w) < 1e-15);
        for sample in [Sample::Full, Sample::Block(4..9)] {
            ensure(&TAYLOR.loss(&scaled, &at, &lambda, &sample)).unwrap();
            ensure(&TAYLOR.upper(&Scaled { inner: &upper, scale: &scale[..] }, &at, &lambda, &sample)).unwrap();
            let (found, expected) = (scaled.value(&at, &lambda, &sample), glm.value(&w, &lambda, &sample));
            assert!((found - expected).abs() < 1e-13);
        }
    }
}
