//! `bilevel inspect --at`: the constants of the theory for the problem of a data file.

use std::process::ExitCode;
use std::time::Instant;

use bilevel::diagnose::{
    GlmBallOptions, GlmBounds, LossConstants, Noise, NoiseEstimate, describe_direction, lanczos_vectors, loss_constants,
};
use bilevel::fixed_point::LowerSolver;
use bilevel::lower::{Curved, GradientMap, StochasticLoss};
use bilevel::newton::Newton;
use bilevel::problems::glm::Glm;
use bilevel::tune::GlmProblem;
use bilevel::work::Work;
use bilevel::{Error, Result, vector};

use super::InspectArgs;
use crate::at::{At, Opened};
use crate::mapped::Verify;
use crate::table::TextTable;
use crate::{at, numbers, output};

/// Lanczos steps at most.
const LANCZOS: usize = 100;
/// Minibatches to each mean of the noise.
const SAMPLES: usize = 200;

/// What was found, and what it cost.
struct Found {
    curvature: LossConstants,
    map_step: f64,
    contraction: f64,
    noise: Noise,
    bounds: GlmBounds,
}

pub fn run(args: &InspectArgs, text: &str) -> Result<ExitCode> {
    let at = At::parse(text)?;
    let Opened { problem, notes, .. } = at::open(&args.problem, Some(&at), Verify::All, |_| {})?;
    let lambda = at.log_penalties(problem.hyperparameters())?;
    let started = Instant::now();
    let lower = problem.lower();
    let mut w = lower.risk().null_parameters();
    let solved = Newton::default().solve(&lower, &lambda, &mut w)?.usable("lower level")?;
    // More rows than there are would be drawn again and again.
    let batch = (args.batch as usize).min(lower.risk().len());
    let found = measure(args, batch, &problem, &lower, &w, &lambda)?;
    let work = solved.work + found.curvature.work + found.noise.work + found.bounds.work;
    let report = report(&found, &lower, batch, work, started.elapsed().as_secs_f64());
    output::print(&(report + &Opened::notes_text(&notes)))?;
    Ok(ExitCode::SUCCESS)
}

fn measure(
    args: &InspectArgs,
    batch: usize,
    problem: &GlmProblem,
    lower: &Glm<'_>,
    w: &[f64],
    lambda: &[f64],
) -> Result<Found> {
    let rows = lower.risk().len();
    let seed = args.problem.seed;
    let curvature = loss_constants(&*lower.curvature(w, lambda), w.len(), rows, LANCZOS, seed)?;
    let map_step = args.map_step.unwrap_or(curvature.map_step);
    let contraction = (1.0 - map_step * curvature.mu).abs().max((1.0 - map_step * curvature.l).abs());
    if contraction >= 1.0 {
        return Err(no_contraction(problem, lower, w, lambda, map_step, &curvature, seed)?);
    }
    let map = GradientMap { loss: lower, map_step };
    let noise = NoiseEstimate { batch, samples: SAMPLES, seed }.estimate(&map, w, lambda)?;
    let options =
        GlmBallOptions { map_step, batch, radius: args.radius.unwrap_or(vector::norm(w)), steps: LANCZOS, seed };
    let bounds = GlmBounds::around(lower, &problem.upper(), w, lambda, &options)?;
    Ok(Found { curvature, map_step, contraction, noise, bounds })
}

/// The direction that `I - map_step H` does not shrink, and what to do.
fn no_contraction(
    problem: &GlmProblem,
    lower: &Glm<'_>,
    w: &[f64],
    lambda: &[f64],
    map_step: f64,
    found: &LossConstants,
    seed: u64,
) -> Result<Error> {
    let curvature = lower.curvature(w, lambda);
    let (_, vectors) = lanczos_vectors(|v, out| curvature.product(v, out), w.len(), LANCZOS, seed)?;
    let too_long = map_step * found.l >= 2.0;
    let direction = if too_long { &vectors.largest } else { &vectors.smallest };
    let direction = describe_direction(direction, |i| parameter_name(problem, lower, i));
    let factor = numbers::short(1.0 - map_step * if too_long { found.l } else { found.mu });
    let message =
        format!("the gradient step {map_step} does not contract: it multiplies a direction by {factor}, {direction}");
    Ok(Error::numeric(message).remedy(match too_long {
        true => format!("use a --map-step below 2/L = {}", numbers::short(2.0 / found.l)),
        false => "use a larger penalty there; without one these coordinates are not determined by the data".into(),
    }))
}

