//! Experiment 2: bilevel optimisation of one penalty per feature.
//!
//! All methods start at the same penalties, take projected gradient steps of the same rule (AdaGrad-norm, the first of
//! the same length), start their solves where the last ones ended and spend the same number of samples.

use bilevel::data::{Dataset, RowRanges, Target};
use bilevel::diagnose::SampledCurvature;
use bilevel::domain::Domain;
use bilevel::hypergradient::{AidConjugateGradient, AidFixedPoint, Method, Sid};
use bilevel::linear_system::ConjugateGradient;
use bilevel::lower::GradientMap;
use bilevel::optimize::OuterStep;
use bilevel::problems::glm::EmpiricalRisk;
use bilevel::sample::Batch;
use bilevel::step_size::StepSize;
use bilevel::stop::StopSignal;
use bilevel::study::{CurveKind, Descent, descend};
use bilevel::tune::{Metrics, Penalties};
use bilevel::{Error, Result};

use super::sources::{DescentSetting, halves};
use super::verdict::Verdict;
use crate::problem::Inputs;
use crate::progress::Progress;
use crate::report::charts::{COLOURS, Curve, curves, legend, standalone};
use crate::report::page::figure;
use crate::{csv, interrupt, numbers};

/// Points of a curve, at most about this many.
const POINTS: f64 = 60.0;

/// Where a method stood.
#[derive(Debug, Clone, Copy)]
struct Row {
    iteration: usize,
    epochs: f64,
    seconds: f64,
    validation: Metrics,
    test: Metrics,
}

/// What came out for one data set.
pub struct DescentResult {
    pub name: &'static str,
    pub facts: Vec<(String, String)>,
    pub verdicts: Vec<Verdict>,
    rows: Vec<(CurveKind, Vec<Row>)>,
}

pub fn run(setting: &DescentSetting, inputs: &Inputs, progress: &mut Progress) -> Result<DescentResult> {
    let test = inputs.test.as_ref().ok_or_else(|| Error::input("there are no test rows"))?;
    let problem = halves(inputs, Penalties::PerFeature)?;
    let (lower, upper, m) = (problem.lower(), problem.upper(), problem.hyperparameters());
    let test_y = numbers_of(test);
    let test = EmpiricalRisk::new(&test.design, &test_y, RowRanges::all(test.rows()), problem.loss(), true);

    let [low, high, start] = setting.penalties.map(f64::ln);
    let domain = Domain::uniform(m, low, high)?;
    let lambda = vec![start; m];
    let zero = vec![0.0; lower.risk().parameters()];
    // One step of the map for all penalties: the longest for the strongest.
    let everything = SampledCurvature { margin: 1.0, ..SampledCurvature::new(Batch::All, 0) };
    let (map_step, _) = everything.longest_step_of_loss(&lower, &[&zero], &vec![high; m])?;
    let map = GradientMap { loss: &lower, map_step };
    let samples = SampledCurvature::new(Batch::Rows(setting.batch), 0);
    let (longest, _) = samples.longest_step_of_map(&map, &[&zero], &lambda)?;
    let rows = lower.risk().len();
    let steps = ((setting.sampled_epochs * rows as f64) / (2 * setting.batch) as f64).round().max(1.0) as usize;
    // The steps fall to a fifth during a solve: with weak penalties the beta of the theory would hardly let them fall.
    let quarter = steps as f64 / 4.0;
    let decreasing = StepSize::Decreasing { beta: longest * quarter, gamma: quarter };
    let sid = |step| Sid { cross_batch: Batch::Rows(setting.batch), ..Sid::new(steps, setting.batch, step) };
    let k = setting.batch_steps;
    let methods = [
        (CurveKind::SidConstant, Method::Sid(sid(StepSize::Constant { eta: 0.5 * longest }))),
        (CurveKind::SidDecreasing, Method::Sid(sid(decreasing))),
        (CurveKind::AidFp, Method::AidFixedPoint(AidFixedPoint { lower_steps: k, linear_steps: k, tolerance: 0.0 })),
        (
            CurveKind::AidCg,
            Method::AidConjugateGradient(AidConjugateGradient {
                lower_steps: k,
                lower_tolerance: 0.0,
                linear: ConjugateGradient { steps: k, tolerance: 0.0 },
            }),
        ),
    ];
    let step = OuterStep::AdaGradNorm { outer_step: setting.first_move * (m as f64).sqrt() };
    let stop = StopSignal::new(None, Some(interrupt::flag()));
    let mut found = Vec::new();
    for (kind, method) in methods {
        let descent = Descent { method, step, max_epochs: setting.epochs, seed: 0 };
        let mut trace: Vec<Row> = Vec::new();
        descend((&map, &upper, rows), &descent, &domain, &lambda, &stop, |point| {
            let due = trace.last().is_none_or(|last| point.epochs - last.epochs >= setting.epochs / POINTS);
            if due || point.epochs >= setting.epochs {
                let metrics = |risk: &EmpiricalRisk<'_>| {
                    let (margins, y) = risk.margins_and_targets(point.w);
                    Metrics::compute(problem.loss(), &margins, &y, None)
                };
                let (validation, test) = (metrics(&upper), metrics(&test));
                let (iteration, epochs, seconds) = (point.iteration, point.epochs, point.seconds);
                trace.push(Row { iteration, epochs, seconds, validation, test });
            }
            let share = (1000.0 * point.epochs / setting.epochs) as usize;
            progress.done(share, &format!("{}, {}: {:.0} epochs", setting.name, kind.name(), point.epochs));
        })?;
        found.push((kind, trace));
    }
    let facts = vec![
        ("rows".into(), format!("{} to fit, {} to judge, {} to test", rows, upper.len(), test.len())),
        ("hyperparameters".into(), numbers::count(m)),
        (
            "penalties".into(),
            format!("from {}, within {} and {}", setting.penalties[2], setting.penalties[0], setting.penalties[1]),
        ),
        (
            "sampled hypergradient".into(),
            format!(
                "t = k = {steps}, {} rows a step, eta = {} or falling from {} to a fifth",
                setting.batch,
                numbers::short(0.5 * longest),
                numbers::short(longest)
            ),
        ),
        ("batch hypergradient".into(), format!("t = k = {k} passes")),
        (
            "upper step".into(),
            format!("AdaGrad-norm, first move {} in each log-penalty (root mean square)", setting.first_move),
        ),
    ];
    Ok(DescentResult { name: setting.name, facts, verdicts: verdicts(&found), rows: found })
}

