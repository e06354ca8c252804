//! What the tuning found: penalties and weights.

use std::f64::consts::LN_10;

use bilevel::data::Groups;
use bilevel::tune::{Penalties, StrongWeight, Tuned, penalties_by_group};

use super::charts::{Bar, LABEL, Range, bars, cell, clip_middle, clip_pair, escape, ranges};
use super::page::{figure, paragraph, scrolling, side_by_side};
use crate::numbers;

/// Rows of a chart of the largest or smallest.
const SHOWN: usize = 15;
/// Groups shown in one chart.
const SHOWN_GROUPS: usize = 30;

/// The penalties: all when they are few, else the smallest, the largest, and by group.
pub fn penalties(tuned: &Tuned, groups: &Groups) -> String {
    let lambda = &tuned.lambda;
    if lambda.is_empty() {
        return String::new();
    }
    if let [lambda] = lambda[..] {
        let text = format!("One penalty of {} on the square of every weight.", numbers::short(lambda.exp()));
        return paragraph(&text);
    }
    let (smallest, largest) = lambda.iter().fold((f64::INFINITY, f64::NEG_INFINITY), |(a, b), &x| (a.min(x), b.max(x)));
    let intro = paragraph(&format!(
        "{} penalties between {} and {} (geometric mean {}). A small penalty lets the weights be as large as the data \
         ask for; a large one switches them off.",
        numbers::count(lambda.len()),
        numbers::short(smallest.exp()),
        numbers::short(largest.exp()),
        numbers::short((lambda.iter().sum::<f64>() / lambda.len() as f64).exp()),
    ));
    let mut order: Vec<usize> = (0..lambda.len()).collect();
    order.sort_by(|&a, &b| lambda[a].total_cmp(&lambda[b]));
    let mut figures = Vec::new();
    if tuned.penalties == Penalties::PerFeature && groups.len() > 1 && !groups.are_singletons() {
        figures.push(by_group(lambda, groups));
    }
    if order.len() <= 2 * SHOWN {
        figures.push(ranked("Penalty of each", tuned, &order));
    } else {
        figures.push(ranked("Smallest penalties", tuned, &order[..SHOWN]));
        order.reverse();
        figures.push(ranked("Largest penalties", tuned, &order[..SHOWN]));
    }
    intro + &side_by_side(&figures)
}

fn ranked(title: &str, tuned: &Tuned, which: &[usize]) -> String {
    let rows: Vec<Range> = (which.iter())
        .map(|&j| {
            let power = tuned.lambda[j] / LN_10;
            let name = tuned.lambda_names.get(j).cloned().unwrap_or_default();
            Range { name, min: power, middle: power, max: power, note: String::new() }
        })
        .collect();
    figure(title, &ranges(title, "penalty", &rows), "")
}

fn by_group(lambda: &[f64], groups: &Groups) -> String {
    let mut found = penalties_by_group(lambda, groups);
    let all = found.len();
    found.sort_by(|a, b| a.median.total_cmp(&b.median));
    found.truncate(SHOWN_GROUPS);
    let rows: Vec<Range> = (found.iter())
        .map(|group| Range {
            name: group.name.clone(),
            min: group.min / LN_10,
            middle: group.median / LN_10,
            max: group.max / LN_10,
            note: format!(
                " ({} to {}, {})",
                numbers::short(group.min.exp()),
                numbers::short(group.max.exp()),
                numbers::counted(group.features, "feature", "features")
            ),
        })
        .collect();
    let caption = match all > SHOWN_GROUPS {
        true => format!("Smallest, median and largest in each group; {SHOWN_GROUPS} of {all} groups."),
        false => "Smallest, median and largest penalty among the features of each group.".into(),
    };
    figure("By group", &ranges("Penalties by group", "penalty", &rows), &caption)
}

/// The weights that matter most.
pub fn weights(tuned: &Tuned, strongest: &[StrongWeight], features: &[String], classes: &[String]) -> String {
    if strongest.is_empty() {
        return paragraph("All weights are zero: the model predicts from its intercept alone.");
    }
    let model = &tuned.model;
    // The whole name, and what fits into so many characters.
    let name = |weight: &StrongWeight, length: usize| {
        let feature = features.get(weight.feature).map_or("?", String::as_str);
        match classes.get(weight.output) {
            Some(class) if model.outputs > 1 => (format!("{feature} → {class}"), clip_pair(feature, class, length)),
            _ => (feature.to_string(), clip_middle(feature, length)),
        }
    };
    let rows: Vec<Bar> = (strongest.iter().take(2 * SHOWN))
        .map(|weight| (name(weight, LABEL), weight))
        .map(|((name, label), weight)| Bar {
            name,
            label,
            value: weight.per_deviation,
            note: format!(" (weight {})", numbers::short(weight.weight)),
        })
        .collect();
    let title = "Strongest weights";
    let chart =
        figure(title, &bars(title, "change of the margin per standard deviation", &rows), &direction(tuned, classes));
    let mut table = String::from("<table>\n<tr><th>feature</th><th>weight</th><th>per std. dev.</th></tr>\n");
    for weight in strongest.iter().take(2 * SHOWN) {
        let (name, shown) = name(weight, 60);
        table += &format!(
            "<tr>{}<td>{}</td><td>{}</td></tr>\n",
            cell("td", None, &shown, &name),
            numbers::short(weight.weight).replace('-', "−"),
            numbers::short(weight.per_deviation).replace('-', "−"),
        );
    }
    for (output, intercept) in model.intercept.iter().enumerate().take(2 * SHOWN) {
        let of = classes.get(output).filter(|_| model.outputs > 1).map_or(String::new(), |class| format!(" → {class}"));
        let value = numbers::short(*intercept).replace('-', "−");
        table += &format!("<tr><td>(intercept){}</td><td>{value}</td><td></td></tr>\n", escape(&of));
    }
    table += "</table>\n";
    let values =
        format!("<details>\n<summary>Values, in the units of the file</summary>\n{}</details>\n", scrolling(&table));
    side_by_side(&[chart]) + &values
}

fn direction(tuned: &Tuned, classes: &[String]) -> String {
    match classes {
        [_, positive] if tuned.model.outputs == 1 => format!("To the right: speaks for {positive}."),
        [_, _, ..] => "To the right: speaks for the class named after the arrow.".into(),
        _ => "To the right: a larger value is predicted.".into(),
    }
}
