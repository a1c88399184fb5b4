//! The data file: the collections of a configuration service, kept over a restart.
//!
//! `FILE` holds everything, and is replaced as a whole before a change becomes visible to anybody.
//! `FILE.head` is written after it and holds, for each collection, the epoch and the revision that
//! were written last. An older `FILE` that is put back (a restored backup) is behind its head; so
//! the service sees that its history is not a continuation, and starts a new epoch. Back up `FILE`
//! alone: restored together with an older head it would pass for the newest state.

use std::collections::BTreeMap;
use std::error::Error;
use std::fmt;
use std::fs::{self, File, TryLockError};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use reflet_tokio::serve::{Commit, Continuity, Export, Journal, JournalError};
use serde::{Deserialize, Serialize};
use tokio::runtime::{Handle, RuntimeFlavor};

/// The number of the data file's format.
const FORMAT: u32 = 1;

/// Why a data file cannot be used. The file is as it was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum StoreError {
    /// It is not a data file, or a damaged one.
    Corrupt {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        message: String,
    },
    /// Another process uses it.
    InUse {
        /// The file.
        path: PathBuf,
    },
    /// The system does not let us.
    Io {
        /// The file.
        path: PathBuf,
        /// The system's words.
        message: String,
    },
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Corrupt { path, message } => write!(
                f,
                "{} is not a usable data file: {message}; it was not touched, move it away to start afresh",
                path.display()
            ),
            Self::InUse { path } => {
                write!(f, "{} is in use by another process", path.display())
            }
            Self::Io { path, message } => write!(f, "{}: {message}", path.display()),
        }
    }
}

impl Error for StoreError {}

/// What is in `FILE`.
#[derive(Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Data {
    format: u32,
    collections: BTreeMap<String, Export>,
}

/// What the two files hold.
struct Files {
    data: Data,
    /// A collection's head only moves when that collection is written. Were it taken from the data
    /// instead, then the first collection to be restored from a backup would have the others pass
    /// for their newest state, should the process die before they are restored, too.
    heads: Heads,
}

/// What is in `FILE.head`.
type Heads = BTreeMap<String, Head>;

/// The newest state of a collection that was ever written to `FILE`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Head {
    epoch: String,
    revision: u64,
}

/// The open data file; the journal of all its collections.
pub(crate) struct Store {
    path: PathBuf,
    files: Mutex<Files>,
    /// Keeps a second process away for as long as this one has the file.
    _lock: File,
}

/// A collection as the file has it.
pub(crate) struct Kept {
    /// Its state.
    pub(crate) export: Export,
    /// Whether that is the newest state that anybody can have seen.
    pub(crate) continuity: Continuity,
}

impl Store {
    /// Opens the file. One that does not exist is created with the first change.
    ///
    /// # Errors
    /// It cannot be read, it is damaged, or another process has it.
    pub(crate) fn open(path: &Path) -> Result<(Self, BTreeMap<String, Kept>), StoreError> {
        let lock = lock(path)?;
        let data = match fs::read(path) {
            Ok(bytes) => parse(path, &bytes)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Data::default(),
            Err(error) => return Err(io_error(path, &error)),
        };
        let heads = read_heads(&head_path(path));
        let kept = data.collections.iter().map(|(name, export)| {
            let continuity = continuity(export, heads.get(name));
            let export = export.clone();
            (name.clone(), Kept { export, continuity })
        });
        let kept = kept.collect();
        let store = Self {
            path: path.to_owned(),
            files: Mutex::new(Files { data, heads }),
            _lock: lock,
        };
        Ok((store, kept))
    }

