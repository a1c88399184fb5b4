//! What must be true of an informer at any time, whatever happens, as its public API shows it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use reflet_core::{Health, State as HealthState};

use super::books::{Books, State, check_cache};
use super::client::Watched;
use super::world::{Reporter, lock};
use crate::oracles::{
    Broken, Ceiling, Checked, Content, Horizon, Promise, Revisions, Versions, check_memory,
    check_next_attempt, check_next_step,
};

/// How late the driver may look at a deadline: its task has to get its turn.
pub(super) const TURN: Duration = Duration::from_millis(20);

/// What an informer has shown so far.
#[derive(Debug, Default)]
pub(super) struct Shown {
    revisions: Revisions,
    versions: Versions,
    /// The source's epoch that each local epoch stands for.
    epochs: BTreeMap<u64, Arc<str>>,
    /// How many subscribers have left of whom something may still be kept.
    left: usize,
}

impl Shown {
    /// A subscriber is gone.
    pub(super) fn leave(&mut self) {
        self.left += 1;
    }

    /// A local epoch shows an epoch of the source: it always stands for this one.
    fn learn(&mut self, local: u64, epoch: &str) -> Checked {
        let known = self.epochs.entry(local).or_insert_with(|| epoch.into());
        Promise::NoTimeTravel.require(**known == *epoch, || {
            format!("local epoch {local} stands for {known} and for {epoch}")
        })
    }

    /// The states that a revision of a local epoch can stand for.
    pub(super) fn states<'a>(
        &self,
        books: &'a Books,
        local: u64,
        revision: u64,
    ) -> Vec<&'a Arc<State>> {
        match self.epochs.get(&local) {
            Some(epoch) => books.at(epoch, revision).into_iter().collect(),
            None => books.all_at(revision).collect(),
        }
    }
}

impl Watched {
    /// Checks everything that can be seen at any time.
    pub(super) fn audit(&self, reporter: &Reporter) {
        let health = self.informer.health();
        let checked = self
            .check_health(&health)
            .and_then(|()| self.check_silence(&health, reporter))
            .and_then(|()| self.check_shown(&reporter.books()))
            .and_then(|()| self.check_onlookers(reporter));
        reporter.check(
            &self.name,
            checked.map_err(|Broken { promise, message }| Broken {
                promise,
                message: format!("{message}; {health:?}"),
            }),
        );
    }

    fn check_health(&self, health: &Health<Arc<str>>) -> Checked {
        let now = self.informer.now();
        check_next_step(health.deadline, health)?;
        if let Some(deadline) = health.deadline {
            let late = now.saturating_since(deadline.at);
            Promise::NextStep.require(late <= TURN, || {
                format!("the next step is late by {late:?}")
            })?;
            check_next_attempt(now, deadline.at, self.config.next_attempt_bound())?;
        }
        let status = self.informer.status().borrow().clone();
        let live = health.state == HealthState::Live;
        Promise::HonestReadiness.require(!live || status.synced, || {
            "it is live, and has not synced".to_owned()
        })?;
        let source = &self.config.source;
        let detectable =
            source.predecessors || source.digests || self.config.timing.verify_period.is_some();
        Ceiling::check_unverified(health.unverified, detectable)?;
        let (shown, limits) = (&mut *lock(&self.shown), &self.config.limits);
        let retained = limits.retained_bytes;
        if health.retained_bytes <= retained.saturating_mul(health.subscribers.len()) {
            shown.left = 0;
        }
        let bytes = self.informer.with_cache(|cache| cache.bytes());
        check_memory(health, bytes, shown.left, limits)
    }

    /// What the cache shows never goes back (P2), and is one real state (P3).
    pub(super) fn check_shown(&self, books: &Books) -> Checked {
        let health = self.informer.health();
        let Some(revision) = health.revision.as_ref() else {
            return Ok(());
        };
        let Some(revision) = revision.as_u64() else {
            return Promise::OneRealState.broken(format!("revision {revision} never was"));
        };
        let local = self.learn()?;
        let shown = &mut *lock(&self.shown);
        shown.revisions.show(local, revision)?;
        self.informer.with_cache(|cache| {
            let mut entries = cache.iter();
            entries.try_for_each(|entry| match entry.version.to_string().parse() {
                Ok(version) => shown
                    .versions
                    .show(entry.key, entry.value.born, local, version),
                // What is left of another history has none.
                Err(_) => Ok(()),
            })
        })?;
        if !health.complete {
            return Ok(());
        }
        self.check_told(shown, local, revision)?;
        let states = shown.states(books, local, revision);
        let Some(state) = states.first() else {
            return Promise::OneRealState.broken(format!("revision {revision} never was"));
        };
        let apart = quarantined(&health, state);
        check_cache(self.content(books), &apart, state, || {
            format!("the cache at r{revision}")
        })
    }

