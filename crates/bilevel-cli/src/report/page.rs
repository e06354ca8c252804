//! Pieces of a page: sections, tables, figures, and the page itself, which needs nothing from elsewhere.

use super::charts::escape;

/// A whole page.
pub fn page(title: &str, body: &str) -> String {
    format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<title>{}</title>\n\
         <style>\n{}</style>\n</head>\n<body>\n{body}</body>\n</html>\n",
        escape(title),
        include_str!("page.css"),
    )
}

/// A heading with what stands under it; nothing if there is nothing.
pub fn section(title: &str, body: &str) -> String {
    match body.is_empty() {
        true => String::new(),
        false => format!("<section>\n<h2>{}</h2>\n{body}</section>\n", escape(title)),
    }
}

/// A paragraph of plain text.
pub fn paragraph(text: &str) -> String {
    format!("<p>{}</p>\n", escape(text))
}

/// A chart (already SVG) with a heading above and words below.
pub fn figure(title: &str, chart: &str, caption: &str) -> String {
    format!("<figure>\n<h3>{}</h3>\n{chart}<figcaption>{}</figcaption>\n</figure>\n", escape(title), escape(caption))
}

/// Charts beside each other where the page is wide enough.
pub fn side_by_side(figures: &[String]) -> String {
    match figures {
        [] => String::new(),
        [one] => one.replacen("<figure>", "<figure class=\"alone\">", 1),
        _ => format!("<div class=\"charts\">\n{}</div>\n", figures.concat()),
    }
}

/// A table in a box of its own that scrolls where it is too wide.
pub fn scrolling(table: &str) -> String {
    format!("<div class=\"scroll\" tabindex=\"0\">\n{table}</div>\n")
}

/// Pairs of a name and a text.
pub fn facts(pairs: &[(String, String)]) -> String {
    let rows: String = (pairs.iter())
        .map(|(name, text)| format!("<tr><td>{}</td><td>{}</td></tr>\n", escape(name), escape(text)))
        .collect();
    format!("<table class=\"facts\">\n{rows}</table>\n")
}

/// A figure that is worth a tile: what it is, its value, a remark.
pub struct Tile {
    pub name: String,
    pub value: String,
    pub note: String,
}

/// Tiles in a grid.
pub fn tiles(tiles: &[Tile]) -> String {
    let tiles: String = (tiles.iter())
        .map(|tile| {
            format!(
                "<div class=\"tile\"><dt>{}</dt><dd><div class=\"value\">{}</div><div class=\"note\">{}</div></dd></div>\n",
                escape(&tile.name),
                escape(&tile.value),
                escape(&tile.note)
            )
        })
        .collect();
    format!("<dl class=\"tiles\">\n{tiles}</dl>\n")
}
