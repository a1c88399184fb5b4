//! The engine in loops that are not tokio's follows a real server: it lists, hears changes, and finds
//! its way back when the server has been away.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may panic")]

#[path = "../../../core/examples/epoll.rs"]
#[allow(dead_code, reason = "its main function is not called")]
mod epoll;
#[path = "../../../core/examples/smol.rs"]
#[allow(dead_code, reason = "its main function is not called")]
mod on_smol;
#[path = "../../../core/examples/threads.rs"]
#[allow(dead_code, reason = "its main function is not called")]
mod threads;

mod device;
mod server;

use std::ops::ControlFlow;
use std::sync::Arc;

use reflet_tokio::reflet_core::cache::Delta;

use self::server::Server;

fn shown(delta: &Delta<Arc<str>, Arc<str>>) -> Option<String> {
    match delta {
        Delta::Added { key, new } => Some(format!("+{key}={new}")),
        Delta::Updated { key, new, .. } => Some(format!("~{key}={new}")),
        Delta::Deleted { key, .. } => Some(format!("-{key}")),
        _ => None,
    }
}

/// Changes one collection as it is followed, and notes what is told of it.
struct Story {
    at: usize,
    said: Vec<String>,
}

impl Story {
    const WHOLE: [&str; 5] = [
        "+a=\"one\"",
        "+b=\"two\"",
        "~a=\"three\"",
        "-b",
        "+c=\"four\"",
    ];

    /// Its first change is there before anybody follows.
    fn begin(server: &Server, at: usize) -> Self {
        server.put(at, "a", "one");
        server.put(at, "b", "two");
        let said = Vec::new();
        Self { at, said }
    }

    fn hear(&mut self, server: &mut Server, delta: &Delta<Arc<str>, Arc<str>>) -> bool {
        let Some(said) = shown(delta) else {
            return false;
        };
        match &*said {
            "+b=\"two\"" => server.put(self.at, "a", "three"),
            "~a=\"three\"" => server.delete(self.at, "b"),
            // What happens while the server is away is not missed.
            "-b" => {
                server.down();
                server.put(self.at, "c", "four");
                server.up();
            }
            _ => {}
        }
        self.said.push(said);
        self.said.len() == Self::WHOLE.len()
    }
}

#[test]
fn plain_threads_follow() {
    let mut server = Server::start(&["routes"]);
    let mut story = Story::begin(&server, 0);
    let authority = server.address.to_string();
    let told = |delta: Delta<_, _>| match story.hear(&mut server, &delta) {
        true => ControlFlow::Break(()),
        false => ControlFlow::Continue(()),
    };
    threads::follow(&authority, "routes", told).unwrap();
    assert_eq!(story.said, Story::WHOLE);
}

#[test]
fn a_smol_task_follows() {
    let mut server = Server::start(&["routes"]);
    let mut story = Story::begin(&server, 0);
    let authority = server.address.to_string();
    let told = |delta: Delta<_, _>| match story.hear(&mut server, &delta) {
        true => ControlFlow::Break(()),
        false => ControlFlow::Continue(()),
    };
    smol::block_on(on_smol::follow(&authority, "routes", told)).unwrap();
    assert_eq!(story.said, Story::WHOLE);
}

#[test]
fn one_poller_follows_two_collections() {
    let mut server = Server::start(&["routes", "clusters"]);
    let mut stories = [Story::begin(&server, 0), Story::begin(&server, 1)];
    let address = server.address;
    let mut over = [false; 2];
    let told = |at: usize, delta: Delta<_, _>| {
        over[at] = stories[at].hear(&mut server, &delta) || over[at];
        match over {
            [true, true] => ControlFlow::Break(()),
            _ => ControlFlow::Continue(()),
        }
    };
    epoll::follow(address, &["routes", "clusters"], told).unwrap();
    assert_eq!(stories[0].said, Story::WHOLE);
    assert_eq!(stories[1].said, Story::WHOLE);
}
