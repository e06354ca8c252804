//! Whether a data set holds together, and whether another one fits to it.

use super::dataset::{Dataset, Target};
use super::design::DesignMatrix;
use crate::{Error, Result};

impl Dataset {
    /// Number of rows that weigh something.
    pub fn weighing_rows(&self) -> usize {
        self.weights.as_ref().map_or(self.rows(), |weights| weights.iter().filter(|&&weight| weight > 0.0).count())
    }

    /// Checks that all parts have the sizes of the features, that codes are known, and that numbers can be computed with;
    /// messages call the data `name`.
    ///
    /// Numbers and classes of rows that were arranged are not looked at again: there may be very many, of which few are used.
    ///
    /// # Errors
    /// Input, where a part is too short or too long, a code of a class or a group has no name, a weight is negative or no
    /// number, all weights are zero, or a number is not finite or so large that sums of squares are not.
    pub fn validate(&self, name: &str) -> Result<()> {
        let (rows, features) = (self.rows(), self.features());
        if rows == 0 {
            return Err(Error::input(format!("the {name} data have no rows")).remedy("check where they come from"));
        }
        if features == 0 {
            return Err(
                Error::input(format!("the {name} data have no features")).remedy("keep one column beside the target")
            );
        }
        self.check_parts(name)?;
        if self.arrangement.is_none() { self.check_numbers(name) } else { Ok(()) }
    }

    /// Checks that all parts have the sizes of the features, that codes are known, and that weights are weights; messages call
    /// the data `name`.
    pub(super) fn check_parts(&self, name: &str) -> Result<()> {
        let (rows, features) = (self.rows(), self.features());
        let arranged = self.arrangement.as_ref().map_or(rows, |arrangement| arrangement.numbers.len());
        let weights = self.weights.as_ref().map_or(rows, Vec::len);
        for (found, what, needed, of) in [
            (self.target.len(), "targets", rows, "rows"),
            (arranged, "arranged targets", rows, "rows"),
            (weights, "weights", rows, "rows"),
            (self.feature_names.len(), "names", features, "features"),
            (self.groups.of_feature.len(), "codes of groups", features, "features"),
            (self.measured.len(), "marks of measurements", features, "features"),
        ] {
            if found != needed {
                return Err(Error::input(format!("the {name} data have {found} {what} for {needed} {of}"))
                    .remedy("give one for each"));
            }
        }
        let groups = self.groups.len();
        if let Some(feature) = self.groups.of_feature.iter().position(|&group| group as usize >= groups) {
            let group = self.groups.of_feature[feature];
            return Err(Error::input(format!(
                "feature '{}' of the {name} data is in group {group}, and there are {groups} names of groups",
                self.feature_names[feature]
            ))
            .remedy("name all groups; their codes begin at 0"));
        }
        if self.arrangement.is_none()
            && let Target::Classes { codes, names } = &self.target
            && let Some(row) = codes.iter().position(|&code| code as usize >= names.len())
        {
            return Err(Error::input(format!(
                "{name} row {} is of class {}, and there are {} names of classes",
                row + 1,
                codes[row],
                names.len()
            ))
            .remedy("name all classes; their codes begin at 0"));
        }
        self.check_weights(name)
    }

    /// Checks that `other`, which messages call `name`, has the features and the kind of target of these data.
    ///
    /// # Errors
    /// Input, where it has not: codes of classes mean something only beside the same names in the same order.
    pub fn check_fits(&self, other: &Dataset, name: &str) -> Result<()> {
        let misfit = |has: String, needs: String, remedy: &str| {
            Err(Error::input(format!("the {name} data have {has}, the training data {needs}")).remedy(remedy))
        };
        if other.features() != self.features() {
            let remedy = "encode both in the same way";
            return misfit(format!("{} features", other.features()), self.features().to_string(), remedy);
        }
        match (&self.target, &other.target) {
            (Target::Values(_), Target::Values(_)) => Ok(()),
            (Target::Classes { names, .. }, Target::Classes { names: others, .. }) if names == others => Ok(()),
            (mine, others) => misfit(kind(others), kind(mine), "give both targets the same classes in the same order"),
        }
    }

    /// Weights that are given must weigh rows, and not all of them as nothing.
    fn check_weights(&self, name: &str) -> Result<()> {
        let Some(weights) = &self.weights else { return Ok(()) };
        if let Some(row) = weights.iter().position(|weight| !(weight.is_finite() && *weight >= 0.0)) {
            return Err(Error::input(format!("the weight {} of {name} row {} is no weight", weights[row], row + 1))
                .remedy("weights are finite numbers that are not negative"));
        }
        if self.weighing_rows() == 0 {
            return Err(Error::input(format!("all {name} rows have weight 0")).remedy("leave the weights out"));
        }
        Ok(())
    }

    /// Squares of what is fitted are added up over the rows, and must stay numbers.
    fn check_numbers(&self, name: &str) -> Result<()> {
        let largest = 0.5 * (f64::MAX / self.rows() as f64).sqrt();
        let beyond = |x: f64| x.is_nan() || x.abs() > largest;
        let p = self.features();
        let entry = match &self.design {
            DesignMatrix::DenseF64(m) => {
                m.values().iter().position(|&x| beyond(x)).map(|at| (at / p, at % p, m.values()[at]))
            }
            DesignMatrix::DenseF32(m) => {
                m.values().iter().position(|x| !x.is_finite()).map(|at| (at / p, at % p, f64::from(m.values()[at])))
            }
            DesignMatrix::CsrF64(m) => in_rows(m.rows(), |row| {
                let (features, values) = m.row(row);
                values.iter().position(|&x| beyond(x)).map(|at| (features[at] as usize, values[at]))
            }),
            DesignMatrix::CsrF32(m) => in_rows(m.rows(), |row| {
                let (features, values) = m.row(row);
                values.iter().position(|x| !x.is_finite()).map(|at| (features[at] as usize, f64::from(values[at])))
            }),
            // Made of numbers in single precision, whose squares are numbers in double precision.
            DesignMatrix::Coded(_) => None,
        };
        let target = || match &self.target {
            Target::Values(values) => values.iter().position(|&y| beyond(y)).map(|row| (row, values[row])),
            Target::Classes { .. } => None,
        };
        let (what, row, value) = match entry {
            Some((row, feature, value)) => (format!("feature '{}'", self.feature_names[feature]), row, value),
            None => match target() {
                Some((row, value)) => ("target".into(), row, value),
                None => return Ok(()),
            },
        };
        let place = format!("the {what} of {name} row {}", row + 1);
        Err(match value.is_finite() {
            true => Error::input(format!("{place} is {value:e}, and sums of its squares are too large for a number"))
                .remedy("rescale it: give it in units in which it is smaller"),
            false => Error::input(format!("{place} is {value}, which is no finite number"))
                .remedy("correct it, or leave the row out"),
        })
    }
}

/// The first entry that `find` finds in a row, with its row.
fn in_rows(rows: usize, find: impl Fn(usize) -> Option<(usize, f64)>) -> Option<(usize, usize, f64)> {
    (0..rows).find_map(|row| find(row).map(|(feature, value)| (row, feature, value)))
}

/// What a target is, with as many names as tell it from another one.
fn kind(target: &Target) -> String {
    const SHOWN: usize = 5;
    match target {
        Target::Values(_) => "numbers to predict".into(),
        Target::Classes { names, .. } => {
            let more = if names.len() > SHOWN { ", ..." } else { "" };
            format!("{} classes ({}{more})", names.len(), names[..names.len().min(SHOWN)].join(", "))
        }
    }
}
