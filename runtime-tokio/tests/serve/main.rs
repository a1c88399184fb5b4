//! Scenarios for the server side, through its router and its public API.
#![cfg(feature = "serve")]
// Helpers of tests may fail like tests do, and tests have std.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![allow(clippy::std_instead_of_alloc, clippy::std_instead_of_core)]

mod exports;
mod lists;
mod polls;
mod properties;
mod rig;
mod watches;
mod writes;
