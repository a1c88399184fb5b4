//! The whole informer against servers that are broken or mean, through its public API: what it
//! says of them, what it keeps, how often it asks, and that it recovers.
//!
//! Time is simulated and connections are pipes in memory, but for the few scenarios that depend
//! on how real sockets end.
#![cfg(feature = "http")]
// Helpers of tests may fail like tests do.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod content;
mod endless;
mod floods;
mod mapped;
mod memory;
mod pace;
#[path = "../support/protocol.rs"]
mod protocol;
mod refusals;
mod rig;
mod server;
mod sockets;
mod world;
