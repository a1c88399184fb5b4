//! P9, P3: what somebody has who follows what is published, as a driver does for its readers, is
//! what was published last, and never behind what a subscriber was handed.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::p03_one_real_state::differences;
use super::{Checked, Content, Promise};

/// A follower's copy: an object in each slot.
#[derive(Clone, Debug, Default)]
pub struct Followed {
    slots: BTreeMap<u32, (Arc<str>, u64)>,
    places: BTreeMap<Arc<str>, u32>,
    /// The slots that were handed over since it looked last.
    handed: BTreeSet<u32>,
    /// Of those, the ones in which something else was.
    gone: BTreeMap<u32, Arc<str>>,
    /// What each key ever was since it has all.
    had: BTreeSet<(Arc<str>, Option<u64>)>,
    whole: bool,
}

impl Followed {
    /// It looks.
    pub fn looks(&mut self) {
        self.handed.clear();
        self.gone.clear();
    }

    /// What was in a slot is gone.
    pub fn gone(&mut self, slot: u32) {
        if let Some((key, _)) = self.slots.remove(&slot) {
            self.places.remove(&key);
            self.had.insert((Arc::clone(&key), None));
            self.gone.insert(slot, key);
        }
    }

    /// An object is in a slot, new or changed.
    ///
    /// # Errors
    ///
    /// If another one is there, if it is in another slot, or if the slot was handed over before,
    /// since the last look.
    pub fn now(&mut self, slot: u32, key: &Arc<str>, value: u64) -> Checked {
        let once = self.handed.insert(slot);
        Promise::OneRealState
            .require(once, || format!("slot {slot} is handed over twice at once"))?;
        let before = self.slots.insert(slot, (Arc::clone(key), value));
        let other = before.filter(|(before, _)| before != key);
        Promise::OneRealState.require(other.is_none(), || {
            format!("slot {slot} is used for {key} and for {other:?}")
        })?;
        let place = self.places.insert(Arc::clone(key), slot);
        let elsewhere = place.filter(|place| *place != slot);
        Promise::OneRealState.require(elsewhere.is_none(), || {
            format!("{key} is in slot {slot} and in slot {elsewhere:?}")
        })?;
        if self.whole && place.is_none() {
            self.had.insert((Arc::clone(key), None));
        }
        self.had.insert((Arc::clone(key), Some(value)));
        Ok(())
    }

    /// It is told that it has all that was published last. True: for the first time.
    pub fn is_told_all(&mut self) -> bool {
        !std::mem::replace(&mut self.whole, true)
    }

    /// Whether it ever had all.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.whole
    }

    /// How many slots were handed over since it looked last.
    #[must_use]
    pub fn handed(&self) -> usize {
        self.handed.len()
    }

    /// The keys of the objects that were handed over since it looked last.
    pub fn objects_handed(&self) -> impl Iterator<Item = &str> {
        self.handed.iter().filter_map(|slot| self.key(*slot))
    }

    /// Whether, since it looked last, a slot in which something was has come to hold another key.
    #[must_use]
    pub fn has_another_key(&self) -> bool {
        let now = |slot| self.slots.get(slot).map(|(key, _)| key);
        let mut gone = self.gone.iter();
        gone.any(|(slot, key)| now(slot).is_some_and(|now| now != key))
    }

    /// It has all that was published last, and that is these objects, which are so many.
    ///
    /// # Errors
    ///
    /// If it has something else.
    pub fn check_published<'a>(
        &self,
        objects: impl IntoIterator<Item = (&'a str, u64)>,
        count: usize,
    ) -> Checked {
        let mut objects = objects.into_iter();
        let has = |(key, value): (&str, u64)| self.value(key) == Some(value);
        if self.slots.len() == count && objects.all(has) {
            return Ok(());
        }
        Promise::OneRealState.broken(format!(
            "the follower has not what was published: {} objects, not {count}",
            self.slots.len()
        ))
    }

    /// It has exactly this: the same as [`check_published`](Self::check_published), in more words.
    ///
    /// # Errors
    ///
    /// If it has something else; the message names the first few differences.
    pub fn check_content(&self, truth: &Content) -> Checked {
        let objects = self.slots.values();
        let ours: Content = objects
            .map(|(key, value)| (Arc::clone(key), *value))
            .collect();
        Promise::OneRealState.require(ours == *truth, || {
            let differences = differences(&ours, truth);
            format!("the follower has not what was published: {differences}")
        })
    }

    /// A subscriber was told what a key stands for: the follower has or had the same.
    ///
    /// # Errors
    ///
    /// If it has not come so far.
    pub fn check_told(&self, key: &Arc<str>, value: u64) -> Checked {
        let had = self.had.contains(&(Arc::clone(key), Some(value)));
        Promise::HonestReadiness.require(had, || {
            format!("a subscriber was told that {key} is {value:#x}; the follower was not")
        })
    }

    /// A subscriber was told that what it has seen of a key is gone: so it is for the follower, or
    /// was for a while.
    ///
    /// # Errors
    ///
    /// If it has not come so far.
    pub fn check_told_gone(&self, key: &Arc<str>, seen: u64) -> Checked {
        let is_there = self.value(key) == Some(seen);
        let was_gone = self.had.contains(&(Arc::clone(key), None));
        Promise::HonestReadiness.require(!is_there || was_gone, || {
            format!("a subscriber was told that {key} is gone; the follower was not")
        })
    }

    fn key(&self, slot: u32) -> Option<&str> {
        self.slots.get(&slot).map(|(key, _)| &**key)
    }

    /// The slot that an object is in.
    #[must_use]
    pub fn slot(&self, key: &str) -> Option<u32> {
        self.places.get(key).copied()
    }

    fn value(&self, key: &str) -> Option<u64> {
        let (_, value) = self.slots.get(&self.slot(key)?)?;
        Some(*value)
    }
}

