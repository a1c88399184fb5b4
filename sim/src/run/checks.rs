//! What must hold after each call.

use std::collections::BTreeSet;
use std::sync::Arc;

use imbl::ordmap::DiffItem;
use reflet_core::{Command, Condition, Health, Notice, Timestamp};

use super::Run;
use super::observer::Told;
use crate::oracles::{
    Broken, Ceiling, Checked, Content, Promise, check_memory, check_next_attempt, check_next_step,
    check_notices, check_refused, same_state,
};
use crate::story::{EngineState, Kind};
use crate::world::{State, share};

impl Run<'_> {
    /// What a driver does after each call, and what must hold then. `changed` says whether the
    /// call may have changed the cache.
    pub(super) fn after_call(&mut self, changed: bool) -> Checked {
        if self.neglected == 0 {
            let synced_before = self.observer.was_synced;
            // What was found comes before what is done about it.
            let mut told = self.take_notices()?;
            self.take_commands()?;
            // A collection that stays frozen does not say so again.
            told.refused |= matches!(self.engine.health().reason, Some(Condition::Frozen(_)));
            let all_clean = self.living.values().all(|talk| talk.clean);
            self.observer
                .settle(&told, all_clean, synced_before, self.told)?;
            self.check_told(&told)?;
            if let Some((ours, theirs)) = self.observer.digests.take() {
                let found = told.mismatch || told.bad || told.lost;
                Ceiling::check_digest(ours, theirs, found)?;
            }
            if let Some(changed) = self.observer.refusal.take() {
                check_refused(changed, told.bad || told.lost, "a hostile input")?;
            }
        } else {
            self.observer.neglected();
        }
        let health = self.engine.health();
        let deadline = self.engine.poll_timeout();
        check_next_step(deadline, &health)?;
        self.observer
            .readiness
            .check(self.engine.is_synced(), "the engine says that it is synced")?;
        Ceiling::check_unverified(health.unverified, self.observer.detectable)?;
        let mut limits = self.config.limits.clone();
        limits.retained_bytes = limits.retained_bytes.saturating_add(self.largest_bound());
        let retained = limits.retained_bytes;
        if health.retained_bytes <= retained.saturating_mul(health.subscribers.len()) {
            self.observer.left = 0;
        }
        let (bytes, left) = (self.engine.cache().bytes(), self.observer.left);
        check_memory(&health, bytes, left, &limits)?;
        self.hash
            .number(deadline.map_or(0, |deadline| deadline.at.as_nanos()));
        self.hash.number(self.engine.cache().len() as u64);
        self.tell_state(&health);
        self.observer.was_synced = self.engine.cache().is_synced();
        if self.observer.was_synced {
            self.check_cache(&health, changed)?;
        }
        self.check_fences()?;
        self.check_lookups()?;
        self.keep_up()
    }

    /// What was rejected has no effect, and nothing is inferred from what was not fully read.
    fn check_told(&self, told: &Told) -> Checked {
        if told.lost || self.unseen_since.is_some() {
            return Ok(());
        }
        let degraded = self.engine.health().degraded;
        Promise::OneRealState.require(!degraded || told.inferred == 0, || {
            format!(
                "{} deletes were inferred from a list with an unreadable key",
                told.inferred
            )
        })?;
        if self.is_large() {
            return Ok(());
        }
        for key in &told.rejected {
            let (before, now) = (self.observer.known.get(key), self.engine.cache().get(key));
            Promise::Harmless.require(before == now, || {
                format!("{key} was rejected, and changed from {before:?} to {now:?}")
            })?;
        }
        Ok(())
    }

    fn take_notices(&mut self) -> Result<Told, Broken> {
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
        let delimited = self.trace.setup.shape.batch_ends && !self.trace.setup.shape.fuzzy;
        let torn = delimited && !health.complete && !health.degraded;
        Promise::OneRealState.require(!torn || self.observer.lied, || {
            format!("part of a transaction is visible at r{number}")
        })?;
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
            Some((_, known)) => Promise::NoTimeTravel.require(*known == number, || {
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
        let apart = self.apart(health);
        let candidates = self.observer.candidates(&self.world, local);
        if self.is_large() {
            return self.check_large(&apart, &candidates, revision);
        }
        if candidates.iter().any(|epoch| {
            let state = &self.world.histories[*epoch].at(revision).state;
            self.holds_exactly(state, &apart)
        }) {
            return Ok(());
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

    /// The keys that P1 and P3 leave apart: the quarantined ones, or where health does not name
    /// all of them, all that were ever spoilt.
    pub(super) fn apart(&self, health: &Health<Arc<str>>) -> BTreeSet<Arc<str>> {
        if !names_all_quarantined(health) {
            return self.observer.spoilt.clone();
        }
        let keys = health.quarantined.iter().map(|(key, _)| Arc::clone(key));
        keys.collect()
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
        Promise::OneRealState.require(same, || {
            format!(
                "{} objects at r{revision}, not {}",
                self.engine.cache().len(),
                truth.len()
            )
        })
    }

    /// A digest came: what counts as complete at its revision has that digest, or a notice says
    /// that it has not.
    pub(super) fn compare_digest(&mut self, at: u64, theirs: u64) {
        let health = self.engine.health();
        let number = health
            .revision
            .as_ref()
            .and_then(|revision| self.observer.number(revision));
        let comparable = health.complete && number == Some(at) && health.quarantined_count == 0;
        if !comparable || self.is_large() || self.observer.has_lied() {
            return;
        }
        let ours = self.engine.cache().iter().fold(0_u64, |sum, entry| {
            let (key, version) = (self.world.key(entry.key), entry.version.to_string().parse());
            let share = key
                .zip(version.ok())
                .map(|(key, version)| share(key, version));
            sum.wrapping_add(share.unwrap_or(0))
        });
        self.observer.digests = Some((ours, theirs));
    }

    /// Whether the cache has a key.
    pub(super) fn has(&self, key: u32) -> bool {
        let name = self.world.names.get(key as usize);
        name.is_some_and(|name| self.engine.cache().contains(name))
    }

    /// A delete was heard, and the object is gone: an old update must not bring it back.
    pub(super) fn remember_delete(&mut self, key: u32, uid: u64) {
        let setup = &self.trace.setup;
        let shape = &setup.shape;
        let remembered = shape.opaque && shape.versions_ordered && shape.uids && !shape.terse;
        if remembered && setup.tuning.graves > 1 && !self.observer.is_confused() {
            let local = self.engine.cache().local_epoch();
            let name = &self.world.names[key as usize];
            self.observer.versions.delete(name, uid, local);
        }
    }

    fn check_versions(&mut self, local: u64) -> Checked {
        // A fuzzy list is followed by a replay, in which older incarnations come and go once more.
        let shape = &self.trace.setup.shape;
        // Who remembers few deletes takes some old updates for new objects.
        let forgetful = self.trace.setup.tuning.graves <= 1 && self.observer.has_losses();
        let confused = self.observer.is_confused() || forgetful;
        if !shape.versions_ordered || shape.fuzzy || confused {
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

    /// Whether the cache is this state of the source, but for some keys.
    fn holds_exactly(&self, state: &State, apart: &BTreeSet<Arc<str>>) -> bool {
        let cache = self.engine.cache();
        let ours = cache.len() - apart.iter().filter(|key| cache.contains(key)).count();
        let mut theirs = 0;
        state.iter().all(|(key, object)| {
            let name = &self.world.names[*key as usize];
            theirs += usize::from(!apart.contains(name));
            apart.contains(name) || cache.get(name) == Some(&object.value())
        }) && ours == theirs
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

/// Health names no more quarantined keys than it was configured to.
pub(super) fn names_all_quarantined(health: &Health<Arc<str>>) -> bool {
    health.quarantined.len() == health.quarantined_count
}

/// A notice in a few words: the name of its kind, mostly.
fn brief(notice: &Notice<Arc<str>>) -> String {
    let text = format!("{notice:?}");
    let end = text.char_indices().nth(90).map_or(text.len(), |(at, _)| at);
    text[..end].to_owned()
}
