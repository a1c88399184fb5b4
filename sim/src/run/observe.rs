//! What is known of a run from outside, and what must hold after each call.

use std::collections::BTreeSet;
use std::sync::Arc;

use imbl::ordmap::DiffItem;
use reflet_core::{Command, Condition, Config, Health, Notice, Revision, Timestamp};

use super::Run;
use super::network::Talk;
use crate::oracles::{
    Ceiling, Checked, Content, Pace, Readiness, Revisions, Versions, check_memory,
    check_next_attempt, check_next_step, check_notices, check_refused, same_state,
};
use crate::story::{EngineState, Kind};
use crate::trace::{Lie, Setup};
use crate::world::{Place, Poison, Shape, State, Word, World};

/// A transaction that the engine was not told of.
#[derive(Clone, Copy, Debug)]
struct Loss {
    at: Place,
    /// Predecessors and digests together find it before anything after it counts as complete.
    found_at_once: bool,
}

/// A full state that was handed over to its end.
#[derive(Clone, Copy, Debug)]
struct Ended {
    at: Option<Place>,
    clean: bool,
    content: bool,
}

/// What is known from outside.
pub(super) struct Observer {
    shape: Shape,
    pub(super) attempts: Pace,
    pub(super) pages: Pace,
    pub(super) readiness: Readiness,
    revisions: Revisions,
    versions: Versions,
    ceiling: Ceiling,
    detectable: bool,
    /// The source has lied: what it is said to hold means nothing.
    lied: bool,
    losses: Vec<Loss>,
    /// The source was set back, and has no names for its histories: nobody can tell them apart.
    pub(super) blurred: bool,
    /// A verify of the content was asked for.
    pub(super) content_wanted: bool,
    /// Keys that could not be decoded at some time.
    pub(super) spoilt: BTreeSet<Arc<str>>,
    /// What was shown while something was lost, blurred or a lie: local epochs and revisions.
    suspect: BTreeSet<(u64, u64)>,
    /// The history of the source that each local epoch stands for.
    epochs: Vec<(u64, usize)>,
    ended: Option<Ended>,
    /// The state that is being handed over was found to be older than the cache.
    stale: bool,
    refusal: Option<bool>,
    /// The last complete revision.
    complete: u64,
    /// The engine was synced after the call before.
    was_synced: bool,
    /// What the cache showed last: local epoch, revision, whether complete, objects.
    shown: (u64, u64, bool, usize),
    /// How many subscribers have left of whom something may still be kept.
    pub(super) left: usize,
    /// A large world's state when it was last compared.
    compared: Option<State>,
}

/// What the notices of one call said.
#[derive(Default)]
struct Told {
    refused: bool,
    bad: bool,
    rewound: bool,
    lost: bool,
    list: bool,
    count: usize,
}

impl Observer {
    pub(super) fn new(config: &Config, setup: &Setup) -> Self {
        let (timing, shape) = (&config.timing, setup.shape);
        Self {
            shape,
            attempts: Pace::new("attempts", timing.burst, timing.min_interval),
            pages: Pace::new("pages", timing.page_burst, timing.page_interval),
            readiness: Readiness::default(),
            revisions: Revisions::default(),
            versions: Versions::default(),
            ceiling: Ceiling::default(),
            detectable: shape.predecessors
                || shape.digests
                || shape.is_whole()
                || timing.verify_period.is_some(),
            lied: false,
            losses: Vec::new(),
            blurred: false,
            content_wanted: false,
            spoilt: BTreeSet::new(),
            suspect: BTreeSet::new(),
            epochs: Vec::new(),
            ended: None,
            stale: false,
            refusal: None,
            complete: 0,
            was_synced: false,
            shown: (0, 0, false, 0),
            left: 0,
            compared: None,
        }
    }

    pub(super) fn has_lied(&self) -> bool {
        self.lied
    }

    pub(super) fn has_losses(&self) -> bool {
        !self.losses.is_empty()
    }

    /// A word is about to be handed over.
    pub(super) fn hears(&mut self, word: &Word, lie: Option<Lie>, world: &World) {
        self.lied |= lie.is_some();
        if word.completes() {
            self.readiness.served();
        }
        if let Word::Item(key, object) | Word::Initial(key, object) | Word::Put(key, object, ..) =
            word
            && object.poison != Poison::None
            && let Some(name) = world.names.get(*key as usize)
        {
            self.spoilt.insert(Arc::clone(name));
        }
    }

    /// A word was handed over.
    pub(super) fn spoke(&mut self, word: &Word, talk: Option<&Talk>) {
        if let Some(talk) = talk.filter(|_| word.completes()) {
            self.ended = Some(Ended {
                at: talk.dialogue.pinned(),
                clean: talk.clean,
                content: talk.content,
            });
        }
    }

