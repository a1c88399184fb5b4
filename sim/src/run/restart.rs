//! The process dies, and another one starts from the last snapshot. The world goes on meanwhile.

use std::sync::Arc;
use std::time::Duration;

use reflet_core::snapshot::{Decoder, SnapshotError};
use reflet_core::{Informer, Timestamp};

use super::observer::Beliefs;
use super::{Engine, Run};
use crate::oracles::{Checked, Kept};
use crate::story::Kind;

const IDENTITY: &str = "the world";

/// The last snapshot that was written, and what was known when it was.
#[derive(Clone, Debug)]
pub(super) struct Saved {
    bytes: Vec<u8>,
    kept: Kept,
    /// How many rewinds there had been.
    local: u64,
    /// The source's history then.
    epoch: usize,
    beliefs: Beliefs,
}

impl Run<'_> {
    /// A snapshot is written, if there is a complete state.
    pub(super) fn save(&mut self) -> Checked {
        let Some(snapshot) = self.engine.snapshot() else {
            return Ok(());
        };
        Kept::check_taken(self.engine.health().complete)?;
        let (kept, local) = (self.kept(), self.engine.cache().local_epoch());
        // Numbers and texts can always be encoded.
        let Ok(bytes) = snapshot.to_bytes(IDENTITY) else {
            return Ok(());
        };
        self.hash.words(format_args!("{bytes:?}"));
        let text = format_args!("a snapshot is written, {} bytes", bytes.len());
        let lane = self.lanes.cache;
        self.story.say(lane, Kind::Normal, text, String::new);
        self.saved = Some(Saved {
            bytes: bytes.into(),
            kept,
            local,
            epoch: self.world.epoch(),
            beliefs: self.observer.beliefs(),
        });
        Ok(())
    }

    /// The process dies and starts again. `damage` 0: its snapshot is as it was; else one of its
    /// bits has changed, and it starts cold.
    pub(super) fn crash(&mut self, damage: u16) -> Checked {
        let Some(saved) = self.saved.clone() else {
            return Ok(());
        };
        let lane = self.lanes.engine;
        let text = format_args!("the process dies, and starts again");
        self.story.say(lane, Kind::Fault, text, String::new);
        self.skew = Duration::ZERO;
        self.neglected = 0;
        self.unseen_since = None;
        self.told = self.told.max(self.now);
        // Connections die with their process.
        self.living.clear();
        self.dead.clear();
        self.standing.clear();
        let (config, seed) = (self.trace.config(), self.trace.setup.seed);
        let restored = restore(&saved.bytes, damage, &self.config.limits)
            .and_then(|snapshot| Informer::restore(config.clone(), seed, self.now, snapshot));
        let warm = restored.is_ok();
        if damage == 0 {
            // Its limits are those that it was taken under.
            Kept::check_damaged(warm)?;
        } else {
            Kept::check_damaged(!warm)?;
        }
        self.engine = restored.unwrap_or_else(|_| cold(config, seed, self.now));
        self.engine.set_content_eq(|a, b| a == b);
        self.restored = warm.then(|| saved.kept.clone());
        if warm {
            self.begin_warm(&saved)?;
        } else {
            self.saved = None;
            // A replica that has not heard of it yet shows the history before.
            let mut beliefs = Beliefs::default();
            beliefs.set_back(!self.world.is_of_one_mind(), &self.observer);
            self.observer
                .restart(beliefs, &self.config, &self.trace.setup);
        }
        let floor = warm.then_some((saved.local, self.observer.complete));
        self.rejoin(floor)?;
        self.index_again();
        self.follow_again();
        self.after_call(true)
    }

    fn begin_warm(&mut self, saved: &Saved) -> Checked {
        let (state, synced) = (self.engine.health().state, self.engine.is_synced());
        saved.kept.check_restored(&self.kept(), state, synced)?;
        let mut beliefs = saved.beliefs.clone();
        beliefs.set_back(self.world.epoch() != saved.epoch, &self.observer);
        self.observer
            .restart(beliefs, &self.config, &self.trace.setup);
        let revision = saved.kept.revision.as_ref();
        let number = revision.and_then(|revision| self.observer.number(revision));
        self.observer.warm(saved.local, number.unwrap_or(0))
    }

    /// What the cache holds, at which revision.
    fn kept(&self) -> Kept {
        let health = self.engine.health();
        Kept {
            objects: self.cached(),
            revision: health.revision,
            epoch: health.epoch,
        }
    }

    /// What a mark says of the state that it is about.
    pub(super) fn check_restored_mark(&self, mark: &reflet_core::cache::Mark) -> Checked {
        if mark.restored {
            let nothing = Kept::default();
            let restored = self.restored.as_ref().unwrap_or(&nothing);
            return restored.check_mark(mark.revision.as_ref());
        }
        let readiness = &self.observer.readiness;
        readiness.check(true, "a subscriber was given a mark")
    }
}

fn restore(
    bytes: &[u8],
    damage: u16,
    limits: &reflet_core::Limits,
) -> Result<reflet_core::snapshot::Snapshot<Arc<str>, u64>, SnapshotError> {
    let mut bytes = bytes.to_vec();
    if let Some(bit) = damage.checked_sub(1) {
        let bit = usize::from(bit) % (bytes.len() * 8);
        bytes[bit / 8] ^= 1 << (bit % 8);
    }
    let mut decoder = Decoder::new(IDENTITY, limits);
    decoder.push(&bytes)?;
    decoder.finish()
}

fn cold(config: reflet_core::Config, seed: u64, now: Timestamp) -> Engine {
    Informer::new(config, seed, now)
}
