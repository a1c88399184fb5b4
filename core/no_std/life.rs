//! A list in two pages, a watch, a subscriber, an index, a history that is gone, the list after
//! that, and a snapshot from which another informer begins.

use alloc::boxed::Box;
use alloc::string::String;
use alloc::sync::Arc;

use reflet_core::cache::{Delta, Polled, SubscriberId};
use reflet_core::index::{IndexBy, Terms};
use reflet_core::snapshot::{Decoder, Snapshot};
use reflet_core::{
    Attempt, Body, Change, Command, Config, Event, Failure, FailureClass, Informer, Input, Item,
    ListReason, Notice, Removal, State, Timestamp, WatchFrom,
};

type Routes = Informer<Arc<str>, Box<str>>;

const IDENTITY: &str = "no_std/routes/1";

/// The step that did not go as it should, from 1 on.
pub(crate) struct WentWrong(pub(crate) u32);

fn check(step: u32, holds: bool) -> Result<(), WentWrong> {
    if holds { Ok(()) } else { Err(WentWrong(step)) }
}

pub(crate) fn live() -> Result<(), WentWrong> {
    let mut now = Timestamp::ZERO;
    let mut routes = Routes::new(Config::default(), 42, now);
    let subscriber = routes.subscribe(None);
    let by_upstream = routes.add_index(IndexBy::new("upstream", |_, value: &Box<str>, terms| {
        let terms: &mut Terms = terms;
        terms.add(value.as_bytes());
    }));

    let list = next_list(&mut routes).ok_or(WentWrong(1))?;
    page(&mut routes, now, list, 7, &[("/a", "one", 3)], Some("more"));
    let Some(Command::List { page: token, .. }) = routes.poll_command() else {
        return Err(WentWrong(2));
    };
    check(3, token.as_deref() == Some("more"))?;
    page(&mut routes, now, list, 7, &[("/b", "two", 5)], None);
    check(4, routes.cache().len() == 2)?;
    check(5, told(&mut routes, subscriber) == "+/a +/b | ")?;

    let (watch, from) = next_watch(&mut routes).ok_or(WentWrong(6))?;
    check(7, from == Some(7))?;
    routes.handle(now, watch, Input::Opened { epoch: None });
    upsert(&mut routes, now, watch, ("/a", "two", 8));
    delete(&mut routes, now, watch, ("/b", 9));
    upsert(&mut routes, now, watch, ("/c", "two", 10));
    let revision = 10.into();
    let progress = Input::Progress {
        revision,
        digest: None,
    };
    routes.handle(now, watch, progress);
    check(8, told(&mut routes, subscriber) == "~/a -/b +/c | ")?;
    check(9, routes.cache().count_by(by_upstream, "two") == 2)?;
    check(10, routes.health().state == State::Live)?;

    // The source has forgotten where we are: all of it is listed again, and only the differences
    // are told.
    let gone = Failure::new(FailureClass::Gone, "compacted");
    routes.handle(now, watch, Input::Failed(gone));
    let list = loop {
        if let Some(list) = next_list(&mut routes) {
            break list;
        }
        now = routes.poll_timeout().ok_or(WentWrong(11))?.at;
        routes.handle_timeout(now);
    };
    let objects = [("/a", "two", 8), ("/d", "three", 12)];
    page(&mut routes, now, list, 12, &objects, None);
    check(12, told(&mut routes, subscriber) == "+/d -/c | ")?;
    check(13, relisted(&mut routes) == Some(ListReason::Gone))?;
    check(
        14,
        routes.cache().get("/d").map(|value| &**value) == Some("three"),
    )?;

    let bytes = routes.snapshot().ok_or(WentWrong(15))?.to_bytes(IDENTITY);
    let bytes = bytes.map_err(|_| WentWrong(16))?;
    let snapshot = decode(&bytes).ok_or(WentWrong(17))?;
    let (_, torn) = bytes.split_last().ok_or(WentWrong(18))?;
    check(19, decode(torn).is_none())?;
    let restored = Routes::restore(Config::default(), 43, now, snapshot);
    let mut restored = restored.map_err(|_| WentWrong(20))?;
    let subscriber = restored.subscribe(None);
    check(21, told(&mut restored, subscriber) == "+/a +/d | ")?;
    check(22, restored.health().state == State::Stale)?;
    let (_, from) = next_watch(&mut restored).ok_or(WentWrong(23))?;
    check(24, from == Some(12))
}