    pub(super) fn expect_refusal(&mut self, changed: bool) {
        self.refusal = Some(changed);
    }

    /// A transaction was lost on its way.
    pub(super) fn lost(&mut self, epoch: usize, revision: u64, in_part: bool) {
        self.losses.push(Loss {
            at: Place {
                epoch,
                head: revision,
            },
            found_at_once: self.shape.predecessors && self.shape.digests && !in_part,
        });
    }

    /// A new list starts.
    pub(super) fn lists(&mut self) {
        self.stale = false;
    }

    /// A new watch starts after a revision: what was lost later comes once more.
    pub(super) fn resumes(&mut self, revision: u64) {
        self.losses.retain(|loss| loss.at.head <= revision);
        if self.ceiling.check(revision).is_ok() {
            self.ceiling.made_up();
        }
    }

    /// The source was set back.
    pub(super) fn restored(&mut self, engaged: bool) {
        self.blurred |= engaged && !self.shape.epochs;
    }

    /// A revision in the world's numbers.
    pub(super) fn number(&self, revision: &Revision) -> Option<u64> {
        let text = revision.to_string();
        let digits = if self.shape.opaque {
            text.strip_prefix('r')?
        } else {
            &text
        };
        digits.parse().ok()
    }

    /// Whether what is in the cache may be no state that ever was, with good reason.
    fn is_suspended(&self) -> bool {
        // A digest is not comparable while something is rejected.
        let comparable = self.spoilt.is_empty();
        let hidden = |loss: &Loss| !loss.found_at_once || !comparable;
        self.lied || self.blurred || self.losses.iter().any(hidden)
    }

    pub(super) fn is_suspect(&self, local: u64, revision: u64) -> bool {
        self.lied || self.suspect.contains(&(local, revision))
    }

    /// The histories that a local epoch can stand for.
    pub(super) fn candidates(&self, world: &World, local: u64) -> Vec<usize> {
        if !self.shape.epochs {
            return (0..=world.epoch()).rev().collect();
        }
        let known = self.epochs.iter().find(|(epoch, _)| *epoch == local);
        known.map(|(_, epoch)| *epoch).into_iter().collect()
    }

    fn takes(&mut self, notice: &Notice<Arc<str>>, told: &mut Told) -> Checked {
        told.count += 1;
        match notice {
            Notice::Lost(_) => told.lost = true,
            Notice::Synced { .. } => {
                told.list = true;
                self.readiness.announce()?;
            }
            Notice::StaleList { .. } => self.stale = true,
            Notice::EpochRefused { .. } | Notice::Frozen { .. } => told.refused = true,
            Notice::BadInput { .. } => {
                told.refused = true;
                told.bad = true;
            }
            Notice::Rewound { .. } => told.rewound = true,
            Notice::Gap { have, .. } => {
                let have = self.number(have).unwrap_or(0);
                self.ceiling.detected(have.max(self.complete));
            }
            Notice::DigestMismatch { .. } => self.ceiling.detected(self.complete),
            _ => {}
        }
        Ok(())
    }

    /// What a full state that was taken makes up for.
    fn settle(&mut self, told: &Told, all_clean: bool, synced_before: bool) {
        if told.rewound {
            self.ceiling.made_up();
        }
        let Some(ended) = self.ended.take() else {
            return;
        };
        if (told.refused || self.stale) && !told.rewound && !told.lost {
            return;
        }
        self.ceiling.made_up();
        if ended.content {
            self.content_wanted = false;
        }
        if told.lost {
            return;
        }
        if let Some(at) = ended.at {
            self.losses.retain(|loss| {
                loss.at.epoch > at.epoch || (loss.at.epoch == at.epoch && loss.at.head > at.head)
            });
        }
        let fresh = ended.content || told.rewound || !synced_before;
        if ended.clean && all_clean && fresh {
            self.blurred = false;
        }
    }
}

