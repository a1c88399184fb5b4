//! Fuzz targets: each is a plain function of any bytes, which panics where a promise is broken.
//!
//! What a target does with the bytes is at the head of its module. `fuzz_targets/` has a binary for
//! each of them, for libFuzzer; `tests/replay.rs` runs each over what is kept in `corpus/` and
//! `regressions/`. How to fuzz is told in `README.md`.
#![allow(
    clippy::panic,
    reason = "to panic is how a target says that something is wrong"
)]

mod records;
mod serve;
mod snapshot;

use arbitrary::Result;

/// Any requests to the server side: each answer has the protocol's shape, writes do what a naive map
/// says, and lists, watches and polls show what was written.
pub fn serve(data: &[u8]) {
    done(serve::run(data));
}

/// Any bytes as a snapshot: refused, or usable and within the limits; and what was written is read
/// again as it was, while what was changed is refused.
pub fn snapshot(data: &[u8]) {
    done(snapshot::run(data));
}

/// Where an input ends too early the target has nothing more to do: that is no failure.
fn done(outcome: Result<()>) {
    let _ = outcome;
}
