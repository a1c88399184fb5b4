//! Somebody who follows what is published, as a driver does for its readers: quickly, slowly, from
//! anywhere on, and again from the beginning.

use std::sync::Arc;

use reflet_core::cache::{Delta, Drained, SlotChange};
use reflet_core::probe;

use super::Run;
use crate::oracles::{Checked, Followed, Promise};
use crate::story::Kind;

/// Who follows, and what it has.
pub(super) struct Follower {
    has: Followed,
    /// How many slots it looks at after each call; none: only when it is told to.
    slots: u8,
    /// How many changes the cache had seen when all was compared.
    checked: Option<u64>,
}

impl Follower {
    fn new(slots: u8) -> Self {
        Self {
            has: Followed::default(),
            slots,
            checked: None,
        }
    }

    /// Whether nobody may be told what it does not have yet.
    fn keeps_up(&self) -> bool {
        self.slots > 0 && self.has.is_whole()
    }

    fn take(&mut self, change: &SlotChange<'_, Arc<str>, u64>) -> Checked {
        match change {
            SlotChange::Gone { slot } => {
                self.has.gone(*slot);
                Ok(())
            }
            SlotChange::Now { slot, entry } => self.has.now(*slot, entry.key, *entry.value),
        }
    }
}

fn budget(slots: u8) -> usize {
    match slots {
        u8::MAX => usize::MAX,
        slots => slots.into(),
    }
}

impl Run<'_> {
    pub(super) fn follow(&mut self, slots: u8) -> Checked {
        if self.follower.is_some() {
            probe::count("follower begins again");
        }
        self.engine.follow_changes();
        self.follower = Some(Follower::new(slots));
        let text = format_args!("somebody follows, {slots} slots after each call");
        let lane = self.lanes.cache;
        self.story.say(lane, Kind::Normal, text, String::new);
        self.keep_up()
    }

    pub(super) fn unfollow(&mut self) -> Checked {
        self.engine.stop_following();
        let followed = self.follower.take().is_some();
        let lane = self.lanes.cache;
        let text = "nobody follows any more";
        self.story.say(lane, Kind::Normal, text, String::new);
        let mut handed = 0;
        let drained = self.engine.drain_changes(usize::MAX, |_| handed += 1);
        let nothing = drained == Drained::Nothing && handed == 0;
        Promise::OneRealState.require(nothing, || {
            format!("nobody follows (somebody did: {followed}), and is handed {handed} changes")
        })
    }

    /// A new process has somebody who follows, too.
    pub(super) fn follow_again(&mut self) {
        if let Some(follower) = &mut self.follower {
            *follower = Follower::new(follower.slots);
            self.engine.follow_changes();
        }
    }

    /// After each call, where somebody follows closely.
    pub(super) fn keep_up(&mut self) -> Checked {
        match &self.follower {
            Some(follower) if follower.slots > 0 => self.look(follower.slots),
            Some(_) | None => Ok(()),
        }
    }

    /// The follower takes what has changed.
    pub(super) fn look(&mut self, slots: u8) -> Checked {
        let Some(follower) = &mut self.follower else {
            return Ok(());
        };
        follower.has.looks();
        let (mut checked, mut order) = (Ok(()), 0_u64);
        let drained = self.engine.drain_changes(budget(slots), |change| {
            let (SlotChange::Gone { slot } | SlotChange::Now { slot, .. }) = change;
            order = order.wrapping_mul(31).wrapping_add(slot.into());
            if checked.is_ok() {
                checked = follower.take(&change);
            }
        });
        checked?;
        self.hash.number(order);
        if follower.has.has_another_key() {
            probe::count("slot used for another key between two looks");
        }
        let (handed, was_whole) = (follower.has.handed(), follower.has.is_whole());
        let text = format_args!("the follower is handed {handed} slots: {drained:?}");
        let lane = self.lanes.cache;
        if handed > 0 {
            self.story.say(lane, Kind::Normal, text, String::new);
        }
        let expected = match drained {
            Drained::Nothing => !was_whole || handed == 0,
            Drained::Part => !was_whole,
            Drained::Published => true,
        };
        Promise::OneRealState.require(expected, || {
            format!("the follower had all, and was handed {handed} slots: {drained:?}")
        })?;
        if drained == Drained::Published && follower.has.is_told_all() {
            // What they are under way to may be older than all that it has.
            for listener in self.listeners.values_mut() {
                listener.older = 2;
            }
        }
        self.check_followed(drained)
    }

    /// What the follower has is what the cache has (P3); where it is told that there is nothing new,
    /// too (P9).
    fn check_followed(&mut self, drained: Drained) -> Checked {
        let (large, cache) = (self.is_large(), self.engine.cache());
        let follower = self.follower.as_mut();
        let Some(follower) = follower.filter(|follower| follower.has.is_whole()) else {
            return Ok(());
        };
        if follower.checked.replace(cache.changes()) == Some(cache.changes()) {
            return Ok(());
        }
        Promise::HonestReadiness.require(cache.is_synced(), || {
            "the follower was told of a state before there was one".to_owned()
        })?;
        let (has, count) = (&follower.has, cache.len());
        let checked = if large {
            let handed = has.objects_handed();
            let values = handed.filter_map(|key| Some((key, *cache.get(key)?)));
            has.check_published(values, count)
        } else {
            let objects = cache.iter().map(|entry| (&**entry.key, *entry.value));
            let published = has.check_published(objects, count);
            published.and_then(|()| self.lookups.check_slots(cache, has))
        };
        match checked {
            Err(broken) if drained == Drained::Nothing => Promise::HonestReadiness.broken(format!(
                "told that nothing was published: {}",
                broken.message
            )),
            checked => checked,
        }
    }

    /// Whoever follows closely is not behind what a subscriber is told (P9).
    pub(super) fn check_not_behind(&self, which: usize, delta: &Delta<Arc<str>, u64>) -> Checked {
        let follower = self
            .follower
            .as_ref()
            .filter(|follower| follower.keeps_up());
        let listener = self.listeners.get(&which);
        let (Some(follower), Some(listener)) = (follower, listener) else {
            return Ok(());
        };
        if self.is_large() || listener.older > 0 || listener.is_lossless() {
            return Ok(());
        }
        match delta {
            Delta::Added { key, new } | Delta::Updated { key, new, .. } => {
                follower.has.check_told(key, *new)
            }
            // It may only have left the filter.
            Delta::Deleted { key, seen, .. } if listener.hears_all() && !listener.refilters => {
                follower.has.check_told_gone(key, *seen)
            }
            Delta::Deleted { .. }
            | Delta::Redelivered { .. }
            | Delta::Gap(_)
            | Delta::Mark(_)
            | Delta::Reset => Ok(()),
        }
    }

    /// At the end, all of it.
    pub(super) fn last_look(&mut self) -> Checked {
        self.check_all_lookups()?;
        self.look(u8::MAX)?;
        let ours = self.cached();
        match &self.follower {
            Some(follower) if follower.has.is_whole() => follower.has.check_content(&ours),
            Some(_) | None => Ok(()),
        }
    }
}
