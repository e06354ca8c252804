//! Hyperparameters of the rows: every loss x storage x intercept x given weights against Taylor's formula, by samples and
//! on all rows, beside those of the penalty and alone.

use crate::models::{Bundled, LOSSES, Numbers, Stored, matrix};
use bilevel::data::RowRanges;
use bilevel::diagnose::{SolvedDifference, Taylor, Unbiased, ensure};
use bilevel::lower::{CrossJvp, Curved, FirstOrder, GradientMap, StochasticLoss};
use bilevel::newton::Newton;
use bilevel::problems::glm::{EmpiricalRisk, Glm, Loss, Penalty, Reweighting, Weighting};
use bilevel::row_sums::RowSumLoss;
use bilevel::sample::{Purpose, Rng, Sample, Sampling};
use bilevel::vector;

/// Short enough that no margin of the random models crosses a kink.
const TAYLOR: Taylor = Taylor { step: 2e-3, precision: f64::EPSILON, seed: 3 };

fn samples() -> [Sample; 3] {
    [Sample::Full, Sample::Block(3..14), Sample::Rows(vec![5, 29, 5, 0, 17])]
}

/// Random hyperparameters of `count` rows.
fn logits(count: usize) -> Vec<f64> {
    let mut rng = Rng::stream(8, Purpose::Start, 60);
    (0..count).map(|_| 1.5 * rng.normal()).collect()
}

/// Storage whose products with samples are in double precision; what single precision costs is tested in `samples.rs`.
const EXACT: [Stored; 3] = [Stored::DenseF64, Stored::CsrF32, Stored::CsrF64];

