//! The error of one hypergradient against its cost, as columns of numbers.

use bilevel::hypergradient::Capable;
use bilevel::lower::StochasticMap;
use bilevel::sample::Batch;
use bilevel::stop::StopSignal;
use bilevel::study::{
    Checkpoints, CurveKind, Job, Reference, Replicate, StepLimits, StudySettings, Subject, choose_curves, run,
    summarize,
};
use bilevel::tune::{GlmProblem, TuneOptions};
use bilevel::{Error, Result};
use pyo3::prelude::*;
use pyo3::types::PyDict;

use crate::attended::{Attended, attended};
use crate::dataset::PyDataset;
use crate::errors::{in_python, raise};
use crate::names::named;
use crate::tune::Options;

/// What is measured, and how often.
#[derive(FromPyObject)]
#[pyo3(from_item_all)]
struct StudyArguments {
    /// One log-penalty for all, or as many as there are.
    at: Vec<f64>,
    methods: Vec<String>,
    etas: Vec<f64>,
    replicates: u64,
    batch: usize,
    /// Nothing: as at each step; zero: everything.
    cross_batch: Option<usize>,
    max_epochs: f64,
    checkpoints: Option<Vec<usize>>,
}

/// The names of what is compared where nothing is asked for.
pub fn usual_methods() -> Vec<&'static str> {
    CurveKind::DEFAULT.iter().map(|kind| kind.name()).collect()
}

/// Measures curves; returns the points of all of them, column by column, and the exact hypergradient.
///
/// `listener`, where given, is called with the number of replicates that are done and that of all.
#[pyfunction]
#[pyo3(signature = (train, validation, options, settings, threads, listener))]
pub fn study<'py>(
    py: Python<'py>,
    train: &Bound<'py, PyDataset>,
    validation: Option<&Bound<'py, PyDataset>>,
    options: &Bound<'py, PyDict>,
    settings: &Bound<'py, PyDict>,
    threads: usize,
    listener: Option<Py<PyAny>>,
) -> PyResult<Bound<'py, PyDict>> {
    let options = options.extract::<Options<'_>>()?.parse()?;
    let asked = settings.extract::<StudyArguments>()?;
    let kinds: Vec<CurveKind> = asked.methods.iter().map(|name| named("methods", name)).collect::<PyResult<_>>()?;
    let (train, validation) = (&train.get().inner, validation.map(|data| &data.get().inner));
    let work = |events: std::sync::mpsc::Sender<(usize, usize)>, flag| {
        let problem = GlmProblem::new(train, validation, &options)?;
        let signal = StopSignal::new(None, Some(flag));
        measure(&problem, &asked, kinds, &options, threads, &signal, |done, of| {
            let _ = events.send((done, of));
        })
    };
    let listen = |py: Python<'_>, &(done, of): &(usize, usize)| match &listener {
        Some(listener) => listener.bind(py).call1((done, of))?.is_truthy(),
        None => Ok(false),
    };
    let Attended { result, raised } = attended(py, threads, work, listen)?;
    if let Some(raised) = raised {
        return Err(raised);
    }
    let (Measured { replicates, failed }, reference) = result.map_err(raise)?;
    let record = columns(py, &replicates)?;
    record.set_item("failed", failed)?;
    record.set_item("hypergradient", reference.hypergradient)?;
    record.set_item("objective", reference.objective)?;
    record.set_item("contraction", reference.contraction)?;
    Ok(record)
}

fn measure(
    problem: &GlmProblem,
    asked: &StudyArguments,
    kinds: Vec<CurveKind>,
    options: &TuneOptions,
    threads: usize,
    signal: &StopSignal,
    mut progress: impl FnMut(usize, usize),
) -> Result<(Measured, Reference)> {
    let (lower, upper) = (problem.lower(), problem.upper());
    let lambda = match asked.at[..] {
        [one] => vec![one; problem.hyperparameters()],
        _ => asked.at.clone(),
    };
    if lambda.len() != problem.hyperparameters() {
        let (found, needed) = (lambda.len(), problem.hyperparameters());
        return Err(Error::input(format!("{found} penalties where {needed} are needed")).remedy("give one, or all"));
    }
    let rows = lower.risk().len();
    let mut settings = StudySettings::new(rows, asked.batch);
    (settings.max_epochs, settings.seed) = (asked.max_epochs, options.seed);
    settings.cross_batch = match asked.cross_batch {
        None => settings.cross_batch,
        Some(0) => Batch::All,
        Some(rows) => Batch::Rows(rows),
    };
    if let Some(list) = &asked.checkpoints {
        settings.checkpoints = Checkpoints::At(list.clone());
    }
    settings.validate()?;
    let reference = Reference::new(&lower, &upper, &lambda, 0)?;
    let map = reference.map(&lower);
    debug_assert_eq!(map.dims().lambda, lambda.len());
    let limits = StepLimits::of_loss(&map, &reference, &lambda, settings.batch, options.seed)?;
    let curves = choose_curves(&kinds, &asked.etas, &limits)?;
    let map = Capable::gradient_step(&map).jvp_lambda(&map);
    let subject = Subject { map, upper: &upper, lambda: &lambda, rows, reference: &reference.hypergradient };
    settings.check_reached(&curves, subject.rows, subject.cross_rows())?;
    let jobs = Job::all(&curves, asked.replicates);
    let (mut done, mut failed, mut first) = (Vec::with_capacity(jobs.len()), Vec::new(), None);
    run(&subject, &settings, &jobs, threads, signal, |job, measurements| {
        let Job { curve, replicate } = *job;
        match measurements {
            Ok(measurements) => {
                done.push(Replicate { kind: curve.kind(), eta: curve.eta(), replicate, measurements });
            }
            Err(error) if error.is_numeric() => {
                failed.push((curve.kind().name(), curve.eta(), in_python(&error.to_string())));
                first.get_or_insert(error);
            }
            Err(error) => return Err(error),
        }
        progress(done.len() + failed.len(), jobs.len());
        Ok(())
    })?;
    match first {
        Some(error) if done.is_empty() => Err(error),
        _ => Ok((Measured { replicates: done, failed }, reference)),
    }
}

/// What came of all replicates.
struct Measured {
    replicates: Vec<Replicate>,
    /// The method, its step and the reason of those that diverged.
    failed: Vec<(&'static str, Option<f64>, String)>,
}

fn columns<'py>(py: Python<'py>, replicates: &[Replicate]) -> PyResult<Bound<'py, PyDict>> {
    let (mut methods, mut etas, mut steps) = (Vec::new(), Vec::new(), Vec::new());
    let names = ["samples", "epochs", "seconds", "mse", "relative_mse", "low", "high"];
    let mut numbers: [Vec<f64>; 7] = Default::default();
    for summary in summarize(replicates) {
        for point in &summary.points {
            methods.push(summary.kind.name());
            etas.push(summary.eta);
            steps.push(point.t);
            let values =
                [point.samples, point.epochs, point.seconds, point.mse, point.relative_mse, point.low, point.high];
            numbers.iter_mut().zip(values).for_each(|(column, value)| column.push(value));
        }
    }
    let record = PyDict::new(py);
    record.set_item("method", methods)?;
    record.set_item("eta", etas)?;
    record.set_item("t", steps)?;
    for (name, column) in names.iter().zip(numbers) {
        record.set_item(*name, column)?;
    }
    Ok(record)
}