/// At half and at all of the budget SID is to be ahead of both batch methods.
fn verdicts(found: &[(CurveKind, Vec<Row>)]) -> Vec<Verdict> {
    let mut verdicts = Vec::new();
    let of = |kind| found.iter().find(|(other, _)| *other == kind).map(|(_, rows)| &rows[..]).unwrap_or_default();
    let budget = found.iter().filter_map(|(_, rows)| Some(rows.last()?.epochs)).fold(f64::INFINITY, f64::min);
    for (share, words) in [(0.25, "a quarter"), (1.0, "all")] {
        for batch in [CurveKind::AidFp, CurveKind::AidCg] {
            let at = |kind| of(kind).iter().rfind(|row| row.epochs <= share * budget + 1e-9);
            let Some(other) = at(batch) else { continue };
            for sampled in [CurveKind::SidConstant, CurveKind::SidDecreasing] {
                let Some(own) = at(sampled) else { continue };
                let claim = format!(
                    "{} is ahead of {} in validation loss after {words} of the epochs ({})",
                    sampled.name(),
                    batch.name(),
                    numbers::short(share * budget)
                );
                let accuracy = |row: &Row| row.test.accuracy.map_or(numbers::NONE.into(), numbers::percent);
                let found = format!(
                    "{} against {}; test accuracy {} against {}; {} against {}",
                    numbers::loss(own.validation.loss),
                    numbers::loss(other.validation.loss),
                    accuracy(own),
                    accuracy(other),
                    numbers::seconds(own.seconds),
                    numbers::seconds(other.seconds)
                );
                verdicts.push(Verdict::new(&claim, own.validation.loss < other.validation.loss, found));
            }
        }
    }
    // Time is another matter than samples: products over all rows run at the speed of the memory on all cores.
    for sampled in [CurveKind::SidConstant, CurveKind::SidDecreasing] {
        let Some(best) = [CurveKind::AidFp, CurveKind::AidCg]
            .into_iter()
            .filter_map(|kind| Some((kind, *of(kind).last()?)))
            .min_by(|a, b| a.1.validation.loss.total_cmp(&b.1.validation.loss))
        else {
            continue;
        };
        let claim = format!("{} is ahead of the batch methods in time too", sampled.name());
        let reached = of(sampled).iter().find(|row| row.validation.loss <= best.1.validation.loss);
        let goal = format!(
            "{} ends at {} after {}",
            best.0.name(),
            numbers::loss(best.1.validation.loss),
            numbers::seconds(best.1.seconds)
        );
        let found = match reached {
            Some(row) => format!("{goal}; {} has it after {}", sampled.name(), numbers::seconds(row.seconds)),
            None => format!("{goal}; {} does not reach it", sampled.name()),
        };
        verdicts.push(Verdict::new(&claim, reached.is_some_and(|row| row.seconds < best.1.seconds), found));
    }
    verdicts
}

