//! What makes two runs into one folder the same: settings beside the results, compared before any are added.

use serde_json::{Map, Value};

/// The first setting that differs: its name, what was found, what is asked for.
pub fn difference(found: &Map<String, Value>, asked: &Map<String, Value>) -> Option<(String, String, String)> {
    let names = asked.keys().chain(found.keys().filter(|name| !asked.contains_key(*name)));
    let shown = |value: Option<&Value>| value.map_or("not given".into(), |value| value.to_string());
    names
        .map(|name| (name, found.get(name), asked.get(name)))
        .find(|(_, there, here)| there != here)
        .map(|(name, there, here)| (name.clone(), shown(there), shown(here)))
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
        let one = map(json!({"rows": 3, "seed": 0}));
        assert_eq!(difference(&one, &one), None);
        assert_eq!(
            difference(&one, &map(json!({"rows": 3, "seed": 1}))),
            Some(("seed".into(), "0".into(), "1".into()))
        );
        assert_eq!(difference(&one, &map(json!({"rows": 3}))), Some(("seed".into(), "0".into(), "not given".into())));
        assert_eq!(fingerprint(&[]), "cbf29ce484222325");
        assert_ne!(fingerprint(&[0.0]), fingerprint(&[-0.0]));
    }
}
