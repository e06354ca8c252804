//! Summaries as figures and tables.

use bilevel::study::{CurveKind, CurveSummary, Floor, Point, Slope};

use crate::numbers;
use crate::report::charts::{Band, COLOURS, escape, legend, log_log, standalone};
use crate::report::page::{figure, scrolling};
use crate::table::TextTable;

/// Errors of the batch methods are shown down to this fraction of the least of the sampled ones.
const BELOW: f64 = 1e-2;
/// A floor is one only where the error neither falls nor grows any more.
const FLAT: f64 = 0.2;

/// A horizontal axis.
pub struct Against {
    pub name: &'static str,
    title: &'static str,
    of: fn(&Point) -> f64,
}

pub const AXES: [Against; 3] = [
    Against { name: "epochs", title: "epochs (samples / rows)", of: |p| p.epochs },
    Against { name: "samples", title: "samples", of: |p| p.samples },
    Against { name: "seconds", title: "seconds", of: |p| p.seconds },
];

/// The curves against one cost: the chart, and what it shows.
pub fn chart(summaries: &[CurveSummary], against: &Against) -> (String, Vec<Band>) {
    let mut next = 0;
    let bands: Vec<Band> = summaries
        .iter()
        .map(|summary| {
            let class = format!("c{}{}", next % COLOURS, if summary.kind.is_sampled() { "" } else { " dashed" });
            next += 1;
            let points = summary.points.iter().map(|p| [(against.of)(p), p.relative_mse, p.low, p.high]).collect();
            Band { class, name: summary.label(), points }
        })
        .collect();
    let sampled = summaries.iter().filter(|summary| summary.kind.is_sampled());
    let least = sampled.flat_map(|s| s.points.iter().map(|p| p.relative_mse)).fold(f64::INFINITY, f64::min);
    let from = if least.is_finite() { Some(BELOW * least) } else { None };
    let description = format!("Relative squared error against {}", against.name);
    (log_log(&description, against.title, "relative squared error", &bands, from), bands)
}

fn keys(bands: &[Band]) -> Vec<(&str, &str)> {
    bands.iter().map(|band| (band.class.as_str(), band.name.as_str())).collect()
}

/// All three charts for a page.
pub fn figures(summaries: &[CurveSummary]) -> String {
    let caption = "Mean over replicates of |estimate - exact|² / |exact|²; the band holds four fifths of the replicates. \
                   Both solves make as many steps, t = k.";
    AXES.iter()
        .map(|against| {
            let (chart, bands) = chart(summaries, against);
            let chart = format!("{chart}{}", legend(&keys(&bands)));
            figure(&format!("Error against {}", against.name), &chart, caption)
        })
        .collect()
}

/// The same as files: `NAME-epochs.svg` and so on.
pub fn files(summaries: &[CurveSummary], name: &str, title: &str) -> Vec<(String, String)> {
    let file = |against: &Against| {
        let (chart, bands) = chart(summaries, against);
        (format!("{name}-{}.svg", against.name), standalone(&chart, title, &keys(&bands)))
    };
    AXES.iter().map(file).collect()
}

/// The level on which a curve of constant steps ends: one that still falls has none, nor has one that grows.
fn floor(summary: &CurveSummary) -> Option<Floor> {
    summary.floor.filter(|floor| summary.kind == CurveKind::SidConstant && floor.slope.abs() < FLAT)
}

/// What is known of each curve, a row a curve.
fn rows(summaries: &[CurveSummary]) -> Vec<Vec<String>> {
    let row = |s: &CurveSummary| {
        let last = s.points.last();
        vec![
            s.label(),
            numbers::count(s.replicates),
            slope(s.slope),
            slope_range(s.slope),
            floor(s).map_or(numbers::NONE.into(), |floor| with_error(floor.value, floor.std_error)),
            last.map_or(String::new(), |p| numbers::short(p.relative_mse)),
            last.map_or(String::new(), |p| numbers::short(p.epochs)),
            last.map_or(String::new(), |p| numbers::seconds(p.seconds)),
        ]
    };
    summaries.iter().map(row).collect()
}

const HEADINGS: [&str; 8] = ["curve", "replicates", "slope", "over t", "floor", "last error", "epochs", "time"];

