//! The bilevel problem of a data set: rows to fit and rows to judge, arranged and standardised as the tuner does it.
//!
//! What tunes, studies or checks a problem from a file takes it from here, so that a hypergradient that is printed is the
//! one that tuning follows.

use std::borrow::Cow;

use super::judging::check_parts;
use super::loss_choice::choose_loss;
use super::model::{LinearModel, target_numbers};
use super::options::{Criterion, Penalties, TuneOptions};
use super::partition::{Rows, arrange, fair_order};
use crate::data::{
    Access, Arrangement, Buffer, Dataset, DenseMatrix, DesignMatrix, Groups, RowRanges, Standardization, Target,
};
use crate::problems::glm::{EmpiricalRisk, Glm, Loss, Penalty};
use crate::sample::Sampling;
use crate::{Error, Result};
use std::ops::Range;

/// Share of the rows that judge, unless asked otherwise.
const HELD_OUT: f64 = 0.25;
/// Stream of the order of the validation rows.
const VALIDATION: u64 = 1 << 40;

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
    /// Rows that are handed over are arranged where they are, those that are lent are copied; rows of a mapped file are
    /// arranged already.
    pub(super) fn new(train: Cow<'_, Dataset>, validation: Option<&Dataset>, options: &TuneOptions) -> Result<Self> {
        let loss = choose_loss(&train, options.loss)?;
        let (data, folds, standardization) = match &train.arrangement {
            Some(arrangement) => {
                if let Criterion::GivenFolds(_) = options.criterion {
                    return Err(Error::input("rows of a mapped file are in random order already")
                        .remedy("ask for a number of folds"));
                }
                let standardization = agreed(arrangement, train.features(), options)?;
                (train.into_owned(), Vec::new(), standardization)
            }
            None => {
                let (order, folds) = arrange(&train, &options.criterion, options.seed)?;
                let mut data = match train {
                    // Rows of weight zero are left out.
                    Cow::Owned(train) if order.len() == train.rows() => train.into_order(&order),
                    train => train.select(&order),
                };
                drop(order);
                let all = RowRanges::all(data.rows());
                let standardization = if options.standardize {
                    let weights = data.weights.as_deref();
                    Standardization::learn(&data.design, &all, weights, options.intercept, &data.measured)
                } else {
                    Standardization::identity(data.features())
                };
                compress(&mut data.design);
                standardization.apply(&mut data.design)?;
                (data, folds, standardization)
            }
        };
        // Parts of the validation rows stand for all of them.
        let in_order = |rows: &Dataset| match rows.arrangement {
            None => rows.select(&fair_order(rows, options.seed, VALIDATION)),
            Some(_) => rows.clone(),
        };
        let prepared = |rows| prepared(in_order(rows), &standardization, "validation");
        let validation = validation.map(prepared).transpose()?;
        Ok(Arranged { data, folds, validation, standardization, loss })
    }
}

/// A byte an entry, where that is all a large dense matrix needs. Before the features are standardized: roundings of
/// standardized values lie on no grid.
fn compress(design: &mut DesignMatrix) {
    let none = DesignMatrix::DenseF32(DenseMatrix::new(0, 0, Vec::new()));
    *design = std::mem::replace(design, none).compressed();
}

/// The standardization of a mapped file, where it is the one that is asked for.
fn agreed(arrangement: &Arrangement, features: usize, options: &TuneOptions) -> Result<Standardization> {
    match &arrangement.standardization {
        None if options.standardize => Err(Error::input("the features of the mapped file are not standardized")
            .remedy("convert the data again without --no-standardize, or pass --no-standardize")),
        Some(_) if !options.standardize => Err(Error::input("the features of the mapped file are standardized")
            .remedy("convert the data again with --no-standardize, or leave that out here")),
        Some(done) if !options.intercept && done.needs_intercept() => {
            Err(Error::input("the features of the mapped file are shifted, which only an intercept makes good")
                .remedy("convert the data again with --no-intercept"))
        }
        done => Ok(done.clone().unwrap_or_else(|| Standardization::identity(features))),
    }
}

