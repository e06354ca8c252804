//! Jobs of a study that failed while others went on.

use bilevel::study::Job;
use bilevel::{Error, Result};

/// Replicates that came to no end, and why.
#[derive(Debug, Default)]
pub struct Failures(Vec<(Job, Error)>);

impl Failures {
    /// Notes the failure of a job.
    pub fn add(&mut self, job: &Job, error: Error) {
        self.0.push((*job, error));
        // Jobs end in no particular order.
        self.0.sort_by_key(|(job, _)| job.replicate);
    }

    /// The first failure as an error.
    pub fn none(self) -> Result<()> {
        self.0.into_iter().next().map_or(Ok(()), |(_, error)| Err(error))
    }

    /// What to say of each curve of `jobs` of which a replicate failed, in pairs of a name and a text.
    pub fn facts(&self, jobs: &[Job]) -> Vec<(String, String)> {
        let mut facts = Vec::new();
        for first in jobs.iter().filter(|job| job.replicate == 0) {
            let mut of_curve = self.0.iter().filter(|(job, _)| job.curve == first.curve).peekable();
            let Some((_, error)) = of_curve.peek().copied() else { continue };
            let all = jobs.iter().filter(|job| job.curve == first.curve).count();
            facts.push(("failed".into(), format!("{} of {all} replicates of {error}", of_curve.count())));
        }
        facts
    }
}
