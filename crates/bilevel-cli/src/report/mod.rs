//! The report of a tuning: one self-contained page.

pub mod charts;
mod findings;
pub mod page;
pub mod quality;
mod run;

use bilevel::data::Groups;
use bilevel::tune::{StrongWeight, Tuned};

use charts::escape;

pub use run::{choice, meaning};

/// All that the page shows.
pub struct Report<'a> {
    /// Name of the training file.
    pub title: &'a str,
    /// What was read, in pairs of a name and a text.
    pub data: &'a [(String, String)],
    /// The command that repeats the run.
    pub command: &'a str,
    pub tuned: &'a Tuned,
    pub feature_names: &'a [String],
    pub groups: &'a Groups,
    /// Labels of the classes; empty for regression.
    pub class_names: &'a [String],
    pub strongest: &'a [StrongWeight],
}

impl Report<'_> {
    /// The page.
    pub fn render(&self) -> String {
        let tuned = self.tuned;
        let mut body = format!(
            "<header>\n<h1>{}</h1>\n<p class=\"lead\">{}</p>\n</header>\n<main>\n",
            escape(self.title),
            escape(&run::lead(tuned)),
        );
        body += &page::tiles(&run::headline(tuned));
        body += &page::section("Candidates", &run::candidates(tuned));
        body += &page::section("Tuning", &run::progress(tuned));
        body += &page::section("Penalties", &findings::penalties(tuned, self.groups));
        let weights = findings::weights(tuned, self.strongest, self.feature_names, self.class_names);
        body += &page::section("Weights", &weights);
        if let Some(diagnostics) = &tuned.diagnostics {
            let title = format!("Predictions on {}", diagnostics.rows_are);
            body += &page::section(&title, &quality::predictions(diagnostics, tuned.chosen(), self.class_names));
        }
        body += &page::section("Data", &page::facts(self.data));
        body += &page::section("Notes", &run::notes(tuned));
        let again = format!("<pre>{}</pre>\n", escape(self.command));
        body += &page::section("To repeat this run", &again);
        body += &format!("</main>\n<footer>bilevel {}</footer>\n", env!("CARGO_PKG_VERSION"));
        page::page(&format!("{}: tuned by bilevel", self.title), &body)
    }
}

#[cfg(test)]
mod tests;
