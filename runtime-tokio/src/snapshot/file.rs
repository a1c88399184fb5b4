//! The file: read with suspicion, and replaced as a whole.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};

use reflet_core::Limits;
use reflet_core::snapshot::Decoder;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{Picture, SnapshotFailure, SnapshotOptions};

/// How much is read at once.
const PORTION: usize = 64 << 10;

/// Reads the file, if there is one.
pub(super) fn read<V: DeserializeOwned>(
    options: &SnapshotOptions,
    limits: &Limits,
) -> Result<Option<Picture<V>>, SnapshotFailure> {
    let path = &options.path;
    let failed = |error: io::Error| SnapshotFailure::io(path, &error);
    match fs::metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(error)),
        // Opening a pipe would wait for its other end.
        Ok(found) if !found.is_file() => {
            let error = io::Error::new(io::ErrorKind::InvalidInput, "not a regular file");
            return Err(failed(error));
        }
        Ok(_) => {}
    }
    let mut file = File::open(path).map_err(failed)?;
    let mut decoder = Decoder::new(&options.identity, limits);
    let mut portion = vec![0; PORTION];
    loop {
        let read = match file.read(&mut portion) {
            Ok(0) => break,
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(failed(error)),
        };
        let bytes = portion.get(..read).unwrap_or_default();
        decoder.push(bytes).map_err(SnapshotFailure::Content)?;
    }
    decoder.finish().map(Some).map_err(SnapshotFailure::Content)
}

/// Replaces the file in one step, durably: whenever the process or the machine dies, it is the old
/// or the new one.
pub(super) fn write<V: Serialize>(
    options: &SnapshotOptions,
    picture: Picture<V>,
) -> Result<u64, SnapshotFailure> {
    let path = &options.path;
    let temporary = with_suffix(path, ".tmp");
    let written = write_new(&temporary, &options.identity, picture).and_then(|bytes| {
        let replaced = fs::rename(&temporary, path);
        replaced.map_err(|error| SnapshotFailure::io(path, &error))?;
        sync_folder(path)?;
        Ok(bytes)
    });
    if written.is_err() {
        // It may not even be there.
        let _ = fs::remove_file(&temporary);
    }
    written
}

fn write_new<V: Serialize>(
    path: &Path,
    identity: &str,
    picture: Picture<V>,
) -> Result<u64, SnapshotFailure> {
    let failed = |error: io::Error| SnapshotFailure::io(path, &error);
    let mut encoder = picture.encode(identity).map_err(SnapshotFailure::Content)?;
    let mut file = create(path).map_err(failed)?;
    let mut bytes = 0_u64;
    while let Some(piece) = encoder.next_piece().map_err(SnapshotFailure::Content)? {
        file.write_all(piece).map_err(failed)?;
        bytes = bytes.saturating_add(piece.len() as u64);
    }
    file.sync_all().map_err(failed)?;
    Ok(bytes)
}

/// Objects may hold secrets: the file is for its owner alone. So it is always a new one: what has the
/// name already may be open to all, or lead elsewhere.
fn create(path: &Path) -> io::Result<File> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}

/// A rename itself is only durable once the folder is.
fn sync_folder(path: &Path) -> Result<(), SnapshotFailure> {
    if cfg!(not(unix)) {
        // Elsewhere a folder cannot be opened like a file.
        return Ok(());
    }
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        Some(_) | None => Path::new("."),
    };
    let synced = File::open(folder).and_then(|folder| folder.sync_all());
    synced.map_err(|error| SnapshotFailure::io(folder, &error))
}

/// Moves a file that cannot be used to `NAME.bad`, in the place of the one before; its new name,
/// if that was possible.
pub(super) fn put_aside(path: &Path) -> Option<PathBuf> {
    // Whatever else has that name is somebody's, and stays.
    let ours = fs::metadata(path).is_ok_and(|found| found.is_file());
    let bad = with_suffix(path, ".bad");
    (ours && fs::rename(path, &bad).is_ok()).then_some(bad)
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}
