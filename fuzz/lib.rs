//! Fuzz targets: each is a plain function of any bytes, which panics where a promise is broken.
//!
//! What a target does with the bytes is at the head of its module. `fuzz_targets/` has a binary for
//! each of them, for libFuzzer; `tests/replay.rs` runs each over what is kept in `corpus/` and
//! `regressions/`. How to fuzz is told in `README.md`.
#![allow(
    clippy::panic,
    reason = "to panic is how a target says that something is wrong"
)]

mod differential;
mod engine;
mod exchange;
mod line;
mod log;
mod mapping;
mod records;
mod seen;
mod serve;
mod snapshot;
mod wire;

use arbitrary::Result;

/// The same changes in other batches, pages and by other transports: what is seen is the same.
pub fn differential(data: &[u8]) {
    done(differential::run(data));
}

/// Anything that a source, a network, a clock and subscribers can do to an engine, in the simulator
/// and with all its checkers.
pub fn engine(data: &[u8]) {
    done(engine::run(data));
}

/// The trace that an input of [`engine`] stands for, as the simulator's command line reads it; `None`
/// for one that is too short.
#[must_use]
pub fn engine_trace(data: &[u8]) -> Option<Vec<u8>> {
    engine::trace(data).ok().map(|trace| trace.to_bytes())
}

/// Any bytes as the answer to a request that is taken without I/O: nothing of it does harm, and what it
/// means does not depend on how it is cut and framed.
pub fn exchange(data: &[u8]) {
    done(exchange::run(data));
}

/// Any changes of a cache and any calls of its subscribers: all that they are told is what the naive
/// model says.
pub fn log(data: &[u8]) {
    done(log::run(data));
}

/// Any mapping onto a REST service, and any answers: nothing of it does harm, and what is seen does not
/// depend on where the network cuts it.
pub fn mapping(data: &[u8]) {
    done(mapping::run(data));
}

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

/// Any bytes as what a server says by any transport: nothing of it does harm, and what is seen does not
/// depend on where the network cuts it.
pub fn wire(data: &[u8]) {
    done(wire::run(data));
}

/// Where an input ends too early the target has nothing more to do: that is no failure.
fn done(outcome: Result<()>) {
    let _ = outcome;
}