    /// A complete revision was told in full (P5), and a list was before it (P9).
    pub(super) fn check_told(&self, shown: &Shown, local: u64, revision: u64) -> Checked {
        let Some(heard) = self.heard.as_ref() else {
            return Ok(());
        };
        let heard = lock(heard);
        heard.readiness.check(true, "a revision is complete")?;
        match shown.epochs.get(&local) {
            Some(epoch) => heard.horizon.check(epoch, revision),
            None => Ok(()),
        }
    }

    /// Without a word from the source, a new attempt starts in time (P6), and nobody is told that
    /// all is well (P5).
    fn check_silence(&self, health: &Health<Arc<str>>, reporter: &Reporter) -> Checked {
        let Some(heard) = self.heard.as_ref() else {
            return Ok(());
        };
        let (heard, now) = (lock(heard), reporter.clock());
        let synced = self.informer.status().borrow().synced;
        heard.readiness.check(synced, "it says that it is synced")?;
        let bound = self.config.next_attempt_bound();
        let started = lock(&self.starts).last;
        check_next_attempt(started.max(heard.at), now, bound.saturating_add(TURN))?;
        let silent = now.saturating_since(heard.at);
        let bound = bound.saturating_add(self.config.timing.open_timeout);
        Horizon::check_live(health.state == HealthState::Live, silent, bound)
    }

    /// Which local epoch the cache is in; what it stands for is remembered.
    pub(super) fn learn(&self) -> Result<u64, Broken> {
        let local = self.informer.with_cache(|cache| cache.local_epoch());
        if let Some(epoch) = self.informer.health().epoch {
            lock(&self.shown).learn(local, epoch.as_str())?;
        }
        Ok(local)
    }

    /// What the cache holds, for the oracles.
    pub(super) fn content(&self, books: &Books) -> Content {
        self.informer.with_cache(|cache| {
            let entries = cache.iter();
            entries
                .map(|entry| (Arc::clone(entry.key), books.number(entry.value)))
                .collect()
        })
    }

    /// How far the cache has come in an epoch of the source.
    pub(super) fn shows(&self, epoch: &str) -> u64 {
        let health = self.informer.health();
        let here = health.epoch.is_some_and(|shown| shown.as_str() == epoch);
        let revision = health.revision.filter(|_| here);
        revision.and_then(|revision| revision.as_u64()).unwrap_or(0)
    }

    /// Why the informer and its readers are not where the source is.
    pub(super) fn is_apart(&self, reporter: &Reporter) -> Option<String> {
        let books = &*reporter.books();
        let (health, state) = (self.informer.health(), books.state());
        let apart = quarantined(&health, state);
        let good = |key: &&Arc<str>| state.get(*key).is_none_or(|object| object.value.is_some());
        if let Some(key) = apart.iter().find(good) {
            return Some(format!("{key} is good, and still quarantined"));
        }
        let what = || "the cache".to_owned();
        if let Err(broken) = check_cache(self.content(books), &apart, state, what) {
            return Some(broken.message);
        }
        let mut readers = self.readers.iter();
        readers.find_map(|reader| reader.is_apart(state))
    }
}

/// The keys that P1 and P3 leave apart: the quarantined ones, or where health does not name all of
/// them, all that cannot be decoded.
fn quarantined(health: &Health<Arc<str>>, state: &State) -> BTreeSet<Arc<str>> {
    if health.quarantined.len() == health.quarantined_count {
        let keys = health.quarantined.iter().map(|(key, _)| Arc::clone(key));
        return keys.collect();
    }
    let poison = state.iter().filter(|(_, object)| object.value.is_none());
    poison.map(|(key, _)| Arc::clone(key)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fires_when_a_local_epoch_stands_for_two_histories() {
        let mut shown = Shown::default();
        assert_eq!(shown.learn(0, "x"), Ok(()));
        assert_eq!(shown.learn(1, "y"), Ok(()));
        assert_eq!(shown.learn(0, "x"), Ok(()));
        assert!(shown.learn(0, "y").is_err());
    }

    #[test]
    fn a_revision_stands_for_its_own_history_once_that_is_known() {
        let (mut books, mut shown) = (Books::default(), Shown::default());
        books.begin("x", 5, Arc::default());
        books.begin("y", 5, Arc::default());
        assert_eq!(shown.states(&books, 0, 5).len(), 2);
        assert_eq!(shown.learn(0, "x"), Ok(()));
        assert_eq!(shown.states(&books, 0, 5).len(), 1);
        assert!(shown.states(&books, 0, 6).is_empty());
    }
}
