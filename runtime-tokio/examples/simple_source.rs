//! A source of one's own: a table in memory that says when it changed.
//!
//! `cargo run -p reflet-tokio --example simple_source`

use std::collections::BTreeMap;

use reflet_tokio::reflet_core::{Class, Failure, Feed, SourceProfile, VersionRef};
use reflet_tokio::source::{Envelope, Frame, ListRequest, Payload, Sink, Source, WatchRequest};
use reflet_tokio::{Handler, Informer};
use tokio::sync::watch;

/// What is to be mirrored: rows with a version and a text, and a revision of the whole.
#[derive(Clone, Default)]
struct Table {
    revision: u64,
    rows: BTreeMap<&'static str, (u64, &'static str)>,
}

impl Table {
    fn put(&mut self, key: &'static str, text: &'static str) {
        self.revision += 1;
        self.rows.insert(key, (self.revision, text));
    }

    fn delete(&mut self, key: &str) {
        self.revision += 1;
        self.rows.remove(key);
    }
}

struct TableSource {
    table: watch::Receiver<Table>,
}

impl Source for TableSource {
    type Value = &'static str;

    fn profile(&self) -> SourceProfile {
        SourceProfile {
            feed: Feed::HintOnly,
            class: Class::Whole,
            ..SourceProfile::default()
        }
    }

    async fn list(&self, _: ListRequest, sink: &mut Sink<&'static str>) -> Result<(), Failure> {
        let table = self.table.borrow().clone();
        sink.page(None, Some(table.revision.into()));
        let rows = table.rows.iter();
        let frames = rows.map(|(key, &(version, text))| Frame::Upsert {
            envelope: Envelope {
                key,
                version: VersionRef::from(version),
                incarnation: None,
                size: key.len() + text.len(),
            },
            payload: Payload::Value(text),
            commit: None,
        });
        sink.feed(frames.collect()).await;
        sink.page_end(None);
        Ok(())
    }

    async fn watch(&self, _: WatchRequest, sink: &mut Sink<&'static str>) -> Result<(), Failure> {
        // A copy of the receiver has not seen what `self` has not seen, so no change falls between
        // a list and the watch.
        let mut table = self.table.clone();
        sink.opened(None);
        while table.changed().await.is_ok() {
            sink.frame(Frame::Hint);
        }
        Ok(())
    }
}

/// Prints what it is told.
struct Printer;

impl Handler<&'static str> for Printer {
    fn added(&mut self, key: std::sync::Arc<str>, new: &'static str) {
        println!("+ {key}: {new}");
    }

    fn updated(&mut self, key: std::sync::Arc<str>, old: &'static str, new: &'static str) {
        println!("~ {key}: {old} -> {new}");
    }

    fn deleted(&mut self, key: std::sync::Arc<str>, seen: &'static str, _: &'static str, _: bool) {
        println!("- {key}: {seen}");
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let (table, receiver) = watch::channel(Table::default());
    table.send_modify(|table| table.put("apple", "green"));
    table.send_modify(|table| table.put("plum", "blue"));

    let informer = Informer::builder(TableSource { table: receiver }).start();
    informer.handle(Printer).synced().await?;

    table.send_modify(|table| table.put("apple", "red"));
    table.send_modify(|table| table.delete("plum"));
    let mut status = informer.status();
    status
        .wait_for(|status| status.revision == Some(4.into()))
        .await?;

    informer.shutdown().await;
    println!("{:?}", informer.objects());
    Ok(())
}
