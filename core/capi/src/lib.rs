//! Reflet for programs in C: the engine and its protocol behind opaque handles, `include/reflet.h` and a
//! library to link. It has no socket, clock or thread of its own, as the engine has none: the program's
//! loop does all I/O.
//!
//! ```text
//!  a C program's loop
//!     │ what was read, the time               ▲ what to write, the deadline, deltas, lookups
//!     ▼                                       │
//!  reflet.h ── border.rs: one guard around each entry point; nothing unwinds, nothing aborts
//!     │
//!     ▼
//!  reflet_core::Informer<Arc<str>, Value>     a value is immutable bytes
//! ```
//!
//! The header is made from this source by cbindgen, and a test compares the two. What C programmers
//! have to know (who owns what, how long a pointer lives, threads) is said once, at the head of the
//! header, which is in `cbindgen.toml`.
//!
//! This is the only package of Reflet with unsafe code, and it has little: the types in the signatures
//! say what C has to give (an `Option<&T>` is a pointer that may be NULL), bytes are looked at in one
//! place, and a handle is a lock that is only tried. So a second thread, or a call out of a callback, is
//! an error code and no undefined behaviour, and a panic poisons the handle.

#![allow(
    unsafe_code,
    reason = "pointers come from C; what trusts one is in `border` and `handle`, but for a visitor's call"
)]
#![allow(
    clippy::missing_safety_doc,
    reason = "all entry points trust their caller in the same way, said at the header's head"
)]
#![allow(
    unreachable_patterns,
    reason = "what the engine may learn to say later has an arm already"
)]
#![deny(unsafe_op_in_unsafe_fn)]

mod border;
mod command;
mod config;
mod delta;
mod endpoint;
mod exchange;
mod handle;
mod health;
mod informer;
mod input;
mod lookup;
mod notice;
mod snapshot;
mod state;
mod status;
mod value;

pub use border::Bytes;
pub use command::*;
pub use config::*;
pub use delta::*;
pub use endpoint::*;
pub use exchange::*;
pub use health::*;
pub use informer::*;
pub use input::*;
pub use lookup::*;
pub use notice::*;
pub use snapshot::*;
pub use status::*;
