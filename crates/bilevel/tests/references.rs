//! What documents and comments point to is there: files of the project and sections of `docs/theory.md`.

use std::fs;
use std::path::{Path, PathBuf};

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");

/// All files below `folder` that end in one of `endings`.
fn files(folder: &Path, endings: &[&str]) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let ending = path.extension().unwrap_or_default().to_string_lossy();
        if path.is_dir() {
            found.extend(files(&path, endings));
        } else if endings.contains(&&*ending) {
            found.push(path);
        }
    }
    found
}

fn documents() -> Vec<PathBuf> {
    let root = Path::new(ROOT);
    let mut found = files(&root.join("docs"), &["md"]);
    found.extend(["README.md", "CONTRIBUTING.md"].map(|name| root.join(name)));
    found
}

fn sources() -> Vec<PathBuf> {
    ["bilevel/src", "bilevel-cli/src", "bilevel-python/src"]
        .iter()
        .flat_map(|folder| files(&Path::new(ROOT).join("crates").join(folder), &["rs"]))
        .collect()
}

/// What stands between pairs of backticks in each line, with the number of the line.
fn quoted(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.lines()
        .enumerate()
        .flat_map(|(line, text)| text.split('`').skip(1).step_by(2).map(move |quoted| (line + 1, quoted)))
}

#[test]
fn files_that_documents_name_are_there() {
    let (mut wrong, mut checked) = (Vec::new(), 0);
    for document in documents() {
        let text = fs::read_to_string(&document).unwrap();
        let folder = document.parent().unwrap();
        let link = |target: &str| target.split(['#', ' ']).next().unwrap().to_string();
        let links = text.lines().enumerate().flat_map(|(line, text)| {
            text.split("](").skip(1).filter_map(move |rest| Some((line + 1, link(rest.split(')').next()?))))
        });
        for (line, target) in links.filter(|(_, target)| !target.is_empty() && !target.contains("://")) {
            checked += 1;
            if !folder.join(&target).exists() {
                wrong.push(format!("{}:{line}: {target}", document.display()));
            }
        }
        let named =
            quoted(&text).filter(|(_, name)| name.starts_with("crates/") && !name.contains(['*', '{', '<', ' ']));
        for (line, name) in named {
            checked += 1;
            if !Path::new(ROOT).join(name).exists() {
                wrong.push(format!("{}:{line}: {name}", document.display()));
            }
        }
    }
    assert!(checked > 20, "only {checked} references were found");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn documents_that_the_source_names_are_there() {
    let (mut wrong, mut checked) = (Vec::new(), 0);
    for source in sources() {
        let text = fs::read_to_string(&source).unwrap();
        for (line, name) in quoted(&text).filter(|(_, name)| name.starts_with("docs/") && name.ends_with(".md")) {
            checked += 1;
            if !Path::new(ROOT).join(name).exists() {
                wrong.push(format!("{}:{line}: {name}", source.display()));
            }
        }
    }
    assert!(checked > 5, "only {checked} references were found");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn sections_of_the_theory_that_the_source_names_are_there() {
    let theory = fs::read_to_string(Path::new(ROOT).join("docs/theory.md")).unwrap();
    let headings: Vec<&str> = theory
        .lines()
        .filter(|line| line.starts_with("##"))
        .filter_map(|line| line.trim_start_matches('#').split_whitespace().next())
        .map(|number| number.trim_end_matches('.'))
        .collect();
    let (mut wrong, mut checked) = (Vec::new(), 0);
    for source in sources() {
        let text = fs::read_to_string(&source).unwrap();
        for (line, text) in text.lines().enumerate() {
            let Some((_, rest)) = text.split_once("(theory, section") else { continue };
            let rest = rest.split([';', ')']).next().unwrap().trim_start_matches('s');
            for number in rest.split([' ', ',']).filter(|word| word.starts_with(|c: char| c.is_ascii_digit())) {
                checked += 1;
                if !headings.contains(&number) {
                    wrong.push(format!("{}:{}: section {number}", source.display(), line + 1));
                }
            }
        }
    }
    assert!(checked > 10, "only {checked} references were found");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
