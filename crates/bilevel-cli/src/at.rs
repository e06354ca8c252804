//! `--at`: the hyperparameters at which a problem is looked at, and the problem itself.

use std::path::Path;

use bilevel::data::Dataset;
use bilevel::tune::{GlmProblem, Penalties, SavedModel, TuneOptions};
use bilevel::{Error, Result};

use crate::args::ProblemArgs;
use crate::mapped::Verify;
use crate::plan::{self, Part};
use crate::problem;

/// A problem, and what is known of its files.
pub struct Opened {
    pub problem: GlmProblem,
    /// What was read and what is noteworthy of it, in pairs of a name and a text.
    pub description: Vec<(String, String)>,
    /// What is noteworthy alone, where the description is not shown.
    pub notes: Vec<String>,
}

impl Opened {
    /// The notes as lines.
    pub fn notes_text(notes: &[String]) -> String {
        notes.iter().map(|note| format!("note: {note}\n")).collect()
    }
}

/// What `--at` gives.
pub struct At {
    /// One log-penalty for all, or as many as there are.
    given: Given,
    /// The kind of penalty of a model.
    penalties: Option<Penalties>,
}

enum Given {
    One(f64),
    Each(Vec<f64>),
}

impl At {
    /// Understands one positive number for all, as many as there are hyperparameters with commas between them, or the name of
    /// the model file of a tuning with as many.
    ///
    /// # Errors
    /// Input, and those of reading a model.
    pub fn parse(text: &str) -> Result<Self> {
        let number = |word: &str| word.trim().parse::<f64>().ok().filter(|x| *x > 0.0 && x.is_finite()).map(f64::ln);
        let numbers: Option<Vec<f64>> = text.split(',').map(number).collect();
        match numbers.as_deref() {
            Some(&[one]) => Ok(At { given: Given::One(one), penalties: None }),
            Some(many) => Ok(At { given: Given::Each(many.to_vec()), penalties: None }),
            None if Path::new(text).exists() => {
                let SavedModel { lambda, about, .. } = SavedModel::read(Path::new(text))?;
                Ok(At { given: Given::Each(lambda), penalties: Some(about.penalties) })
            }
            None => {
                Err(Error::input(format!("--at {text} is neither a positive number, a list of them, nor a model file"))
                    .remedy("give a penalty such as 0.01"))
            }
        }
    }

    /// The log-penalties of a problem with so many hyperparameters.
    ///
    /// # Errors
    /// Input, where there are more or fewer.
    pub fn log_penalties(&self, hyperparameters: usize) -> Result<Vec<f64>> {
        match &self.given {
            Given::One(one) => Ok(vec![*one; hyperparameters]),
            Given::Each(many) if many.len() == hyperparameters => Ok(many.clone()),
            Given::Each(many) => {
                Err(Error::input(format!("--at gives {} penalties, the problem has {hyperparameters}", many.len()))
                    .remedy("choose the kind of penalty with --penalties, or give one for all"))
            }
        }
    }
}

/// The problem of the files. Where no kind of penalty is asked for it is that of the model
/// that `at` names, or one for each group where groups are given.
pub fn open(args: &ProblemArgs, at: Option<&At>, verify: Verify, phase: impl FnMut(&str)) -> Result<Opened> {
    open_as(args, at, verify, phase, |data| data)
}

/// The same after `prepare` has had training and validation rows.
pub fn open_as(
    args: &ProblemArgs,
    at: Option<&At>,
    verify: Verify,
    phase: impl FnMut(&str),
    prepare: impl Fn(Dataset) -> Dataset,
) -> Result<Opened> {
    bilevel::data::Relabel::parse(&args.encoding.classes)?;
    problem::start_threads(args)?;
    let validation = args.validation.as_ref().map(|text| Part::parse(text, "--validation")).transpose()?;
    let inputs = problem::read(args, validation.as_ref(), None, verify, phase)?;
    let options = plan::problem_options(args, validation.as_ref(), inputs.schema.labels.kind());
    let penalties = match (options.penalties, at.and_then(|at| at.penalties)) {
        (Penalties::Auto, Some(of_model)) => of_model,
        (Penalties::Auto, None) if args.groups.is_some() => Penalties::PerGroup,
        (asked, _) => asked,
    };
    let options = TuneOptions { penalties, ..options };
    let problem = GlmProblem::new(prepare(inputs.train), inputs.validation.map(prepare).as_ref(), &options)?;
    let (mut description, notes) = (inputs.description, inputs.notes);
    description.extend(notes.iter().map(|note| ("note".into(), note.clone())));
    Ok(Opened { problem, description, notes })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn penalties_are_numbers_lists_or_models() {
        let log_penalties = |text: &str, count| At::parse(text)?.log_penalties(count);
        assert_eq!(log_penalties("1", 3).unwrap(), vec![0.0; 3]);
        assert_eq!(log_penalties("1, 1", 2).unwrap(), vec![0.0; 2]);
        for (text, count) in [("1,1", 3), ("0", 1), ("-1", 1), ("nan", 1), ("", 1), ("1,,2", 3), ("no such file", 1)] {
            assert!(log_penalties(text, count).unwrap_err().is_input(), "{text}");
        }
    }
}
