//! Races by the library: continued or at once, with steps that are shared, given or screened.

use std::ops::ControlFlow;

use bilevel::algorithms::{Algorithm, FirstSteps, Point};
use bilevel::domain::Domain;
use bilevel::observer::Silent;
use bilevel::problems::quadratic::{Quadratic, QuadraticOptions};
use bilevel::race::{Budget, Contest, Entry, Event, Grid, Race, StepChoice};
use bilevel::sample::Batch;
use bilevel::stop::StopSignal;

const ALGORITHMS: [Algorithm; 3] = [Algorithm::Vrbo, Algorithm::Soba, Algorithm::Auto];

fn race(algorithms: &[Algorithm], seeds: &[u64]) -> Race {
    Race {
        algorithms: algorithms.into(),
        seeds: seeds.into(),
        budget: Budget { iterations: 200, ..Budget::UNLIMITED },
        steps: StepChoice::default(),
    }
}

fn quadratic() -> Quadratic {
    Quadratic::random(&QuadraticOptions { rows: 60, w: 4, lambda: 2, ..QuadraticOptions::default() })
}

fn contest<'a>(quadratic: &'a Quadratic, domain: &'a Domain) -> Contest<'a> {
    let start = Point::new(&[0.0; 4], &[0.0; 4], &[0.0; 2]);
    Contest { lower: quadratic, upper: quadratic.upper(), domain, start, batch: Batch::Rows(8) }
}

/// What does not depend on the clock.
fn values(entries: &[Entry]) -> Vec<(Algorithm, u64, FirstSteps, f64)> {
    entries.iter().map(|e| (e.contestant.algorithm, e.contestant.seed, e.contestant.steps, e.value())).collect()
}

#[test]
fn a_race_goes_on_with_what_is_there() {
    let (quadratic, domain) = (quadratic(), Domain::unbounded(2));
    let contest = contest(&quadratic, &domain);
    let never = StopSignal::never();
    let mut whole = Vec::new();
    race(&ALGORITHMS, &[3, 4]).run(&contest, &mut whole, &never, &mut Silent).unwrap();
    let order: Vec<_> = values(&whole).iter().map(|(algorithm, seed, ..)| (*algorithm, *seed)).collect();
    let [vrbo, soba, auto] = ALGORITHMS;
    assert_eq!(order, [(vrbo, 3), (vrbo, 4), (soba, 3), (soba, 4), (auto, 3), (auto, 4)]);
    for pair in whole.chunks(2) {
        assert_eq!(pair[0].contestant.steps, pair[1].contestant.steps, "all seeds take the steps of the first");
        assert_eq!(pair[0].screening_seconds > 0.0, pair[0].contestant.algorithm != auto);
    }
    // The same in parts: others first, one run of two, and runs that are asked for twice.
    let mut parts = Vec::new();
    race(&[soba], &[3]).run(&contest, &mut parts, &never, &mut Silent).unwrap();
    let mut ended = 0;
    let mut once = |event: &Event<'_>| match event {
        Event::Begun { .. } => ControlFlow::Continue(()),
        Event::Ended { entry, entries } => {
            ended += 1;
            assert!(entries.contains(entry));
            ControlFlow::Break(())
        }
    };
    race(&ALGORITHMS, &[3, 4]).run(&contest, &mut parts, &never, &mut once).unwrap();
    assert_eq!((ended, parts.len()), (1, 2));
    let twice = race(&[vrbo, soba, auto, soba], &[3, 4, 3]);
    assert_eq!(twice.missing(&parts), [(vrbo, 4), (soba, 4), (auto, 3), (auto, 4)]);
    twice.run(&contest, &mut parts, &never, &mut Silent).unwrap();
    assert_eq!(values(&parts), values(&whole));
    assert!(twice.missing(&parts).is_empty());
}

#[test]
fn steps_that_are_given_are_taken_and_bad_settings_are_refused() {
    let (quadratic, domain) = (quadratic(), Domain::unbounded(2));
    let contest = contest(&quadratic, &domain);
    let run = |race: &Race, stop: &StopSignal| {
        let mut entries = Vec::new();
        race.run(&contest, &mut entries, stop, &mut Silent).map(|()| entries)
    };
    let steps = FirstSteps { lower: 0.2, linear: 0.2, outer: 0.05 };
    let given = Race { steps: StepChoice::Given(steps), ..race(&ALGORITHMS, &[0]) };
    let entries = run(&given, &StopSignal::never()).unwrap();
    assert!(entries.iter().all(|entry| entry.contestant.steps == steps && entry.screening_seconds == 0.0));
    for bad in [
        Race { steps: StepChoice::Screened(Grid { lower: Vec::new(), ..Grid::default() }), ..given.clone() },
        Race { steps: StepChoice::Screened(Grid { part: 0.0, ..Grid::default() }), ..given.clone() },
        Race { steps: StepChoice::Given(FirstSteps { outer: f64::NAN, ..steps }), ..given.clone() },
        Race { budget: Budget { iterations: 0, ..Budget::UNLIMITED }, ..given.clone() },
    ] {
        assert!(run(&bad, &StopSignal::never()).unwrap_err().is_input(), "{bad:?}");
    }
    let raised = StopSignal::new(None, Some(std::sync::Arc::new(true.into())));
    assert!(run(&given, &raised).unwrap_err().is_interrupted());
}
