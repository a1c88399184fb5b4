//! Services that are not what they were, or tell more than they were asked.

use std::time::Duration;

use reflet_tokio::reflet_core::cache::Delta;
use reflet_tokio::reflet_core::{FailureClass, Health, Notice as Said, OnRewind, Revision, State};
use serde_json::{Value, json};
use tokio::time::sleep;

use crate::changes::Form;
use crate::network::Network;
use crate::rig::{Followed, followed, followed_with, with};
use crate::service::Service;

/// It has another config, and another version of one that there was.
fn starts_over(service: &Service) {
    service.start_over();
    service.put("c", "first");
    service.put("a", "anew");
}

/// A service that has done more than it will have done when it has started over.
async fn followed_for_long(mapping: Value, rewind: OnRewind) -> (Service, Network, Followed) {
    let (service, network, mut followed) = followed_with(mapping, rewind).await;
    (0..5).for_each(|value| service.put("b", &value.to_string()));
    followed.has_all(&service).await;
    followed.heard().await;
    (service, network, followed)
}

fn rewound(said: &Said<std::sync::Arc<str>>) -> bool {
    matches!(said, Said::Rewound { .. })
}

/// It could be a replica that lags: what is known is kept, and it is said why.
#[tokio::test(start_paused = true)]
async fn a_service_that_went_back_is_not_believed_without_being_told_to() {
    for form in [Form::Lines, Form::Socket, Form::Poll] {
        let refuse = OnRewind::Refuse;
        let (service, _, mut followed) = followed_for_long(form.mapping(), refuse).await;
        let shown = followed.shown();
        starts_over(&service);
        followed.until(|health| health.state != State::Live).await;
        sleep(Duration::from_secs(600)).await;
        assert_eq!(followed.shown(), shown, "{form:?}");
        let heard = followed.heard().await;
        let behind = heard.iter().any(|said| match said {
            Said::Failed { failure, .. } => failure.class == FailureClass::Behind,
            _ => false,
        });
        assert!(behind && !heard.iter().any(rewound), "{heard:#?}");
        // It has overtaken what is known, and goes on from there.
        for value in 0..10 {
            service.put("b", &value.to_string());
        }
        let there = Some(Revision::from(12));
        let live = |health: &Health<_>| health.state == State::Live && health.revision == there;
        followed.until(live).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_service_that_went_back_is_believed_in_the_end_by_a_policy() {
    let patience = OnRewind::AcceptAfter {
        lists: 3,
        span: Duration::from_secs(60),
    };
    for form in [Form::Lines, Form::ServerSent, Form::Poll] {
        let (service, _, mut followed) = followed_for_long(form.mapping(), patience).await;
        starts_over(&service);
        followed.has_all(&service).await;
        assert!(followed.heard().await.iter().any(rewound), "{form:?}");
        service.put("c", "new");
        followed.has_all(&service).await;
    }
}

/// A name for each start tells a new beginning from a replica that lags.
#[tokio::test(start_paused = true)]
async fn a_service_that_names_its_starts_is_believed_at_once() {
    for form in [Form::Lines, Form::Envelopes, Form::ServerSent, Form::Poll] {
        let epoch = json!({ "header": "X-Instance" });
        let mapping = with(form.mapping(), &[("/list/epoch", epoch)]);
        let (service, _, mut followed) = followed(mapping).await;
        starts_over(&service);
        followed.has_all(&service).await;
        assert!(followed.heard().await.iter().any(rewound), "{form:?}");
        // Its revisions are higher than those that were known, and still others.
        starts_over(&service);
        (0..20).for_each(|value| service.put("b", &value.to_string()));
        followed.has_all(&service).await;
        assert!(followed.heard().await.iter().any(rewound), "{form:?}");
    }
}

/// Where revisions are only equal or not, the newest answer is what counts.
#[tokio::test(start_paused = true)]
async fn revisions_without_an_order_are_believed_as_they_come() {
    let words = [
        ("/list/revision/header/order", json!("opaque")),
        ("/list/consistency", json!("list")),
        ("/object/version/field/order", json!("opaque")),
        (
            "/watch/changes/events/revision",
            json!({ "field": "/version" }),
        ),
    ];
    let mapping = with(Form::Lines.mapping(), &words);
    let refuse = OnRewind::Refuse;
    let (service, _, followed) = followed_for_long(mapping, refuse).await;
    starts_over(&service);
    followed.has_all(&service).await;
    service.put("c", "new");
    followed.has_all(&service).await;
}

/// A stream may tell again what was told; nobody is told of it twice.
#[tokio::test(start_paused = true)]
async fn what_is_told_again_is_no_change() {
    let mut mappings: Vec<Value> = [Form::Lines, Form::Envelopes, Form::ServerSent]
        .map(Form::mapping)
        .into();
    let unknown = json!("unknown");
    let words = [("/watch/changes/events/transactions", unknown)];
    mappings.push(with(Form::Lines.mapping(), &words));
    for mapping in mappings {
        let (service, network, followed) = followed(mapping.clone()).await;
        service.table().stutters = true;
        service.table().repeats = true;
        let mut batches = followed.informer.subscribe();
        assert_eq!(batches.next().await.unwrap().deltas.len(), 2);
        network.cut();
        service.put("a", "changed");
        service.put("c", "new");
        service.delete("b");
        followed.has_all(&service).await;
        network.cut();
        service.put("d", "last");
        followed.has_all(&service).await;

        let mut told = Vec::new();
        while !told.iter().any(|told| told == "+d") {
            for delta in batches.next().await.unwrap().deltas {
                told.extend(match delta {
                    Delta::Added { key, .. } => Some(format!("+{key}")),
                    Delta::Updated { key, .. } => Some(format!("~{key}")),
                    Delta::Deleted { key, .. } => Some(format!("-{key}")),
                    _ => None,
                });
            }
        }
        told.sort();
        assert_eq!(told, ["+c", "+d", "-b", "~a"], "{mapping:#}");
    }
}
