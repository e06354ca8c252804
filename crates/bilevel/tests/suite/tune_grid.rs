//! The shared penalty against a fine grid, each point of it fitted by Newton's method outside the tuner.

use crate::models::Bundled;
use bilevel::data::{Dataset, RowRanges, Target};
use bilevel::newton::{Newton, NewtonDirection};
use bilevel::observer::Silent;
use bilevel::problems::glm::{EmpiricalRisk, Glm, Loss, Penalty};
use bilevel::sample::Sample;
use bilevel::stop::StopSignal;
use bilevel::tune::{Penalties, TuneOptions, tune};
use bilevel::upper::UpperObjective;

#[test]
fn shared_penalty_of_a9a_is_the_minimum_of_a_fine_grid() {
    let Bundled { design, target, .. } = Bundled::read("a9a.gz", usize::MAX);
    let codes = target.iter().map(|&y| y as u32).collect();
    let target = Target::Classes { codes, names: vec!["0".into(), "1".into()] };
    let whole = Dataset::new(design, target).unwrap();
    let (train, validation): (Vec<u32>, Vec<u32>) = (0..whole.rows() as u32).partition(|i| i % 4 != 3);
    let (train, validation) = (whole.select(&train), whole.select(&validation));

    let options = TuneOptions { penalties: Penalties::Shared, standardize: false, ..TuneOptions::default() };
    let tuned = tune(&train, Some(&validation), None, &options, &mut Silent).unwrap();
    let chosen = tuned.candidates.iter().find(|c| c.chosen).unwrap();

    let numbers = |data: &Dataset| match &data.target {
        Target::Classes { codes, .. } => codes.iter().map(|&c| f64::from(c)).collect::<Vec<_>>(),
        Target::Values(_) => unreachable!("two classes"),
    };
    let (y, judging_y) = (numbers(&train), numbers(&validation));
    let fitted = EmpiricalRisk::new(&train.design, &y, RowRanges::all(train.rows()), Loss::Logistic, true);
    let judging =
        EmpiricalRisk::new(&validation.design, &judging_y, RowRanges::all(validation.rows()), Loss::Logistic, true);
    let glm = Glm::new(fitted, Penalty::Shared);
    let newton = Newton { direction: NewtonDirection::Factorized, tolerance: 1e-14, ..Newton::default() };
    let mut w = glm.risk().null_parameters();
    // Coarse over the box, from strong to weak penalties, then a hundred times finer around the best.
    let mut at = |lambda: f64| {
        newton.minimize(&glm, &[lambda], &mut w, None, &StopSignal::never()).unwrap();
        judging.value(&w, &[], &Sample::Full)
    };
    let best_of = |grid: Vec<f64>, at: &mut dyn FnMut(f64) -> f64| {
        grid.into_iter().map(|l| (at(l), l)).min_by(|a, b| a.0.total_cmp(&b.0)).unwrap()
    };
    let (_, coarse) = best_of((0..=40).map(|i| 4.0 - 0.5 * f64::from(i)).collect(), &mut at);
    let (least, lambda) = best_of((-50..=50).map(|i| coarse - 0.01 * f64::from(i)).collect(), &mut at);

    let found = chosen.validation.loss;
    assert!((found - least).abs() <= 1e-5, "{found} at {:?}, the grid has {least} at {lambda}", tuned.lambda);
    assert!(found <= least + 1e-8, "{found} against {least}");
}
