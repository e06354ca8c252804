//! The floors of the library: a module may use those on lower floors, and nothing above or beside it.
//!
//! Only on the ground floor may modules use each other. The test reads the sources, because the compiler is content with
//! any order.

use std::fs;
use std::path::{Path, PathBuf};

/// The floors from the ground up, numbered as in `docs/design.md`, where the reasons are. Both levels of a problem stand on
/// floor 2, the upper one on the shoulders of the lower, whose dimensions it shares.
const FLOORS: &[&[&str]] = &[
    &[
        "error",
        "Error",
        "Result",
        "cholesky",
        "company",
        "elementary",
        "epochs",
        "plain",
        "sample",
        "scratch",
        "simd",
        "status",
        "stop",
        "vector",
        "work",
    ], // 0
    &["data", "domain", "step_size"], // 1
    &["lower"],                       // 2
    &["upper"],                       // 2
    &["row_sums"],                    // 2
    &["operator", "problems"],        // 3
    &["fixed_point"],                 // 4
    &["linear_system"],               // 5
    &["newton", "dual"],              // 6
    &["hypergradient"],               // 7
    &["optimize", "diagnose"],        // 8
    &["algorithms", "study", "tune"], // 9
    &["clean", "race"],               // 10
];

fn floor(module: &str) -> Option<usize> {
    FLOORS.iter().position(|modules| modules.contains(&module))
}

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

/// The source without comments and without the tests at its end, which may use anything.
fn code(source: &str) -> String {
    let product = source.split("#[cfg(test)]\nmod ").next().unwrap_or_default();
    product.lines().map(|line| line.split("//").next().unwrap_or_default()).collect::<Vec<_>>().join("\n")
}

/// The top-level names that follow `crate::`, also within braces.
fn used(code: &str) -> Vec<String> {
    let mut names = Vec::new();
    for rest in code.split("crate::").skip(1) {
        let Some(group) = rest.strip_prefix('{') else {
            names.push(identifier(rest));
            continue;
        };
        let (mut depth, mut start) = (0, true);
        for (at, character) in group.char_indices() {
            match character {
                '{' => depth += 1,
                '}' if depth == 0 => break,
                '}' => depth -= 1,
                ',' if depth == 0 => start = true,
                c if start && !c.is_whitespace() => {
                    names.push(identifier(&group[at..]));
                    start = false;
                }
                _ => {}
            }
        }
    }
    names
}

fn identifier(text: &str) -> String {
    text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect()
}

/// The top-level modules reached by `super::` from a file `depth` modules below the crate.
fn climbed(code: &str, depth: usize) -> Vec<String> {
    let mut names = Vec::new();
    let mut rest = code;
    while let Some(at) = rest.find("super::") {
        rest = &rest[at..];
        let mut steps = 0;
        while let Some(above) = rest.strip_prefix("super::") {
            (rest, steps) = (above, steps + 1);
        }
        let name = identifier(rest);
        if steps >= depth && floor(&name).is_some() {
            names.push(name);
        }
    }
    names
}

#[test]
fn imports_go_strictly_downward() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    sources(&root, &mut files);
    let mut faults = Vec::new();
    for file in files {
        let place = file.strip_prefix(&root).unwrap();
        let module = place.components().next().unwrap().as_os_str().to_str().unwrap().trim_end_matches(".rs");
        if module == "lib" {
            continue;
        }
        let Some(own) = floor(module) else {
            faults.push(format!("{}: the module `{module}` has no floor in this test", place.display()));
            continue;
        };
        let depth = place.with_extension("").iter().filter(|part| *part != "mod").count();
        let code = code(&fs::read_to_string(&file).unwrap());
        for name in used(&code).into_iter().chain(climbed(&code, depth)) {
            let allowed = name == module
                || match floor(&name) {
                    Some(other) => other < own || (own == 0 && other == 0),
                    // Macros and the like at the root of the crate have no floor.
                    None => !root.join(&name).is_dir() && !root.join(format!("{name}.rs")).is_file(),
                };
            if !allowed {
                faults.push(format!("{}: `{module}` uses `{name}`", place.display()));
            }
        }
    }
    assert!(faults.is_empty(), "imports must go strictly downward:\n{}", faults.join("\n"));
}

#[test]
fn names_are_found() {
    let source =
        "use crate::{Error, data::{Dataset, Target}, tune::run};\n// crate::comment\nlet x = crate::lower::f();";
    assert_eq!(used(&code(source)), ["Error", "data", "tune", "lower"]);
    assert!(used(&code("#[cfg(test)]\nmod tests {\n    use crate::tune;\n}")).is_empty());
    assert_eq!(climbed("use super::lower;\nuse super::super::tune;\nuse super::*;", 1), ["lower", "tune"]);
    assert_eq!(climbed("use super::lower;\nuse super::super::tune;", 2), ["tune"]);
}