/// Calls `visit` with every kind of model on rows 0..21 and 25..40 of 40, its `lambda` and a point.
fn for_each_model(mut visit: impl FnMut(&Glm<'_>, &[f64], &[f64], &str)) {
    for (number, loss) in LOSSES.into_iter().enumerate() {
        let numbers = Numbers::random(40, 5, number as u64);
        let penalty = Penalty::PerFeature { features: 5 };
        for (intercept, weighted, stored) in [(false, true), (true, false), (true, true)]
            .into_iter()
            .flat_map(|(intercept, weighted)| EXACT.map(|stored| (intercept, weighted, stored)))
        {
            let w = numbers.point(loss, intercept);
            let y = numbers.target(loss, &w, intercept);
            let design = matrix(&numbers.x, 5, stored);
            let risk = EmpiricalRisk::new(&design, &y, RowRanges::new([0..21, 25..40]), loss, intercept)
                .weighted(numbers.weighting(weighted));
            let glm = Glm::new(risk, penalty.clone()).reweighted(Reweighting::Sigmoid);
            let of_penalty = numbers.lambda(&penalty);
            let name = format!("{loss:?}, intercept {intercept}, weighted {weighted}, {stored:?}");
            visit(&glm, &w, &[of_penalty.clone(), logits(40)].concat(), &name);
            visit(&glm.holding(of_penalty), &w, &logits(40), &format!("{name}, penalty held"));
        }
    }
}

#[test]
fn derivatives_pass_taylor() {
    for_each_model(|glm, w, lambda, name| {
        assert_eq!(glm.dims().lambda, lambda.len());
        for sample in samples() {
            let failed = |e| panic!("{name}, {sample:?}\n{e}");
            ensure(&TAYLOR.loss(glm, w, lambda, &sample)).unwrap_or_else(failed);
            let mut gradient = vec![0.0; lambda.len()];
            glm.gradient_lambda(w, lambda, &sample, &mut gradient);
            let value = |lambda: &[f64]| {
                let value = glm.value(w, lambda, &sample);
                (value, value.abs())
            };
            ensure(&[TAYLOR.scalar("gradient_lambda", lambda, value, &gradient)]).unwrap_or_else(failed);
        }
        ensure(&TAYLOR.curvature(glm, w, lambda)).unwrap_or_else(|e| panic!("{name}\n{e}"));
    });
}

#[test]
fn three_products_in_one_visit_are_the_three() {
    for_each_model(|glm, w, lambda, name| {
        let v: Vec<f64> = (0..w.len()).map(|i| ((i * 7 + 3) as f64).sin()).collect();
        for zeta in samples() {
            let mut one = [vec![0.0; w.len()], vec![0.0; w.len()], vec![1.0; lambda.len()]];
            let mut three = one.clone();
            let [gradient, hessian, cross] = &mut one;
            glm.directions(w, lambda, &zeta, &v, [gradient, hessian, cross]);
            glm.gradient(w, lambda, &zeta, &mut three[0]);
            glm.hessian_product(w, lambda, &zeta, &v, &mut three[1]);
            glm.cross_product(w, lambda, &zeta, &v, &mut three[2]);
            for (a, b) in one.iter().zip(&three) {
                assert!(vector::distance(a, b) <= 1e-12 * (1.0 + vector::norm(b)), "{name}, {zeta:?}");
            }
            // The tangent is the transpose of the cross product.
            let delta: Vec<f64> = (0..lambda.len()).map(|i| ((i * 5 + 1) as f64).cos()).collect();
            let mut tangent = vec![0.0; w.len()];
            glm.cross_jvp(w, lambda, &zeta, &delta, &mut tangent);
            let (left, right) = (vector::dot(&tangent, &v), vector::dot(&three[2], &delta));
            assert!((left - right).abs() <= 1e-12 * (1.0 + left.abs()), "{name}, {zeta:?}: {left}, {right}");
        }
    });
}

#[test]
fn numbers_of_rows_make_up_gradient_and_product() {
    for_each_model(|glm, w, lambda, name| {
        let v: Vec<f64> = (0..w.len()).map(|i| ((i * 3 + 1) as f64).sin()).collect();
        for zeta in samples() {
            let mut numbers = vec![0.0; glm.size(&zeta) * glm.width()];
            let (mut rest, mut sum, mut expected) = (vec![0.0; w.len()], vec![0.0; w.len()], vec![0.0; w.len()]);
            let close = |rest: &[f64], sum: &[f64], expected: &[f64]| {
                let all: Vec<f64> = rest.iter().zip(sum).map(|(a, b)| a + b).collect();
                let apart = vector::distance(&all, expected);
                assert!(apart <= 1e-12 * (1.0 + vector::norm(expected)), "{name}, {zeta:?}");
            };
            glm.add_gradient_rest(1.0, w, lambda, &mut rest);
            glm.gradient(w, lambda, &zeta, &mut expected);
            glm.gradient_change(w, lambda, &zeta, &[], &mut numbers, &mut sum);
            close(&rest, &sum, &expected);
            glm.mean_of_rows(&zeta, &numbers, &mut sum);
            close(&rest, &sum, &expected);
            rest.fill(0.0);
            glm.add_product_rest(1.0, w, lambda, &v, &mut rest);
            glm.hessian_product(w, lambda, &zeta, &v, &mut expected);
            glm.product_change(w, lambda, &zeta, &v, &[], &mut numbers, &mut sum);
            close(&rest, &sum, &expected);
            glm.mean_of_rows(&zeta, &numbers, &mut sum);
            close(&rest, &sum, &expected);
        }
    });
}

#[test]
fn weights_that_are_learned_are_weights() {
    // The sum of the losses with weights c_i s_i, divided by the sum of the c_i and not of the c_i s_i.
    let numbers = Numbers::random(40, 5, 2);
    let loss = Loss::Softmax { classes: 3 };
    let w = numbers.point(loss, true);
    let y = numbers.target(loss, &w, true);
    let design = matrix(&numbers.x, 5, Stored::DenseF64);
    let lambda = logits(40);
    let given = &numbers.row_weights;
    let products: Vec<f64> = given.iter().zip(&lambda).map(|(c, l)| c / (1.0 + (-l).exp())).collect();
    let risk = |c| EmpiricalRisk::new(&design, &y, RowRanges::all(40), loss, true).weighted(Weighting::Rows(c));
    let share = products.iter().sum::<f64>() / given.iter().sum::<f64>();
    let mut expected = share * risk(&products).full_value(&w);
    // Published as c |W|^2, which is 2 c in the form of 1/2 strength W^2.
    expected += 0.2 * vector::norm_squared(&w[..15]) + w[15..].iter().sum::<f64>().powi(2) / 6.0;
    let glm = Glm::new(risk(given), Penalty::Shared).holding(vec![0.4_f64.ln()]).reweighted(Reweighting::Sigmoid);
    let found = glm.value(&w, &lambda, &Sample::Full);
    assert!((found - expected).abs() < 1e-12, "{found}, {expected}");
    // With the penalty held and the weights given there is nothing left to choose.
    let fixed = Glm::new(risk(&products), Penalty::Shared).holding(vec![0.4_f64.ln()]);
    let (mut gradient, mut cross) = (vec![0.0; w.len()], Vec::new());
    let value = fixed.gradient(&w, &[], &Sample::Full, &mut gradient);
    fixed.cross_product(&w, &[], &Sample::Block(0..9), &w, &mut cross);
    assert!((value - fixed.value(&w, &[], &Sample::Full)).abs() < 1e-12);
    assert!(vector::all_finite(&gradient) && fixed.dims().lambda == 0);
    assert_eq!((glm.cross_size(&Sample::Full), glm.cross_size(&Sample::Block(2..9))), (40, 7));
}

#[test]
fn a_sample_moves_only_its_own_rows() {
    for_each_model(|glm, w, lambda, name| {
        let (first, mut cross) = (glm.penalty_hyperparameters(), vec![1.0; lambda.len()]);
        // Positions 20 and 21 are rows 20 and 25 of the matrix.
        glm.cross_product(w, lambda, &Sample::Block(20..22), &vec![1.0; w.len()], &mut cross);
        let own = |row: usize| row == 20 || row == 25;
        assert!(cross[first..].iter().enumerate().all(|(row, c)| own(row) || *c == 0.0), "{name}: {cross:?}");
    });
}

#[test]
fn samples_have_no_bias() {
    let numbers = Numbers::random(40, 5, 1);
    for (loss, sampling) in [(Loss::Logistic, Sampling::Blocks), (Loss::Softmax { classes: 3 }, Sampling::Rows)] {
        let w = numbers.point(loss, true);
        let y = numbers.target(loss, &w, true);
        let design = matrix(&numbers.x, 5, Stored::DenseF64);
        let rows = RowRanges::new([0..21, 25..40]);
        let risk = EmpiricalRisk::new(&design, &y, rows, loss, true).weighted(numbers.weighting(true));
        let glm = Glm::new(risk.sampled_by(sampling), Penalty::Shared).reweighted(Reweighting::Sigmoid);
        let lambda = [vec![-0.5], logits(40)].concat();
        // Nine comparisons by z-scores of 5: wrong by chance with probability 5e-6.
        let map = GradientMap { loss: &glm, map_step: 1.0 };
        ensure(&Unbiased::default().map(&map, &w, &lambda)).unwrap_or_else(|e| panic!("{loss:?}\n{e}"));
    }
}

#[test]
fn hypergradients_of_weights_are_those_of_differences() {
    let data = Bundled::read("pendigits.gz", 240);
    let loss = Loss::Softmax { classes: data.classes };
    let glm = Glm::new(data.risk(0..160, loss, true), Penalty::Shared).reweighted(Reweighting::Sigmoid);
    let newton = Newton { tolerance: 1e-20, ..Newton::default() };
    let check = SolvedDifference::default();
    for (glm, lambda) in
        [(glm.clone(), [vec![-3.0], logits(240)].concat()), (glm.holding(vec![0.4_f64.ln()]), logits(240))]
    {
        let upper = data.risk(160..240, loss, true).as_upper(lambda.len());
        ensure(&check.loss(&glm as &dyn Curved, &upper, &lambda, &newton).unwrap()).unwrap();
    }
}
