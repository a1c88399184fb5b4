//! Those who follow an informer: what they are handed is checked at every step.

use std::panic::resume_unwind;
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

use fastrand::Rng;
use futures_util::FutureExt as _;
use madsim::time::{sleep, timeout};
use reflet_core::cache::{Delta, Mark};
use reflet_tokio::{Batch, Deltas, Ended, Handler};

use super::books::{Books, State, Value};
use super::client::Watched;
use super::fold::Told;
use super::plan::{Subscriber, millis, one_of};
use super::world::{Reporter, World, lock};
use crate::oracles::{Checked, Promise};

/// What the panicking filter does not like.
const DREADED: u64 = 23;

/// One follower, and what it knows.
pub(super) struct Reader {
    name: String,
    kind: Subscriber,
    known: Mutex<Known>,
}

struct Known {
    told: Told,
    /// The group that a filter lets through.
    group: Option<u8>,
    /// It follows no more, for a good reason.
    left: bool,
    /// A handler was told that it is synced.
    synced: bool,
}

impl Known {
    fn passes(&self, value: &Value) -> bool {
        self.group.is_none_or(|group| value.group == group)
    }

    /// Takes a mark: where it is complete, what is known is what the source held then.
    fn mark(&mut self, books: &Books, watched: &Watched, mark: &Mark) -> Checked {
        watched.learn()?;
        self.told.mark(mark)?;
        watched.check_readers_at(mark)?;
        let revision = mark
            .revision
            .as_ref()
            .and_then(|revision| revision.as_u64());
        let Some(revision) = revision.filter(|_| mark.complete) else {
            return Ok(());
        };
        watched.check_shown(books)?;
        let shown = lock(&watched.shown);
        watched.check_told(&shown, mark.local_epoch, revision)?;
        let states = shown.states(books, mark.local_epoch, revision).into_iter();
        let what = || format!("at its mark of r{revision}");
        self.told.check(
            states.map(|state| &**state),
            |value| self.passes(value),
            what,
        )
    }
}

impl Reader {
    pub(super) fn new(name: String, kind: Subscriber) -> Arc<Self> {
        Arc::new(Self {
            name,
            kind,
            known: Mutex::new(Known {
                told: Told::default(),
                group: None,
                left: false,
                synced: false,
            }),
        })
    }

    /// Why the reader is not where the source is, if it should be.
    pub(super) fn is_apart(&self, state: &State) -> Option<String> {
        let known = lock(&self.known);
        if known.left || self.kind == Subscriber::Fleeting {
            return None;
        }
        let passes = |value: &Value| known.passes(value);
        let checked = known.told.check([state], passes, || self.name.clone());
        checked.err().map(|broken| broken.message)
    }

    fn start_afresh(&self) {
        lock(&self.known).told = Told::default();
    }

    /// Takes a batch, at the very moment at which it was handed out.
    fn take(&self, reporter: &Reporter, watched: &Watched, batch: &Batch<Arc<Value>>) {
        reporter.count(|counts| counts.batches += 1);
        let mut known = lock(&self.known);
        let checked = known.take(&reporter.books(), watched, batch);
        reporter.check(&self.name, checked);
        let Batch { deltas, mark } = batch;
        let revision = mark.revision.as_ref().map(ToString::to_string);
        let (deltas, objects) = (deltas.len(), known.told.fold.objects.len());
        let (name, epoch) = (&self.name, mark.local_epoch);
        reporter.say(format_args!(
            "{name} batch of {deltas}, at {revision:?} of {epoch}: {objects} objects"
        ));
    }
}

