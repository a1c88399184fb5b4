//! From a snapshot to bytes, piece by piece.

use alloc::boxed::Box;
use alloc::string::ToString as _;
use alloc::vec::{IntoIter, Vec};

use serde::Serialize;

use crate::output::Rejection;
use crate::token::Epoch;

use super::format::{
    Checksum, HEAD, Header, IDENTITY_BYTES, MAGIC, PIECE, Record, SCHEMA, Stamp, Why,
};
use super::{Object, Snapshot, SnapshotError};

/// Writes a snapshot in pieces of some 64 KiB (one object more, where that is larger): what has
/// been written is let go of, and nothing is held twice.
pub struct Encoder<K, V> {
    objects: IntoIter<Object<K, V>>,
    quarantined: IntoIter<(K, Rejection)>,
    piece: Vec<u8>,
    checksum: Checksum,
    next: Next,
}

enum Next {
    Preamble(Vec<u8>),
    Records,
    Over,
}

impl<K: Serialize, V: Serialize> Snapshot<K, V> {
    /// Begins to write it. `identity` says what it is a snapshot of, in at most 4096 bytes: only
    /// who names the same can read it.
    ///
    /// # Errors
    /// [`SnapshotError::IdentityTooLong`].
    pub fn encode(self, identity: &str) -> Result<Encoder<K, V>, SnapshotError> {
        if identity.len() > IDENTITY_BYTES {
            return Err(SnapshotError::IdentityTooLong);
        }
        let revision = self.revision.as_ref().map(|revision| revision.to_string());
        let header = Header {
            identity,
            epoch: self.epoch.as_ref().map(Epoch::as_str),
            revision: revision.as_deref(),
            rewinds: self.rewinds,
            objects: self.objects.len() as u64,
            quarantined: self.quarantined.len() as u64,
            unnamed: self.unnamed as u64,
        };
        Ok(Encoder {
            next: Next::Preamble(append(Vec::new(), &header)?),
            objects: self.objects.into_iter(),
            quarantined: self.quarantined.into_iter(),
            piece: Vec::new(),
            checksum: Checksum::default(),
        })
    }
}

impl<K: Serialize, V: Serialize> Encoder<K, V> {
    /// The next bytes to write; `None`: these were all.
    ///
    /// # Errors
    /// [`SnapshotError::Unencodable`], after which nothing more comes.
    pub fn next_piece(&mut self) -> Result<Option<&[u8]>, SnapshotError> {
        match core::mem::replace(&mut self.next, Next::Over) {
            Next::Over => return Ok(None),
            Next::Preamble(header) => {
                self.piece.clear();
                self.piece.extend_from_slice(&MAGIC);
                self.piece.extend_from_slice(&SCHEMA.to_le_bytes());
                self.checksum.add(&self.piece);
                let from = self.piece.len();
                self.piece.extend_from_slice(&[0; HEAD]);
                self.piece.extend_from_slice(&header);
                self.seal(from)?;
                self.next = Next::Records;
            }
            Next::Records => {
                self.piece.clear();
                self.piece.extend_from_slice(&[0; HEAD]);
                let any = self.fill()?;
                self.seal(0)?;
                // A piece without records is the end.
                if any {
                    self.next = Next::Records;
                }
            }
        }
        Ok(Some(&self.piece))
    }

    /// Adds records until the piece is full. True if there were any.
    fn fill(&mut self) -> Result<bool, SnapshotError> {
        let mut piece = core::mem::take(&mut self.piece);
        let from = piece.len();
        while piece.len() < PIECE {
            if let Some(object) = self.objects.next() {
                let record = Record::Object {
                    key: &object.key,
                    version: Stamp::of(&object.version),
                    incarnation: object.incarnation.map(crate::Incarnation::number),
                    size: object.size as u64,
                    value: &object.value,
                };
                piece = append(piece, &record)?;
            } else if let Some((key, error)) = self.quarantined.next() {
                let why = Why::of(&error);
                piece = append(piece, &Record::Quarantined::<_, &V> { key: &key, why })?;
            } else {
                break;
            }
        }
        self.piece = piece;
        Ok(self.piece.len() > from)
    }

    /// Fills in the head of the piece that begins at `from`.
    fn seal(&mut self, from: usize) -> Result<(), SnapshotError> {
        let Some((head, body)) = self
            .piece
            .get_mut(from..)
            .and_then(|piece| piece.split_first_chunk_mut::<HEAD>())
        else {
            return Ok(());
        };
        // An object of 4 GiB.
        let length = u32::try_from(body.len()).map_err(|_| SnapshotError::Unencodable)?;
        let length = length.to_le_bytes();
        self.checksum.add(&length);
        self.checksum.add(body);
        let (first, second) = head.split_at_mut(length.len());
        first.copy_from_slice(&length);
        second.copy_from_slice(&self.checksum.value().to_le_bytes());
        Ok(())
    }
}

fn append(bytes: Vec<u8>, content: &impl Serialize) -> Result<Vec<u8>, SnapshotError> {
    postcard::to_extend(content, bytes).map_err(|_| SnapshotError::Unencodable)
}

impl<K, V> core::fmt::Debug for Encoder<K, V> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Encoder")
            .field("objects", &self.objects.len())
            .finish_non_exhaustive()
    }
}

/// A whole snapshot as bytes, for a caller who has the memory.
impl<K: Serialize, V: Serialize> Snapshot<K, V> {
    /// The whole snapshot at once. An [`Encoder`] gives the same bytes in pieces.
    ///
    /// # Errors
    /// Those of [`Self::encode`] and of [`Encoder::next_piece`].
    pub fn to_bytes(self, identity: &str) -> Result<Box<[u8]>, SnapshotError> {
        let mut encoder = self.encode(identity)?;
        let mut bytes = Vec::new();
        while let Some(piece) = encoder.next_piece()? {
            bytes.extend_from_slice(piece);
        }
        Ok(bytes.into())
    }
}
