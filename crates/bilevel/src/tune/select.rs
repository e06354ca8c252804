//! Which candidate to keep: judged on rows that steered none of them.

use super::context::Spec;
use super::path::{Division, Tried};

/// A path with what its monitor rows count; nothing where all count the same.
pub(super) struct Watched<'p> {
    path: &'p [Tried<'p>],
    weights: Option<Vec<f64>>,
}

impl<'p> Watched<'p> {
    /// What was tried on `division`.
    pub(super) fn new(division: &Division<'_>, path: &'p [Tried<'p>]) -> Self {
        Watched { path, weights: division.monitor.as_ref().and_then(|monitor| monitor.row_weights()) }
    }
}

/// Monitor figures of one candidate over all divisions.
#[derive(Debug, Clone)]
pub(super) struct Judged {
    pub spec: Spec,
    /// Mean loss over the monitor rows.
    pub loss: f64,
    /// Mean and standard error of the difference to the shared penalty, row by row.
    pub difference: f64,
    pub std_error: f64,
    /// Number of monitor rows.
    pub rows: f64,
}

/// A finer candidate must be better than the shared one by this many standard errors of the paired difference.
///
/// The candidates on a path are many and alike; without a margin the luckiest of them would be kept. Measured over 17
/// data sets and three seeds (`docs/penalties.md`): 1/2 keeps candidates that lose 13 % on new data, 2 keeps almost none.
const MARGIN: f64 = 1.5;
/// With few rows the standard error is itself uncertain; the margin grows by this many rows over their number.
const FEW_ROWS: f64 = 30.0;

/// A finer candidate must also lower the loss by this fraction of the loss of the best constant prediction: less is not
/// worth more hyperparameters, however certain.
const WORTH: f64 = 2e-4;

/// Judges the candidates of all paths by their common specs; the first spec is the shared one.
pub(super) fn judge(watched: &[Watched<'_>]) -> Vec<Judged> {
    let Some(first) = watched.first() else { return Vec::new() };
    let losses = |spec: Spec| -> Option<Vec<f64>> {
        let mut all = Vec::new();
        for part in watched {
            all.extend_from_slice(part.path.iter().find(|t| t.spec == spec)?.monitor.as_deref()?);
        }
        Some(all)
    };
    let Some(shared) = losses(Spec::SHARED) else { return Vec::new() };
    let n = shared.len() as f64;
    let mut counts: Vec<f64> = watched.iter().flat_map(|part| part.weights.iter().flatten().copied()).collect();
    counts.resize(shared.len(), 1.0);
    let total: f64 = counts.iter().sum();
    let mean = |of: &dyn Fn(usize) -> f64| counts.iter().enumerate().map(|(i, c)| c * of(i)).sum::<f64>() / total;
    first
        .path
        .iter()
        .filter_map(|tried| {
            let losses = losses(tried.spec)?;
            let difference = mean(&|i| losses[i] - shared[i]);
            // That of a weighted mean over independent rows; with equal weights the usual one.
            let spread = mean(&|i| counts[i] * (losses[i] - shared[i] - difference).powi(2));
            Some(Judged {
                spec: tried.spec,
                loss: mean(&|i| losses[i]),
                difference,
                std_error: (spread / total * n / (n - 1.0).max(1.0)).sqrt(),
                rows: n,
            })
        })
        .collect()
}

/// The spec to keep: the smallest monitor loss among those that beat the shared penalty by the margin.
///
/// `constant` is the loss of the best constant prediction, `gain` what better penalties than the shared one can gain at most
/// on the rows that steer: where that is not worth it, there is nothing to choose.
pub(super) fn choose(judged: &[Judged], constant: f64, gain: f64) -> Spec {
    if gain <= WORTH * constant {
        return Spec::SHARED;
    }
    judged
        .iter()
        .filter(|j| {
            let margin = MARGIN * (1.0 + FEW_ROWS / j.rows) * j.std_error;
            j.spec == Spec::SHARED || j.difference + margin.max(WORTH * constant) < 0.0
        })
        .min_by(|a, b| a.loss.total_cmp(&b.loss))
        .map_or(Spec::SHARED, |j| j.spec)
}
