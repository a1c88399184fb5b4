//! Mapped services against scripted servers, seen by a recording engine.

mod any;
mod link;
mod list;
mod mapping;
mod pointer;
mod poll;
mod rig;
mod stream;
mod transport;
