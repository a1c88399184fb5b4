//! Each target over its corpus, and over every input that once showed something wrong.
#![allow(
    clippy::panic,
    clippy::unwrap_used,
    reason = "the helpers of a test may panic"
)]

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::Path;

/// Runs a target over the inputs of its two folders. An empty one would prove nothing.
fn replay(target: fn(&[u8]), name: &str) {
    for kind in ["corpus", "regressions"] {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(kind).join(name);
        let files = fs::read_dir(&folder).unwrap_or_else(|error| panic!("{folder:?}: {error}"));
        let mut paths: Vec<_> = files.map(|file| file.unwrap().path()).collect();
        assert!(!paths.is_empty(), "{folder:?} is empty");
        paths.sort();
        for path in paths {
            let input = fs::read(&path).unwrap();
            let outcome = catch_unwind(AssertUnwindSafe(|| target(&input)));
            if let Err(panic) = outcome {
                eprintln!("the input is {path:?}");
                resume_unwind(panic);
            }
        }
    }
}

macro_rules! replayed {
    ($($target:ident),* $(,)?) => {$(
        #[test]
        fn $target() {
            replay(reflet_fuzz::$target, stringify!($target));
        }
    )*};
}

replayed!(
    differential,
    engine,
    exchange,
    log,
    mapping,
    serve,
    snapshot,
    wire
);
