//! The stage: it plays the source, the clock and the handlers, so that a story takes a few lines.
//!
//! One rule keeps the stories short: an object's version and its content are the number that a
//! scene gives it, and a change's revision is the number of what it wrote. So `put(watch, "a", 11)`
//! says that revision 11 changed `a`, which is `a=11` from then on.

use std::sync::Arc;
use std::time::Duration;

use reflet_core::cache::{Delta, Filter, Polled, SubscriberId};
use reflet_core::{
    Attempt, Body, Change, Command, Config, Event, Failure, FailureClass, Informer, Input, Item,
    Notice, Removal, SourceProfile, Timestamp, WatchFrom,
};

/// An object's content. Shared, so that a scene can see who still holds it.
pub(crate) type Content = Arc<u64>;
/// An object as a source sends it.
pub(crate) type Object<'a> = Item<'a, Arc<str>, Content>;

/// Like Kubernetes: ordered revisions, no word about where a transaction ends.
pub(crate) fn kubernetes() -> Config {
    Config {
        source: SourceProfile {
            versions_ordered: true,
            ..SourceProfile::default()
        },
        ..Config::default()
    }
}

/// An object whose version and content are `content`, of 100 bytes.
pub(crate) fn object(key: &str, content: u64) -> Object<'_> {
    Item {
        key,
        version: content.into(),
        incarnation: None,
        size: 100,
        body: Body::Value(Arc::new(content)),
    }
}

/// An object that nobody can decode.
pub(crate) fn broken(key: &str, version: u64) -> Object<'_> {
    Item {
        body: Body::Undecodable("price: -5 is no u8"),
        ..object(key, version)
    }
}

/// An informer, and everybody around it.
pub(crate) struct Rig {
    pub(crate) informer: Informer<Arc<str>, Content>,
    pub(crate) now: Timestamp,
}

impl Rig {
    /// An informer that has just been made.
    pub(crate) fn new(config: Config) -> Self {
        Self::seeded(config, 1)
    }

    /// One of many informers, each with its own seed.
    pub(crate) fn seeded(config: Config, seed: u64) -> Self {
        let now = Timestamp::from_millis(0);
        let informer = Informer::new(config, seed, now);
        Self { informer, now }
    }

    /// An informer that has listed `a=1 b=2` at revision 10, and has its watch open.
    pub(crate) fn watching(config: Config) -> (Self, Attempt) {
        Self::new(config).synced()
    }

    /// The same, from here on.
    pub(crate) fn synced(mut self) -> (Self, Attempt) {
        let list = self.asked_to_list();
        self.list(list, 10, &[("a", 1), ("b", 2)]);
        let watch = self.asked_to_watch(10);
        self.open(watch);
        self.notices();
        (self, watch)
    }

    // What the informer asks for. Time passes until it does.

    /// The next list or watch. `None`: nothing waits to start.
    pub(crate) fn next_request(&mut self) -> Option<Command> {
        for _ in 0..1_000 {
            match self.informer.poll_command() {
                Some(Command::Cancel { .. }) => {}
                Some(request) => return Some(request),
                None => {
                    self.informer.health().next_attempt?;
                    self.now = self.now.max(self.informer.poll_timeout()?.at);
                    self.informer.handle_timeout(self.now);
                }
            }
        }
        panic!("time passes, and nothing starts");
    }

    /// The next request, which must be a list from its first page on.
    pub(crate) fn asked_to_list(&mut self) -> Attempt {
        match self.next_request() {
            Some(Command::List {
                attempt,
                page: None,
                ..
            }) => attempt,
            other => panic!("expected a list, got {other:?}"),
        }
    }

    /// The next request, which must be a list not older than `floor`; `None`: of any age.
    pub(crate) fn asked_to_list_from(&mut self, floor: Option<u64>) -> Attempt {
        match self.next_request() {
            Some(Command::List {
                attempt, at_least, ..
            }) => {
                assert_eq!(at_least, floor.map(Into::into));
                attempt
            }
            other => panic!("expected a list, got {other:?}"),
        }
    }

    /// The next request, which must be for the page with this token.
    pub(crate) fn asked_for_page(&mut self, token: &str) {
        match self.next_request() {
            Some(Command::List { page, .. }) => assert_eq!(page.as_deref(), Some(token)),
            other => panic!("expected a page, got {other:?}"),
        }
    }

    /// The next request, which must be a watch of what comes after `revision`.
    pub(crate) fn asked_to_watch(&mut self, revision: u64) -> Attempt {
        match self.next_request() {
            Some(Command::Watch {
                attempt,
                from: WatchFrom::Revision(from),
                ..
            }) => {
                assert_eq!(from, revision.into());
                attempt
            }
            other => panic!("expected a watch, got {other:?}"),
        }
    }

    // What the source says.

    /// Anything.
    pub(crate) fn say(&mut self, attempt: Attempt, input: Input<'_, Arc<str>, Content>) {
        self.informer.handle(self.now, attempt, input);
    }

    /// A complete list.
    pub(crate) fn list(&mut self, attempt: Attempt, revision: u64, objects: &[(&str, u64)]) {
        self.page(attempt, revision, objects, None);
    }

    /// One page of a list, and the token of the next.
    pub(crate) fn page(
        &mut self,
        attempt: Attempt,
        revision: u64,
        objects: &[(&str, u64)],
        next: Option<&str>,
    ) {
        self.begin_page(attempt, revision);
        for (key, content) in objects {
            self.say(attempt, Input::Item(object(key, *content)));
        }
        self.say(attempt, Input::PageEnd { next });
    }

