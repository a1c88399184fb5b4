//! The same transactions, seen in different ways: by each transport and by a mapping of the protocol,
//! by watches and by lists alone, in large and small pages, through wide and narrow connections, from
//! the start or from somewhere in the middle.
//!
//! The first eight bytes say how pages, answers and connections are cut; each 8 bytes after them are a
//! transaction, a compaction, a pause, a break of all connections, or somebody who begins to follow. In
//! the end everybody must have what was published; and who was there from the start and missed nothing
//! must have been told of every version of every object, in its order.

mod follow;
mod network;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use arbitrary::{Result, Unstructured};
use reflet_tokio::serve::{
    Change, Collection, CollectionOptions, Continuity, EXPORT_FORMAT, Export, Precondition,
    to_raw_value,
};
use tokio::time::sleep;

use crate::seen::{Seen, on_paused_time};
use follow::{Followed, WAYS, Way};
use network::Network;

/// The bytes of a step.
const STEP: usize = 8;
/// No more steps than that.
const MOST: usize = 60;
/// Longer than any wait that a break of a connection can bring, and than a poll's period.
const SETTLED: Duration = Duration::from_secs(60);

const KEYS: [&str; 8] = ["a", "b", "c", "d", "é", "f/g", "h i", "\u{1f600}"];

/// Each value that was ever written, by key; `None`: the object was deleted.
type Versions = BTreeMap<String, Vec<Option<String>>>;

pub(crate) fn run(data: &[u8]) -> Result<()> {
    let Some((head, rest)) = data.split_first_chunk::<8>() else {
        return Ok(());
    };
    on_paused_time(play(*head, rest))
}

async fn play(head: [u8; 8], rest: &[u8]) -> Result<()> {
    let [items, bytes, polled, buffer, wide, page, ..] = head;
    let mut options = CollectionOptions::default();
    options.default_page_items = usize::from(polled % 8) + 1;
    options.max_page_items = usize::from(items % 8) + 1;
    options.max_page_bytes = usize::from(bytes) * 4 + 1;
    options.watcher_buffer_bytes = usize::from(buffer) * 4 + 1;
    let export = Export {
        format: EXPORT_FORMAT,
        name: "things".to_owned(),
        epoch: "e".to_owned(),
        revision: 0,
        objects: Vec::new(),
    };
    let Ok(things) = Collection::restored(&export, Continuity::SameEpoch, options) else {
        unreachable!("an empty export is a valid one");
    };
    let network = Network::new(&things, usize::from(wide) * 8 + 1);
    let page_items = u32::from(page % 8) + 1;
    let mut source = Source {
        things,
        versions: Versions::new(),
        writes: 0,
    };

    let first = WAYS.iter().map(|way| way.follow(&network, page_items));
    let mut first: Vec<Followed> = first.collect();
    let mut late = Vec::new();
    sleep(Duration::from_secs(1)).await;
    // Every version is told to who has taken what there was before.
    for followed in &mut first {
        followed.look().await;
    }
    for record in rest.chunks(STEP).take(MOST) {
        let mut record = Unstructured::new(record);
        match record.int_in_range(0..=15_u8)? {
            0 => source.things.compact(
                source
                    .things
                    .revision()
                    .saturating_sub(record.int_in_range(0..=3)?),
            ),
            1 => network.cut(),
            2 if late.len() < 4 => {
                late.push(record.choose(&WAYS)?.follow(&network, page_items));
            }
            2..6 => {
                sleep(Duration::from_millis(record.int_in_range(0..=2_000)?)).await;
                for followed in &mut first {
                    followed.look().await;
                }
            }
            _ => source.write(&mut record)?,
        }
    }
    sleep(SETTLED).await;
    let from_the_start = first.len();
    for (index, followed) in first.into_iter().chain(late).enumerate() {
        let way = followed.way;
        let seen = followed.end().await;
        source.compare(way, &seen, index < from_the_start);
    }
    Ok(())
}

/// What is published, and everything that was ever written.
struct Source {
    things: Collection,
    versions: Versions,
    writes: u64,
}

impl Source {
    fn write(&mut self, record: &mut Unstructured<'_>) -> Result<()> {
        let count = record.int_in_range(1..=3_u8)?;
        let (mut changes, mut written) = (Vec::new(), BTreeMap::new());
        for _ in 0..count {
            let key = *record.choose(&KEYS)?;
            if written.contains_key(key) {
                continue;
            }
            let exists = self.things.get(key).is_some();
            if exists && record.ratio(1, 3)? {
                written.insert(key, None);
                changes.push(Change::Delete {
                    key: key.to_owned(),
                    precondition: Precondition::None,
                });
                continue;
            }
            self.writes += 1;
            let value = "x".repeat(record.int_in_range(0..=40)?);
            let value = format!("{}{value}", self.writes);
            let Ok(raw) = to_raw_value(&value) else {
                unreachable!("a text can be encoded");
            };
            written.insert(key, Some(value));
            changes.push(Change::Put {
                key: key.to_owned(),
                value: raw,
                precondition: Precondition::None,
            });
        }
        if let Err(error) = self.things.transaction(changes) {
            unreachable!("this transaction is a valid one: {error}");
        }
        for (key, value) in written {
            let value = value.map(|value| format!("{value:?}"));
            self.versions.entry(key.to_owned()).or_default().push(value);
        }
        Ok(())
    }

    fn compare(&self, way: Way, seen: &Seen, from_the_start: bool) {
        let newest = |versions: &Vec<Option<String>>| versions.last().cloned().flatten();
        let wanted = self.versions.iter();
        let wanted = wanted.filter_map(|(key, all)| Some((key.clone(), newest(all)?)));
        assert_eq!(seen.objects, wanted.collect(), "{way:?}: {seen:#?}");
        if way.promises_every_version() && from_the_start && !seen.gap {
            assert_eq!(seen.versions, self.versions, "{way:?}: {:#?}", seen.notices);
        }
        // What was told of was written, and in this order.
        for (key, told) in &seen.versions {
            let mut all = self.versions.get(key).into_iter().flatten();
            let in_order = told
                .iter()
                .flatten()
                .all(|value| all.any(|written| written.as_ref() == Some(value)));
            assert!(in_order, "{way:?}: {key}: {told:?}");
        }
        let known: BTreeSet<_> = seen.versions.keys().collect();
        assert!(known.iter().all(|key| self.versions.contains_key(*key)));
    }
}
