//! Many replicates of many curves.
//!
//! Batch methods come first, one after the other, each with all threads to itself. Sampled ones follow side by side, one
//! replicate a thread: on threads of their own and not as tasks of the pool, where a thread that waits for a pass would
//! begin another replicate meanwhile and add its time to that of the first.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc;

use super::curve::Curve;
use super::measure::{Measurement, Subject};
use super::settings::StudySettings;
use crate::error::{Error, Result};
use crate::stop::StopSignal;

/// One replicate of one curve.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Job {
    /// The method.
    pub curve: Curve,
    /// Number of the replicate, from 0.
    pub replicate: u64,
}

impl Job {
    /// All jobs of these curves: `replicates` of each sampled one, one of each other.
    pub fn all(curves: &[Curve], replicates: u64) -> Vec<Job> {
        let count = |curve: &Curve| if curve.kind().is_sampled() { replicates } else { 1 };
        let jobs = |&curve: &Curve| (0..count(&curve)).map(move |replicate| Job { curve, replicate });
        curves.iter().flat_map(jobs).collect()
    }
}

/// Does the jobs on `threads` threads and hands each result to `done`, on the calling thread, in no particular order; `done`
/// decides whether a job that failed ends them all, by returning its error.
///
/// What is handed over does not depend on the number of threads, apart from the seconds.
///
/// # Errors
/// Those of [`Subject::check`], before anything is done; that of `done`, after the others that had begun were done.
pub fn run(
    subject: &Subject<'_>,
    settings: &StudySettings,
    jobs: &[Job],
    threads: usize,
    stop: &StopSignal,
    mut done: impl FnMut(&Job, Result<Vec<Measurement>>) -> Result<()>,
) -> Result<()> {
    subject.check(jobs.iter().map(|job| &job.curve))?;
    let measure = |job: &Job| {
        let name = |error: Error| match error.is_numeric() {
            true => Error::numeric(format!("{}: {error}", label(&job.curve))),
            false => error,
        };
        subject.measure(settings, &job.curve, job.replicate, stop).map_err(name)
    };
    let (sampled, batch): (Vec<&Job>, Vec<&Job>) = jobs.iter().partition(|job| job.curve.kind().is_sampled());
    for job in batch {
        done(job, measure(job))?;
    }
    let (next, failed) = (AtomicUsize::new(0), AtomicBool::new(false));
    // Bounded, so that nobody is far ahead of what is kept.
    let (sender, results) = mpsc::sync_channel(1);
    std::thread::scope(|scope| {
        let worker = || {
            let sender = sender.clone();
            let (next, failed, sampled, measure) = (&next, &failed, &sampled, &measure);
            scope.spawn(move || {
                while !failed.load(Ordering::Relaxed) {
                    let at = next.fetch_add(1, Ordering::Relaxed);
                    let Some(job) = sampled.get(at) else { break };
                    if sender.send((at, measure(job))).is_err() {
                        break;
                    }
                }
            })
        };
        let workers: Vec<_> = (0..threads.clamp(1, sampled.len().max(1))).map(|_| worker()).collect();
        drop(sender);
        let mut first: Option<(usize, Error)> = None;
        for (at, result) in results {
            if let Err(error) = done(sampled[at], result) {
                failed.store(true, Ordering::Relaxed);
                // Of several errors that of the first job in order, which is the same on any number of threads.
                if first.as_ref().is_none_or(|(before, _)| at < *before) {
                    first = Some((at, error));
                }
            }
        }
        for worker in workers {
            // A panic, of closures of a user perhaps, goes on with its own message.
            if let Err(panic) = worker.join() {
                std::panic::resume_unwind(panic);
            }
        }
        first.map_or(Ok(()), |(_, error)| Err(error))
    })
}

fn label(curve: &Curve) -> String {
    let name = curve.kind().name();
    curve.eta().map_or(name.into(), |eta| format!("{name} with eta = {eta}"))
}
