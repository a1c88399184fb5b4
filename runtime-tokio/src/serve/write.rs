//! From the changes that an author asks for to the steps of a transaction: every check that can
//! refuse a write is here.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde_json::value::RawValue;

use super::digest::object_digest;
use super::error::{KeyProblem, RestoreError, WriteError};
use super::export::{EXPORT_FORMAT, Export};
use super::history::Transaction;
use super::json;
use super::object::{Change, Object, Precondition, Step};
use super::options::CollectionOptions;
use super::page::Objects;
use super::state::State;

/// A change that is valid by itself, before anybody looked at the collection.
pub(super) struct Prepared {
    key: Arc<str>,
    /// `None` deletes.
    value: Option<Arc<RawValue>>,
    precondition: Precondition,
}

/// Checks what can be checked without the collection's state.
pub(super) fn prepare(
    changes: Vec<Change>,
    options: &CollectionOptions,
) -> Result<Vec<Prepared>, WriteError> {
    if changes.is_empty() {
        return Err(WriteError::Empty);
    }
    if changes.len() > options.max_changes {
        let (changes, limit) = (changes.len(), options.max_changes);
        return Err(WriteError::TooManyChanges { changes, limit });
    }
    let mut prepared = Vec::with_capacity(changes.len());
    let mut keys = BTreeSet::new();
    for change in changes {
        let (key, value, precondition) = match change {
            Change::Put {
                key,
                value,
                precondition,
            } => (key, Some(value), precondition),
            Change::Delete { key, precondition } => (key, None, precondition),
        };
        check_key(&key, options)?;
        let value = value
            .map(|value| checked_value(&key, &value, options))
            .transpose()?;
        let key: Arc<str> = key.into();
        if !keys.insert(Arc::clone(&key)) {
            return Err(WriteError::DuplicateKey {
                key: String::from(&*key),
            });
        }
        prepared.push(Prepared {
            key,
            value,
            precondition,
        });
    }
    Ok(prepared)
}

/// The transaction that `changes` make of this state, which stays as it is.
pub(super) fn plan(
    state: &State,
    changes: Vec<Prepared>,
    options: &CollectionOptions,
) -> Result<Transaction, WriteError> {
    let revision = state
        .revision
        .checked_add(1)
        .ok_or(WriteError::RevisionsExhausted)?;
    let mut steps = Vec::with_capacity(changes.len());
    let mut objects = state.objects.len();
    let mut bytes = state.bytes;
    for Prepared {
        key,
        value,
        precondition,
    } in changes
    {
        let before = state.objects.get(&key).map(Arc::clone);
        let have = before.as_ref().map(|object| object.version);
        if value.is_none() && before.is_none() {
            return Err(WriteError::NotFound {
                key: String::from(&*key),
            });
        }
        if !precondition.holds(have) {
            let key = String::from(&*key);
            return Err(WriteError::Conflict {
                key,
                have,
                wanted: precondition,
            });
        }
        let after = value.map(|value| {
            let uid = before.as_ref().map_or(revision, |object| object.uid);
            Arc::new(Object {
                key,
                version: revision,
                uid,
                value,
            })
        });
        objects = objects + usize::from(after.is_some()) - usize::from(before.is_some());
        bytes = bytes
            .saturating_add(after.as_ref().map_or(0, |object| object.bytes()))
            .saturating_sub(before.as_ref().map_or(0, |object| object.bytes()));
        match (before, after) {
            (None, Some(after)) => steps.push(Step::Added { after }),
            (Some(before), Some(after)) => steps.push(Step::Modified { before, after }),
            (Some(before), None) => steps.push(Step::Deleted { before }),
            (None, None) => {}
        }
    }
    if objects > options.max_objects && objects > state.objects.len() {
        return Err(WriteError::TooManyObjects {
            limit: options.max_objects,
        });
    }
    if bytes > options.max_total_bytes && bytes > state.bytes {
        return Err(WriteError::TooManyBytes {
            limit: options.max_total_bytes,
        });
    }
    let digest = steps.iter().fold(state.digest, |digest, step| {
        digest
            .wrapping_sub(step.before().map_or(0, share))
            .wrapping_add(step.after().map_or(0, share))
    });
    Ok(Transaction::new(revision, digest, steps))
}

