//! P4, for redeliveries: whoever asks gets everything once more, in time; and nobody else does.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use reflet_core::Timestamp;
use reflet_core::cache::Delta;

use super::{Checked, Content, Promise};

/// What one subscriber is owed.
#[derive(Clone, Debug)]
pub struct Redelivery {
    period: Option<Duration>,
    joined: Timestamp,
    /// When the engine was last asked what is due.
    ticked: Timestamp,
    /// When it was last told of what it has.
    told: BTreeMap<Arc<str>, Timestamp>,
    /// What is to be handed out once more because somebody asked by hand.
    owed: BTreeSet<Arc<str>>,
    /// How often somebody asked by hand.
    asked: u32,
    /// How many redeliveries there were.
    heard: u32,
    /// Something of one was told since the last mark.
    inside: bool,
}

impl Redelivery {
    /// A subscriber that joins now, and wants everything on a period, or never.
    #[must_use]
    pub fn new(period: Option<Duration>, now: Timestamp) -> Self {
        Self {
            period,
            joined: now,
            ticked: now,
            told: BTreeMap::new(),
            owed: BTreeSet::new(),
            asked: 0,
            heard: 0,
            inside: false,
        }
    }

    /// Somebody asks for one; this is what the subscriber has.
    pub fn ask(&mut self, has: &Content) {
        self.asked += 1;
        self.owed.extend(has.keys().cloned());
    }

    /// The engine was asked what is due.
    pub fn tick(&mut self, now: Timestamp) {
        self.ticked = self.ticked.max(now);
    }

    /// Takes one delta.
    ///
    /// # Errors
    ///
    /// If it is a redelivery that nobody asked for, or one more than there was time for.
    pub fn take(&mut self, delta: &Delta<Arc<str>, u64>, now: Timestamp) -> Checked {
        match delta {
            Delta::Added { key, .. } | Delta::Updated { key, .. } => {
                self.owed.remove(key);
                self.told.insert(Arc::clone(key), now);
                Ok(())
            }
            Delta::Deleted { key, .. } => {
                self.owed.remove(key);
                self.told.remove(key);
                Ok(())
            }
            Delta::Redelivered { key, .. } => {
                self.owed.remove(key);
                self.told.insert(Arc::clone(key), now);
                self.heard += u32::from(!std::mem::replace(&mut self.inside, true));
                let time = now.saturating_since(self.joined);
                let most = self.period.map_or(0, |period| {
                    let shortest = (period * 9 / 10).max(Duration::from_nanos(1));
                    time.as_nanos() / shortest.as_nanos()
                });
                let most = most + u128::from(self.asked);
                Promise::TruthfulDeltas.require(u128::from(self.heard) <= most, || {
                    format!(
                        "redelivery {} of {key}, when {most} were due by {now:?}",
                        self.heard
                    )
                })
            }
            Delta::Reset => {
                self.owed.clear();
                self.told.clear();
                Ok(())
            }
            Delta::Mark(_) => {
                self.inside = false;
                Ok(())
            }
            Delta::Gap(_) => Ok(()),
        }
    }

    /// The subscriber has caught up: nothing is owed any more, and of everything that it has it was
    /// told within the last period.
    ///
    /// # Errors
    ///
    /// If something is.
    pub fn check(&self) -> Checked {
        Promise::TruthfulDeltas.require(self.owed.is_empty(), || {
            format!("{:?} were to be redelivered", self.owed)
        })?;
        let Some(period) = self.period else {
            return Ok(());
        };
        let overdue = |told: &Timestamp| told.saturating_add(period) < self.ticked;
        match self.told.iter().find(|(_, told)| overdue(told)) {
            Some((key, told)) => Promise::TruthfulDeltas.broken(format!(
                "{key} was told at {told:?} last, and is asked for every {period:?}; now it is {:?}",
                self.ticked
            )),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PERIOD: Duration = Duration::from_secs(10);

    fn at(seconds: u64) -> Timestamp {
        Timestamp::from_millis(seconds * 1_000)
    }

    fn content() -> Content {
        Content::from([("a".into(), 1)])
    }

    fn again() -> Delta<Arc<str>, u64> {
        Delta::Redelivered {
            key: "a".into(),
            value: 1,
        }
    }

    fn mark() -> Delta<Arc<str>, u64> {
        Delta::Mark(reflet_core::cache::Mark {
            revision: None,
            local_epoch: 0,
            complete: true,
            restored: false,
            initial: false,
        })
    }

    #[test]
    fn fires_on_one_that_nobody_asked_for() {
        let mut nobody = Redelivery::new(None, at(0));
        assert!(nobody.clone().take(&again(), at(100)).is_err());
        nobody.ask(&content());
        assert_eq!(nobody.take(&again(), at(0)), Ok(()));
        assert_eq!(nobody.take(&mark(), at(0)), Ok(()));
        assert!(nobody.take(&again(), at(0)).is_err(), "a second one");
    }

    #[test]
    fn fires_on_one_that_comes_too_early_or_not_at_all() {
        let mut ours = Redelivery::new(Some(PERIOD), at(0));
        assert!(ours.clone().take(&again(), at(8)).is_err());
        assert_eq!(ours.take(&again(), at(9)), Ok(()));
        ours.tick(at(19));
        assert_eq!(ours.check(), Ok(()));
        ours.tick(at(20));
        assert!(ours.check().is_err());
    }
}
