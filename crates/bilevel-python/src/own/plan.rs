//! How a hypergradient is computed: from names and numbers to one of the library's estimators.

use bilevel::diagnose::GradientStep;
use bilevel::fixed_point::Average;
use bilevel::hypergradient::{
    AidConjugateGradient, AidFixedPoint, Capable, Hypergradient, Implicit, Method, PreciseHypergradient, PreciseSid,
    PreciseSvrg, Precision, Sid, SidSaga, SidSvrg, Stage, WarmStart, replicate,
};
use bilevel::linear_system::ConjugateGradient;
use bilevel::lower::StochasticLoss;
use bilevel::newton::Newton;
use bilevel::observer::Observer;
use bilevel::sample::{Batch, Sample};
use bilevel::step_size::StepSize;
use bilevel::upper::UpperObjective;
use bilevel::work::Work;
use bilevel::{Error, Result, vector};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;

use super::levels::{AnyMap, LossLevel, Lower, ObjectiveLevel, capable};

/// Predicted relative decrease at which Newton's method ends; what is left is about its square.
const NEWTON: f64 = 1e-20;
/// Change of a coordinate of `lambda` after which the step of a loss is measured anew.
const FAR: f64 = 0.25;

/// The settings, a dictionary with these keys.
#[derive(FromPyObject, Clone)]
#[pyo3(from_item_all)]
pub struct Settings {
    method: String,
    /// `relative` or `absolute`, and the error.
    precision: Option<(String, f64)>,
    probability: f64,
    max_rows: Option<u64>,
    lower_steps: usize,
    linear_steps: usize,
    batch: usize,
    /// Nothing: as the steps suggest; zero: everything.
    cross_batch: Option<usize>,
    upper_batch: Option<usize>,
    eta: Eta,
    /// Part of the iterates that is averaged; zero: the last one.
    average: f64,
    period: Option<usize>,
    tolerance: f64,
    map_step: Option<f64>,
    contraction: Option<f64>,
    replicates: usize,
    pub seed: u64,
}

#[derive(FromPyObject, Clone, Copy)]
enum Eta {
    #[pyo3(transparent)]
    Constant(f64),
    #[pyo3(transparent)]
    Decreasing((f64, f64)),
}

/// The estimator.
enum Estimator {
    Exact,
    Sampled(Method),
    Precise(Precision),
    PreciseSvrg(Precision),
}

/// An estimator with its settings.
pub struct Plan {
    pub settings: Settings,
    estimator: Estimator,
}

/// Where both solves are; `u` is the adjoint times the step of the map, which does not depend on that step.
#[derive(Clone)]
pub struct Place {
    pub w: Vec<f64>,
    pub u: Vec<f64>,
}

/// A hypergradient and what is known beside it.
pub struct Found {
    pub estimate: Hypergradient,
    /// Where the solves ended; nothing where there were several.
    pub place: Option<Place>,
    pub precise: Option<PreciseHypergradient>,
    pub map_step: Option<f64>,
}

/// The step of a loss, and where it was measured.
#[derive(Default)]
pub struct Measured(Option<(Vec<f64>, f64)>);

type Watch<'a> = &'a mut dyn Observer<Stage>;

