//! The ways in which a collection is followed.

use std::sync::Arc;

use reflet_tokio::http::rest::{Mapping, RestSource};
use reflet_tokio::http::{HttpSource, PollTiming, Transport};
use reflet_tokio::reflet_core::Limits;
use serde_json::json;

use super::network::Network;
use crate::seen::{Onlooker, Seen};

const URL: &str = "http://server:8080";

/// One way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    Lines,
    ServerSent,
    WebSocket,
    LongPoll,
    /// The protocol's lines, read by a mapping.
    Mapped,
    /// The protocol's lists alone, read by a mapping that knows of no revisions.
    Polled,
}

pub(super) const WAYS: [Way; 6] = [
    Way::Lines,
    Way::ServerSent,
    Way::WebSocket,
    Way::LongPoll,
    Way::Mapped,
    Way::Polled,
];

impl Way {
    /// Lists that are taken again and again do not show what came and went between them.
    pub(super) fn promises_every_version(self) -> bool {
        self != Self::Polled
    }

    /// Begins to follow, with pages of so many objects.
    pub(super) fn follow(self, network: &Network, page_items: u32) -> Followed {
        let limits = Limits {
            page_items,
            ..Limits::default()
        };
        let transport = match self {
            Self::Lines => Transport::JsonLines,
            Self::ServerSent => Transport::ServerSentEvents,
            Self::WebSocket => Transport::WebSocket,
            Self::LongPoll => Transport::LongPoll(PollTiming::default()),
            Self::Mapped | Self::Polled => {
                let mapping = self.mapping();
                let source = RestSource::<String>::builder(URL, mapping).connector(network.clone());
                let Ok(source) = source.build() else {
                    unreachable!("this mapping is a valid one");
                };
                return Followed {
                    way: self,
                    onlooker: Onlooker::start(source, limits),
                };
            }
        };
        let source = HttpSource::<String>::builder(URL, "things")
            .transport(transport)
            .connector(network.clone());
        let Ok(source) = source.build() else {
            unreachable!("a URL of our own");
        };
        Followed {
            way: self,
            onlooker: Onlooker::start(source, limits),
        }
    }

    fn mapping(self) -> Mapping {
        let watched = self == Self::Mapped;
        let mut json = json!({
            "list": {
                "path": "v1/things", "items": "/items", "consistency": "list",
                "paging": {"token": {"at": "/continue", "query": "continue"}}, "limit": "limit",
            },
            "object": {"key": "/key", "value": "/value"},
        });
        if watched {
            json["list"]["revision"] = json!({"field": {"at": "/revision", "order": "ordered"}});
            json["list"]["epoch"] = json!({"field": "/epoch"});
            json["object"]["version"] = json!({"field": {"at": "/version", "order": "commit"}});
            json["object"]["uid"] = json!("/uid");
            json["watch"] = json!({"changes": {
                "path": "v1/things", "query": {"watch": "jsonl"}, "resume": {"query": "from"},
                "events": {
                    "revision": {"field": "/revision"}, "previous": "/previous",
                    "transactions": {"last": "/last"}, "status": "/status",
                },
            }});
        }
        match serde_json::from_value(json) {
            Ok(mapping) => mapping,
            Err(error) => unreachable!("this is a mapping: {error}"),
        }
    }
}

/// Somebody who follows in one way.
pub(super) struct Followed {
    pub(super) way: Way,
    onlooker: Onlooker<Arc<String>>,
}

impl Followed {
    pub(super) async fn look(&mut self) {
        self.onlooker.look().await;
    }

    pub(super) async fn end(self) -> Seen {
        self.onlooker.end().await
    }
}
