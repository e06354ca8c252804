//! Experiment 1: the error of one hypergradient, odd against even digits.

use std::path::Path;

use bilevel::Result;
use bilevel::sample::Batch;
use bilevel::study::{Checkpoints, Curve, CurveKind, CurveSummary, Job, StudySettings, choose_curves, summarize};

use super::sources::{ErrorSetting, halves};
use super::verdict::Verdict;
use crate::problem::Inputs;
use crate::study::file::StudyFile;
use crate::study::{Failures, Question, decreasing_steps, figures, measure};
use crate::{interrupt, numbers};

/// What came out.
pub struct ErrorResult {
    pub title: String,
    pub summaries: Vec<CurveSummary>,
    pub facts: Vec<(String, String)>,
    pub verdicts: Vec<Verdict>,
    /// Figures as files.
    pub files: Vec<(String, String)>,
}

/// What the paper compares.
const PAPER: [CurveKind; 4] = [CurveKind::SidConstant, CurveKind::SidDecreasing, CurveKind::AidFp, CurveKind::AidCg];

/// Measures what is not in `folder` yet.
pub fn run(
    setting: &ErrorSetting,
    inputs: &Inputs,
    folder: &Path,
    overwrite: bool,
    quiet: bool,
) -> Result<ErrorResult> {
    let problem = halves(inputs, setting.penalties)?;
    let question = Question::new(&problem, vec![setting.at.ln(); problem.hyperparameters()])?;
    let rows = problem.lower().risk().len() as f64;
    let sampled = StudySettings {
        batch: setting.batch,
        cross_batch: Batch::Rows(setting.batch),
        max_epochs: ((2 * setting.steps + 1) * setting.batch) as f64 / rows,
        checkpoints: Checkpoints::PerDecade(4),
        seed: 0,
    };
    let batch =
        StudySettings { max_epochs: setting.batch_epochs, checkpoints: Checkpoints::PerDecade(8), ..sampled.clone() };
    let curves = choose_curves(&PAPER, setting.etas, &question.limits(setting.batch, 0)?)?;
    let mut identity = question.identity(&sampled);
    identity.insert("batch_epochs".into(), setting.batch_epochs.into());
    let mut file = StudyFile::open(folder, identity, overwrite)?;
    let (of_sampled, of_batch): (Vec<Curve>, Vec<Curve>) = curves.iter().partition(|c| c.kind().is_sampled());
    let mut failures = Failures::default();
    interrupt::keeping(|| {
        question.with_subject(|subject| {
            let write = |file: &StudyFile| file.write(&[]);
            let of_batch = Job::all(&of_batch, 1);
            measure(&subject, &batch, &of_batch, (&mut file, &mut failures), quiet, write)?;
            let jobs = Job::all(&of_sampled, setting.replicates);
            let ended = measure(&subject, &sampled, &jobs, (&mut file, &mut failures), quiet, write);
            file.write(&[])?;
            ended
        })
    })?;
    // Each curve is needed for the comparison.
    failures.none()?;
    let summaries = summarize(file.replicates());
    let many = numbers::counted(problem.hyperparameters(), "hyperparameter", "hyperparameters");
    let title = format!("Error of one hypergradient, {many}");
    Ok(ErrorResult {
        files: figures::files(&summaries, &format!("error-{}", setting.name), &title),
        verdicts: verdicts(&summaries),
        facts: question
            .facts(&sampled, &numbers::short(setting.at))
            .into_iter()
            .chain(decreasing_steps(&curves))
            .collect(),
        title,
        summaries,
    })
}

/// The expected picture, point by point (`docs/study.md`).
fn verdicts(summaries: &[CurveSummary]) -> Vec<Verdict> {
    let mut verdicts = Vec::new();
    let of = |kind| summaries.iter().find(move |s: &&CurveSummary| s.kind == kind);
    let decreasing = of(CurveKind::SidDecreasing);
    if let Some(slope) = decreasing.and_then(|s| s.slope) {
        let error = slope.std_error.map_or(String::new(), |error| format!(" ± {error:.3}"));
        let found = format!("slope {:.3}{error} for t from {} to {}", slope.value, slope.range.0, slope.range.1);
        let holds = (-1.1..=-0.9).contains(&slope.value);
        verdicts.push(Verdict::new(
            "decreasing steps: the error falls like 1/t (slope from -1.1 to -0.9)",
            holds,
            found,
        ));
    }
    for (long, short, ratio, error) in figures::floor_ratios(summaries) {
        let claim =
            format!("constant steps: eta = {long} has twice the floor of eta = {short} (ratio from 1.8 to 2.2)");
        verdicts.push(Verdict::new(&claim, (1.8..=2.2).contains(&ratio), format!("ratio {ratio:.2} ± {error:.2}")));
    }
    let constant = summaries.iter().filter(|s| s.kind == CurveKind::SidConstant);
    for summary in constant {
        let Some(floor) = summary.floor else { continue };
        let claim = format!("{}: the error ends on a floor (slope above -0.2 over the last decade)", summary.label());
        let found = format!("slope {:.3}, relative squared error {}", floor.slope, numbers::short(floor.value));
        verdicts.push(Verdict::new(&claim, floor.slope > -0.2, found));
    }
    let Some(last) = decreasing.and_then(|s| s.points.last()) else { return verdicts };
    for kind in [CurveKind::AidFp, CurveKind::AidCg] {
        let Some(batch) = of(kind) else { continue };
        let name = kind.name();
        let claim = format!("{name} needs many more epochs (five times or more) for the last error of sid-decreasing");
        let error = numbers::short(last.relative_mse);
        let had = format!("sid-decreasing has {error} after {} epochs", numbers::short(last.epochs));
        let reached = batch.points.iter().find(|p| p.relative_mse <= last.relative_mse);
        let (holds, when) = match (reached, batch.points.last()) {
            (Some(p), _) => {
                (p.epochs >= 5.0 * last.epochs, format!("overtakes it after {} epochs", numbers::short(p.epochs)))
            }
            (None, Some(p)) => (
                p.epochs >= 5.0 * last.epochs,
                format!("does not within {} epochs ({})", numbers::short(p.epochs), numbers::short(p.relative_mse)),
            ),
            (None, None) => continue,
        };
        verdicts.push(Verdict::new(&claim, holds, format!("{had}; {name} {when}")));
    }
    verdicts
}
