//! Tunes one data set with all kinds of penalties and prints every candidate: the raw material of `docs/penalties.md`.
//!
//! `cargo run --release --example penalty_table -- TRAIN [TEST|FRACTION] [auto|shared|per-feature|...] [seed]`

use std::path::Path;

use bilevel::Result;
use bilevel::data::{LearnOptions, Learned, Parts, ReadOptions, Schema, stratified_order};
use bilevel::observer::Silent;
use bilevel::tune::{Penalties, TuneOptions, tune};

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let flag = |name: &str| arguments.iter().any(|a| a == name);
    let plain: Vec<&String> = arguments.iter().filter(|a| !a.starts_with("--")).collect();
    let train_path = Path::new(&plain[0]);
    let Learned { schema, data: whole, .. } = Schema::learn(train_path, &LearnOptions::default())?;
    let seed: u64 = plain.get(3).map_or(0, |s| s.parse().expect("a seed"));
    let second = plain.get(1).map_or("0.3", |s| s.as_str());
    let (train, test) = match second.parse::<f64>() {
        Ok(fraction) => {
            let parts = stratified_order(&whole.target, Parts::Fractions(&[1.0 - fraction, fraction]), seed)?;
            (whole.select(&parts[0]), whole.select(&parts[1]))
        }
        Err(_) => (whole, schema.read(Path::new(second), &ReadOptions::default())?.0),
    };
    let penalties = match plain.get(2).map_or("auto", |s| s.as_str()) {
        "auto" => Penalties::Auto,
        "shared" => Penalties::Shared,
        "per-group" => Penalties::PerGroup,
        "per-class" => Penalties::PerClass,
        _ => Penalties::PerFeature,
    };
    let options = TuneOptions {
        penalties,
        seed,
        intercept: !flag("--no-intercept"),
        standardize: !flag("--no-standardize"),
        ..TuneOptions::default()
    };
    let as_validation = flag("--validate");
    let (validation, test) = if as_validation { (Some(&test), None) } else { (None, Some(&test)) };
    let tuned = tune(&train, validation, test, &options, &mut Silent)?;
    println!(
        "{} n={} p={} {} {} loss={} {:.2}s {:.0} passes {}",
        train_path.file_name().unwrap_or_default().to_string_lossy(),
        train.rows(),
        train.features(),
        tuned.method,
        tuned.criterion,
        tuned.model.loss.name(),
        tuned.seconds,
        tuned.passes,
        tuned.status
    );
    let shared = tuned.candidates[1].test.map_or(f64::NAN, |t| t.loss);
    for c in &tuned.candidates {
        println!(
            "  {:<32} m={:<5} train {:<9.5} valid {:<9.5} monitor {:<9.5} ±{:<8.5} test {:<9.5} {:+.2}% {}",
            c.label(),
            c.hyperparameters,
            c.train.loss,
            c.validation.loss,
            c.monitor_loss.unwrap_or(f64::NAN),
            c.monitor_std_error.unwrap_or(f64::NAN),
            c.test.map_or(f64::NAN, |t| t.loss),
            100.0 * (c.test.map_or(f64::NAN, |t| t.loss) / shared - 1.0),
            if c.chosen { "<== chosen" } else { "" }
        );
    }
    Ok(())
}