fn decode(bytes: &[u8]) -> Option<Snapshot<Arc<str>, Box<str>>> {
    let mut decoder = Decoder::new(IDENTITY, &Config::default().limits);
    decoder.push(bytes).ok()?;
    decoder.finish().ok()
}

/// Why the last list was taken.
fn relisted(routes: &mut Routes) -> Option<ListReason> {
    let mut why = None;
    while let Some(notice) = routes.poll_notice() {
        if let Notice::Relisted { reason, .. } = notice {
            why = Some(reason);
        }
    }
    why
}

fn next_list(routes: &mut Routes) -> Option<Attempt> {
    match routes.poll_command()? {
        Command::List { attempt, .. } => Some(attempt),
        Command::Watch { .. } | Command::Cancel { .. } => None,
    }
}

fn next_watch(routes: &mut Routes) -> Option<(Attempt, Option<u64>)> {
    match routes.poll_command()? {
        Command::Watch { attempt, from, .. } => {
            let from = match from {
                WatchFrom::Revision(revision) => revision.as_u64(),
                _ => None,
            };
            Some((attempt, from))
        }
        Command::List { .. } | Command::Cancel { .. } => None,
    }
}

fn item<'a>(key: &'a str, value: &str, version: u64) -> Item<'a, Arc<str>, Box<str>> {
    Item {
        key,
        version: version.into(),
        incarnation: None,
        size: key.len() + value.len(),
        body: Body::Value(value.into()),
    }
}

fn page(
    routes: &mut Routes,
    now: Timestamp,
    list: Attempt,
    revision: u64,
    objects: &[(&str, &str, u64)],
    next: Option<&str>,
) {
    let revision = Some(revision.into());
    let epoch = None;
    routes.handle(now, list, Input::Page { epoch, revision });
    for (key, value, version) in objects {
        routes.handle(now, list, Input::Item(item(key, value, *version)));
    }
    routes.handle(now, list, Input::PageEnd { next });
}

fn upsert(
    routes: &mut Routes,
    now: Timestamp,
    watch: Attempt,
    (key, value, revision): (&str, &str, u64),
) {
    let change = Change::Upsert(item(key, value, revision));
    event(routes, now, watch, change, revision);
}

fn delete(routes: &mut Routes, now: Timestamp, watch: Attempt, (key, revision): (&str, u64)) {
    let change = Change::Delete(Removal {
        key,
        version: None,
        incarnation: None,
        last: None,
        size: key.len(),
    });
    event(routes, now, watch, change, revision);
}

fn event(
    routes: &mut Routes,
    now: Timestamp,
    watch: Attempt,
    change: Change<'_, Arc<str>, Box<str>>,
    revision: u64,
) {
    let event = Event {
        change,
        revision: Some(revision.into()),
        previous: None,
    };
    routes.handle(now, watch, Input::Event(event));
}

/// What a subscriber is told until there is no more: `+` added, `~` updated, `-` deleted, `|` a mark.
fn told(routes: &mut Routes, subscriber: SubscriberId) -> String {
    let mut told = String::new();
    loop {
        let (sign, key) = match routes.poll_delta(subscriber) {
            Polled::Idle => return told,
            Polled::Yield => continue,
            Polled::Delta(Delta::Added { key, .. }) => ("+", key),
            Polled::Delta(Delta::Updated { key, .. }) => ("~", key),
            Polled::Delta(Delta::Deleted { key, .. }) => ("-", key),
            Polled::Delta(Delta::Mark(_)) => ("|", "".into()),
            Polled::Delta(_) => ("?", "".into()),
        };
        told.push_str(sign);
        told.push_str(&key);
        told.push(' ');
    }
}
