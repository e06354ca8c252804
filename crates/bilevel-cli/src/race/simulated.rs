//! `bilevel race quadratic`, `meta-learning`, `poisoning`: simulated problems, whose difficulty is chosen.

use bilevel::domain::Domain;
use bilevel::problems::LinearLoss;
use bilevel::problems::meta_learning::{MetaLearning, MetaLearningOptions};
use bilevel::problems::poisoning::{Poisoning, PoisoningOptions};
use bilevel::problems::quadratic::{Quadratic, QuadraticOptions};
use bilevel::race::Contested;
use bilevel::row_sums::RowSumObjective;
use bilevel::tune::LossChoice;
use bilevel::{Error, Result};
use clap::Args;

use super::args::RaceArgs;
use crate::numbers;

/// Numbers a problem may hold (2 GiB).
const LARGEST: u64 = 1 << 28;
/// Rows of the lower level for each of the upper one.
const LOWER_PER_UPPER: u32 = 4;
/// How far a poisoned feature may move.
const REACH: f64 = 0.5;

/// A word that stands for a data file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Quadratic,
    MetaLearning,
    Poisoning,
    /// A map that is the gradient step of no loss.
    Map(&'static str),
}

impl Kind {
    const ALL: [Kind; 5] =
        [Kind::Quadratic, Kind::MetaLearning, Kind::Poisoning, Kind::Map("equilibrium"), Kind::Map("bellman")];

    fn name(self) -> &'static str {
        match self {
            Kind::Quadratic => "quadratic",
            Kind::MetaLearning => "meta-learning",
            Kind::Poisoning => "poisoning",
            Kind::Map(name) => name,
        }
    }

    /// The sizes it has.
    fn sizes(self) -> &'static [&'static str] {
        match self {
            Kind::Quadratic => &["--rows", "--dim", "--hyperparameters", "--condition"],
            Kind::MetaLearning => &["--tasks", "--rows", "--dim"],
            Kind::Poisoning => &["--rows", "--dim", "--poisoned"],
            Kind::Map(_) => &[],
        }
    }
}

#[derive(Debug, Clone, Args)]
pub struct SimulatedArgs {
    /// Rows of the lower level: quadratic [default: 1000, the upper one has a quarter as many], poisoning [default: 400];
    /// meta-learning: rows of each task [default: 10].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub rows: Option<u32>,
    /// Length of w: quadratic [default: 20]; features: meta-learning [default: 20], poisoning [default: 10].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub dim: Option<u32>,
    /// Length of lambda: quadratic [default: 10].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub hyperparameters: Option<u32>,
    /// Condition number of the Hessian of the lower level: quadratic [default: 10].
    #[arg(long, value_name = "X", value_parser = condition)]
    pub condition: Option<f64>,
    /// Tasks: meta-learning [default: 50].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub tasks: Option<u32>,
    /// Rows that the attacker moves: poisoning [default: a tenth].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub poisoned: Option<u32>,
}

fn condition(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(x) if x >= 1.0 && x.is_finite() => Ok(x),
        _ => Err("a number of at least 1 is needed".into()),
    }
}

/// The simulated problem that the race is on. A file of that name comes first.
pub fn asked_for(args: &RaceArgs) -> Option<Kind> {
    let word = &args.problem.train;
    Kind::ALL.into_iter().find(|kind| word.as_os_str() == kind.name() && !word.exists())
}

/// The sizes that were given.
fn given(args: &SimulatedArgs) -> impl Iterator<Item = &'static str> {
    let all = [
        ("--rows", args.rows.is_some()),
        ("--dim", args.dim.is_some()),
        ("--hyperparameters", args.hyperparameters.is_some()),
        ("--condition", args.condition.is_some()),
        ("--tasks", args.tasks.is_some()),
        ("--poisoned", args.poisoned.is_some()),
    ];
    all.into_iter().filter(|(_, given)| *given).map(|(name, _)| name)
}

/// Refuses options of the simulated problems for a file.
pub fn refuse_sizes(args: &SimulatedArgs) -> Result<()> {
    match given(args).next() {
        Some(name) => Err(Error::input(format!("{name} is an option of the simulated problems"))
            .remedy("leave it out, or race on `quadratic`, `meta-learning` or `poisoning` in the place of a file")),
        None => Ok(()),
    }
}

/// Both levels, the box, and what they are.
pub struct Simulated {
    pub lower: Box<dyn Contested>,
    pub upper: Box<dyn RowSumObjective>,
    pub domain: Domain,
    pub description: Vec<(String, String)>,
}

/// A simulated problem.
///
/// # Errors
/// Input, for options that the problem does not have, and sizes beyond memory.
pub fn problem(kind: Kind, args: &RaceArgs) -> Result<Simulated> {
    if let Kind::Map(name) = kind {
        return Err(Error::input(format!(
            "{name} is a map that is the gradient step of no loss, and these algorithms need one"
        ))
        .remedy(format!("bilevel study {name} compares the estimators of its hypergradient")));
    }
    let of_race =
        [args.at.as_ref().map(|_| "--at"), (args.unknowns != super::args::Unknowns::Penalties).then_some("--problem")];
    let has_losses = matches!(kind, Kind::MetaLearning | Kind::Poisoning);
    let of_files = args.problem.given().filter(|name| !(has_losses && *name == "--model"));
    if let Some(name) = of_race.into_iter().flatten().chain(of_files).next() {
        return Err(Error::input(format!(
            "{name} is an option for data files, {} is a simulated problem",
            kind.name()
        ))
        .remedy("leave it out; all start at lambda = 0"));
    }
    if let Some(name) = given(&args.simulated).find(|name| !kind.sizes().contains(name)) {
        return Err(Error::input(format!("{} has no {name}", kind.name()))
            .remedy(format!("its options are {}", kind.sizes().join(", "))));
    }
    match kind {
        Kind::MetaLearning => meta_learning(args),
        Kind::Poisoning => poisoning(args),
        _ => quadratic(args),
    }
}

