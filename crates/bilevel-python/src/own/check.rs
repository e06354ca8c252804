//! Are functions in Python what they say they are? The checks of `diagnose` on all that can be checked.

use std::sync::Arc;
use std::sync::mpsc::Sender;

use bilevel::diagnose::{Check, Taylor, Unbiased};
use bilevel::lower::{GradientMap, StochasticLoss};
use bilevel::observer::Silent;
use bilevel::sample::{Purpose, Rng, Sample};
use bilevel::status::Status;
use bilevel::upper::UpperObjective;
use bilevel::{Error, Result, vector};
use numpy::PyReadonlyArray1;
use pyo3::prelude::*;
use pyo3::types::PyDict;

use super::bridge::{Bridge, known_thread};
use super::hypergradient::Start;
use super::levels::{AnyMap, LossLevel, Lower, ObjectiveLevel};
use super::plan::{Measured, Place, Plan, Settings};
use crate::attended::{Attended, attended};

/// Random directions along which the whole problem is compared with differences.
const DIRECTIONS: u64 = 3;
/// Length of the random step away from the solution, where gradients vanish whatever is wrong with them, relative to its norm.
const AWAY: f64 = 0.3;

/// What is checked and how sharply, a dictionary with these keys.
#[derive(FromPyObject)]
#[pyo3(from_item_all)]
struct Sharpness {
    batch: usize,
    samples: usize,
    /// Relative rounding error of the functions.
    rounding: f64,
    /// Largest relative difference of the hypergradient from differences.
    tolerance: f64,
    seed: u64,
}

/// A check with the place it is about.
type Placed = (&'static str, Check);

/// Checks both levels at `lam`, and at `start` where it is given, else beside the solution; returns `(place, name, passed,
/// measure, message)` of each check.
#[pyfunction]
#[pyo3(signature = (lower, upper, lam, settings, sharpness, start))]
#[allow(clippy::type_complexity)]
pub fn check<'py>(
    py: Python<'py>,
    lower: &Bound<'py, PyAny>,
    upper: &Bound<'py, PyAny>,
    lam: PyReadonlyArray1<'py, f64>,
    settings: &Bound<'py, PyDict>,
    sharpness: &Bound<'py, PyDict>,
    start: Start<'py>,
) -> PyResult<Vec<(&'static str, String, bool, Option<f64>, String)>> {
    let bridge = Arc::new(Bridge::new(py)?);
    let (lower, upper) = (Lower::read(lower, &bridge)?, ObjectiveLevel::read(upper, &bridge)?);
    let plan = Plan::new(settings.extract::<Settings>()?, &lower, &upper)?;
    let sharpness = sharpness.extract::<Sharpness>()?;
    let (lambda, place) = (lam.as_array().to_vec(), super::hypergradient::place(&start));
    let work = |_: Sender<()>, flag| {
        bridge.watch(flag);
        known_thread(|| {
            let checks = checks(&lower, &upper, &lambda, &plan, &sharpness, place);
            bridge.check().map(|()| checks)
        })
    };
    let Attended { result, raised } = attended(py, 1, work, |_, &()| Ok(false))?;
    let checks = bridge.settle(py, result, raised)?;
    let line = |(place, check): Placed| (place, check.name, check.passed, check.measure, check.message);
    Ok(checks.into_iter().map(line).collect())
}

