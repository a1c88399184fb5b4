//! Reflet's engine, driven by hand through its public interface: the part of a driver and of a
//! truthful source, without I/O.

use std::sync::Arc;
use std::time::Duration;

use reflet_core::cache::{Delta, Polled, Reached, SubscriberId};
use reflet_core::{
    Attempt, Body, Change, Command, Config, Event, Failure, FailureClass, Incarnation, Informer,
    Input, Item, TimerReason, Timestamp, VersionRef,
};

/// An informer of a source like Kubernetes: pinned lists in pages of 500, then a watch whose events
/// carry the revisions that committed them, without batch ends.
#[derive(Clone)]
pub struct Engine<V> {
    /// The engine.
    pub informer: Informer<Arc<str>, V>,
    now: Timestamp,
    /// The list or the watch in flight.
    attempt: Attempt,
    /// The source's revision; an object's version is the revision that committed it.
    revision: u64,
    /// Items on the page that is being handed in, and pages so far.
    on_page: usize,
    pages: u32,
}

const PAGE_ITEMS: usize = 500;
/// How many deltas a subscriber is lent in one go, as the tokio driver's are.
const DRAIN: usize = 256;
/// Above all versions that a list begins with.
const FIRST_REVISION: u64 = 1 << 32;

/// What an informer of such a source is configured with. No limit stands in the way.
#[must_use]
pub fn config() -> Config {
    let mut config = Config::default();
    config.source.versions_ordered = true;
    config.source.commit_revisions = true;
    config.timing.page_interval = Duration::ZERO;
    config.limits.objects = usize::MAX;
    config.limits.bytes = usize::MAX;
    config.limits.staged_bytes = usize::MAX;
    config.limits.retained_bytes = usize::MAX;
    config
}

impl<V: Clone> Engine<V> {
    /// An engine whose first list has been asked for and not been answered.
    #[must_use]
    pub fn new() -> Self {
        let now = Timestamp::ZERO;
        let mut informer = Informer::new(config(), 42, now);
        let Some(Command::List { attempt, .. }) = informer.poll_command() else {
            unreachable!("an informer begins with a list");
        };
        Self {
            informer,
            now,
            attempt,
            revision: FIRST_REVISION,
            on_page: 0,
            pages: 0,
        }
    }

