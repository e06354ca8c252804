//! A chart as a file of its own: with its style and a legend inside.
//!
//! Programs that show SVG files know less of style sheets than browsers do, so colours are written out, in the light
//! variant.

use super::escape;
use super::frame::WIDTH;

const STYLE: &str = include_str!("../page.css");
const LINE: f64 = 18.0;

/// `chart` with a title above and a legend of class and name of each line below.
pub fn standalone(chart: &str, title: &str, keys: &[(&str, &str)]) -> String {
    let (opening, body) = chart.split_once('\n').unwrap_or((chart, ""));
    let height: f64 =
        (opening.split('"').nth(1)).and_then(|view_box| view_box.rsplit(' ').next()?.parse().ok()).unwrap_or(WIDTH);
    let top = 26.0;
    let total = top + height + LINE * keys.len() as f64 + 8.0;
    let mut legend = String::new();
    for (row, (class, name)) in keys.iter().enumerate() {
        let y = top + height + LINE * (row as f64 + 0.5);
        legend += &format!("<path class=\"line {class}\" d=\"M66 {y:.1}H96\"/>\n");
        legend += &format!("<text x=\"104\" y=\"{:.1}\">{}</text>\n", y + 4.0, escape(name));
    }
    let body = body.trim_end().trim_end_matches("</svg>");
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {total}\" width=\"{}\" height=\"{}\">\n\
         <style>\n{}</style>\n<rect width=\"{WIDTH}\" height=\"{total}\" fill=\"#ffffff\"/>\n\
         <text class=\"title\" x=\"14\" y=\"18\">{}</text>\n<g transform=\"translate(0 {top})\">\n{body}</g>\n{legend}</svg>\n",
        1.5 * WIDTH,
        1.5 * total,
        style(),
        escape(title),
    )
}

/// The rules for charts, with the light colours in the place of their names.
fn style() -> String {
    let mut rules = String::new();
    for line in STYLE.lines().filter(|line| {
        line.starts_with("svg ") || line.starts_with(".c0") || line.starts_with(".c4") || line.starts_with(".c8")
    }) {
        // `currentColor` and `color` are known everywhere, variables are not.
        rules += &light()
            .iter()
            .fold(line.to_string(), |line, (name, colour)| line.replace(&format!("var({name})"), colour));
        rules.push('\n');
    }
    rules
}

/// Names and values of the light colours.
fn light() -> Vec<(String, String)> {
    let block = STYLE.split('}').next().unwrap_or_default();
    let declarations = block.split([';', '{']).filter_map(|part| part.split_once(':'));
    let colours = declarations.filter(|(name, _)| name.trim().starts_with("--"));
    colours.map(|(name, value)| (name.trim().to_string(), value.trim().to_string())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_of_its_own_needs_no_page() {
        let band = super::super::Band {
            class: "c1".into(),
            name: "a < b".into(),
            points: vec![[1.0, 1.0, 0.5, 2.0], [10.0, 0.1, 0.1, 0.1]],
        };
        let chart = super::super::log_log("d", "x", "y", std::slice::from_ref(&band), None);
        let file = standalone(&chart, "title", &[("c1", "a < b")]);
        assert!(file.contains("xmlns=") && file.contains("a &lt; b") && file.contains("color: #c4572b"), "{file}");
        assert!(!file.contains("var("), "{file}");
        assert_eq!((file.matches("<svg").count(), file.matches("</svg>").count()), (1, 1));
    }
}
