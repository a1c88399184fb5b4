//! How real sockets end: what pipes in memory cannot show.

use reflet_tokio::http::HttpSource;
use reflet_tokio::reflet_core::{FailureClass, Notice, State};
use serde_json::Value;
use tokio::net::TcpListener;

use crate::rig::Rig;
use crate::server::{Act, Request, Server, chunk, stream_head};

async fn rig(server: &Server, port: u16) -> Rig {
    let url = format!("http://127.0.0.1:{port}");
    let source = HttpSource::<Value>::builder(&url, "things")
        .build()
        .unwrap();
    Rig::of(server, source, |builder| {
        builder.timing(|timing| timing.min_interval /= 10)
    })
}

/// Each request is answered like this; the informer says so, and is itself again afterwards.
async fn endured(
    acts: impl Fn(&Request) -> Vec<Act> + Send + Sync + 'static,
    class: FailureClass,
    words: &str,
) {
    let server = Server::new();
    let port = server.listen().await;
    let mut rig = rig(&server, port).await;
    rig.informer.synced().await.unwrap();
    server.turn(acts);
    rig.failure(class, words).await;
    assert_eq!(rig.informer.health().state, State::Stale);
    assert_eq!(rig.shown(), rig.truth());
    server.turn_sane();
    rig.says(&Notice::Live).await;
    rig.informer.shutdown().await;
}

#[tokio::test]
async fn a_reset_before_the_answer_is_retried() {
    endured(|_| vec![Act::Reset], FailureClass::Retryable, "no answer").await;
}

#[tokio::test]
async fn a_reset_in_mid_line_is_retried() {
    let acts = |_: &Request| {
        vec![
            Act::Send([stream_head(), chunk("{\"ty")].concat()),
            Act::Reset,
        ]
    };
    endured(acts, FailureClass::Retryable, "the answer broke off").await;
}

#[tokio::test]
async fn an_end_in_mid_line_is_retried() {
    let acts = |_: &Request| {
        vec![
            Act::Send([stream_head(), chunk("{\"ty")].concat()),
            Act::Close,
        ]
    };
    endured(acts, FailureClass::Retryable, "in mid-line").await;
}

#[tokio::test]
async fn a_port_that_nobody_listens_on_is_told_with_its_address() {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    drop(listener);
    let mut rig = rig(&Server::new(), port).await;
    let words = format!("connecting to 127.0.0.1:{port}");
    rig.failure(FailureClass::Retryable, &words).await;
    let health = rig.informer.health();
    assert_eq!((health.state, health.objects), (State::Syncing, 0));
}
