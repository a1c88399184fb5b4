//! The parts of the gateway example: what goes over the wire, token buckets, and the data file.
#![cfg(test)]

#[path = "../examples/gateway/main.rs"]
#[allow(dead_code, reason = "starting the whole is not part of these tests")]
mod example;
#[path = "support/gateway_rig.rs"]
#[allow(dead_code, reason = "other tests use the rest")]
mod rig;

use std::convert::Infallible;
use std::path::Path;
use std::time::{Duration, Instant};

use bytes::Bytes;
use clap::Parser as _;
use example::cli::{Cli, OnNewEpoch, Transport};
use example::config_service::ConfigService;
use example::error::StartError;
use example::limiter::{Bucket, admit};
use example::objects::RateLimit;
use example::server::{Server, WRITE_TIMEOUT};
use example::store::StoreError;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt as _, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::service::service_fn;
use hyper_util::service::TowerToHyperService;
use reflet_tokio::serve::{Collection, CollectionOptions, Precondition, Publish, to_raw_value};
use rig::{Folder, Rig, collection};
use serde_json::json;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::mpsc;

/// Only ever ends a test that has failed.
const PATIENCE: Duration = Duration::from_secs(20);

#[tokio::test]
async fn bodies_stream_both_ways_while_the_request_is_still_being_sent() {
    let rig = Rig::new(Transport::Jsonl).await;
    let mirror = |request: Request<Incoming>| async {
        Ok::<_, Infallible>(Response::new(request.into_body()))
    };
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let upstream = Server::start(listener, WRITE_TIMEOUT, move |_| service_fn(mirror)).unwrap();
    let route = json!({"path_prefix": "/mirror", "upstream": upstream.address()});
    rig.put_and_wait("routes/mirror", route).await;

    let (send, receive) = mpsc::channel::<&'static str>(1);
    let frames = futures_util::stream::unfold(receive, |mut receive| async {
        let chunk = receive.recv().await?;
        Some((Ok(Frame::data(Bytes::from(chunk))), receive))
    });
    let url = format!("http://{}/mirror", rig.gateway);
    let request = Request::post(url)
        .body(StreamBody::new(frames).boxed())
        .unwrap();
    send.send("one").await.unwrap();
    let mut answer = rig.asker.client.request(request).await.unwrap();
    for next in ["two", "three"] {
        let frame = answer.body_mut().frame().await.unwrap().unwrap();
        assert!(!frame.into_data().unwrap().is_empty());
        send.send(next).await.unwrap();
    }
    drop(send);
    let rest = answer.into_body().collect().await.unwrap().to_bytes();
    assert!(rest.ends_with(b"three"));
}

#[tokio::test]
async fn upstreams_see_who_asked_and_nothing_that_belongs_to_a_connection() {
    let rig = Rig::new(Transport::Jsonl).await;
    rig.put_and_wait("routes/all", rig.route("/", 0)).await;

    let request = Request::post(format!("http://{}/x", rig.gateway))
        .header("connection", "x-between-us")
        .header("x-between-us", "1")
        .header("te", "trailers")
        .header("x-api-key-owner", "forged")
        .header("x-forwarded-for", "192.0.2.1")
        .header("x-forwarded-host", "forged")
        .header("x-other", "kept");
    let reply = rig.asker.send(request, "hello").await;

    assert_eq!(reply.status, StatusCode::OK);
    assert_eq!(reply.body["body"], "hello");
    for gone in ["connection", "x-between-us", "te", "x-api-key-owner"] {
        assert_eq!(reply.seen(gone), None, "{gone}");
    }
    let upstream = rig.upstreams[0].to_string();
    let gateway = rig.gateway.to_string();
    for (name, value) in [
        ("host", &*upstream),
        ("x-forwarded-for", "192.0.2.1, 127.0.0.1"),
        ("x-forwarded-host", &*gateway),
        ("x-forwarded-proto", "http"),
        ("x-other", "kept"),
    ] {
        assert_eq!(reply.seen(name), Some(value), "{name}");
    }
}

#[tokio::test]
async fn a_route_back_to_the_gateway_ends() {
    let rig = Rig::new(Transport::Jsonl).await;
    let circle = json!({"path_prefix": "/circle", "upstream": rig.gateway});
    rig.put_and_wait("routes/circle", circle).await;
    assert_eq!(rig.get("/circle").await.status, StatusCode::LOOP_DETECTED);
}

