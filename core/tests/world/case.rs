//! One case: the engine, the world, and a driver between them that the adversary plays with.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use reflet_core::cache::{Mark, SubscriberId};
use reflet_core::{
    Attempt, Body, Change, Command, Config, Event, Failure, FailureClass, Feed, Informer, Input,
    Item, Removal, State, Timestamp, Verify, VersionRef,
};

use super::{Dialogue, Name, Object, Word, World};

pub type Engine = Informer<Arc<str>, u64>;

pub const CLASSES: [FailureClass; 8] = [
    FailureClass::Retryable,
    FailureClass::Gone,
    FailureClass::Behind,
    FailureClass::Denied,
    FailureClass::Unsupported,
    FailureClass::NotFound,
    FailureClass::Malformed,
    FailureClass::Unexpected,
];

#[derive(Clone, Copy, Debug)]
pub enum Fault {
    None,
    Fail(usize, Option<u64>),
    Close,
    Mute,
    Repeat,
    LoseTransaction,
    LoseBatchEnd,
    SpoilValue,
    SpoilAll,
}

#[derive(Clone, Copy, Debug)]
pub enum Step {
    Write {
        puts: u8,
        deletes: u8,
        step: u64,
    },
    Elsewhere(u64),
    Sync(usize, u64),
    Compact,
    Restore(usize),
    /// A living attempt, counted from the newest, gets so many words; the last one with a fault.
    Serve(usize, usize, Fault),
    /// A dead attempt, counted from the newest, is answered late.
    Late(usize),
    Pass(u64),
    Timeout,
    DrainFirst,
    PollSecond(usize),
    Verify(bool),
}

/// What one subscriber knows by folding its deltas.
pub struct Fold {
    pub id: SubscriberId,
    pub objects: BTreeMap<Arc<str>, u64>,
    pub last: Option<Mark>,
}

pub struct Case {
    pub engine: Engine,
    pub world: World,
    pub now: Timestamp,
    pub dialogues: BTreeMap<Attempt, Dialogue>,
    pub dead: Vec<(Attempt, Dialogue)>,
    pub folds: [Fold; 2],
    /// The source's epoch that each of the engine's local epochs stands for.
    pub epochs: BTreeMap<u64, usize>,
    /// Keys that were ever quarantined: a mark that is drained late may stem from that time.
    pub poisoned: BTreeSet<Arc<str>>,
    /// The version of each cached object, by incarnation and local epoch.
    pub versions: BTreeMap<(Arc<str>, u64, u64), u64>,
    pub starts: Vec<Timestamp>,
    pub not_before: Timestamp,
    /// A full state was served to its end.
    pub served: bool,
    pub lazy: bool,
    pub replica: usize,
}

impl Case {
    pub fn new(config: Config, world: World, lazy: bool, seed: u64) -> Self {
        let now = Timestamp::from_millis(1_000);
        let mut engine = Informer::new(config, seed, now);
        engine.set_content_eq(|a, b| a == b);
        let mut fold = || Fold {
            id: engine.subscribe(None),
            objects: BTreeMap::new(),
            last: None,
        };
        let folds = [fold(), fold()];
        let mut case = Self {
            engine,
            world,
            now,
            dialogues: BTreeMap::new(),
            dead: Vec::new(),
            folds,
            epochs: BTreeMap::new(),
            poisoned: BTreeSet::new(),
            versions: BTreeMap::new(),
            starts: Vec::new(),
            not_before: Timestamp::ZERO,
            served: false,
            lazy,
            replica: 0,
        };
        case.commands();
        case
    }

