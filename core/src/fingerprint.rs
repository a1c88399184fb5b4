//! One number for everything that decides how an engine behaves from now on, so that a search
//! through all its states knows where it has been.
//!
//! Times are relative to the present, and capped where more makes no difference; attempts are
//! counted back from the newest, and sequence numbers are ranked. Left out is what is only ever
//! told (since when, the last error's words, a subscriber's lag) and what follows from the rest.
//! When in doubt a thing is in: two engines that would behave differently never share a number
//! (but for the chance of a 64-bit hash), two that behave alike mostly do.

use core::fmt::{self, Debug, Write as _};
use core::hash::{BuildHasher, Hash, Hasher};
use core::time::Duration;

use foldhash::quality::{FixedState, FoldHasher};

use crate::informer::Informer;
use crate::input::Attempt;
use crate::key::Key;
use crate::output::Command;
use crate::time::Timestamp;

/// A fingerprint in the making.
pub(crate) struct Print(FoldHasher<'static>);

impl Print {
    fn new() -> Self {
        const STATE: &FixedState = &FixedState::with_seed(0);
        Self(STATE.build_hasher())
    }

    pub(crate) fn add(&mut self, part: impl Hash) {
        part.hash(&mut self.0);
    }

    /// Adds what a thing prints as.
    pub(crate) fn add_debug(&mut self, part: &impl Debug) {
        // Writing into a hash cannot fail.
        let _ = write!(Text(&mut self.0), "{part:?}");
        self.0.write_u8(0xff);
    }
}

struct Text<'a>(&'a mut FoldHasher<'static>);

impl fmt::Write for Text<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.0.write(text.as_bytes());
        Ok(())
    }
}

/// What times are relative to.
#[derive(Clone, Copy)]
pub(crate) struct Present(pub(crate) Timestamp);

impl Present {
    /// How long it is until then; the past is now.
    pub(crate) fn until(self, at: Timestamp) -> Duration {
        at.saturating_since(self.0)
    }

    /// How long ago it was, as far as that matters.
    pub(crate) fn since(self, at: Timestamp, cap: Duration) -> Duration {
        self.0.saturating_since(at).min(cap)
    }
}

impl<K: Key, V: Clone + Debug, S: BuildHasher + Clone> Informer<K, V, S> {
    /// The number of the newest attempt, which fingerprints count back from.
    #[must_use]
    pub const fn newest_attempt(&self) -> u64 {
        self.attempts
    }

    /// A number that engines of one configuration share if they behave alike from now on: the
    /// same inputs, at the same distance in time, give the same outputs but for attempt numbers.
    ///
    /// Values are told apart by what they print as, filters by being clones of each other.
    #[must_use]
    pub fn fingerprint(&self) -> u64 {
        // All fields are named, so that a new one cannot be forgotten.
        let Self {
            config,
            seed: _,
            cache,
            same: _,
            now,
            wait,
            list,
            watch,
            side,
            position,
            rewind,
            graves,
            quarantine,
            degraded,
            pacer,
            page_pacer,
            backoff,
            embargo,
            well_since,
            verify_due,
            confirm_by,
            last_list,
            reclaim_at,
            redeliveries,
            attempts,
            last_read: _,
            dead_ends,
            gone_in_a_row,
            unconstrained,
            full_payloads,
            fell_back,
            frozen,
            synced,
            stopped,
            status,
            last_error: _,
            commands,
            notices,
        } = self;
        let (present, timing) = (Present(*now), &config.timing);
        let back = |attempt: Attempt| attempts.saturating_sub(attempt.number());
        let mut print = Print::new();
        cache.print(&mut print);
        for wait in [wait, side] {
            let wait = wait
                .as_ref()
                .map(|wait| (present.until(wait.until), wait.reason, wait.intent));
            print.add_debug(&wait);
        }
        print.add(list.as_ref().map(|run| back(run.attempt)));
        print.add(watch.as_ref().map(|run| back(run.attempt)));
        if let Some(run) = list {
            run.print(present, &mut print);
        }
        if let Some(run) = watch {
            run.print(present, config, &mut print);
        }
        print.add_debug(position);
        rewind.print(present, config, &mut print);
        print.add_debug(graves);
        print.add_debug(&(quarantine.report(), quarantine.count(), quarantine.recent()));
        pacer.print(present, &mut print);
        page_pacer.print(present, &mut print);
        backoff.print(&mut print);
        let verify_from = last_list.saturating_add(timing.verify_min_interval);
        print.add([embargo, &verify_from].map(|at| present.until(*at)));
        print.add([verify_due, confirm_by, reclaim_at].map(|at| at.map(|at| present.until(at))));
        redeliveries.print(present, &mut print);
        print.add(well_since.map(|since| present.since(since, timing.stable_after)));
        print.add((dead_ends, gone_in_a_row));
        print.add([unconstrained, full_payloads, fell_back, frozen, synced]);
        print.add([degraded, stopped]);
        status.print(&mut print);
        for command in commands {
            match command {
                Command::List {
                    attempt,
                    page,
                    at_least,
                    known,
                    epoch,
                    limit,
                } => print.add((0, back(*attempt), page, (at_least, known, epoch, limit))),
                Command::Watch {
                    attempt,
                    from,
                    epoch,
                } => {
                    print.add((1, back(*attempt), epoch));
                    print.add_debug(from);
                }
                Command::Cancel { attempt } => print.add((2, back(*attempt))),
            }
        }
        print.add_debug(notices);
        print.0.finish()
    }
}
