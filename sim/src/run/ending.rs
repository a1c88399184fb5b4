//! How a run ends: the adversary stops and the engine must converge; or the writer and one fault
//! never stop, and the lag stays bounded.

use std::time::Duration;

use reflet_core::{
    Condition, FailureClass, LimitKind, OnNewEpoch, OnRewind, State, TimerReason, Timestamp,
};

use super::Run;
use super::checks::names_all_quarantined;
use crate::oracles::{Broken, Checked, Lag, Patience, Promise, Waits, same_state};
use crate::trace::Nuisance;
use crate::world::{Feed, Poison, Word};

impl Run<'_> {
    /// The adversary stops: within its bound the engine must have what the source has (P1), or
    /// name the condition that is not met. True: it has.
    pub(super) fn heal(&mut self) -> Result<bool, Broken> {
        self.make_well();
        if self.config.source.fresh_lists {
            self.put_up_fence()?;
        } else {
            self.check_fence_refused()?;
        }
        let patience = Patience::new(self.now, self.bound());
        let tick = self
            .config
            .source
            .heartbeat
            .unwrap_or(Duration::from_secs(1));
        for round in 0..1_000_000 {
            self.answer_everything()?;
            let Err(missing) = self.has_converged() else {
                return Ok(true);
            };
            if self.is_excused() {
                return Ok(false);
            }
            patience.check(self.now, || {
                format!("{missing}; {:?}", self.engine.health())
            })?;
            let latest = self.now.saturating_add(tick);
            let at = self.next_due(latest)?.unwrap_or(latest);
            self.now = self.now.max(at);
            self.story.at(self.step, self.now.as_nanos());
            self.speak_up()?;
            self.wake(at)?;
            if round == 0 && self.needs_help() {
                self.verify(true)?;
            }
        }
        Promise::NextStep.broken(format!(
            "time stands still at {:?}",
            self.engine.poll_timeout()
        ))
    }

    /// The source is truthful, whole and within the limits again.
    fn make_well(&mut self) {
        if self.overtakes() {
            // A source that was set back goes on, and comes to where it was before.
            let highest = self
                .world
                .histories
                .iter()
                .map(|history| history.head)
                .max();
            self.world
                .elsewhere(highest.unwrap_or(0).saturating_sub(self.world.now().head) + 1);
            self.world.write([0], [], Poison::None, 1);
        }
        let state = self.world.truth().clone();
        let unreadable = state
            .iter()
            .filter(|(_, object)| object.poison == Poison::Key);
        let unreadable: Vec<_> = unreadable.map(|(key, _)| *key).collect();
        self.world.write(unreadable, [], Poison::None, 1);
        let over = state.len().saturating_sub(self.config.limits.objects);
        let surplus: Vec<_> = state.keys().take(over).copied().collect();
        self.world.write([], surplus, Poison::None, 1);
        self.world.sync_all();
    }

    /// Whether a restored source without names for its histories overtakes what it had.
    fn overtakes(&self) -> bool {
        self.observer.blurred && self.trace.setup.seed.is_multiple_of(2)
    }

    /// Whether no engine could find out by itself: the source was set back and nothing shows it,
    /// or nothing shows a loss.
    fn needs_help(&self) -> bool {
        let period = self.config.timing.verify_period.is_some();
        // While something is rejected, a digest shows nothing.
        let rejected = self.engine.health().quarantined_count > 0
            || self
                .world
                .truth()
                .values()
                .any(|object| object.poison != Poison::None);
        let digests = self.trace.setup.shape.digests && !rejected;
        (self.observer.blurred && !self.shows_a_rewind())
            || (self.observer.has_losses() && !digests && !period)
    }

    /// Whether the source's answers show that it was set back: it has not come to where the cache
    /// is, and enough lists that say so are taken for a rewind.
    fn shows_a_rewind(&self) -> bool {
        let accepts = self.config.policy.rewind != OnRewind::Refuse;
        let health = self.engine.health();
        let shown = health
            .revision
            .and_then(|revision| self.observer.number(&revision));
        let ahead = shown.is_some_and(|shown| shown > self.world.now().head);
        let shape = &self.trace.setup.shape;
        accepts && ahead && !shape.opaque
    }

    /// The engine's own bound, and the period of what it must wait for.
    fn bound(&self) -> Duration {
        let timing = &self.config.timing;
        let poll = if self.trace.setup.shape.is_whole() {
            timing.poll_interval
        } else {
            Duration::ZERO
        };
        let period = timing.verify_period.filter(|_| self.observer.has_losses());
        let bound = self.config.convergence_bound();
        bound
            .saturating_add(poll)
            .saturating_add(period.unwrap_or_default())
    }

    /// Everybody is answered, until nobody has anything to say.
    fn answer_everything(&mut self) -> Checked {
        for _ in 0..200 {
            let living: Vec<_> = self.living.keys().copied().collect();
            let mut spoke = false;
            for attempt in living {
                while self.serve(attempt)? {
                    spoke = true;
                }
            }
            if !spoke {
                break;
            }
        }
        Ok(())
    }

    /// Connections that have nothing to say say so.
    fn speak_up(&mut self) -> Checked {
        let living: Vec<_> = self.living.keys().copied().collect();
        for attempt in living {
            let Some(talk) = self
                .living
                .get(&attempt)
                .filter(|talk| !talk.dialogue.muted)
            else {
                continue;
            };
            if let Some(word) = talk.dialogue.idle(&self.world) {
                self.say(attempt, word, None)?;
            }
        }
        Ok(())
    }

    /// Whether the engine has what the source has; if not, what is missing.
    fn has_converged(&self) -> Result<(), String> {
        let health = self.engine.health();
        if health.state != State::Live || health.degraded {
            return Err("not live".to_owned());
        }
        if !self.standing.is_empty() {
            return Err(format!("fences are not passed: {:?}", self.standing));
        }
        let apart = self.apart(&health);
        let truth = self.world.truth();
        let excused = &self.observer.spoilt_on_the_way;
        let named = apart.iter().filter(|_| names_all_quarantined(&health));
        for key in named.filter(|key| !excused.contains(*key)) {
            let object = self.world.key(key).and_then(|key| truth.get(&key));
            if object.is_none_or(|object| object.poison == Poison::None) {
                return Err(format!("{key} is good, and still quarantined"));
            }
        }
        if apart.is_empty() && health.objects != truth.len() {
            return Err(format!("{} objects, not {}", health.objects, truth.len()));
        }
        let mut ours = self.cached();
        ours.retain(|key, _| !apart.contains(key));
        let checked = same_state(&ours, &self.content(truth, &apart), || {
            "the cache".to_owned()
        });
        checked.map_err(|broken| broken.message)
    }

    /// Whether the engine names a condition of P1 that is not met, and is right.
    fn is_excused(&self) -> bool {
        let health = self.engine.health();
        let policy = &self.config.policy;
        if self.observer.has_lied() {
            // A lie can look like the end of all numbers, or like another name.
            return true;
        }
        match health.reason {
            Some(Condition::NewEpochRefused) => {
                policy.new_epoch == OnNewEpoch::Refuse && self.world.epoch() > 0
            }
            Some(Condition::OlderThanCache) => {
                policy.rewind == OnRewind::Refuse && self.observer.blurred && !self.overtakes()
            }
            Some(Condition::Frozen(LimitKind::StagedBytes)) => {
                self.trace.setup.tuning.staged.is_some()
            }
            Some(Condition::Frozen(LimitKind::Pages)) => self.trace.setup.tuning.pages.is_some(),
            _ => false,
        }
    }

    /// Each watch opens, and fails at once: the waits must grow (P7).
    pub(super) fn flap(&mut self) -> Checked {
        if !matches!(
            self.trace.setup.shape.feed,
            Feed::ListWatch | Feed::InitialStream
        ) {
            return Ok(());
        }
        let mut waits = Waits::new(self.config.timing.backoff_min);
        for _ in 0..40 {
            let living: Vec<_> = self
                .living
                .iter()
                .map(|(attempt, talk)| (*attempt, talk.dialogue.is_list()))
                .collect();
            for (attempt, is_list) in living {
                if is_list {
                    while self.serve(attempt)? {}
                } else {
                    self.serve(attempt)?;
                    let failure = Word::Failed(FailureClass::Retryable, None);
                    self.say(attempt, failure, None)?;
                }
            }
            // What subscribers want passes by.
            self.next_due(Timestamp::MAX)?;
            if let Some(deadline) = self.engine.poll_timeout()
                && deadline.reason == TimerReason::Backoff
            {
                waits.check(deadline.at.saturating_since(self.told))?;
            }
            self.wait_for_deadline()?;
        }
        Ok(())
    }

    /// The writer never stops, and neither does one fault; the lag stays bounded (P1).
    pub(super) fn load(&mut self, nuisance: Nuisance) -> Checked {
        let bound = self.bound();
        let round = (bound / 300).max(Duration::from_millis(100));
        let mut lag = Lag::new(bound);
        for turn in 0..750_u32 {
            self.story.at(self.step, self.now.as_nanos());
            if self.is_excused() {
                return Ok(());
            }
            let key = self.next_key(turn);
            self.changes += self.world.write([key], [], Poison::None, 1);
            self.world.sync_all();
            self.annoy(nuisance, turn, round)?;
            self.answer_everything()?;
            let until = self.now.saturating_add(round);
            while let Some(at) = self.next_due(until)? {
                self.wake(at)?;
                self.answer_everything()?;
            }
            self.now = until;
            self.speak_up()?;
            let shown = self.engine.health().revision;
            let shown = shown
                .as_ref()
                .and_then(|revision| self.observer.number(revision));
            lag.check(
                self.now,
                self.world.now().last().revision,
                shown.unwrap_or(0),
            )?;
        }
        Ok(())
    }

    /// A key to write: one that is there, so that no limit is passed.
    fn next_key(&self, turn: u32) -> u32 {
        let state = self.world.truth();
        let nth = turn as usize % state.len().max(1);
        state.keys().nth(nth).copied().unwrap_or(0)
    }

    fn annoy(&mut self, nuisance: Nuisance, turn: u32, round: Duration) -> Checked {
        let pages = self.trace.setup.keys / self.config.limits.page_items + 1;
        let list = self.config.timing.page_interval.saturating_mul(pages);
        let rounds = u32::try_from(list.as_nanos() / round.as_nanos()).unwrap_or(0);
        if nuisance == Nuisance::Compact {
            // History is kept for longer than a list takes.
            self.world.compact(8 + rounds as usize);
        }
        // A list has the time that it takes.
        let period = 7 + rounds;
        let newest = self.living.keys().next_back().copied();
        // A dead connection says nothing, not even once more.
        let newest = newest.filter(|attempt| {
            self.living
                .get(attempt)
                .is_some_and(|talk| !talk.dialogue.muted)
        });
        let Some(attempt) = newest.filter(|_| turn % period == 3) else {
            return Ok(());
        };
        match nuisance {
            Nuisance::None | Nuisance::Compact => Ok(()),
            Nuisance::Close => self.say(attempt, Word::Closed, None),
            Nuisance::Fail => self.say(attempt, Word::Failed(FailureClass::Retryable, None), None),
            Nuisance::Mute => {
                if let Some(talk) = self
                    .living
                    .get_mut(&attempt)
                    .filter(|_| turn % (3 * period) == 3)
                {
                    talk.dialogue.muted = true;
                }
                Ok(())
            }
            Nuisance::Repeat => {
                let last = self
                    .living
                    .get(&attempt)
                    .and_then(|talk| talk.dialogue.last.clone());
                match last.filter(|word| {
                    !word.is_of_a_list() && self.trace.setup.shape.feed != Feed::Hints
                }) {
                    Some(word) if !self.trace.setup.shape.opaque => self.say(attempt, word, None),
                    _ => Ok(()),
                }
            }
        }
    }

    /// Everybody has everything, and nothing is left over.
    pub(super) fn finish(&mut self) -> Checked {
        self.drain_all()
    }
}
