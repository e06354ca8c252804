//! Runs as tables and curves.

use bilevel::race::{Cost, End, Entry};

use crate::numbers;
use crate::report::charts::{Band, COLOURS, escape, legend, log_log, standalone};
use crate::report::page::{figure, scrolling};
use crate::table::TextTable;

/// Differences below this part of the best value are rounding.
const ROUNDING: f64 = 1e-11;

/// A horizontal axis.
struct Against {
    name: &'static str,
    of: fn(&Cost) -> f64,
}

const AXES: [Against; 2] = [
    Against { name: "seconds", of: |cost| cost.seconds },
    Against { name: "samples", of: |cost| cost.work.rows as f64 },
];

/// The least value at any checkpoint.
fn best(entries: &[Entry]) -> f64 {
    let values = entries.iter().flat_map(|entry| entry.curve.iter().map(|point| point.judgement.value));
    values.fold(f64::INFINITY, f64::min)
}

/// The curves against one cost, colours by algorithm: the chart, and what it shows.
fn chart(entries: &[Entry], against: &Against) -> (String, Vec<(String, String)>) {
    let best = best(entries);
    let floor = ROUNDING * best.abs().max(f64::MIN_POSITIVE);
    let mut keys: Vec<(String, String)> = Vec::new();
    let mut bands = Vec::new();
    for entry in entries {
        let algorithm = entry.contestant.algorithm;
        let at = algorithm.number();
        let class = format!("c{}{}", at % COLOURS, if at < COLOURS { "" } else { " dashed" });
        let name = algorithm.to_string();
        let point = |x: f64, y: f64| if x > 0.0 && y > floor { Some([x, y, y, y]) } else { None };
        let points =
            entry.curve.iter().filter_map(|p| point((against.of)(&p.cost), p.judgement.value - best)).collect();
        if keys.iter().all(|(_, known)| *known != name) {
            keys.push((class.clone(), name.clone()));
        }
        bands.push(Band { class, name, points });
    }
    let description = format!("Value above the best against {}", against.name);
    (log_log(&description, against.name, "value − best value", &bands, None), keys)
}

fn borrowed(keys: &[(String, String)]) -> Vec<(&str, &str)> {
    keys.iter().map(|(class, name)| (class.as_str(), name.as_str())).collect()
}

/// Both charts for a page.
pub fn figures(entries: &[Entry]) -> String {
    let caption = "f(λ) at the iterate, found exactly outside the clock, above the least that was seen in any run.";
    let one = |against: &Against| {
        let (chart, keys) = chart(entries, against);
        let chart = format!("{chart}{}", legend(&borrowed(&keys)));
        figure(&format!("Value against {}", against.name), &chart, caption)
    };
    AXES.iter().map(one).collect()
}

/// The same as files: `race-seconds.svg` and `race-samples.svg`.
pub fn files(entries: &[Entry], title: &str) -> Vec<(String, String)> {
    let one = |against: &Against| {
        let (chart, keys) = chart(entries, against);
        (format!("race-{}.svg", against.name), standalone(&chart, title, &borrowed(&keys)))
    };
    AXES.iter().map(one).collect()
}

const HEADINGS: [&str; 15] = [
    "algorithm",
    "end",
    "seed",
    "value",
    "|∇f|²",
    "|w − w(λ)|²",
    "iterations",
    "a second",
    "time",
    "steps w, v, λ",
    "choosing steps",
    "samples",
    "gradients",
    "Hessian",
    "cross",
];

/// A row for each run, the lowest value first.
fn rows(entries: &[Entry]) -> Vec<Vec<String>> {
    let mut sorted: Vec<&Entry> = entries.iter().collect();
    sorted.sort_by(|a, b| a.value().total_cmp(&b.value()));
    sorted.into_iter().map(row).collect()
}

fn row(entry: &Entry) -> Vec<String> {
    let contestant = &entry.contestant;
    let end = match entry.end {
        End::Finished => "finished",
        End::AboveStart => "above its start",
        End::Diverged => "diverged",
    };
    let steps = <[f64; 3]>::from(contestant.steps).map(numbers::short).join(", ");
    let choosing = numbers::seconds(entry.screening_seconds);
    let mut cells = vec![contestant.algorithm.to_string(), end.into(), contestant.seed.to_string()];
    match entry.curve.last() {
        Some(point) => {
            let (cost, judged, work) = (point.cost, point.judgement, point.cost.work);
            let rate = cost.iterations as f64 / cost.seconds;
            cells.push(numbers::loss(entry.value()));
            cells.extend([judged.gradient_squared, judged.distance_squared].map(numbers::short));
            cells.push(numbers::count(cost.iterations));
            cells.push(if rate.is_finite() { numbers::count(rate.round() as usize) } else { numbers::NONE.into() });
            cells.extend([numbers::seconds(cost.seconds), steps, choosing]);
            let counts = [work.rows, work.gradients, work.hessian_products, work.cross_products];
            cells.extend(counts.map(|count| numbers::count(count as usize)));
        }
        None => {
            cells.extend([numbers::NONE; 6].map(String::from));
            cells.extend([steps, choosing]);
            cells.extend([numbers::NONE; 4].map(String::from));
        }
    }
    cells
}

/// The table for the terminal.
pub fn text_table(entries: &[Entry]) -> String {
    let mut table = TextTable::new(HEADINGS);
    rows(entries).into_iter().for_each(|row| table.row(row));
    table.render()
}

/// The table for a page.
pub fn table(entries: &[Entry]) -> String {
    let cells = |cells: &[String], tag: &str| -> String {
        cells.iter().map(|cell| format!("<{tag}>{}</{tag}>", escape(cell))).collect()
    };
    let head = cells(&HEADINGS.map(String::from), "th");
    let body: String = rows(entries).iter().map(|row| format!("<tr>{}</tr>\n", cells(row, "td"))).collect();
    let note = "<p class=\"muted\">Samples are rows visited; gradients, Hessian and cross products are rows visited for each \
                of these. All figures are those of the last checkpoint.</p>\n";
    scrolling(&format!("<table>\n<tr>{head}</tr>\n{body}</table>\n")) + note
}