impl DescentResult {
    /// `problem,method,iteration,...`, a line a point.
    pub fn csv_lines(&self) -> String {
        let mut text = String::new();
        for (kind, rows) in &self.rows {
            for row in rows {
                let cells = [row.epochs, row.seconds, row.validation.loss].map(csv::number);
                let accuracy = |metrics: &Metrics| metrics.accuracy.map_or(String::new(), csv::number);
                let (validation, test) = (accuracy(&row.validation), accuracy(&row.test));
                let test_loss = csv::number(row.test.loss);
                let (name, method) = (self.name, kind.name());
                text +=
                    &format!("{name},{method},{},{},{validation},{test_loss},{test}\n", row.iteration, cells.join(","));
            }
        }
        text
    }

    fn charts(&self) -> Vec<Chart> {
        type Of = fn(&Row) -> f64;
        let quantities: [(&str, Of); 4] = [
            ("validation loss", |row| row.validation.loss),
            ("test loss", |row| row.test.loss),
            ("validation error", |row| 1.0 - row.validation.accuracy.unwrap_or(f64::NAN)),
            ("test error", |row| 1.0 - row.test.accuracy.unwrap_or(f64::NAN)),
        ];
        let axes: [(&str, Of); 2] = [("epochs", |row| row.epochs), ("seconds", |row| row.seconds)];
        let mut charts = Vec::new();
        for (quantity, y) in quantities {
            for (axis, x) in axes {
                let lines: Vec<Curve> = (self.rows.iter().enumerate())
                    .map(|(number, (kind, rows))| Curve {
                        class: format!("c{}", number % COLOURS),
                        name: kind.name().into(),
                        points: rows.iter().map(|row| (x(row), y(row))).collect(),
                    })
                    .collect();
                let title = format!("{}: {quantity} against {axis}", self.name);
                let file = format!("descent-{}-{}-{axis}.svg", self.name, quantity.replace(' ', "-"));
                charts.push(Chart { file, svg: curves(&title, axis, quantity, &lines), title, lines });
            }
        }
        charts
    }

    pub fn figures(&self) -> String {
        let caption = "At the lower variable each hypergradient was made at. Values far above the rest are cut off.";
        let one = |chart: &Chart| figure(&chart.title, &format!("{}{}", chart.svg, legend(&chart.keys())), caption);
        self.charts().iter().map(one).collect()
    }

    /// Figures by the name of their file.
    pub fn files(&self) -> Vec<(String, String)> {
        let file = |chart: Chart| {
            let svg = standalone(&chart.svg, &chart.title, &chart.keys());
            (chart.file, svg)
        };
        self.charts().into_iter().map(file).collect()
    }
}

/// A figure.
struct Chart {
    file: String,
    title: String,
    svg: String,
    lines: Vec<Curve>,
}

impl Chart {
    /// Class and name of each line.
    fn keys(&self) -> Vec<(&str, &str)> {
        self.lines.iter().map(|line| (line.class.as_str(), line.name.as_str())).collect()
    }
}

fn numbers_of(data: &Dataset) -> Vec<f64> {
    match &data.target {
        Target::Classes { codes, .. } => codes.iter().map(|&code| f64::from(code)).collect(),
        Target::Values(values) => values.to_vec(),
    }
}