#[tokio::test]
async fn health_shows_what_is_in_force_not_what_an_informer_knows() {
    let rig = Rig::without_service(Transport::Jsonl, OnNewEpoch::Accept).await;
    let routes = Collection::new("routes", CollectionOptions::default()).unwrap();
    let value = to_raw_value(&rig.route("/r", 0)).unwrap();
    routes.put("r", value, Precondition::None).unwrap();
    // A service that has only one of the three.
    let router = Publish::new().collection(&routes).router();
    let listener = TcpListener::bind(rig.config).await.unwrap();
    let service = move |_| TowerToHyperService::new(router.clone());
    let _server = Server::start(listener, WRITE_TIMEOUT, service).unwrap();

    let health = rig
        .until("the routes are known", |health| {
            collection(health, "routes")["state"] == "live"
        })
        .await;
    let routes = collection(&health, "routes");
    assert!(routes["revision"].is_null() && routes["epoch"].is_null());
    assert_eq!(routes["objects"], 0);
    assert_eq!(
        (&health["status"], &health["serving"]),
        (&json!("syncing"), &json!(false))
    );
    assert_eq!(rig.get("/r").await.status, StatusCode::SERVICE_UNAVAILABLE);
}

/// Sends bytes as they are; the first line of the answer.
async fn raw(rig: &Rig, request: &[u8]) -> String {
    let mut stream = TcpStream::connect(rig.gateway).await.unwrap();
    stream.write_all(request).await.unwrap();
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    let answer = String::from_utf8_lossy(&answer);
    answer.lines().next().unwrap_or_default().to_owned()
}

#[tokio::test]
async fn strange_requests_are_answered_and_do_no_harm() {
    let rig = Rig::new(Transport::Jsonl).await;
    rig.put_and_wait("routes/all", rig.route("/", 0)).await;
    let close = "Host: h\r\nConnection: close\r\n\r\n";
    for (line, status) in [
        ("OPTIONS * HTTP/1.1", "404"),
        ("CONNECT example.com:443 HTTP/1.1", "501"),
        ("GET http://example.com/x HTTP/1.1", "200"),
        ("GET /%ff%zz% HTTP/1.1", "200"),
        ("GET /. HTTP/1.1", "400"),
        ("GET /-/nothing HTTP/1.1", "404"),
        ("POST /-/health HTTP/1.1", "405"),
        ("HEAD / HTTP/1.1", "200"),
        ("BREW /pot HTTP/1.1", "200"),
        ("GET / HTTP/1.0", "200"),
        ("GET / HTTP/9", "400"),
        ("nonsense", "400"),
    ] {
        let answer = raw(&rig, format!("{line}\r\n{close}").as_bytes()).await;
        assert_eq!(answer.split(' ').nth(1), Some(status), "{line}: {answer}");
    }
    let deep = format!("GET {} HTTP/1.1\r\n{close}", "/a".repeat(20_000));
    let answer = raw(&rig, deep.as_bytes()).await;
    assert_eq!(answer.split(' ').nth(1), Some("200"), "{answer}");
    assert_eq!(rig.get("/").await.status, StatusCode::OK);
}

#[tokio::test]
async fn the_service_refuses_broken_json_and_missed_preconditions() {
    let rig = Rig::new(Transport::Jsonl).await;
    let version = rig.put("routes/r", rig.route("/r", 0)).await;
    let url = format!("http://{}/v1/routes/r", rig.config);
    let put = |tag: &str| Request::put(&url).header("if-match", format!("\"{tag}\""));
    let body = rig.route("/r", 1).to_string();

    let broken = rig
        .asker
        .send(Request::put(&url), "{\"path_prefix\":")
        .await;
    assert_eq!(broken.status, StatusCode::BAD_REQUEST);
    let other = rig.asker.send(put("999"), &body).await;
    assert_eq!(other.status, StatusCode::PRECONDITION_FAILED);
    let same = rig.asker.send(put(&version.to_string()), &body).await;
    assert_eq!(same.status, StatusCode::OK);
}

/// Asks for a watch of a collection from its beginning; what comes of it is not read yet.
async fn watch(server: &Server, collection: &str) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    // Small, so that a few large values are more than fits between the two ends.
    socket.set_recv_buffer_size(64 << 10).unwrap();
    let mut stream = socket.connect(server.address()).await.unwrap();
    let request = format!("GET /v1/{collection}?watch=jsonl&from=0 HTTP/1.1\r\nHost: h\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    stream
}

