//! One point of the search: an engine, its source, and what two subscribers know.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Duration;

use reflet_core::{Attempt, Config, Informer, Input, TimerReason, Timestamp, Timing};

use super::check::Broken;
use super::follower::Follower;
use super::world::{Dialogue, Name, Object, Profile, Source, Talk, Word, Write};
use super::{Faults, Scope};

pub(super) type Engine = Informer<Name, Object>;

/// Everything that matters for what can happen next.
#[derive(Clone)]
pub(super) struct State {
    pub(super) engine: Engine,
    pub(super) source: Source,
    pub(super) now: Timestamp,
    /// Handed everything at once.
    pub(super) quick: Follower,
    /// Handed one delta now and then.
    pub(super) slow: Follower,
    /// What may still happen.
    pub(super) left: Faults,
    /// The engine has been given a complete state.
    pub(super) served: bool,
    /// The driver's handles of the attempts.
    pub(super) attempts: Vec<Attempt>,
}

/// One step of the world.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Action {
    Write(Write),
    Compact,
    /// A dialogue, by its place, says its next word.
    Speak(usize),
    /// It says its last word again.
    Repeat(usize),
    /// It serves its list from the revision before the newest.
    Stale(usize),
    Lose(usize),
    Close(usize),
    Break(usize),
    Hush(usize),
    /// The deadline passes.
    Wait,
    /// The slow subscriber takes one delta.
    Poll,
}

impl State {
    pub(super) fn new(scope: &Scope) -> Self {
        let mut config = Config {
            source: scope.profile.source(),
            timing: Timing {
                // Pacing is another's business: here it would only multiply the states.
                burst: 1_000,
                min_interval: Duration::from_millis(1),
                ..Timing::default()
            },
            ..Config::default()
        };
        config.limits.page_items = 1;
        if let Some(bytes) = scope.retained_bytes {
            config.limits.retained_bytes = bytes;
        }
        let now = Timestamp::from_millis(1_000_000);
        let mut engine = Informer::new(config, 1, now);
        engine.set_content_eq(|a, b| a == b);
        let (quick, slow) = (
            Follower::new(&mut engine, false),
            Follower::new(&mut engine, true),
        );
        let mut state = Self {
            engine,
            source: Source::new(scope.profile),
            now,
            quick,
            slow,
            left: scope.faults,
            served: false,
            attempts: Vec::new(),
        };
        state.obey();
        state
    }

    /// All that can happen next, in a fixed order.
    pub(super) fn actions(&self) -> Vec<Action> {
        let left = &self.left;
        let mut actions = Vec::new();
        for (at, dialogue) in self.source.dialogues.iter().enumerate() {
            let word = self.source.word(dialogue);
            if dialogue.dead {
                actions.extend(
                    (left.allows(left.late) && word.is_some()).then_some(Action::Speak(at)),
                );
                continue;
            }
            actions.extend(word.is_some().then_some(Action::Speak(at)));
            let repeats = left.allows(left.duplicates) && dialogue.last.is_some();
            actions.extend(repeats.then_some(Action::Repeat(at)));
            actions.extend(self.can_be_stale(dialogue).then_some(Action::Stale(at)));
            if left.allows(left.drops) && !dialogue.hushed {
                actions.extend([Action::Close(at), Action::Break(at), Action::Hush(at)]);
                let shows = self.source.profile.source().predecessors;
                let loses = shows && self.source.lose(&mut dialogue.clone());
                actions.extend(loses.then_some(Action::Lose(at)));
            }
        }
        if left.writes > 0 {
            actions.extend(self.source.writes().into_iter().map(Action::Write));
        }
        if left.allows(left.compactions) && self.source.compacted < self.source.head() {
            actions.push(Action::Compact);
        }
        let waits = self
            .engine
            .poll_timeout()
            .is_some_and(|deadline| left.allows(left.timeouts) || !is_timeout(deadline.reason));
        actions.extend(waits.then_some(Action::Wait));
        actions.extend(self.engine.has_delta(self.slow.id).then_some(Action::Poll));
        actions
    }

    fn can_be_stale(&self, dialogue: &Dialogue) -> bool {
        let fresh = match dialogue.talk {
            // Without an order of revisions nobody could tell.
            Talk::List {
                at: None,
                asked: true,
                ..
            } => self.source.profile != Profile::Polled,
            Talk::Stream { at, .. } => at.is_none(),
            Talk::List { .. } | Talk::Watch { .. } => false,
        };
        self.left.allows(self.left.stale) && fresh && self.source.head() > 1
    }

