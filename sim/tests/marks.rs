//! The lists of named situations are what the sources count, each at one place.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::path::{Path, PathBuf};

use reflet_sim::marks;

/// Each `reach!("…")` or `probe::count("…")` of all sources below a directory of the workspace, in
/// alphabetical order; but for what is in `elsewhere`, a file or a directory.
fn counted_in(sources: &str, elsewhere: &str) -> Vec<String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("..")
        .join(sources);
    let mut files = Vec::new();
    collect(&root, &mut files);
    assert!(!files.is_empty(), "{} has no sources", root.display());
    let all = files.len();
    files.retain(|file| !file.starts_with(root.join(elsewhere)));
    assert!(elsewhere == NOTHING || files.len() < all, "no {elsewhere}");
    let mut names: Vec<_> = files
        .iter()
        .flat_map(|file| names(&std::fs::read_to_string(file).unwrap()))
        .collect();
    names.sort();
    names
}

/// The name of no source.
const NOTHING: &str = "nothing";

fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, files);
        } else if path.extension().is_some_and(|end| end == "rs") {
            files.push(path);
        }
    }
}

fn names(source: &str) -> Vec<String> {
    let calls = ["reach!(", "probe::count("].into_iter();
    let calls = calls.flat_map(|call| source.split(call).skip(1));
    let literals = calls.filter_map(|call| call.trim_start().strip_prefix('"'));
    let names = literals.filter_map(|rest| rest.split('"').next());
    names.map(str::to_owned).collect()
}

/// Names what is counted and not listed, listed and not counted, or not in order or unique.
fn compare(counted: &[String], listed: &[&str]) {
    let unlisted: Vec<_> = counted
        .iter()
        .filter(|name| !listed.contains(&name.as_str()))
        .collect();
    let uncounted: Vec<_> = listed
        .iter()
        .filter(|name| !counted.iter().any(|counted| counted == *name))
        .collect();
    assert!(unlisted.is_empty(), "not listed: {unlisted:?}");
    assert!(uncounted.is_empty(), "not counted: {uncounted:?}");
    assert_eq!(counted, listed, "each once, in alphabetical order");
}

#[test]
fn each_situation_of_the_engine_is_listed_and_counted_at_one_place() {
    // What the protocol's reader counts is counted where there is a protocol: below.
    let mut counted = counted_in("core/src", "wire");
    counted.extend(counted_in("sim/src/run", NOTHING));
    counted.sort();
    compare(&counted, marks::ENGINE);
}

#[test]
fn each_situation_of_the_driver_is_listed_and_counted_at_one_place() {
    let mut counted = counted_in("runtime-tokio/src", NOTHING);
    // An exchange does what the HTTP source does in its own way, and no simulation runs it.
    counted.extend(counted_in("core/src/wire", "exchange.rs"));
    counted.extend(counted_in("sim/src/net", NOTHING));
    counted.sort();
    compare(&counted, marks::DRIVER);
}
