//! The source against scripted servers, seen by a recording engine, and against our own server.

mod list;
mod poll;
mod redirects;
mod refusals;
pub(super) mod rig;
#[cfg(feature = "serve")]
mod server;
mod sse;
mod transport;
mod watch;
mod websocket;
