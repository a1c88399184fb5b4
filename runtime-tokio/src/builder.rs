//! How an informer is set up and started.

use std::sync::Arc;

use reflet_core::{Config, Limits, Policy, Timestamp, Timing};
use tokio::time::Instant;

use crate::driver::Driver;
use crate::informer::Informer;
use crate::shared::Shared;
#[cfg(feature = "snapshot")]
use crate::snapshot::{Keeper, Saver, SnapshotOptions, WarmStart};
use crate::source::Source;

/// Whether two contents are the same.
type ContentEq<V> = fn(&V, &V) -> bool;

/// An informer that has not been started: see [`Informer::builder`].
#[derive(Debug)]
#[must_use = "nothing happens before `start`"]
pub struct Builder<S: Source> {
    source: S,
    config: Config,
    seed: Option<u64>,
    content_eq: Option<ContentEq<S::Value>>,
    name: Arc<str>,
    #[cfg(feature = "snapshot")]
    keeper: Option<Keeper<S::Value>>,
}

impl<S: Source> Builder<S> {
    pub(crate) fn new(source: S) -> Self {
        Self {
            source,
            config: Config::default(),
            seed: None,
            content_eq: None,
            name: "informer".into(),
            #[cfg(feature = "snapshot")]
            keeper: None,
        }
    }

    /// The whole configuration. Its `source` part is not used: the source itself knows best.
    pub fn config(mut self, config: Config) -> Self {
        self.config = config;
        self
    }

    /// Changes how long to wait for what: `.timing(|t| t.backoff_max = Duration::from_secs(5))`.
    pub fn timing(mut self, change: impl FnOnce(&mut Timing)) -> Self {
        change(&mut self.config.timing);
        self
    }

    /// Changes how much to take in: `.limits(|l| l.objects = 10_000)`.
    pub fn limits(mut self, change: impl FnOnce(&mut Limits)) -> Self {
        change(&mut self.config.limits);
        self
    }

    /// Changes what to do where there is a choice.
    pub fn policy(mut self, change: impl FnOnce(&mut Policy)) -> Self {
        change(&mut self.config.policy);
        self
    }

    /// The seed of everything random, which is the jitter of waits. Without one, the operating
    /// system is asked.
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = Some(seed);
        self
    }

    /// How two contents are compared, so that an object with a new version and the same content
    /// can be told from a changed one, and a verify of the content can tell which objects differ.
    /// The function must be pure and must not panic.
    pub fn content_eq(mut self, same: fn(&S::Value, &S::Value) -> bool) -> Self {
        self.content_eq = Some(same);
        self
    }

    /// The name that logs call this informer.
    pub fn name(mut self, name: &str) -> Self {
        self.name = name.into();
        self
    }

    /// Keeps what the cache holds in a file, and begins with that after a restart: see
    /// [`snapshot`](crate::snapshot). [`start`](Self::start) then reads the file before it returns,
    /// which takes about as long as decoding its objects.
    #[cfg(feature = "snapshot")]
    pub fn snapshot(mut self, options: SnapshotOptions) -> Self
    where
        S::Value: serde::Serialize + serde::de::DeserializeOwned,
    {
        self.keeper = Some(Keeper::new(options));
        self
    }

    /// Starts the informer: one task, which lives until [`Informer::shutdown`], or until the last
    /// handle is dropped.
    ///
    /// # Panics
    /// Outside of a tokio runtime with a timer, as `tokio::spawn` does.
    #[must_use = "dropping the last handle stops the informer"]
    pub fn start(self) -> Informer<S::Value> {
        let mut config = self.config;
        config.source = self.source.profile();
        let seed = self.seed.unwrap_or_else(entropy);
        #[cfg(feature = "snapshot")]
        let (mut engine, warm) = match &self.keeper {
            Some(keeper) => keeper.start(config, seed),
            None => (cold(config, seed), WarmStart::Off),
        };
        #[cfg(not(feature = "snapshot"))]
        let mut engine = cold(config, seed);
        if let Some(same) = self.content_eq {
            engine.set_content_eq(same);
        }
        let shared = Arc::new(Shared::new(self.name, engine, Instant::now(), seed));
        shared.show_status();
        let driver = Driver::new(self.source, Arc::clone(&shared));
        #[cfg(feature = "snapshot")]
        let saver = self.keeper.map(|keeper| {
            let saver = Saver::new(keeper, Arc::clone(&shared), &warm);
            tokio::spawn(saver.run())
        });
        #[cfg(not(feature = "snapshot"))]
        let saver = None;
        let driver = tokio::spawn(driver.run());
        Informer::new(
            shared,
            [driver].into_iter().chain(saver).collect(),
            #[cfg(feature = "snapshot")]
            warm,
        )
    }
}

/// An engine that knows nothing yet.
pub(crate) fn cold<V: Clone>(config: Config, seed: u64) -> reflet_core::Informer<Arc<str>, V> {
    reflet_core::Informer::new(config, seed, Timestamp::ZERO)
}

/// A seed that differs between processes, so that a fleet does not retry in step.
fn entropy() -> u64 {
    // Where the operating system has none to give, processes still differ by their id.
    getrandom::u64().unwrap_or_else(|_| std::process::id().into())
}
