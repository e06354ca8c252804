//! The hypergradient of a linear model's penalties, with an error bar, at a cost that does not grow with the rows.
//!
//! Some thousand rows are fitted and differentiated exactly; that is where the stochastic solves start, and what tells the
//! units in which they converge fast.

use serde::{Deserialize, Serialize};

use super::problem::GlmProblem;
use super::units::{Units, pilot};
use crate::Result;
use crate::data::Access;
use crate::hypergradient::{
    Hypergradient, Implicit, PreciseHypergradient, PreciseSid, Precision, Stage, Tolerance, WarmStart,
};
use crate::lower::GradientMap;
use crate::newton::{Newton, NewtonDirection};
use crate::observer::Observer;
use crate::problems::glm::Glm;
use crate::problems::scaled::Scaled;
use crate::sample::Batch;
use crate::stop::StopSignal;
use crate::vector;

/// Rows of a minibatch.
const BATCH: usize = 64;
/// The relative precision that is assumed where an absolute one was asked for.
const UNKNOWN_PRECISION: f64 = 0.01;

/// How a hypergradient to a requested precision is computed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PreciseMethod {
    /// What is expected to visit fewer rows: see `docs/choosing-a-method.md`.
    #[default]
    Auto,
    /// Stochastic implicit differentiation, at a cost that does not grow with the rows ([`PreciseSid`]).
    Sid,
    /// With variance reduction, some passes for each digit ([`PreciseSvrg`](crate::hypergradient::PreciseSvrg)).
    SidSvrg,
}

/// What is asked of a hypergradient.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct HypergradientOptions {
    /// How it is computed.
    pub method: PreciseMethod,
    /// How far off it may be.
    pub precision: Precision,
    /// Seed of all samples.
    pub seed: u64,
}

impl Default for HypergradientOptions {
    /// To one per cent, with probability 0.95.
    fn default() -> Self {
        HypergradientOptions { method: PreciseMethod::Auto, precision: Precision::relative(0.01), seed: 0 }
    }
}

impl GlmProblem {
    /// `grad f(lambda)` with an error bar.
    ///
    /// `observer` sees every stage and may break the estimate off, which then ends with what it has; its
    /// [flag](Observer::stop_flag) is looked at before the first samples are drawn, too. See [`PreciseSid::estimate`].
    ///
    /// ```
    /// use bilevel::data::{Dataset, DenseMatrix, Target};
    /// use bilevel::hypergradient::Precision;
    /// use bilevel::observer::Silent;
    /// use bilevel::tune::{GlmProblem, HypergradientOptions, TuneOptions};
    ///
    /// // 500 rows of two features, row after row.
    /// let x: Vec<f64> = (0..1000).map(|k| (f64::from(k) * 1.618).sin()).collect();
    /// let y: Vec<f64> = (0..500).map(|i| x[2 * i] + (i as f64 * 0.7).cos()).collect();
    /// let data = Dataset::new(DenseMatrix::try_new(500, 2, x)?, Target::Values(y.into()))?;
    /// // A part of the rows is held out.
    /// let problem = GlmProblem::new(data, None, &TuneOptions::default())?;
    /// // The logarithm of the one penalty that all features share.
    /// let lambda = [0.1_f64.ln()];
    /// let options = HypergradientOptions { precision: Precision::relative(0.05), ..Default::default() };
    /// let found = problem.hypergradient(&lambda, &options, &mut Silent)?;
    /// assert!(found.error <= 0.05 * found.estimate.value[0].abs());
    /// # Ok::<(), bilevel::Error>(())
    /// ```
    ///
    /// # Errors
    /// Input, for a `lambda` of the wrong length or settings out of range; numeric, when the solves diverge; interrupted, when
    /// the flag is raised before the first samples are drawn.
    pub fn hypergradient(
        &self,
        lambda: &[f64],
        options: &HypergradientOptions,
        observer: &mut dyn Observer<Stage>,
    ) -> Result<PreciseHypergradient> {
        let HypergradientOptions { precision, seed, .. } = *options;
        precision.validate()?;
        self.check_lambda(lambda)?;
        let stop = &StopSignal::new(None, observer.stop_flag());
        match self.precise_method(lambda, options) {
            PreciseMethod::SidSvrg => self.hypergradient_whitened(lambda, precision, seed, observer, stop),
            _ => self.hypergradient_sampled(lambda, precision, seed, observer, stop),
        }
    }