impl Known {
    fn take(&mut self, books: &Books, watched: &Watched, batch: &Batch<Arc<Value>>) -> Checked {
        let Batch { deltas, mark } = batch;
        let rest = deltas.get(1..).unwrap_or_default();
        Promise::TruthfulDeltas.require(!rest.contains(&Delta::Reset), || {
            "a reset that is not the first step".to_owned()
        })?;
        let mut steps = deltas.iter();
        steps.try_for_each(|delta| self.told.step(delta, books))?;
        watched.check_readers_of(deltas.iter().filter_map(key))?;
        self.mark(books, watched, mark)?;
        let health = watched.informer.health();
        // The source says where its transactions end: only a lost event leaves one open.
        Promise::OneRealState.require(mark.complete || health.degraded, || {
            format!("part of a transaction: {mark:?}")
        })?;
        // A long batch is read in turns, and ends where it ended when it began.
        let newest = mark.revision == health.revision && self.group.is_none();
        let same = || watched.content(books) == self.told.fold.objects;
        Promise::HonestReadiness.require(!newest || same(), || {
            "what was handed out is not what the cache shows".to_owned()
        })
    }
}

/// The key that a delta is about.
fn key<V>(delta: &Delta<Arc<str>, V>) -> Option<&str> {
    match delta {
        Delta::Added { key, .. }
        | Delta::Updated { key, .. }
        | Delta::Deleted { key, .. }
        | Delta::Redelivered { key, .. } => Some(key),
        Delta::Gap(_) | Delta::Mark(_) | Delta::Reset => None,
    }
}

/// Lets a reader follow, from the node that this is called on.
pub(super) fn follow(world: &Arc<World>, watched: &Arc<Watched>, reader: &Arc<Reader>, rng: Rng) {
    let reading = Reading {
        reader: Arc::clone(reader),
        watched: Arc::clone(watched),
        reporter: world.reporter.clone(),
        rng,
    };
    let informer = &watched.informer;
    match reader.kind {
        Subscriber::Prompt => {
            madsim::task::spawn(reading.read(informer.subscribe(), Duration::ZERO));
        }
        Subscriber::Slow(pause) => {
            madsim::task::spawn(reading.read(informer.subscribe(), pause));
        }
        Subscriber::Filtered => {
            madsim::task::spawn(reading.change_filters());
        }
        Subscriber::Fleeting => {
            madsim::task::spawn(reading.come_and_go());
        }
        Subscriber::PanickingFilter => {
            let deltas = informer.subscribe_filtered(|_, value| {
                if value.number % DREADED == DREADED - 1 {
                    resume_unwind(Box::new("a filter's panic"));
                }
                true
            });
            madsim::task::spawn(reading.read(deltas, Duration::ZERO));
        }
        Subscriber::Handler => reading.handle(None),
        Subscriber::PanickingHandler(every) => reading.handle(Some(every)),
    }
}

/// A reader at work.
struct Reading {
    reader: Arc<Reader>,
    watched: Arc<Watched>,
    reporter: Reporter,
    rng: Rng,
}

impl Reading {
    fn take(&self, batch: Batch<Arc<Value>>) {
        self.reader.take(&self.reporter, &self.watched, &batch);
    }

    /// It follows no more.
    fn leave(&self) {
        lock(&self.reader.known).left = true;
        lock(&self.watched.shown).leave();
    }

    async fn read(mut self, mut deltas: Deltas<Arc<Value>>, pause: Duration) {
        while let Some(batch) = deltas.next().await {
            self.take(batch);
            if !pause.is_zero() {
                let longest = pause.as_millis() as u64 + 1;
                sleep(millis(&mut self.rng, 0..longest)).await;
            }
        }
        self.leave();
        let expected = match self.reader.kind {
            Subscriber::PanickingFilter => Some(Ended::FilterPanicked),
            _ => None,
        };
        let ended = deltas.ended();
        if ended != expected && ended != Some(Ended::Stopped) {
            let name = &self.reader.name;
            self.reporter
                .broken(Promise::Isolation, format_args!("{name} ended: {ended:?}"));
        }
    }

