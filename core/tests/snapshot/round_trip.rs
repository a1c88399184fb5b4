//! What is written is what is read, however it is cut into portions.

use std::collections::BTreeMap;
use std::sync::Arc;

use proptest::prelude::*;
use reflet_core::snapshot::Decoder;
use reflet_core::{
    Body, Epoch, Incarnation, Informer, Input, Item, Limits, Revision, RevisionOrder,
    SourceProfile, VersionRef,
};

use crate::IDENTITY;
use crate::rig::{Rig, config, plain_profile};

type Value = Arc<Vec<String>>;
type Told = BTreeMap<String, (String, Option<Incarnation>, usize, Value)>;

fn contents(informer: &Informer<Arc<str>, Value>) -> Told {
    let entries = informer.cache().iter();
    entries
        .map(|entry| {
            let value = Arc::clone(entry.value);
            let rest = (
                entry.version.to_string(),
                entry.incarnation,
                entry.size,
                value,
            );
            (entry.key.to_string(), rest)
        })
        .collect()
}

fn order(informer: &Informer<Arc<str>, Value>) -> Vec<Arc<str>> {
    informer
        .cache()
        .iter()
        .map(|entry| Arc::clone(entry.key))
        .collect()
}

prop_compose! {
    fn object()(
        key in ".{0,12}",
        version in prop_oneof!["[0-9]{0,24}", ".{0,8}"],
        incarnation in proptest::option::of(any::<u64>()),
        size in 0_usize..1_000,
        value in prop::collection::vec(".{0,40}", 0..4),
    ) -> (String, String, Option<u64>, usize, Vec<String>) {
        (key, version, incarnation, size, value)
    }
}

proptest! {
    #[test]
    fn what_is_written_is_what_is_restored(
        objects in prop::collection::vec(object(), 0..40),
        revision in ".{1,20}",
        epoch in proptest::option::of(".{0,20}"),
        portion in 1_usize..400,
    ) {
        let opaque = SourceProfile { order: RevisionOrder::Opaque, ..plain_profile() };
        let now = Rig::new(config(plain_profile())).now;
        let mut informer: Informer<Arc<str>, Value> = Informer::new(config(opaque), 7, now);
        let Some(reflet_core::Command::List { attempt, .. }) = informer.poll_command() else {
            return Err(TestCaseError::fail("no list"));
        };
        let (epoch, revision) = (epoch.as_deref().map(Epoch::new), Revision::parse(&revision));
        let page = Input::Page { epoch: epoch.clone(), revision: Some(revision.clone()) };
        informer.handle(now, attempt, page);
        for (key, version, incarnation, size, value) in &objects {
            let item = Item {
                key: key.as_str(),
                version: VersionRef::parse(version),
                incarnation: incarnation.map(Incarnation::from),
                size: *size,
                body: Body::Value(Arc::new(value.clone())),
            };
            informer.handle(now, attempt, Input::Item(item));
        }
        informer.handle(now, attempt, Input::PageEnd { next: None });

        let bytes = informer.snapshot().unwrap().to_bytes(IDENTITY).unwrap();
        let mut decoder = Decoder::new(IDENTITY, &Limits::default());
        for portion in bytes.chunks(portion) {
            prop_assert_eq!(decoder.push(portion), Ok(()));
        }
        let config = informer.config().clone();
        let restored = Informer::restore(config, 9, now, decoder.finish().unwrap()).unwrap();
        prop_assert_eq!(contents(&restored), contents(&informer));
        prop_assert_eq!(order(&restored), order(&informer));
        prop_assert_eq!(restored.cache().bytes(), informer.cache().bytes());
        let health = restored.health();
        prop_assert_eq!((health.epoch, health.revision), (epoch, Some(revision)));
        let again = restored.snapshot().unwrap().to_bytes(IDENTITY).unwrap();
        prop_assert_eq!(again, bytes);
    }

    #[test]
    fn no_bytes_do_harm(bytes in prop::collection::vec(any::<u8>(), 0..300), keep in 0_usize..120) {
        let (rig, _) = Rig::watching(config(plain_profile()));
        let good = crate::bytes(&rig);
        let mut whole = good.clone();
        whole.truncate(keep);
        whole.extend(bytes);
        prop_assume!(whole != good);
        prop_assert!(crate::decode(&whole).is_err());
    }
}

#[test]
fn large_objects_and_many_pieces_come_through() {
    let now = Rig::new(config(plain_profile())).now;
    let mut informer: Informer<Arc<str>, Value> = Informer::new(config(plain_profile()), 7, now);
    let Some(reflet_core::Command::List { attempt, .. }) = informer.poll_command() else {
        panic!("no list")
    };
    let page = Input::Page {
        epoch: None,
        revision: Some(7.into()),
    };
    informer.handle(now, attempt, page);
    for number in 0..2_000_u64 {
        let long = if number % 500 == 0 { 300_000 } else { 100 };
        let key = format!("object-{number}");
        let item = Item {
            key: key.as_str(),
            version: number.into(),
            incarnation: None,
            size: long,
            body: Body::Value(Arc::new(vec!["x".repeat(long)])),
        };
        informer.handle(now, attempt, Input::Item(item));
    }
    informer.handle(now, attempt, Input::PageEnd { next: None });

    let mut encoder = informer.snapshot().unwrap().encode(IDENTITY).unwrap();
    let mut decoder = Decoder::new(IDENTITY, &Limits::default());
    let mut pieces = 0;
    while let Some(piece) = encoder.next_piece().unwrap() {
        assert!(
            piece.len() < 64 * 1_024 + 300_200,
            "{} bytes at once",
            piece.len()
        );
        decoder.push(piece).unwrap();
        pieces += 1;
    }
    assert!(pieces > 5, "{pieces}");
    let snapshot = decoder.finish().unwrap();
    let restored = Informer::restore(config(plain_profile()), 9, now, snapshot).unwrap();
    assert_eq!(contents(&restored), contents(&informer));
}
