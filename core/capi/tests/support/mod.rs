//! Programs in C: built against the header and the static library, run, and run under valgrind.

use std::env;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// What a Rust program needs of the system beside libc, on Linux.
const SYSTEM: [&str; 4] = ["-lpthread", "-ldl", "-lm", "-lgcc_s"];

/// Builds a C source of this package. The static library is the one that these tests were built with:
/// cargo makes all kinds of the library at once.
pub(crate) fn build(source: &str) -> PathBuf {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    let tests = env::current_exe().unwrap();
    let library = tests.parent().unwrap().join("libreflet.a");
    assert!(library.exists(), "there is no {}", library.display());
    let source = package.join(source);
    let program = Path::new(env!("CARGO_TARGET_TMPDIR")).join(source.file_stem().unwrap());
    let mut compiler = Command::new(env::var_os("CC").unwrap_or("cc".into()));
    compiler
        .args(["-std=c99", "-Wall", "-Wextra", "-Werror", "-pedantic", "-g"])
        .arg("-I")
        .arg(package.join("include"))
        .arg(&source)
        .arg(&library)
        .args(SYSTEM)
        .arg("-o")
        .arg(&program);
    let output = compiler.output().unwrap();
    assert!(output.status.success(), "{}", said(&output));
    program
}

/// The program, to be run under valgrind, which fails it for any error and any leak. `None`: there is no
/// valgrind, which is said, and is an error where `REFLET_REQUIRE_VALGRIND` is set.
pub(crate) fn under_valgrind(program: impl AsRef<OsStr>) -> Option<Command> {
    if Command::new("valgrind").arg("--version").output().is_err() {
        let required = env::var_os("REFLET_REQUIRE_VALGRIND").is_some();
        assert!(
            !required,
            "REFLET_REQUIRE_VALGRIND is set, and there is no valgrind"
        );
        // Past the test's capture of what it prints: nobody should take this for a full run.
        let words = "valgrind is not installed: NOT CHECKED for leaks and memory errors\n";
        let _ = std::io::Write::write_all(&mut std::io::stderr(), words.as_bytes());
        return None;
    }
    let mut valgrind = Command::new("valgrind");
    valgrind
        .args(["--quiet", "--leak-check=full", "--show-leak-kinds=all"])
        .args(["--errors-for-leak-kinds=all", "--error-exitcode=9"])
        .arg(program);
    Some(valgrind)
}

/// What a program said, both ways.
pub(crate) fn said(output: &Output) -> String {
    let (out, err) = (&output.stdout, &output.stderr);
    String::from_utf8_lossy(out).into_owned() + &String::from_utf8_lossy(err)
}
