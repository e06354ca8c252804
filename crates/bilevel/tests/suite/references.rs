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

/// A file that is named, and the place where.
struct Reference {
    place: String,
    file: PathBuf,
}

fn assert_all_exist(references: &[Reference], fewest: usize) {
    assert!(references.len() >= fewest, "only {} references were found", references.len());
    let wrong: Vec<String> = (references.iter().filter(|reference| !reference.file.exists()))
        .map(|Reference { place, file }| format!("{place}: {}", file.display()))
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn files_that_documents_name_are_there() {
    let mut references = Vec::new();
    for document in documents() {
        let text = fs::read_to_string(&document).unwrap();
        let place = |line: usize| format!("{}:{line}", document.display());
        for (line, text) in text.lines().enumerate() {
            let targets = text.split("](").skip(1).filter_map(|rest| rest.split([')', '#', ' ']).next());
            for target in targets.filter(|target| !target.is_empty() && !target.contains("://")) {
                references.push(Reference { place: place(line + 1), file: document.parent().unwrap().join(target) });
            }
        }
        let named =
            quoted(&text).filter(|(_, name)| name.starts_with("crates/") && !name.contains(['*', '{', '<', ' ']));
        references.extend(named.map(|(line, name)| Reference { place: place(line), file: Path::new(ROOT).join(name) }));
    }
    assert_all_exist(&references, 20);
}

#[test]
fn documents_that_the_source_names_are_there() {
    let mut references = Vec::new();
    for source in sources() {
        let text = fs::read_to_string(&source).unwrap();
        let named = quoted(&text).filter(|(_, name)| name.starts_with("docs/") && name.ends_with(".md"));
        references.extend(named.map(|(line, name)| Reference {
            place: format!("{}:{line}", source.display()),
            file: Path::new(ROOT).join(name),
        }));
    }
    assert_all_exist(&references, 5);
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
