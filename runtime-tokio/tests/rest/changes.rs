//! Services that tell of changes: the same stories for each form in which they do.

use reflet_tokio::reflet_core::{FailureClass, Notice as Said, State};
use serde_json::{Value, json};
use tokio::time::sleep;

use crate::rig::{Followed, classic, followed, with};
use crate::service::Service;
use crate::streams::HEARTBEAT;

/// A way in which a service tells of changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// `{"event":"ADD","id":…,"name":…,"value":…,"version":…,"lastUpdated":…}`, a line each.
    Lines,
    /// `{"Type":"ADD","Config":{"id":…,"version":…}}`, a line each.
    Envelopes,
    /// Server-sent events.
    ServerSent,
    /// Messages of a WebSocket.
    Socket,
    /// Answers to long polls.
    Poll,
}

impl Form {
    pub(crate) fn mapping(self) -> Value {
        let watch = match self {
            Self::Lines => changes("configs/watch", json!("json_lines"), flat()),
            Self::Envelopes => changes("configs/envelopes", json!("json_lines"), enveloped()),
            Self::ServerSent => with(
                changes(
                    "configs/sse",
                    json!({ "server_sent_events": {} }),
                    labelled(),
                ),
                &[("/changes/resume", json!({ "header": "Last-Event-ID" }))],
            ),
            Self::Socket => changes("configs/socket", json!({ "web_socket": {} }), flat()),
            Self::Poll => json!({ "long_poll": {
                "path": "configs/poll",
                "resume": { "query": "resourceVersion" },
                "wait": { "query": "wait", "value": "20", "at_once": "0" },
                "items": "/events",
                "up_to": { "header": "X-Resource-Version" },
                "events": flat(),
                "refusals": { "gone": [400], "behind": [409] },
                "held_ms": 20_000,
            }}),
        };
        with(classic(), &[("/watch", watch)])
    }
}

fn changes(path: &str, stream: Value, events: Value) -> Value {
    json!({ "changes": {
        "path": path,
        "stream": stream,
        "resume": { "query": "resourceVersion" },
        "events": events,
        "refusals": { "gone": [400], "behind": [409] },
        "heartbeat_ms": 10_000,
    }})
}

fn flat() -> Value {
    json!({
        "name": { "field": "/event" },
        "upsert": ["ADD", "UPDATE"],
        "delete": ["DELETE"],
        "gone": ["EXPIRED"],
        "transactions": "single",
    })
}

fn enveloped() -> Value {
    with(
        flat(),
        &[
            ("/name", json!({ "field": "/Type" })),
            ("/object", json!("/Config")),
        ],
    )
}

fn labelled() -> Value {
    json!({
        "name": "event_field",
        "upsert": ["add", "update"],
        "delete": ["delete"],
        "gone": ["expired"],
        "ignore": ["ping"],
        "deleted_key": "/id",
        "revision": "id_field",
        "transactions": "single",
    })
}

/// Each story is a test for each form.
macro_rules! each_form {
    ($($story:ident),* $(,)?) => {
        each_form!(@ json_lines Lines $($story)*);
        each_form!(@ envelopes Envelopes $($story)*);
        each_form!(@ server_sent_events ServerSent $($story)*);
        each_form!(@ web_socket Socket $($story)*);
        each_form!(@ long_poll Poll $($story)*);
    };
    (@ $module:ident $form:ident $($story:ident)*) => {
        mod $module {
            $(#[tokio::test(start_paused = true)]
            async fn $story() {
                super::$story(super::Form::$form).await;
            })*
        }
    };
}

each_form![
    what_happens_is_followed,
    a_cut_connection_is_resumed,
    a_stream_that_ends_is_resumed,
    a_quiet_service_is_no_silent_one,
    a_forgotten_history_is_listed_again,
    deltas_lead_from_one_state_to_the_next,
];

async fn what_happens_is_followed(form: Form) {
    let (service, _, mut followed) = followed(form.mapping()).await;
    assert_eq!(service.asked("/configs").len(), 1);
    service.put("a", "changed");
    service.put("c", "new");
    service.delete("b");
    followed.has_all(&service).await;
    service.put("b", "back again");
    followed.has_all(&service).await;
    assert_eq!(followed.informer.revision().unwrap().to_string(), "6");
    assert!(!followed.relisted().await);
    assert_eq!(
        service.asked("/configs"),
        [""; 0],
        "it was heard, not listed"
    );
}