    /// A complete list of objects that are out of the ordinary.
    pub(crate) fn list_of<const N: usize>(
        &mut self,
        attempt: Attempt,
        revision: u64,
        objects: [Object<'_>; N],
    ) {
        self.begin_page(attempt, revision);
        for object in objects {
            self.say(attempt, Input::Item(object));
        }
        self.say(attempt, Input::PageEnd { next: None });
    }

    pub(crate) fn begin_page(&mut self, attempt: Attempt, revision: u64) {
        let revision = Some(revision.into());
        let epoch = None;
        self.say(attempt, Input::Page { epoch, revision });
    }

    /// The watch is accepted.
    pub(crate) fn open(&mut self, watch: Attempt) {
        self.say(watch, Input::Opened { epoch: None });
    }

    /// An object is written.
    pub(crate) fn put(&mut self, watch: Attempt, key: &str, revision: u64) {
        self.put_object(watch, revision, object(key, revision));
    }

    /// An object that is out of the ordinary is written.
    pub(crate) fn put_object(&mut self, watch: Attempt, revision: u64, object: Object<'_>) {
        self.change(watch, revision, Change::Upsert(object));
    }

    /// An object is deleted.
    pub(crate) fn delete(&mut self, watch: Attempt, key: &str, revision: u64) {
        let removal = Removal {
            key,
            version: None,
            incarnation: None,
            last: None,
            size: 50,
        };
        self.change(watch, revision, Change::Delete(removal));
    }

    fn change(&mut self, watch: Attempt, revision: u64, change: Change<'_, Arc<str>, Content>) {
        let event = Event {
            change,
            revision: Some(revision.into()),
            previous: None,
        };
        self.say(watch, Input::Event(event));
    }

    /// A bookmark: everything up to a revision has been sent.
    pub(crate) fn progress(&mut self, watch: Attempt, revision: u64) {
        let revision = revision.into();
        let digest = None;
        self.say(watch, Input::Progress { revision, digest });
    }

    /// All of a transaction has been sent.
    pub(crate) fn batch_end(&mut self, watch: Attempt, revision: u64) {
        let revision = revision.into();
        self.say(watch, Input::BatchEnd { revision });
    }

    /// A clean end.
    pub(crate) fn close(&mut self, attempt: Attempt) {
        self.say(attempt, Input::Closed);
    }

    /// An end with an error.
    pub(crate) fn fail(&mut self, attempt: Attempt, class: FailureClass, words: &str) {
        self.say(attempt, Input::Failed(Failure::new(class, words)));
    }

    /// Time passes, and nobody says anything.
    pub(crate) fn pass(&mut self, time: Duration) {
        let until = self.now.saturating_add(time);
        while let Some(deadline) = self.informer.poll_timeout()
            && deadline.at <= until
        {
            self.now = self.now.max(deadline.at);
            self.informer.handle_timeout(self.now);
        }
        self.now = until;
    }

    // What everybody sees.

    /// A handler of everything.
    pub(crate) fn subscribe(&mut self) -> SubscriberId {
        self.informer.subscribe(None)
    }

    /// A handler of some contents.
    pub(crate) fn subscribe_to(&mut self, wants: fn(u64) -> bool) -> SubscriberId {
        let filter = Filter::new(move |_: &Arc<str>, content: &Content| wants(**content));
        self.informer.subscribe(Some(filter))
    }

    /// Everything that a handler is told now, in words.
    pub(crate) fn told(&mut self, handler: SubscriberId) -> Vec<String> {
        std::iter::from_fn(|| self.told_next(handler)).collect()
    }

    /// The next thing that a handler is told.
    pub(crate) fn told_next(&mut self, handler: SubscriberId) -> Option<String> {
        loop {
            match self.informer.poll_delta(handler) {
                Polled::Delta(delta) => return Some(words(delta)),
                Polled::Yield => {}
                Polled::Idle => return None,
            }
        }
    }

    /// What a reader of the cache sees: its objects, and the revision that they are the state of.
    pub(crate) fn cache(&self) -> String {
        let cache = self.informer.cache();
        let objects = cache
            .iter()
            .map(|entry| format!("{}={}", entry.key, entry.value));
        let mut words: Vec<String> = objects.collect();
        words.sort();
        match cache.revision() {
            Some(revision) if cache.is_complete() => words.push(format!("at {revision}")),
            Some(revision) => words.push(format!("partly at {revision}")),
            None => words.push("nothing yet".to_owned()),
        }
        words.join(" ")
    }

    /// The notices since the last call.
    pub(crate) fn notices(&mut self) -> Vec<Notice<Arc<str>>> {
        std::iter::from_fn(|| self.informer.poll_notice()).collect()
    }
}

fn words(delta: Delta<Arc<str>, Content>) -> String {
    match delta {
        Delta::Added { key, new } => format!("added {key}={new}"),
        Delta::Updated { key, old, new } => format!("updated {key}={old} to {new}"),
        Delta::Deleted {
            key,
            seen,
            inferred: false,
            ..
        } => format!("deleted {key}={seen}"),
        Delta::Deleted { key, seen, .. } => format!("found {key}={seen} gone"),
        Delta::Redelivered { key, value } => format!("{key}={value} once more"),
        Delta::Gap(why) => format!("gap: {why:?}"),
        Delta::Mark(mark) => {
            let how = if mark.complete { "caught up" } else { "partly" };
            let revision = mark.revision.map_or("-".to_owned(), |at| at.to_string());
            let first = if mark.initial { "synced, " } else { "" };
            format!("{first}{how} at {revision}")
        }
        Delta::Reset => "reset".to_owned(),
    }
}
