//! An informer under test, and what it says. Time is paused.

#![allow(dead_code, reason = "each suite uses another part")]

use std::sync::Arc;
use std::time::Duration;

use reflet_tokio::reflet_core::{Health, Notice as Said, State};
use reflet_tokio::{Informer, Notice, Notices};
use tokio::time::{Instant, sleep};

/// Only ever ends a test that has failed.
const PATIENCE: Duration = Duration::from_secs(3_600);

/// An informer, and what it says.
pub(crate) struct Followed<V> {
    pub(crate) informer: Informer<Arc<V>>,
    notices: Notices,
}

impl<V: Clone + Ord + Send + Sync + 'static> Followed<V> {
    pub(crate) fn by(informer: Informer<Arc<V>>) -> Self {
        Self {
            notices: informer.notices(),
            informer,
        }
    }

    /// What the cache shows, in the order of the keys.
    pub(crate) fn shown(&self) -> Vec<(String, V)> {
        let objects = self.informer.objects().into_iter();
        let mut shown: Vec<_> = objects
            .map(|(key, value)| (key.to_string(), V::clone(&value)))
            .collect();
        shown.sort();
        shown
    }

    /// Waits until the health is as wanted.
    pub(crate) async fn until(&self, wanted: impl Fn(&Health<Arc<str>>) -> bool) {
        let started = Instant::now();
        while !wanted(&self.informer.health()) {
            let health = self.informer.health();
            assert!(started.elapsed() < PATIENCE, "{health:#?}");
            sleep(Duration::from_millis(50)).await;
        }
    }

    /// Waits until it is live and has just this.
    pub(crate) async fn has(&self, truth: &[(String, V)]) {
        self.until(|health| health.state == State::Live && self.shown() == truth)
            .await;
    }

    /// What has been said since this was last asked.
    pub(crate) async fn heard(&mut self) -> Vec<Said<Arc<str>>> {
        let mut heard = Vec::new();
        let all = async {
            while let Some(notice) = self.notices.next().await {
                if let Notice::Engine(notice) = notice {
                    heard.push(notice);
                }
            }
        };
        let _ = tokio::time::timeout(Duration::ZERO, all).await;
        heard
    }

    /// Whether it listed again since this was last asked.
    pub(crate) async fn relisted(&mut self) -> bool {
        let heard = self.heard().await;
        heard
            .iter()
            .any(|said| matches!(said, Said::Relisted { .. }))
    }
}
