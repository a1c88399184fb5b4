//! Words become inputs; lies are told here.

use std::sync::Arc;
use std::time::Duration;

use reflet_core::{
    Attempt, Body, Change, Digest, Epoch, Event, Failure, Incarnation, Input, Item, Removal,
    Revision, VersionRef,
};

use super::{Engine, Run};
use crate::trace::Lie;
use crate::world::{Object, Poison, Word, World};

type In<'a> = Input<'a, Arc<str>, u64>;

impl Run<'_> {
    /// Hands a word to the engine, true or twisted.
    pub(super) fn hand_in(&mut self, attempt: Attempt, word: &Word, lie: Option<Lie>) {
        self.hash.words(format_args!("{attempt} {word} {lie:?}"));
        let now = self.call_time();
        let long = lie
            .filter(|lie| *lie == Lie::LongKey)
            .map(|_| "x".repeat(1 << 20));
        let speaker = Speaker {
            world: &self.world,
            engine: &self.engine,
            attempt,
            lazy: self.trace.setup.lazy,
        };
        let mut input = speaker.input(word);
        if let Some(lie) = lie {
            let is_list = self
                .living
                .get(&attempt)
                .is_some_and(|talk| talk.dialogue.is_list());
            twist(
                &mut input,
                lie,
                long.as_deref().unwrap_or_default(),
                is_list,
            );
        }
        self.engine.handle(now, attempt, input);
        let listed = lie.is_none() && word.completes();
        self.chronicle_call(lie.is_some() || listed, listed);
    }

    /// Whether nothing but a refusal is right. The engine's own limit of tokens is 1 KiB.
    pub(super) fn must_refuse(&self, attempt: Attempt, word: &Word, lie: Lie) -> bool {
        let lives = self.living.contains_key(&attempt) && self.neglected == 0;
        let has_revision = matches!(word, Word::Progress(..) | Word::BatchEnd(_));
        let ordered = !self.trace.setup.shape.opaque;
        lives
            && match lie {
                Lie::OutOfPlace => true,
                Lie::NotDecimal => has_revision && ordered,
                Lie::Long => has_revision,
                _ => false,
            }
    }
}

struct Speaker<'a, 'e> {
    world: &'a World,
    engine: &'e Engine,
    attempt: Attempt,
    lazy: bool,
}

impl<'a> Speaker<'a, '_> {
    fn revision(&self, number: u64) -> Revision {
        if self.world.shape.opaque {
            Revision::parse(&format!("r{number}"))
        } else {
            number.into()
        }
    }

    fn epoch(&self, number: usize) -> Option<Epoch> {
        let named = self.world.shape.epochs;
        named.then(|| Epoch::new(&format!("e{number}")))
    }

    fn item(&self, key: u32, object: &Object) -> Item<'a, Arc<str>, u64> {
        let name: &'a str = self.world.names.get(key as usize).map_or("", |name| name);
        let incarnation: Option<Incarnation> = self.world.shape.uids.then(|| object.uid.into());
        let version = VersionRef::from(object.version);
        let held = || self.engine.holds(self.attempt, name, version, incarnation);
        let body = match object.poison {
            Poison::Payload | Poison::Key => Body::Undecodable("poison"),
            Poison::None if self.lazy && held() => Body::Unchanged,
            Poison::None => Body::Value(object.value()),
        };
        Item {
            key: name,
            version,
            incarnation,
            size: 20,
            body,
        }
    }

    fn event(&self, change: Change<'a, Arc<str>, u64>, at: u64, previous: u64) -> In<'a> {
        let named = self.world.shape.predecessors;
        Input::Event(Event {
            change,
            revision: Some(self.revision(at)),
            previous: named.then(|| self.revision(previous)),
        })
    }

    fn input(&self, word: &'a Word) -> In<'a> {
        const UNREADABLE: In<'_> = Input::Undecodable {
            size: 5,
            error: "poison",
        };
        match word {
            Word::Opened(epoch) => Input::Opened {
                epoch: self.epoch(*epoch),
            },
            Word::Page(epoch, at) => Input::Page {
                epoch: self.epoch(*epoch),
                revision: Some(self.revision(*at)),
            },
            Word::Item(_, object)
            | Word::Initial(_, object)
            | Word::Put(_, object, ..)
            | Word::Delete(_, object, ..)
                if object.poison == Poison::Key =>
            {
                UNREADABLE
            }
            Word::Item(key, object) => Input::Item(self.item(*key, object)),
            Word::Initial(key, object) => Input::Event(Event {
                change: Change::Upsert(self.item(*key, object)),
                revision: Some(self.revision(1)),
                previous: None,
            }),
            Word::PageEnd(next) => Input::PageEnd {
                next: next.as_deref(),
            },
            Word::Unmodified => Input::Unmodified,
            Word::Put(key, object, at, previous) => {
                self.event(Change::Upsert(self.item(*key, object)), *at, *previous)
            }
            Word::Delete(key, object, at, previous) => self.event(
                Change::Delete(self.removal(*key, object, *at, *previous)),
                *at,
                *previous,
            ),
            Word::BatchEnd(at) => Input::BatchEnd {
                revision: self.revision(*at),
            },
            Word::InitialEnd(at) => Input::InitialEnd {
                revision: Some(self.revision(*at)),
            },
            Word::Progress(at, digest) => Input::Progress {
                revision: self.revision(*at),
                digest: digest.map(Digest),
            },
            Word::Heartbeat => Input::Heartbeat,
            Word::Hint => Input::Hint,
            Word::Closed => Input::Closed,
            Word::Failed(class, wait) => {
                let mut failure = Failure::new(*class, "the adversary's doing");
                failure.retry_after = wait.map(|wait| Duration::from_millis(wait.into()));
                Input::Failed(failure)
            }
        }
    }

    fn removal(
        &self,
        key: u32,
        object: &Object,
        at: u64,
        previous: u64,
    ) -> Removal<'a, Arc<str>, u64> {
        let version = if self.world.shape.uids {
            object.version
        } else {
            at
        };
        let told = !self.world.shape.terse || previous.is_multiple_of(2);
        Removal {
            key: self.world.names.get(key as usize).map_or("", |name| name),
            version: told.then(|| version.into()),
            incarnation: (told && self.world.shape.uids).then(|| object.uid.into()),
            last: None,
            size: 9,
        }
    }
}