/// Somebody reads at one place, and a subscriber was told of another: local epochs and revisions.
///
/// # Errors
///
/// If the reader is behind.
pub fn check_read(read: (u64, u64), told: (u64, u64)) -> Checked {
    Promise::HonestReadiness.require(read >= told, || {
        format!("readers are at {read:?}, and {told:?} was told of")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(objects: &[(u32, &str, u64)]) -> Followed {
        let mut followed = Followed::default();
        for (slot, key, value) in objects {
            assert_eq!(followed.now(*slot, &Arc::from(*key), *value), Ok(()));
        }
        followed.looks();
        followed
    }

    #[test]
    fn fires_on_a_slot_with_two_objects_and_on_an_object_with_two_slots() {
        let (a, b) = (Arc::from("a"), Arc::from("b"));
        let mut followed = with(&[(0, "a", 1)]);
        assert!({ followed.clone() }.now(0, &b, 2).is_err());
        assert!({ followed.clone() }.now(1, &a, 2).is_err());
        assert_eq!(followed.now(0, &a, 2), Ok(()));
        assert!({ followed.clone() }.now(0, &a, 2).is_err(), "twice");
        followed.looks();
        followed.gone(0);
        assert_eq!(followed.now(0, &b, 3), Ok(()));
        assert!(followed.has_another_key());
    }

    #[test]
    fn fires_when_it_is_not_what_was_published() {
        let followed = with(&[(0, "a", 1), (4, "b", 2)]);
        let check = |truth: &[(&str, u64)]| {
            let content = truth.iter().map(|(key, value)| (Arc::from(*key), *value));
            let one = followed.check_published(truth.iter().copied(), truth.len());
            let other = followed.check_content(&content.collect());
            assert_eq!(one.is_ok(), other.is_ok());
            other
        };
        assert_eq!(check(&[("a", 1), ("b", 2)]), Ok(()));
        assert!(check(&[("a", 1), ("b", 3)]).is_err());
        assert!(check(&[("a", 1)]).is_err());
        assert!(check(&[("a", 1), ("b", 2), ("c", 1)]).is_err());
    }

    #[test]
    fn fires_when_readers_are_behind_what_was_told() {
        assert_eq!(check_read((0, 5), (0, 5)), Ok(()));
        assert_eq!(check_read((1, 2), (0, 5)), Ok(()));
        assert!(check_read((0, 4), (0, 5)).is_err());
        assert!(check_read((0, 7), (1, 2)).is_err());
    }

    #[test]
    fn fires_on_a_delta_that_it_has_not_come_to() {
        let mut followed = with(&[(0, "a", 1)]);
        assert!(followed.is_told_all() && !followed.is_told_all());
        let a = Arc::from("a");
        assert_eq!(followed.now(0, &a, 2), Ok(()));
        assert_eq!(followed.check_told(&a, 1), Ok(()), "it is ahead");
        assert_eq!(followed.check_told(&a, 2), Ok(()));
        assert!(followed.check_told(&a, 3).is_err());
        assert_eq!(followed.check_told_gone(&a, 1), Ok(()), "there is another");
        assert!(followed.check_told_gone(&a, 2).is_err());
        followed.gone(0);
        assert_eq!(followed.check_told_gone(&a, 2), Ok(()));
    }
}
