//! The engine in a loop of one's own: no runtime, no tasks, one thread.
//!
//! The "source" here is a list of changes in memory; a gateway would have sockets in its place and
//! its poller's wait in place of the sleep. Everything else is what an embedder writes.
//!
//! `cargo run -p reflet-core --example own_loop`

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use reflet_core::cache::{Delta, Polled};
use reflet_core::{
    Attempt, Body, Change, Command, Config, Event, Informer, Input, Item, Timestamp, WatchFrom,
};

type Routes = Informer<Arc<str>, Arc<str>>;

/// What a server would have: its objects, and the changes that lead to them.
struct Server {
    history: Vec<(&'static str, &'static str)>,
}

impl Server {
    fn revision(&self) -> u64 {
        self.history.len() as u64
    }

    /// The answer to a list: the state at the present revision, in one page.
    fn list(&self, routes: &mut Routes, now: Timestamp, attempt: Attempt) {
        let revision = Some(self.revision().into());
        let page = Input::Page {
            epoch: None,
            revision,
        };
        routes.handle(now, attempt, page);
        let mut objects = BTreeMap::new();
        for (version, (key, value)) in (1_u64..).zip(&self.history) {
            objects.insert(*key, (version, *value));
        }
        for (key, (version, value)) in objects {
            let item = item(key, version, value);
            routes.handle(now, attempt, Input::Item(item));
        }
        routes.handle(now, attempt, Input::PageEnd { next: None });
    }

    /// What a watch brings that has seen everything up to a revision.
    fn events(&self, routes: &mut Routes, now: Timestamp, attempt: Attempt, seen: &mut u64) {
        for (revision, (key, value)) in (1_u64..).zip(&self.history) {
            if revision > *seen {
                let change = Change::Upsert(item(key, revision, value));
                let revision = Some(revision.into());
                let event = Event {
                    change,
                    revision,
                    previous: None,
                };
                routes.handle(now, attempt, Input::Event(event));
            }
        }
        *seen = self.revision();
        let revision = (*seen).into();
        routes.handle(
            now,
            attempt,
            Input::Progress {
                revision,
                digest: None,
            },
        );
    }
}

fn item<'a>(key: &'a str, version: u64, value: &str) -> Item<'a, Arc<str>, Arc<str>> {
    let size = key.len() + value.len();
    let body = Body::Value(value.into());
    Item {
        key,
        version: version.into(),
        incarnation: None,
        size,
        body,
    }
}

fn main() {
    let mut server = Server {
        history: vec![("/hello", "10.0.0.1:80"), ("/bye", "10.0.0.2:80")],
    };
    let mut news = vec![("/hello", "10.0.0.3:80"), ("/new", "10.0.0.4:80")];

    let start = Instant::now();
    let clock =
        || Timestamp::from_nanos(u64::try_from(start.elapsed().as_nanos()).unwrap_or(u64::MAX));
    // In production the seed comes from an entropy source.
    let mut routes = Routes::new(Config::default(), 42, clock());
    let subscriber = routes.subscribe(None);
    let mut watch: Option<(Attempt, u64)> = None;

    loop {
        // Do what the engine asks for.
        while let Some(command) = routes.poll_command() {
            match command {
                Command::List { attempt, .. } => server.list(&mut routes, clock(), attempt),
                Command::Watch {
                    attempt,
                    from: WatchFrom::Revision(revision),
                    ..
                } => {
                    routes.handle(clock(), attempt, Input::Opened { epoch: None });
                    watch = Some((attempt, revision.as_u64().unwrap_or(0)));
                }
                Command::Watch { .. } => unreachable!("this source only resumes"),
                Command::Cancel { .. } => watch = None,
            }
        }
        // Hand in what the source said. (Here it says one more thing each time round.)
        if let Some((attempt, seen)) = &mut watch {
            server.events(&mut routes, clock(), *attempt, seen);
        }
        // Tell whoever listens.
        loop {
            match routes.poll_delta(subscriber) {
                Polled::Delta(Delta::Mark(mark)) => {
                    println!("-- everything up to revision {:?}", mark.revision);
                }
                Polled::Delta(delta) => println!("{delta:?}"),
                Polled::Yield => {}
                Polled::Idle => break,
            }
        }
        if news.is_empty() && watch.is_some() {
            break;
        }
        server
            .history
            .extend((!news.is_empty()).then(|| news.remove(0)));
        // Sleep until the engine or a socket wants something; this source has no sockets.
        if let Some(deadline) = routes.poll_timeout() {
            let wait = deadline
                .at
                .saturating_since(clock())
                .min(Duration::from_millis(1));
            std::thread::sleep(wait);
            routes.handle_timeout(clock());
        }
    }
    println!(
        "{} routes at revision {:?}",
        routes.cache().len(),
        routes.cache().revision()
    );
}
