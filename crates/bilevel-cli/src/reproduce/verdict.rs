//! A claim of the paper, and whether the figures found agree with it.

use crate::csv;
use crate::report::charts::escape;
use crate::report::page::scrolling;

/// One claim.
#[derive(Debug, Clone, PartialEq)]
pub struct Verdict {
    pub claim: String,
    pub agrees: bool,
    /// The figures it was decided by.
    pub found: String,
}

impl Verdict {
    pub fn new(claim: &str, agrees: bool, found: String) -> Self {
        Verdict { claim: claim.into(), agrees, found }
    }

    fn word(&self) -> &'static str {
        if self.agrees { "agrees" } else { "differs" }
    }
}

/// For the terminal.
pub fn text(verdicts: &[Verdict]) -> String {
    verdicts.iter().map(|v| format!("  {:7}  {}\n           {}\n", v.word(), v.claim, v.found)).collect()
}

/// For a page.
pub fn table(verdicts: &[Verdict]) -> String {
    let row = |v: &Verdict| {
        format!("<tr><td>{}</td><td>{}</td><td>{}</td></tr>\n", v.word(), escape(&v.claim), escape(&v.found))
    };
    let rows: String = verdicts.iter().map(row).collect();
    scrolling(&format!("<table class=\"facts\">\n{rows}</table>\n"))
}

/// For programs: `part,agrees,claim,found`.
pub fn csv(parts: &[(&str, &[Verdict])]) -> String {
    let mut text = String::from("part,agrees,claim,found\n");
    for (part, verdicts) in parts {
        for v in *verdicts {
            text += &format!("{},{},{},{}\n", csv::cell(part), v.agrees, csv::cell(&v.claim), csv::cell(&v.found));
        }
    }
    text
}
