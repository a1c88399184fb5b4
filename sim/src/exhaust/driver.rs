//! The driver's part: the source's words reach the engine, and the engine's commands the source.

use reflet_core::{
    Attempt, Body, Change, Command, Epoch, Event, Failure, FailureClass, Incarnation, Input, Item,
    Removal, Version, WatchFrom,
};

use super::state::State;
use super::world::{Dialogue, Name, Object, Talk, Word};

impl State {
    pub(super) fn speak(&mut self, at: usize) {
        let dialogue = &self.source.dialogues[at];
        if dialogue.dead {
            self.left.spend(|left| &mut left.late);
        }
        let Some(word) = self.source.word(dialogue) else {
            return;
        };
        let attempt = dialogue.attempt;
        let completes = match &word {
            Word::Page { next, .. } => next.is_none(),
            Word::InitialEnd(_) => true,
            _ => false,
        };
        self.served |= completes && !dialogue.dead;
        let mut dialogue = dialogue.clone();
        let goes_on = self.source.advance(&mut dialogue, &word);
        let repeats = self.left.allows(self.left.duplicates)
            && matches!(
                word,
                Word::Change(..) | Word::BatchEnd(_) | Word::Progress(..)
            );
        dialogue.last = repeats.then(|| word.clone());
        self.source.dialogues[at] = dialogue;
        self.say(at, &word);
        if !goes_on {
            self.source
                .dialogues
                .retain(|other| other.attempt != attempt);
        }
    }

    /// The connection breaks in the middle of a page, or between two words.
    pub(super) fn break_off(&mut self, dialogue: &Dialogue) {
        if let Some(Word::Page {
            revision, items, ..
        }) = self.source.word(dialogue)
        {
            self.hear(
                dialogue,
                Input::Page {
                    epoch: self.epoch(),
                    revision: Some(revision.into()),
                },
            );
            for (key, object) in items.iter().take(1) {
                self.hear_item(dialogue, *key, *object);
            }
        }
        let failure = Failure::new(FailureClass::Retryable, "the connection broke");
        self.hear(dialogue, Input::Failed(failure));
    }

    fn epoch(&self) -> Option<Epoch> {
        self.source
            .profile
            .source()
            .digests
            .then(|| Epoch::new("first"))
    }

    pub(super) fn say(&mut self, at: usize, word: &Word) {
        let dialogue = self.source.dialogues[at].clone();
        let epoch = self.epoch();
        match word {
            Word::Opened => self.hear(&dialogue, Input::Opened { epoch }),
            Word::Page {
                revision,
                items,
                next,
            } => {
                self.hear(
                    &dialogue,
                    Input::Page {
                        epoch,
                        revision: Some((*revision).into()),
                    },
                );
                for (key, object) in items {
                    self.hear_item(&dialogue, *key, *object);
                }
                let next = next.map(|page| page.to_string());
                self.hear(
                    &dialogue,
                    Input::PageEnd {
                        next: next.as_deref(),
                    },
                );
            }
            Word::Initial(key, object) => self.hear_change(&dialogue, *key, Some(*object), None),
            Word::InitialEnd(revision) => {
                let revision = Some((*revision).into());
                self.hear(&dialogue, Input::InitialEnd { revision });
            }
            Word::Change(key, object, revision, previous) => {
                self.hear_change(&dialogue, *key, *object, Some((*revision, *previous)));
            }
            Word::BatchEnd(revision) => {
                self.hear(
                    &dialogue,
                    Input::BatchEnd {
                        revision: (*revision).into(),
                    },
                );
            }
            Word::Progress(revision, digest) => {
                let (revision, digest) = ((*revision).into(), *digest);
                self.hear(&dialogue, Input::Progress { revision, digest });
            }
            Word::Failed(class) => {
                let failure = Failure::new(*class, "the source says so");
                self.hear(&dialogue, Input::Failed(failure));
            }
        }
    }

    pub(super) fn hear(&mut self, dialogue: &Dialogue, input: Input<'_, Name, Object>) {
        if let Some(attempt) = self.attempt(dialogue) {
            self.engine.handle(self.now, attempt, input);
        }
    }