    pub fn step(&mut self, step: Step) {
        match step {
            Step::Write {
                puts,
                deletes,
                step,
            } => self.world.write(puts, deletes, step),
            Step::Elsewhere(step) => self.world.write(0, 0, step),
            Step::Sync(replica, revisions) => self.world.sync(replica, revisions),
            Step::Compact => self.world.compact(),
            Step::Restore(back) => self.world.restore(back),
            Step::Serve(which, words, fault) => {
                let Some(attempt) = self.dialogues.keys().rev().nth(which).copied() else {
                    return;
                };
                for _ in 1..words {
                    self.serve(attempt, Fault::None);
                }
                self.serve(attempt, fault);
            }
            Step::Late(which) => self.late(which),
            Step::Pass(millis) => {
                self.now = self.now.saturating_add(Duration::from_millis(millis));
                self.engine.handle_timeout(self.now);
                self.after();
            }
            Step::Timeout => {
                let at = self.engine.poll_timeout().unwrap().at;
                self.now = self.now.max(at);
                self.engine.handle_timeout(self.now);
                self.after();
            }
            Step::DrainFirst => self.drain(0, usize::MAX),
            Step::PollSecond(deltas) => self.drain(1, deltas),
            Step::Verify(content) => {
                let mode = if content {
                    Verify::Content
                } else {
                    Verify::Versions
                };
                self.engine.verify(self.now, mode);
                self.after();
            }
        }
    }

    /// One word for a living attempt. False if there is nothing to say.
    pub fn serve(&mut self, attempt: Attempt, fault: Fault) -> bool {
        let Some(dialogue) = self.dialogues.get_mut(&attempt) else {
            return false;
        };
        if dialogue.muted {
            return false;
        }
        let before = dialogue.last.clone();
        match fault {
            Fault::None | Fault::SpoilValue | Fault::SpoilAll => {}
            Fault::Fail(class, wait) => {
                let word = Word::Failed(CLASSES[class], wait);
                self.say(attempt, word);
                return true;
            }
            Fault::Close => {
                self.say(attempt, Word::Closed);
                return true;
            }
            Fault::Mute => {
                dialogue.muted = true;
                return true;
            }
            Fault::Repeat => {
                let watches = !matches!(
                    before,
                    Some(Word::Page(..) | Word::PageEnd(_) | Word::Item(..)) | None
                );
                if let Some(word) = before.filter(|_| watches) {
                    self.say(attempt, word);
                }
                return true;
            }
            Fault::LoseTransaction => {
                if dialogue.at_transaction(&self.world) {
                    dialogue.lose();
                }
                return true;
            }
            Fault::LoseBatchEnd => {
                dialogue.lose_batch_end();
                return true;
            }
        }
        let Some(mut word) = dialogue.next(&self.world) else {
            return false;
        };
        word = match (fault, word) {
            (Fault::SpoilValue, Word::Item(key, object)) => Word::BadItem(key, object),
            (Fault::SpoilValue, Word::InitialItem(key, object)) => Word::BadInitial(key, object),
            (Fault::SpoilValue, Word::Put(key, object, at, previous)) => {
                Word::BadPut(key, object, at, previous)
            }
            (
                Fault::SpoilAll,
                Word::Item(..) | Word::InitialItem(..) | Word::Put(..) | Word::Delete(..),
            ) => Word::Unreadable,
            (_, word) => word,
        };
        self.say(attempt, word);
        true
    }

    /// A living attempt hears a word.
    pub fn say(&mut self, attempt: Attempt, word: Word) {
        self.served |= matches!(word, Word::PageEnd(None) | Word::InitialEnd(_));
        if word.is_last()
            && let Some(dialogue) = self.dialogues.remove(&attempt)
        {
            self.dead.push((attempt, dialogue));
        }
        if let Word::Failed(_, Some(wait)) = word {
            let cap = self.engine.config().timing.max_retry_after;
            let wait = Duration::from_millis(wait).min(cap);
            self.not_before = self.not_before.max(self.now.saturating_add(wait));
        }
        self.hand_in(attempt, &word);
        self.after();
    }

