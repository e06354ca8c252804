//! `--at`: the hyperparameters at which a problem is looked at, and the problem itself.

use std::path::Path;

use bilevel::data::Dataset;
use bilevel::tune::{GlmProblem, SavedModel};
use bilevel::{Error, Result};

use crate::args::ProblemArgs;
use crate::mapped::Verify;
use crate::plan::{self, Part};
use crate::problem;

/// Pairs of a name and a text.
type Description = Vec<(String, String)>;

/// The problem of the files, and a description of what was read.
pub fn open(args: &ProblemArgs, verify: Verify, phase: impl FnMut(&str)) -> Result<(GlmProblem, Description)> {
    open_as(args, verify, phase, |data| data)
}

/// The same after `prepare` has had training and validation rows.
pub fn open_as(
    args: &ProblemArgs,
    verify: Verify,
    phase: impl FnMut(&str),
    prepare: impl Fn(Dataset) -> Dataset,
) -> Result<(GlmProblem, Description)> {
    bilevel::tune::Relabel::parse(&args.encoding.classes)?;
    problem::start_threads(args)?;
    let validation = args.validation.as_ref().map(|text| Part::parse(text, "--validation")).transpose()?;
    let inputs = problem::read(args, validation.as_ref(), None, verify, phase)?;
    let options = plan::problem_options(args, validation.as_ref(), inputs.learned.labels.kind());
    let problem = GlmProblem::new(prepare(inputs.train), inputs.validation.map(prepare).as_ref(), &options)?;
    Ok((problem, inputs.description))
}

/// The log-penalties that `text` names: one positive number for all, as many as there are hyperparameters with commas
/// between them, or the model file of a tuning with as many.
pub fn log_penalties(text: &str, hyperparameters: usize) -> Result<Vec<f64>> {
    let number = |word: &str| word.trim().parse::<f64>().ok().filter(|x| *x > 0.0 && x.is_finite());
    let words: Vec<&str> = text.split(',').collect();
    let numbers: Option<Vec<f64>> = words.iter().map(|word| number(word)).collect();
    let found = match numbers {
        Some(one) if one.len() == 1 => vec![one[0].ln(); hyperparameters],
        Some(many) => many.into_iter().map(f64::ln).collect(),
        None if Path::new(text).exists() => SavedModel::read(Path::new(text))?.lambda,
        None => {
            return Err(Error::input(format!(
                "--at {text} is neither a positive number, a list of them, nor a model file"
            ))
            .remedy("give a penalty such as 0.01"));
        }
    };
    if found.len() != hyperparameters {
        let message = format!("--at gives {} penalties, the problem has {hyperparameters}", found.len());
        return Err(Error::input(message).remedy("choose the kind of penalty with --penalties, or give one for all"));
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn penalties_are_numbers_lists_or_models() {
        assert_eq!(log_penalties("1", 3).unwrap(), vec![0.0; 3]);
        assert_eq!(log_penalties("1, 1", 2).unwrap(), vec![0.0; 2]);
        for (text, count) in [("1,1", 3), ("0", 1), ("-1", 1), ("nan", 1), ("", 1), ("1,,2", 3), ("no such file", 1)] {
            assert!(log_penalties(text, count).unwrap_err().is_input(), "{text}");
        }
    }
}