    fn attempt(&self, dialogue: &Dialogue) -> Option<Attempt> {
        let mut known = self.attempts.iter();
        known
            .find(|attempt| attempt.number() == dialogue.attempt)
            .copied()
    }

    fn hear_item(&mut self, dialogue: &Dialogue, key: Name, object: Object) {
        let version = Version::from(object.revision);
        let item = self.item(dialogue, &key, object, &version);
        self.hear(dialogue, Input::Item(item));
    }

    /// An item as a driver hands it in: decoded only where it must be.
    fn item<'a>(
        &self,
        dialogue: &Dialogue,
        key: &'a Name,
        object: Object,
        version: &'a Version,
    ) -> Item<'a, Name, Object> {
        let (version, incarnation) = (version.as_ref(), Some(Incarnation::from(object.uid)));
        let held = self
            .attempt(dialogue)
            .is_some_and(|attempt| self.engine.holds(attempt, key, version, incarnation));
        let body = if held {
            Body::Unchanged
        } else {
            Body::Value(object)
        };
        Item {
            key,
            version,
            incarnation,
            size: 10,
            body,
        }
    }

    fn hear_change(
        &mut self,
        dialogue: &Dialogue,
        key: Name,
        object: Option<Object>,
        at: Option<(u64, u64)>,
    ) {
        let revision = at.map_or(0, |(revision, _)| revision);
        let version = Version::from(object.map_or(revision, |object| object.revision));
        let change = match object {
            Some(object) => Change::Upsert(self.item(dialogue, &key, object, &version)),
            None => Change::Delete(Removal {
                key: &key,
                version: Some(version.as_ref()),
                incarnation: None,
                last: None,
                size: 10,
            }),
        };
        let shows = self.source.profile.source().predecessors;
        let event = Event {
            change,
            revision: at.map(|(revision, _)| revision.into()),
            previous: at.filter(|_| shows).map(|(_, previous)| previous.into()),
        };
        self.hear(dialogue, Input::Event(event));
    }

    /// Does what the engine asks for.
    pub(super) fn obey(&mut self) {
        while let Some(command) = self.engine.poll_command() {
            match command {
                Command::List {
                    attempt,
                    page: None,
                    known,
                    ..
                } => {
                    let known = known.and_then(|revision| revision.as_u64());
                    self.open(
                        attempt,
                        Talk::List {
                            at: None,
                            page: 0,
                            asked: true,
                            known,
                        },
                    );
                }
                Command::List { attempt, .. } => {
                    for dialogue in &mut self.source.dialogues {
                        if let Talk::List { asked, .. } = &mut dialogue.talk
                            && dialogue.attempt == attempt.number()
                        {
                            *asked = true;
                        }
                    }
                }
                Command::Watch { attempt, from, .. } => {
                    let talk = match from {
                        WatchFrom::Revision(revision) => {
                            let said = revision.as_u64().unwrap_or(0);
                            Talk::Watch {
                                opened: false,
                                said,
                                part: 0,
                                told: said,
                            }
                        }
                        WatchFrom::Initial { .. } | WatchFrom::Now => {
                            Talk::Stream { at: None, key: 0 }
                        }
                    };
                    self.open(attempt, talk);
                }
                Command::Cancel { attempt } => {
                    for dialogue in &mut self.source.dialogues {
                        dialogue.dead |= dialogue.attempt == attempt.number();
                        dialogue.last.take_if(|_| dialogue.dead);
                    }
                }
            }
        }
        // Who has nothing to say that could still be heard is forgotten.
        let late = self.left.allows(self.left.late);
        self.source
            .dialogues
            .retain(|dialogue| !dialogue.dead || late && !dialogue.hushed);
        let Self {
            attempts, source, ..
        } = self;
        attempts.retain(|attempt| {
            source
                .dialogues
                .iter()
                .any(|dialogue| dialogue.attempt == attempt.number())
        });
    }

    fn open(&mut self, attempt: Attempt, talk: Talk) {
        self.attempts.push(attempt);
        self.source.dialogues.push(Dialogue {
            attempt: attempt.number(),
            talk,
            dead: false,
            hushed: false,
            last: None,
        });
    }
}
