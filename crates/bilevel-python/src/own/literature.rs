//! The algorithms of the literature: by name, with first steps, up to a limit.

use std::ops::ControlFlow;

use bilevel::algorithms::{
    Algorithm, Bilevel, FirstSteps, Iterate, Outcome, Point, Recipe, Settings as Recipes, first_steps, run,
};
use bilevel::optimize::StopReason;
use bilevel::sample::{Batch, Sample};
use bilevel::upper::UpperObjective;
use bilevel::work::Work;
use bilevel::{Error, Result, vector};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;

use super::levels::{LossLevel, Lower};
use super::minimize::{Asked, Ended, Entry, Frame};
use super::plan::Plan;

/// Growth of the number of iterations between two entries of the history.
const GROWTH: f64 = 1.25;
/// The name here of [`Algorithm::Auto`]: what `auto` stands for depends on the problem.
const ADAPTIVE: &str = "adaptive";

impl Asked {
    /// The algorithm of the literature, if it is one, and if `lower` can serve it.
    pub(super) fn algorithm(&self, lower: &Lower) -> PyResult<Option<Algorithm>> {
        if ["lbfgs", "gradient"].contains(&self.method.as_str()) {
            return Ok(None);
        }
        let refuse = |text: String| Err(PyValueError::new_err(text));
        let name = |algorithm: Algorithm| if algorithm == Algorithm::Auto { ADAPTIVE } else { algorithm.name() };
        let Some(algorithm) = Algorithm::ALL.into_iter().find(|&algorithm| name(algorithm) == self.method) else {
            let names: Vec<_> = Algorithm::ALL.into_iter().map(name).collect();
            let (method, names) = (&self.method, names.join(", "));
            return refuse(format!("no method is called {method:?}; choose from lbfgs, gradient, {names}"));
        };
        let Lower::Loss(loss) = lower else {
            let method = &self.method;
            return refuse(format!("method=\"{method}\" is for losses; a map takes lbfgs or gradient"));
        };
        if algorithm == Algorithm::Auto && !lower.level().exact {
            return refuse(format!("method=\"{ADAPTIVE}\" looks at all rows now and then, and a simulation has none"));
        }
        let first_order = matches!(algorithm.recipe(), Recipe::Penalized { .. } | Recipe::DynamicBarrier { .. });
        if first_order && loss.gradient_lambda.is_none() {
            return refuse(format!("method=\"{algorithm}\" needs the function gradient_lam of the loss"));
        }
        Ok(Some(algorithm))
    }
}

impl Frame<'_> {
    /// Runs an algorithm of the literature from `lambda`.
    pub(super) fn algorithm(
        &mut self,
        algorithm: Algorithm,
        loss: &LossLevel,
        lambda: &[f64],
        plan: &Plan,
    ) -> Result<Ended> {
        let (upper, domain) = (self.upper, self.domain);
        let mut at = lambda.to_vec();
        domain.project(&mut at);
        let start = Point::new(&self.place.w, &self.place.u, &at);
        let seed = plan.settings.seed;
        let batch = if algorithm == Algorithm::Hoag { Batch::All } else { self.asked.batch };
        let (steps, before) = match self.asked.steps {
            Some(steps) => (steps, Work::default()),
            // It finds its steps by itself; these are factors.
            None if algorithm == Algorithm::Auto => (FirstSteps::ONES, Work::default()),
            None => first_steps(loss, upper, &start, self.asked.outer_step, (batch, seed))?,
        };
        let recipes = Recipes::of(algorithm, steps, batch, seed);
        let problem = Bilevel { lower: loss, upper, domain };
        let (mut reason, mut next) = (StopReason::IterationLimit, 0);
        let exact = upper.level.exact;
        // The last place that an entry tells of: once a function has failed, the iterates are no numbers.
        let mut told: Option<(usize, Work, Vec<f64>, Vec<f64>)> = None;
        let mut observer = |seen: &Iterate<'_>| {
            let over = seen.iterations >= self.asked.max_iter;
            let late = self.is_late();
            if seen.iterations >= next || over || late {
                next = (seen.iterations + 1).max((GROWTH * seen.iterations as f64) as usize);
                let (w, lambda) = (seen.point.w(), seen.point.lambda());
                let objective = if exact { upper.value(w, lambda, &Sample::Full) } else { f64::NAN };
                if self.bridge.is_halted() {
                    return ControlFlow::Break(());
                }
                told = Some((seen.iterations, seen.work, w.to_vec(), lambda.to_vec()));
                let stop = self.tell(Entry {
                    iteration: seen.iterations,
                    objective,
                    projected_gradient: f64::NAN,
                    lambda: lambda.to_vec(),
                    rows: (seen.work + before).rows,
                    seconds: self.clock.elapsed().as_secs_f64(),
                });
                if stop {
                    reason = StopReason::Interrupted;
                    return ControlFlow::Break(());
                }
            }
            if late && !over {
                reason = StopReason::TimeLimit;
            }
            if over || late || self.bridge.is_halted() {
                return ControlFlow::Break(());
            }
            ControlFlow::Continue(seen.iterations + 1)
        };
        let ran = run(problem, &recipes, start, &mut observer);
        let (iterations, after, w, lambda) = if self.bridge.is_halted() {
            reason = StopReason::Interrupted;
            told.ok_or_else(Error::interrupted)?
        } else {
            let Outcome { iterations, work, point, .. } = ran?;
            (iterations, work, point.w().to_vec(), point.lambda().to_vec())
        };
        if !vector::all_finite(&w) || !vector::all_finite(&lambda) {
            return Err(Error::numeric("the iterates are not finite").remedy("use smaller steps, or a larger batch"));
        }
        let objective = self.history.last().map_or(f64::NAN, |entry| entry.objective);
        Ok(Ended { lambda, w, objective, gradient: None, iterations, reason, work: after + before })
    }
}