/// `rows` in the units in which the training rows are fitted.
pub(super) fn prepared(mut rows: Dataset, standardization: &Standardization, name: &str) -> Result<Dataset> {
    match &rows.arrangement {
        None => {
            compress(&mut rows.design);
            standardization.apply(&mut rows.design)?;
        }
        Some(done) => {
            let same = done.standardization.as_ref().map_or(standardization.is_identity(), |s| s == standardization);
            if !same {
                let message = format!("the {name} rows are standardized by other rows than those of training");
                return Err(Error::input(message)
                    .remedy("give the file they were converted from, or convert it with --like the training file"));
            }
        }
    }
    Ok(rows)
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

/// A name for each hyperparameter: of a feature, a group, a class, or `shared`.
pub(super) fn lambda_names(penalty: &Penalty, data: &Dataset) -> Vec<String> {
    match penalty {
        // Two classes have one output.
        Penalty::Shared | Penalty::PerClass { outputs: 1 } => vec!["shared".into()],
        Penalty::PerGroup { .. } => data.groups.names.clone(),
        Penalty::PerFeature { .. } => data.feature_names.clone(),
        Penalty::PerClass { outputs } => match &data.target {
            Target::Classes { names, .. } => names.clone(),
            Target::Values(_) => (0..*outputs).map(|c| c.to_string()).collect(),
        },
    }
}

/// A lower level on training rows and an upper level on rows that judge it, from one or two data sets.
///
/// The lower level is `g(w, lambda) = mean loss + 1/2 sum exp(lambda_h) W^2`, the upper level the mean loss over the
/// judging rows.
#[derive(Debug, Clone)]
pub struct GlmProblem {
    arranged: Arranged,
    /// Where each row was in the data set that was given; nothing for rows of a mapped file, which stay where they are.
    order: Option<Vec<u32>>,
    y: Buffer<f64>,
    validation_y: Buffer<f64>,
    fitted: RowRanges,
    judging: RowRanges,
    penalty: Penalty,
    intercept: bool,
    sampling: Option<Sampling>,
}

impl GlmProblem {
    /// Arranges the rows and cuts off those that judge: all of `validation`, else the fraction of
    /// [`Criterion::HeldOut`], else a quarter. [`Penalties::Auto`] means one for all.
    ///
    /// # Errors
    /// Input, where sets do not fit together, leave nothing to fit or to judge, or folds are asked for; and where rows that are
    /// held out have a class that those that are fitted lack.
    pub fn new<'a>(
        train: impl Into<Cow<'a, Dataset>>,
        validation: Option<&Dataset>,
        options: &TuneOptions,
    ) -> Result<Self> {
        let train = train.into();
        train.validate("training")?;
        if let Some(validation) = validation {
            validation.validate("validation")?;
            train.check_fits(validation, "validation")?;
        }
        let order = match train.arrangement {
            None => Some(arrange(&train, &Criterion::Auto, options.seed)?.0),
            Some(_) => None,
        };
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
        let problem = GlmProblem {
            y: target_numbers(&arranged.data),
            validation_y: arranged.validation.as_ref().map(target_numbers).unwrap_or_default(),
            arranged,
            order,
            fitted,
            judging,
            penalty,
            intercept: options.intercept,
            sampling: options.sampling,
        };
        if problem.arranged.validation.is_none() {
            check_parts(problem.lower().risk(), &problem.upper(), &problem.arranged.data)?;
        }
        Ok(problem)
    }

    /// The lower level.
    pub fn lower(&self) -> Glm<'_> {
        let Arranged { data, loss, .. } = &self.arranged;
        let risk = Rows::new(data, &self.y, self.sampling).risk(self.fitted.clone(), *loss, self.intercept);
        Glm::new(risk, self.penalty.clone())
    }

    /// The upper level.
    pub fn upper(&self) -> EmpiricalRisk<'_> {
        let Arranged { data, validation, loss, .. } = &self.arranged;
        let rows = match validation {
            Some(validation) => Rows::new(validation, &self.validation_y, self.sampling),
            None => Rows::new(data, &self.y, self.sampling),
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

    /// The row of the data set that was given which is the one at `position` of [`GlmProblem::data`].
    pub fn row(&self, position: usize) -> usize {
        self.order.as_ref().map_or(position, |order| order[position] as usize)
    }

    /// The model with the parameters `w`, in the scale of the features as given.
    pub fn model(&self, w: &[f64]) -> LinearModel {
        let Arranged { data, standardization, loss, .. } = &self.arranged;
        LinearModel::in_units_of_the_data(w.to_vec(), *loss, data.features(), standardization)
    }

    /// Tells the system in what order rows that lie in mapped files will be read.
    pub(super) fn advise(&self, access: Access) {
        for data in [Some(&self.arranged.data), self.arranged.validation.as_ref()].into_iter().flatten() {
            data.design.advise(access);
        }
        self.y.advise(access);
        self.validation_y.advise(access);
    }

    /// Number of hyperparameters.
    pub fn hyperparameters(&self) -> usize {
        self.penalty.hyperparameters()
    }

    /// A name for each hyperparameter: of a feature, a group, a class, or `shared`.
    pub fn hyperparameter_names(&self) -> Vec<String> {
        lambda_names(&self.penalty, &self.arranged.data)
    }
}
