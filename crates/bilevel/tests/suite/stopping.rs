//! Asked to stop, nothing goes on, and the best so far is there: counted in passes over the rows and compared with what was
//! told on the way, as times say little on a busy machine.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crate::models::{Bundled, Numbers, Stored, matrix};
use bilevel::data::{Dataset, DenseMatrix, DesignMatrix, RowRanges, Target};
use bilevel::hypergradient::{ExactLinear, Implicit, Precision, Stage};
use bilevel::linear_system::{CgWorkspace, ConjugateGradient, Preconditioner};
use bilevel::lower::{Curvature, Curved, Dims, Factorization, StochasticLoss};
use bilevel::newton::{Newton, NewtonDirection};
use bilevel::observer::{Event, Observer};
use bilevel::problems::glm::{EmpiricalRisk, Glm, Loss, Penalty};
use bilevel::sample::{Purpose, Rng, Sample};
use bilevel::stop::StopSignal;
use bilevel::tune::{
    Ending, GlmProblem, HypergradientOptions, Limits, Method, Penalties, PreciseMethod, TraceRow, TuneOptions, tune,
};
use bilevel::vector;

/// Raises its flag during the pass with this number, and counts those that begin after it.
struct Watch {
    flag: Arc<AtomicBool>,
    at: usize,
    passes: AtomicUsize,
}

impl Watch {
    fn new(at: usize) -> Self {
        Watch { flag: Arc::default(), at, passes: AtomicUsize::new(0) }
    }

    fn pass(&self) {
        if self.passes.fetch_add(1, Ordering::SeqCst) + 1 == self.at {
            self.flag.store(true, Ordering::SeqCst);
        }
    }

    fn signal(&self) -> StopSignal {
        StopSignal::new(None, Some(self.flag.clone()))
    }

    fn passes(&self) -> usize {
        self.passes.load(Ordering::SeqCst)
    }
}

struct Watched<'a> {
    glm: &'a Glm<'a>,
    watch: &'a Watch,
}

impl StochasticLoss for Watched<'_> {
    fn dims(&self) -> Dims {
        self.glm.dims()
    }

    fn draw(&self, batch: usize, rng: &mut Rng, sample: &mut Sample) {
        self.glm.draw(batch, rng, sample);
    }

    fn size(&self, zeta: &Sample) -> usize {
        self.glm.size(zeta)
    }

    fn value(&self, w: &[f64], lambda: &[f64], zeta: &Sample) -> f64 {
        self.glm.value(w, lambda, zeta)
    }

    fn gradient(&self, w: &[f64], lambda: &[f64], zeta: &Sample, out: &mut [f64]) -> f64 {
        self.watch.pass();
        self.glm.gradient(w, lambda, zeta, out)
    }

    fn hessian_product(&self, w: &[f64], lambda: &[f64], zeta: &Sample, v: &[f64], out: &mut [f64]) {
        self.glm.hessian_product(w, lambda, zeta, v, out);
    }

    fn cross_product(&self, w: &[f64], lambda: &[f64], zeta: &Sample, v: &[f64], out: &mut [f64]) {
        self.glm.cross_product(w, lambda, zeta, v, out);
    }
}

impl Curved for Watched<'_> {
    fn curvature<'a>(&'a self, w: &[f64], lambda: &[f64]) -> Box<dyn Curvature + 'a> {
        Box::new(WatchedCurvature { inner: Curved::curvature(self.glm, w, lambda), watch: self.watch })
    }
}

struct WatchedCurvature<'a> {
    inner: Box<dyn Curvature + 'a>,
    watch: &'a Watch,
}

impl Curvature for WatchedCurvature<'_> {
    fn product(&self, v: &[f64], out: &mut [f64]) {
        self.watch.pass();
        self.inner.product(v, out);
    }

    fn diagonal(&self, out: &mut [f64]) {
        self.inner.diagonal(out);
    }

    fn factorize(&self, stop: &StopSignal) -> Option<bilevel::Result<Box<dyn Factorization>>> {
        self.inner.factorize(stop)
    }
}

