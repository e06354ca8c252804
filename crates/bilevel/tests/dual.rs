//! Solves in the dual against Newton's method and factorisations, on small sparse problems with fewer rows than features.

use bilevel::data::{CsrMatrix, DesignMatrix, RowRanges};
use bilevel::lower::{Curved, StochasticLoss};
use bilevel::newton::Newton;
use bilevel::problems::glm::{DualAscent, DualLimits, EmpiricalRisk, Glm, Loss, Penalty};
use bilevel::sample::{Purpose, Rng};
use bilevel::status::Status;
use bilevel::stop::StopSignal;
use bilevel::vector;

const ROWS: usize = 40;
const FEATURES: usize = 70;

fn design(rng: &mut Rng) -> DesignMatrix {
    let (mut offsets, mut indices, mut values) = (vec![0], Vec::new(), Vec::new());
    for _ in 0..ROWS {
        for j in 0..FEATURES {
            if rng.uniform() < 0.2 {
                indices.push(j as u32);
                values.push(rng.normal());
            }
        }
        offsets.push(indices.len());
    }
    DesignMatrix::CsrF64(CsrMatrix::new(FEATURES, offsets, indices, values))
}

fn penalties(outputs: usize) -> [Penalty; 4] {
    [
        Penalty::Shared,
        Penalty::PerGroup { of_feature: (0..FEATURES as u32).map(|j| j % 3).collect(), groups: 3 },
        Penalty::PerClass { outputs },
        Penalty::PerFeature { features: FEATURES },
    ]
}

#[test]
fn minima_and_adjoints_agree_with_factorisations() {
    let mut rng = Rng::stream(5, Purpose::Start, 0);
    let design = design(&mut rng);
    let losses =
        [Loss::Logistic, Loss::Softmax { classes: 4 }, Loss::Squared, Loss::Poisson, Loss::Huber { delta: 1.0 }];
    for loss in losses {
        let classes = if let Loss::Softmax { classes } = loss { classes } else { 2 };
        let y: Vec<f64> = (0..ROWS).map(|_| rng.below(classes) as f64).collect();
        for intercept in [false, true] {
            for penalty in penalties(loss.outputs()) {
                let risk = EmpiricalRisk::new(&design, &y, RowRanges::all(ROWS), loss, intercept);
                let glm = Glm::new(risk, penalty.clone());
                let lambda: Vec<f64> = (0..penalty.hyperparameters()).map(|_| -3.0 + rng.normal()).collect();
                let mut expected = glm.risk().null_parameters();
                let mut w = expected.clone();
                Newton::default().minimize(&glm, &lambda, &mut expected, None, &StopSignal::never()).unwrap();
                let mut dual = DualAscent::new(glm.clone());
                let limits = DualLimits { epochs: 20_000, tolerance: 1e-16, enough: 0.0 };
                let stop = StopSignal::never();
                let (info, _) = dual.minimize(&lambda, &mut w, limits, &stop).unwrap();
                let case = format!("{loss:?}, {penalty:?}, intercept {intercept}, {info:?}");
                assert_eq!(info.status, Status::Converged, "{case}");
                let error = vector::distance(&w, &expected) / vector::norm(&expected);
                assert!(error < 1e-5, "{case}: error {error:e}");

                let b: Vec<f64> = w.iter().map(|_| rng.normal()).collect();
                let mut v = vec![0.0; w.len()];
                dual.adjoint(&lambda, &w, &b, &mut v, limits, &stop).unwrap();
                let mut image = vec![0.0; w.len()];
                glm.curvature(&w, &lambda).product(&v, &mut image);
                let error = vector::distance(&image, &b) / vector::norm(&b);
                assert!(error < 1e-5, "{case}: residual {error:e}");
                assert_eq!(glm.dims().w, w.len());
            }
        }
    }
}

#[test]
fn the_number_of_threads_changes_nothing() {
    let mut rng = Rng::stream(6, Purpose::Start, 0);
    let design = design(&mut rng);
    let y: Vec<f64> = (0..ROWS).map(|_| rng.below(3) as f64).collect();
    let solve = |threads: usize| {
        rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap().install(|| {
            let risk = EmpiricalRisk::new(&design, &y, RowRanges::all(ROWS), Loss::Softmax { classes: 3 }, true);
            let mut w = risk.null_parameters();
            let mut dual = DualAscent::new(Glm::new(risk, Penalty::Shared));
            let limits = DualLimits { epochs: 50, tolerance: 1e-9, enough: 0.0 };
            dual.minimize(&[-4.0], &mut w, limits, &StopSignal::never()).unwrap();
            w
        })
    };
    assert_eq!(solve(1), solve(2));
}