    /// A dead attempt is heard of once more, and nobody listens.
    pub fn late(&mut self, which: usize) {
        let Some(index) = self.dead.len().checked_sub(1 + which) else {
            return;
        };
        let (attempt, dialogue) = &mut self.dead[index];
        let attempt = *attempt;
        let Some(word) = dialogue.next(&self.world) else {
            return;
        };
        let before = (self.cached(), self.engine.health());
        self.hand_in(attempt, &word);
        assert_eq!(
            before,
            (self.cached(), self.engine.health()),
            "a dead attempt was heard"
        );
        assert!(
            !self.engine.has_command(),
            "a dead attempt started something"
        );
    }

    pub fn hand_in(&mut self, attempt: Attempt, word: &Word) {
        let (now, world) = (self.now, &self.world);
        let item = |engine: &Engine, key: Name, object: Object, body: Option<&'static str>| {
            let incarnation = world.habits.uids.then(|| object.uid.into());
            let version = VersionRef::from(object.version);
            let body = match body {
                Some(words) => Body::Undecodable(words),
                None if self.lazy && engine.holds(attempt, key, version, incarnation) => {
                    Body::Unchanged
                }
                None => Body::Value(object.value),
            };
            Item {
                key,
                version,
                incarnation,
                size: 20,
                body,
            }
        };
        let event = |change, at, previous| {
            Input::Event(Event {
                change,
                revision: Some(world.revision(at)),
                previous: world.profile.predecessors.then(|| world.revision(previous)),
            })
        };
        let bare = |change| {
            Input::Event(Event {
                change,
                revision: Some(world.revision(1)),
                previous: None,
            })
        };
        let input = match word {
            Word::Opened(epoch) => Input::Opened {
                epoch: world.epoch_name(*epoch),
            },
            Word::Page(epoch, at) => Input::Page {
                epoch: world.epoch_name(*epoch),
                revision: Some(world.revision(*at)),
            },
            Word::Item(key, object) => Input::Item(item(&self.engine, key, *object, None)),
            Word::BadItem(key, object) => {
                Input::Item(item(&self.engine, key, *object, Some("bad")))
            }
            Word::BadInitial(key, object) => bare(Change::Upsert(item(
                &self.engine,
                key,
                *object,
                Some("bad"),
            ))),
            Word::InitialItem(key, object) => {
                bare(Change::Upsert(item(&self.engine, key, *object, None)))
            }
            Word::PageEnd(next) => Input::PageEnd {
                next: next.as_deref(),
            },
            Word::Unmodified => Input::Unmodified,
            Word::Put(key, object, at, previous) => event(
                Change::Upsert(item(&self.engine, key, *object, None)),
                *at,
                *previous,
            ),
            Word::BadPut(key, object, at, previous) => event(
                Change::Upsert(item(&self.engine, key, *object, Some("bad"))),
                *at,
                *previous,
            ),
            Word::Delete(key, object, at, previous) => {
                let version = if world.habits.uids {
                    object.version
                } else {
                    *at
                };
                let version = (previous % 2 == 0).then_some(version.into());
                event(
                    Change::Delete(Removal {
                        key: *key,
                        version,
                        incarnation: None,
                        last: None,
                        size: 9,
                    }),
                    *at,
                    *previous,
                )
            }
            Word::BatchEnd(at) => Input::BatchEnd {
                revision: world.revision(*at),
            },
            Word::InitialEnd(at) => Input::InitialEnd {
                revision: Some(world.revision(*at)),
            },
            Word::Progress(at, digest) => Input::Progress {
                revision: world.revision(*at),
                digest: *digest,
            },
            Word::Heartbeat => Input::Heartbeat,
            Word::Hint => Input::Hint,
            Word::Closed => Input::Closed,
            Word::Unreadable => Input::Undecodable {
                size: 5,
                error: "bad",
            },
            Word::Failed(class, wait) => {
                let mut failure = Failure::new(*class, "scripted");
                failure.retry_after = wait.map(Duration::from_millis);
                Input::Failed(failure)
            }
        };
        self.engine.handle(now, attempt, input);
    }

    /// What a driver does after each call, and what must hold then.
    pub fn after(&mut self) {
        self.commands();
        while self.engine.poll_notice().is_some() {}
        let health = self.engine.health();
        let deadline = self.engine.poll_timeout();
        assert!(deadline.is_some(), "P6: no next step");
        assert!(
            health.state == State::Live || health.reason.is_some(),
            "P6: {:?} without a reason",
            health.state
        );
        self.poisoned
            .extend(health.quarantined.iter().map(|(key, _)| key.clone()));
        let epoch = World::epoch_number(health.epoch.as_ref());
        let local = self.engine.cache().local_epoch();
        if self.engine.is_synced() {
            let known = *self.epochs.entry(local).or_insert(epoch);
            assert_eq!(known, epoch, "one local epoch stands for two of the source");
            self.check_state(&health, epoch);
            self.check_versions(local);
        }
    }

    pub fn cached(&self) -> BTreeMap<Arc<str>, u64> {
        let entries = self.engine.cache().iter();
        entries
            .map(|entry| (entry.key.clone(), *entry.value))
            .collect()
    }

    pub fn commands(&mut self) {
        while let Some(command) = self.engine.poll_command() {
            match command {
                Command::Cancel { attempt } => {
                    if let Some(dialogue) = self.dialogues.remove(&attempt) {
                        self.dead.push((attempt, dialogue));
                    }
                }
                Command::List {
                    attempt,
                    page: Some(_),
                    ..
                } => {
                    self.dialogues.get_mut(&attempt).unwrap().ask();
                }
                Command::List { attempt, .. } | Command::Watch { attempt, .. } => {
                    assert!(
                        self.now >= self.not_before,
                        "P7: started before the retry-after"
                    );
                    self.starts.push(self.now);
                    self.replica += 1;
                    let dialogue = Dialogue::new(&self.world, &command, self.replica);
                    self.dialogues.insert(attempt, dialogue);
                }
            }
        }
    }

    /// The adversary stops: within its bound the engine must have what the source has (P1).
    pub fn heal(&mut self) {
        self.world.sync_all();
        let config = self.engine.config().clone();
        let poll = match config.source.feed {
            Feed::FullState { .. } => config.timing.poll_interval,
            Feed::ListWatch | Feed::InitialStream | Feed::HintOnly => Duration::ZERO,
        };
        let until = self
            .now
            .saturating_add(config.convergence_bound())
            .saturating_add(poll);
        let tick = config.source.heartbeat.unwrap_or(Duration::from_secs(1));
        for _ in 0..10_000 {
            for _ in 0..200 {
                let living: Vec<_> = self.dialogues.keys().copied().collect();
                let mut spoke = false;
                for attempt in living {
                    spoke |= self.serve(attempt, Fault::None);
                }
                if !spoke {
                    break;
                }
            }
            if self.has_converged() {
                return;
            }
            assert!(
                self.now <= until,
                "P1: not converged, because {:#?}",
                self.engine.health()
            );
            let at = self.engine.poll_timeout().unwrap().at;
            self.now = self.now.max(at.min(self.now.saturating_add(tick)));
            let living: Vec<_> = self.dialogues.keys().copied().collect();
            for attempt in living {
                let Some(dialogue) = self.dialogues.get_mut(&attempt) else {
                    continue;
                };
                if let Some(word) = dialogue.idle(&self.world).filter(|_| !dialogue.muted) {
                    self.say(attempt, word);
                }
            }
            self.engine.handle_timeout(self.now);
            self.after();
        }
        panic!("P6: time stands still at {:?}", self.engine.poll_timeout());
    }

    pub fn finish(&mut self) {
        for which in [0, 1] {
            self.drain(which, usize::MAX);
            assert_eq!(
                self.folds[which].objects,
                self.cached(),
                "P4: a subscriber knows another state"
            );
        }
        self.check_pace();
    }
}
