//! The profile of several races: who solves which share of the problems within a factor of the best.
//!
//! ```sh
//! cargo run --release --example profile -- docs/pictures/race-profile.svg 0.01 races/*/race.json
//! ```

use std::error::Error;
use std::fmt::Write;

use bilevel::algorithms::Algorithm;
use bilevel::race::{Entry, Profile};
use serde::Deserialize;

#[derive(Deserialize)]
struct Race {
    runs: Vec<Entry>,
}

/// Largest factor shown.
const WIDEST: f64 = 100.0;
const SIZE: [f64; 2] = [640.0, 360.0];
const MARGINS: [f64; 4] = [50.0, 110.0, 20.0, 45.0];
const COLOURS: [&str; 9] =
    ["#0b6e4f", "#1f77b4", "#d62728", "#ff7f0e", "#9467bd", "#8c564b", "#e377c2", "#7f7f7f", "#bcbd22"];

fn main() -> Result<(), Box<dyn Error>> {
    let mut args = std::env::args().skip(1);
    let usage = "usage: profile OUT.svg TOLERANCE race.json...";
    let (out, tolerance) = (args.next().ok_or(usage)?, args.next().ok_or(usage)?.parse()?);
    let mut profile = Profile::default();
    for path in args {
        let race: Race = serde_json::from_str(&std::fs::read_to_string(&path)?)?;
        profile.add(&race.runs, tolerance);
    }
    let mut order: Vec<Algorithm> = profile.algorithms().collect();
    // By the area under the curve, which says more than any one point of it.
    let area =
        |algorithm: Algorithm| -> f64 { (0..200).map(|i| profile.share(algorithm, factor_at(i as f64 / 199.0))).sum() };
    order.sort_by(|a, b| area(*b).total_cmp(&area(*a)));
    println!("{} problems, tolerance {tolerance}", profile.problems());
    println!("{:10} {:>6} {:>6} {:>6} {:>6}", "algorithm", "1", "2", "10", "ever");
    for &algorithm in &order {
        let shares = [1.0, 2.0, 10.0, f64::MAX].map(|factor| profile.share(algorithm, factor));
        println!("{:10} {:6.2} {:6.2} {:6.2} {:6.2}", algorithm.name(), shares[0], shares[1], shares[2], shares[3]);
    }
    std::fs::write(out, picture(&profile, &order))?;
    Ok(())
}

fn factor_at(part: f64) -> f64 {
    WIDEST.powf(part)
}

fn picture(profile: &Profile, order: &[Algorithm]) -> String {
    let [left, right, top, bottom] = MARGINS;
    let [width, height] = SIZE;
    let x = |part: f64| left + part * (width - left - right);
    let y = |share: f64| height - bottom - share * (height - top - bottom);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" font-family=\"sans-serif\" font-size=\"12\">\n\
         <rect width=\"{width}\" height=\"{height}\" fill=\"white\"/>\n"
    );
    for share in [0.0, 0.25, 0.5, 0.75, 1.0] {
        let at = y(share);
        let _ = writeln!(svg, "<path d=\"M{left} {at:.1}H{:.1}\" stroke=\"#ddd\"/>", x(1.0));
        let _ = writeln!(svg, "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{share}</text>", left - 6.0, at + 4.0);
    }
    for factor in [1.0_f64, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0] {
        let at = x(factor.ln() / WIDEST.ln());
        let _ = writeln!(
            svg,
            "<text x=\"{at:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{factor}</text>",
            height - bottom + 18.0
        );
    }
    let _ = writeln!(
        svg,
        "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">samples, as a multiple of those of the best</text>",
        x(0.5),
        height - 8.0
    );
    for (rank, &algorithm) in order.iter().enumerate() {
        let colour = COLOURS[rank % COLOURS.len()];
        let dashes = if rank < COLOURS.len() { "" } else { " stroke-dasharray=\"4 3\"" };
        let mut path = format!("M{:.1} {:.1}", x(0.0), y(profile.share(algorithm, 1.0)));
        let mut ratios: Vec<f64> = profile.ratios(algorithm).iter().copied().filter(|ratio| *ratio <= WIDEST).collect();
        ratios.sort_by(f64::total_cmp);
        for ratio in ratios {
            let _ = write!(path, "H{:.1}V{:.1}", x(ratio.ln() / WIDEST.ln()), y(profile.share(algorithm, ratio)));
        }
        let _ = write!(path, "H{:.1}", x(1.0));
        let thick = if algorithm == Algorithm::Auto { 3.0 } else { 1.5 };
        let _ =
            writeln!(svg, "<path d=\"{path}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"{thick}\"{dashes}/>");
        let at = top + 12.0 + 15.0 * rank as f64;
        let _ = writeln!(
            svg,
            "<path d=\"M{:.1} {:.1}h16\" stroke=\"{colour}\" stroke-width=\"{thick}\"{dashes}/><text x=\"{:.1}\" y=\"{at:.1}\">{}</text>",
            width - right + 8.0,
            at - 4.0,
            width - right + 30.0,
            algorithm.name()
        );
    }
    svg + "</svg>\n"
}
