//! The driver's part, with the adversary in between: commands become dialogues, words are lost,
//! twisted, repeated, and come late.

use std::time::Duration;

use reflet_core::{Attempt, Command, Epoch, Revision, WatchFrom};

use super::Run;
use crate::oracles::{Checked, Promise};
use crate::story::{Kind, MomentId};
use crate::trace::{CLASSES, Fault, Lie};
use crate::world::{Ask, Dialogue, Poison, Start, Word};

/// One attempt under way.
#[derive(Clone, Debug)]
pub(super) struct Talk {
    pub(super) dialogue: Dialogue,
    /// It began when all replicas were in the newest history.
    pub(super) clean: bool,
    /// A comparison of contents was wanted when it began.
    pub(super) content_wanted: bool,
    /// It compares contents.
    pub(super) content: bool,
    pages: u32,
    command: MomentId,
    answered: bool,
}

impl Run<'_> {
    /// Takes all commands.
    pub(super) fn take_commands(&mut self) -> Checked {
        while let Some(command) = self.engine.poll_command() {
            self.hash.words(format_args!("{command:?}"));
            self.seen.words(format_args!("{command:?}"));
            let text = brief(&command);
            let moment = self.story.say(self.lanes.engine, Kind::Command, text, || {
                format!("{command:#?}")
            });
            match &command {
                Command::Cancel { attempt } => {
                    if let Some(talk) = self.living.remove(attempt) {
                        self.bury(*attempt, talk);
                    }
                }
                Command::List {
                    attempt,
                    page: Some(_),
                    ..
                } => self.ask_on(*attempt)?,
                Command::List { attempt, .. } | Command::Watch { attempt, .. } => {
                    self.begin(*attempt, &command, moment)?;
                }
            }
        }
        Ok(())
    }

    fn ask_on(&mut self, attempt: Attempt) -> Checked {
        match self.unseen_since {
            Some(since) => self.observer.pages.started_unseen(since),
            None => self.observer.pages.start(self.told)?,
        }
        let limit = self.config.limits.pages;
        let Some(talk) = self.living.get_mut(&attempt) else {
            return Promise::Harmless
                .broken(format!("a page of {attempt} is asked for, which is over"));
        };
        talk.pages += 1;
        talk.dialogue.ask();
        Promise::NeverHammers.require(talk.pages < limit.max(1), || {
            format!(
                "{attempt} asks for page {}; the limit is {limit}",
                talk.pages + 1
            )
        })
    }

    fn begin(&mut self, attempt: Attempt, command: &Command, moment: MomentId) -> Checked {
        match self.unseen_since {
            Some(since) => self.observer.attempts.started_unseen(since),
            None => self.observer.attempts.start(self.told)?,
        }
        self.turns += 1;
        let ask = ask(command);
        match ask {
            Ask::Watch {
                from: Start::After(revision),
                ..
            } => self.observer.resumes(revision),
            Ask::Watch {
                from: Start::Now, ..
            } => {}
            Ask::List { .. } | Ask::Watch { .. } => self.observer.lists(),
        }
        let dialogue = Dialogue::new(&self.world, ask, self.turns);
        self.freshen(dialogue.replica, ask);
        let talk = Talk {
            clean: self.world.is_of_one_mind(),
            content_wanted: self.observer.content_wanted,
            // One that nobody saw begin may have begun before that was wanted.
            content: self.observer.wants_content() && self.unseen_since.is_none(),
            dialogue,
            pages: 0,
            command: moment,
            answered: false,
        };
        let before = self.living.insert(attempt, talk);
        Promise::Determinism.require(before.is_none(), || format!("{attempt} began twice"))
    }

    pub(super) fn bury(&mut self, attempt: Attempt, talk: Talk) {
        self.dead.push((attempt, talk));
        if self.dead.len() > 8 {
            self.dead.remove(0);
        }
    }

    /// A living attempt, counted from the newest, gets so many words; the last one with a fault.
    pub(super) fn serve_some(&mut self, which: usize, words: u8, fault: Fault) -> Checked {
        let Some(attempt) = self.living.keys().rev().nth(which).copied() else {
            return Ok(());
        };
        // Pages of a large world are long.
        let words = if words == 255 {
            20_000
        } else {
            u32::from(words)
        };
        for _ in 1..words {
            if !self.serve(attempt)? {
                break;
            }
        }
        self.disturb(attempt, fault)
    }

    /// One word for a living attempt, undisturbed. False if there is nothing to say.
    pub(super) fn serve(&mut self, attempt: Attempt) -> Result<bool, crate::oracles::Broken> {
        let Some(talk) = self.living.get_mut(&attempt) else {
            return Ok(false);
        };
        if talk.dialogue.muted {
            return Ok(false);
        }
        let Some(word) = talk.dialogue.next(&self.world) else {
            return Ok(false);
        };
        self.say(attempt, word, None)?;
        Ok(true)
    }

    fn disturb(&mut self, attempt: Attempt, fault: Fault) -> Checked {
        let Some(talk) = self
            .living
            .get_mut(&attempt)
            .filter(|talk| !talk.dialogue.muted)
        else {
            return Ok(());
        };
        if fault == Fault::LoseBatchEnd {
            return self.lose_batch_end(attempt);
        }
        let (world, dialogue) = (&self.world, &mut talk.dialogue);
        let epoch = world.replicas[dialogue.replica].epoch;
        let lost = match fault {
            Fault::LoseTransaction => dialogue.lose_transaction(world),
            Fault::Swap => dialogue.swap_transactions(world),
            Fault::LoseWord => match dialogue.peek(world) {
                Some(Word::Put(_, _, at, _) | Word::Delete(_, _, at, _)) => {
                    let at = *at;
                    dialogue.lose_word(world);
                    Some(at)
                }
                _ => None,
            },
            _ => None,
        };
        if let Some(lost) = lost {
            let begun = self
                .living
                .get(&attempt)
                .and_then(|talk| talk.dialogue.last.as_ref());
            let begun = matches!(begun, Some(Word::Put(_, _, at, _) | Word::Delete(_, _, at, _)) if *at == lost);
            // What changes places twice is where it was, and part of it may have come before.
            self.observer.swapped |= fault == Fault::Swap;
            let whole = fault == Fault::LoseTransaction && !begun && !self.observer.swapped;
            self.observer.lost(epoch, lost, !whole);
        }
        if fault != Fault::None {
            let text = format_args!("{attempt}: {fault:?}");
            self.story
                .say(self.lanes.network, Kind::Fault, text, String::new);
        }
        let Some(talk) = self.living.get_mut(&attempt) else {
            return Ok(());
        };
        match fault {
            Fault::None => self.serve(attempt).map(drop),
            Fault::Fail(class, wait) => {
                let class = CLASSES[usize::from(class) % CLASSES.len()];
                self.say(attempt, Word::Failed(class, wait), None)
            }
            Fault::Close => self.say(attempt, Word::Closed, None),
            Fault::Mute => {
                talk.dialogue.muted = true;
                Ok(())
            }
            Fault::Repeat => match talk.dialogue.last.clone() {
                Some(word) if !word.is_of_a_list() => self.say(attempt, word, None),
                _ => Ok(()),
            },
            Fault::Again => self.say_again(attempt),
            Fault::Hint if talk.dialogue.is_list() => Ok(()),
            Fault::Hint => self.say(attempt, Word::Hint, None),
            Fault::LoseTransaction | Fault::LoseWord | Fault::LoseBatchEnd | Fault::Swap => Ok(()),
            Fault::SpoilPayload => self.spoil(attempt, Poison::Payload),
            Fault::SpoilKey => self.spoil(attempt, Poison::Key),
            Fault::Lie(lie) => self.lie(attempt, lie),
        }
    }

    /// A change from a while ago is said once more.
    fn say_again(&mut self, attempt: Attempt) -> Checked {
        let talk = self.living.get(&attempt);
        let Some(word) = talk.and_then(|talk| talk.dialogue.earlier.clone()) else {
            return Ok(());
        };
        if self.trace.setup.shape.opaque {
            // Without an order of revisions, an old one looks like a new one.
            let here = self.world.place();
            self.observer.replayed(here);
        }
        self.say(attempt, word, None)
    }

    /// The transaction that comes next is told, but not that it ends.
    fn lose_batch_end(&mut self, attempt: Attempt) -> Checked {
        for _ in 0..12 {
            let Some(talk) = self.living.get_mut(&attempt) else {
                break;
            };
            if let Some(Word::BatchEnd(_)) = talk.dialogue.peek(&self.world) {
                let lost = talk.dialogue.lose_word(&self.world);
                let text = format_args!(
                    "{attempt}: lost: {}",
                    lost.map_or(String::new(), |word| word.to_string())
                );
                self.story
                    .say(self.lanes.network, Kind::Fault, text, String::new);
                break;
            }
            if !self.serve(attempt)? {
                break;
            }
        }
        Ok(())
    }

    /// The next word that can be twisted like that is.
    fn lie(&mut self, attempt: Attempt, lie: Lie) -> Checked {
        for _ in 0..40 {
            let talk = self.living.get_mut(&attempt);
            let Some(word) = talk.and_then(|talk| talk.dialogue.next(&self.world)) else {
                break;
            };
            let suits = match lie {
                Lie::Token => matches!(word, Word::PageEnd(_)),
                Lie::LongKey | Lie::Unchanged => {
                    matches!(word, Word::Item(..) | Word::Initial(..) | Word::Put(..))
                }
                Lie::Removal => matches!(word, Word::Initial(..)),
                Lie::OutOfPlace | Lie::Long => !word.is_last(),
                Lie::NoRevision => matches!(word, Word::Page(..) | Word::InitialEnd(_)),
                Lie::Huge | Lie::NotDecimal | Lie::Zero | Lie::Lower | Lie::BatchEnd => {
                    word.has_revision()
                }
            };
            self.say(attempt, word, suits.then_some(lie))?;
            if suits {
                break;
            }
        }
        Ok(())
    }

    fn spoil(&mut self, attempt: Attempt, poison: Poison) -> Checked {
        let talk = self.living.get_mut(&attempt);
        let Some(mut word) = talk.and_then(|talk| talk.dialogue.next(&self.world)) else {
            return Ok(());
        };
        match (&mut word, poison) {
            // A delete has no payload that could be spoilt.
            (Word::Delete(_, object, ..), Poison::Key) => object.poison = poison,
            (word, _) => {
                if let Some(object) = word.object_mut() {
                    object.poison = poison;
                }
                self.observer.spoils(word, &self.world);
            }
        }
        self.say(attempt, word, None)
    }

    /// A living attempt hears a word.
    pub(super) fn say(&mut self, attempt: Attempt, word: Word, lie: Option<Lie>) -> Checked {
        if let Some(talk) = self.living.get_mut(&attempt) {
            let moment = self.story.say(
                self.lanes.network,
                Kind::Normal,
                format_args!("{attempt}: {word}"),
                String::new,
            );
            if !std::mem::replace(&mut talk.answered, true) {
                self.story.arrow(talk.command, moment);
            }
        }
        self.observer.hears(&word, lie, &self.world);
        // After a lie an attempt may be over, and nobody was told.
        let heard = self.neglected == 0 && !self.observer.has_lied();
        if let (Word::Failed(_, Some(wait)), true) = (&word, heard) {
            let cap = self.config.timing.max_retry_after;
            let wait = Duration::from_millis((*wait).into()).min(cap);
            let time = self.told.max(self.now.saturating_sub(self.skew));
            self.observer.attempts.embargo(time.saturating_add(wait));
        }
        let refusable = lie.is_some_and(|lie| self.must_refuse(attempt, &word, lie));
        let before = refusable.then(|| self.cached());
        let talk = if word.is_last() && lie.is_none() {
            self.living.remove(&attempt)
        } else {
            // A copy only where it will be looked at.
            let talk = self.living.get(&attempt);
            talk.filter(|_| word.completes()).cloned()
        };
        if !self.observer.spoilt.is_empty() && !self.is_large() {
            self.observer.known = self.cached();
        }
        let dies = match (&word, lie) {
            (Word::Delete(key, object, ..), None) if self.has(*key) => Some((*key, object.uid)),
            _ => None,
        };
        self.hand_in(attempt, &word, lie);
        if let Some(before) = before {
            self.observer.expect_refusal(before != self.cached());
        }
        if word.completes() {
            // Compared in full once more.
            self.observer.compared = None;
        }
        let ends = !lie.is_some_and(Lie::hides_an_end);
        self.observer.spoke(&word, talk.as_ref().filter(|_| ends));
        if let (Word::Progress(at, Some(digest)), None) = (&word, lie) {
            self.compare_digest(*at, *digest);
        }
        if let Some((key, uid)) = dies.filter(|(key, _)| !self.has(*key)) {
            self.remember_delete(key, uid);
        }
        if let Some(talk) = talk.filter(|_| word.is_last() && lie.is_none()) {
            self.bury(attempt, talk);
        }
        self.after_call(!matches!(
            word,
            Word::Item(..) | Word::Initial(..) | Word::Page(..)
        ))
    }

    /// A dead attempt is heard of once more, and nobody listens.
    pub(super) fn answer_late(&mut self, which: usize) -> Checked {
        if self.neglected > 0 {
            return Ok(());
        }
        let Some(index) = self.dead.len().checked_sub(1 + which) else {
            return Ok(());
        };
        let (attempt, talk) = &mut self.dead[index];
        let attempt = *attempt;
        talk.dialogue.ask();
        let Some(word) = talk.dialogue.next(&self.world) else {
            return Ok(());
        };
        let text = format_args!("{attempt}, late: {word}");
        self.story
            .say(self.lanes.network, Kind::Fault, text, String::new);
        let before = (self.cached(), self.engine.health());
        self.hand_in(attempt, &word, None);
        let same = before == (self.cached(), self.engine.health()) && !self.engine.has_command();
        Promise::Harmless.require(same, || {
            format!("{attempt} was heard after its end: {word}")
        })?;
        self.after_call(true)
    }
}

