//! Aligned tables of text.

/// Rows of cells; the first column is aligned left, all others right.
#[derive(Debug, Default)]
pub struct TextTable {
    rows: Vec<Vec<String>>,
}

impl TextTable {
    /// A table with these headings.
    pub fn new<S: Into<String>>(headings: impl IntoIterator<Item = S>) -> Self {
        let mut table = TextTable::default();
        table.row(headings);
        table
    }

    /// Adds a row.
    pub fn row<S: Into<String>>(&mut self, cells: impl IntoIterator<Item = S>) {
        self.rows.push(cells.into_iter().map(|cell| one_line(cell.into())).collect());
    }

    /// The table, each line ended, two blanks between columns; columns without any cell are left out.
    pub fn render(&self) -> String {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        let widths: Vec<usize> = (0..columns)
            .map(|column| self.rows.iter().filter_map(|row| row.get(column)).map(|cell| width(cell)).max().unwrap_or(0))
            .collect();
        let mut text = String::new();
        for row in &self.rows {
            let mut line = String::new();
            for (column, (cell, &full)) in row.iter().zip(&widths).enumerate().filter(|(_, (_, full))| **full > 0) {
                let blanks = " ".repeat(full - width(cell));
                match column {
                    0 => line.extend([cell, blanks.as_str()]),
                    _ => line.extend(["  ", blanks.as_str(), cell]),
                }
            }
            text.push_str(line.trim_end());
            text.push('\n');
        }
        text
    }
}

/// Text of the user without what would break a line.
fn one_line(cell: String) -> String {
    if !cell.contains(char::is_control) {
        return cell;
    }
    cell.chars().map(|c| if c.is_control() { c.escape_default().to_string() } else { c.into() }).collect()
}

fn width(cell: &str) -> usize {
    cell.chars().count()
}

/// Names and what is said of each, a line for each of them, names padded to one width.
pub fn description_text(description: &[(String, String)]) -> String {
    let width = description.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    description.iter().map(|(name, text)| format!("{name:width$}  {text}\n")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned() {
        let mut table = TextTable::new(["", "a", "", "long"]);
        table.row(["first", "1.25", "", "–"]);
        table.row(["2", "10"]);
        assert_eq!(table.render(), "          a  long\nfirst  1.25     –\n2        10\n");
        let mut table = TextTable::new(["a\nname", "ü"]);
        table.row(["1", "2"]);
        assert_eq!(table.render(), "a\\nname  ü\n1        2\n");
    }
}