#[test]
fn conjugate_gradients_make_no_product_after_the_signal() {
    let b: Vec<f64> = (1..=50).map(f64::from).collect();
    for at in [1, 2, 7] {
        let watch = Watch::new(at);
        let product = |v: &[f64], out: &mut [f64]| {
            watch.pass();
            out.iter_mut().zip(v).enumerate().for_each(|(i, (out, v))| *out = (i + 1) as f64 * v);
        };
        let (mut x, mut workspace) = (vec![0.0; 50], CgWorkspace::new(50));
        let cg = ConjugateGradient { steps: 1000, tolerance: 1e-12 };
        let result = cg.solve_until(product, Preconditioner::None, &b, &mut x, 1, &mut workspace, &watch.signal());
        assert!(result.is_err_and(|error| error.is_interrupted()));
        assert_eq!(watch.passes(), at);
        assert!(vector::all_finite(&x));
    }
}

#[test]
fn newton_and_the_adjoint_make_no_pass_after_the_signal() {
    let numbers = Numbers::random(200, 12, 3);
    let loss = Loss::Softmax { classes: 4 };
    let y = numbers.target(loss, &numbers.point(loss, true), true);
    let design = matrix(&numbers.x, 12, Stored::DenseF64);
    let risk = EmpiricalRisk::new(&design, &y, RowRanges::all(200), loss, true);
    let (glm, upper) = (Glm::new(risk.clone(), Penalty::Shared), risk.clone().as_upper(1));
    let lambda = [-6.0];
    let newton = Newton { direction: NewtonDirection::ConjugateGradients { steps: 500 }, ..Newton::default() };
    let minimize = |watch: &Watch, w: &mut [f64]| {
        newton.minimize(&Watched { glm: &glm, watch }, &lambda, w, None, &watch.signal()).map(|_| ())
    };
    let (endless, mut solution) = (Watch::new(usize::MAX), risk.null_parameters());
    minimize(&endless, &mut solution).unwrap();
    assert!(endless.passes() > 40, "{} passes are too few to stop between", endless.passes());
    let start = glm.value(&risk.null_parameters(), &lambda, &Sample::Full);
    for at in (1..endless.passes()).step_by(3) {
        let (watch, mut w) = (Watch::new(at), risk.null_parameters());
        assert!(minimize(&watch, &mut w).unwrap_err().is_interrupted());
        assert_eq!(watch.passes(), at);
        assert!(glm.value(&w, &lambda, &Sample::Full) <= start, "it is left no worse than it was");
    }

    let cg = ConjugateGradient { steps: 1000, tolerance: 1e-10 };
    for (linear, passes) in [(ExactLinear::ConjugateGradient(cg), 10), (ExactLinear::Factorize(cg), 1)] {
        let (watch, mut u) = (Watch::new(passes), vec![0.0; solution.len()]);
        let loss = Watched { glm: &glm, watch: &watch };
        let implicit = Implicit { linear };
        let result = implicit.at_solution(&loss, &upper, &solution, &lambda, &mut u, None, &watch.signal());
        match linear {
            ExactLinear::ConjugateGradient(_) => assert!(result.is_err_and(|error| error.is_interrupted())),
            // It is over before there is anything to stop.
            ExactLinear::Factorize(_) => assert!(result.is_ok()),
        }
        assert!(watch.passes() <= passes + 3);
    }
}

#[test]
fn factorisations_heed_the_signal() {
    let numbers = Numbers::random(60, 5, 4);
    for (loss, design) in [(Loss::Logistic, Stored::DenseF64), (Loss::Softmax { classes: 3 }, Stored::CsrF64)] {
        let y = numbers.target(loss, &numbers.point(loss, true), true);
        let design = matrix(&numbers.x, 5, design);
        let glm = Glm::new(EmpiricalRisk::new(&design, &y, RowRanges::all(60), loss, true), Penalty::Shared);
        let w = glm.risk().null_parameters();
        let over = StopSignal::new(Some(Duration::ZERO), None);
        let curvature = Curved::curvature(&glm, &w, &[-2.0]);
        assert!(curvature.factorize(&over).unwrap().is_err_and(|error| error.is_interrupted()));
        assert!(curvature.factorize(&StopSignal::never()).unwrap().is_ok());
    }
}

