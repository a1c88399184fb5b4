//! The gateway example over loopback: requests, changes, and a configuration service that comes
//! and goes.
#![cfg(test)]

#[path = "../examples/gateway/main.rs"]
#[allow(dead_code, reason = "the command line is not part of these tests")]
mod example;
#[path = "support/gateway_rig.rs"]
mod rig;

use example::cli::{OnNewEpoch, Transport};
use example::config_service::ConfigService;
use http::StatusCode;
use reflet_tokio::serve::{Precondition, to_raw_value};
use rig::{Rig, collection, number, quiet_address};
use serde_json::{Value, json};

/// Each scenario runs with each transport.
macro_rules! with_each_transport {
    ($($scenario:ident),* $(,)?) => {
        with_each_transport!(@ jsonl Jsonl $($scenario)*);
        with_each_transport!(@ long_poll LongPoll $($scenario)*);
        with_each_transport!(@ sse Sse $($scenario)*);
        with_each_transport!(@ websocket Websocket $($scenario)*);
    };
    (@ $module:ident $transport:ident $($scenario:ident)*) => {
        mod $module {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $scenario() {
                super::$scenario(super::Transport::$transport).await;
            })*
        }
    };
}

with_each_transport![
    before_the_first_sync_it_is_unavailable_not_ignorant,
    requests_are_routed_by_the_longest_prefix,
    requests_are_guarded_by_keys_and_limits,
    a_change_is_obeyed_once_health_shows_its_revision,
    a_restart_with_the_same_data_fails_no_request,
    a_restart_with_lost_history_fails_no_request,
    an_empty_service_is_the_truth_until_objects_are_put_back,
    a_restored_backup_that_has_overtaken_is_converged_to,
    a_refused_epoch_leaves_the_old_state_in_force,
    what_makes_no_sense_is_quarantined_and_named,
    a_restarted_gateway_serves_what_it_knew,
];

