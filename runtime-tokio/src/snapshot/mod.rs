//! Warm starts: what the cache held is kept in a file, and is served at once after a restart.
//!
//! A source that is down when a process starts leaves a cold informer with nothing to serve. One
//! with a snapshot serves the last complete state that it knew, says that it is
//! [`Stale`](reflet_core::State::Stale), and goes on from there when the source is back: subscribers
//! are then told differences only.
//!
//! ```
//! use std::time::Duration;
//! use reflet_tokio::reflet_core::SourceProfile;
//! use reflet_tokio::{Informer, SnapshotOptions, WarmStart, scripted};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let file = std::env::temp_dir().join(format!("reflet-doc-{}", std::process::id()));
//! let kept = SnapshotOptions::new(&file, "example.com/routes, route v1");
//! let (source, mut script) = scripted::source::<u32>(SourceProfile::default());
//! let informer = Informer::builder(source).snapshot(kept.clone()).start();
//! script.next_request().await.ok_or("no list")?.objects(41, [("/api", 12, 7)]);
//! informer.synced().await?;
//! informer.shutdown().await; // writes it, as each period does
//!
//! // The next process: the source does not answer, and the state is there all the same.
//! let (source, _down) = scripted::source::<u32>(SourceProfile::default());
//! let informer = Informer::builder(source).snapshot(kept).start();
//! assert!(matches!(informer.warm_start(), WarmStart::Restored { objects: 1, .. }));
//! assert_eq!(informer.get("/api"), Some(7));
//! assert!(!informer.status().borrow().synced);
//! # std::fs::remove_file(&file)?;
//! # Ok(())
//! # }
//! ```

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use reflet_core::snapshot::{Snapshot, SnapshotError};
use reflet_core::{Config, Limits, Revision, Timestamp};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::builder::cold;
use crate::panic;

mod file;
mod json;
mod saver;

use json::Json;
pub(crate) use saver::Saver;

/// Where an informer keeps its snapshot, and how often it writes one.
///
/// One file belongs to one informer of one process. Beside `NAME` there may be `NAME.tmp`, which is
/// being written, and `NAME.bad`, the last one that could not be used.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(not(feature = "simulated"), non_exhaustive)]
pub struct SnapshotOptions {
    /// The file. Its folder must exist.
    pub path: PathBuf,
    /// What the snapshot is of: the source, the collection, the selector, and the version of the
    /// values' type. A file with another identity is not used. At most 4096 bytes.
    pub identity: String,
    /// How often it is written, if anything has changed; it is also written at the end. Half a
    /// minute by default, and at least a millisecond.
    pub period: Duration,
    /// How the values are encoded.
    pub encoding: SnapshotEncoding,
}

/// How a snapshot's values are encoded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(not(feature = "simulated"), non_exhaustive)]
pub enum SnapshotEncoding {
    /// Small and fast: postcard. For types with plain derived `Serialize` and `Deserialize`.
    #[default]
    Compact,
    /// As JSON. For types whose `Deserialize` needs a format that describes itself: those with
    /// untagged enums or flattened fields, JSON values, Kubernetes' types.
    Json,
}

impl SnapshotOptions {
    /// A file for the snapshot of what `identity` names.
    pub fn new(path: impl Into<PathBuf>, identity: impl Into<String>) -> Self {
        Self {
            path: path.into(),
            identity: identity.into(),
            period: Duration::from_secs(30),
            encoding: SnapshotEncoding::default(),
        }
    }

    /// Has the values encoded in another way.
    #[must_use]
    pub fn encoding(mut self, encoding: SnapshotEncoding) -> Self {
        self.encoding = encoding;
        self
    }

    /// Changes how often it is written.
    #[must_use]
    pub fn period(mut self, period: Duration) -> Self {
        self.period = period;
        self
    }
}

/// How an informer began.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(not(feature = "simulated"), non_exhaustive)]
pub enum WarmStart {
    /// Cold: it keeps no snapshot.
    Off,
    /// Cold: there was no snapshot yet.
    NoSnapshot,
    /// With what a snapshot held.
    Restored {
        /// The snapshot's revision.
        revision: Option<Revision>,
        /// How many objects it had.
        objects: usize,
    },
    /// Cold: the snapshot could not be used.
    Refused {
        /// Why.
        error: SnapshotFailure,
        /// Where the file is now, unless it could not be moved.
        kept: Option<PathBuf>,
    },
}