/// Raises its flag at an iteration, and keeps what it is told.
struct Impatient {
    flag: Arc<AtomicBool>,
    at: usize,
    seen: Vec<TraceRow>,
}

impl<'e> Observer<Event<'e, TraceRow>> for Impatient {
    fn observe(&mut self, event: &Event<'e, TraceRow>) -> ControlFlow<()> {
        let Event::Iteration(row) = event else { return ControlFlow::Continue(()) };
        self.seen.push((*row).clone());
        if self.seen.len() == self.at {
            self.flag.store(true, Ordering::SeqCst);
        }
        ControlFlow::Continue(())
    }

    fn stop_flag(&self) -> Option<Arc<AtomicBool>> {
        Some(self.flag.clone())
    }
}

fn dataset(design: DesignMatrix, y: &[f64], classes: usize) -> Dataset {
    let (features, codes) = (design.cols(), y.iter().map(|&y| y as u32).collect());
    let target = Target::Classes { codes, names: (0..classes).map(|c| c.to_string()).collect() };
    Dataset { measured: vec![false; features], ..Dataset::new(design, target).unwrap() }
}

/// What is kept is the best that was seen, not a point on the way from it to the next.
#[test]
fn an_interrupted_tuning_returns_to_its_best_fits() {
    let Bundled { design, target, .. } = Bundled::read("pendigits.gz", 700);
    let digits = dataset(design, &target, 10);
    let numbers = Numbers::random(150, 400, 5);
    let y = numbers.target(Loss::Logistic, &numbers.point(Loss::Logistic, true), true);
    let wide = dataset(matrix(&numbers.x, 400, Stored::CsrF64), &y, 2);
    // In the space of the rows values are near ones, corrected for what a solve leaves.
    for (data, method, near) in
        [(&digits, Method::AidCg, 1e-10), (&digits, Method::Exact, 1e-10), (&wide, Method::Auto, 0.02)]
    {
        for at in [1, 2, 4, 7, 15] {
            let options = TuneOptions { penalties: Penalties::PerFeature, method, ..TuneOptions::default() };
            let mut observer = Impatient { flag: Arc::default(), at, seen: Vec::new() };
            let tuned = tune(data, None, None, &options, &mut observer).unwrap();
            if observer.seen.len() < at {
                assert!(at > 4, "{method:?}: it is over after {} evaluations", observer.seen.len());
                continue;
            }
            assert_eq!(tuned.status, Ending::Interrupted, "{method:?} at {at}");
            assert_eq!(observer.seen.len(), at, "{method:?}: no evaluation after the signal");
            let own = observer.seen.iter().filter(|row| row.penalties == tuned.penalties);
            let best = own.map(|row| row.validation_loss).fold(f64::INFINITY, f64::min);
            let found = tuned.chosen().validation.loss;
            assert!((found - best).abs() <= near * best, "{method:?} at {at}: {found}, not {best}");
            assert!(vector::all_finite(&tuned.model.coef));
        }
    }
}

/// Ends the tuning by its answer at the first look at many penalties, and counts those after it.
#[derive(Default)]
struct Curt {
    answered: bool,
    after: usize,
}

impl<'e> Observer<Event<'e, TraceRow>> for Curt {
    fn observe(&mut self, event: &Event<'e, TraceRow>) -> ControlFlow<()> {
        let Event::Iteration(row) = event else { return ControlFlow::Continue(()) };
        self.after += usize::from(self.answered);
        self.answered |= row.penalties == Penalties::PerFeature;
        if self.answered { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }
}

/// The first phase comes before all data, later ones after something that is kept.
#[test]
fn phases_can_be_answered_too() {
    let Bundled { design, target, .. } = Bundled::read("pendigits.gz", 300);
    let digits = dataset(design, &target, 10);
    let until = |last: &'static str| {
        let mut watch = move |event: &Event<'_, TraceRow>| match event {
            Event::Phase(phase) if *phase == last => ControlFlow::Break(()),
            _ => ControlFlow::Continue(()),
        };
        tune(&digits, None, None, &TuneOptions::default(), &mut watch)
    };
    assert!(until("arranging the rows").unwrap_err().is_interrupted());
    assert_eq!(until("fitting on all rows").unwrap().status, Ending::Interrupted);
    assert_ne!(until("no such phase").unwrap().status, Ending::Interrupted);
}