async fn before_the_first_sync_it_is_unavailable_not_ignorant(transport: Transport) {
    let mut rig = Rig::without_service(transport, OnNewEpoch::Accept).await;

    let reply = rig.get("/hello").await;
    assert_eq!(reply.status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(reply.header("retry-after").is_some());
    let health = rig
        .until("the failure is told", |health| {
            collection(health, "routes")["last_error"].is_string()
        })
        .await;
    assert_eq!(health["status"], "syncing");
    assert_eq!(health["serving"], false);

    rig.start_service().await;
    rig.put_and_wait("routes/hello", rig.route("/hello", 0))
        .await;
    let health = rig.until_all("live").await;
    assert_eq!(health["status"], "live");
    assert_eq!(rig.get("/hello").await.status, StatusCode::OK);
    assert_eq!(rig.get("/other").await.status, StatusCode::NOT_FOUND);
}

async fn requests_are_routed_by_the_longest_prefix(transport: Transport) {
    let rig = Rig::new(transport).await;
    rig.put("routes/a", rig.route("/a", 0)).await;
    rig.put("routes/ab", rig.route("/a/b", 1)).await;
    let mut stripped = rig.route("/cut/off", 1);
    stripped["strip_prefix"] = true.into();
    rig.put("routes/cut", stripped).await;
    let mut late = rig.route("/late", 0);
    late["timeout_ms"] = 50.into();
    rig.put("routes/late", late).await;
    let down = json!({"path_prefix": "/down", "upstream": quiet_address()});
    rig.put_and_wait("routes/down", down).await;

    for (path, upstream, seen) in [
        ("/a", 0, "/a"),
        ("/a/", 0, "/a/"),
        ("/a/bc", 0, "/a/bc"),
        ("/a/b", 1, "/a/b"),
        ("/%61/b/c", 1, "/%61/b/c"),
        ("/cut/off", 1, "/"),
        ("/cut/off/x", 1, "/x"),
    ] {
        let reply = rig.get(&format!("{path}?q=1")).await;
        assert_eq!(reply.status, StatusCode::OK, "{path}");
        assert_eq!(
            reply.body["upstream"],
            json!(rig.upstreams[upstream]),
            "{path}"
        );
        assert_eq!(reply.body["path"], seen, "{path}");
        assert_eq!(reply.body["query"], "q=1", "{path}");
    }
    for (path, status) in [
        ("/", StatusCode::NOT_FOUND),
        ("/ab", StatusCode::NOT_FOUND),
        ("//a", StatusCode::NOT_FOUND),
        ("/a/../cut", StatusCode::BAD_REQUEST),
        ("/a/%2e%2E/cut", StatusCode::BAD_REQUEST),
        ("/down", StatusCode::BAD_GATEWAY),
        ("/late?delay_ms=30000", StatusCode::GATEWAY_TIMEOUT),
        ("/late", StatusCode::OK),
    ] {
        assert_eq!(rig.get(path).await.status, status, "{path}");
    }
}

async fn requests_are_guarded_by_keys_and_limits(transport: Transport) {
    let rig = Rig::new(transport).await;
    let mut route = rig.route("/locked", 0);
    route["requires_key"] = true.into();
    rig.put_and_wait("routes/locked", route).await;
    let key = |revoked| json!({"key": "good", "owner": "somebody", "revoked": revoked});
    rig.put("api-keys/one", key(false)).await;
    let old = json!({"key": "old", "owner": "somebody", "revoked": true});
    rig.put_and_wait("api-keys/two", old).await;

    let reply = rig.get("/locked").await;
    assert_eq!(reply.status, StatusCode::UNAUTHORIZED);
    assert!(reply.header("www-authenticate").is_some());
    for bad in ["", "bad", "old"] {
        let status = rig.get_with_key("/locked", bad).await.status;
        assert_eq!(status, StatusCode::UNAUTHORIZED, "{bad:?}");
    }
    let reply = rig.get_with_key("/locked", "good").await;
    assert_eq!(reply.status, StatusCode::OK);
    assert_eq!(reply.seen("x-api-key"), None);
    assert_eq!(reply.seen("x-api-key-owner"), Some("somebody"));

    // Three at once, then one in a thousand seconds.
    let limit = json!({"route": "locked", "requests_per_second": 0.001, "burst": 3});
    rig.put_and_wait("rate-limits/locked", limit).await;
    assert_eq!(rig.get("/locked").await.status, StatusCode::UNAUTHORIZED);
    for _ in 0..3 {
        assert_eq!(
            rig.get_with_key("/locked", "good").await.status,
            StatusCode::OK
        );
    }
    // Another table does not fill the bucket again.
    rig.put_and_wait("routes/other", rig.route("/other", 0))
        .await;
    let reply = rig.get_with_key("/locked", "good").await;
    assert_eq!(reply.status, StatusCode::TOO_MANY_REQUESTS);
    let wait: u64 = reply.header("retry-after").unwrap().parse().unwrap();
    assert!((900..=1000).contains(&wait), "{wait}");
    assert_eq!(rig.get("/other").await.status, StatusCode::OK);
}

async fn a_change_is_obeyed_once_health_shows_its_revision(transport: Transport) {
    let rig = Rig::new(transport).await;
    for round in 0..5 {
        rig.put_and_wait("routes/r", rig.route("/r", round % 2))
            .await;
        let reply = rig.get("/r").await;
        assert_eq!(reply.body["upstream"], json!(rig.upstreams[round % 2]));

        let mut locked = rig.route("/r", 0);
        locked["requires_key"] = true.into();
        rig.put_and_wait("routes/r", locked).await;
        assert_eq!(rig.get("/r").await.status, StatusCode::UNAUTHORIZED);

        let key = |revoked| json!({"key": "k", "owner": "o", "revoked": revoked});
        rig.put_and_wait("api-keys/k", key(false)).await;
        assert_eq!(rig.get_with_key("/r", "k").await.status, StatusCode::OK);

        let limit = |burst| json!({"route": "r", "requests_per_second": 0, "burst": burst});
        rig.put_and_wait("rate-limits/r", limit(5)).await;
        assert_eq!(rig.get_with_key("/r", "k").await.status, StatusCode::OK);
        rig.put_and_wait("rate-limits/r", limit(1)).await;
        assert_eq!(rig.get_with_key("/r", "k").await.status, StatusCode::OK);
        let refused = rig.get_with_key("/r", "k").await.status;
        assert_eq!(refused, StatusCode::TOO_MANY_REQUESTS);
        let revision = rig.delete("rate-limits/r").await;
        rig.until_obeyed("rate-limits", revision).await;
        assert_eq!(rig.get_with_key("/r", "k").await.status, StatusCode::OK);

        rig.put_and_wait("api-keys/k", key(true)).await;
        assert_eq!(
            rig.get_with_key("/r", "k").await.status,
            StatusCode::UNAUTHORIZED
        );
        rig.put_and_wait("api-keys/k", key(false)).await;
        let revision = rig.delete("api-keys/k").await;
        rig.until_obeyed("api-keys", revision).await;
        assert_eq!(
            rig.get_with_key("/r", "k").await.status,
            StatusCode::UNAUTHORIZED
        );

        let revision = rig.delete("routes/r").await;
        rig.until_obeyed("routes", revision).await;
        assert_eq!(rig.get("/r").await.status, StatusCode::NOT_FOUND);
    }
}

/// A route that asks for a key, which exists before and after whatever a test does.
async fn put_lasting(rig: &Rig) {
    let mut route = rig.route("/lasting", 0);
    route["requires_key"] = true.into();
    rig.put_and_wait("routes/lasting", route).await;
    let key = json!({"key": "k", "owner": "o"});
    rig.put_and_wait("api-keys/k", key).await;
    let limit = json!({"route": "lasting", "requests_per_second": 1e6, "burst": 1_000_000});
    rig.put_and_wait("rate-limits/lasting", limit).await;
    rig.until_all("live").await;
}

async fn a_restart_with_the_same_data_fails_no_request(transport: Transport) {
    let mut rig = Rig::new(transport).await;
    put_lasting(&rig).await;
    let before = rig.health().await;
    let traffic = rig.traffic("/lasting", "k").await;

    rig.kill_service().await;
    let stale = rig.health().await;
    assert_eq!(stale["status"], "stale");
    let routes = collection(&stale, "routes");
    assert_eq!(routes["objects"], 1);
    assert!(
        routes["reason"].is_string() && routes["last_error"].is_string(),
        "{routes:#}"
    );
    rig.start_service().await;
    let after = rig.until_all("live").await;
    for name in ["routes", "rate-limits", "api-keys"] {
        let (before, after) = (collection(&before, name), collection(&after, name));
        assert_eq!(before["epoch"], after["epoch"], "{name}");
        assert_eq!(before["revision"], after["revision"], "{name}");
    }

    rig.stop_service().await;
    rig.start_service().await;
    rig.put_and_wait("routes/new", rig.route("/new", 1)).await;
    assert_eq!(rig.get("/new").await.status, StatusCode::OK);
    traffic.all_went_well().await;
}

async fn a_restart_with_lost_history_fails_no_request(transport: Transport) {
    let mut rig = Rig::new(transport).await;
    put_lasting(&rig).await;
    rig.put_and_wait("routes/gone", rig.route("/gone", 0)).await;
    let health = rig.health().await;
    let known = number(&collection(&health, "routes")["revision"]);
    let epoch = collection(&health, "routes")["epoch"].clone();
    let traffic = rig.traffic("/lasting", "k").await;

    // What happened while the gateway was away is no longer kept.
    rig.kill_service().await;
    let service = rig.open_service().await;
    let [routes, ..] = service.collections();
    let new = to_raw_value(&rig.route("/new", 1)).unwrap();
    routes.delete("gone", Precondition::None).unwrap();
    let revision = routes.put("new", new, Precondition::None).unwrap().version;
    routes.compact(revision);
    rig.serve(service).await;
    let resume = format!("http://{}/v1/routes?watch=poll&from={known}", rig.config);
    assert_eq!(rig.asker.get(&resume).await.status, StatusCode::GONE);

    rig.until_obeyed("routes", revision).await;
    assert_eq!(rig.get("/new").await.status, StatusCode::OK);
    assert_eq!(rig.get("/gone").await.status, StatusCode::NOT_FOUND);
    let health = rig.until_all("live").await;
    assert_eq!(collection(&health, "routes")["epoch"], epoch);
    traffic.all_went_well().await;
}

async fn an_empty_service_is_the_truth_until_objects_are_put_back(transport: Transport) {
    let mut rig = Rig::new(transport).await;
    let route = rig.route("/open", 0);
    rig.put_and_wait("routes/open", route.clone()).await;
    let traffic = rig.traffic("/open", "").await;

    rig.kill_service().await;
    assert_eq!(rig.get("/open").await.status, StatusCode::OK);
    rig.serve(ConfigService::open(None).unwrap()).await;
    rig.until("the routes are gone", |health| {
        collection(health, "routes")["objects"] == 0
    })
    .await;
    assert_eq!(rig.get("/open").await.status, StatusCode::NOT_FOUND);
    let statuses = traffic.stop().await;
    let good = statuses
        .iter()
        .take_while(|status| **status == StatusCode::OK)
        .count();
    let rest = &statuses[good..];
    assert!(good > 0);
    assert!(
        rest.iter().all(|status| *status == StatusCode::NOT_FOUND),
        "{rest:?}"
    );

    rig.put("routes/open", route).await;
    rig.until("the route is back", |health| {
        collection(health, "routes")["objects"] == 1
    })
    .await;
    assert_eq!(rig.get("/open").await.status, StatusCode::OK);
    rig.until_all("live").await;
}

/// The service comes back from a backup, and has written as much since as the gateway knew before:
/// the same revisions, and `moved` in the same version, but with another upstream.
async fn restore_and_overtake(rig: &mut Rig) {
    let backup = rig.folder.file("backup.json");
    std::fs::copy(rig.data(), &backup).unwrap();
    let forgotten = rig
        .put_and_wait("routes/moved", rig.route("/moved", 0))
        .await;
    assert_eq!(
        rig.get("/moved").await.body["upstream"],
        json!(rig.upstreams[0])
    );

    rig.kill_service().await;
    std::fs::copy(&backup, rig.data()).unwrap();
    let service = rig.open_service().await;
    let [routes, ..] = service.collections();
    let put = |name: &str, value: &Value| {
        let value = to_raw_value(value).unwrap();
        routes.put(name, value, Precondition::None).unwrap().version
    };
    assert_eq!(put("moved", &rig.route("/moved", 1)), forgotten);
    put("more", &rig.route("/more", 1));
    rig.serve(service).await;
}

async fn a_restored_backup_that_has_overtaken_is_converged_to(transport: Transport) {
    let mut rig = Rig::new(transport).await;
    put_lasting(&rig).await;
    rig.put_and_wait("routes/moved", rig.route("/elsewhere", 0))
        .await;
    let epoch = collection(&rig.health().await, "routes")["epoch"].clone();
    let lasting = rig.traffic("/lasting", "k").await;

    restore_and_overtake(&mut rig).await;
    let moved = rig.traffic("/moved", "").await;
    rig.until("the new epoch is in force", |health| {
        let now = &collection(health, "routes")["epoch"];
        now.is_string() && *now != epoch
    })
    .await;
    assert_eq!(
        rig.get("/moved").await.body["upstream"],
        json!(rig.upstreams[1])
    );
    assert_eq!(rig.get("/more").await.status, StatusCode::OK);
    rig.until_all("live").await;
    rig.put_and_wait("routes/more", rig.route("/still-more", 1))
        .await;
    assert_eq!(rig.get("/still-more").await.status, StatusCode::OK);
    lasting.all_went_well().await;
    let statuses = moved.stop().await;
    assert!(
        statuses.iter().all(|status| *status == StatusCode::OK),
        "{statuses:?}"
    );
}

async fn a_refused_epoch_leaves_the_old_state_in_force(transport: Transport) {
    let mut rig = Rig::without_service(transport, OnNewEpoch::Refuse).await;
    rig.start_service().await;
    put_lasting(&rig).await;
    rig.put_and_wait("routes/moved", rig.route("/elsewhere", 0))
        .await;
    let lasting = rig.traffic("/lasting", "k").await;

    restore_and_overtake(&mut rig).await;
    let health = rig
        .until("it says that it refuses", |health| {
            let reason = collection(health, "routes")["reason"].as_str();
            reason.is_some_and(|reason| reason.contains("--on-new-epoch"))
        })
        .await;
    assert_eq!(health["status"], "stale");
    assert_eq!(
        rig.get("/moved").await.body["upstream"],
        json!(rig.upstreams[0])
    );
    assert_eq!(rig.get("/more").await.status, StatusCode::NOT_FOUND);
    lasting.all_went_well().await;
}

async fn what_makes_no_sense_is_quarantined_and_named(transport: Transport) {
    let rig = Rig::new(transport).await;
    rig.put_and_wait("routes/r", rig.route("/r", 0)).await;
    rig.put_and_wait("api-keys/k", json!({"key": "k", "owner": "o"}))
        .await;

    for bad in [
        json!({"path_prefix": "/r", "upstream": "nowhere"}),
        json!({"path_prefix": "r", "upstream": rig.upstreams[1]}),
        json!({"path_prefix": "/r", "upstream": rig.upstreams[1], "timeout_ms": "soon"}),
        json!({"path_prefix": "/r", "upstream": rig.upstreams[1], "require_key": true}),
        json!("a text"),
        json!(["/r", rig.upstreams[1]]),
    ] {
        rig.put_and_wait("routes/r", bad.clone()).await;
        let health = rig.health().await;
        let routes = collection(&health, "routes");
        assert_eq!(routes["quarantined"][0]["key"], "r", "{bad}");
        assert!(routes["quarantined"][0]["error"].is_string(), "{bad}");
        assert_eq!(health["quarantined"], 1, "{bad}");
        assert_eq!(routes["objects"], 1, "{bad}");
        let reply = rig.get("/r").await;
        assert_eq!(reply.body["upstream"], json!(rig.upstreams[0]), "{bad}");
    }
    let empty = json!({"key": "", "owner": "o"});
    rig.put_and_wait("api-keys/empty", empty).await;
    let health = rig.health().await;
    assert_eq!(
        collection(&health, "api-keys")["quarantined"][0]["key"],
        "empty"
    );
    assert_eq!(health["quarantined"], 2);

    rig.put_and_wait("routes/r", rig.route("/r", 1)).await;
    let revision = rig.delete("api-keys/empty").await;
    rig.until_obeyed("api-keys", revision).await;
    assert_eq!(rig.health().await["quarantined"], 0);
    assert_eq!(
        rig.get("/r").await.body["upstream"],
        json!(rig.upstreams[1])
    );
}

async fn a_restarted_gateway_serves_what_it_knew(transport: Transport) {
    let mut rig = Rig::new(transport).await;
    let mut route = rig.route("/locked", 0);
    route["requires_key"] = true.into();
    rig.put_and_wait("routes/locked", route).await;
    let key = json!({"key": "good", "owner": "somebody"});
    rig.put_and_wait("api-keys/one", key).await;
    rig.put_and_wait("routes/hello", rig.route("/hello", 1))
        .await;
    rig.stop_service().await;

    rig.restart_gateway().await;
    let health = rig
        .until("the snapshot is in force", |health| {
            health["serving"] == true
        })
        .await;
    assert_eq!(health["status"], "stale");
    assert_eq!(collection(&health, "routes")["objects"], 2);
    assert_eq!(rig.get("/hello").await.status, StatusCode::OK);
    assert_eq!(rig.get("/locked").await.status, StatusCode::UNAUTHORIZED);
    assert_eq!(
        rig.get_with_key("/locked", "good").await.status,
        StatusCode::OK
    );
    assert_eq!(rig.get("/other").await.status, StatusCode::NOT_FOUND);

    rig.start_service().await;
    rig.until_all("live").await;
    let deleted = rig.delete("routes/hello").await;
    rig.until_obeyed("routes/hello", deleted).await;
    assert_eq!(rig.get("/hello").await.status, StatusCode::NOT_FOUND);
    assert_eq!(
        rig.get_with_key("/locked", "good").await.status,
        StatusCode::OK
    );
}