/// Why a snapshot could not be read or written.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(not(feature = "simulated"), non_exhaustive)]
pub enum SnapshotFailure {
    /// The system did not let us.
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What kind of failure it was.
        kind: io::ErrorKind,
        /// The system's words.
        message: Box<str>,
    },
    /// Its content is of no use, or could not be encoded.
    Content(SnapshotError),
    /// The values' `Serialize`, `Deserialize` or `Clone` panicked, with these words.
    Panicked(Box<str>),
}

impl SnapshotFailure {
    fn io(path: &Path, error: &io::Error) -> Self {
        Self::Io {
            path: path.to_owned(),
            kind: error.kind(),
            message: error.to_string().into(),
        }
    }
}

impl fmt::Display for SnapshotFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io { path, message, .. } => write!(
                f,
                "{}: {message}: check the path and who may write there",
                path.display()
            ),
            Self::Content(error) => error.fmt(f),
            Self::Panicked(words) => write!(f, "the values' code panicked: {words}"),
        }
    }
}

impl std::error::Error for SnapshotFailure {}

type Engine<V> = reflet_core::Informer<Arc<str>, V>;
type Picture<V> = Snapshot<Arc<str>, V>;

/// A file for snapshots of one type of values: what only matters here is that they can be written
/// and read.
pub(crate) struct Keeper<V> {
    options: SnapshotOptions,
    read: Read<V>,
    write: Write<V>,
}

type Read<V> = fn(&SnapshotOptions, &Limits) -> Result<Option<Picture<V>>, SnapshotFailure>;
type Write<V> = fn(&SnapshotOptions, Picture<V>) -> Result<u64, SnapshotFailure>;

impl<V> Clone for Keeper<V> {
    fn clone(&self) -> Self {
        Self {
            options: self.options.clone(),
            ..*self
        }
    }
}

impl<V> fmt::Debug for Keeper<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.options.fmt(f)
    }
}

impl<V: Serialize + DeserializeOwned> Keeper<V> {
    pub(crate) fn new(mut options: SnapshotOptions) -> Self {
        options.period = options.period.max(Duration::from_millis(1));
        let (read, write): (Read<V>, Write<V>) = match options.encoding {
            SnapshotEncoding::Compact => (file::read, file::write),
            SnapshotEncoding::Json => (
                |options, limits| Ok(file::read(options, limits)?.map(json::unwrap)),
                |options, picture| file::write(options, picture.map(Json)),
            ),
        };
        Self {
            options,
            read,
            write,
        }
    }
}

impl<V> Keeper<V> {
    /// Reads the file; `None` if there is none.
    fn read(&self, limits: &Limits) -> Result<Option<Picture<V>>, SnapshotFailure> {
        panic::catch(|| (self.read)(&self.options, limits))
            .unwrap_or_else(|words| Err(SnapshotFailure::Panicked(words)))
    }

    /// An engine that begins with what the file holds, if that can be used.
    pub(crate) fn start(&self, config: Config, seed: u64) -> (Engine<V>, WarmStart)
    where
        V: Clone,
    {
        let restored = match self.read(&config.limits) {
            Ok(None) => return (cold(config, seed), WarmStart::NoSnapshot),
            Ok(Some(picture)) => {
                let config = config.clone();
                Engine::restore(config, seed, Timestamp::ZERO, picture)
                    .map_err(SnapshotFailure::Content)
            }
            Err(error) => Err(error),
        };
        match restored {
            Ok(engine) => {
                let cache = engine.cache();
                let (revision, objects) = (cache.revision().cloned(), cache.len());
                (engine, WarmStart::Restored { revision, objects })
            }
            Err(error) => (cold(config, seed), self.refuse(error)),
        }
    }

    /// Replaces the file by another, in one step. Returns how many bytes it has.
    fn write(&self, picture: Picture<V>) -> Result<u64, SnapshotFailure> {
        panic::catch(|| (self.write)(&self.options, picture))
            .unwrap_or_else(|words| Err(SnapshotFailure::Panicked(words)))
    }

    /// A file that cannot be used is put aside, where a human may look at it.
    fn refuse(&self, error: SnapshotFailure) -> WarmStart {
        let kept = file::put_aside(&self.options.path);
        WarmStart::Refused { error, kept }
    }
}
