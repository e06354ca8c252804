//! How the tuning went: headline figures, candidates, curves.

use bilevel::problems::glm::Loss;
use bilevel::tune::{Candidate, CandidateRole, Ending, Law, Metrics, TraceRow, Tuned};

use super::charts::{COLOURS, Curve, curves, escape};
use super::page::{Tile, figure, paragraph, scrolling};
use crate::numbers;

/// One sentence that says what was done.
pub fn lead(tuned: &Tuned) -> String {
    let penalties = match tuned.chosen().hyperparameters {
        1 => "one penalty".into(),
        many => format!("{} penalties ({})", numbers::count(many), tuned.penalties.name()),
    };
    format!(
        "A {} model with {penalties}, tuned on {} and {} by {} hypergradients, judged by {}. Status: {}.",
        tuned.model.loss.name(),
        numbers::counted(tuned.rows, "row", "rows"),
        numbers::counted(tuned.features, "feature", "features"),
        tuned.method,
        tuned.criterion,
        tuned.status,
    )
}

/// The figures a reader looks for first.
pub fn headline(tuned: &Tuned) -> Vec<Tile> {
    let chosen = tuned.chosen();
    let (rows, figures): (&str, fn(&Candidate) -> Option<Metrics>) = match chosen.test {
        Some(_) => ("test", |candidate| candidate.test),
        None => ("validation", |candidate| Some(candidate.validation)),
    };
    let mut tiles = Vec::new();
    if let Some(own) = figures(chosen) {
        let against = |other: Option<&Candidate>, name: &str| {
            let other = figures(other?)?;
            // A share of a loss that may be negative says nothing.
            let change = match own.loss > 0.0 && other.loss > 0.0 {
                true => format!("{:+.2}%", 100.0 * (own.loss / other.loss - 1.0)),
                false => format!("{:+.5}", own.loss - other.loss),
            };
            Some(format!("{change} against {name}").replace('-', "−"))
        };
        let notes =
            [against(untuned_unless_chosen(tuned), "untuned"), against(shared_unless_chosen(tuned), "best shared")];
        let note = notes.into_iter().flatten().collect::<Vec<_>>().join(", ");
        tiles.push(Tile { name: format!("{rows} loss"), value: numbers::loss(own.loss), note });
        if let Some((name, value)) = own.headline() {
            let before = untuned_unless_chosen(tuned).and_then(figures).and_then(|m| m.headline());
            let format = if name == "accuracy" { numbers::percent } else { numbers::unit };
            let note = before.map_or(String::new(), |(_, before)| format!("{} untuned", format(before)));
            tiles.push(Tile { name: format!("{rows} {name}"), value: format(value), note });
        }
        if let Some(auc) = own.auc {
            let note = "area under the ROC curve".into();
            tiles.push(Tile { name: format!("{rows} AUC"), value: numbers::unit(auc), note });
        }
    }
    let hyperparameters = numbers::count(chosen.hyperparameters);
    tiles.push(Tile { name: "penalties".into(), value: hyperparameters, note: chosen.label() });
    let work = numbers::passes(tuned.passes);
    tiles.push(Tile { name: "tuning time".into(), value: numbers::seconds(tuned.seconds), note: work });
    tiles
}

fn untuned_unless_chosen(tuned: &Tuned) -> Option<&Candidate> {
    tuned.untuned().filter(|untuned| !untuned.chosen)
}

fn shared_unless_chosen(tuned: &Tuned) -> Option<&Candidate> {
    tuned.best_shared().filter(|shared| !shared.chosen)
}

