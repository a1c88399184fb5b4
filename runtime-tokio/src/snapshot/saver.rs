//! The task that writes the snapshots. It looks at the engine for as long as it takes to clone the
//! objects, and encodes and writes them on a thread where that disturbs nobody; the next one only
//! begins when that is done.

use std::sync::Arc;

use reflet_core::Revision;
use tokio::time::sleep;

use super::{Keeper, Picture, SnapshotFailure, WarmStart};
use crate::notice::Notice;
use crate::panic;
use crate::shared::Shared;

/// What a state is told by from the ones before and after it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Stamp {
    changes: u64,
    revision: Option<Revision>,
    rewinds: u64,
}

/// What there is to write.
enum Look<V> {
    /// Nothing has changed.
    Same,
    /// What there is, is between two states of the source.
    Partial,
    Taken(Picture<V>, Stamp),
}

pub(crate) struct Saver<V> {
    keeper: Keeper<V>,
    shared: Arc<Shared<V>>,
    /// The state that is in the file.
    written: Option<Stamp>,
    /// What is to be told of the start, once somebody can listen.
    refused: Option<Notice>,
}

impl<V: Clone + Send + Sync + 'static> Saver<V> {
    /// A saver for an informer that has not begun.
    pub(crate) fn new(keeper: Keeper<V>, shared: Arc<Shared<V>>, warm: &WarmStart) -> Self {
        let (written, refused) = match warm {
            // What the engine holds is what is in the file.
            WarmStart::Restored { .. } => (Some(stamp(&shared.lock().engine)), None),
            WarmStart::Refused { error, kept } => {
                let (error, kept) = (error.clone(), kept.clone());
                (None, Some(Notice::SnapshotRefused { error, kept }))
            }
            WarmStart::Off | WarmStart::NoSnapshot => (None, None),
        };
        Self {
            keeper,
            shared,
            written,
            refused,
        }
    }

    /// Runs until the informer has stopped, and writes a last time then.
    pub(crate) async fn run(mut self) {
        if let Some(notice) = self.refused.take() {
            self.shared.publish(notice);
        }
        let mut status = self.shared.status.subscribe();
        loop {
            // The channel's sender lives as long as this task: it cannot close.
            let stopped = tokio::select! {
                biased;
                _ = status.wait_for(|status| status.stopped) => true,
                () = sleep(self.keeper.options.period) => false,
            };
            if !self.save().await && !stopped {
                // A complete state may not last long: it is taken when it comes.
                while status.changed().await.is_ok() {
                    let stopped = status.borrow_and_update().stopped;
                    if self.save().await || stopped {
                        break;
                    }
                }
            }
            if stopped {
                return;
            }
        }
    }

    /// Writes what has changed. False if there is no complete state to be written now.
    async fn save(&mut self) -> bool {
        let (picture, stamp) = match self.look() {
            Ok(Look::Same) => return true,
            Ok(Look::Partial) => return false,
            Ok(Look::Taken(picture, stamp)) => (picture, stamp),
            Err(words) => {
                self.failed(SnapshotFailure::Panicked(words));
                return true;
            }
        };
        let (revision, objects) = (picture.revision().cloned(), picture.len());
        let keeper = self.keeper.clone();
        let written = tokio::task::spawn_blocking(move || keeper.write(picture)).await;
        match written {
            Ok(Ok(bytes)) => {
                self.written = Some(stamp);
                self.shared.publish(Notice::SnapshotWritten {
                    revision,
                    objects,
                    bytes,
                });
            }
            Ok(Err(error)) => self.failed(error),
            // The runtime is about to end.
            Err(_) => {}
        }
        true
    }

    /// Says so, and keeps going: the next period is the next try.
    fn failed(&self, error: SnapshotFailure) {
        self.shared.publish(Notice::SnapshotFailed { error });
    }

    fn look(&self) -> Result<Look<V>, Box<str>> {
        let inner = self.shared.lock();
        let stamp = stamp(&inner.engine);
        if self.written.as_ref() == Some(&stamp) {
            return Ok(Look::Same);
        }
        // A value's `Clone` is its user's code.
        let picture = panic::catch(|| inner.engine.snapshot())?;
        Ok(picture.map_or(Look::Partial, |picture| Look::Taken(picture, stamp)))
    }
}

fn stamp<V: Clone>(engine: &reflet_core::Informer<Arc<str>, V>) -> Stamp {
    let cache = engine.cache();
    Stamp {
        changes: cache.changes(),
        revision: cache.revision().cloned(),
        rewinds: cache.local_epoch(),
    }
}