async fn a_cut_connection_is_resumed(form: Form) {
    let (service, network, mut followed) = followed(form.mapping()).await;
    for value in ["2", "3", "4"] {
        network.cut();
        service.put("a", value);
        service.put("b", value);
        followed.has_all(&service).await;
    }
    assert!(!followed.relisted().await);
}

async fn a_stream_that_ends_is_resumed(form: Form) {
    let (service, _, mut followed) = followed(form.mapping()).await;
    for value in ["2", "3", "4"] {
        service.put("a", value);
        followed.has_all(&service).await;
        service.end_streams();
        service.delete("b");
        service.put("b", value);
        followed.has_all(&service).await;
    }
    assert!(!followed.relisted().await);
}

/// An hour of nothing: no failure, no list, and the connection that there was.
async fn a_quiet_service_is_no_silent_one(form: Form) {
    let (service, network, mut followed) = followed(form.mapping()).await;
    let opened = network.opened();
    service.asked("/configs");
    sleep(HEARTBEAT * 360).await;
    let heard = followed.heard().await;
    assert!(
        !heard.iter().any(|said| matches!(said, Said::Failed { .. })),
        "{heard:#?}"
    );
    assert_eq!(network.opened(), opened);
    assert_eq!(service.asked("/configs"), [""; 0]);
    assert_eq!(followed.informer.health().state, State::Live);
    service.put("a", "at last");
    followed.has_all(&service).await;
}

async fn a_forgotten_history_is_listed_again(form: Form) {
    let (service, network, mut followed) = followed(form.mapping()).await;
    network.stop_listening();
    network.cut();
    followed.until(|health| health.state == State::Stale).await;
    service.put("c", "1");
    service.delete("a");
    service.forget();
    service.put("d", "2");
    network.listen(service.router());
    followed.has_all(&service).await;
    let gone = followed.heard().await.into_iter().any(|said| match said {
        Said::Failed { failure, .. } => failure.class == FailureClass::Gone,
        _ => false,
    });
    assert!(gone, "a 400 means that here");
    assert_eq!(followed.informer.revision().unwrap().to_string(), "5");
}

/// Folding what a subscriber is told gives what there is, step by step.
async fn deltas_lead_from_one_state_to_the_next(form: Form) {
    use reflet_tokio::reflet_core::cache::Delta;

    let (service, network, followed) = followed(form.mapping()).await;
    let mut batches = followed.informer.subscribe();
    let moving = async {
        for round in 0..20 {
            service.put("a", &round.to_string());
            service.put(&format!("k{round}"), "new");
            if round >= 3 {
                service.delete(&format!("k{}", round - 3));
            }
            if round % 5 == 0 {
                network.cut();
                followed.has_all(&service).await;
            }
        }
        followed.has_all(&service).await;
        followed.informer.shutdown().await;
    };
    let folding = async {
        let mut folded = std::collections::BTreeMap::new();
        while let Some(batch) = batches.next().await {
            for delta in batch.deltas {
                match delta {
                    Delta::Added { key, new } => {
                        assert_eq!(folded.insert(key, new), None);
                    }
                    Delta::Updated { key, old, new } => {
                        assert_eq!(folded.insert(key, new), Some(old));
                    }
                    Delta::Deleted { key, seen, .. } => {
                        assert_eq!(folded.remove(&key), Some(seen));
                    }
                    _ => {}
                }
            }
        }
        folded
    };
    let ((), folded) = tokio::join!(moving, folding);
    let folded = folded.into_iter();
    let folded: Vec<_> = folded
        .map(|(key, config)| (key.to_string(), (*config).clone()))
        .collect();
    assert_eq!(folded, service.truth(), "{form:?}");
}

/// Versions that count each config's own changes are no revisions, and a delete shows the last one:
/// such a stream cannot be followed, but heard as hints.
#[tokio::test(start_paused = true)]
async fn a_stream_without_revisions_is_good_for_hints() {
    let hints = json!({ "hints": {
        "path": "feed-sse",
        "stream": { "server_sent_events": { "only": ["changed"] } },
        "heartbeat_ms": 10_000,
    }});
    let mapping = with(
        classic(),
        &[
            ("/object/version/field/order", json!("opaque")),
            ("/watch", hints),
        ],
    );
    let (service, _, followed): (Service, _, Followed) = followed(mapping).await;
    service.asked("/configs");
    sleep(HEARTBEAT * 5).await;
    assert_eq!(service.asked("/configs"), [""; 0], "pings are no hints");
    service.put("a", "changed");
    service.delete("b");
    followed.has_all(&service).await;
    assert!(!service.asked("/configs").is_empty());
}
