//! A service, and an informer that follows it by a mapping.

use std::time::Duration;

use reflet_tokio::Informer;
use reflet_tokio::http::rest::{Mapping, RestSource};
use reflet_tokio::reflet_core::OnRewind;
use serde_json::{Value, json};

use crate::followed::Followed as FollowedBy;
use crate::network::Network;
use crate::service::{Config, Service};

pub(crate) type Followed = FollowedBy<Config>;

/// The time between two polls.
pub(crate) const POLL: Duration = Duration::from_secs(10);

/// A service with two configs, how it is reached, and who follows it.
pub(crate) async fn followed(mapping: Value) -> (Service, Network, Followed) {
    followed_with(mapping, OnRewind::default()).await
}

pub(crate) async fn followed_with(
    mapping: Value,
    rewind: OnRewind,
) -> (Service, Network, Followed) {
    let service = Service::new();
    service.put("a", "1");
    service.put("b", "2");
    let network = Network::default();
    network.listen(service.router());
    let mut followed = follow(&network, mapping, rewind);
    followed.has_all(&service).await;
    followed.heard().await;
    (service, network, followed)
}

fn follow(network: &Network, mapping: Value, rewind: OnRewind) -> Followed {
    let mapping: Mapping = serde_json::from_value(mapping).unwrap();
    let source = RestSource::<Config>::builder("http://configs.example", mapping)
        .connector(network.clone())
        .build()
        .unwrap();
    let informer = Informer::builder(source)
        .timing(|timing| timing.poll_interval = POLL)
        .policy(|policy| policy.rewind = rewind)
        .seed(7);
    Followed::by(informer.start())
}

impl Followed {
    /// Waits until it is live and has what the service has.
    pub(crate) async fn has_all(&self, service: &Service) {
        self.has(&service.truth()).await;
    }
}

/// The classic list: an array, whose revision is in a header. Each version is the revision of the
/// change that made it.
pub(crate) fn classic() -> Value {
    json!({
        "list": {
            "path": "configs",
            "revision": { "header": { "name": "X-Resource-Version", "order": "ordered" } },
            "consistency": "page",
        },
        "object": {
            "key": "/id",
            "version": { "field": { "at": "/version", "order": "commit" } },
        },
    })
}

/// A mapping with other words in it, each at a pointer whose parent is there.
pub(crate) fn with(mut mapping: Value, words: &[(&str, Value)]) -> Value {
    for (at, word) in words {
        let (place, name) = at.rsplit_once('/').unwrap();
        mapping.pointer_mut(place).unwrap()[name] = word.clone();
    }
    mapping
}
