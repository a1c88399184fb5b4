//! P2: within an epoch a published revision never decreases, and neither does an object's version
//! within one incarnation.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use reflet_core::Timestamp;

use super::{Checked, Promise};

/// The revisions that one observer was shown: the cache's own, or one subscriber's marks.
#[derive(Clone, Debug, Default)]
pub struct Revisions {
    last: Option<(u64, u64)>,
}

impl Revisions {
    /// A revision is shown, in a local epoch.
    ///
    /// # Errors
    ///
    /// If an older one is shown than before, or an older epoch.
    pub fn show(&mut self, epoch: u64, revision: u64) -> Checked {
        let before = self.last.replace((epoch, revision));
        Promise::NoTimeTravel.require(
            before.is_none_or(|before| before <= (epoch, revision)),
            || {
                format!(
                    "from r{} to r{revision} in epoch {epoch}",
                    before.map_or(0, |before| before.1)
                )
            },
        )
    }
}

/// The versions of cached objects, by key, incarnation and local epoch.
#[derive(Clone, Debug, Default)]
pub struct Versions {
    newest: BTreeMap<(Arc<str>, u64, u64), u64>,
    /// By key and epoch, which incarnation was the last to be deleted.
    deleted: BTreeMap<(Arc<str>, u64), u64>,
}

impl Versions {
    /// An object was deleted, and is no longer in the cache.
    pub fn delete(&mut self, key: &Arc<str>, incarnation: u64, epoch: u64) {
        self.deleted.insert((Arc::clone(key), epoch), incarnation);
    }

    /// A list was taken: it may know better than a delete.
    pub fn list(&mut self) {
        self.deleted.clear();
    }

    /// An object is in the cache.
    ///
    /// # Errors
    ///
    /// If it was there in a newer version before, or was deleted.
    pub fn show(&mut self, key: &Arc<str>, incarnation: u64, epoch: u64, version: u64) -> Checked {
        let deleted = self.deleted.get(&(Arc::clone(key), epoch));
        let is_back = deleted == Some(&incarnation);
        let id = (Arc::clone(key), incarnation, epoch);
        Promise::NoTimeTravel.require(!is_back, || format!("{key} was deleted, and is back"))?;
        let before = self.newest.insert(id, version);
        Promise::NoTimeTravel.require(before.is_none_or(|before| before <= version), || {
            format!("{key} went from v{} to v{version}", before.unwrap_or(0))
        })
    }
}

/// The evidence that an ordered source without epochs was set back.
#[derive(Clone, Copy, Debug, Default)]
pub struct Rewinds {
    lists: u32,
    since: Option<Timestamp>,
    /// There may be more that nobody saw.
    missed: bool,
}

impl Rewinds {
    /// A complete list was older than the cache.
    pub fn older(&mut self, now: Timestamp) {
        self.lists += 1;
        self.since.get_or_insert(now);
    }

    /// Nobody looked for a while.
    pub fn missed(&mut self) {
        self.missed = true;
    }

    /// The rewind is accepted; the policy wants so many lists, over longer than that.
    ///
    /// # Errors
    ///
    /// If there was less evidence.
    pub fn check(&self, now: Timestamp, (lists, span): (u32, Duration)) -> Checked {
        let over = self
            .since
            .map_or(Duration::ZERO, |since| now.saturating_since(since));
        let enough = self.missed || (self.lists >= lists && over > span);
        Promise::NoTimeTravel.require(enough, || {
            format!(
                "a rewind was accepted after {} lists over {over:?}",
                self.lists
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fires_when_a_revision_goes_back() {
        let mut revisions = Revisions::default();
        assert_eq!(revisions.show(0, 5), Ok(()));
        assert_eq!(revisions.show(0, 5), Ok(()));
        assert_eq!(
            revisions.show(1, 2),
            Ok(()),
            "another epoch has its own revisions"
        );
        assert!(revisions.clone().show(1, 1).is_err());
        assert!(revisions.show(0, 9).is_err(), "an epoch never comes back");
    }

    #[test]
    fn fires_when_a_rewind_is_accepted_without_evidence() {
        let at = Timestamp::from_millis;
        let (mut rewinds, policy) = (Rewinds::default(), (2, Duration::from_millis(10)));
        rewinds.older(at(0));
        assert!(rewinds.check(at(20), policy).is_err(), "one list");
        rewinds.older(at(10));
        assert!(rewinds.check(at(10), policy).is_err(), "too soon");
        assert_eq!(rewinds.check(at(11), policy), Ok(()));
    }

    #[test]
    fn fires_when_a_version_goes_back() {
        let (mut versions, key) = (Versions::default(), Arc::from("a"));
        assert_eq!(versions.show(&key, 1, 0, 4), Ok(()));
        assert_eq!(versions.show(&key, 2, 0, 1), Ok(()), "another incarnation");
        assert!(versions.clone().show(&key, 1, 0, 3).is_err());
        versions.delete(&key, 2, 0);
        assert!(
            versions.clone().show(&key, 2, 0, 9).is_err(),
            "it was deleted"
        );
        versions.list();
        assert_eq!(versions.show(&key, 2, 0, 9), Ok(()));
    }
}
