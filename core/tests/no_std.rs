//! The engine needs no std: the library in `no_std/`, which has none, lives through all that an
//! informer can live through, linked into a C program. How large it is is printed:
//! `cargo test -p reflet-core --test no_std -- --nocapture`.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may panic")]

use std::env;
use std::ffi::OsStr;
use std::path::Path;
use std::process::Command;

/// What the engine may take of a program, with all that it can do: code and constants, in bytes.
const MOST: u64 = 200 << 10;

fn run(program: impl AsRef<OsStr>, args: &[&OsStr]) -> String {
    let program = program.as_ref();
    let output = Command::new(program)
        .args(args)
        // What is asked of std's programs, such as a sanitizer, may need std.
        .env_remove("RUSTFLAGS")
        .env_remove("CARGO_ENCODED_RUSTFLAGS")
        .output()
        .unwrap_or_else(|error| panic!("{program:?}: {error}"));
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program:?}: {said}{complaint}");
    said
}

/// The bytes of a section, as binutils' `size -A` lists them.
fn section(sizes: &str, name: &str) -> u64 {
    let mut rows = sizes.lines().map(str::split_whitespace);
    let row = rows.find(|row| row.clone().next() == Some(name));
    row.unwrap().nth(1).unwrap().parse().unwrap()
}

#[test]
fn the_engine_lives_without_std_and_is_small() {
    let proof = Path::new(env!("CARGO_MANIFEST_DIR")).join("no_std");
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).join("no_std");
    let manifest = proof.join("Cargo.toml");
    let build = [
        "build".as_ref(),
        "--release".as_ref(),
        "--locked".as_ref(),
        "--quiet".as_ref(),
        "--manifest-path".as_ref(),
        manifest.as_os_str(),
        "--target-dir".as_ref(),
        target.as_os_str(),
    ];
    run(env!("CARGO"), &build);

    let library = target.join("release/libreflet_no_std.a");
    let program = target.join("proof");
    let source = proof.join("main.c");
    let link = [
        "-Os".as_ref(),
        "-s".as_ref(),
        "-Wl,--gc-sections".as_ref(),
        source.as_os_str(),
        library.as_os_str(),
        "-o".as_ref(),
        program.as_os_str(),
    ];
    run(env::var_os("CC").unwrap_or("cc".into()), &link);
    assert_eq!(run(&program, &[]), "0\n", "the step that went wrong");

    // Unwind tables are not counted: where panics do not unwind nobody needs them.
    let sizes = run("size", &["-A".as_ref(), program.as_os_str()]);
    let (code, constants) = (section(&sizes, ".text"), section(&sizes, ".rodata"));
    println!("the engine without std: {code} bytes of code, {constants} of constants");
    assert!(code + constants <= MOST, "{sizes}");
}
