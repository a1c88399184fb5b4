//! How a watch ends, and what follows.

use std::time::Duration;

use reflet_tokio::reflet_core::{FailureClass, Notice as Said, State};
use reflet_tokio::serve::{Collection, Continuity};
use tokio::time::{Instant, sleep};

use crate::rig::{Followed, HEARTBEAT, Network, Way, options, put, things};

/// A collection with an object, and an informer that has it.
async fn followed(way: Way) -> (Collection, Network, Followed) {
    let things = things();
    put(&things, "a", 1);
    let network = Network::of(&things);
    let mut followed = way.follow("http://server", network.clone(), None);
    followed.has_all(&things).await;
    followed.heard().await;
    (things, network, followed)
}

pub(crate) async fn a_cut_connection_is_resumed(way: Way) {
    let (things, network, mut followed) = followed(way).await;
    for value in 2..5 {
        network.cut();
        put(&things, "a", value);
        followed.has_all(&things).await;
    }
    assert!(!followed.relisted().await);
}

pub(crate) async fn a_server_that_closes_is_resumed_at_the_next_one(way: Way) {
    let (things, network, mut followed) = followed(way).await;
    // Long enough for a clean end to be one of a healthy watch.
    sleep(Duration::from_secs(120)).await;
    let next = Collection::restored(&things.export(), Continuity::SameEpoch, options()).unwrap();
    network.serve(&next);
    things.close();
    put(&next, "b", 2);
    // A poll keeps its connection, so that it is told to go, and cut off at last, as a process is.
    sleep(Duration::from_secs(1)).await;
    network.cut();
    followed.has_all(&next).await;
    assert!(!followed.relisted().await);
    assert_eq!(things.watchers(), 0);
}

pub(crate) async fn a_silent_connection_is_given_up(way: Way) {
    let (things, network, followed) = followed(way).await;
    sleep(Duration::from_secs(120)).await;
    network.stall();
    put(&things, "a", 2);
    let since = Instant::now();
    followed.has_all(&things).await;
    // A poll's answer may be as late as its wait and its pause.
    assert!(since.elapsed() < HEARTBEAT * 10, "{:?}", since.elapsed());
    assert!(since.elapsed() > HEARTBEAT, "nothing came through");
}

pub(crate) async fn a_forgotten_history_is_listed_again(way: Way) {
    let (things, network, mut followed) = followed(way).await;
    network.stop_listening();
    network.cut();
    followed.until(|health| health.state == State::Stale).await;
    for value in 2..10 {
        put(&things, "a", value);
    }
    things.compact(things.revision());
    network.serve(&things);
    followed.has_all(&things).await;
    let heard = followed.heard().await;
    assert!(heard.iter().any(is_gone), "{heard:#?}");
}

fn is_gone<K>(said: &Said<K>) -> bool {
    matches!(said, Said::Failed { failure, .. } if failure.class == FailureClass::Gone)
}

pub(crate) async fn gone_in_mid_stream_is_listed_again(way: Way) {
    let (things, _, mut followed) = followed(way).await;
    let same = things.export();
    things.restore(&same, Continuity::SameEpoch).unwrap();
    put(&things, "a", 2);
    followed.has_all(&things).await;
    assert!(followed.heard().await.iter().any(is_gone));
}

pub(crate) async fn a_new_epoch_is_announced_and_taken_over(way: Way) {
    let (things, _, mut followed) = followed(way).await;
    let backup = things.export();
    put(&things, "a", 2);
    put(&things, "b", 3);
    followed.has_all(&things).await;
    things.restore(&backup, Continuity::NewEpoch).unwrap();
    followed.has_all(&things).await;
    let heard = followed.heard().await;
    let announced = |said: &Said<_>| matches!(said, Said::Rewound { epoch: Some(_), .. });
    assert!(heard.iter().any(announced), "{heard:#?}");
}

pub(crate) async fn a_replica_that_is_behind_takes_nothing_back(way: Way) {
    let (things, network, mut followed) = followed(way).await;
    let old = things.export();
    put(&things, "a", 2);
    put(&things, "a", 3);
    followed.has_all(&things).await;
    let replica = Collection::restored(&old, Continuity::SameEpoch, options()).unwrap();
    network.serve(&replica);
    network.cut();
    sleep(Duration::from_secs(60)).await;
    assert_eq!(followed.shown(), [("a".to_owned(), 3)]);
    let heard = followed.heard().await;
    let behind = |said: &Said<_>| matches!(said, Said::Failed { failure, .. } if failure.class == FailureClass::Behind);
    assert!(heard.iter().any(behind), "{heard:#?}");
    // It catches up with the very transactions, and one more.
    for value in 2..=4 {
        put(&replica, "a", value);
    }
    followed.has_all(&replica).await;
}

pub(crate) async fn one_watcher_too_many_waits_its_turn(way: Way) {
    let mut options = options();
    options.max_watchers = 1;
    let things = Collection::new("things", options).unwrap();
    put(&things, "a", 1);
    let network = Network::of(&things);
    let first = way.follow("http://server", network.clone(), None);
    first.has_all(&things).await;
    let mut second = way.follow("http://server", network.clone(), None);
    second.informer.synced().await.unwrap();
    let mut refused = false;
    while !refused {
        let heard = second.heard().await;
        refused = heard.iter().any(|said| match said {
            Said::Failed { failure, .. } => failure.message.contains("TooManyWatchers"),
            _ => false,
        });
        sleep(Duration::from_millis(50)).await;
    }
    first.informer.shutdown().await;
    put(&things, "a", 2);
    second.has_all(&things).await;
}
