//! Predictions set against the truth.

use bilevel::tune::{Candidate, Confusion, Diagnostics, Residuals};

use super::charts::{calibration, cell, clip_apart, clip_middle, histogram, scatter};
use super::page::{figure, paragraph, scrolling, side_by_side};
use crate::numbers;

/// Classes up to which the whole confusion matrix is shown.
const WHOLE_MATRIX: usize = 30;
/// Pairs of confused classes listed where the matrix is too large.
const SHOWN_PAIRS: usize = 20;

/// What rows had to do with the model that predicts them.
fn part_in_the_tuning(judged: usize, chosen: &Candidate) -> String {
    let rows = numbers::counted(judged, "row", "rows");
    match (chosen.test, chosen.steered()) {
        (Some(_), _) => format!("{rows} that took no part in the tuning."),
        (None, 0) => format!("{rows}, each predicted by a fit that had not seen it."),
        (None, _) if !chosen.is_flattered_by(judged) => format!(
            "{rows}, each predicted by a fit without it. They judged the penalties, which flatters these figures a little; \
             test rows (--test) do not."
        ),
        (None, penalties) => format!(
            "{rows}, each predicted by a fit without it. But they chose {} penalties, so that these figures flatter the model; \
             test rows (--test) do not.",
            numbers::count(penalties)
        ),
    }
}

/// Calibration, residuals and confusions of the chosen candidate, whatever applies.
pub fn predictions(diagnostics: &Diagnostics, chosen: &Candidate, classes: &[String]) -> String {
    let mut text = paragraph(&part_in_the_tuning(diagnostics.rows, chosen));
    let mut figures = Vec::new();
    if let Some(found) = &diagnostics.calibration {
        let event = match (found.of_class_one, classes) {
            (true, [_, positive]) => positive.clone(),
            (true, _) => "class 1".into(),
            (false, _) => "the predicted class".into(),
        };
        let caption = format!(
            "On the dotted line predicted probabilities are right; bars are two standard errors. Mean distance: {}.",
            numbers::unit(found.error)
        );
        figures.push(figure("Calibration", &calibration(found, &clip_middle(&event, 30)), &caption));
    }
    if let Some(found) = &diagnostics.residuals {
        figures.extend(residuals(found, diagnostics.rows));
    }
    text += &side_by_side(&figures);
    if let Some(found) = &diagnostics.confusion {
        text += &confusion_of(found, classes, ("true", "predicted", "right"));
    }
    text
}

fn residuals(found: &Residuals, rows: usize) -> [String; 2] {
    let shown = match found.shown.len() < rows {
        true => format!("{} of the rows, drawn at random.", numbers::count(found.shown.len())),
        false => String::new(),
    };
    let caption = format!(
        "Mean absolute residual {}, root mean square {}; the outer bars hold the tails.",
        numbers::short(found.mean_absolute),
        numbers::short(found.root_mean_square)
    );
    [
        figure(
            "Observed against predicted",
            &scatter("Observed against predicted values", "predicted", "observed", &found.shown),
            &shown,
        ),
        figure(
            "Residuals",
            &histogram("Histogram of residuals", "observed − predicted", found.from, found.width, &found.counts),
            &caption,
        ),
    ]
}

/// How often each class was taken for each; `names` are those of rows, columns and diagonal.
pub fn confusion_of(found: &Confusion, classes: &[String], names: (&str, &str, &str)) -> String {
    let (rows, columns, diagonal) = names;
    let name = |class: usize| classes.get(class).cloned().unwrap_or_else(|| class.to_string());
    let all: Vec<String> = (0..found.classes).map(name).collect();
    if found.classes > WHOLE_MATRIX {
        return confused_pairs(found, &all);
    }
    let head: String =
        clip_apart(&all, 16).iter().zip(&all).map(|(shown, name)| cell("th", None, shown, name)).collect();
    let beside = clip_apart(&all, 24);
    let mut table = format!(
        "<table class=\"confusion\">\n<tr><th></th><th colspan=\"{}\">{columns}</th><th></th></tr>\n\
         <tr><th class=\"row\">{rows}</th>{head}<th>{diagonal}</th></tr>\n",
        found.classes
    );
    for truth in 0..found.classes {
        let rows = found.rows_of(truth).max(1) as f64;
        let cells: String = (0..found.classes)
            .map(|predicted| {
                let count = found.count(truth, predicted);
                let share = count as f64 / rows;
                let colour = if truth == predicted { "--heat" } else { "--wrong" };
                format!(
                    "<td style=\"background: rgba(var({colour}), {:.2})\">{}</td>",
                    0.55 * share.sqrt(),
                    numbers::count(count as usize)
                )
            })
            .collect();
        table += &format!(
            "<tr>{}{cells}<td class=\"share\">{}</td></tr>\n",
            cell("th", Some("row"), &beside[truth], &all[truth]),
            numbers::percent(found.count(truth, truth) as f64 / rows)
        );
    }
    table += "</table>\n";
    format!("<h3 style=\"margin-top:1.6rem\">Confusion matrix</h3>\n{}", scrolling(&table))
}

fn confused_pairs(found: &Confusion, names: &[String]) -> String {
    let shown = clip_apart(names, 40);
    let mut pairs: Vec<(u64, usize, usize)> = (0..found.classes)
        .flat_map(|truth| (0..found.classes).map(move |predicted| (truth, predicted)))
        .filter(|(truth, predicted)| truth != predicted)
        .map(|(truth, predicted)| (found.count(truth, predicted), truth, predicted))
        .filter(|pair| pair.0 > 0)
        .collect();
    pairs.sort_by(|a, b| b.cmp(a));
    let mut table =
        String::from("<table>\n<tr><th>true class</th><th>taken for</th><th>rows</th><th>share</th></tr>\n");
    for &(count, truth, predicted) in pairs.iter().take(SHOWN_PAIRS) {
        table += &format!(
            "<tr>{}{}<td>{}</td><td>{}</td></tr>\n",
            cell("td", None, &shown[truth], &names[truth]),
            cell("td", None, &shown[predicted], &names[predicted]),
            numbers::count(count as usize),
            numbers::percent(count as f64 / found.rows_of(truth) as f64)
        );
    }
    table += "</table>\n";
    format!("<h3 style=\"margin-top:1.6rem\">Classes taken for others most often</h3>\n{}", scrolling(&table))
}
