//! `auto` over several seeds, judged exactly: it ends well and is never far off on the way.

use crate::models::Bundled;
use bilevel::algorithms::{Algorithm, FirstSteps, Point};
use bilevel::data::RowRanges;
use bilevel::domain::Domain;
use bilevel::lower::StochasticLoss;
use bilevel::problems::glm::{EmpiricalRisk, Glm, Loss, Penalty};
use bilevel::problems::quadratic::{Quadratic, QuadraticOptions};
use bilevel::race::{Budget, Contest, Contestant, End, Entry, Judge, compete};
use bilevel::sample::{Batch, Sample};
use bilevel::stop::StopSignal;

const SEEDS: u64 = 3;

/// A run on so many passes.
fn run(contest: &Contest<'_>, passes: f64, seed: u64) -> Entry {
    let rows = passes * contest.lower.size(&Sample::Full) as f64;
    let budget = Budget { rows, ..Budget::UNLIMITED };
    let contestant = Contestant { algorithm: Algorithm::Auto, steps: FirstSteps::ONES, seed };
    compete(contest, &contestant, &budget, &mut Judge::new(contest), &StopSignal::never()).unwrap()
}

/// Values at the start, at the worst checkpoint, and at the end.
fn values(entry: &Entry) -> [f64; 3] {
    let values: Vec<f64> = entry.curve.iter().map(|point| point.judgement.value).collect();
    [values[0], values.iter().copied().fold(f64::NEG_INFINITY, f64::max), *values.last().unwrap()]
}

/// The loop from `lambda` over `w` and `v` back to `lambda` has three lags, and swings wider and wider when `lambda` does not
/// wait: 1.5 went to 15 on the way, 11 to 36 000.
#[test]
fn on_quadratics_it_waits_for_the_lower_level_and_never_swings() {
    for (condition, enough) in [(10.0, 0.76), (100.0, 3.0), (1000.0, 20.0)] {
        let options = QuadraticOptions {
            rows: 1000,
            w: 20,
            lambda: 10,
            upper_rows: 250,
            condition,
            ..QuadraticOptions::default()
        };
        let quadratic = Quadratic::random(&options);
        let domain = Domain::unbounded(10);
        let start = Point::new(&[0.0; 20], &[0.0; 20], &[0.0; 10]);
        let contest =
            Contest { lower: &quadratic, upper: quadratic.upper(), domain: &domain, start, batch: Batch::Rows(64) };
        for seed in 0..SEEDS {
            let entry = run(&contest, 200.0, seed);
            let [start, worst, end] = values(&entry);
            assert!(worst <= 1.1 * start, "condition {condition}, seed {seed}: {worst} on the way from {start}");
            assert!(end < enough, "condition {condition}, seed {seed}: {end} from {start}");
        }
    }
}

/// Penalties of features that say nothing rise by many units, and the step of `w` has to follow; those of others fall to almost
/// nothing. Watched on rows that stay the same it came to rest beside the optimum.
#[test]
fn on_bundled_data_every_seed_ends_near_the_optimum() {
    for (name, judged, passes, enough) in [("heart_scale.gz", 68, 600.0, 0.39), ("pendigits.gz", 1873, 100.0, 0.13)] {
        let data = Bundled::read(name, usize::MAX);
        let (n, p) = (data.rows(), data.design.cols());
        let loss = if data.classes == 2 { Loss::Logistic } else { Loss::Softmax { classes: data.classes } };
        let fitted =
            EmpiricalRisk::new(&data.design, &data.target, RowRanges::all(n).at_positions(0..n - judged), loss, true);
        let lower = Glm::new(fitted, Penalty::PerFeature { features: p });
        let of_judges = RowRanges::all(n).at_positions(n - judged..n);
        let upper = EmpiricalRisk::new(&data.design, &data.target, of_judges, loss, true).as_upper(p);
        let domain = Domain::uniform(p, 1e-8_f64.ln(), 100.0_f64.ln()).unwrap();
        let w = vec![0.0; lower.dims().w];
        let start = Point::new(&w, &w, &vec![0.1_f64.ln(); p]);
        let contest = Contest { lower: &lower, upper: &upper, domain: &domain, start, batch: Batch::Rows(64) };
        for seed in 0..SEEDS {
            let entry = run(&contest, passes, seed);
            let [start, worst, end] = values(&entry);
            assert_eq!(entry.end, End::Finished, "{name}, seed {seed}");
            assert!(worst <= 1.01 * start, "{name}, seed {seed}: {worst} on the way from {start}");
            assert!(end < enough, "{name}, seed {seed}: {end} from {start}");
        }
    }
}
