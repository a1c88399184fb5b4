//! Warm starts: what is written is what is restored, and what follows is told as differences.
#![cfg(feature = "snapshot")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may panic")]

mod damage;
mod limits;
mod restart;
#[path = "../rig/mod.rs"]
mod rig;
mod round_trip;

use std::sync::Arc;

use reflet_core::snapshot::{Decoder, Snapshot, SnapshotError};
use reflet_core::{Config, Informer, Limits};
use rig::{Mirror, Rig, Value};

const IDENTITY: &str = "test/routes/v1";

type Restored = Snapshot<Arc<str>, Value>;

fn bytes(rig: &Rig) -> Vec<u8> {
    let snapshot = rig.informer.snapshot().unwrap();
    snapshot.to_bytes(IDENTITY).unwrap().into()
}

fn decode(bytes: &[u8]) -> Result<Restored, SnapshotError> {
    decode_within(bytes, &Limits::default())
}

fn decode_within(bytes: &[u8], limits: &Limits) -> Result<Restored, SnapshotError> {
    let mut decoder = Decoder::new(IDENTITY, limits);
    decoder.push(bytes)?;
    decoder.finish()
}

/// A rig whose informer starts from a snapshot, and whose mirror has just joined.
fn restored(config: Config, bytes: &[u8]) -> Rig {
    let mut rig = Rig::new(config.clone());
    let snapshot = decode(bytes).unwrap();
    rig.informer = Informer::restore(config, 8, rig.now, snapshot).unwrap();
    rig.informer.set_content_eq(|a, b| a == b);
    rig.mirror = Mirror::new(&mut rig.informer);
    rig
}