impl Plan {
    /// Finds the estimator that `settings` name, and refuses what `lower` cannot serve.
    pub fn new(settings: Settings, lower: &Lower, upper: &ObjectiveLevel) -> PyResult<Self> {
        let refuse = |text: String| Err(PyValueError::new_err(text));
        let name = settings.method.as_str();
        let precision = match &settings.precision {
            None => None,
            Some((kind, error)) => {
                let precision =
                    if kind == "absolute" { Precision::absolute(*error) } else { Precision::relative(*error) };
                let precision = precision.with_probability(settings.probability);
                Some(settings.max_rows.map_or(precision, |rows| precision.with_max_rows(rows)))
            }
        };
        let (t, k, tolerance) = (settings.lower_steps, settings.linear_steps, settings.tolerance);
        let estimator = match (name, precision) {
            ("exact", None) => Estimator::Exact,
            ("sid", Some(precision)) => Estimator::Precise(precision),
            ("sid-svrg", Some(precision)) => Estimator::PreciseSvrg(precision),
            ("sid", None) => Estimator::Sampled(Method::Sid(settings.sid(lower, upper))),
            ("sid-svrg", None) => {
                let period = settings.period.unwrap_or_else(|| {
                    let rows = lower.level().rows_or_one();
                    rows.div_ceil(settings.batch.max(1))
                });
                Estimator::Sampled(Method::SidSvrg(SidSvrg { sid: settings.sid(lower, upper), period }))
            }
            ("sid-saga", None) => Estimator::Sampled(Method::SidSaga(SidSaga { sid: settings.sid(lower, upper) })),
            ("aid-fp", None) => {
                Estimator::Sampled(Method::AidFixedPoint(AidFixedPoint { lower_steps: t, linear_steps: k, tolerance }))
            }
            ("aid-cg", None) => Estimator::Sampled(Method::AidConjugateGradient(AidConjugateGradient {
                lower_steps: t,
                lower_tolerance: tolerance,
                linear: ConjugateGradient { steps: k, tolerance },
            })),
            (_, Some(_)) => return refuse(format!("method={name:?} takes no precision; sid and sid-svrg do")),
            _ => {
                return refuse(format!(
                    "no hypergradient is called {name:?}; choose from exact, sid, sid-svrg, sid-saga, aid-fp and aid-cg"
                ));
            }
        };
        match (lower, &estimator) {
            (Lower::Loss(_), _) => {}
            (_, Estimator::Exact) => return refuse("method=\"exact\" is for losses; a map takes aid-fp".into()),
            (Lower::Map(AnyMap::General(_)), Estimator::Sampled(Method::AidConjugateGradient(_))) => return refuse(
                "method=\"aid-cg\" needs a map whose derivative in w is symmetric; declare it by symmetric=True, or take \
                 aid-fp"
                    .into(),
            ),
            (_, Estimator::PreciseSvrg(_)) if settings.contraction.is_none() => {
                return refuse("method=\"sid-svrg\" with a precision needs the contraction of the map".into());
            }
            _ => {}
        }
        if !lower.level().is_sum() && name == "sid-saga" {
            return refuse("method=\"sid-saga\" remembers rows, which a simulation does not have; take sid".into());
        }
        Ok(Plan { settings, estimator })
    }

    /// True where everything is computed over all rows, so that line searches make sense.
    pub fn is_exact(&self) -> bool {
        matches!(
            self.estimator,
            Estimator::Exact | Estimator::Sampled(Method::AidFixedPoint(_) | Method::AidConjugateGradient(_))
        )
    }

    /// The hypergradient at `lambda` from `place` (zeros without), with the samples number `index`.
    pub fn estimate(
        &self,
        lower: &Lower,
        upper: &ObjectiveLevel,
        lambda: &[f64],
        (place, index): (Option<&Place>, u64),
        measured: &mut Measured,
        watch: Watch<'_>,
    ) -> Result<Found> {
        let loss = match lower {
            Lower::Map(map) => {
                let place = (place, 1.0, self.settings.contraction);
                return self.by_map(map.capable(), upper, lambda, place, index, watch);
            }
            Lower::Loss(loss) => loss,
        };
        let start = place.cloned().unwrap_or_else(|| Place::zeros(loss.dims().w));
        if let Estimator::Exact = self.estimator {
            let newton = Newton { tolerance: NEWTON, ..Newton::default() };
            let mut warm = WarmStart { w: start.w, v: start.u };
            let estimate = Implicit::default().estimate(loss, upper, lambda, Some(&mut warm), &newton)?;
            let place = Some(Place { w: warm.w, u: warm.v });
            return Ok(Found { estimate, place, precise: None, map_step: None });
        }
        let mut step = self.gradient_step(loss, &start.w, lambda, measured)?;
        if step.contraction.is_none() && matches!(self.estimator, Estimator::Precise(_) | Estimator::PreciseSvrg(_)) {
            step = step.with_contraction(loss, &start.w, lambda, self.settings.seed)?;
        }
        let GradientStep { map_step, contraction, work } = step;
        let map = step.map(loss);
        let capable = capable(&map, &loss.level).symmetric(&map);
        let mut found = self.by_map(capable, upper, lambda, (place, map_step, contraction), index, watch)?;
        found.estimate.work += work;
        if let Some(precise) = &mut found.precise {
            precise.estimate.work += work;
        }
        found.map_step = Some(map_step);
        Ok(found)
    }

