//! The problem of a data file, and its exact hypergradient.

use bilevel::Result;
use bilevel::hypergradient::Capable;
use bilevel::problems::glm::Glm;
use bilevel::study::{Reference, StepLimits, StudySettings, Subject};
use bilevel::tune::GlmProblem;
use serde_json::{Map, Value};

use super::{identity, minibatches};
use crate::numbers;

/// A hypergradient to be studied: a problem, where it is looked at, and the answer.
pub struct Question<'a> {
    problem: &'a GlmProblem,
    lambda: Vec<f64>,
    reference: Reference,
    lower: Glm<'a>,
}

impl<'a> Question<'a> {
    pub fn new(problem: &'a GlmProblem, lambda: Vec<f64>) -> Result<Self> {
        let lower = problem.lower();
        let reference = Reference::new(&lower, &problem.upper(), &lambda, 0)?;
        Ok(Question { problem, lambda, reference, lower })
    }

    /// What step sizes follow from.
    pub fn limits(&self, batch: usize, seed: u64) -> Result<StepLimits> {
        StepLimits::of_loss(&self.reference.map(&self.lower), &self.reference, &self.lambda, batch, seed)
    }

    /// Hands the gradient-step map and all else to `study`.
    pub fn with_subject<T>(&self, study: impl FnOnce(Subject<'_>) -> T) -> T {
        let (map, upper) = (self.reference.map(&self.lower), self.problem.upper());
        study(Subject {
            map: Capable::gradient_step(&map).jvp_lambda(&map),
            upper: &upper,
            lambda: &self.lambda,
            rows: self.lower.risk().len(),
            reference: &self.reference.hypergradient,
        })
    }

    /// What makes two runs the same study.
    pub fn identity(&self, settings: &StudySettings) -> Map<String, Value> {
        // The exact hypergradient and the constants depend on all of the data, the model and lambda.
        let numbers = [&self.reference.hypergradient[..], &self.reference.solution, &self.lambda].concat();
        let rows = self.lower.risk().len();
        identity(&numbers, rows, self.lambda.len(), Some(self.reference.map_step), settings)
    }

    /// What the figures are about, in pairs of a name and a text.
    pub fn facts(&self, settings: &StudySettings, at: &str) -> Vec<(String, String)> {
        let Reference { mu, l, map_step, contraction, objective, .. } = self.reference;
        let short = numbers::short;
        vec![
            ("penalties".into(), format!("{} at {at}", numbers::count(self.lambda.len()))),
            (
                "exact hypergradient".into(),
                format!("norm {}, objective {}", short(self.reference.norm()), numbers::loss(objective)),
            ),
            (
                "map".into(),
                format!(
                    "gradient step {}, curvature from {} to {}, contraction q = {contraction:.6}",
                    short(map_step),
                    short(mu),
                    short(l)
                ),
            ),
            minibatches(settings),
        ]
    }
}
