//! The report of a cleaning.

use bilevel::clean::{Cleaned, FitOf, Start};
use bilevel::data::Target;
use bilevel::tune::Confusion;

use super::{CleanArgs, FLATTERED, ended, headline, label, suggestion, weighed_down};
use crate::numbers;
use crate::problem::Inputs;
use crate::report::charts::{Curve, cell, clip_middle, curves, escape, histogram};
use crate::report::page::{self, Tile, figure, paragraph, scrolling, side_by_side};
use crate::report::quality::confusion_of;

/// Bars of the histogram of weights.
const BARS: usize = 20;
/// Most suspicious rows that are shown.
const SHOWN: usize = 50;

/// All that the page shows.
pub struct Page<'a> {
    pub args: &'a CleanArgs,
    pub inputs: &'a Inputs,
    pub cleaned: &'a Cleaned,
    pub command: &'a str,
}

impl Page<'_> {
    pub fn render(&self) -> String {
        let Page { args, inputs, cleaned, command } = self;
        let title = args.train.file_name().unwrap_or(args.train.as_os_str()).to_string_lossy();
        let mut body = format!(
            "<header>\n<h1>{}</h1>\n<p class=\"lead\">{}</p>\n</header>\n<main>\n",
            escape(&title),
            escape(&self.lead())
        );
        body += &page::tiles(&self.tiles());
        body += &page::section("Weights", &self.weights());
        body += &page::section("Most suspicious rows", &self.suspicious());
        body += &page::section("Given and predicted labels", &self.confusion());
        body += &page::section("Models", &self.models());
        body += &page::section("Data", &page::facts(&inputs.description));
        let notes: String = cleaned.notes.iter().map(|note| format!("<li>{}</li>\n", escape(note))).collect();
        if !notes.is_empty() {
            body += &page::section("Notes", &format!("<ul class=\"notes\">\n{notes}</ul>\n"));
        }
        body += &page::section("To repeat this run", &format!("<pre>{}</pre>\n", escape(command)));
        body += &format!("</main>\n<footer>bilevel {}</footer>\n", env!("CARGO_PKG_VERSION"));
        page::page(&format!("{title}: cleaned by bilevel"), &body)
    }

    fn lead(&self) -> String {
        let Page { args, cleaned, .. } = self;
        format!(
            "A weight for each of {} and a {} model, learned from {} by {} hypergradients. Status: {}.",
            numbers::counted(cleaned.training_rows, "training row", "training rows"),
            cleaned.model.loss.name(),
            numbers::counted(cleaned.trusted_rows, "trusted row", "trusted rows"),
            cleaned.method,
            ended(cleaned, args),
        )
    }

    fn tiles(&self) -> Vec<Tile> {
        let cleaned = self.cleaned;
        let down = weighed_down(cleaned);
        let share = numbers::percent(down as f64 / cleaned.training_rows as f64);
        let mut tiles =
            vec![Tile { name: "weigh less than one half".into(), value: numbers::count(down), note: share }];
        if let Some((name, value)) = headline(cleaned, FitOf::WeightedRows) {
            let format = if name == "accuracy" { numbers::percent } else { numbers::unit };
            let of = |of: FitOf| headline(cleaned, of).map(|(_, value)| format!("{} {}", format(value), of.name()));
            let notes: Vec<String> = [FitOf::AllRows, FitOf::TrustedRows].into_iter().filter_map(of).collect();
            tiles.push(Tile { name: format!("test {name}"), value: format(value), note: notes.join(", ") });
        }
        let note = numbers::passes(cleaned.passes);
        tiles.push(Tile { name: "time".into(), value: numbers::seconds(cleaned.seconds), note });
        tiles
    }

    fn weights(&self) -> String {
        let cleaned = self.cleaned;
        let mut counts = vec![0; BARS];
        for &row in &cleaned.suspicious {
            counts[((cleaned.weights[row as usize] * BARS as f64) as usize).min(BARS - 1)] += 1;
        }
        let chart = histogram("Histogram of the weights", "weight", 0.0, 1.0 / BARS as f64, &counts);
        let start = match self.args.start {
            Start::Trusted => "The rows began at how well their labels go with a model of the trusted rows.",
            Start::Uniform => "All rows began at one half.",
        };
        let bars = figure("Weights of the training rows", &chart, start);
        let line = |class: &str, name: &str, y: fn(&bilevel::clean::Step) -> Option<f64>| Curve {
            class: class.into(),
            name: name.into(),
            points: cleaned.trace.iter().filter_map(|step| Some((step.iteration as f64, y(step)?))).collect(),
        };
        let lines = [
            line("c0", "trusted rows that steer", |step| Some(step.trusted_loss)),
            line("c1", "trusted rows that do not steer (monitor)", |step| step.monitor_loss),
        ];
        let legend: String = (lines.iter())
            .filter(|line| !line.points.is_empty())
            .map(|line| format!("<li><i class=\"{}\"></i>{}</li>\n", line.class, escape(&line.name)))
            .collect();
        let chart = curves("Losses against steps", "step of the weights", "mean loss", &lines);
        let caption = format!("The weights of step {} were kept.", cleaned.kept);
        let losses =
            figure("Loss on the trusted rows", &format!("{chart}<ul class=\"legend\">\n{legend}</ul>\n"), &caption);
        side_by_side(&[bars, losses])
    }

    fn suspicious(&self) -> String {
        let (cleaned, train) = (self.cleaned, &self.inputs.train);
        let classes = matches!(train.target, Target::Classes { .. });
        if !classes && weighed_down(cleaned) == 0 {
            let text = "No row weighs less than one half: none stands out. All are in weights.csv, with their ranks.";
            return paragraph(text);
        }
        let mut rows = String::new();
        for (at, &row) in cleaned.suspicious.iter().take(SHOWN).enumerate() {
            let row = row as usize;
            let name = |name: &str| cell("td", None, &clip_middle(name, 40), name);
            let number = |text: String| format!("<td>{text}</td>");
            let places = [(row + 1).to_string(), (at + 1).to_string(), numbers::short(cleaned.weights[row])];
            let mut cells: String = places.into_iter().map(number).collect();
            cells += &name(&label(train, row));
            if classes {
                cells += &name(suggestion(train, cleaned, row).unwrap_or(numbers::NONE));
            }
            cells.extend(cleaned.probability.get(row).map(|&p| number(numbers::short(p))));
            rows += &format!("<tr>{cells}</tr>\n");
        }
        let mut head = String::from("<th>row</th><th>rank</th><th>weight</th><th>label</th>");
        head += if classes { "<th>suggested</th>" } else { "" };
        head += if cleaned.probability.is_empty() { "" } else { "<th>probability of the label</th>" };
        let table = format!("<table>\n<tr>{head}</tr>\n{rows}</table>\n");
        let shown = cleaned.suspicious.len().min(SHOWN);
        paragraph(&format!(
            "The {} with the smallest weights; all of them are in weights.csv. Rows are counted from 1.",
            numbers::counted(shown, "row", "rows")
        )) + &scrolling(&table)
    }

    /// What the model of the weighted rows makes of the labels that were given.
    fn confusion(&self) -> String {
        let Target::Classes { codes, names } = &self.inputs.train.target else { return String::new() };
        Confusion::of_classes(names.len(), codes.iter().copied().zip(self.cleaned.predicted.iter().copied()))
            .map_or(String::new(), |found| confusion_of(&found, names, ("given", "predicted", "kept")))
    }

    fn models(&self) -> String {
        let mut rows = String::new();
        for fit in &self.cleaned.fits {
            let mut cells = vec![numbers::loss(fit.trusted.loss)];
            if let Some(test) = &fit.test {
                cells.push(numbers::loss(test.loss));
                cells.extend(test.headline().map(|(name, value)| match name {
                    "accuracy" => numbers::percent(value),
                    _ => numbers::unit(value),
                }));
            }
            let cells: String = cells.iter().map(|cell| format!("<td>{cell}</td>")).collect();
            rows += &format!("<tr><td>{}</td>{cells}</tr>\n", fit.of.name());
        }
        let mut head = String::from("<th>fitted on</th><th>trusted loss</th>");
        if let Some(test) = self.cleaned.fits.iter().find_map(|fit| fit.test) {
            head += "<th>test loss</th>";
            head += &test.headline().map_or(String::new(), |(name, _)| format!("<th>test {name}</th>"));
        }
        paragraph(FLATTERED) + &scrolling(&format!("<table>\n<tr>{head}</tr>\n{rows}</table>\n"))
    }
}
