//! Scenarios: the traps of a compacted log, one by one.

extern crate std;

mod accounting;
mod changes;
mod contents;
mod drains;
mod filters;
mod limits;
mod news;
mod passes;
mod redelivery;

use alloc::boxed::Box;
use alloc::format;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;
use core::panic::AssertUnwindSafe;
use std::panic::catch_unwind;

use super::poll::NODES_PER_POLL;
use super::{
    Cache, Delta, DeltaRef, Filter, Partition, Polled, Reached, STEPS_PER_CALL, SubscriberId,
    Subscription, Upsert, Upserted,
};
use crate::digest::Digest;
use crate::hash::SeededState;
use crate::token::{Incarnation, Revision, VersionRef};

const SIZE: usize = 100;

struct Rig(Cache<Box<str>, u32>);

impl Rig {
    fn new() -> Self {
        Self::with_limit(usize::MAX)
    }

    fn with_limit(limit: usize) -> Self {
        Self(Cache::new(SeededState::new(0), 0, limit, true))
    }

    fn put(&mut self, key: &str, value: u32) -> Upserted {
        self.put_as(key, value, None)
    }

    fn put_as(&mut self, key: &str, value: u32, incarnation: Option<u64>) -> Upserted {
        let version = u64::from(value).into();
        let incarnation = incarnation.map(Incarnation::from);
        self.0.upsert(Upsert {
            key,
            owned: None,
            version,
            incarnation,
            value,
            size: SIZE,
        })
    }

    fn remove(&mut self, key: &str) {
        assert!(self.0.delete(key, None, false));
    }

    fn publish(&mut self, revision: u64) {
        self.0.publish(Some(Revision::from(revision)), true);
    }

    fn join(&mut self) -> SubscriberId {
        self.0.subscribe(Subscription::new())
    }

    fn join_even(&mut self) -> SubscriberId {
        self.0.subscribe(Subscription::new().filter(even()))
    }

    /// What one poll gives, in [`words`].
    fn poll(&mut self, id: SubscriberId) -> String {
        match self.0.poll(id) {
            Polled::Idle => String::new(),
            Polled::Yield => "yield".into(),
            Polled::Delta(delta) => words(&delta),
        }
    }

    /// What one drain of so many deltas gives.
    fn take(&mut self, id: SubscriberId, most: usize) -> Vec<String> {
        let mut heard = Vec::new();
        let reached = self
            .0
            .drain(id, most, |delta| heard.push(words(&delta.to_delta())));
        match reached {
            Reached::Mark(mark) => heard.push(words(&Delta::Mark(mark))),
            Reached::Budget => heard.push("budget".into()),
            Reached::Idle => {}
        }
        self.0.check();
        heard
    }

    fn drain(&mut self, id: SubscriberId) -> Vec<String> {
        let heard = core::iter::repeat_with(|| self.poll(id))
            .take_while(|heard| !heard.is_empty())
            .collect();
        self.0.check();
        heard
    }

    fn assert_settled(&mut self) {
        while self.0.reclaim(10) {}
        self.0.check();
        self.0.assert_nothing_retained();
    }
}

/// `+a=1`, `~a=1>2`, `=a=1` (redelivered), `-a=1/2` (seen and last; `?` if inferred), `@5` (a mark; `!`
/// if initial, `~` if partial), `gap` with its reason, or `reset`.
fn words(delta: &Delta<Box<str>, u32>) -> String {
    match delta {
        Delta::Reset => "reset".into(),
        Delta::Gap(why) => format!("gap {why:?}"),
        Delta::Added { key, new } => format!("+{key}={new}"),
        Delta::Updated { key, old, new } => format!("~{key}={old}>{new}"),
        Delta::Redelivered { key, value } => format!("={key}={value}"),
        Delta::Deleted {
            key,
            seen,
            last,
            inferred,
        } => format!("-{key}={seen}/{last}{}", if *inferred { "?" } else { "" }),
        Delta::Mark(mark) => {
            let revision = mark.revision.as_ref();
            let revision = revision.map_or_else(String::new, |revision| format!("{revision}"));
            let (initial, partial) = (
                if mark.initial { "!" } else { "" },
                if mark.complete { "" } else { "~" },
            );
            format!("@{revision}{initial}{partial}")
        }
    }
}

fn even() -> Filter<Box<str>, u32> {
    Filter::new(|_, value: &u32| value.is_multiple_of(2))
}

fn key(number: u32) -> String {
    format!("k{number}")
}
