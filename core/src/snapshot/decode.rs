//! From bytes to a snapshot. Nothing that comes in is trusted.

use alloc::boxed::Box;
use alloc::vec::Vec;

use serde::de::DeserializeOwned;

use crate::config::Limits;
use crate::key::Key;
use crate::token::{Epoch, Revision};

use super::format::{
    Checksum, HEAD, Header, IDENTITY_BYTES, MAGIC, PIECE, PREAMBLE, RECORD_BYTES, Record, SCHEMA,
    WORDS_BYTES, to_usize,
};
use super::{Object, Snapshot, SnapshotError, SnapshotLimit, Tally, check_tokens, over};

/// Reads a snapshot from bytes that come in portions of any size.
///
/// Holds at most one piece beside what has been decoded, and allocates only for what has really
/// come.
pub struct Decoder<K, V> {
    identity: Box<str>,
    limits: Limits,
    /// What has come of the piece under way.
    buffer: Vec<u8>,
    /// Where that begins, in bytes.
    at: u64,
    checksum: Checksum,
    phase: Phase,
    tally: Tally,
    /// The bytes of all records.
    encoded: usize,
    quarantined: usize,
    snapshot: Snapshot<K, V>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Phase {
    Preamble,
    Header,
    Records { objects: u64, quarantined: u64 },
    Over,
    Failed(SnapshotError),
}

impl<K: Key + DeserializeOwned, V: DeserializeOwned> Decoder<K, V> {
    /// Begins to read a snapshot of what `identity` names, within the limits of the informer that
    /// it is for.
    #[must_use]
    pub fn new(identity: &str, limits: &Limits) -> Self {
        Self {
            identity: identity.into(),
            limits: limits.clone(),
            buffer: Vec::new(),
            at: 0,
            checksum: Checksum::default(),
            phase: Phase::Preamble,
            tally: Tally::default(),
            encoded: 0,
            quarantined: 0,
            snapshot: Snapshot {
                epoch: None,
                revision: None,
                rewinds: 0,
                objects: Vec::new(),
                quarantined: Vec::new(),
                unnamed: 0,
            },
        }
    }

    /// Takes the next bytes.
    ///
    /// # Errors
    /// What is wrong with the snapshot; every later call says the same.
    pub fn push(&mut self, mut bytes: &[u8]) -> Result<(), SnapshotError> {
        while !bytes.is_empty() {
            let step = self.step(&mut bytes);
            if let Err(error) = step {
                self.phase = Phase::Failed(error.clone());
                return Err(error);
            }
        }
        Ok(())
    }

    /// The snapshot, if all of it has come.
    ///
    /// # Errors
    /// [`SnapshotError::Truncated`], or what was wrong before.
    pub fn finish(self) -> Result<Snapshot<K, V>, SnapshotError> {
        match self.phase {
            Phase::Over => Ok(self.snapshot),
            Phase::Failed(error) => Err(error),
            Phase::Preamble | Phase::Header | Phase::Records { .. } => {
                Err(SnapshotError::Truncated {
                    bytes: self.at.saturating_add(self.buffer.len() as u64),
                })
            }
        }
    }

    /// Takes as many bytes as belong to the piece under way, and reads it once it is whole.
    fn step(&mut self, bytes: &mut &[u8]) -> Result<(), SnapshotError> {
        match &self.phase {
            Phase::Over => return Err(SnapshotError::TrailingBytes { at: self.at }),
            Phase::Failed(error) => return Err(error.clone()),
            Phase::Preamble => {
                if self.take(bytes, PREAMBLE) {
                    self.preamble()?;
                    self.begin_next(Phase::Header);
                }
                return Ok(());
            }
            Phase::Header | Phase::Records { .. } => {}
        }
        if !self.take(bytes, HEAD) {
            return Ok(());
        }
        let length = self.length()?;
        if !self.take(bytes, HEAD.saturating_add(length)) {
            return Ok(());
        }
        let piece = core::mem::take(&mut self.buffer);
        let next = self.piece(&piece)?;
        self.buffer = piece;
        self.begin_next(next);
        Ok(())
    }

    /// Fills the buffer up to `wanted` bytes. True if they are there.
    fn take(&mut self, bytes: &mut &[u8], wanted: usize) -> bool {
        let missing = wanted.saturating_sub(self.buffer.len());
        let (taken, rest) = bytes.split_at(missing.min(bytes.len()));
        self.buffer.extend_from_slice(taken);
        *bytes = rest;
        self.buffer.len() >= wanted
    }

    fn begin_next(&mut self, phase: Phase) {
        self.at = self.at.saturating_add(self.buffer.len() as u64);
        self.buffer.clear();
        // A huge object's room is given back.
        self.buffer.shrink_to(2 * PIECE);
        self.phase = phase;
    }

    fn preamble(&mut self) -> Result<(), SnapshotError> {
        let schema = self.buffer.strip_prefix(&MAGIC);
        let Some(schema) = schema.and_then(|schema| schema.first_chunk()) else {
            return Err(SnapshotError::NotASnapshot);
        };
        let found = u32::from_le_bytes(*schema);
        if found != SCHEMA {
            return Err(SnapshotError::UnknownSchema { found });
        }
        self.checksum.add(&self.buffer);
        Ok(())
    }