/// Refuses more numbers than memory should hold.
fn affordable(numbers: u64, remedy: &str) -> Result<()> {
    if numbers > LARGEST {
        let gigabytes = numbers as f64 * 8e-9;
        return Err(Error::input(format!("a simulated problem of these sizes would take {gigabytes:.1} GB"))
            .remedy(format!("choose smaller {remedy}")));
    }
    Ok(())
}

fn product(sizes: &[u32]) -> u64 {
    sizes.iter().fold(1, |product, &size| product.saturating_mul(u64::from(size)))
}

fn loss(args: &RaceArgs, default: LinearLoss, kind: Kind) -> Result<LinearLoss> {
    match args.problem.model {
        LossChoice::Auto => Ok(default),
        LossChoice::Squared => Ok(LinearLoss::Squared),
        LossChoice::Logistic => Ok(LinearLoss::Logistic),
        _ => Err(Error::input(format!("{} is simulated with two losses", kind.name()))
            .remedy("choose --model squared or --model logistic")),
    }
}

fn quadratic(args: &RaceArgs) -> Result<Simulated> {
    let SimulatedArgs { rows, dim, hyperparameters, condition, .. } = args.simulated;
    let (rows, dim, hyperparameters) = (rows.unwrap_or(1000), dim.unwrap_or(20), hyperparameters.unwrap_or(10));
    let row = u64::from(dim).saturating_mul(u64::from(dim) + 1 + u64::from(hyperparameters));
    affordable(row.saturating_mul(u64::from(rows)), "--rows, --dim or --hyperparameters")?;
    let options = QuadraticOptions {
        rows: rows as usize,
        w: dim as usize,
        lambda: hyperparameters as usize,
        upper_rows: rows.div_ceil(LOWER_PER_UPPER) as usize,
        condition: condition.unwrap_or(10.0),
        seed: args.problem.seed,
        ..QuadraticOptions::default()
    };
    let text = format!(
        "quadratic, {}, {} weights, condition {}",
        numbers::counted(options.rows, "row", "rows"),
        numbers::count(options.w),
        numbers::short(options.condition)
    );
    let quadratic = Quadratic::random(&options);
    Ok(Simulated {
        upper: Box::new(quadratic.upper().clone()),
        domain: Domain::unbounded(options.lambda),
        lower: Box::new(quadratic),
        description: vec![("simulated problem".into(), text)],
    })
}

fn meta_learning(args: &RaceArgs) -> Result<Simulated> {
    let SimulatedArgs { rows, dim, tasks, .. } = args.simulated;
    let (rows, dim, tasks) = (rows.unwrap_or(10), dim.unwrap_or(20), tasks.unwrap_or(50));
    // Rows, and a Hessian of each task.
    let numbers = product(&[2, rows, tasks, dim]).saturating_add(product(&[tasks, dim, dim]));
    affordable(numbers, "--rows, --tasks or --dim")?;
    let options = MetaLearningOptions {
        tasks: tasks as usize,
        rows: rows as usize,
        features: dim as usize,
        loss: loss(args, LinearLoss::Squared, Kind::MetaLearning)?,
        seed: args.problem.seed,
        ..MetaLearningOptions::default()
    };
    let (lower, upper) = MetaLearning::random(&options)?;
    let text = format!(
        "meta-learning, {} of {}, {} features, λ the common bias",
        numbers::counted(options.tasks, "task", "tasks"),
        numbers::counted(options.rows, "row", "rows"),
        numbers::count(options.features)
    );
    Ok(Simulated {
        lower: Box::new(lower),
        upper: Box::new(upper),
        domain: Domain::unbounded(options.features),
        description: vec![("simulated problem".into(), text)],
    })
}

fn poisoning(args: &RaceArgs) -> Result<Simulated> {
    let SimulatedArgs { rows, dim, poisoned, .. } = args.simulated;
    let (rows, dim) = (rows.unwrap_or(400), dim.unwrap_or(10));
    let poisoned = poisoned.unwrap_or(rows.div_ceil(10));
    affordable(product(&[2, rows, dim]).saturating_add(product(&[dim, dim])), "--rows or --dim")?;
    let options = PoisoningOptions {
        rows: rows as usize,
        features: dim as usize,
        poisoned: poisoned as usize,
        loss: loss(args, LinearLoss::Logistic, Kind::Poisoning)?,
        seed: args.problem.seed,
        ..PoisoningOptions::default()
    };
    let (lower, upper) = Poisoning::random(&options)?;
    let text = format!(
        "poisoning, {} of {}, {} features, λ their shifts of at most {REACH}",
        numbers::count(options.poisoned),
        numbers::counted(options.rows, "row", "rows"),
        numbers::count(options.features)
    );
    Ok(Simulated {
        domain: Domain::uniform(options.poisoned * options.features, -REACH, REACH)?,
        lower: Box::new(lower),
        upper: Box::new(upper),
        description: vec![("simulated problem".into(), text)],
    })
}
