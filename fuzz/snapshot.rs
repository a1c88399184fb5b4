//! Snapshots from bytes that nobody wrote, and from bytes that somebody wrote and something changed.

use std::sync::Arc;
use std::time::Duration;

use arbitrary::{Result, Unstructured};
use reflet_core::snapshot::{Decoder, Snapshot, SnapshotError};
use reflet_core::{
    Attempt, Body, Command, Config, Epoch, Informer, Input, Item, State, Timestamp, VersionRef,
};

use crate::records::text;

type Engine = Informer<Arc<str>, String>;
type Kept = Snapshot<Arc<str>, String>;

const IDENTITY: &str = "fuzz";
const NOW: Timestamp = Timestamp::from_millis(1_000);

/// Small, so that inputs get beyond the limits.
fn config() -> Config {
    let mut config = Config::default();
    let limits = &mut config.limits;
    limits.objects = 40;
    limits.bytes = 2_000;
    limits.key_bytes = 24;
    limits.token_bytes = 24;
    limits.quarantined = 3;
    config
}

pub(crate) fn run(data: &[u8]) -> Result<()> {
    let Some((kind, rest)) = data.split_first() else {
        return Ok(());
    };
    match kind % 3 {
        0 => decode_portions(rest),
        1 => decode_portions(&framed(rest)),
        _ => return damaged(rest),
    }
    Ok(())
}

/// What is read does not depend on the portions in which it comes, and can be used or is refused.
fn decode_portions(bytes: &[u8]) {
    let whole = decode(bytes, usize::MAX);
    for portion in [1, 7] {
        let cut = decode(bytes, portion);
        assert_eq!(
            cut.as_ref().map(content),
            whole.as_ref().map(content),
            "in portions of {portion}"
        );
    }
    if let Ok(snapshot) = whole {
        use_it(snapshot);
    }
}

fn decode(bytes: &[u8], portion: usize) -> Result<Kept, SnapshotError> {
    let mut decoder = Decoder::new(IDENTITY, &config().limits);
    let mut outcome = Ok(());
    for portion in bytes.chunks(portion) {
        let next = decoder.push(portion);
        if outcome.is_err() {
            assert_eq!(next, outcome, "an error stays what it is");
        }
        outcome = next;
    }
    let finished = decoder.finish();
    match outcome {
        Ok(()) => finished,
        Err(error) => {
            assert_eq!(finished.err().as_ref(), Some(&error));
            Err(error)
        }
    }
}

/// What a snapshot says, in its order.
fn content(snapshot: &Kept) -> (String, Vec<(String, String, String)>) {
    let objects = snapshot
        .iter()
        .map(|(key, version, value)| (key.to_string(), version.to_string(), value.clone()));
    (format!("{snapshot:?}"), objects.collect())
}

/// Whatever could be decoded is within the limits, and starts an informer or is refused.
fn use_it(snapshot: Kept) {
    let limits = config().limits;
    assert!(snapshot.len() <= limits.objects);
    for (key, version, _) in snapshot.iter() {
        assert!(key.len() <= limits.key_bytes);
        assert!(version.to_string().len() <= limits.token_bytes);
    }
    let objects = snapshot.len();
    let Ok(mut informer) = Engine::restore(config(), 7, NOW, snapshot) else {
        return;
    };
    let health = informer.health();
    assert_eq!(health.state, State::Stale, "restored, and not confirmed");
    assert!(!informer.is_synced());
    assert!(health.objects <= objects, "a key counts once");
    assert!(informer.poll_command().is_some() || informer.poll_timeout().is_some());
    if let Some(again) = informer.snapshot() {
        assert_eq!(again.len(), health.objects);
        round_trip(again);
    }
}

/// What was written is read again as it was.
fn round_trip(snapshot: Kept) -> Box<[u8]> {
    let written = content(&snapshot);
    let Ok(bytes) = snapshot.to_bytes(IDENTITY) else {
        unreachable!("text can be encoded");
    };
    let read = decode(&bytes, 64).map(|snapshot| content(&snapshot));
    assert_eq!(read, Ok(written));
    bytes
}

