//! Which rows judge, and whether the fits that they judge can know what is judged.

use std::ops::Range;

use super::options::{Criterion, TuneOptions};
use super::partition::{Judges, Rows, class_sizes, lacking};
use super::path::Division;
use crate::data::{Dataset, Target};
use crate::problems::glm::EmpiricalRisk;
use crate::{Error, Result};

/// Rows above which a quarter is held out instead of folds, unless asked otherwise.
const FOLDS_UP_TO: usize = 20_000;

/// The name of the first of the `rare` classes that some fit of `division` lacks.
pub(super) fn lacking_class<'d>(division: &Division<'_>, rare: &[u32], data: &'d Dataset) -> Option<&'d str> {
    match (&data.target, lacking(division, rare)) {
        (Target::Classes { names, .. }, Some(class)) => Some(&names[class as usize]),
        _ => None,
    }
}

/// A class that no row of a fit has is not learned for the rows that judge it.
pub(super) fn check_fits(division: &Division<'_>, rare: &[u32], data: &Dataset) -> Result<()> {
    match lacking_class(division, rare, data) {
        Some(class) => {
            Err(held_out_only(class, "judge by fewer rows (--validation, --folds), or merge the class with another"))
        }
        None => Ok(()),
    }
}

/// The same of one part that is fitted and one that judges it, whose fit must have two classes to tell apart.
pub(super) fn check_parts(fitted: &EmpiricalRisk<'_>, judging: &EmpiricalRisk<'_>, data: &Dataset) -> Result<()> {
    let Target::Classes { names, .. } = &data.target else { return Ok(()) };
    let mut known = vec![false; names.len()];
    let mut unknown = names.len();
    // Rows are in random order, so that few of them have all classes unless some are rare.
    for &class in &*fitted.targets() {
        unknown -= usize::from(!std::mem::replace(&mut known[class as usize], true));
        if unknown == 0 {
            return Ok(());
        }
    }
    if let Some(&class) = judging.targets().iter().find(|&&class| !known[class as usize]) {
        let remedy = "hold out fewer rows, judge by --validation, or merge the class with another";
        return Err(held_out_only(&names[class as usize], remedy));
    }
    match names.len() - unknown {
        1 => Err(Error::input("all rows that are fitted are of one class").remedy("give rows of another class too")),
        _ => Ok(()),
    }
}

fn held_out_only(class: &str, remedy: &str) -> Error {
    Error::input(format!("class {class} is among the rows that are held out only"))
        .remedy(format!("{remedy} or leave it out"))
}

/// A class that only one fold has cannot be learned for it.
fn check_given(data: &Dataset, folds: &[Range<usize>]) -> Result<()> {
    let Target::Classes { codes, names } = &data.target else { return Ok(()) };
    let holder = |class: usize| {
        let mut holders = folds.iter().enumerate().filter(|(_, fold)| {
            let rows = &codes[fold.start..fold.end];
            rows.contains(&(class as u32))
        });
        holders.next().filter(|_| holders.next().is_none()).map(|(number, _)| number)
    };
    match (0..names.len()).find_map(|class| Some((class, holder(class)?))) {
        Some((class, number)) => Err(Error::input(format!("class {} is in fold {number} only", names[class]))
            .remedy("spread each class over the folds (stratify them), or merge rare classes")),
        None => Ok(()),
    }
}

/// A class that cannot be in all of `k` folds.
fn too_rare(name: &str, size: usize, k: usize) -> Error {
    let (rows, folds) = match size {
        1 => ("1 row".into(), String::new()),
        _ => (format!("{size} rows"), format!("use --folds {size} or fewer, ")),
    };
    Error::input(format!("class {name} has {rows}, fewer than the {k} folds"))
        .remedy(format!("{folds}judge by --validation, or merge the class with another or leave it out"))
}

/// How the criterion is formed, and what to call that.
pub(super) fn judges<'a>(
    data: &Dataset,
    folds: &'a [Range<usize>],
    validation: Option<(&'a Dataset, &'a [f64])>,
    options: &TuneOptions,
) -> Result<(Judges<'a>, String)> {
    if let Some((validation, y)) = validation {
        return Ok((Judges::Separate(Rows::new(validation, y, options.sampling)), "validation file".into()));
    }
    if !folds.is_empty() {
        check_given(data, folds)?;
        return Ok((Judges::Given(folds), format!("{} given folds", folds.len())));
    }
    let n = data.rows();
    let smallest = match &data.target {
        Target::Classes { names, .. } => class_sizes(&data.target).into_iter().zip(names.iter().cloned()).min(),
        Target::Values(_) => None,
    };
    let criterion = match options.criterion.clone() {
        Criterion::Auto if n <= FOLDS_UP_TO => {
            Criterion::Folds(smallest.as_ref().map_or(n, |(size, _)| *size).clamp(2, 5))
        }
        Criterion::Auto => Criterion::HeldOut(0.25),
        given => given,
    };
    match criterion {
        Criterion::Folds(k) => {
            if k < 2 || k > n {
                return Err(Error::input(format!("{k} folds of {n} rows are not possible"))
                    .remedy("use between 2 folds and one fold a row"));
            }
            if let Some((size, name)) = smallest.filter(|(size, _)| *size < k) {
                return Err(too_rare(&name, size, k));
            }
            Ok((Judges::Folds(k), format!("{k} folds")))
        }
        Criterion::HeldOut(fraction) => {
            if !(fraction > 0.0 && fraction < 1.0) {
                return Err(Error::input(format!("a fraction of {fraction} of the rows cannot be held out"))
                    .remedy("use a number between 0 and 1"));
            }
            let size = ((fraction * n as f64).round() as usize).clamp(1, n - 1);
            Ok((Judges::Tail(size), format!("{} % held out", (fraction * 1000.0).round() / 10.0)))
        }
        Criterion::Auto | Criterion::GivenFolds(_) => unreachable!("replaced above"),
    }
}
