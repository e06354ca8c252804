//! What makes two runs into one folder the same: settings beside the results, compared before any are added.

use std::path::Path;

use bilevel::data::mapped::MappedRows;
use bilevel::sample::Sampling;
use serde_json::{Map, Value, json};

use crate::args::ProblemArgs;
use crate::names::name_of;

/// What the user named. Another name of the same problem makes no other experiment, but tells what differs where it is another.
const NAMED: [&str; 2] = ["data", "at"];
/// What follows from these and from the options of the model.
const DERIVED: [&str; 4] = ["rows", "hyperparameters", "problem", "map_step"];

/// What the user gave for the problem: its file, the penalty, and how rows are drawn, which no number of the problem shows, where
/// that is not how they are drawn in any case.
pub fn given(problem: &ProblemArgs, at: Option<&str>) -> Map<String, Value> {
    let usual = if MappedRows::recognises(&problem.train) { Sampling::Runs } else { Sampling::Blocks };
    let sampling = problem.sampling.filter(|sampling| *sampling != usual);
    let value = json!({
        "data": problem.train.to_string_lossy(),
        "at": at,
        "sampling": sampling.as_ref().map(name_of),
    });
    match value {
        Value::Object(map) => map,
        other => unreachable!("an object was written, not {other}"),
    }
}

/// What makes `asked` another experiment than that which was `found`, in words; what was given before what follows from it.
pub fn difference(found: &Map<String, Value>, asked: &Map<String, Value>) -> Option<String> {
    let differs = |name: &&str| found.get(*name).unwrap_or(&Value::Null) != asked.get(*name).unwrap_or(&Value::Null);
    let shown = |value: Option<&Value>| match value {
        None | Some(Value::Null) => "not given".into(),
        Some(Value::String(text)) => text.clone(),
        Some(value) => value.to_string(),
    };
    let said = |name: &str| format!("{name} was {} and is {} now", shown(found.get(name)), shown(asked.get(name)));
    let names = asked.keys().chain(found.keys().filter(|name| !asked.contains_key(*name))).map(String::as_str);
    let mut options = names.filter(|name| !NAMED.contains(name) && !DERIVED.contains(name));
    if let Some(name) = options.find(differs) {
        return Some(said(name));
    }
    DERIVED.iter().find(|name| differs(name))?;
    // Names that no settings held before say nothing.
    let renamed = |name: &str| name == "data" && same_file(found.get(name), asked.get(name));
    let told = NAMED
        .iter()
        .filter(|name| found.contains_key(**name) && !renamed(name))
        .chain(&DERIVED[..2])
        .find(|name| differs(name));
    Some(told.map_or("its data, its model or its penalty differ".into(), |name| said(name)))
}

/// True where two names are those of one file.
fn same_file(one: Option<&Value>, other: Option<&Value>) -> bool {
    let real = |name: Option<&Value>| Path::new(name?.as_str()?).canonicalize().ok();
    real(one).is_some_and(|one| Some(one) == real(other))
}

/// A few digits that change with any bit of the numbers (FNV-1a).
pub fn fingerprint<'a>(numbers: impl IntoIterator<Item = &'a f64>) -> String {
    let bytes = numbers.into_iter().flat_map(|number| number.to_bits().to_le_bytes());
    let hash = bytes
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3));
    format!("{hash:016x}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn settings_are_told_apart() {
        let map = |value: Value| value.as_object().unwrap().clone();
        let one = map(json!({"rows": 3, "seed": 0, "data": "a.csv", "problem": "0a"}));
        let against = |value: Value| difference(&one, &map(value));
        assert_eq!(against(Value::Object(one.clone())), None);
        assert_eq!(
            against(json!({"rows": 3, "seed": 0, "data": "./a.csv", "at": "1", "problem": "0a"})),
            None,
            "another name"
        );
        for (other, words) in [
            (json!({"rows": 4, "seed": 1, "data": "a.csv", "problem": "0a"}), "seed was 0 and is 1 now"),
            (json!({"rows": 3, "data": "a.csv", "problem": "0a"}), "seed was 0 and is not given now"),
            (
                json!({"rows": 3, "seed": 0, "sampling": "rows", "problem": "0a"}),
                "sampling was not given and is rows now",
            ),
            (json!({"rows": 4, "seed": 0, "data": "b.csv", "problem": "0b"}), "data was a.csv and is b.csv now"),
            (json!({"rows": 4, "seed": 0, "data": "a.csv", "problem": "0b"}), "rows was 3 and is 4 now"),
            (
                json!({"rows": 3, "seed": 0, "data": "a.csv", "at": "2", "problem": "0b"}),
                "its data, its model or its penalty differ",
            ),
        ] {
            assert_eq!(against(other).as_deref(), Some(words));
        }
        assert_eq!(fingerprint(&[]), "cbf29ce484222325");
        assert_ne!(fingerprint(&[0.0]), fingerprint(&[-0.0]));
    }
}
