//! The fits on all rows, once the penalties are known, and what they are shown beside.

use rayon::prelude::*;

use super::compare::{candidate, untuned, usual_if_better};
use super::context::{Context, Stop};
use super::outcome::Candidate;
use super::path::{Division, Model, Reach, Tried};
use super::select::Judged;
use crate::Result;
use crate::problems::glm::EmpiricalRisk;

/// Rows and parameters up to which candidates are described at the same time; each of them takes a number or two a row, and
/// its parameters.
const DESCRIBED_TOGETHER: usize = 1 << 18;

/// All candidates, fitted.
pub(super) struct Refitted<'a> {
    tried: Vec<Tried<'a>>,
    /// Number of the chosen one.
    chosen: usize,
    /// The usual penalty, where it is kept in the place of that one: the time was over before a better one was found.
    usual: Option<Tried<'a>>,
    /// The usual penalty as the user is shown it, where there was time for it.
    untuned: Option<Candidate>,
}

/// Fits candidates on all rows, the `chosen` one first. Of a search that was cut short the usual penalty is kept where it is
/// better.
pub(super) fn refit<'a>(
    whole: &Division<'a>,
    model: &Model<'_>,
    mut tried: Vec<Tried<'a>>,
    chosen: usize,
    test: Option<&EmpiricalRisk<'_>>,
    context: &mut Context<'_>,
) -> Result<Refitted<'a>> {
    let (mut usual, mut shown) = (None, None);
    context.must_stop();
    // A search goes from strong penalties to weak ones, and may have been cut short among those that are far too strong.
    if context.stopped() == Some(Stop::Time) && tried.len() == 1 {
        usual = usual_if_better(whole, model, &tried[0], context)?;
    }
    // The one that is kept first.
    usual.as_mut().unwrap_or(&mut tried[chosen]).refit(whole, model.engine, context)?;
    // Whoever interrupts waits: then nothing is fitted that would only be compared with.
    let interrupted = context.must_stop() && context.stopped() == Some(Stop::Interrupted);
    if !interrupted {
        match untuned(whole, model, usual.as_ref().unwrap_or(&tried[chosen]), test, context) {
            Ok((fitted, mut candidate)) => {
                let better = fitted.criterion < tried[chosen].criterion;
                if usual.is_some() || (context.stopped() == Some(Stop::Time) && better) {
                    candidate.chosen = true;
                    usual = Some(fitted);
                }
                shown = Some(candidate);
            }
            Err(error) if error.is_interrupted() => {
                shown = usual.as_ref().map(|usual| candidate(usual, whole, &[], test, true));
            }
            Err(error) => return Err(error),
        }
        for tried in &mut tried {
            tried.refit(whole, model.engine, context)?;
        }
    }
    // What was asked to stop meanwhile has this status.
    context.must_stop();
    Ok(Refitted { tried, chosen, usual, untuned: shown })
}

impl<'a> Refitted<'a> {
    /// The one the model is made of.
    pub(super) fn kept(&self) -> &Tried<'a> {
        self.usual.as_ref().unwrap_or(&self.tried[self.chosen])
    }

    /// Whether the usual penalty is kept, for want of time to find a better one.
    pub(super) fn keeps_the_usual(&self) -> bool {
        self.usual.is_some()
    }

    /// The candidates as the user is shown them, the untuned one first.
    pub(super) fn candidates(
        &self,
        whole: &Division<'_>,
        judged: &[Judged],
        test: Option<&EmpiricalRisk<'_>>,
        context: &mut Context<'_>,
    ) -> Vec<Candidate> {
        let fitted = |(index, tried): &(usize, &Tried<'_>)| match tried.reach {
            Reach::Done => tried.w.is_some(),
            Reach::Begun | Reach::Fold => *index == self.chosen,
        };
        let numbered: Vec<(usize, &Tried<'_>)> = self.tried.iter().enumerate().filter(fitted).collect();
        // Whoever interrupts waits for the figures of what is kept; for others only while it takes no time.
        let grace = context.grace();
        let describe = |(index, tried)| {
            (index == self.chosen || !grace.is_raised())
                .then(|| candidate(tried, whole, judged, test, self.usual.is_none() && index == self.chosen))
        };
        let mut candidates: Vec<Candidate> = self.untuned.iter().cloned().collect();
        match whole.refit.len().max(whole.refit.parameters()) <= DESCRIBED_TOGETHER {
            true => candidates.par_extend(numbered.into_par_iter().filter_map(describe)),
            false => candidates.extend(numbered.into_iter().filter_map(describe)),
        }
        candidates
    }
}