/// The table of all candidates and why one of them was chosen.
pub fn candidates(tuned: &Tuned) -> String {
    let all = &tuned.candidates;
    let loss = |x: Option<f64>| numbers::loss_or_none(x);
    type Column<'a> = (&'a str, Box<dyn Fn(&Candidate) -> Option<String> + 'a>);
    let columns: Vec<Column<'_>> = vec![
        ("penalties", Box::new(|c| Some(numbers::count(c.hyperparameters)))),
        ("train loss", Box::new(|c| Some(loss(Some(c.train.loss))))),
        ("validation loss", Box::new(|c| Some(loss(Some(c.validation.loss))))),
        ("monitor loss", Box::new(|c| c.monitor_loss.map(|x| loss(Some(x))))),
        ("± of difference", Box::new(|c| c.monitor_std_error.filter(|&x| x > 0.0).map(numbers::short))),
        ("test loss", Box::new(|c| c.test.map(|m| loss(Some(m.loss))))),
        ("validation accuracy", Box::new(|c| c.validation.accuracy.map(numbers::percent))),
        ("test accuracy", Box::new(|c| c.test?.accuracy.map(numbers::percent))),
        ("test AUC", Box::new(|c| c.test?.auc.map(numbers::unit))),
        ("validation R²", Box::new(|c| c.validation.r2.map(numbers::unit))),
        ("test R²", Box::new(|c| c.test?.r2.map(numbers::unit))),
        ("test deviance explained", Box::new(|c| c.test?.deviance_explained.map(numbers::unit))),
    ];
    let shown: Vec<_> = columns.iter().filter(|(_, cell)| all.iter().any(|c| cell(c).is_some())).collect();
    let head: String = shown.iter().map(|(title, _)| format!("<th>{}</th>", escape(title))).collect();
    let mut rows = String::new();
    for candidate in all {
        let cells: String = (shown.iter())
            .map(|(_, cell)| format!("<td>{}</td>", escape(&cell(candidate).unwrap_or(numbers::NONE.into()))))
            .collect();
        let (class, mark) = if candidate.chosen { (" class=\"chosen\"", " (chosen)") } else { ("", "") };
        rows += &format!("<tr{class}><td>{}{mark}</td>{cells}</tr>\n", escape(&candidate.label()));
    }
    let table = format!("<table>\n<tr><th>candidate</th>{head}</tr>\n{rows}</table>\n");
    let mut text = paragraph(&choice(tuned)) + &scrolling(&table);
    text += "<p class=\"muted\">Validation rows steer the penalties";
    text += match all.iter().any(|c| c.monitor_loss.is_some()) {
        true => "; monitor rows do not, and decide between the candidates.",
        false => ".",
    };
    text += if all.iter().any(|c| c.test.is_some()) { " Test rows are only reported." } else { "" };
    text + " " + &escape(&meaning(tuned)) + "</p>\n"
}

/// What the names and the losses in the table of candidates mean, where they need saying; nothing else.
pub fn meaning(tuned: &Tuned) -> String {
    let has = |wanted: fn(&Law) -> bool| tuned.candidates.iter().any(|candidate| wanted(&candidate.law));
    let mut parts = Vec::new();
    if has(|law| matches!(law, Law::Relevance)) {
        parts.push(
            "By relevance: two numbers give all penalties, which are smaller where the fit with one shared penalty has larger \
             weights.",
        );
    }
    if has(|law| matches!(law, Law::Shrunk(_))) {
        parts.push(
            "Shrinkage S: log-penalties are pulled together, as if they scattered around their mean with the standard \
             deviation 1/√S (S = 4: a half).",
        );
    }
    if tuned.model.loss == Loss::Squared {
        parts.push("The squared loss is half the mean square.");
    }
    parts.join(" ")
}