/// The table for the terminal.
pub fn text_table(summaries: &[CurveSummary]) -> String {
    let mut table = TextTable::new(HEADINGS);
    rows(summaries).into_iter().for_each(|row| table.row(row));
    table.render() + &ratio_lines(summaries).iter().map(|line| format!("{line}\n")).collect::<String>()
}

/// The table for a page.
pub fn table(summaries: &[CurveSummary]) -> String {
    let cells = |cells: &[String], tag: &str| -> String {
        cells.iter().map(|cell| format!("<{tag}>{}</{tag}>", escape(cell))).collect()
    };
    let head = cells(&HEADINGS.map(String::from), "th");
    let body: String = rows(summaries).iter().map(|row| format!("<tr>{}</tr>\n", cells(row, "td"))).collect();
    let ratios: String = ratio_lines(summaries).iter().map(|line| format!("<p>{}</p>\n", escape(line))).collect();
    let note = "<p class=\"muted\">Slope: exponent of t in the mean squared error over the last two decades. Floor: mean \
                relative squared error over the last decade, where it no longer falls (constant steps). With standard \
                errors over replicates.</p>\n";
    scrolling(&format!("<table>\n<tr>{head}</tr>\n{body}</table>\n")) + &ratios + note
}

/// The floors of two different constant steps: `eta` of both, ratio of the floors, its standard error where both have one.
pub fn floor_ratios(summaries: &[CurveSummary]) -> Vec<(f64, f64, f64, f64)> {
    let reached: Vec<(f64, Floor)> = summaries.iter().filter_map(|s| Some((s.eta?, floor(s)?))).collect();
    let relative = |floor: &Floor| floor.std_error.unwrap_or(f64::NAN) / floor.value;
    let ratio = |pair: &[(f64, Floor)]| {
        let [(long, a), (short, b)] = [pair[0], pair[1]];
        let ratio = a.value / b.value;
        (long, short, ratio, ratio * relative(&a).hypot(relative(&b)))
    };
    reached.windows(2).filter(|pair| pair[0].0 != pair[1].0).map(ratio).collect()
}

fn ratio_lines(summaries: &[CurveSummary]) -> Vec<String> {
    let line = |(long, short, ratio, error): (f64, f64, f64, f64)| {
        let error = if error.is_finite() { format!(" ± {error:.2}") } else { String::new() };
        let [by, long, short] = [long / short, long, short].map(numbers::short);
        format!("floor of eta = {long} over floor of eta = {short}: {ratio:.2}{error} (steps {by} times as long)")
    };
    floor_ratios(summaries).into_iter().map(line).collect()
}

fn slope(slope: Option<Slope>) -> String {
    slope.map_or(numbers::NONE.into(), |slope| match slope.std_error {
        Some(error) => format!("{:.3} ± {error:.3}", slope.value).replace('-', "−"),
        None => format!("{:.3}", slope.value).replace('-', "−"),
    })
}

fn slope_range(slope: Option<Slope>) -> String {
    slope.map_or(String::new(), |slope| {
        format!("{} to {}", numbers::count(slope.range.0), numbers::count(slope.range.1))
    })
}

fn with_error(value: f64, error: Option<f64>) -> String {
    match error {
        Some(error) => format!("{} ± {:.0}%", numbers::short(value), 100.0 * error / value),
        None => numbers::short(value),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn floors_are_compared_as_the_table_shows_them() {
        let curve = |kind, eta, slope| CurveSummary {
            kind,
            eta: Some(eta),
            replicates: 3,
            points: Vec::new(),
            slope: None,
            floor: Some(Floor { value: eta, std_error: None, slope }),
        };
        let summaries = [
            curve(CurveKind::SidConstant, 0.4, 0.5),
            curve(CurveKind::SidConstant, 0.2, 0.01),
            curve(CurveKind::SidConstant, 0.1, -0.02),
            curve(CurveKind::SidConstant, 0.05, -0.6),
            curve(CurveKind::SidSvrg, 0.2, 0.0),
            curve(CurveKind::SidAveraged, 0.1, 0.0),
        ];
        let ratios = floor_ratios(&summaries);
        assert!(matches!(ratios[..], [(0.2, 0.1, 2.0, _)]), "{ratios:?}");
        let shown: Vec<bool> = rows(&summaries).iter().map(|row| row[4] != numbers::NONE).collect();
        assert_eq!(shown, [false, true, true, false, false, false]);
    }
}