    /// What the method of `options` stands for here: what [`PreciseMethod::Auto`] chooses, and others themselves.
    pub fn precise_method(&self, lambda: &[f64], options: &HypergradientOptions) -> PreciseMethod {
        let epsilon = match options.precision.tolerance {
            Tolerance::Relative(fraction) => fraction,
            Tolerance::Absolute(_) => UNKNOWN_PRECISION,
        };
        match (options.method, self.predicted_rows(lambda, epsilon)) {
            (PreciseMethod::Auto, (plain, Some(reduced))) if reduced < plain => PreciseMethod::SidSvrg,
            (PreciseMethod::Auto, _) => PreciseMethod::Sid,
            (chosen, _) => chosen,
        }
    }

    /// As [`GlmProblem::hypergradient`], by plain samples, at a cost that does not grow with the rows; the arguments are
    /// checked.
    fn hypergradient_sampled(
        &self,
        lambda: &[f64],
        precision: Precision,
        seed: u64,
        observer: &mut dyn Observer<Stage>,
        stop: &StopSignal,
    ) -> Result<PreciseHypergradient> {
        let _scattered = self.scattered();
        let (lower, upper) = (self.lower(), self.upper());
        let some_upper = pilot(&upper);
        let some_rows = Glm::new(pilot(lower.risk()), lower.penalty().clone());
        let mut w = some_rows.risk().null_parameters();
        let newton =
            Newton { iterations: 50, tolerance: 1e-6, direction: NewtonDirection::ConjugateGradients { steps: 200 } };
        let fit = newton.minimize(&some_rows, lambda, &mut w, None, stop)?;
        let batch = BATCH.min(lower.risk().len());
        let units = Units::measure(&some_rows, &w, lambda, Batch::Rows(batch), (seed, 0))?;

        let mut u = vec![0.0; w.len()];
        let adjoint = Implicit::default().at_solution(&some_rows, &some_upper, &w, lambda, &mut u, None, stop)?;
        let (scaled, scaled_upper) =
            (Scaled { inner: &lower, scale: &units.scale[..] }, Scaled { inner: &upper, scale: &units.scale[..] });
        let map = GradientMap { loss: &scaled, map_step: units.map_step };
        let mut start = WarmStart { w, v: u };
        for ((w, v), scale) in start.w.iter_mut().zip(&mut start.v).zip(&units.scale) {
            *w /= scale;
            *v /= scale * units.map_step;
        }
        let before = units.work + fit.info.work + adjoint.work;
        let sid = PreciseSid {
            batch,
            contraction: Some(units.contraction()),
            seed,
            sample_precision: lower.risk().sample_precision(),
            ..PreciseSid::default()
        };
        stop.check()?;
        let mut precise = sid.estimate(&map, &scaled_upper, lambda, Some(&start), precision, observer)?;
        precise.estimate.work += before;
        // Larger samples are all rows.
        precise.settings.batch = precise.settings.batch.min(lower.risk().len());
        Ok(precise)
    }

    /// `grad f(lambda)` by a converged solve over all rows, with its objective: the reference.
    ///
    /// # Errors
    /// Input, for a `lambda` of the wrong length; numeric, when the lower level cannot be solved; interrupted, once `stop` is
    /// raised.
    pub fn exact_hypergradient(&self, lambda: &[f64], stop: &StopSignal) -> Result<Hypergradient> {
        self.check_lambda(lambda)?;
        let (lower, upper) = (self.lower(), self.upper());
        let newton = Newton { tolerance: 1e-18, ..Newton::default() };
        let mut w = lower.risk().null_parameters();
        let fit = newton.minimize(&lower, lambda, &mut w, None, stop)?.info.usable("lower level")?;
        let mut u = vec![0.0; w.len()];
        let mut exact = Implicit::default().at_solution(&lower, &upper, &w, lambda, &mut u, None, stop)?;
        exact.status = exact.status.worst(fit.status);
        exact.work += fit.work;
        Ok(exact)
    }

    /// Samples are small and far apart: of a mapped file, what lies behind them is not wanted, until this is dropped. Nor is
    /// what lies around the beginning of a run, of which the system would read megabytes.
    fn scattered(&self) -> impl Drop + use<'_> {
        struct Scattered<'a>(&'a GlmProblem);
        impl Drop for Scattered<'_> {
            fn drop(&mut self) {
                self.0.advise(Access::Ordered);
            }
        }
        self.advise(Access::Scattered);
        Scattered(self)
    }

    fn check_lambda(&self, lambda: &[f64]) -> Result<()> {
        if lambda.len() != self.hyperparameters() || !vector::all_finite(lambda) {
            let (found, needed) = (lambda.len(), self.hyperparameters());
            return Err(crate::Error::input(format!("lambda must be {needed} finite numbers, not {found}")));
        }
        Ok(())
    }
}