/// Why the chosen candidate was chosen, from the figures alone.
pub fn choice(tuned: &Tuned) -> String {
    let chosen = tuned.chosen();
    let label = chosen.label();
    if chosen.role == CandidateRole::Untuned {
        return "Chosen: the usual penalty. The time was over before better ones were found.".into();
    }
    let contenders = tuned.candidates.iter().filter(|c| c.role == CandidateRole::Tuned).count();
    let cut_short = matches!(tuned.status, Ending::TimeLimit | Ending::Interrupted);
    if contenders == 1 && cut_short {
        return format!("Chosen: {label}, the one kind that was tuned before the run was cut short.");
    }
    let Some(shared) = tuned.best_shared().filter(|_| contenders > 1) else {
        return format!("The penalties were tuned as asked: {label}.");
    };
    let Some(monitor_loss) = chosen.monitor_loss else {
        if shared.chosen {
            return "Chosen: one shared penalty. The others were not compared with it on rows that did not steer them."
                .into();
        }
        return format!(
            "The penalties were tuned as asked: {label}. On the validation rows the loss is {} against {} for the best \
             shared penalty; these rows steered both, and flatter the one with more penalties.",
            numbers::loss(chosen.validation.loss),
            numbers::loss(shared.validation.loss),
        );
    };
    let judged = |candidate: &Candidate| candidate.monitor_loss.unwrap_or(f64::INFINITY);
    let rows = "rows that did not steer the tuning";
    if !shared.chosen {
        let error = chosen.monitor_std_error.filter(|&e| e > 0.0).map_or(String::new(), |error| {
            format!(", a difference of {} ± {}", numbers::short(monitor_loss - judged(shared)), numbers::short(error))
        });
        return format!(
            "Chosen: {label}. On {rows} its loss is {} against {} for the best shared penalty{error}.",
            numbers::loss(monitor_loss),
            numbers::loss(judged(shared)),
        )
        .replace(" -", " −");
    }
    let best_other = (tuned.candidates.iter().filter(|c| c.role == CandidateRole::Tuned && !c.chosen))
        .min_by(|a, b| judged(a).total_cmp(&judged(b)));
    match best_other {
        Some(other) => format!(
            "Chosen: one shared penalty. No finer candidate was clearly better on {rows}: the best of \
             them ({}) has a loss of {} there, the shared penalty {}.",
            other.label(),
            numbers::loss(judged(other)),
            numbers::loss(judged(shared)),
        ),
        None => format!("The penalties were tuned as asked: {label}."),
    }
}

/// The rows of the trace by candidate. A candidate that was tuned on several parts of the data and then on all of it
/// is shown by the last.
fn last_runs(trace: &[TraceRow]) -> Vec<&[TraceRow]> {
    let same = |a: &TraceRow, b: &TraceRow| a.label() == b.label() && b.iteration > a.iteration;
    let mut runs: Vec<&[TraceRow]> = Vec::new();
    for run in trace.chunk_by(same) {
        runs.retain(|earlier| earlier[0].label() != run[0].label());
        runs.push(run);
    }
    runs
}

/// Losses against iterations, one colour a candidate, in the order in which they were tuned.
pub fn progress(tuned: &Tuned) -> String {
    if tuned.trace.is_empty() {
        return String::new();
    }
    let mut lines = Vec::new();
    let mut legend = String::new();
    let mut at = 0;
    for (index, run) in last_runs(&tuned.trace).into_iter().enumerate() {
        let label = run[0].label();
        let class = format!("c{}", index % COLOURS);
        legend += &format!("<li><i class=\"{class}\"></i>{}</li>\n", escape(&label));
        let points =
            |y: fn(&TraceRow) -> f64| run.iter().enumerate().map(|(i, row)| ((at + i) as f64, y(row))).collect();
        let (training, validation) = (points(|row| row.train_loss), points(|row| row.validation_loss));
        lines.push(Curve { class: format!("{class} dashed"), name: format!("{label}: training"), points: training });
        lines.push(Curve { class, name: format!("{label}: validation"), points: validation });
        at += run.len();
    }
    legend += "<li><i class=\"dashed muted\"></i>training rows</li>\n";
    let chart = curves("Losses against iterations", "step of the penalties", "mean loss", &lines);
    let chart = format!("{chart}<ul class=\"legend\">\n{legend}</ul>\n");
    let caption = "Each step moves all penalties of one candidate; the next candidate starts where a coarser one ended. \
                   Solid: rows that steer the tuning. Values far above the rest are cut off.";
    super::page::side_by_side(&[figure("Loss while tuning", &chart, caption)])
}

/// Remarks of the tuning.
pub fn notes(tuned: &Tuned) -> String {
    if tuned.notes.is_empty() {
        return String::new();
    }
    let items: String = tuned.notes.iter().map(|note| format!("<li>{}</li>\n", escape(note))).collect();
    format!("<ul class=\"notes\">\n{items}</ul>\n")
}
