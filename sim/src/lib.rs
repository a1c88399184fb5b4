//! Deterministic simulation of the informer: worlds full of faults, a checker for each promise,
//! and traces that replay.
//!
//! The engine level is plain Rust: a [`world`] that is written apart from the engine, an adversary
//! whose decisions make up a [`trace`], and [`oracles`] that look on from outside ([`run`]). The
//! driver level runs the very driver, with the HTTP source and the server side, over madsim's
//! network (`net`, feature `driver`).
#![allow(
    clippy::indexing_slicing,
    reason = "a simulator that is wrong about itself should stop"
)]

pub mod canaries;
pub mod exhaust;
mod fences;
pub mod generate;
pub mod html;
pub mod marks;
mod motifs;
#[cfg(feature = "driver")]
pub mod net;
mod onlookers;
pub mod oracles;
pub mod regressions;
mod restarts;
pub mod run;
pub mod shrink;
pub mod simplify;
pub mod story;
pub mod sweep;
pub mod trace;
mod variants;
pub mod world;

/// The naive model beside which core's own tests play the cache and its log.
pub use reflet_core::cache::model as log;