    /// Takes a step, and everything that follows from it at once.
    pub(super) fn apply(&mut self, action: Action) -> Result<(), Broken> {
        match action {
            Action::Write(write) => {
                self.left.writes -= 1;
                self.source.write(write);
            }
            Action::Compact => {
                self.left.spend(|left| &mut left.compactions);
                self.source.compacted = self.source.head();
            }
            Action::Speak(at) => self.speak(at),
            Action::Repeat(at) => {
                self.left.spend(|left| &mut left.duplicates);
                if let Some(word) = self.source.dialogues[at].last.clone() {
                    self.say(at, &word);
                }
            }
            Action::Stale(at) => {
                self.left.spend(|left| &mut left.stale);
                let before = self.source.history.iter().rev().nth(1);
                let before = before.map(|transaction| transaction.revision);
                match &mut self.source.dialogues[at].talk {
                    Talk::List { at: pinned, .. } => {
                        *pinned = before;
                        self.speak(at);
                    }
                    Talk::Stream { .. } | Talk::Watch { .. } => {
                        self.say(at, &Word::Opened);
                        self.source.dialogues[at].talk = Talk::Stream { at: before, key: 0 };
                    }
                }
            }
            Action::Lose(at) => {
                self.left.spend(|left| &mut left.drops);
                let mut dialogue = self.source.dialogues[at].clone();
                self.source.lose(&mut dialogue);
                self.source.dialogues[at] = dialogue;
            }
            Action::Hush(at) => {
                self.left.spend(|left| &mut left.drops);
                self.source.dialogues[at].hushed = true;
            }
            Action::Close(at) => {
                self.left.spend(|left| &mut left.drops);
                let dialogue = self.source.dialogues.remove(at);
                self.hear(&dialogue, Input::Closed);
            }
            Action::Break(at) => {
                self.left.spend(|left| &mut left.drops);
                let dialogue = self.source.dialogues.remove(at);
                self.break_off(&dialogue);
            }
            Action::Wait => {
                if let Some(deadline) = self.engine.poll_timeout() {
                    if is_timeout(deadline.reason) {
                        self.left.spend(|left| &mut left.timeouts);
                    }
                    self.now = self.now.max(deadline.at);
                    self.engine.handle_timeout(self.now);
                }
            }
            Action::Poll => {
                let Self {
                    slow,
                    engine,
                    source,
                    ..
                } = self;
                slow.poll(engine, source)?;
            }
        }
        self.obey();
        let Self {
            quick,
            engine,
            source,
            ..
        } = self;
        while quick.poll(engine, source)? {}
        while engine.poll_notice().is_some() {}
        Ok(())
    }

    /// Lets both subscribers catch up.
    pub(super) fn catch_up(&mut self) -> Result<(), Broken> {
        let Self {
            slow,
            engine,
            source,
            ..
        } = self;
        while slow.poll(engine, source)? {}
        Ok(())
    }
    /// A number that equal states share. With `faults`, states that differ only in what may still
    /// go wrong differ too.
    pub(super) fn fingerprint(&self, faults: bool) -> u64 {
        let mut hasher = DefaultHasher::new();
        self.engine.fingerprint().hash(&mut hasher);
        let Source {
            profile: _,
            history,
            compacted,
            dialogues,
            ..
        } = &self.source;
        (history, compacted, dialogues.len()).hash(&mut hasher);
        let mut dialogues: Vec<_> = dialogues.iter().collect();
        dialogues.sort_by_key(|dialogue| dialogue.attempt);
        let newest = self.engine.newest_attempt();
        for dialogue in dialogues {
            let Dialogue {
                attempt,
                talk,
                dead,
                hushed,
                last,
            } = dialogue;
            (newest - attempt, talk, dead, hushed).hash(&mut hasher);
            last.as_ref().filter(|_| faults).hash(&mut hasher);
        }
        (&self.quick, &self.slow, self.served).hash(&mut hasher);
        faults.then_some(self.left).hash(&mut hasher);
        hasher.finish()
    }
}
/// Whether a deadline is a limit to patience, rather than the time of the next step.
fn is_timeout(reason: TimerReason) -> bool {
    match reason {
        TimerReason::Opening
        | TimerReason::PageSilence
        | TimerReason::ListDeadline
        | TimerReason::Silence => true,
        TimerReason::Backoff
        | TimerReason::RetryAfter
        | TimerReason::SlowRetry
        | TimerReason::Paced
        | TimerReason::Poll
        | TimerReason::Verify
        | TimerReason::Reclaim
        | TimerReason::Redeliver => false,
    }
}
