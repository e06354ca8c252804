//! The closed sets of the library (losses, penalties, methods, ...) by name on the command line.
//!
//! The names are those of the library's serialised form, so that the command, the files it writes and configuration
//! files never disagree.

use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
use serde::de::value::{Error, StrDeserializer};
use serde::de::{DeserializeOwned, IntoDeserializer};
use serde::{Deserialize, Serialize};

/// Names of a set with a line of help each.
pub type Names = &'static [(&'static str, &'static str)];

pub const MODELS: Names = &[
    ("auto", "logistic for two classes, softmax for more, poisson for counts, else squared"),
    ("logistic", "two classes, probabilities"),
    ("softmax", "any number of classes, probabilities"),
    ("squared", "numbers, least squares"),
    ("huber", "numbers with outliers"),
    ("squared-hinge", "two classes, support vector machine"),
    ("poisson", "counts"),
];

pub const PENALTIES: Names = &[
    ("auto", "coarse to fine, the finer only where rows that did not steer the tuning confirm it"),
    ("shared", "one for all weights"),
    ("per-group", "one for each group of features (CSV: each source column)"),
    ("per-class", "one for each class"),
    ("per-feature", "one for each feature"),
];

/// Those of [`PENALTIES`] where nothing is tuned.
pub const PENALTIES_AT: Names = &[
    ("auto", "those of the model that --at names, else one for each of the --groups, else one for all weights"),
    ("shared", "one for all weights"),
    ("per-group", "one for each group of features (CSV: each source column)"),
    ("per-class", "one for each class"),
    ("per-feature", "one for each feature"),
];

pub const METHODS: Names = &[
    ("auto", "by the size of the problem"),
    ("exact", "Newton for the weights, a direct or fully converged solve for the adjoint"),
    ("aid-cg", "inexact Newton and conjugate gradients over all rows"),
    ("aid-fp", "fixed-point iteration over all rows"),
    ("sid-constant", "stochastic implicit differentiation, constant steps"),
    ("sid-decreasing", "stochastic implicit differentiation, decreasing steps"),
    ("sid-svrg", "stochastic implicit differentiation, noise reduced by a pass now and then"),
    ("sid-saga", "stochastic implicit differentiation, noise reduced by a memory of each row"),
];

/// Those of [`METHODS`] that learn the weights of rows.
pub const CLEAN_METHODS: Names = &[
    ("auto", "by the size of the problem"),
    ("exact", "Newton for the weights of the model, a factorisation for the adjoint"),
    ("aid-cg", "inexact Newton and conjugate gradients over all rows"),
];

pub const CLEAN_STARTS: Names = &[
    ("trusted", "at how well each label goes with a model of the trusted rows"),
    ("uniform", "at one half, as published"),
];

pub const PRECISE_METHODS: Names = &[
    ("auto", "by the rows that each is expected to visit"),
    ("sid", "samples alone: cost follows from the precision, not from the number of rows"),
    ("sid-svrg", "samples and some passes: few rows, a high precision or weak penalties"),
];

pub const ALGORITHMS: Names = &[
    ("hoag", "all rows, falling tolerances, adaptive outer step"),
    ("bsa", "growing lower loops, one random term of a Neumann series"),
    ("ttsa", "one lower step, one random term of a Neumann series"),
    ("stocbio", "ten lower steps, Neumann series"),
    ("sustain", "STORM directions, one random term of a Neumann series"),
    ("mrbo", "STORM directions, Neumann series"),
    ("vrbo", "SPIDER directions, Neumann series"),
    ("amigo", "ten steps of each level, warm starts"),
    ("fsla", "single loop, STORM direction of lambda"),
    ("soba", "single loop, plain directions"),
    ("saba", "single loop, SAGA directions"),
    ("bome", "first order, dynamic barrier"),
    ("pzobo", "differences of lower runs along a random direction"),
    ("bsgm", "cold starts, growing loops of both levels"),
    ("f2sa", "first order, growing penalty"),
    ("ma-soba", "single loop, moving average of the outer direction"),
    ("srba", "single loop, SARAH directions"),
    ("auto", "what to take without tuning: single loop, SAGA directions, steps measured on the way"),
];

pub const SAMPLINGS: Names = &[
    ("blocks", "consecutive rows of shuffled data from a random start, the fastest"),
    ("runs", "blocks one behind the other, some 1000 rows from each random start"),
    ("rows", "independent random rows"),
];

/// Parser for the value of the library that bears one of these names.
pub fn parser<T>(names: Names) -> impl TypedValueParser<Value = T>
where
    T: DeserializeOwned + Clone + Send + Sync + 'static,
{
    PossibleValuesParser::new(names.iter().map(|&(name, help)| PossibleValue::new(name).help(help)))
        .try_map(|name| by_name::<T>(&name))
}

fn by_name<T: for<'a> Deserialize<'a>>(name: &str) -> Result<T, Error> {
    let name: StrDeserializer<'_, Error> = name.into_deserializer();
    T::deserialize(name)
}

/// The name of a value of the library.
pub fn name_of(value: &impl Serialize) -> String {
    match serde_json::to_value(value) {
        Ok(serde_json::Value::String(name)) => name,
        other => unreachable!("a plain name was expected, not {other:?}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bilevel::algorithms::Algorithm;
    use bilevel::clean::Start;
    use bilevel::sample::Sampling;
    use bilevel::study::CurveKind;
    use bilevel::tune::{LossChoice, Method, Penalties, PreciseMethod};

    /// The names of all values of the library, which it lists where it does not know one.
    fn all_of<T: DeserializeOwned + std::fmt::Debug>() -> Vec<String> {
        let message = by_name::<T>("no such name").unwrap_err().to_string();
        message.split('`').skip(3).step_by(2).map(String::from).collect()
    }

    /// `names` lead to values and back.
    fn are_known<T: DeserializeOwned + Serialize>(names: Names) {
        for (name, _) in names {
            let value: T = by_name(name).unwrap_or_else(|error| panic!("{name}: {error}"));
            assert_eq!(&name_of(&value), name);
        }
    }

    /// The same, and no value is missing.
    fn are_all<T: DeserializeOwned + Serialize + std::fmt::Debug>(names: Names) {
        are_known::<T>(names);
        let (mut named, mut all) = (names.iter().map(|(name, _)| name.to_string()).collect::<Vec<_>>(), all_of::<T>());
        named.sort();
        all.sort();
        assert_eq!(named, all);
    }

    #[test]
    fn closed_sets_are_complete() {
        are_all::<LossChoice>(MODELS);
        are_all::<Penalties>(PENALTIES);
        are_all::<Penalties>(PENALTIES_AT);
        are_all::<Method>(METHODS);
        are_all::<PreciseMethod>(PRECISE_METHODS);
        are_all::<Sampling>(SAMPLINGS);
        are_all::<Algorithm>(ALGORITHMS);
        are_all::<Start>(CLEAN_STARTS);
        are_all::<CurveKind>(crate::study::METHODS);
        // A part of the methods of tuning.
        are_known::<Method>(CLEAN_METHODS);
    }
}