    fn keep(&self, export: Export) -> io::Result<()> {
        let mut files = self.files.lock().unwrap_or_else(PoisonError::into_inner);
        let name = export.name.clone();
        let head = Head {
            epoch: export.epoch.clone(),
            revision: export.revision,
        };
        let data_before = files.data.collections.insert(name.clone(), export);
        let head_before = files.heads.insert(name.clone(), head);
        files.data.format = FORMAT;
        let written = self.write(&files);
        if written.is_err() {
            // The collection stays where it was, and so must what the next write puts in the files.
            set(&mut files.data.collections, &name, data_before);
            set(&mut files.heads, &name, head_before);
        }
        written
    }

    fn write(&self, files: &Files) -> io::Result<()> {
        replace(&self.path, &serde_json::to_vec(&files.data)?)?;
        // After the data: a crash in between leaves a head that is behind, which is no lie. The
        // other way round, the newest state would pass for a backup.
        replace(&head_path(&self.path), &serde_json::to_vec(&files.heads)?)
    }
}

fn set<T>(map: &mut BTreeMap<String, T>, name: &str, value: Option<T>) {
    match value {
        Some(value) => map.insert(name.to_owned(), value),
        None => map.remove(name),
    };
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store")
            .field("path", &self.path)
            .finish_non_exhaustive()
    }
}

impl Journal for Store {
    fn commit(&self, commit: &Commit<'_>) -> Result<(), JournalError> {
        let export = commit.export();
        let kept = blocking(|| self.keep(export));
        kept.map_err(|error| JournalError::new(format!("{}: {error}", self.path.display())))
    }
}

/// Lets other tasks of this thread move on while the disk is waited for, where the runtime can.
fn blocking<T>(act: impl FnOnce() -> T) -> T {
    match Handle::try_current().map(|handle| handle.runtime_flavor()) {
        Ok(RuntimeFlavor::MultiThread) => tokio::task::block_in_place(act),
        Ok(_) | Err(_) => act(),
    }
}

fn parse(path: &Path, bytes: &[u8]) -> Result<Data, StoreError> {
    let corrupt = |message| StoreError::Corrupt {
        path: path.to_owned(),
        message,
    };
    let data: Data = serde_json::from_slice(bytes).map_err(|error| corrupt(error.to_string()))?;
    if data.format != FORMAT {
        return Err(corrupt(format!("unknown format {}", data.format)));
    }
    Ok(data)
}

/// A file without a head, or with one that it does not continue, is somebody's backup.
fn continuity(export: &Export, head: Option<&Head>) -> Continuity {
    match head {
        Some(head) if head.epoch == export.epoch && head.revision <= export.revision => {
            Continuity::SameEpoch
        }
        Some(_) | None => Continuity::NewEpoch,
    }
}

/// The heads; none if they cannot be read, which only costs a new epoch.
fn read_heads(path: &Path) -> Heads {
    let heads = fs::read(path)
        .map_err(|error| error.to_string())
        .and_then(|bytes| serde_json::from_slice(&bytes).map_err(|error| error.to_string()));
    heads.unwrap_or_else(|error| {
        tracing::debug!(path = %path.display(), error, "no heads: collections get new epochs");
        Heads::default()
    })
}

fn head_path(path: &Path) -> PathBuf {
    with_suffix(path, ".head")
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

fn lock(path: &Path) -> Result<File, StoreError> {
    let lock_path = with_suffix(path, ".lock");
    let file = File::create(&lock_path).map_err(|error| io_error(&lock_path, &error))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(StoreError::InUse {
            path: path.to_owned(),
        }),
        Err(TryLockError::Error(error)) => Err(io_error(&lock_path, &error)),
    }
}

/// Replaces a file by another in one step, durably: after a crash it is the old or the new one.
fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let temporary = with_suffix(path, ".tmp");
    let mut file = File::create(&temporary)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    drop(file);
    fs::rename(&temporary, path)?;
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        Some(_) | None => Path::new("."),
    };
    // The rename itself is only durable once the folder is.
    File::open(folder)?.sync_all()
}

fn io_error(path: &Path, error: &io::Error) -> StoreError {
    StoreError::Io {
        path: path.to_owned(),
        message: error.to_string(),
    }
}
