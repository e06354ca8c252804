//! The floors of the library: a module may use those on lower floors, and nothing above or beside it.
//!
//! Only on the ground floor may modules use each other. The modules of the command and of the Python package have no floors,
//! but an order they have: none uses, by way of others, itself. The tests read the sources, because the compiler is content
//! with any order.

use std::collections::{BTreeMap, BTreeSet};
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
        "observer",
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

/// The names at the top of the crate reached by `super::` from a file `depth` modules below it.
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
        if steps >= depth && !name.is_empty() {
            names.push(name);
        }
    }
    names
}

/// A file below a module at the top of a crate, and the names at the top that it uses.
struct Source {
    place: PathBuf,
    module: String,
    uses: Vec<String>,
}

/// All files of the crate with its sources in `root` but that at its top.
fn read(root: &Path) -> Vec<Source> {
    let mut files = Vec::new();
    sources(root, &mut files);
    let read = files.into_iter().filter_map(|file| {
        let place = file.strip_prefix(root).unwrap().to_path_buf();
        let module = place.components().next().unwrap().as_os_str().to_str().unwrap().trim_end_matches(".rs");
        if ["lib", "main"].contains(&module) {
            return None;
        }
        let depth = place.with_extension("").iter().filter(|part| *part != "mod").count();
        let code = code(&fs::read_to_string(&file).unwrap());
        let uses = used(&code).into_iter().chain(climbed(&code, depth)).collect();
        Some(Source { module: module.to_string(), place, uses })
    });
    read.collect()
}

#[test]
fn imports_go_strictly_downward() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut faults = Vec::new();
    for Source { place, module, uses } in read(&root) {
        let Some(own) = floor(&module) else {
            faults.push(format!("{}: the module `{module}` has no floor in this test", place.display()));
            continue;
        };
        for name in uses {
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

/// Those of `uses` that are in a circle, or use one that is.
fn in_circles(mut uses: BTreeMap<String, BTreeSet<String>>) -> BTreeMap<String, BTreeSet<String>> {
    loop {
        let before = uses.len();
        let names: BTreeSet<String> = uses.keys().cloned().collect();
        uses.retain(|own, used| used.iter().any(|name| name != own && names.contains(name)));
        if uses.len() == before {
            return uses;
        }
    }
}

#[test]
fn modules_of_the_command_and_of_the_python_package_form_no_circles() {
    for program in ["bilevel-cli", "bilevel-python"] {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(program).join("src");
        let mut uses: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for source in read(&root) {
            uses.entry(source.module).or_default().extend(source.uses);
        }
        assert!(uses.len() > 5, "{program} has modules");
        let circles = in_circles(uses);
        assert!(circles.is_empty(), "modules of {program} use each other in a circle, or one that does: {circles:#?}");
    }
}

#[test]
fn circles_are_found() {
    let uses = |names: &[(&str, &[&str])]| {
        let set = |used: &[&str]| used.iter().map(|name| (*name).to_string()).collect();
        names.iter().map(|(own, used)| ((*own).to_string(), set(used))).collect()
    };
    assert!(in_circles(uses(&[("a", &["b", "c", "a"]), ("b", &["c"]), ("c", &["no_module"])])).is_empty());
    let found = in_circles(uses(&[("a", &["b"]), ("b", &["c"]), ("c", &["b"]), ("d", &[])]));
    assert_eq!(found.keys().collect::<Vec<_>>(), ["a", "b", "c"]);
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
