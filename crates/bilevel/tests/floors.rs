//! The floors of the library: a module may use those on lower floors, and nothing above or beside it.
//!
//! Only on the ground floor may modules use each other. The test reads the sources, because the compiler is content with
//! any order.

use std::fs;
use std::path::{Path, PathBuf};

/// The floors from the ground up; see `docs/design.md`. The two traits share a floor in the design, of which the upper
/// level stands on the lower one.
const FLOORS: &[&[&str]] = &[
    &["error", "Error", "Result", "vector", "sample", "work", "status", "elementary", "simd"],
    &["data", "step_size", "domain"],
    &["lower"],
    &["upper"],
    &["problems", "direction", "operator"],
    &["fixed_point", "linear_system"],
    &["hypergradient", "newton"],
    &["optimize", "diagnose"],
    &["tune"],
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
        for name in used(&code(&fs::read_to_string(&file).unwrap())) {
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
}