    /// An engine that watches, with these objects in it, in their order. The n-th has version n.
    pub fn synced<'a>(objects: impl IntoIterator<Item = (&'a str, V)>) -> Self {
        let mut engine = Self::new();
        engine.sync(objects);
        engine
    }

    /// The first list, all of it, and the watch that follows it.
    pub fn sync<'a>(&mut self, objects: impl IntoIterator<Item = (&'a str, V)>) {
        self.begin_list();
        for ((key, value), version) in objects.into_iter().zip(1..) {
            self.list_item(key, VersionRef::from(version), None, Body::Value(value));
        }
        self.end_list();
    }

    /// The watch breaks with its history gone, and the list that this asks for begins.
    pub fn begin_relist(&mut self) {
        let gone = Failure::new(FailureClass::Gone, "too old");
        self.hand(Input::Failed(gone));
        let Command::List { attempt, .. } = self.next_command() else {
            unreachable!("a list follows a watch that is gone");
        };
        self.attempt = attempt;
        self.begin_list();
    }

    /// A page begins.
    pub fn begin_list(&mut self) {
        (self.on_page, self.pages) = (0, 0);
        self.begin_page();
    }

    /// One item of the list, as drivers hand it in: the payload is only decoded if the cache does
    /// not hold the version already. False where it would have to be.
    pub fn relist_item(
        &mut self,
        key: &str,
        version: VersionRef<'_>,
        incarnation: Option<Incarnation>,
    ) -> bool {
        let held = self.informer.holds(self.attempt, key, version, incarnation);
        if held {
            self.list_item(key, version, incarnation, Body::Unchanged);
        }
        held
    }

    /// One item of the list that the cache does not hold in this version.
    pub fn changed_item(&mut self, key: &str, version: VersionRef<'_>, value: V) {
        self.list_item(key, version, None, Body::Value(value));
    }

    /// The list is complete. It becomes visible, and the watch that follows it opens.
    pub fn end_list(&mut self) {
        self.hand(Input::PageEnd { next: None });
        self.open_watch();
    }

    /// Says which keys are about to change, as a driver does that has read several events at once.
    /// `touch` looks at a value as dropping it does.
    pub fn look_ahead(&self, keys: &[String], touch: impl Fn(&V) -> usize) {
        self.informer
            .look_ahead(keys.iter().map(String::as_str), touch);
    }

    /// A change as a watch event.
    pub fn update(&mut self, key: &str, value: V) {
        self.revision += 1;
        let revision = self.revision;
        let item = Item {
            key,
            version: VersionRef::from(revision),
            incarnation: None,
            size: crate::WIRE_BYTES,
            body: Body::Value(value),
        };
        self.hand(Input::Event(Event {
            change: Change::Upsert(item),
            revision: Some(revision.into()),
            previous: None,
        }));
    }

    /// Lets a subscriber look at what there is for it, in batches, and tells how many deltas that
    /// was, marks aside.
    pub fn drain(&mut self, subscriber: SubscriberId) -> usize {
        let mut deltas = 0;
        loop {
            let reached = self.informer.drain_deltas(subscriber, DRAIN, |delta| {
                std::hint::black_box(delta);
                deltas += 1;
            });
            if reached == Reached::Idle {
                return deltas;
            }
        }
    }

    /// The same, but takes each delta by itself, to keep.
    pub fn poll(&mut self, subscriber: SubscriberId) -> usize {
        let mut deltas = 0;
        loop {
            match self.informer.poll_delta(subscriber) {
                Polled::Delta(Delta::Mark(_)) | Polled::Yield => {}
                Polled::Delta(delta) => {
                    std::hint::black_box(&delta);
                    deltas += 1;
                }
                Polled::Idle => return deltas,
            }
        }
    }

    /// Lets the engine settle all that is kept for nobody any more: as it does by itself within
    /// milliseconds, a part each time it is woken.
    pub fn settle(&mut self) {
        while let Some(deadline) = self.informer.poll_timeout()
            && deadline.reason == TimerReason::Reclaim
        {
            self.wake(deadline.at);
        }
    }

    /// When the engine wants to be woken.
    #[must_use]
    pub fn deadline(&self) -> Timestamp {
        let deadline = self.informer.poll_timeout();
        deadline.map_or(Timestamp::MAX, |deadline| deadline.at)
    }

    /// Wakes the engine at a time. If it asks for a watch, that opens and shows a sign of life.
    pub fn wake(&mut self, now: Timestamp) {
        self.now = now;
        self.informer.handle_timeout(now);
        while let Some(command) = self.informer.poll_command() {
            match command {
                Command::Watch { attempt, .. } => {
                    self.attempt = attempt;
                    self.hand(Input::Opened { epoch: None });
                    self.hand(Input::Heartbeat);
                }
                Command::Cancel { .. } => {}
                Command::List { .. } => unreachable!("a silent watch is opened again"),
            }
        }
    }

    fn list_item(
        &mut self,
        key: &str,
        version: VersionRef<'_>,
        incarnation: Option<Incarnation>,
        body: Body<'_, V>,
    ) {
        if self.on_page == PAGE_ITEMS {
            self.turn_page();
        }
        self.on_page += 1;
        self.hand(Input::Item(Item {
            key,
            version,
            incarnation,
            size: crate::WIRE_BYTES,
            body,
        }));
    }

    fn begin_page(&mut self) {
        self.hand(Input::Page {
            epoch: None,
            revision: Some(self.revision.into()),
        });
    }

    fn turn_page(&mut self) {
        self.pages += 1;
        let token = self.pages.to_string();
        self.hand(Input::PageEnd { next: Some(&token) });
        let command = self.next_command();
        assert!(
            matches!(command, Command::List { attempt, .. } if attempt == self.attempt),
            "the next page is asked for"
        );
        self.on_page = 0;
        self.begin_page();
    }

    fn open_watch(&mut self) {
        let Command::Watch { attempt, .. } = self.next_command() else {
            unreachable!("a watch follows a list");
        };
        self.attempt = attempt;
        self.hand(Input::Opened { epoch: None });
    }

    fn hand(&mut self, input: Input<'_, Arc<str>, V>) {
        self.informer.handle(self.now, self.attempt, input);
    }

    /// The next list or watch, however long the engine waits before it asks for it.
    fn next_command(&mut self) -> Command {
        loop {
            match self.informer.poll_command() {
                Some(Command::Cancel { .. }) => {}
                Some(command) => return command,
                None => {
                    self.now = self.deadline();
                    self.informer.handle_timeout(self.now);
                }
            }
        }
    }
}

impl<V: Clone> Default for Engine<V> {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn engine(n: u64) -> Engine<u64> {
        let keys: Vec<_> = (0..n).map(|number| number.to_string()).collect();
        let mut engine = Engine::synced(keys.iter().map(String::as_str).zip(0..));
        assert_eq!(engine.informer.cache().len() as u64, n);
        assert!(engine.informer.cache().is_complete());
        while engine.informer.poll_notice().is_some() {}
        engine
    }

    #[test]
    fn a_list_of_many_pages_arrives_whole_and_updates_follow_it() {
        let mut engine = engine(1_234);
        let subscriber = engine.informer.subscribe(None);
        assert_eq!(engine.drain(subscriber), 1_234);
        engine.update("7", 70);
        engine.update("new", 1);
        assert_eq!(engine.informer.cache().get("7"), Some(&70));
        assert_eq!(engine.drain(subscriber), 2);
    }

    #[test]
    fn a_relist_of_what_is_held_tells_nobody_anything() {
        let mut engine = engine(1_234);
        let subscriber = engine.informer.subscribe(None);
        engine.drain(subscriber);
        engine.begin_relist();
        for number in 0..1_234_u64 {
            assert!(engine.relist_item(&number.to_string(), (number + 1).into(), None));
        }
        assert!(!engine.relist_item("7", 9_999.into(), None));
        engine.end_list();
        assert_eq!(engine.informer.cache().len(), 1_234);
        assert_eq!(engine.drain(subscriber), 0);
    }

    #[test]
    fn a_silent_watch_is_opened_again_at_its_deadline() {
        let mut engine = engine(3);
        for _ in 0..20 {
            let deadline = engine.deadline();
            engine.wake(deadline);
            assert!(engine.deadline() > deadline);
        }
        engine.update("1", 10);
        assert_eq!(engine.informer.cache().get("1"), Some(&10));
    }
}