/// Each start of the descent that remained was evaluated once more.
#[test]
fn an_answer_that_ends_the_tuning_ends_all_its_starts() {
    // The loss is flat towards weak penalties, so that descents start from stronger ones, too.
    let (rows, features, mut rng) = (120, 4, Rng::stream(0, Purpose::Start, 0));
    let x: Vec<f64> = (0..rows * features).map(|_| rng.normal()).collect();
    let of_row = |row: &[f64]| row.iter().zip(1..).map(|(x, j)| f64::from(j) * x).sum::<f64>();
    let y: Vec<f64> = x.chunks_exact(features).map(|row| of_row(row) + 0.5 * rng.normal()).collect();
    let data = Dataset::new(matrix(&x, features, Stored::DenseF64), Target::Values(y.into())).unwrap();
    let options = TuneOptions { penalties: Penalties::PerFeature, method: Method::Exact, ..TuneOptions::default() };
    let mut observer = Curt::default();
    let tuned = tune(&data, None, None, &options, &mut observer).unwrap();
    assert_eq!((tuned.status, observer.after), (Ending::Interrupted, 0));
    assert!(observer.answered && vector::all_finite(&tuned.model.coef));
}

/// Asks to stop at the first look, long after the beginning.
struct Slow(Arc<AtomicBool>);

impl<'e> Observer<Event<'e, TraceRow>> for Slow {
    fn observe(&mut self, event: &Event<'e, TraceRow>) -> ControlFlow<()> {
        if matches!(event, Event::Iteration(_)) {
            std::thread::sleep(Duration::from_secs(1));
            self.0.store(true, Ordering::SeqCst);
        }
        ControlFlow::Continue(())
    }

    fn stop_flag(&self) -> Option<Arc<AtomicBool>> {
        Some(self.0.clone())
    }
}

/// The time of a sampled search was taken for that of a pass, and no fit seemed short enough for whoever waits.
#[test]
fn a_sampled_search_keeps_its_first_look() {
    let Bundled { design, target, .. } = Bundled::read("pendigits.gz", 700);
    let digits = dataset(design, &target, 10);
    for method in [Method::SidConstant, Method::SidSvrg, Method::AidFp] {
        let options = TuneOptions { penalties: Penalties::Shared, method, ..TuneOptions::default() };
        let tuned = tune(&digits, None, None, &options, &mut Slow(Arc::default())).unwrap();
        assert_eq!((tuned.status, tuned.trace.len()), (Ending::Interrupted, 1), "{method:?}");
        assert!(tuned.model.coef.iter().any(|w| *w != 0.0) && vector::all_finite(&tuned.model.coef));
    }
}

/// Sleeps until time is over, at the first iteration or before the last fits.
struct Sleeper {
    begun: Instant,
    limit: Duration,
    before_fits: bool,
    /// Time was over before it slept.
    late: bool,
    passes: f64,
}

impl Sleeper {
    fn sleep(&mut self) {
        let passed = self.begun.elapsed();
        self.late |= passed > self.limit / 2;
        // What short limits are exceeded by is over, too.
        std::thread::sleep((self.limit + Duration::from_secs(1)).saturating_sub(passed));
    }
}

impl<'e> Observer<Event<'e, TraceRow>> for Sleeper {
    fn observe(&mut self, event: &Event<'e, TraceRow>) -> ControlFlow<()> {
        match event {
            Event::Phase(phase) if self.before_fits && *phase == "fitting on all rows" => self.sleep(),
            Event::Phase(_) => {}
            Event::Iteration(row) => {
                if !self.before_fits && self.passes == 0.0 {
                    self.sleep();
                }
                self.passes = row.passes;
            }
        }
        ControlFlow::Continue(())
    }
}

