//! The museum: bugs that informers are known to have had, each as a story that can be run.
//!
//! An exhibit names the report upstream, what people suffered, and what Reflet does instead; its
//! scene tells the same in code, against the engine, and panics if the bug is there. The halls:
//!
//! - `history`: revisions, replicas, and history that is gone;
//! - `lists`: pages, relists, and objects that cannot be read;
//! - `queues`: what gets lost or leaks between a watch, a relist and a handler that is late;
//! - `pacing`: retries, backoff, herds;
//! - `liveness`: silence, shutdown, and "why is it doing nothing?";
//! - `handlers`: slow, late, filtered and sleeping handlers.
#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a scene panics where the bug is back"
)]

mod handlers;
mod history;
mod lists;
mod liveness;
mod pacing;
mod queues;
mod rig;

/// One bug that somebody had, and the scene that shows that Reflet does not have it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Exhibit {
    /// What happens in Reflet, as the name of a test.
    pub(crate) name: &'static str,
    /// Where it was reported.
    pub(crate) upstream: &'static str,
    /// What users suffered.
    pub(crate) suffered: &'static str,
    /// What Reflet does instead.
    pub(crate) instead: &'static str,
    /// Plays it; panics if the bug is there.
    pub(crate) scene: fn(),
}

/// The halls, each with its name.
pub(crate) const HALLS: &[(&str, &[Exhibit])] = &[
    ("history", history::HALL),
    ("lists", lists::HALL),
    ("queues", queues::HALL),
    ("pacing", pacing::HALL),
    ("liveness", liveness::HALL),
    ("handlers", handlers::HALL),
];
