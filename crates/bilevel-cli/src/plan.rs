//! From arguments to a plan: every choice that can be made before the data are tuned.

use std::fmt;
use std::path::PathBuf;

use bilevel::data::TargetKind;
use bilevel::tune::{Criterion, LossChoice, TuneOptions};
use bilevel::{Error, Result};

use crate::args::{ProblemArgs, or_standard_input};

/// Rows from a file of their own, or a share of the training rows.
#[derive(Debug, Clone, PartialEq)]
pub enum Part {
    File(PathBuf),
    Fraction(f64),
}

impl Part {
    /// A number between 0 and 1 is a fraction, unless a file has that name.
    pub fn parse(text: &str, option: &str) -> Result<Self> {
        let path = or_standard_input(text.into());
        match text.parse::<f64>() {
            Ok(fraction) if !path.exists() => match fraction > 0.0 && fraction < 1.0 {
                true => Ok(Part::Fraction(fraction)),
                false => Err(Error::input(format!("{option} {text} is neither a file nor a fraction"))
                    .remedy("give a number between 0 and 1, or a file")),
            },
            _ => Ok(Part::File(path)),
        }
    }
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Part::File(path) => write!(f, "{}", path.display()),
            Part::Fraction(fraction) => write!(f, "{fraction}"),
        }
    }
}

/// The target that a model needs; none where the target decides.
pub fn target_kind(loss: LossChoice) -> Option<TargetKind> {
    match loss {
        LossChoice::Auto => None,
        LossChoice::Logistic | LossChoice::SquaredHinge => Some(TargetKind::Binary),
        LossChoice::Softmax => Some(TargetKind::Classes),
        LossChoice::Squared | LossChoice::Huber => Some(TargetKind::Real),
        LossChoice::Poisson => Some(TargetKind::Counts),
    }
}

/// What the library is told of the problem. `kind` is the target that was found.
pub fn problem_options(args: &ProblemArgs, validation: Option<&Part>, kind: TargetKind) -> TuneOptions {
    TuneOptions {
        loss: if args.model == LossChoice::Auto { LossChoice::for_kind(kind) } else { args.model },
        penalties: args.penalties,
        criterion: match validation {
            Some(Part::Fraction(fraction)) => Criterion::HeldOut(*fraction),
            _ => Criterion::Auto,
        },
        intercept: !args.no_intercept,
        sampling: args.sampling,
        standardize: !args.encoding.no_standardize,
        seed: args.seed,
        ..TuneOptions::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts() {
        assert_eq!(Part::parse("0.25", "--test").unwrap(), Part::Fraction(0.25));
        assert_eq!(Part::parse("test.csv", "--test").unwrap(), Part::File("test.csv".into()));
        for wrong in ["0", "1", "-0.5", "2.5", "nan"] {
            assert!(Part::parse(wrong, "--test").unwrap_err().is_input(), "{wrong}");
        }
    }
}