/// Fits after the search did not look at the clock: they went on for seconds beyond the limit.
#[test]
fn nothing_is_fitted_once_time_is_over() {
    let Bundled { design, target, .. } = Bundled::read("pendigits.gz", 300);
    let digits = dataset(design, &target, 10);
    let numbers = Numbers::random(150, 400, 5);
    let y = numbers.target(Loss::Logistic, &numbers.point(Loss::Logistic, true), true);
    let wide = dataset(matrix(&numbers.x, 400, Stored::CsrF64), &y, 2);
    let cases = [(&digits, Method::AidCg), (&digits, Method::Exact), (&wide, Method::Auto)];
    std::thread::scope(|scope| {
        for (data, method) in cases {
            for before_fits in [false, true] {
                scope.spawn(move || {
                    let limit = Duration::from_secs(3);
                    let limits = Limits { time: Some(limit), iterations: 1, ..Limits::default() };
                    let options = TuneOptions {
                        penalties: Penalties::PerFeature,
                        method,
                        limits,
                        // A short search.
                        lambda_min: Some(-3.0),
                        lambda_max: Some(-2.0),
                        ..TuneOptions::default()
                    };
                    let mut observer = Sleeper { begun: Instant::now(), limit, before_fits, late: false, passes: 0.0 };
                    let tuned = tune(data, None, None, &options, &mut observer).unwrap();
                    if observer.late {
                        return eprintln!("skipped: too busy to tell");
                    }
                    assert_eq!(tuned.status, Ending::TimeLimit, "{method:?}");
                    let more = tuned.passes - observer.passes;
                    // What was found is solved anew before the last fits; those would take 120 and more.
                    let bound = if before_fits { 60.0 } else { 0.0 };
                    assert!(more <= bound, "{method:?}: {more} passes after time was over");
                    assert!(vector::all_finite(&tuned.model.coef));
                });
            }
        }
    });
}

#[test]
fn what_is_put_aside_is_there_later() {
    let hours = |hours: u64| Duration::from_secs(3600 * hours);
    let signal = StopSignal::new(Some(hours(2)), None);
    let copy = signal.clone();
    signal.reserve(hours(1));
    assert!(!copy.is_raised() && !copy.leaves(hours(1)) && copy.with_reserve(Duration::ZERO).leaves(hours(1)));
    signal.reserve(hours(2));
    assert!(copy.is_late() && copy.is_raised());
    assert!(!copy.with_reserve(Duration::MAX).is_raised(), "a deadline beyond all clocks is none");
    let later = copy.with_reserve(hours(3));
    assert!(later.leaves(hours(2)) && !later.leaves(hours(3)), "an hour beyond the limit");
    assert!(!StopSignal::never().is_raised() && StopSignal::never().leaves(hours(9)));
}

/// Asks to stop from the beginning, and is told of nothing.
struct Unseen(Arc<AtomicBool>);

impl Observer<Stage> for Unseen {
    fn observe(&mut self, _: &Stage) -> ControlFlow<()> {
        panic!("samples were drawn")
    }

    fn stop_flag(&self) -> Option<Arc<AtomicBool>> {
        Some(self.0.clone())
    }
}

#[test]
fn precise_hypergradients_heed_the_signal_before_the_first_samples() {
    let x = (0..400).map(|k| (f64::from(k) * 1.618).sin()).collect();
    let target = Target::Values((0..200).map(|i| (f64::from(i) * 0.7).cos()).collect());
    let data = Dataset::new(DenseMatrix::new(200, 2, x), target).unwrap();
    let problem = GlmProblem::new(&data, None, &TuneOptions::default()).unwrap();
    let (flag, lambda) = (Arc::new(AtomicBool::new(true)), [-3.0]);
    let raised = StopSignal::new(None, Some(flag.clone()));
    for method in [PreciseMethod::Sid, PreciseMethod::SidSvrg] {
        let options = HypergradientOptions { method, precision: Precision::relative(0.1), seed: 0 };
        let found = problem.hypergradient(&lambda, &options, &mut Unseen(flag.clone()));
        assert!(found.unwrap_err().is_interrupted(), "{method:?}");
    }
    assert!(problem.exact_hypergradient(&lambda, &raised).unwrap_err().is_interrupted());
    assert!(problem.exact_hypergradient(&lambda, &StopSignal::never()).is_ok());
}