    /// Reads what passes a filter that changes.
    async fn change_filters(mut self) {
        let filter = |group: u8| move |_: &Arc<str>, value: &Arc<Value>| value.group == group;
        let mut group = 0;
        let known = Arc::clone(&self.reader);
        lock(&known.known).group = Some(group);
        let mut deltas = self.watched.informer.subscribe_filtered(filter(group));
        while let Some(batch) = deltas.next().await {
            self.take(batch);
            if self.rng.u8(0..10) == 0 {
                group = self.rng.u8(0..4);
                lock(&known.known).group = Some(group);
                deltas.set_filter(filter(group));
            }
        }
        self.leave();
    }

    /// Subscribes, reads a little, and goes, again and again.
    async fn come_and_go(mut self) {
        loop {
            self.reader.start_afresh();
            let mut deltas = self.watched.informer.subscribe();
            for _ in 0..self.rng.u8(0..6) {
                // Who only has one look may go while a batch is being read.
                let batch = match one_of(&mut self.rng, &[0, 300, 3_000]) {
                    0 => deltas.next().now_or_never(),
                    patience => {
                        let patience = Duration::from_millis(patience);
                        timeout(patience, deltas.next()).await.ok()
                    }
                };
                match batch {
                    Some(Some(batch)) => self.take(batch),
                    Some(None) => return self.leave(),
                    None => {}
                }
            }
            drop(deltas);
            lock(&self.watched.shown).leave();
            sleep(millis(&mut self.rng, 10..3_000)).await;
        }
    }

    fn handle(self, panics_every: Option<u32>) {
        let witness = Witness {
            reader: Arc::clone(&self.reader),
            watched: Arc::downgrade(&self.watched),
            reporter: self.reporter.clone(),
            panics_every,
            calls: 0,
        };
        let task = self.watched.informer.handle(witness);
        madsim::task::spawn(async move {
            let synced = task.synced().await;
            if synced.is_ok() && !lock(&self.reader.known).synced {
                let name = &self.reader.name;
                let words = "is said to be synced, and was not told";
                self.reporter
                    .broken(Promise::HonestReadiness, format_args!("{name} {words}"));
            }
        });
    }
}

/// A handler that remembers what it was told.
struct Witness {
    reader: Arc<Reader>,
    /// The informer has the handler.
    watched: Weak<Watched>,
    reporter: Reporter,
    panics_every: Option<u32>,
    calls: u32,
}

impl Witness {
    fn step(&mut self, delta: &Delta<Arc<str>, Arc<Value>>) {
        let checked = lock(&self.reader.known)
            .told
            .step(delta, &self.reporter.books());
        self.reporter.check(&self.reader.name, checked);
        self.calls = self.calls.wrapping_add(1);
        if self
            .panics_every
            .is_some_and(|every| self.calls.is_multiple_of(every))
        {
            resume_unwind(Box::new("a handler's panic"));
        }
    }
}

impl Handler<Arc<Value>> for Witness {
    fn added(&mut self, key: Arc<str>, new: Arc<Value>) {
        self.step(&Delta::Added { key, new });
    }

    fn updated(&mut self, key: Arc<str>, old: Arc<Value>, new: Arc<Value>) {
        self.step(&Delta::Updated { key, old, new });
    }

    fn deleted(&mut self, key: Arc<str>, seen: Arc<Value>, last: Arc<Value>, inferred: bool) {
        self.step(&Delta::Deleted {
            key,
            seen,
            last,
            inferred,
        });
    }

    fn caught_up(&mut self, mark: &Mark) {
        if let Some(watched) = self.watched.upgrade() {
            let mut known = lock(&self.reader.known);
            let checked = known.mark(&self.reporter.books(), &watched, mark);
            self.reporter.check(&self.reader.name, checked);
        }
        self.reporter.count(|counts| counts.batches += 1);
        let (name, revision) = (&self.reader.name, mark.revision.as_ref());
        let revision = revision.map(ToString::to_string);
        self.reporter
            .say(format_args!("{name} called up to {revision:?}"));
    }

    fn synced(&mut self) {
        lock(&self.reader.known).synced = true;
    }

    fn reset(&mut self) {
        self.step(&Delta::Reset);
    }
}