impl Run<'_> {
    /// What a driver does after each call, and what must hold then. `changed` says whether the
    /// call may have changed the cache.
    pub(super) fn after_call(&mut self, changed: bool) -> Checked {
        if self.neglected == 0 {
            let synced_before = self.observer.was_synced;
            self.take_commands()?;
            let mut told = self.take_notices()?;
            // A collection that stays frozen does not say so again.
            told.refused |= matches!(self.engine.health().reason, Some(Condition::Frozen(_)));
            let all_clean = self.living.values().all(|talk| talk.clean);
            self.observer.settle(&told, all_clean, synced_before);
            if let Some(changed) = self.observer.refusal.take() {
                check_refused(changed, told.bad || told.lost, "a hostile input")?;
            }
        } else {
            // Nobody hears whether it was taken.
            let ended = self.observer.ended.take();
            self.observer.content_wanted &= !ended.is_some_and(|ended| ended.content);
            self.observer.ceiling.made_up();
            self.observer.refusal = None;
        }
        let health = self.engine.health();
        let deadline = self.engine.poll_timeout();
        check_next_step(deadline, &health)?;
        self.observer
            .readiness
            .check(self.engine.is_synced(), "the engine says that it is synced")?;
        Ceiling::check_unverified(health.unverified, self.observer.detectable)?;
        let retained = self.config.limits.retained_bytes;
        if health.retained_bytes <= retained.saturating_mul(health.subscribers.len()) {
            self.observer.left = 0;
        }
        let (bytes, left) = (self.engine.cache().bytes(), self.observer.left);
        check_memory(&health, bytes, left, &self.config.limits)?;
        self.hash
            .number(deadline.map_or(0, |deadline| deadline.at.as_nanos()));
        self.hash.number(self.engine.cache().len() as u64);
        self.tell_state(&health);
        self.observer.was_synced = self.engine.is_synced();
        if self.observer.was_synced {
            self.check_cache(&health, changed)?;
        }
        Ok(())
    }

    fn take_notices(&mut self) -> Result<Told, crate::oracles::Broken> {
        let mut told = Told::default();
        while let Some(notice) = self.engine.poll_notice() {
            self.hash.words(format_args!("{notice:?}"));
            let text = brief(&notice);
            self.story.say(self.lanes.engine, Kind::Notice, text, || {
                format!("{notice:#?}")
            });
            self.observer.takes(&notice, &mut told)?;
        }
        check_notices(told.count, &self.config.limits)?;
        Ok(told)
    }

    fn check_cache(&mut self, health: &Health<Arc<str>>, changed: bool) -> Checked {
        let local = self.engine.cache().local_epoch();
        self.learn_epoch(health, local)?;
        let number = health
            .revision
            .as_ref()
            .and_then(|revision| self.observer.number(revision));
        let Some(number) = number else {
            return Ok(());
        };
        let shown = (local, number, health.complete, health.objects);
        if self.observer.shown != shown {
            self.observer.shown = shown;
            self.seen.words(format_args!("{shown:?}"));
        }
        let ordered = !self.trace.setup.shape.opaque;
        if ordered {
            self.observer.revisions.show(local, number)?;
        }
        if self.observer.is_suspended() {
            self.observer.suspect.insert((local, number));
        }
        if health.complete {
            if ordered && !self.observer.lied {
                self.observer.ceiling.check(number)?;
            }
            self.observer.complete = number;
            if changed {
                self.check_state(health, local, number)?;
            }
        }
        if changed && !self.is_large() {
            self.check_versions(local)?;
        }
        Ok(())
    }

    /// One local epoch stands for one history of the source.
    fn learn_epoch(&mut self, health: &Health<Arc<str>>, local: u64) -> Checked {
        let Some(epoch) = health.epoch.as_ref() else {
            return Ok(());
        };
        let number = epoch
            .as_str()
            .strip_prefix('e')
            .and_then(|digits| digits.parse().ok());
        let Some(number) = number.filter(|_| !self.observer.lied) else {
            return Ok(());
        };
        match self
            .observer
            .epochs
            .iter()
            .find(|(known, _)| *known == local)
        {
            None => {
                self.observer.epochs.push((local, number));
                Ok(())
            }
            Some((_, known)) => crate::oracles::Promise::NoTimeTravel
                .require(*known == number, || {
                    format!("local epoch {local} stands for e{known} and for e{number}")
                }),
        }
    }

    /// P3, literally. Where histories have no names, any of them will do.
    fn check_state(&mut self, health: &Health<Arc<str>>, local: u64, revision: u64) -> Checked {
        if self.observer.is_suspended() {
            self.observer.compared = None;
            return Ok(());
        }
        let named = health.quarantined.len() == health.quarantined_count;
        let apart: BTreeSet<_> = if named {
            health
                .quarantined
                .iter()
                .map(|(key, _)| Arc::clone(key))
                .collect()
        } else {
            self.observer.spoilt.clone()
        };
        let candidates = self.observer.candidates(&self.world, local);
        if self.is_large() {
            return self.check_large(&apart, &candidates, revision);
        }
        let mut ours = self.cached();
        ours.retain(|key, _| !apart.contains(key));
        let mut first = None;
        for epoch in candidates {
            let truth = self.content(&self.world.histories[epoch].at(revision).state, &apart);
            let checked = same_state(&ours, &truth, || {
                format!("the cache at r{revision} in e{epoch}")
            });
            match checked {
                Ok(()) => return Ok(()),
                Err(broken) => first = first.or(Some(broken)),
            }
        }
        first.map_or(Ok(()), Err)
    }

    /// In a large world only what the source has changed since the last comparison is compared,
    /// and the number of objects.
    fn check_large(
        &mut self,
        apart: &BTreeSet<Arc<str>>,
        candidates: &[usize],
        revision: u64,
    ) -> Checked {
        let Some(epoch) = candidates.first() else {
            return Ok(());
        };
        let truth = self.world.histories[*epoch].at(revision).state.clone();
        let before = self
            .observer
            .compared
            .replace(truth.clone())
            .unwrap_or_default();
        let (mut ours, mut theirs) = (Content::new(), Content::new());
        for item in before.diff(&truth) {
            let key = match item {
                DiffItem::Add(key, _) | DiffItem::Remove(key, _) => key,
                DiffItem::Update { old: (key, _), .. } => key,
            };
            let name = &self.world.names[*key as usize];
            if !apart.contains(name) {
                ours.extend(
                    self.engine
                        .cache()
                        .get(name)
                        .map(|value| (Arc::clone(name), *value)),
                );
                theirs.extend(
                    truth
                        .get(key)
                        .map(|object| (Arc::clone(name), object.value())),
                );
            }
        }
        same_state(&ours, &theirs, || {
            format!("what changed up to r{revision} in e{epoch}")
        })?;
        let same = !apart.is_empty() || self.engine.cache().len() == truth.len();
        crate::oracles::Promise::OneRealState.require(same, || {
            format!(
                "{} objects at r{revision}, not {}",
                self.engine.cache().len(),
                truth.len()
            )
        })
    }

    fn check_versions(&mut self, local: u64) -> Checked {
        // A fuzzy list is followed by a replay, in which older incarnations come and go once more.
        let shape = &self.trace.setup.shape;
        if !shape.versions_ordered || shape.fuzzy || self.observer.is_suspended() {
            return Ok(());
        }
        for entry in self.engine.cache().iter() {
            // What survived a rewind only because its new state was rejected has no version.
            if let Ok(version) = entry.version.to_string().parse() {
                self.observer
                    .versions
                    .show(entry.key, *entry.value >> 32, local, version)?;
            }
        }
        Ok(())
    }

    /// Without another word from the source, a new attempt starts within the bound (P6).
    pub(super) fn check_next_attempt(&mut self) -> Checked {
        let mut engine = self.engine.clone();
        while engine.poll_command().is_some() {}
        let (from, bound) = (self.told, engine.config().next_attempt_bound());
        let mut now = from;
        for _ in 0..100_000 {
            let Some(deadline) = engine.poll_timeout() else {
                return check_next_attempt(from, Timestamp::MAX, bound);
            };
            now = now.max(deadline.at);
            check_next_attempt(from, now, bound)?;
            engine.handle_timeout(now);
            while let Some(command) = engine.poll_command() {
                if matches!(
                    command,
                    Command::List { page: None, .. } | Command::Watch { .. }
                ) {
                    return Ok(());
                }
            }
        }
        check_next_attempt(from, Timestamp::MAX, bound)
    }

    /// What the cache holds.
    pub(super) fn cached(&self) -> Content {
        let entries = self.engine.cache().iter();
        entries
            .map(|entry| (Arc::clone(entry.key), *entry.value))
            .collect()
    }

    /// A state of the source, but for some keys.
    pub(super) fn content(&self, state: &State, apart: &BTreeSet<Arc<str>>) -> Content {
        let objects = state.iter().filter_map(|(key, object)| {
            let name = self.world.names.get(*key as usize)?;
            Some((Arc::clone(name), object.value()))
        });
        objects.filter(|(name, _)| !apart.contains(name)).collect()
    }

    fn tell_state(&mut self, health: &Health<Arc<str>>) {
        if !self.story.is_heard() {
            return;
        }
        let attempt = self
            .living
            .keys()
            .next_back()
            .map(|attempt| attempt.number());
        let reason = health
            .reason
            .as_ref()
            .map_or(String::new(), |reason| format!(" ({reason:?})"));
        let deadline = health
            .deadline
            .map(|deadline| (deadline.at.as_nanos(), format!("{:?}", deadline.reason)));
        self.story.state(self.lanes.engine, || EngineState {
            state: format!("{:?}{reason}", health.state),
            attempt,
            deadline,
        });
        let revision = health
            .revision
            .as_ref()
            .map_or("none".to_owned(), |revision| format!("r{revision}"));
        let partial = if health.complete { "" } else { ", partial" };
        self.story.state(self.lanes.cache, || EngineState {
            state: format!("{revision}{partial}, {} objects", health.objects),
            attempt: None,
            deadline: None,
        });
    }
}

/// A notice in a few words: the name of its kind, mostly.
fn brief(notice: &Notice<Arc<str>>) -> String {
    let text = format!("{notice:?}");
    let end = text.char_indices().nth(90).map_or(text.len(), |(at, _)| at);
    text[..end].to_owned()
}
