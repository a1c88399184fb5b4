//! The reflector's share of an engine's fingerprint.

use core::fmt::Debug;

use crate::config::{Config, OnRewind};
use crate::fingerprint::{Present, Print};
use crate::key::Key;

use super::run::{ListRun, Snapshot, WatchKind, WatchRun};

/// Longer ago than anything asks for.
const EVER: core::time::Duration = core::time::Duration::MAX;

impl<K: Key, V: Debug> ListRun<K, V> {
    pub(crate) fn print(&self, present: Present, print: &mut Print) {
        let Self {
            attempt: _,
            snapshot,
            beside,
            at_least,
            floor,
            known,
            started,
            heard,
            in_page,
            pages,
            token,
            milestone,
            page_due,
        } = self;
        snapshot.print(print);
        print.add((beside, in_page, pages, token, milestone));
        print.add([at_least, floor, known]);
        print.add(present.since(*started, EVER));
        print.add(heard.map(|heard| present.since(heard, EVER)));
        print.add(page_due.map(|due| present.until(due)));
    }
}

impl<K: Key, V: Debug> Snapshot<K, V> {
    fn print(&self, print: &mut Print) {
        let Self {
            reason,
            staging,
            items,
            bytes,
            header,
            touched,
            unmarked,
            newest,
            unknown_rejected,
            shortcuts,
            rewound,
            older,
        } = self;
        print.add((reason, items, bytes, newest));
        print.add_debug(&(staging, header, touched, unmarked));
        print.add([unknown_rejected, shortcuts, rewound, older]);
    }
}

impl<K: Key, V: Debug> WatchRun<K, V> {
    pub(crate) fn print(&self, present: Present, config: &Config, print: &mut Print) {
        let Self {
            attempt: _,
            kind,
            started,
            opened,
            heard,
            seen,
            unread,
            stepped,
            confirms,
            spoke,
            lags_since,
        } = self;
        match kind {
            WatchKind::Changes { batch } => print.add_debug(&("changes", batch)),
            WatchKind::Initial(snapshot) => {
                print.add("initial");
                snapshot.print(print);
            }
            WatchKind::Hints => print.add("hints"),
        }
        // Once changes flow, it no longer matters when the watch was asked for.
        let flows = opened.is_some() && !matches!(kind, WatchKind::Initial(_));
        print.add((!flows).then(|| present.since(*started, EVER)));
        let longest = config.source.heartbeat.unwrap_or_default();
        let longest = longest.max(config.timing.stable_after);
        print.add(opened.map(|opened| present.since(opened, longest)));
        print.add(present.since(*heard, EVER));
        print.add((seen, unread, stepped, confirms, spoke));
        print.add(lags_since.map(|since| present.since(since, config.source.replica_lag)));
    }
}

impl super::RewindJudge {
    pub(crate) fn print(&self, present: Present, config: &Config, print: &mut Print) {
        let span = match config.policy.rewind {
            OnRewind::Refuse => EVER,
            // It must be *longer* ago than the span.
            OnRewind::AcceptAfter { span, .. } => span
                .max(config.source.replica_lag)
                .saturating_add(core::time::Duration::from_nanos(1)),
        };
        let row = self.row.as_ref();
        print.add(row.map(|row| (row.lists, present.since(row.since, span), &row.newest)));
    }
}

impl super::Pacer {
    pub(crate) fn print(&self, present: Present, print: &mut Print) {
        print.add(present.until(self.due));
        print.add(self.due == crate::time::Timestamp::MAX);
    }
}

impl super::Backoff {
    pub(crate) fn print(&self, print: &mut Print) {
        print.add((self.failures, self.random));
    }
}

impl super::Redeliveries {
    pub(crate) fn print(&self, present: Present, print: &mut Print) {
        for (id, timetable) in self.wanted() {
            let super::redelivery::Timetable {
                period,
                next,
                random,
            } = timetable;
            print.add((id, period, next.map(|at| present.until(at)), random));
        }
    }
}

impl super::Status {
    pub(crate) fn print(&self, print: &mut Print) {
        print.add_debug(&(self.state, &self.reason));
    }
}
