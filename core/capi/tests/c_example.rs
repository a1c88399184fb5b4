//! The example in C follows a real server, over its own sockets: through writes, a history that is
//! gone, and a server that is restarted in another epoch.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may panic")]

use std::net::SocketAddr;
use std::process::Stdio;
use std::time::Duration;

use reflet_tokio::serve::{
    Change, Collection, CollectionOptions, Continuity, Precondition, Publish, to_raw_value,
};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, BufReader, Lines};
use tokio::net::TcpListener;
use tokio::process::{Child, ChildStdout, Command};
use tokio::task::JoinHandle;

mod support;

/// So that a program that hangs fails the test, on however slow a machine.
const PATIENCE: Duration = Duration::from_secs(120);

fn put(collection: &Collection, key: &str, value: u32) {
    let value = to_raw_value(&value).unwrap();
    collection.put(key, value, Precondition::None).unwrap();
}

async fn serve(collection: &Collection, at: SocketAddr) -> (SocketAddr, JoinHandle<()>) {
    let listener = TcpListener::bind(at).await.unwrap();
    let at = listener.local_addr().unwrap();
    let router = Publish::new().collection(collection).router();
    let serving = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    (at, serving)
}

/// The example, and what it prints.
struct Follower {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Follower {
    fn start(program: std::process::Command, at: SocketAddr, ends: &[&str]) -> Self {
        let mut command = Command::from(program);
        command
            .args([&at.ip().to_string(), &at.port().to_string(), "routes"])
            .args(ends)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        let mut child = command.spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { child, lines }
    }

    async fn prints(&mut self, expected: &[&str]) {
        for expected in expected {
            match self.lines.next_line().await.unwrap() {
                Some(line) => assert_eq!(line, *expected),
                None => panic!("it ended before {expected:?}: {}", self.complaint().await),
            }
        }
    }

    /// It ends by itself, with nothing more to say.
    async fn ends(mut self) {
        assert_eq!(self.lines.next_line().await.unwrap(), None);
        let status = self.child.wait().await.unwrap();
        assert!(status.success(), "{status}: {}", self.complaint().await);
    }

    async fn complaint(&mut self) -> String {
        let mut said = String::new();
        let mut stderr = self.child.stderr.take().unwrap();
        stderr.read_to_string(&mut said).await.unwrap();
        said
    }
}

/// Everything that is done to the collection, and what the example must print of it.
async fn a_life(program: std::process::Command) {
    let routes = Collection::new("routes", CollectionOptions::default()).unwrap();
    put(&routes, "b", 1);
    put(&routes, "a", 1);
    let (at, serving) = serve(&routes, "127.0.0.1:0".parse().unwrap()).await;
    let mut follower = Follower::start(program, at, &["end", "0"]);
    follower.prints(&["+ a 1", "+ b 1", "= 2"]).await;

    put(&routes, "a", 2);
    follower.prints(&["~ a 1 -> 2", "= 3"]).await;
    routes.delete("b", Precondition::None).unwrap();
    follower.prints(&["- b 1", "= 4"]).await;
    let change = |key: &str| Change::Put {
        key: key.into(),
        value: to_raw_value(&7).unwrap(),
        precondition: Precondition::None,
    };
    routes.transaction(vec![change("c"), change("d")]).unwrap();
    follower.prints(&["+ c 7", "+ d 7", "= 5"]).await;

    // The server is restarted from a backup, which is another history: the difference is told.
    let backup = routes.export();
    put(&routes, "d", 8);
    follower.prints(&["~ d 7 -> 8", "= 6"]).await;
    serving.abort();
    let _ = serving.await;
    routes.close();
    let options = CollectionOptions::default();
    let routes = Collection::restored(&backup, Continuity::NewEpoch, options).unwrap();
    routes.delete("c", Precondition::None).unwrap();
    let (_, serving) = serve(&routes, at).await;
    follower.prints(&["~ d 8 -> 7", "- c 7", "= 6"]).await;

    put(&routes, "end", 0);
    follower.prints(&["+ end 0", "= 7"]).await;
    follower.ends().await;
    serving.abort();
}

/// Standard input is closed before there is any server.
async fn a_short_life(program: std::process::Command) {
    let nobody = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = nobody.local_addr().unwrap();
    drop(nobody);
    let mut follower = Follower::start(program, at, &[]);
    drop(follower.child.stdin.take());
    follower.ends().await;
}

fn run(life: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let lived = runtime.block_on(async { tokio::time::timeout(PATIENCE, life).await });
    assert!(lived.is_ok(), "it hangs");
}

#[test]
fn the_example_follows_a_server() {
    let program = support::build("examples/follow.c");
    run(a_life(std::process::Command::new(&program)));
    run(a_short_life(std::process::Command::new(&program)));
    for life in [true, false] {
        let Some(program) = support::under_valgrind(&program) else {
            return;
        };
        if life {
            run(a_life(program));
        } else {
            run(a_short_life(program));
        }
    }
}
