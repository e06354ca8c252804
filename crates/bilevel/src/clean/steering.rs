//! The trusted rows that steer and the monitor rows among them, and what they know of the classes.

use crate::data::{Dataset, RowRanges, Target};
use crate::problems::glm::EmpiricalRisk;

/// Trusted rows below which none can be spared as monitor rows.
const FEWEST_FOR_A_MONITOR: usize = 50;
/// A class is too rare among the trusted rows where it is this many times rarer than among the training rows, and by chance
/// alone would be so with a probability below 0.2 %.
const RARER: f64 = 4.0;
const DEVIATIONS: f64 = 3.0;

/// The trusted rows that steer and the monitor rows. These are the last ones, without the first row of each class that
/// none of the others has.
pub(super) fn divide<'a>(
    upper: &EmpiricalRisk<'a>,
    share: f64,
    notes: &mut Vec<String>,
) -> (EmpiricalRisk<'a>, Option<EmpiricalRisk<'a>>) {
    let n = upper.len();
    if share == 0.0 {
        return (upper.clone(), None);
    }
    let spared = (share * n as f64).round() as usize;
    if spared == 0 || n < FEWEST_FOR_A_MONITOR {
        let part = if n < FEWEST_FOR_A_MONITOR { "some".into() } else { format!("a share of {share}") };
        notes.push(format!("{n} trusted rows are too few to keep {part} of them as monitor rows: all of them steer"));
        return (upper.clone(), None);
    }
    let first = n - spared.clamp(1, n - 1);
    if !upper.loss().is_classifier() {
        return (upper.restricted(0..first), Some(upper.restricted(first..n)));
    }
    let mut known = known_classes(&upper.restricted(0..first));
    let targets = upper.targets();
    let (looking, steering): (Vec<usize>, Vec<usize>) =
        (first..n).partition(|&row| std::mem::replace(&mut known[targets[row] as usize], true));
    if looking.is_empty() {
        notes.push(
            "each trusted row that could be a monitor row is the only one of its class: all of them steer".into(),
        );
        return (upper.clone(), None);
    }
    let one = |row: usize| row..row + 1;
    let steering = RowRanges::new(std::iter::once(0..first).chain(steering.into_iter().map(one)));
    let looking = RowRanges::new(looking.into_iter().map(one));
    (upper.at_positions(&steering), Some(upper.at_positions(&looking)))
}

/// The classes that these rows have; nothing of numbers.
pub(super) fn known_classes(rows: &EmpiricalRisk<'_>) -> Vec<bool> {
    if !rows.loss().is_classifier() {
        return Vec::new();
    }
    let mut known = vec![false; rows.outputs().max(2)];
    rows.targets().iter().for_each(|&class| known[class as usize] = true);
    known
}

/// False where there are several classes and these rows are all of one: a softmax has no minimum then, as its intercepts have
/// no penalty.
pub(super) fn tells_classes_apart(rows: &EmpiricalRisk<'_>) -> bool {
    rows.outputs() == 1 || known_classes(rows).iter().filter(|&&known| known).count() != 1
}

/// Remarks on classes that no trusted row has, or far fewer than their share of the training rows; trusted rows weigh
/// something.
pub(super) fn remarks_on_classes(train: &Dataset, trusted: &Dataset) -> Vec<String> {
    let (Target::Classes { codes, names }, Target::Classes { codes: known, .. }) = (&train.target, &trusted.target)
    else {
        return Vec::new();
    };
    let weight = |row: usize| train.weights.as_ref().map_or(1.0, |weights| weights[row]);
    let mut shares = vec![0.0; names.len()];
    codes.iter().enumerate().for_each(|(row, &class)| shares[class as usize] += weight(row));
    let total: f64 = shares.iter().sum();
    let mut found = vec![0usize; names.len()];
    known.iter().for_each(|&class| found[class as usize] += 1);
    let remark = |class: usize| {
        let (share, found) = (shares[class] / total, found[class]);
        let (name, expected) = (&names[class], share * known.len() as f64);
        if share > 0.0 && found == 0 {
            return Some(format!(
                "no trusted row has the label {name}: all rows that have it look wrong, right or not"
            ));
        }
        // The root of a count has a standard deviation of about one half.
        let far = expected.sqrt() - (found as f64).sqrt() > 0.5 * DEVIATIONS;
        (far && RARER * (found as f64) < expected).then(|| {
            let (rows, have) = (known.len(), if found == 1 { "has" } else { "have" });
            let percent = (100.0 * share).round();
            format!(
                "{found} of {rows} trusted rows {have} the label {name}, of the training rows {percent} %: unless most of \
                 these are wrong, give trusted rows that were chosen whatever their label, or right ones look wrong"
            )
        })
    };
    (0..names.len()).filter_map(remark).collect()
}
