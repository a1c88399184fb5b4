//! A snapshot that is not what was written is refused, and says why.

use std::sync::Arc;

use reflet_core::Limits;
use reflet_core::snapshot::{Decoder, SCHEMA, SnapshotError};

use crate::rig::{Rig, Value, config, full_profile};
use crate::{IDENTITY, bytes, decode};

fn small() -> Vec<u8> {
    let mut rig = Rig::new(config(full_profile()));
    let list = rig.expect_list();
    rig.page(list, Some("one"), 10, &[("a", 1), ("b", 2_000)], None);
    bytes(&rig)
}

#[test]
fn every_flipped_bit_is_found() {
    let good = small();
    for bit in 0..good.len() * 8 {
        let mut bad = good.clone();
        bad[bit / 8] ^= 1 << (bit % 8);
        assert!(decode(&bad).is_err(), "bit {bit} of {}", good.len() * 8);
    }
}

#[test]
fn every_truncation_is_found() {
    let good = small();
    for end in 0..good.len() {
        let truncated = SnapshotError::Truncated { bytes: end as u64 };
        assert_eq!(decode(&good[..end]).map(|_| ()), Err(truncated));
    }
}

#[test]
fn every_doubled_or_missing_stretch_is_found() {
    let good = small();
    for from in 0..good.len() {
        for to in from + 1..=good.len() {
            let without = [&good[..from], &good[to..]].concat();
            assert!(decode(&without).is_err(), "without {from}..{to}");
            let doubled = [&good[..to], &good[from..]].concat();
            assert!(decode(&doubled).is_err(), "twice {from}..{to}");
        }
    }
}

#[test]
fn what_follows_the_end_is_refused() {
    let mut bytes = small();
    let at = bytes.len() as u64;
    bytes.push(0);
    assert_eq!(
        decode(&bytes).map(|_| ()),
        Err(SnapshotError::TrailingBytes { at })
    );
}

#[test]
fn another_file_is_no_snapshot() {
    let error = decode(b"{\"kind\": \"Config\"}").map(|_| ());
    assert_eq!(error, Err(SnapshotError::NotASnapshot));
}

#[test]
fn a_newer_schema_is_named() {
    let mut bytes = small();
    bytes[8..12].copy_from_slice(&(SCHEMA + 1).to_le_bytes());
    let found = SCHEMA + 1;
    assert_eq!(
        decode(&bytes).map(|_| ()),
        Err(SnapshotError::UnknownSchema { found })
    );
}

#[test]
fn a_snapshot_of_something_else_is_named() {
    let mut decoder = Decoder::<Arc<str>, Value>::new("test/backends/v1", &Limits::default());
    let foreign = Err(SnapshotError::Foreign {
        found: IDENTITY.into(),
    });
    assert_eq!(decoder.push(&small()), foreign);
    assert_eq!(decoder.push(b"more"), foreign, "the first error stays");
    assert_eq!(decoder.finish().map(|_| ()), foreign);
}

#[test]
fn values_of_another_type_are_refused() {
    let mut decoder = Decoder::<Arc<str>, String>::new(IDENTITY, &Limits::default());
    assert!(matches!(
        decoder.push(&small()),
        Err(SnapshotError::Malformed { .. })
    ));
}

#[test]
fn an_identity_has_its_limit() {
    let (rig, _) = Rig::watching(config(full_profile()));
    let identity = "x".repeat(4097);
    let error = rig.informer.snapshot().unwrap().to_bytes(&identity);
    assert_eq!(error, Err(SnapshotError::IdentityTooLong));
}

#[test]
fn errors_say_what_to_do() {
    let damaged = SnapshotError::Damaged { at: 12 }.to_string();
    assert!(
        damaged.contains("byte 12") && damaged.contains("remove it"),
        "{damaged}"
    );
    let foreign = SnapshotError::Foreign { found: "x".into() }.to_string();
    assert!(
        foreign.contains("\"x\"") && foreign.contains("identity"),
        "{foreign}"
    );
}
