//! Reflet, its peer kube-runtime and the floor, a bare hash map, measured side by side.
//!
//! `cargo run --release -p reflet-bench -- compare` prints one table: for each thing that is worth
//! measuring Reflet's figure, the other side's, their ratio, and whether that is good enough. Both
//! sides run in one process and take turns, so that a noisy machine is unfair to neither; what is
//! shown are medians. The objects are prepared beforehand and kept alive by the bench: Reflet is
//! handed clones of their `Arc`s, kube-runtime references, as each interface takes them. What each
//! row does on both sides is told at its function in [`compare`].
//!
//! `cargo bench -p reflet-bench` times the engine's single operations and what readers do beside two
//! other structures, and counts instructions where valgrind and `gungraun-runner` are installed.

#[cfg(feature = "peers")]
pub mod compare;
pub mod engine;
pub mod latency;
pub mod measure;
pub mod memory;
#[cfg(feature = "peers")]
pub mod objects;
#[cfg(feature = "peers")]
pub mod peer;
pub mod plot;
pub mod readable;
pub mod report;

/// What an object's size on the wire is said to be, in bytes: that of a small ConfigMap in a watch.
pub const WIRE_BYTES: usize = 584;

/// The bare hash map that Reflet is compared with: no order, no subscribers, no versions.
pub type Floor<V> = hashbrown::HashMap<Box<str>, V, foldhash::fast::FixedState>;

/// The n-th key: a thousand namespaces, and names in them.
#[must_use]
pub fn key(n: usize) -> String {
    format!("ns-{}/obj-{n:08}", n % 1_000)
}
