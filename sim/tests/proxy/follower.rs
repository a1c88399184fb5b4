//! Somebody who is told of the changes, and believes nothing.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use real_reflet::reflet_core::cache::{Delta, Mark};
use real_reflet::reflet_core::{Notice as Said, Revision};
use real_reflet::{Batch, Deltas, Informer, Notice, Notices};
use real_tokio::sync::watch;
use real_tokio::time::sleep;

use crate::truth::{State, Thing, Truth};

/// Folds deltas and compares them with the truth.
pub(crate) struct Follower {
    informer: Informer<Arc<Thing>>,
    truth: Truth,
    belongs: fn(u64) -> bool,
    objects: BTreeMap<Arc<str>, Arc<Thing>>,
    last: Option<Mark>,
}

impl Follower {
    /// Follows those whose number `belongs`, until the informer stops. Waits between batches. The
    /// newest complete revision that was reached goes to `reached`.
    pub(crate) async fn follow(
        informer: Informer<Arc<Thing>>,
        truth: Truth,
        belongs: fn(u64) -> bool,
        pause: Duration,
        reached: watch::Sender<u64>,
    ) {
        let mut deltas: Deltas<_> =
            informer.subscribe_filtered(move |_, thing| belongs(thing.number));
        let mut follower = Self {
            informer,
            truth,
            belongs,
            objects: BTreeMap::new(),
            last: None,
        };
        while let Some(batch) = deltas.next().await {
            follower.take(batch);
            if let Some(Mark {
                revision,
                complete: true,
                ..
            }) = &follower.last
            {
                reached.send_replace(number(revision.as_ref()));
            }
            sleep(pause).await;
        }
    }

    /// P4: what is told leads from what was told before to what is true at the mark.
    fn take(&mut self, batch: Batch<Arc<Thing>>) {
        for delta in batch.deltas {
            self.fold(delta);
        }
        let mark = batch.mark;
        let revision = number(mark.revision.as_ref());
        if let Some(last) = &self.last {
            // The server never has another epoch.
            assert_eq!(mark.local_epoch, last.local_epoch, "P2");
            assert!(
                revision >= number(last.revision.as_ref()),
                "P2: {last:?}, {mark:?}"
            );
        }
        let shown = self.informer.with_cache(|cache| number(cache.revision()));
        assert!(shown >= revision, "P9: {shown} is shown, {mark:?} was told");
        if mark.complete {
            let state = self.truth.at(revision).expect("P3: a revision that was");
            let ours = self.objects.iter();
            let ours: State = ours
                .map(|(key, thing)| (Arc::clone(key), thing.number))
                .collect();
            let mut theirs = State::clone(&state);
            theirs.retain(|_, number| (self.belongs)(*number));
            assert_eq!(ours, theirs, "P3: at {mark:?}");
        }
        self.last = Some(mark);
    }

    fn fold(&mut self, delta: Delta<Arc<str>, Arc<Thing>>) {
        match delta {
            Delta::Added { key, new } => {
                assert_eq!(*new, Thing::new(new.number), "torn content");
                let before = self.objects.insert(Arc::clone(&key), new);
                assert_eq!(before, None, "P4: {key} was there");
            }
            Delta::Updated { key, old, new } => {
                assert_eq!(*new, Thing::new(new.number), "torn content");
                let before = self.objects.insert(Arc::clone(&key), new);
                assert_eq!(before, Some(old), "P4: {key}");
            }
            Delta::Deleted { key, seen, .. } => {
                let before = self.objects.remove(&key);
                assert_eq!(before, Some(seen), "P4: {key}");
            }
            Delta::Reset => {
                self.objects.clear();
            }
            Delta::Redelivered { key, .. } => panic!("nobody asked for {key} once more"),
            Delta::Gap(why) => panic!("nobody is lossless, but {why:?}"),
            Delta::Mark(mark) => panic!("a mark among the steps: {mark:?}"),
        }
    }
}

/// What a cut connection is never taken for: none of these may be said while the server tells the
/// truth, goes on with its history, and nothing is altered on the way.
pub(crate) async fn hear(mut notices: Notices) {
    while let Some(Notice::Engine(notice)) = notices.next().await {
        if notice == Said::Stopped {
            return;
        }
        assert!(
            matches!(
                notice,
                Said::Lost(_)
                    | Said::Synced { .. }
                    | Said::Live
                    | Said::Stale { .. }
                    | Said::Failed { .. }
                    | Said::TimedOut { .. }
                    | Said::Relisted { .. }
                    | Said::HistoryTooShort
            ),
            "{notice:?}"
        );
    }
}

fn number(revision: Option<&Revision>) -> u64 {
    revision.map_or(0, |revision| revision.as_u64().unwrap())
}