fn checks(
    lower: &Lower,
    upper: &ObjectiveLevel,
    lambda: &[f64],
    plan: &Plan,
    sharpness: &Sharpness,
    place: Option<Place>,
) -> Vec<Placed> {
    let Sharpness { batch, samples, rounding, tolerance, seed } = *sharpness;
    let mut rng = Rng::stream(seed, Purpose::Start, 30);
    let mut found: Vec<Placed> = Vec::new();
    let exact = lower.level().exact && upper.level.exact;
    let given = place.is_some();
    let start = place.unwrap_or_else(|| Place::zeros(lower.level().dims().w));
    let mut w = start.w.clone();
    let taylor = Taylor { seed, precision: rounding, ..Taylor::default() };
    if exact {
        match whole(lower, upper, lambda, plan, &start, (taylor, tolerance)) {
            Ok((checks, solution)) => {
                found.extend(checks.into_iter().map(|check| ("whole problem", check)));
                if !given {
                    w = solution;
                }
            }
            Err(error) => {
                let check =
                    Check { name: "hypergradient".into(), passed: false, measure: None, message: error.to_string() };
                found.push(("whole problem", check));
            }
        }
    }
    if !given {
        let length = AWAY * vector::norm(&w).max(1.0) / (w.len() as f64).sqrt();
        w.iter_mut().for_each(|w| *w += length * rng.normal());
    }
    let unbiased = Unbiased { seed, samples, batch, precision: rounding, ..Unbiased::default() };
    let mut sample = Sample::Full;
    match lower {
        Lower::Loss(loss) => loss.draw(batch, &mut rng, &mut sample),
        Lower::Map(map) => map.capable().map().draw(batch, &mut rng, &mut sample),
    }
    let mut at = |place: &'static str, checks: Vec<Check>| found.extend(checks.into_iter().map(|check| (place, check)));
    let level = lower.level();
    for (place, zeta, there) in
        [("lower level, all", &Sample::Full, level.exact), ("lower level, a sample", &sample, sample != Sample::Full)]
    {
        if there {
            at(
                place,
                match lower {
                    Lower::Map(map) => map_checks(&taylor, map, &w, lambda, zeta),
                    Lower::Loss(loss) => loss_checks(&taylor, loss, &w, lambda, zeta),
                },
            );
        }
    }
    if level.exact && sample != Sample::Full {
        at(
            "samples of the lower level",
            match lower {
                Lower::Map(map) => unbiased.map(map.capable().map(), &w, lambda),
                Lower::Loss(loss) => {
                    let mut checks = unbiased.map(&GradientMap { loss, map_step: 1.0 }, &w, lambda);
                    let names = ["gradient", "hessian_product", "cross_product"];
                    checks.iter_mut().zip(names).for_each(|(check, name)| check.name = name.into());
                    checks
                }
            },
        );
    }
    upper.draw(batch, &mut rng, &mut sample);
    for (place, xi, there) in [
        ("upper level, all", &Sample::Full, upper.level.exact),
        ("upper level, a sample", &sample, sample != Sample::Full),
    ] {
        if there {
            at(place, taylor.upper(upper, &w, lambda, xi));
        }
    }
    if upper.level.exact && sample != Sample::Full {
        at("samples of the upper level", unbiased.upper(upper, &w, lambda));
    }
    found.sort_by_key(|(place, _)| *place == "whole problem");
    found
}

/// Those of a map, and of its symmetry where that is declared.
fn map_checks(taylor: &Taylor, level: &AnyMap, w: &[f64], lambda: &[f64], zeta: &Sample) -> Vec<Check> {
    let map = level.capable().map();
    let mut checks = taylor.map(map, w, lambda, zeta);
    if matches!(level, AnyMap::Symmetric(_)) && *zeta == Sample::Full {
        checks.push(taylor.symmetric(map, w, lambda));
    }
    checks
}

/// Those of a loss, and of the functions that only some losses have.
fn loss_checks(taylor: &Taylor, loss: &LossLevel, w: &[f64], lambda: &[f64], zeta: &Sample) -> Vec<Check> {
    let mut checks = taylor.loss(loss, w, lambda, zeta);
    if loss.gradient_lambda.is_some() {
        checks.push(taylor.gradient_lambda(loss, w, lambda, zeta));
    }
    if let Some(directions) = &loss.directions {
        checks.push(taylor.directions(loss, w, lambda, zeta));
        let [mut gradient, mut hessian_product] = [0, 1].map(|_| vec![0.0; w.len()]);
        let mut cross_product = vec![0.0; lambda.len()];
        let out = [&mut gradient[..], &mut hessian_product, &mut cross_product];
        let returned = loss.fused(directions, (w, lambda, zeta), w, out);
        let alone = loss.value(w, lambda, zeta);
        let name = "value returned by directions";
        checks.push(Check::equal(name, returned, alone, alone.abs(), taylor.closeness()));
    }
    checks
}

/// The hypergradient against differences of `f(lambda)`, and the solution of the lower level.
fn whole(
    lower: &Lower,
    upper: &ObjectiveLevel,
    lambda: &[f64],
    plan: &Plan,
    start: &Place,
    (taylor, tolerance): (Taylor, f64),
) -> Result<(Vec<Check>, Vec<f64>)> {
    let mut measured = Measured::default();
    let mut solve = |lambda: &[f64], place: &Place| {
        let found = plan.estimate(lower, upper, lambda, (Some(place), 0), &mut measured, &mut Silent)?;
        match (found.estimate.status, found.place) {
            (Status::StepLimit, _) | (_, None) => {
                Err(Error::numeric("the lower level was not solved within the allowed steps")
                    .remedy("check a better conditioned problem"))
            }
            (_, Some(place)) => Ok((found.estimate, place)),
        }
    };
    let (exact, solution) = solve(lambda, start)?;
    let f = |lambda: &[f64]| solve(lambda, &solution).map(|(estimate, _)| estimate.objective);
    let checks = taylor.hypergradient(f, lambda, &exact.value, DIRECTIONS, tolerance)?;
    Ok((checks, solution.w))
}
