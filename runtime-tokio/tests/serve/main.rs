//! Scenarios for the server side, through its router and its public API.
#![cfg(feature = "serve")]
// Helpers of tests may fail like tests do.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod access;
mod exports;
mod lists;
mod polls;
mod properties;
mod rig;
mod sse;
mod watches;
mod websocket;
mod writes;
