//! Labels gathered under new names: odd and even digits, one class against all others.

use serde::{Deserialize, Serialize};

use super::table::{Labels, MISSING};
use super::target::absent_label;
use crate::{Error, Result};

/// Stands for all labels that no class names.
const REST: &str = "*";

/// New names of labels; labels that are not mentioned keep theirs.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Relabel {
    /// New name and old names of each class, in the order given.
    classes: Vec<(String, Vec<String>)>,
}

impl Relabel {
    /// Reads definitions `NEW=A,B,..`; `*` among the old names stands for all labels not named.
    ///
    /// # Errors
    /// When a definition has another form, or a name occurs twice.
    pub fn parse<S: AsRef<str>>(definitions: &[S]) -> Result<Self> {
        let mut classes: Vec<(String, Vec<String>)> = Vec::new();
        for definition in definitions.iter().map(AsRef::as_ref) {
            let malformed = || {
                Error::input(format!("'{definition}' does not define a class"))
                    .remedy("write the new name, =, and the old labels between commas: odd=1,3,5,7,9")
            };
            let (new, old) = definition.split_once('=').ok_or_else(malformed)?;
            let old: Vec<String> = old.split(',').map(|label| label.trim().to_string()).collect();
            if new.trim().is_empty() || old.iter().any(String::is_empty) {
                return Err(malformed());
            }
            for label in &old {
                let taken = classes.iter().find(|(_, labels)| labels.iter().any(|known| same(known, label)));
                if let Some((name, _)) = taken {
                    let message = format!("the label '{label}' is put into two classes, '{name}' and '{}'", new.trim());
                    return Err(Error::input(message).remedy("name each label once"));
                }
            }
            match classes.iter_mut().find(|(name, _)| name == new.trim()) {
                Some((_, labels)) => labels.extend(old),
                None => classes.push((new.trim().into(), old)),
            }
        }
        Ok(Relabel { classes })
    }

    /// True when no label is renamed.
    pub fn is_empty(&self) -> bool {
        self.classes.is_empty()
    }

    /// The definitions, in the form that [`Relabel::parse`] reads.
    pub fn definitions(&self) -> Vec<String> {
        self.classes.iter().map(|(new, old)| format!("{new}={}", old.join(","))).collect()
    }

    /// The new name of the label `old`.
    fn rename<'a>(&'a self, old: &'a str) -> &'a str {
        let named = |wanted: &str| {
            self.classes.iter().find(|(_, labels)| labels.iter().any(|label| same(label, wanted))).map(|(new, _)| new)
        };
        named(old).or_else(|| named(REST)).map_or(old, String::as_str)
    }

    /// `labels` under their new names.
    #[must_use]
    pub fn apply(&self, labels: Labels) -> Labels {
        if self.is_empty() {
            return labels;
        }
        let (codes, old_levels) = match labels {
            Labels::Text { codes, levels } => (codes, levels),
            Labels::Numbers(values) => {
                let mut distinct: Vec<f64> = values.iter().copied().filter(|value| !value.is_nan()).collect();
                distinct.sort_by(f64::total_cmp);
                distinct.dedup();
                let code = |value: &f64| match value.is_nan() {
                    true => MISSING,
                    false => distinct.partition_point(|known| known < value) as u32,
                };
                (values.iter().map(code).collect(), distinct.iter().map(|value| format!("{}", value + 0.0)).collect())
            }
        };
        let renamed: Vec<&str> = old_levels.iter().map(|level| self.rename(level)).collect();
        let mut levels: Vec<String> = renamed.iter().map(|&name| name.into()).collect();
        levels.sort();
        levels.dedup();
        let new_code: Vec<u32> =
            renamed.iter().map(|&name| levels.partition_point(|level| level.as_str() < name) as u32).collect();
        let codes = codes.iter().map(|&code| if code == MISSING { MISSING } else { new_code[code as usize] }).collect();
        Labels::Text { codes, levels }
    }

    /// [`Relabel::apply`], where all labels that are named occur.
    ///
    /// # Errors
    /// When one does not: most likely it is mistyped.
    pub fn checked(&self, labels: Labels) -> Result<Labels> {
        match self.absent(&labels).first() {
            Some(absent) => Err(absent_label(absent)),
            None => Ok(self.apply(labels)),
        }
    }

    /// The old names that do not occur in `labels`: most likely mistyped.
    pub fn absent(&self, labels: &Labels) -> Vec<String> {
        let occurs = |wanted: &str| match labels {
            Labels::Text { levels, .. } => levels.iter().any(|level| same(level, wanted)),
            Labels::Numbers(values) => wanted.parse().is_ok_and(|wanted: f64| values.contains(&wanted)),
        };
        let all = self.classes.iter().flat_map(|(_, labels)| labels);
        all.filter(|label| *label != REST && !occurs(label)).cloned().collect()
    }
}

/// Equal as texts, or as numbers: `1`, `1.0` and `+1` are one label.
fn same(a: &str, b: &str) -> bool {
    let number = |text: &str| text.parse::<f64>().ok().filter(|value| value.is_finite());
    a == b || number(a).is_some_and(|a| Some(a) == number(b))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(labels: &Labels) -> Vec<&str> {
        match labels {
            Labels::Text { codes, levels } => {
                let text = |&code: &u32| if code == MISSING { "?" } else { levels[code as usize].as_str() };
                codes.iter().map(text).collect()
            }
            Labels::Numbers(_) => panic!("texts were expected"),
        }
    }

    #[test]
    fn labels_are_gathered() {
        let digits = || Labels::Numbers(vec![3.0, f64::NAN, 0.0, 4.0, 1.0]);
        let odd = Relabel::parse(&["odd=1,3.0", "even=0,+4"]).unwrap();
        assert_eq!(texts(&odd.apply(digits())), ["odd", "?", "even", "even", "odd"]);
        let rest = Relabel::parse(&["three=3", "other=*"]).unwrap();
        assert_eq!(texts(&rest.apply(digits())), ["three", "?", "other", "other", "other"]);
        let some = Relabel::parse(&["low=0,1"]).unwrap();
        assert_eq!(texts(&some.apply(digits())), ["3", "?", "low", "4", "low"]);
        assert_eq!(Relabel::default().apply(digits()).len(), 5);
        assert_eq!(Relabel::parse(&odd.definitions()).unwrap(), odd);
    }

    #[test]
    fn texts_are_gathered_too() {
        let labels = Labels::Text { codes: vec![2, 0, 1], levels: vec!["a".into(), "b".into(), "c".into()] };
        let vowels = Relabel::parse(&["vowel=a", "consonant=b,c,d"]).unwrap();
        assert_eq!(vowels.absent(&labels), ["d"]);
        assert_eq!(texts(&vowels.apply(labels)), ["consonant", "vowel", "consonant"]);
    }

    #[test]
    fn faults_are_named() {
        for definition in ["odd", "=1", "odd=", "odd=1,,2"] {
            assert!(Relabel::parse(&[definition]).unwrap_err().is_input(), "{definition}");
        }
        let twice = Relabel::parse(&["odd=1,3", "even=0,1.0"]).unwrap_err();
        assert!(twice.to_string().contains("two classes, 'odd' and 'even'"), "{twice}");
    }
}