/// Reads until a line has the text in it; whether there was one.
async fn reads(stream: &mut BufReader<TcpStream>, text: &str) -> bool {
    let mut line = String::new();
    while !line.contains(text) {
        line.clear();
        let read = tokio::time::timeout(PATIENCE, stream.read_line(&mut line)).await;
        if !matches!(read, Ok(Ok(1..))) {
            return false;
        }
    }
    true
}

async fn until_watched_by(collection: &Collection, watchers: usize) {
    let reached = async {
        while collection.watchers() != watchers {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let reached = tokio::time::timeout(PATIENCE, reached).await;
    assert!(reached.is_ok(), "{} watchers", collection.watchers());
}

#[tokio::test]
async fn a_watcher_that_never_reads_loses_its_place_and_a_quiet_one_keeps_it() {
    let open = |name| Collection::new(name, CollectionOptions::default()).unwrap();
    let (busy, quiet) = (open("busy"), open("quiet"));
    let router = Publish::new().collection(&busy).collection(&quiet).router();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let service = move |_| TowerToHyperService::new(router.clone());
    let server = Server::start(listener, Duration::from_millis(100), service).unwrap();
    let put = |collection: &Collection, key: &str, value: &str| {
        let value = to_raw_value(value).unwrap();
        collection.put(key, value, Precondition::None).unwrap();
    };

    let mut reader = BufReader::new(watch(&server, "quiet").await);
    assert!(reads(&mut reader, "BOOKMARK").await);
    let _silent = watch(&server, "busy").await;
    until_watched_by(&busy, 1).await;
    // More than the buffers hold, and less than the history: it is not ended for being too slow.
    let large = "x".repeat(1_000_000);
    for key in 0..24 {
        put(&busy, &key.to_string(), &large);
        tokio::task::yield_now().await;
    }

    until_watched_by(&busy, 0).await;
    put(&quiet, "key", "news");
    assert!(reads(&mut reader, "news").await, "the reader is cut off");
}

#[test]
fn a_bucket_gives_its_burst_then_its_rate_and_says_how_long_to_wait() {
    let limit = |rate, burst| {
        let limit = json!({"route": "r", "requests_per_second": rate, "burst": burst});
        serde_json::from_value::<RateLimit>(limit).unwrap()
    };
    let start = Instant::now();
    let after = |millis| start + Duration::from_millis(millis);
    let bucket = Bucket::new(&limit(2.0, 2), start);
    let take = |now| admit([&bucket].into_iter(), now);

    assert_eq!([take(start), take(start)], [Ok(()), Ok(())]);
    assert_eq!(take(start), Err(Duration::from_millis(500)));
    assert_eq!(take(after(250)), Err(Duration::from_millis(250)));
    assert_eq!(take(after(500)), Ok(()));
    // A clock that another thread read earlier takes nothing back, and a long pause fills no more
    // than the burst.
    assert!(take(start).is_err());
    assert_eq!([take(after(60_000)), take(after(60_000))], [Ok(()), Ok(())]);
    assert!(take(after(60_000)).is_err());

    // Who is refused by one bucket takes nothing from another.
    let (wide, closed) = (
        Bucket::new(&limit(0.0, 1), start),
        Bucket::new(&limit(9.0, 0), start),
    );
    assert!(admit([&wide, &closed].into_iter(), start).is_err());
    assert_eq!(admit([&wide].into_iter(), start), Ok(()));
    assert!(admit([&wide].into_iter(), after(60_000)).is_err());
}

/// The service of a data file writes this value to `routes/r`; the epoch and revision after it.
fn write(data: &Path, value: &str) -> (String, u64) {
    let service = ConfigService::open(Some(&data.to_owned())).unwrap();
    let [routes, ..] = service.collections();
    let value = to_raw_value(value).unwrap();
    routes.put("r", value, Precondition::None).unwrap();
    (routes.epoch().to_string(), routes.revision())
}

/// What the service has when it starts from a data file.
fn read(data: &Path) -> (String, u64, String) {
    let service = ConfigService::open(Some(&data.to_owned())).unwrap();
    let [routes, ..] = service.collections();
    let value = routes.get("r").unwrap().value.get().to_owned();
    (routes.epoch().to_string(), routes.revision(), value)
}

#[test]
fn a_data_file_goes_on_and_a_backup_of_it_begins_a_new_epoch() {
    let folder = Folder::new();
    let (data, backup) = (folder.file("data"), folder.file("backup"));
    let (epoch, _) = write(&data, "first");
    std::fs::copy(&data, &backup).unwrap();
    let (same, revision) = write(&data, "second");
    assert_eq!(same, epoch);
    assert_eq!(read(&data), (epoch.clone(), revision, "\"second\"".into()));

    std::fs::copy(&backup, &data).unwrap();
    let (restored, revision, value) = read(&data);
    assert_eq!((revision, value.as_str()), (1, "\"first\""));
    assert_ne!(restored, epoch);
    // Once more: the new epoch is as lasting as the first, and so is its end.
    assert_eq!(read(&data).0, restored);
    std::fs::copy(&backup, &data).unwrap();
    let (again, ..) = read(&data);
    assert!(again != restored && again != epoch);

    // A file without a head is somebody's copy.
    std::fs::remove_file(folder.file("data.head")).unwrap();
    assert_ne!(read(&data).0, again);
}

#[test]
fn an_untouched_collection_keeps_its_epoch_over_a_restart() {
    let folder = Folder::new();
    let data = folder.file("data");
    let epochs = || {
        let service = ConfigService::open(Some(&data)).unwrap();
        service
            .collections()
            .map(|collection| collection.epoch().to_string())
    };
    assert_eq!(epochs(), epochs());
}

#[test]
fn a_damaged_data_file_is_refused_and_left_as_it_is() {
    let folder = Folder::new();
    let data = folder.file("data");
    write(&data, "first");
    let whole = std::fs::read_to_string(&data).unwrap();
    let zero = whole.replace("\"uid\":\"1\"", "\"uid\":\"0\"");
    assert_ne!(zero, whole);
    for damaged in [&whole[..whole.len() / 2], "", "{}", "[]", &zero] {
        std::fs::write(&data, damaged).unwrap();
        let error = ConfigService::open(Some(&data)).err().expect(damaged);
        assert!(
            matches!(
                error,
                StartError::Store(StoreError::Corrupt { .. }) | StartError::Restore(_)
            ),
            "{damaged}: {error}"
        );
        assert_eq!(std::fs::read_to_string(&data).unwrap(), damaged);
    }
}

#[test]
fn a_data_file_has_one_owner() {
    let folder = Folder::new();
    let data = folder.file("data");
    let first = ConfigService::open(Some(&data)).unwrap();
    let second = ConfigService::open(Some(&data)).err();
    assert!(
        matches!(second, Some(StartError::Store(StoreError::InUse { .. }))),
        "{second:?}"
    );
    drop(first);
    assert!(ConfigService::open(Some(&data)).is_ok());
}

#[test]
fn what_the_disk_refuses_is_neither_acknowledged_nor_published() {
    let folder = Folder::new();
    let data = folder.file("data");
    let service = ConfigService::open(Some(&data)).unwrap();
    let [routes, ..] = service.collections();
    let value = || to_raw_value("value").unwrap();
    // Nothing can be written where a folder is in the way.
    std::fs::create_dir(folder.file("data.tmp")).unwrap();
    assert!(routes.put("r", value(), Precondition::None).is_err());
    assert_eq!((routes.revision(), routes.len()), (0, 0));
    std::fs::remove_dir(folder.file("data.tmp")).unwrap();
    assert_eq!(
        routes
            .put("r", value(), Precondition::None)
            .unwrap()
            .version,
        1
    );
}

#[test]
fn a_command_line_that_makes_no_sense_is_refused_with_the_reason() {
    let parse = |line: &str| Cli::try_parse_from(line.split(' ')).and_then(Cli::checked);
    for good in [
        "gateway",
        "gateway --gateway [::1]:0 --config localhost:0",
        "gateway --role config --data here.json --no-samples",
        "gateway --role gateway --config config-1.example:8081",
    ] {
        assert!(parse(good).is_ok(), "{good}");
    }
    for (line, reason) in [
        ("gateway --gateway 8080", "HOST:PORT"),
        ("gateway --config http://localhost:1", "HOST:PORT"),
        ("gateway --role gateway --config x/y:80", "HOST:PORT"),
        ("gateway --role gateway --config me@x:80", "HOST:PORT"),
        ("gateway --config ::1:80", "HOST:PORT"),
        ("gateway --role gateway --config x:0", "port 0"),
        ("gateway --role gateway --data here.json", "--data"),
        ("gateway --role gateway --no-samples", "--no-samples"),
        ("gateway --log [", "filter"),
    ] {
        let error = parse(line).unwrap_err().to_string();
        assert!(error.contains(reason), "{line}: {error}");
    }
}