/// An object's share of the digest.
pub(super) fn share(object: &Arc<Object>) -> u64 {
    object_digest(&object.key, object.version)
}

/// The objects of an export, if every one could have been written here.
pub(super) fn checked_objects(
    export: &Export,
    options: &CollectionOptions,
) -> Result<Objects, RestoreError> {
    if export.format != EXPORT_FORMAT {
        return Err(RestoreError::UnknownFormat {
            format: export.format,
        });
    }
    let epoch_byte = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-');
    if !(1..=64).contains(&export.epoch.len()) || !export.epoch.bytes().all(epoch_byte) {
        return Err(RestoreError::EpochInvalid {
            epoch: export.epoch.clone(),
        });
    }
    if export.objects.len() > options.max_objects {
        let limit = options.max_objects;
        return Err(RestoreError::Object(WriteError::TooManyObjects { limit }));
    }
    let mut objects = Objects::new();
    let mut bytes = 0usize;
    for object in &export.objects {
        check_key(&object.key, options).map_err(RestoreError::Object)?;
        let value =
            checked_value(&object.key, &object.value, options).map_err(RestoreError::Object)?;
        let Object {
            key, version, uid, ..
        } = &**object;
        if *uid == 0 || uid > version || *version > export.revision {
            return Err(RestoreError::VersionsInvalid {
                key: String::from(&**key),
                uid: *uid,
                version: *version,
                revision: export.revision,
            });
        }
        let object = Object {
            key: Arc::clone(key),
            version: *version,
            uid: *uid,
            value,
        };
        bytes = bytes.saturating_add(object.bytes());
        if objects.insert(Arc::clone(key), Arc::new(object)).is_some() {
            let key = String::from(&**key);
            return Err(RestoreError::Object(WriteError::DuplicateKey { key }));
        }
    }
    if bytes > options.max_total_bytes {
        let limit = options.max_total_bytes;
        return Err(RestoreError::Object(WriteError::TooManyBytes { limit }));
    }
    Ok(objects)
}

/// How much of a key that cannot be one is shown.
const SHOWN_KEY_BYTES: usize = 64;

fn check_key(key: &str, options: &CollectionOptions) -> Result<(), WriteError> {
    let (bytes, limit) = (key.len(), options.max_key_bytes);
    let problem = if key.is_empty() {
        KeyProblem::Empty
    } else if bytes > limit {
        KeyProblem::TooLong { bytes, limit }
    } else if key.chars().any(char::is_control) {
        KeyProblem::ControlCharacter
    } else {
        return Ok(());
    };
    // It may be as long as a body.
    let shown = key.get(..key.floor_char_boundary(SHOWN_KEY_BYTES));
    Err(WriteError::KeyInvalid {
        key: shown.unwrap_or_default().into(),
        problem,
    })
}

fn checked_value(
    key: &str,
    value: &RawValue,
    options: &CollectionOptions,
) -> Result<Arc<RawValue>, WriteError> {
    let limit = options.max_value_depth;
    let too_deep = || WriteError::ValueTooDeep {
        key: key.into(),
        limit,
    };
    let text = json::compact(value.get(), limit).ok_or_else(too_deep)?;
    let (bytes, limit) = (text.len(), options.max_value_bytes);
    if bytes > limit {
        return Err(WriteError::ValueTooLarge {
            key: key.into(),
            bytes,
            limit,
        });
    }
    // Whitespace between tokens never carries meaning, so this cannot fail; if it ever did, the
    // value as it came would be the right answer.
    let value = RawValue::from_string(text).unwrap_or_else(|_| value.to_owned());
    Ok(Arc::from(value))
}
