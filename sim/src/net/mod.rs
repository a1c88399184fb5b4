//! The driver level: the very source of the tokio driver, its HTTP source and its server side,
//! over madsim's runtime and network.
//!
//! One seed is one world: servers that publish a collection, clients with informers and those who
//! follow them, a writer, and a random part of all the faults there are. Every observation from
//! outside is checked against the true history. Then all of it heals, and every informer must
//! converge within its bound; or the writer and one kind of fault never stop, and none may fall
//! further behind than that.
//!
//! The engine's level has more worlds a second and more that can go wrong; this one has what lies
//! around the engine: connections, timers, wakers, locks and the bytes on the wire.

#[cfg(not(madsim))]
compile_error!(
    "The driver level of the simulation needs `--cfg madsim`. The workspace's `.cargo/config.toml` \
     sets it, unless RUSTFLAGS is set or cargo runs from outside the workspace: unset RUSTFLAGS, \
     or add `--cfg madsim` to it. Without the driver level: `--no-default-features`."
);

#[cfg(madsim)]
mod audit;
#[cfg(madsim)]
mod body;
#[cfg(madsim)]
mod books;
#[cfg(madsim)]
mod client;
#[cfg(madsim)]
mod fold;
#[cfg(madsim)]
mod heard;
#[cfg(madsim)]
mod load;
#[cfg(madsim)]
mod onlooker;
#[cfg(madsim)]
mod pace;
#[cfg(madsim)]
mod plan;
/// The mapping is the one by which the transports' own tests follow.
#[cfg(madsim)]
#[path = "../../../runtime-tokio/tests/support/protocol.rs"]
mod protocol;
#[cfg(madsim)]
mod quiet;
#[cfg(madsim)]
mod run;
#[cfg(madsim)]
mod server;
#[cfg(madsim)]
mod storm;
#[cfg(madsim)]
mod subscriber;
#[cfg(madsim)]
mod world;
#[cfg(madsim)]
mod writer;

#[cfg(madsim)]
pub use self::run::{Outcome, Violation, run, run_planted};
#[cfg(madsim)]
pub use self::world::Counts;