/// Twists an input. What has nothing to twist stays as it is.
fn twist<'a>(input: &mut In<'a>, lie: Lie, long: &'a str, is_list: bool) {
    match lie {
        Lie::Huge => set_revision(input, &"9".repeat(30)),
        Lie::NotDecimal => set_revision(input, "12x"),
        Lie::Zero => set_revision(input, "0"),
        Lie::Lower => {
            let lower = revision_mut(input).and_then(|revision| revision.as_u64());
            if let Some(lower) = lower {
                set_revision(input, &lower.saturating_sub(1).to_string());
            }
        }
        Lie::Long => match input {
            Input::Opened { epoch } | Input::Page { epoch, .. } => {
                *epoch = Some(Epoch::new(&"e".repeat(2 << 20)));
            }
            input => set_revision(input, &"1".repeat(2 << 20)),
        },
        Lie::LongKey => match input {
            Input::Item(item)
            | Input::Event(Event {
                change: Change::Upsert(item),
                ..
            }) => item.key = long,
            Input::Event(Event {
                change: Change::Delete(removal),
                ..
            }) => removal.key = long,
            _ => {}
        },
        Lie::Token => {
            if let Input::PageEnd { next } = input {
                *next = Some("1");
            }
        }
        Lie::OutOfPlace if is_list => {
            *input = Input::InitialEnd {
                revision: Some(1.into()),
            };
        }
        Lie::OutOfPlace => *input = Input::PageEnd { next: None },
        Lie::BatchEnd => {
            if let Some(revision) = revision_mut(input).cloned() {
                *input = Input::BatchEnd { revision };
            }
        }
        Lie::NoRevision => match input {
            Input::Page { revision, .. }
            | Input::InitialEnd { revision }
            | Input::Event(Event { revision, .. }) => *revision = None,
            _ => {}
        },
        Lie::Removal => {
            if let Input::Event(Event { change, .. }) = input
                && let Change::Upsert(item) = change
            {
                *change = Change::Delete(Removal {
                    key: item.key,
                    version: None,
                    incarnation: None,
                    last: None,
                    size: 9,
                });
            }
        }
        Lie::Unchanged => {
            if let Input::Item(item)
            | Input::Event(Event {
                change: Change::Upsert(item),
                ..
            }) = input
            {
                item.body = Body::Unchanged;
            }
        }
    }
}

fn set_revision(input: &mut In<'_>, text: &str) {
    if let Some(revision) = revision_mut(input) {
        *revision = Revision::parse(text);
    }
}

fn revision_mut<'a>(input: &'a mut In<'_>) -> Option<&'a mut Revision> {
    match input {
        Input::Page { revision, .. }
        | Input::InitialEnd { revision }
        | Input::Event(Event { revision, .. }) => revision.as_mut(),
        Input::BatchEnd { revision } | Input::Progress { revision, .. } => Some(revision),
        _ => None,
    }
}