/// Pieces as they are in a file, with right checksums: a piece's length in a byte, then its bytes.
fn framed(mut rest: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::from(*b"\x89REFLET\n\x01\0\0\0");
    let mut checksum = crc32fast::Hasher::new();
    checksum.update(&bytes);
    while let Some((length, more)) = rest.split_first() {
        let (piece, more) = more.split_at(more.len().min(usize::from(*length)));
        rest = more;
        let length = (piece.len() as u32).to_le_bytes();
        checksum.update(&length);
        checksum.update(piece);
        bytes.extend(length);
        bytes.extend(checksum.clone().finalize().to_le_bytes());
        bytes.extend(piece);
    }
    bytes
}

/// A snapshot of a state that the input describes, as it was written and with something changed.
fn damaged(rest: &[u8]) -> Result<()> {
    let (damage, state) = rest.split_at(rest.len().min(4));
    let bytes = round_trip(described(state)?);
    let mut damage = Unstructured::new(damage);
    let mut changed = bytes.to_vec();
    match damage.int_in_range(0..=2)? {
        0 => {
            let at = damage.choose_index(changed.len())?;
            let bits = damage.int_in_range(1..=255_u8)?;
            if let Some(byte) = changed.get_mut(at) {
                *byte ^= bits;
            }
        }
        1 => changed.truncate(damage.choose_index(changed.len())?),
        _ => changed.extend_from_slice(state.get(..1).unwrap_or(&[0])),
    }
    // A burst of up to 32 bits is always found.
    assert!(decode(&changed, usize::MAX).is_err(), "it was changed");
    Ok(())
}

/// What an informer holds that was told of these objects.
fn described(state: &[u8]) -> Result<Kept> {
    let mut informer = Engine::new(config(), 7, NOW);
    let Some(Command::List { attempt, .. }) = informer.poll_command() else {
        unreachable!("an informer begins with a list");
    };
    let epoch = Some(Epoch::new("e"));
    let revision = Some(9.into());
    informer.handle(NOW, attempt, Input::Page { epoch, revision });
    for record in state.chunks(8) {
        item(&mut informer, attempt, &mut Unstructured::new(record))?;
    }
    informer.handle(NOW, attempt, Input::PageEnd { next: None });
    // Over a limit nothing is applied; then it is the snapshot of an empty list.
    Ok(informer.snapshot().unwrap_or_else(empty))
}

fn item(informer: &mut Engine, attempt: Attempt, record: &mut Unstructured<'_>) -> Result<()> {
    let key = text(record, 3)?;
    let (number, size) = (record.arbitrary::<u8>()?, record.int_in_range(0..=80)?);
    let version = format!("{}{number}", ["", "v"][usize::from(number % 2)]);
    let body = match record.int_in_range(0..=7)? {
        0 => Body::Undecodable("it was spoilt"),
        _ => Body::Value(text(record, 3)?),
    };
    let item = Item {
        key: key.as_str(),
        version: VersionRef::parse(&version),
        incarnation: record
            .arbitrary::<bool>()?
            .then(|| u64::from(number).into()),
        size,
        body,
    };
    informer.handle(NOW, attempt, Input::Item(item));
    Ok(())
}

fn empty() -> Kept {
    let mut informer = Engine::new(config(), 7, NOW);
    let Some(Command::List { attempt, .. }) = informer.poll_command() else {
        unreachable!("an informer begins with a list");
    };
    let (epoch, revision) = (None, Some(1.into()));
    informer.handle(NOW, attempt, Input::Page { epoch, revision });
    informer.handle(NOW, attempt, Input::PageEnd { next: None });
    informer.handle_timeout(NOW.saturating_add(Duration::ZERO));
    let Some(snapshot) = informer.snapshot() else {
        unreachable!("an empty list is a state");
    };
    snapshot
}