    /// The length that the piece under way names, if it is one that could be.
    fn length(&self) -> Result<usize, SnapshotError> {
        let bytes = self.buffer.first_chunk().copied().unwrap_or_default();
        let bytes = u32::from_le_bytes(bytes);
        let length = to_usize(bytes.into());
        let limits = &self.limits;
        let names = IDENTITY_BYTES.saturating_add(limits.token_bytes.saturating_mul(2));
        let object = limits
            .bytes
            .saturating_add(limits.key_bytes)
            .saturating_add(limits.token_bytes);
        let longest = PIECE
            .saturating_add(RECORD_BYTES + WORDS_BYTES)
            .saturating_add(names.max(object));
        if length > longest {
            return Err(SnapshotError::PieceTooLong { at: self.at, bytes });
        }
        Ok(length)
    }

    /// Reads a whole piece. Returns what comes next.
    fn piece(&mut self, piece: &[u8]) -> Result<Phase, SnapshotError> {
        let at = self.at;
        let Some((length, checksum, body)) = piece
            .split_first_chunk::<4>()
            .and_then(|(length, rest)| Some((length, rest.split_first_chunk::<4>()?)))
            .map(|(length, (checksum, body))| (length, checksum, body))
        else {
            return Err(SnapshotError::Malformed { at });
        };
        self.checksum.add(length);
        self.checksum.add(body);
        if self.checksum.value() != u32::from_le_bytes(*checksum) {
            return Err(SnapshotError::Damaged { at });
        }
        match self.phase {
            Phase::Records {
                objects,
                quarantined,
            } if body.is_empty() => {
                let all =
                    self.tally.objects as u64 == objects && self.quarantined as u64 == quarantined;
                if !all {
                    return Err(SnapshotError::Malformed { at });
                }
                Ok(Phase::Over)
            }
            Phase::Records { .. } => {
                self.records(body)?;
                Ok(self.phase.clone())
            }
            Phase::Header | Phase::Preamble | Phase::Over | Phase::Failed(_) => self.header(body),
        }
    }

    fn header(&mut self, body: &[u8]) -> Result<Phase, SnapshotError> {
        let malformed = SnapshotError::Malformed { at: self.at };
        let (header, rest): (Header<'_>, _) =
            postcard::take_from_bytes(body).map_err(|_| malformed.clone())?;
        if !rest.is_empty() || header.identity.len() > IDENTITY_BYTES {
            return Err(malformed);
        }
        if *header.identity != *self.identity {
            let found = header.identity.into();
            return Err(SnapshotError::Foreign { found });
        }
        over(
            to_usize(header.objects) > self.limits.objects,
            SnapshotLimit::Objects,
        )?;
        self.snapshot.epoch = header.epoch.map(Epoch::new);
        self.snapshot.revision = header.revision.map(Revision::parse);
        self.snapshot.rewinds = header.rewinds;
        self.snapshot.unnamed = to_usize(header.unnamed);
        check_tokens(
            self.snapshot.epoch.as_ref(),
            self.snapshot.revision.as_ref(),
            &self.limits,
        )?;
        Ok(Phase::Records {
            objects: header.objects,
            quarantined: header.quarantined,
        })
    }

    fn records(&mut self, mut body: &[u8]) -> Result<(), SnapshotError> {
        let at = self.at;
        while !body.is_empty() {
            let (record, rest): (Record<'_, K, V>, _) =
                postcard::take_from_bytes(body).map_err(|_| SnapshotError::Malformed { at })?;
            self.charge(body.len().saturating_sub(rest.len()))?;
            body = rest;
            match record {
                Record::Object {
                    key,
                    version,
                    incarnation,
                    size,
                    value,
                } => {
                    let object = Object {
                        key,
                        version: version.version(),
                        incarnation: incarnation.map(Into::into),
                        size: to_usize(size),
                        value,
                    };
                    self.tally.admit(&object, &self.limits)?;
                    self.snapshot.objects.push(object);
                }
                Record::Quarantined { key, why } => {
                    let length = K::bytes(key.borrow()).len();
                    over(length > self.limits.key_bytes, SnapshotLimit::Key)?;
                    self.quarantined = self.quarantined.saturating_add(1);
                    // What cannot be named is counted, as it always is.
                    if self.snapshot.quarantined.len() < self.limits.quarantined {
                        self.snapshot.quarantined.push((key, why.rejection()));
                    } else {
                        self.snapshot.unnamed = self.snapshot.unnamed.saturating_add(1);
                    }
                }
            }
        }
        Ok(())
    }

    /// What is decoded is bounded by what came, and that by the limits: the size that an object
    /// claims for itself may be a lie.
    fn charge(&mut self, record: usize) -> Result<(), SnapshotError> {
        let limits = &self.limits;
        let object = limits.token_bytes.saturating_add(RECORD_BYTES);
        let objects = self.tally.objects.saturating_add(1);
        let name = limits.key_bytes.saturating_add(WORDS_BYTES + RECORD_BYTES);
        let names = self.quarantined.saturating_add(1);
        let allowed = limits
            .bytes
            .saturating_add(object.saturating_mul(objects))
            .saturating_add(name.saturating_mul(names));
        self.encoded = self.encoded.saturating_add(record);
        over(self.encoded > allowed, SnapshotLimit::Bytes)
    }
}

impl<K, V> core::fmt::Debug for Decoder<K, V> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Decoder")
            .field("at", &self.at)
            .field("phase", &self.phase)
            .finish_non_exhaustive()
    }
}
