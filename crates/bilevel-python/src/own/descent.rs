//! Descents along hypergradients, by line searches or by steps that need none.

use std::ops::ControlFlow;

use bilevel::optimize::{BoundedLbfgs, Evaluation, Iteration, Limits, OuterStep, ProjectedGradient, StopReason};
use bilevel::step_size::StepSize;
use bilevel::{Error, Result};

use super::minimize::{Asked, Ended, Entry, Frame};
use super::plan::{Measured, Plan};

impl Frame<'_> {
    /// Descends along hypergradients, by line searches or by steps that need none.
    pub(super) fn descent(&mut self, plan: &Plan, lambda: &[f64]) -> Result<Ended> {
        let (lower, upper, bridge, domain) = (self.lower, self.upper, self.bridge, self.domain);
        let (clock, deadline) = (self.clock, self.asked.deadline);
        let Asked { max_iter, tolerance, patience, .. } = self.asked;
        let searches = self.asked.method == "lbfgs";
        let step = self.asked.step()?;
        let late = || deadline.is_some_and(|deadline| clock.elapsed() >= deadline);
        let mut begun = false;
        let mut measured = Measured::default();
        let mut place = self.place.clone();
        let mut oracle = |lambda: &[f64], number: usize| -> Result<Evaluation> {
            if late() && begun {
                return Err(Error::interrupted());
            }
            let mut watch = |_: &_| if bridge.is_halted() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) };
            let found = plan.estimate(lower, upper, lambda, (Some(&place), number as u64), &mut measured, &mut watch);
            // What a failed function left behind is no bad step.
            bridge.check()?;
            let found = found.inspect_err(|_| measured = Measured::default())?;
            begun = true;
            let evaluation = Evaluation::from(found.estimate);
            Ok(match found.place {
                Some(ended) => {
                    place = ended;
                    evaluation.with_w(place.w.clone())
                }
                None => evaluation,
            })
        };
        let mut observer = |seen: &Iteration<'_>| {
            let stop = self.tell(Entry {
                iteration: seen.number,
                objective: seen.objective,
                projected_gradient: seen.projected_gradient_norm,
                lambda: seen.lambda.to_vec(),
                rows: seen.work.rows,
                seconds: clock.elapsed().as_secs_f64(),
            });
            if stop { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        };
        let outcome = if searches {
            let lbfgs = BoundedLbfgs { iterations: max_iter, tolerance, stall: tolerance, ..BoundedLbfgs::default() };
            lbfgs.minimize(&mut oracle, domain, lambda, &mut observer)?
        } else {
            let seconds = deadline.map(|deadline| deadline.as_secs_f64());
            let limits =
                Limits { iterations: max_iter, seconds, gradient_tolerance: tolerance, patience, improvement: 1e-4 };
            ProjectedGradient { step, limits }.minimize(&mut oracle, domain, lambda, &mut observer)?
        };
        let reason = match outcome.reason {
            StopReason::Interrupted if late() => StopReason::TimeLimit,
            reason => reason,
        };
        Ok(Ended {
            lambda: outcome.lambda,
            w: outcome.w.unwrap_or(place.w),
            objective: outcome.objective,
            gradient: Some(outcome.gradient),
            iterations: outcome.iterations,
            reason,
            work: outcome.work,
        })
    }
}

impl Asked {
    fn step(&self) -> Result<OuterStep> {
        let outer_step = self.outer_step;
        let step = match self.step_rule.as_str() {
            "adam" => OuterStep::adam(outer_step),
            "adagrad-norm" => OuterStep::AdaGradNorm { outer_step },
            "constant" => OuterStep::Scheduled(StepSize::Constant { eta: outer_step }),
            name => {
                return Err(Error::input(format!("no step rule is called {name}"))
                    .remedy("choose from adam, adagrad-norm and constant"));
            }
        };
        step.validate()?;
        Ok(step)
    }
}
