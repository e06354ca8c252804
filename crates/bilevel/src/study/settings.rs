//! How long a curve is and where it is looked at.

use serde::{Deserialize, Serialize};

use super::by_method::DIRECTIONS;
use super::curve::Curve;
use crate::error::{Error, Result};
use crate::hypergradient::UnbiasedSid;
use crate::sample::Batch;

/// More steps than anybody makes; whole numbers up to it are exact.
const MOST_STEPS: f64 = (1u64 << 53) as f64;

/// The numbers of steps `t = k` at which the error is measured.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Checkpoints {
    /// `round(10^(j / n))` for `j = 0, 1, ...`: `n` in each decade, as far as the budget allows.
    PerDecade(usize),
    /// These, as far as the budget allows; rising.
    At(Vec<usize>),
}

/// What all curves of a study have in common.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StudySettings {
    /// Elements drawn at each step of both solves of a sampled method.
    pub batch: usize,
    /// Elements `J` of the cross derivative of a sampled method.
    pub cross_batch: Batch,
    /// Samples a single hypergradient may take, in passes over the rows.
    pub max_epochs: f64,
    /// Where the error is measured.
    pub checkpoints: Checkpoints,
    /// Seed; replicate number `r` draws from the streams number `r` under it, the same ones for every curve.
    pub seed: u64,
}

impl StudySettings {
    /// The usual ones on a problem of `rows` rows: samples of `batch` of them but at most a quarter, the cross derivative on as many, 50
    /// passes, four checkpoints a decade, seed 0.
    pub fn new(rows: usize, batch: usize) -> Self {
        let batch = batch.min(rows.div_ceil(4));
        StudySettings {
            batch,
            cross_batch: Batch::Rows(batch),
            max_epochs: 50.0,
            checkpoints: Checkpoints::PerDecade(4),
            seed: 0,
        }
    }

    /// Checks the settings.
    ///
    /// # Errors
    /// Input, naming the setting.
    pub fn validate(&self) -> Result<()> {
        Batch::Rows(self.batch).validate("batch")?;
        self.cross_batch.validate("cross_batch")?;
        if !(self.max_epochs > 0.0 && self.max_epochs.is_finite()) {
            return Err(Error::input(format!("max_epochs = {} must be positive and finite", self.max_epochs)));
        }
        match &self.checkpoints {
            Checkpoints::PerDecade(0) => Err(Error::input("checkpoints: at least one a decade is needed")),
            Checkpoints::At(list) if list.is_empty() || list[0] == 0 || list.windows(2).any(|w| w[0] >= w[1]) => {
                Err(Error::input("checkpoints must be positive numbers of steps, each above the one before"))
            }
            _ => Ok(()),
        }
    }

    /// The checkpoints of a curve on a problem of `rows` rows, of which its cross derivative visits `cross_rows`: those whose
    /// hypergradient takes at most [`max_epochs`](Self::max_epochs): `2 t batch + J` samples of a sampled method and `2 t rows` of a
    /// batch one. `J` counts nothing where the cross derivative visits no rows. A step of SVRG visits three batches in the two solves
    /// instead of two, and its passes come on top; SAGA begins with two. Other methods as they need, those with a random cost by its
    /// mean.
    ///
    /// # Errors
    /// Input, when there is none.
    pub fn checkpoints_of(&self, curve: &Curve, rows: usize, cross_rows: usize) -> Result<Vec<usize>> {
        self.validate()?;
        let (fixed, per_step) = self.samples(curve, rows, cross_rows);
        let most = ((self.max_epochs * rows as f64 - fixed) / per_step).floor().clamp(0.0, MOST_STEPS) as usize;
        let mut list: Vec<usize> = match &self.checkpoints {
            Checkpoints::PerDecade(n) => (0..)
                .map(|j| 10f64.powf(f64::from(j) / *n as f64).round() as usize)
                .take_while(|&t| t <= most)
                .collect(),
            Checkpoints::At(list) => list.iter().copied().filter(|&t| t <= most).collect(),
        };
        list.dedup();
        match list.is_empty() {
            true => Err(Error::input(format!(
                "{} epochs do not suffice for one checkpoint of {}",
                self.max_epochs,
                curve.kind().name()
            ))
            .remedy("allow more epochs, use smaller batches or an earlier checkpoint")),
            false => Ok(list),
        }
    }

    /// Checks that some curve reaches the last of the checkpoints that were asked for.
    ///
    /// # Errors
    /// Input, naming the epochs that it takes.
    pub fn check_reached(&self, curves: &[Curve], rows: usize, cross_rows: usize) -> Result<()> {
        let Checkpoints::At(list) = &self.checkpoints else { return Ok(()) };
        let Some(&last) = list.last() else { return Ok(()) };
        let epochs = |curve: &Curve| {
            let (fixed, per_step) = self.samples(curve, rows, cross_rows);
            (fixed + per_step * last as f64) / rows as f64
        };
        let fewest = curves.iter().map(epochs).fold(f64::INFINITY, f64::min);
        match fewest > self.max_epochs {
            true => Err(Error::input(format!("no method comes to {last} steps within {} epochs", self.max_epochs))
                .remedy(format!("allow {} epochs, or leave that checkpoint out", fewest.ceil()))),
            false => Ok(()),
        }
    }

    /// Samples that a hypergradient takes whatever the number of steps, and for each of them.
    fn samples(&self, curve: &Curve, rows: usize, cross_rows: usize) -> (f64, f64) {
        let cross = match self.cross_batch {
            Batch::Rows(j) if cross_rows > 0 => j,
            _ => cross_rows,
        };
        let (cross, batch, rows) = (cross as f64, self.batch as f64, rows as f64);
        match *curve {
            Curve::SidConstant { .. } | Curve::SidDecreasing { .. } | Curve::SidAveraged { .. } => (cross, 2.0 * batch),
            Curve::SidSvrg { period, .. } => (cross + 2.0 * rows, 3.0 * batch + 2.0 * rows / period.max(1) as f64),
            Curve::SidSaga { .. } => (cross + 2.0 * rows, 2.0 * batch),
            Curve::AidFp | Curve::AidCg | Curve::AidNormal | Curve::AidGmres | Curve::Nystrom => (0.0, 2.0 * rows),
            // Forward, once more where it was forgotten, and back; through one half of the steps; a product for each column.
            Curve::Itd => (0.0, 3.0 * rows),
            Curve::ItdTruncated => (0.0, 2.0 * rows),
            Curve::ItdForward { hyperparameters } => (0.0, (1.0 + hyperparameters as f64) * rows),
            Curve::Neumann { .. } => (cross, 2.0 * batch),
            Curve::NeumannRandom { .. } => (cross, 1.5 * batch),
            Curve::MixedFp { .. } => (cross, 3.0 * batch),
            Curve::SidMultilevel { .. } => (cross, 2.0 * batch * UnbiasedSid::MEAN_COST),
            Curve::Pzobo { .. } => (0.0, (1 + DIRECTIONS) as f64 * batch),
        }
    }
}
