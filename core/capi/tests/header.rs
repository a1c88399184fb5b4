//! `include/reflet.h` is what the source says. `REFLET_REGENERATE=1 cargo test -p reflet-capi --test
//! header` writes it anew.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may panic")]

use std::collections::BTreeSet;
use std::path::Path;
use std::{env, fs};

/// In the order in which a reader of the header wants to meet them.
const SOURCES: [&str; 13] = [
    "status", "border", "config", "informer", "command", "endpoint", "exchange", "input", "delta",
    "lookup", "health", "notice", "snapshot",
];

/// What has nothing for C in it.
const OTHERS: [&str; 4] = ["handle", "lib", "state", "value"];

fn header() -> String {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    let config = cbindgen::Config::from_file(package.join("cbindgen.toml")).unwrap();
    let mut builder = cbindgen::Builder::new().with_config(config);
    for name in SOURCES {
        builder = builder.with_src(package.join(format!("src/{name}.rs")));
    }
    let mut header = Vec::new();
    builder.generate().unwrap().write(&mut header);
    String::from_utf8(header).unwrap()
}

#[test]
fn the_header_is_what_the_source_says() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("include/reflet.h");
    let header = header();
    if env::var_os("REFLET_REGENERATE").is_some() {
        fs::write(&path, &header).unwrap();
    }
    let committed = fs::read_to_string(&path).unwrap_or_default();
    assert!(
        committed == header,
        "{} is not what the source says: REFLET_REGENERATE=1 writes it anew",
        path.display()
    );
}

#[test]
fn every_file_is_looked_at() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let files: BTreeSet<String> = fs::read_dir(folder)
        .unwrap()
        .map(|file| file.unwrap().path())
        .map(|path| path.file_stem().unwrap().to_str().unwrap().to_owned())
        .collect();
    let known = SOURCES.iter().chain(&OTHERS).map(|name| (*name).to_owned());
    assert_eq!(files, known.collect());
}
