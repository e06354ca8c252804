//! Tuning by every method on the bundled data, against tuning by exact hypergradients.

use crate::models::Bundled;
use bilevel::data::{Dataset, Groups, Target};
use bilevel::observer::Silent;
use bilevel::tune::{Criterion, Limits, Method, Penalties, TuneOptions, Tuned, tune};

fn dataset(name: &str, rows: usize) -> Dataset {
    let Bundled { design, target, classes } = Bundled::read(name, rows);
    let target = match classes {
        0 => Target::Values(target.into()),
        _ => Target::Classes {
            codes: target.iter().map(|&y| y as u32).collect(),
            names: (0..classes).map(|c| c.to_string()).collect(),
        },
    };
    let pairs = Groups {
        of_feature: (0..design.cols() as u32).map(|j| j / 2).collect(),
        names: (0..design.cols().div_ceil(2)).map(|g| format!("g{g}")).collect(),
    };
    Dataset::new(design, target).and_then(|data| data.with_groups(pairs)).unwrap()
}

fn tuned(data: &Dataset, method: Method, penalties: Penalties, criterion: Criterion) -> Tuned {
    let limits = Limits { iterations: 60, ..Limits::default() };
    let options = TuneOptions { method, penalties, criterion, seed: 7, limits, ..TuneOptions::default() };
    tune(data, None, None, &options, &mut Silent).unwrap_or_else(|error| panic!("{method:?}, {penalties:?}: {error}"))
}

fn criterion(tuned: &Tuned) -> f64 {
    tuned.candidates.iter().find(|c| c.chosen).unwrap().validation.loss
}

const METHODS: [Method; 5] =
    [Method::SidConstant, Method::SidDecreasing, Method::SidSvrg, Method::SidSaga, Method::AidFp];

#[test]
fn every_method_tunes_every_penalty() {
    let cases = [
        (dataset("german.numer.gz", 1000), vec![Penalties::Shared, Penalties::PerGroup, Penalties::PerFeature]),
        (dataset("pendigits.gz", 400), vec![Penalties::PerClass]),
    ];
    for (data, penalties) in &cases {
        for &penalties in penalties {
            let held_out = Criterion::HeldOut(0.3);
            let exact = tuned(data, Method::Exact, penalties, held_out.clone());
            let untuned = exact.candidates[0].validation.loss;
            // Batch fixed-point steps are too slow for the softmax without strong penalties.
            let methods = if penalties == Penalties::PerClass { &METHODS[..2] } else { &METHODS[..] };
            for &method in methods {
                let found = tuned(data, method, penalties, held_out.clone());
                // Within a percent, or most of the way from the untuned criterion.
                let (best, reached) = (criterion(&exact), criterion(&found));
                let allowed = (0.01 * best.abs()).max(0.25 * (untuned - best));
                assert!(reached < best + allowed, "{method:?}, {penalties:?}: {reached} against {best}, {untuned}");
                assert!(reached <= untuned, "{method:?}, {penalties:?}: {reached} untuned {untuned}");
                assert_eq!(found.lambda.len(), exact.lambda.len());
                assert!(found.passes > 0.0 && found.trace.len() > 5);
            }
        }
    }
}

#[test]
fn folds_and_regression() {
    let data = dataset("abalone_scale.bz2", 400);
    for method in METHODS {
        let best = criterion(&tuned(&data, Method::Exact, Penalties::PerFeature, Criterion::Folds(3)));
        let reached = criterion(&tuned(&data, method, Penalties::PerFeature, Criterion::Folds(3)));
        assert!(reached < 1.02 * best, "{method:?}: {reached} against {best}");
    }
}

#[test]
fn the_answer_depends_on_the_seed_and_not_on_the_threads() {
    let data = dataset("german.numer.gz", 600);
    let in_pool = |threads, seed| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        let options = TuneOptions {
            method: Method::SidDecreasing,
            penalties: Penalties::PerFeature,
            criterion: Criterion::Folds(3),
            seed,
            limits: Limits { iterations: 20, ..Limits::default() },
            ..TuneOptions::default()
        };
        pool.install(|| tune(&data, None, None, &options, &mut Silent)).unwrap()
    };
    let one = in_pool(1, 3);
    for threads in [2, 4] {
        let other = in_pool(threads, 3);
        assert_eq!((&one.lambda, &one.model.coef), (&other.lambda, &other.model.coef), "{threads} threads");
    }
    assert_ne!(one.lambda, in_pool(1, 4).lambda);
}

/// Where fits take long, what the comparison ruled out is not tuned again; the first of the comparison is where the rest
/// begins, which finds what a search over all penalties finds.
#[test]
fn what_was_ruled_out_is_not_tuned_again_where_fits_take_long() {
    let data = dataset("pendigits.gz", 700);
    let held_out = Criterion::HeldOut(0.3);
    let auto = tuned(&data, Method::AidCg, Penalties::Auto, held_out.clone());
    let of_all: Vec<_> = auto.candidates.iter().filter(|c| c.rows == auto.rows).collect();
    let of_part: Vec<_> = auto.candidates.iter().filter(|c| c.rows < auto.rows).collect();
    assert!(of_all.iter().any(|c| c.chosen) && !of_part.is_empty(), "{:?}", auto.candidates);
    assert!(auto.notes.iter().any(|note| note.contains("ruled out")), "{:?}", auto.notes);
    assert!(auto.candidates[0].label() == "untuned" && auto.candidates[1].label() == "shared");

    let exact = tuned(&data, Method::Exact, Penalties::Auto, held_out.clone());
    let labels = |tuned: &Tuned| tuned.candidates.iter().map(|c| c.label()).collect::<Vec<_>>();
    assert_eq!(labels(&auto), labels(&exact));
    assert!(exact.candidates.iter().all(|c| c.rows == exact.rows));
    let shared = tuned(&data, Method::Exact, Penalties::Shared, held_out);
    let found = auto.best_shared().unwrap().validation.loss;
    assert!((found / criterion(&shared) - 1.0).abs() < 1e-5, "{found} against {}", criterion(&shared));
}
