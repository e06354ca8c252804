//! `bilevel study bellman`, `equilibrium`: maps that are the gradient step of no loss, with a hypergradient that is known.

use bilevel::hypergradient::{AidGmres, Capable};
use bilevel::linear_system::Gmres;
use bilevel::lower::{Dims, StochasticMap};
use bilevel::problems::equilibrium::Equilibrium;
use bilevel::problems::policy_evaluation::PolicyEvaluation;
use bilevel::problems::target::Target;
use bilevel::study::{CurveKind, StepLimits, Subject};
use bilevel::{Error, Result};

use super::args::StudyArgs;
use super::{Studied, identity, minibatches};
use crate::numbers;

/// A word that stands for a data file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Rewards of a Markov chain from observed values: a Bellman equation whose transitions are sampled.
    Bellman,
    /// An equilibrium network: one implicit layer.
    Equilibrium,
}

/// States, and features of the rewards; states that can follow a state; discount, and noise of the rewards.
const CHAIN: Dims = Dims { w: 50, lambda: 5 };
const SUCCESSORS: usize = 5;
const DISCOUNT: f64 = 0.7;
const REWARD_NOISE: f64 = 0.2;
/// Elements that make an epoch of a chain, which has no rows: as many transitions of each state.
const EPOCH: usize = 1000;
/// Inputs, numbers of each, and units of the network; how far its map contracts at least.
const NETWORK: (usize, usize, usize) = (200, 5, 8);
const CONTRACTION: f64 = 0.8;
/// Part of the network that made the targets, at which the hypergradient is looked at.
const PART: f64 = 0.5;
/// What is compared where nothing else is asked for.
const USUAL: [CurveKind; 6] = [
    CurveKind::SidConstant,
    CurveKind::SidDecreasing,
    CurveKind::SidSvrg,
    CurveKind::AidFp,
    CurveKind::AidNormal,
    CurveKind::AidGmres,
];
/// Steps and tolerance of a hypergradient that has no closed form.
const EXACT: (usize, f64) = (10_000, 1e-14);

/// The simulated problem that is asked for. A file of that name comes first.
pub fn asked_for(args: &StudyArgs) -> Option<Kind> {
    let word = &args.problem.train;
    let named = [("bellman", Kind::Bellman), ("equilibrium", Kind::Equilibrium)].into_iter();
    named.filter(|(name, _)| word.as_os_str() == *name && !word.exists()).map(|(_, kind)| kind).next()
}

/// Where the hypergradient of a data file is looked at, which must be given.
pub fn place_in_file(args: &StudyArgs) -> Result<&str> {
    match &args.at {
        Some(at) => Ok(at),
        None => Err(Error::input("--at is missing: the penalty at which the hypergradient is looked at")
            .remedy("give a number for all, such as --at 0.01, a list, or a model file")),
    }
}

impl Kind {
    /// Makes the problem and hands it to `study`.
    pub fn study<T>(self, args: &StudyArgs, study: impl FnOnce(Studied<'_>) -> Result<T>) -> Result<T> {
        if let Some(name) = args.at.as_ref().map(|_| "--at").into_iter().chain(args.problem.given()).next() {
            return Err(Error::input(format!("{name} is an option of data files"))
                .remedy("leave it out; --seed draws another problem"));
        }
        match self {
            Kind::Bellman => bellman(args, study),
            Kind::Equilibrium => equilibrium(args, study),
        }
    }
}

fn bellman<T>(args: &StudyArgs, study: impl FnOnce(Studied<'_>) -> Result<T>) -> Result<T> {
    let seed = args.problem.seed;
    let chain = PolicyEvaluation::random(CHAIN, SUCCESSORS, DISCOUNT, REWARD_NOISE, seed);
    let upper = Target::new(CHAIN, chain.solution(&[1.0; CHAIN.lambda]), 0.0);
    let lambda = [0.0; CHAIN.lambda];
    let exact = chain.hypergradient(&upper, &lambda);
    let map = Capable::new(&chain).jvp_lambda(&chain);
    let contraction = chain.contraction();
    let what = format!(
        "Bellman equation of {} states, discount {DISCOUNT}, {} weights of features of the rewards",
        CHAIN.w, CHAIN.lambda
    );
    let epoch = format!("{} transitions from each state; the exact mean counts as one", numbers::count(EPOCH));
    let subject = Subject { map, upper: &upper, lambda: &lambda, rows: EPOCH, reference: &exact };
    of_map(args, ("bellman", &what, &epoch), subject, (1.0, contraction), study)
}

fn equilibrium<T>(args: &StudyArgs, study: impl FnOnce(Studied<'_>) -> Result<T>) -> Result<T> {
    let (inputs, length, units) = NETWORK;
    let (network, readout) = Equilibrium::random(inputs, length, units, args.problem.seed)?;
    let domain = network.domain(CONTRACTION)?;
    let mut lambda: Vec<f64> = (0..network.dims().lambda).map(|j| PART * (j as f64).sin()).collect();
    domain.project(&mut lambda);
    let (steps, tolerance) = EXACT;
    let gmres = Gmres { steps, restart: 100, tolerance };
    let aid = AidGmres { lower_steps: steps, lower_tolerance: tolerance, linear: gmres };
    let exact = aid.estimate(&network, &readout, &lambda, None)?.value;
    let what = format!("equilibrium network of {units} units on {inputs} inputs, {} hyperparameters", lambda.len());
    let batch = args.settings(inputs)?.batch;
    let subject = Subject {
        map: Capable::new(&network).jvp_lambda(&network),
        upper: &readout,
        lambda: &lambda,
        rows: inputs,
        reference: &exact,
    };
    // One input after the other: a sample moves its inputs n/batch times as far.
    let longest = batch as f64 / inputs as f64;
    of_map(args, ("equilibrium", &what, "all inputs once"), subject, (longest, CONTRACTION), study)
}

fn of_map<T>(
    args: &StudyArgs,
    (name, what, epoch): (&str, &str, &str),
    subject: Subject<'_>,
    (longest, contraction): (f64, f64),
    study: impl FnOnce(Studied<'_>) -> Result<T>,
) -> Result<T> {
    let settings = args.settings(subject.rows)?;
    let hyperparameters = subject.lambda.len();
    let period = subject.rows.div_ceil(settings.batch);
    let limits = StepLimits { longest, contraction, period, hyperparameters };
    let numbers = [subject.reference, subject.lambda].concat();
    let identity = identity(&numbers, subject.rows, hyperparameters, None, &settings);
    let facts = vec![
        ("problem".into(), what.into()),
        ("exact hypergradient".into(), format!("norm {}", numbers::short(bilevel::vector::norm(subject.reference)))),
        ("map".into(), format!("not symmetric, contraction q = {contraction:.3}")),
        ("epoch".into(), epoch.into()),
        minibatches(&settings),
    ];
    study(Studied { name, subject, settings: &settings, usual: &USUAL, limits, identity, facts })
}
