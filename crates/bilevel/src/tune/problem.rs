//! The bilevel problem of a data set: rows to fit and rows to judge, arranged and standardised as the tuner does it.
//!
//! What tunes, studies or checks a problem from a file takes it from here, so that a hypergradient that is printed is the
//! one that tuning follows.

use super::loss_choice::choose_loss;
use super::options::{Criterion, Penalties, TuneOptions};
use super::partition::{Rows, arrange};
use crate::data::{Dataset, Groups, RowRanges, Standardization};
use crate::problems::glm::{EmpiricalRisk, Glm, Loss, Penalty};
use crate::{Error, Result};
use std::ops::Range;

/// Share of the rows that judge, unless asked otherwise.
const HELD_OUT: f64 = 0.25;

/// Data in the order and units in which they are fitted.
#[derive(Debug, Clone)]
pub(super) struct Arranged {
    pub data: Dataset,
    /// The rows of each fold, where folds were given.
    pub folds: Vec<Range<usize>>,
    pub validation: Option<Dataset>,
    pub standardization: Standardization,
    pub loss: Loss,
}

impl Arranged {
    pub(super) fn new(train: &Dataset, validation: Option<&Dataset>, options: &TuneOptions) -> Result<Self> {
        for (data, name) in [(Some(train), "training"), (validation, "validation")] {
            data.map_or(Ok(()), |data| check_weights(data, name))?;
        }
        let loss = choose_loss(train, options.loss)?;
        let (order, folds) = arrange(train, &options.criterion, options.seed)?;
        let mut data = train.select(&order);
        let mut validation = validation.cloned();
        let standardization = if options.standardize {
            let (rows, weights) = (RowRanges::all(data.rows()), data.weights.as_deref());
            Standardization::learn(&data.design, &rows, weights, options.intercept, &data.measured)
        } else {
            Standardization::identity(data.features())
        };
        for part in [Some(&mut data), validation.as_mut()].into_iter().flatten() {
            standardization.apply(&mut part.design)?;
        }
        Ok(Arranged { data, folds, validation, standardization, loss })
    }
}

/// Weights that are given must weigh rows, and not all of them as nothing.
pub(super) fn check_weights(data: &Dataset, name: &str) -> Result<()> {
    let Some(weights) = &data.weights else { return Ok(()) };
    if weights.len() != data.rows() {
        return Err(Error::input(format!("{} weights for {} {name} rows", weights.len(), data.rows())));
    }
    if let Some(row) = weights.iter().position(|weight| !(weight.is_finite() && *weight >= 0.0)) {
        return Err(Error::input(format!("the weight {} of {name} row {} is no weight", weights[row], row + 1))
            .remedy("weights are finite numbers that are not negative"));
    }
    if weights.iter().all(|&weight| weight == 0.0) {
        return Err(Error::input(format!("all {name} rows have weight 0")).remedy("leave the weights out"));
    }
    Ok(())
}

/// The penalty with the hyperparameters of this kind; one for all weights where the kind is still to be chosen.
pub(super) fn penalty_of(kind: Penalties, groups: &Groups, features: usize, outputs: usize) -> Penalty {
    match kind {
        Penalties::Auto | Penalties::Shared => Penalty::Shared,
        Penalties::PerGroup => Penalty::PerGroup { of_feature: groups.of_feature.clone(), groups: groups.len() },
        Penalties::PerClass => Penalty::PerClass { outputs },
        Penalties::PerFeature => Penalty::PerFeature { features },
    }
}

/// A lower level on training rows and an upper level on rows that judge it, from one or two data sets.
///
/// The lower level is `g(w, lambda) = mean loss + 1/2 sum exp(lambda_h) W^2`, the upper level the mean loss over the
/// judging rows.
#[derive(Debug, Clone)]
pub struct GlmProblem {
    arranged: Arranged,
    y: Vec<f64>,
    validation_y: Vec<f64>,
    fitted: RowRanges,
    judging: RowRanges,
    penalty: Penalty,
    intercept: bool,
}

impl GlmProblem {
    /// Arranges the rows and cuts off those that judge: all of `validation`, else the fraction of
    /// [`Criterion::HeldOut`], else a quarter. [`Penalties::Auto`] means one for all.
    ///
    /// # Errors
    /// Input, where sets do not fit together, leave nothing to fit or to judge, or folds are asked for.
    pub fn new(train: &Dataset, validation: Option<&Dataset>, options: &TuneOptions) -> Result<Self> {
        if let Some(validation) = validation
            && (validation.features() != train.features() || validation.rows() == 0)
        {
            let (found, needed) = (validation.features(), train.features());
            let rows = validation.rows();
            return Err(Error::input(format!("{rows} validation rows of {found} features, training of {needed}")));
        }
        let arranged = Arranged::new(train, validation, options)?;
        let n = arranged.data.rows();
        let (fitted, judging) = match (&arranged.validation, &options.criterion) {
            (_, Criterion::Folds(_) | Criterion::GivenFolds(_)) => {
                return Err(Error::input("folds make several problems of one data set")
                    .remedy("give a validation file, or a fraction of the rows to hold out"));
            }
            (Some(validation), _) => (RowRanges::all(n), RowRanges::all(validation.rows())),
            (None, criterion) => {
                let fraction = if let Criterion::HeldOut(fraction) = criterion { *fraction } else { HELD_OUT };
                if !(fraction > 0.0 && fraction < 1.0) || n < 2 {
                    return Err(Error::input(format!("a fraction of {fraction} of {n} rows cannot be held out"))
                        .remedy("use a number between 0 and 1"));
                }
                let first = n - ((fraction * n as f64).round() as usize).clamp(1, n - 1);
                let all = RowRanges::all(n);
                (all.at_positions(0..first), all.at_positions(first..n))
            }
        };
        let data = &arranged.data;
        let penalty = penalty_of(options.penalties, &data.groups, data.features(), arranged.loss.outputs());
        let numbers = |data: &Dataset| super::model::target_numbers(&data.target).into_owned();
        Ok(GlmProblem {
            y: numbers(&arranged.data),
            validation_y: arranged.validation.as_ref().map(numbers).unwrap_or_default(),
            arranged,
            fitted,
            judging,
            penalty,
            intercept: options.intercept,
        })
    }

    /// The lower level.
    pub fn lower(&self) -> Glm<'_> {
        let Arranged { data, loss, .. } = &self.arranged;
        let risk = Rows::new(data, &self.y).risk(self.fitted.clone(), *loss, self.intercept);
        Glm::new(risk, self.penalty.clone())
    }

    /// The upper level.
    pub fn upper(&self) -> EmpiricalRisk<'_> {
        let Arranged { data, validation, loss, .. } = &self.arranged;
        let rows = match validation {
            Some(validation) => Rows::new(validation, &self.validation_y),
            None => Rows::new(data, &self.y),
        };
        rows.risk(self.judging.clone(), *loss, self.intercept).as_upper(self.penalty.hyperparameters())
    }

    /// The loss of both levels.
    pub fn loss(&self) -> Loss {
        self.arranged.loss
    }

    /// The data that are fitted, in the order and units in which they are; with the judging rows at the end where these
    /// were cut off them.
    pub fn data(&self) -> &Dataset {
        &self.arranged.data
    }

    /// Number of hyperparameters.
    pub fn hyperparameters(&self) -> usize {
        self.penalty.hyperparameters()
    }

    /// A name for each hyperparameter: of a feature, a group, a class, or `shared`.
    pub fn hyperparameter_names(&self) -> Vec<String> {
        super::run::lambda_names(&self.penalty, &self.arranged.data)
    }
}