/// What a command asks for, in the world's numbers.
fn ask(command: &Command) -> Ask {
    // After a lie the engine may ask for what is no number: nobody has that.
    let number = |revision: &Revision| {
        let text = revision.to_string();
        text.trim_start_matches('r').parse().unwrap_or(u64::MAX)
    };
    let place = |epoch: &Epoch| {
        let digits = epoch.as_str().strip_prefix('e');
        digits
            .and_then(|digits| digits.parse().ok())
            .unwrap_or(usize::MAX)
    };
    match command {
        Command::List {
            at_least,
            known,
            epoch,
            limit,
            ..
        } => Ask::List {
            at_least: at_least.as_ref().map(number),
            known: known.as_ref().map(number),
            epoch: epoch.as_ref().map(place),
            limit: *limit,
        },
        Command::Watch { from, epoch, .. } => Ask::Watch {
            from: match from {
                WatchFrom::Revision(revision) => Start::After(number(revision)),
                WatchFrom::Initial { at_least } => Start::Initial(at_least.as_ref().map(number)),
                WatchFrom::Now => Start::Now,
            },
            epoch: epoch.as_ref().map(place),
        },
        Command::Cancel { .. } => Ask::Watch {
            from: Start::Now,
            epoch: None,
        },
    }
}

/// A command in a few words.
fn brief(command: &Command) -> String {
    let revision = |revision: &Option<Revision>| {
        revision
            .as_ref()
            .map_or("any".to_owned(), |revision| format!("r{revision}"))
    };
    match command {
        Command::List {
            attempt,
            page: Some(page),
            ..
        } => format!("list {attempt}, page {page}"),
        Command::List {
            attempt,
            known: Some(known),
            ..
        } => format!("list {attempt} unless r{known}"),
        Command::List {
            attempt, at_least, ..
        } => format!("list {attempt}, at least {}", revision(at_least)),
        Command::Watch {
            attempt,
            from: WatchFrom::Revision(from),
            ..
        } => format!("watch {attempt} after r{from}"),
        Command::Watch {
            attempt,
            from: WatchFrom::Initial { at_least },
            ..
        } => {
            format!(
                "watch {attempt} with initial state, at least {}",
                revision(at_least)
            )
        }
        Command::Watch {
            attempt,
            from: WatchFrom::Now,
            ..
        } => format!("watch {attempt} for hints"),
        Command::Cancel { attempt } => format!("cancel {attempt}"),
    }
}
