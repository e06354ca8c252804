//! What the terminal shows when the tuning is done.

use bilevel::tune::{Candidate, Metrics, Tuned};

use crate::numbers;
use crate::report::{choice, meaning};
use crate::table::TextTable;

/// A figure of a candidate, as it is written.
type Written = Box<dyn Fn(&Candidate) -> Option<String>>;

/// Figures of a candidate, one a line.
fn figures() -> Vec<(&'static str, Written)> {
    fn test(figure: fn(&Metrics) -> Option<f64>, write: fn(f64) -> String) -> Written {
        Box::new(move |c| c.test.as_ref().and_then(figure).map(write))
    }
    fn validation(figure: fn(&Metrics) -> Option<f64>, write: fn(f64) -> String) -> Written {
        Box::new(move |c| figure(&c.validation).map(write))
    }
    vec![
        ("penalties", Box::new(|c| Some(numbers::count(c.hyperparameters)))),
        ("train loss", Box::new(|c| Some(numbers::loss(c.train.loss)))),
        ("validation loss", validation(|m| Some(m.loss), numbers::loss)),
        ("monitor loss", Box::new(|c| c.monitor_loss.map(numbers::loss))),
        ("test loss", test(|m| Some(m.loss), numbers::loss)),
        ("train accuracy", Box::new(|c| c.train.accuracy.map(numbers::percent))),
        ("validation accuracy", validation(|m| m.accuracy, numbers::percent)),
        ("test accuracy", test(|m| m.accuracy, numbers::percent)),
        ("validation AUC", validation(|m| m.auc, numbers::unit)),
        ("test AUC", test(|m| m.auc, numbers::unit)),
        ("validation R²", validation(|m| m.r2, numbers::unit)),
        ("test R²", test(|m| m.r2, numbers::unit)),
        ("validation deviance explained", validation(|m| m.deviance_explained, numbers::unit)),
        ("test deviance explained", test(|m| m.deviance_explained, numbers::unit)),
    ]
}

/// Untuned, best shared and chosen beside each other, then all candidates.
pub fn text(tuned: &Tuned) -> String {
    let mut columns: Vec<(String, &Candidate)> = Vec::new();
    columns.extend(tuned.untuned().filter(|c| !c.chosen).map(|candidate| ("untuned".into(), candidate)));
    columns.extend(tuned.best_shared().filter(|c| !c.chosen).map(|candidate| ("best shared".into(), candidate)));
    columns.push((format!("chosen: {}", tuned.chosen().label()), tuned.chosen()));
    let mut table = TextTable::new(std::iter::once(String::new()).chain(columns.iter().map(|(name, _)| name.clone())));
    for (name, figure) in figures() {
        let cells: Vec<Option<String>> = columns.iter().map(|(_, candidate)| figure(candidate)).collect();
        if cells.iter().any(Option::is_some) {
            let cells = cells.into_iter().map(|cell| cell.unwrap_or(numbers::NONE.into()));
            table.row(std::iter::once(name.to_string()).chain(cells));
        }
    }
    let mut text = table.render();
    if tuned.candidates.len() > columns.len() {
        text += &format!("\n{}", all(tuned));
    }
    let meaning = meaning(tuned);
    if !meaning.is_empty() {
        text += &format!("{meaning}\n");
    }
    text += &format!("\n{}\n", choice(tuned));
    for note in &tuned.notes {
        text += &format!("note: {note}\n");
    }
    text
}

fn all(tuned: &Tuned) -> String {
    let wanted =
        ["penalties", "train loss", "validation loss", "monitor loss", "test loss", "test accuracy", "test R²"];
    let shown: Vec<_> = figures()
        .into_iter()
        .filter(|(name, figure)| wanted.contains(name) && tuned.candidates.iter().any(|c| figure(c).is_some()))
        .collect();
    let mut table = TextTable::new(std::iter::once("all candidates").chain(shown.iter().map(|(name, _)| *name)));
    for candidate in &tuned.candidates {
        let mark = if candidate.chosen { " *" } else { "" };
        let cells = shown.iter().map(|(_, figure)| figure(candidate).unwrap_or(numbers::NONE.into()));
        table.row(std::iter::once(candidate.label() + mark).chain(cells));
    }
    table.render()
}