    fn by_map(
        &self,
        capable: Capable<'_>,
        upper: &ObjectiveLevel,
        lambda: &[f64],
        (place, map_step, contraction): (Option<&Place>, f64, Option<f64>),
        index: u64,
        watch: Watch<'_>,
    ) -> Result<Found> {
        let start = place.map(|Place { w, u }| {
            let mut v = u.clone();
            vector::scale(1.0 / map_step, &mut v);
            WarmStart { w: w.clone(), v }
        });
        let map = capable.map();
        let Settings { batch, seed, replicates, .. } = self.settings;
        let precise = |precise: PreciseHypergradient| Found {
            estimate: precise.estimate.clone(),
            place: None,
            precise: Some(precise),
            map_step: None,
        };
        match &self.estimator {
            Estimator::Exact => unreachable!("a map is not solved exactly"),
            Estimator::Precise(precision) => {
                let eta = self.settings.constant_eta()?;
                let sid = PreciseSid { batch, eta, contraction, seed, ..PreciseSid::default() };
                sid.estimate(map, upper, lambda, start.as_ref(), *precision, watch).map(precise)
            }
            Estimator::PreciseSvrg(precision) => {
                let contraction = contraction.ok_or_else(|| {
                    Error::input("sid-svrg with a precision needs a contraction")
                        .remedy("give contraction=, or take sid")
                })?;
                let eta = self.settings.constant_eta()?;
                let steps = self.settings.lower_steps;
                let svrg = PreciseSvrg { batch, steps, chains: replicates, eta, contraction, seed };
                svrg.estimate(map, upper, lambda, start.as_ref(), *precision, watch).map(precise)
            }
            Estimator::Sampled(method) if replicates > 1 => {
                let estimate = replicate(replicates, |number| {
                    let index = index * replicates as u64 + number;
                    method.estimate_on(capable, upper, lambda, start.clone().as_mut(), seed, index)
                })?;
                Ok(Found { estimate, place: None, precise: None, map_step: None })
            }
            Estimator::Sampled(method) => {
                let mut warm = start.unwrap_or_else(|| WarmStart::zeros(map.dims()));
                let estimate = method.estimate_on(capable, upper, lambda, Some(&mut warm), seed, index)?;
                vector::scale(map_step, &mut warm.v);
                let place = Some(Place { w: warm.w, u: warm.v });
                Ok(Found { estimate, place, precise: None, map_step: None })
            }
        }
    }

    /// The step of the gradient map: the one asked for, the one measured near here, or a new one.
    fn gradient_step(
        &self,
        loss: &LossLevel,
        w: &[f64],
        lambda: &[f64],
        measured: &mut Measured,
    ) -> Result<GradientStep> {
        let contraction = self.settings.contraction;
        let known = |map_step| GradientStep { map_step, contraction, work: Work::default() };
        if let Some(step) = self.settings.map_step {
            if !(step > 0.0 && step.is_finite()) {
                return Err(Error::input(format!("map_step = {step} must be positive and finite")));
            }
            return Ok(known(step));
        }
        if let Some((at, step)) = &measured.0
            && at.iter().zip(lambda).all(|(a, b)| (a - b).abs() <= FAR)
        {
            return Ok(known(*step));
        }
        let batch = if self.is_exact() { Batch::All } else { Batch::Rows(self.settings.batch) };
        let step = GradientStep::longest(loss, w, lambda, batch, self.settings.seed)?;
        measured.0 = Some((lambda.to_vec(), step.map_step));
        Ok(GradientStep { contraction, ..step })
    }
}

impl Place {
    pub fn zeros(dim: usize) -> Self {
        Place { w: vec![0.0; dim], u: vec![0.0; dim] }
    }
}

impl Settings {
    /// Batches of `lower` and `upper` that were left open follow from the steps; one larger than the population is the
    /// population.
    fn sid(&self, lower: &Lower, upper: &ObjectiveLevel) -> Sid {
        let step = match self.eta {
            Eta::Constant(eta) => StepSize::Constant { eta },
            Eta::Decreasing((beta, gamma)) => StepSize::Decreasing { beta, gamma },
        };
        let average = match self.average {
            0.0 => Average::Last,
            fraction => Average::Suffix { fraction },
        };
        let (lower_rows, upper_rows) = (lower.level().size(&Sample::Full), upper.size(&Sample::Full));
        let sid = Sid::new(self.lower_steps, self.batch, step).with_sampled_parts(lower_rows, upper_rows);
        let batch = |asked: Option<usize>, size: usize, open: Batch| match asked {
            None => open,
            Some(0) => Batch::All,
            Some(rows) => Batch::at_most(rows, size),
        };
        Sid {
            linear_steps: self.linear_steps,
            cross_batch: batch(self.cross_batch, lower_rows, sid.cross_batch),
            upper_batch: batch(self.upper_batch, upper_rows, sid.upper_batch),
            average,
            ..sid
        }
    }

    fn constant_eta(&self) -> Result<f64> {
        match self.eta {
            Eta::Constant(eta) => Ok(eta),
            Eta::Decreasing(_) => Err(Error::input("a precision needs a constant eta, which it shrinks by itself")),
        }
    }
}
