//! Services that know nothing of informers, followed by a mapping alone: real HTTP on both sides,
//! over connections in memory. Time is paused: it moves only when everybody waits.
#![cfg(all(feature = "http", feature = "serve"))]
// Helpers of tests may fail like tests do.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod changes;
#[path = "../support/followed.rs"]
mod followed;
mod lists;
#[path = "../support/network.rs"]
mod network;
mod paged;
mod pages;
mod restarts;
mod rig;
mod service;
mod streams;
