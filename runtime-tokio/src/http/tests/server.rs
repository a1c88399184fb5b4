//! The source against this crate's own server.

use std::io;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use reflet_core::{Epoch, FailureClass, Revision, WatchFrom};
use serde_json::Value;
use tokio::io::{DuplexStream, duplex};

use super::rig::{Recorder, page_request};
use crate::http::{Connect, HttpSource, PollTiming, Target, Transport};
use crate::serve::{
    Change, Collection, CollectionOptions, Continuity, Precondition, Publish, to_raw_value,
};
use crate::source::{ListRequest, Source, WatchRequest};

/// Serves each connection from a router.
struct Served(Router);

impl Connect for Served {
    type Stream = DuplexStream;

    async fn connect(&self, _: &Target) -> io::Result<DuplexStream> {
        let (ours, theirs) = duplex(4 << 10);
        let service = TowerToHyperService::new(self.0.clone());
        let connection = http1::Builder::new().serve_connection(TokioIo::new(theirs), service);
        tokio::spawn(connection.with_upgrades());
        Ok(ours)
    }
}

fn serve(transport: Transport) -> (Collection, HttpSource<Value>) {
    let collection = Collection::new("things", CollectionOptions::default()).unwrap();
    let router = Publish::new().collection(&collection).router();
    let source = HttpSource::builder("http://server", "things")
        .transport(transport)
        .connector(Served(router))
        .build();
    (collection, source.unwrap())
}

fn transports() -> [Transport; 4] {
    [
        Transport::JsonLines,
        Transport::ServerSentEvents,
        Transport::WebSocket,
        Transport::LongPoll(PollTiming::default()),
    ]
}

fn put(collection: &Collection, key: &str, value: u32) {
    let value = to_raw_value(&value).unwrap();
    collection.put(key, value, Precondition::None).unwrap();
}

#[tokio::test(start_paused = true)]
async fn all_pages_of_a_list_arrive() {
    let (collection, source) = serve(Transport::JsonLines);
    for (value, key) in ["a", "b\"\\", "ç/ %2F", "d", "e"].into_iter().zip(0..) {
        put(&collection, value, key);
    }
    let recorder = Recorder::default();
    let mut page = None;
    for _ in 0..3 {
        let request = ListRequest {
            page: page.take(),
            limit: 2,
            at_least: Some(5.into()),
            ..page_request()
        };
        source.list(request, &mut recorder.sink()).await.unwrap();
        let last = recorder.said().last().cloned().unwrap_or_default();
        page = last.strip_prefix("page end ").map(Into::into);
    }
    assert_eq!(page.as_deref(), Some("-"));
    let said = recorder.said();
    let items: Vec<_> = said
        .iter()
        .filter(|said| said.starts_with("item"))
        .collect();
    assert_eq!(
        items,
        [
            "item a@1 Number(0)",
            "item b\"\\@2 Number(1)",
            "item d@4 Number(3)",
            "item e@5 Number(4)",
            "item ç/ %2F@3 Number(2)",
        ]
    );
    let begin = format!("page {} 5", collection.epoch());
    assert_eq!(said.iter().filter(|said| **said == begin).count(), 3);
}

#[tokio::test(start_paused = true)]
async fn transactions_arrive_whole_by_every_transport_until_the_server_is_restored() {
    for transport in transports() {
        let (collection, source) = serve(transport);
        put(&collection, "a", 1);
        let request = WatchRequest {
            from: WatchFrom::Revision(Revision::from(1)),
            epoch: Some(Epoch::new(&collection.epoch())),
        };
        let recorder = Recorder::default();
        let mut sink = recorder.sink();
        let changing = async {
            tokio::time::sleep(Duration::from_secs(5)).await;
            let changes = vec![
                Change::Put {
                    key: "b".to_owned(),
                    value: to_raw_value(&2).unwrap(),
                    precondition: Precondition::None,
                },
                Change::Delete {
                    key: "a".to_owned(),
                    precondition: Precondition::Exists,
                },
            ];
            collection.transaction(changes).unwrap();
            tokio::time::sleep(Duration::from_secs(100)).await;
            let export = collection.export();
            collection.restore(&export, Continuity::NewEpoch).unwrap();
        };
        let (outcome, ()) = tokio::join!(source.watch(request, &mut sink), changing);
        assert_eq!(outcome.unwrap_err().class, FailureClass::Gone);

        let said = recorder.said();
        let changes = said.iter().filter(|said| {
            !(said.starts_with("opened") || said.starts_with("progress") || *said == "heartbeat")
        });
        assert_eq!(
            changes.collect::<Vec<_>>(),
            [
                "upsert b@2 1<2 Number(2)",
                "delete a 1<2 Some(Number(1))",
                "batch end 2",
            ],
            "{transport:?}"
        );
        let progress = said.iter().filter(|said| said.starts_with("progress 2"));
        assert!(progress.count() > 0, "{said:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn another_epoch_is_gone_and_the_future_is_behind() {
    for transport in transports() {
        let (collection, source) = serve(transport);
        let present = Epoch::new(&collection.epoch());
        let cases = [
            (0, Epoch::new("other"), FailureClass::Gone),
            (9, present, FailureClass::Behind),
        ];
        for (from, epoch, class) in cases {
            let request = WatchRequest {
                from: WatchFrom::Revision(Revision::from(from)),
                epoch: Some(epoch),
            };
            let recorder = Recorder::default();
            let outcome = source.watch(request, &mut recorder.sink()).await;
            assert_eq!(outcome.unwrap_err().class, class);
            assert!(recorder.said().is_empty());
        }
        let request = ListRequest {
            at_least: Some(9.into()),
            ..page_request()
        };
        let outcome = source.list(request, &mut Recorder::default().sink()).await;
        assert_eq!(outcome.unwrap_err().class, FailureClass::Behind);
    }
}