/// The feature (and class) of a weight, or the intercept.
fn parameter_name(problem: &GlmProblem, lower: &Glm<'_>, i: usize) -> String {
    let outputs = lower.risk().outputs();
    let name = match problem.data().feature_names.get(i / outputs) {
        Some(name) => name.clone(),
        None => "intercept".into(),
    };
    if outputs == 1 { name } else { format!("{name} of class {}", i % outputs) }
}

fn report(found: &Found, lower: &Glm<'_>, batch: usize, work: Work, seconds: f64) -> String {
    let Found { curvature, noise, bounds, .. } = found;
    let short = |x: f64| numbers::short(x);
    let bound = |x: Option<f64>| x.map_or(numbers::NONE.into(), |x| format!("≤ {}", numbers::short(x)));
    let mut table = TextTable::new(["constant", "at w(lambda)", "how", "in the ball", "meaning"]);
    let mut row = |name: &str, value: Option<f64>, how: &str, limit: String, meaning: &str| {
        table.row([name, &value.map_or(numbers::NONE.into(), short), how, &limit, meaning]);
    };
    let at_least = bounds.mu.map_or(numbers::NONE.into(), |mu| format!("≥ {}", short(mu)));
    row("mu", Some(curvature.mu), "Lanczos", at_least, "smallest eigenvalue of the Hessian");
    row("L", Some(curvature.l), "Lanczos", bound(Some(bounds.l)), "largest eigenvalue of the Hessian");
    row("kappa", Some(curvature.l / curvature.mu), "Lanczos", bound(bounds.mu.map(|mu| bounds.l / mu)), "L/mu");
    row("map step", Some(found.map_step), "", String::new(), "step of the gradient map");
    row("q", Some(found.contraction), "Lanczos", bound(bounds.contraction), "contraction of the map");
    row("1 - q", Some(1.0 - found.contraction), "Lanczos", String::new(), "");
    row("sigma1", Some(noise.sigma1), "sampling", bound(Some(bounds.sigma1)), "noise of the map");
    row("sigma2", Some(noise.sigma2), "sampling", bound(bounds.sigma2), "its growth with the residual");
    row("m1", Some(noise.m1), "sampling", bound(Some(bounds.m1)), "noise of d1Phi");
    row("m2", Some(noise.m2), "sampling", bound(Some(0.0)), "noise of d2Phi");
    row("nu1", None, "formula", bound(bounds.nu1), "Lipschitz constant of d1Phi");
    row("nu2", None, "formula", bound(Some(bounds.nu2)), "Lipschitz constant of d2Phi");
    row("mu1", None, "formula", bound(Some(bounds.mu1)), "Lipschitz constant of grad1 E");
    row("mu2", Some(0.0), "formula", bound(Some(0.0)), "Lipschitz constant of grad2 E");
    row("L_E", None, "formula", bound(Some(bounds.l_e)), "|grad1 E|");
    row("L_Phi", None, "formula", bound(Some(bounds.l_phi)), "|d2Phi|");
    let mut text = table.render();
    text += &format!(
        "\nFormulas hold in the ball of radius {} around w(lambda); noise is that of batches of {}. A value at \
         w(lambda) that was sampled is a lower estimate.\n",
        short(bounds.radius),
        numbers::counted(batch, "row", "rows")
    );
    if curvature.mu_error > 1e-3 * curvature.mu || curvature.l_error > 1e-3 * curvature.l {
        text += &format!(
            "Lanczos stopped early: mu may be smaller by {} and L larger by {}.\n",
            short(curvature.mu_error),
            short(curvature.l_error)
        );
    }
    if bounds.nu1.is_none() {
        text += &format!(
            "The second derivative of the {} loss jumps, so nu1 has no formula.\n",
            lower.risk().loss().name()
        );
    }
    let rows = lower.size(&bilevel::sample::Sample::Full);
    text += &format!(
        "Cost: {} rows visited ({}), {}.\n",
        numbers::count(work.rows as usize),
        numbers::passes(work.passes(rows)),
        numbers::seconds(seconds)
    );
    text
}
