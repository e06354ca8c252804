//! Which kinds of penalty are tried, and how they are told apart: by rows that steered none of them.

use super::compare::candidate;
use super::context::{Context, Spec};
use super::judging::lacking_class;
use super::options::Penalties;
use super::outcome::{Candidate, CandidateRole, Law};
use super::partition::{Judges, Partition};
use super::path::{Division, Model, Tried, run_path};
use super::select::{Judged, Watched, choose, judge};
use crate::Error;
use crate::data::Dataset;
use crate::problems::glm::{EmpiricalRisk, Loss};
use crate::sample::Sample;
use crate::upper::UpperObjective;

/// Rows of which a single monitor part is representative enough; fewer are rotated through four parts.
const ONE_MONITOR_FROM: usize = 10_000;
/// Parts of the steering rows, of which one at a time becomes the monitor rows.
const MONITOR_PARTS: usize = 4;
/// Laws that are tried for one penalty a group or feature, coarse to fine: two hyperparameters; log-penalties pulled
/// together with standard deviation 1/2 and 1; free.
const LAWS: [Law; 4] = [Law::Relevance, Law::Shrunk(4.0), Law::Shrunk(1.0), Law::Free];
/// Laws that are tried for one penalty a class.
const CLASS_LAWS: [Law; 2] = [Law::Shrunk(1.0), Law::Free];

/// The candidates to tune, coarse to fine.
pub(super) fn specs(penalties: Penalties, data: &Dataset, loss: Loss) -> Vec<Spec> {
    let grouped = !data.groups.are_singletons() && data.groups.len() > 1;
    let kinds: Vec<Penalties> = match penalties {
        Penalties::Auto => [
            (grouped, Penalties::PerGroup),
            (data.features() > 1, Penalties::PerFeature),
            (loss.outputs() > 1, Penalties::PerClass),
        ]
        .into_iter()
        .filter_map(|(applies, kind)| applies.then_some(kind))
        .collect(),
        Penalties::Shared => vec![],
        finer => return vec![Spec::SHARED, Spec { penalties: finer, law: Law::Free }],
    };
    let mut specs = vec![Spec::SHARED];
    for penalties in kinds {
        let laws: &[Law] = if penalties == Penalties::PerClass { &CLASS_LAWS } else { &LAWS };
        specs.extend(laws.iter().map(|&law| Spec { penalties, law }));
    }
    specs
}

/// The log-penalties `start` as those of the candidates they are for: their mean for a shared one, and if there are several,
/// themselves for the kind that was asked for.
pub(super) fn given(start: &[f64], penalties: Penalties) -> Vec<(Spec, Vec<f64>)> {
    let mut known = vec![(Spec::SHARED, vec![start.iter().sum::<f64>() / start.len().max(1) as f64])];
    if start.len() > 1 {
        known.push((Spec { penalties, law: Law::Free }, start.to_vec()));
    }
    known
}

/// What was tried on parts of the rows while others looked on.
#[derive(Default)]
pub(super) struct Comparison<'a> {
    /// A path for each part that looked on, in order.
    pub paths: Vec<(Division<'a>, Vec<Tried<'a>>)>,
    /// What ended it early.
    pub ended: Option<Error>,
    /// What to say where there was nothing to compare by.
    pub note: Option<String>,
}

impl Comparison<'_> {
    pub(super) fn judged(&self) -> Vec<Judged> {
        judge(&self.paths.iter().map(|(part, path)| Watched::new(part, path)).collect::<Vec<_>>())
    }

    /// The criterion of the shared penalty, the mean over the parts.
    pub(super) fn shared_criterion(&self) -> f64 {
        self.paths.iter().map(|(_, path)| path[0].criterion).sum::<f64>() / self.paths.len() as f64
    }

    /// Adds those that were not tuned again to `candidates`, as they were in the comparison, and puts all in the order of
    /// `specs`. Says so where there are any.
    pub(super) fn add_ruled_out(
        &self,
        judged: &[Judged],
        specs: &[Spec],
        test: Option<&EmpiricalRisk<'_>>,
        candidates: &mut Vec<Candidate>,
    ) -> Option<String> {
        let (part, path) = self.paths.first()?;
        let is = |of: &Candidate, spec: Spec| {
            of.role == CandidateRole::Tuned && (of.penalties, of.law) == (spec.penalties, spec.law)
        };
        let left: Vec<Candidate> = path
            .iter()
            .filter(|tried| !candidates.iter().any(|of| is(of, tried.spec)))
            .map(|tried| candidate(tried, part, judged, test, false))
            .collect();
        if left.is_empty() {
            return None;
        }
        candidates.extend(left);
        candidates.sort_by_key(|of| specs.iter().position(|&spec| is(of, spec)));
        let rows = part.refit.len();
        Some(format!("candidates that were ruled out were tuned on {rows} rows and not on all again"))
    }
}

/// The candidate that the monitor rows prefer, where the shared penalty leaves the criterion `shared`.
pub(super) fn preferred(judged: &[Judged], whole: &Division<'_>, shared: f64) -> Spec {
    let constant = UpperObjective::value(&whole.refit, &whole.refit.null_parameters(), &[], &Sample::Full);
    // All losses are 0 at best.
    choose(judged, constant, shared)
}

/// Paths with a monitor part each, for the choice between candidates.
pub(super) fn compare_kinds<'a>(
    partition: &Partition<'a>,
    specs: &[Spec],
    model: &Model<'_>,
    context: &mut Context<'_>,
) -> Comparison<'a> {
    let mut comparison = Comparison::default();
    let parts: Vec<Division<'a>> = monitors(partition).map(|monitor| partition.divide(Some(monitor))).collect();
    let lacking = parts.iter().find_map(|part| lacking_class(part, &partition.rare, partition.data));
    if parts.is_empty() || lacking.is_some() {
        let few = match (lacking, partition.judges) {
            (Some(class), _) => format!("so few rows of class {class}"),
            (None, Judges::Separate(_)) => "so few validation rows".into(),
            (None, Judges::Given(_)) => "two folds".into(),
            (None, Judges::Tail(_) | Judges::Folds(_)) => "so few rows".into(),
        };
        comparison.note =
            Some(format!("{few} leave none to choose the kind of penalty by: one penalty for all was tuned"));
        return comparison;
    }
    let rotations = parts.len();
    for (rotation, part) in parts.into_iter().enumerate() {
        context.phase(&format!("comparing kinds of penalty, part {} of {rotations}", rotation + 1));
        match run_path(&part, specs, model, context) {
            Ok(path) => comparison.paths.push((part, path)),
            Err(error) => comparison.ended = Some(error),
        }
        if context.must_stop() || comparison.ended.is_some() {
            break;
        }
    }
    comparison
}

/// The parts `(index, of)` of the steering rows that are the monitor rows in turn; none where there are few rows, or two given
/// folds, of which none can be spared.
fn monitors(partition: &Partition<'_>) -> impl Iterator<Item = (usize, usize)> {
    let steering = partition.steering();
    let parts = match partition.judges {
        Judges::Given(folds) => folds.len().min(MONITOR_PARTS),
        Judges::Separate(_) => steering.min(MONITOR_PARTS),
        // Each fold needs a row of those that are left.
        Judges::Folds(k) if steering - steering.div_ceil(MONITOR_PARTS) < k => 0,
        Judges::Tail(_) | Judges::Folds(_) => MONITOR_PARTS,
    };
    let rotations = if parts < 3 {
        0
    } else if steering < ONE_MONITOR_FROM {
        parts
    } else {
        1
    };
    (0..rotations).map(move |rotation| (rotation, parts))
}
