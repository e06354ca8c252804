//! The time of one step of SID: of the lower level, and of the linear system, on 64 rows.
//!
//! ```text
//! cargo bench -p bilevel --bench steps
//! ```
//! The environment variables `BILEVEL_BENCH_NARROW` and `BILEVEL_BENCH_WIDE` (with `.._LABELS`) name files to take instead
//! of simulated data.

mod common;

use std::hint::black_box;

use bilevel::data::{DesignMatrix, RowRanges, Storage};
use bilevel::fixed_point::{FixedPoint, Workspace};
use bilevel::lower::GradientMap;
use bilevel::operator::{AdjointOperator, LowerOperator, RandomOperator};
use bilevel::problems::glm::{EmpiricalRisk, Glm, Loss, Penalty};
use bilevel::sample::{Purpose, Rng};
use bilevel::step_size::StepSize;
use common::{Candidate, Data};

const BATCH: usize = 64;
/// Steps of a solve that is timed as a whole.
const STEPS: usize = 64;

/// One solve from `start`.
fn solve(operator: &mut impl RandomOperator, x: &mut [f64], rng: &mut Rng, workspace: &mut Workspace) {
    let solver = FixedPoint::sampled(STEPS, BATCH, StepSize::Constant { eta: 0.5 });
    x.fill(0.0);
    black_box(solver.solve(operator, x, rng, workspace));
}

/// A solve with memory and draws of its own: blocks that another candidate has just visited would still be in the cache.
fn candidate<'a>(
    name: &str,
    draws: Purpose,
    dim: usize,
    mut solve: impl FnMut(&mut [f64], &mut Rng, &mut Workspace) + 'a,
) -> Candidate<'a> {
    let (mut rng, mut workspace, mut x) = (Rng::stream(0, draws, 0), Workspace::new(dim), vec![0.0; dim]);
    Candidate::new(name, move || solve(&mut x, &mut rng, &mut workspace))
}

fn steps(data: &Data) {
    if !common::wanted(&data.name) {
        return;
    }
    let ranges = RowRanges::all(data.design.rows());
    let risk = EmpiricalRisk::new(&data.design, &data.target, ranges, Loss::Logistic, false);
    let glm = Glm::new(risk, Penalty::PerFeature { features: data.design.cols() });
    let map = GradientMap { loss: &glm, map_step: 1e-3 };
    let dim = data.design.cols();
    let lambda = vec![-2.0; dim];
    let (w, grad_w) = (vec![0.01; dim], vec![0.1; dim]);
    let mut candidates = vec![
        candidate("lower", Purpose::Lower, dim, |x, rng, workspace| {
            solve(&mut LowerOperator { map: &map, lambda: &lambda }, x, rng, workspace);
        }),
        candidate("linear", Purpose::Linear, dim, |x, rng, workspace| {
            let mut operator = AdjointOperator { map: &map, w: &w, lambda: &lambda, grad_w: &grad_w };
            solve(&mut operator, x, rng, workspace);
        }),
    ];
    let seconds = common::measure(&mut candidates);
    for (candidate, seconds) in candidates.iter().zip(&seconds) {
        let [median, quiet] = [seconds.median, seconds.quiet].map(|seconds| seconds / STEPS as f64 * 1e6);
        println!("{:<36} {:<8} {median:8.2} {quiet:8.2}", data.name, candidate.name);
    }
}

fn main() -> bilevel::Result<()> {
    println!("microseconds a step                           median    quiet");
    let narrow =
        common::named("BILEVEL_BENCH_NARROW", Storage::Dense).unwrap_or_else(|| common::pixels(49_990, 22, 0.6));
    let wide = common::named("BILEVEL_BENCH_WIDE", Storage::Dense).unwrap_or_else(|| common::pixels(30_000, 784, 0.19));
    for data in [narrow, wide] {
        steps(&data);
        let design = data.design.clone().compressed();
        if matches!(design, DesignMatrix::Coded(_)) {
            steps(&Data { name: format!("{}, coded", data.name), design, target: data.target.clone() });
        }
        let design = common::sparse(&data.design);
        steps(&Data { name: format!("{}, sparse", data.name), design, target: data.target });
    }
    steps(&common::bundled("a9a.gz", Storage::Sparse)?);
    steps(&common::bundled("pendigits.gz", Storage::Dense)?);
    Ok(())
}
