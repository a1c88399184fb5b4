//! A gateway, a configuration service that can be stopped and started again, two upstreams, and
//! somebody who asks.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU16, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt as _, Full};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::example::cli::{OnNewEpoch, Transport};
use super::example::config_service::{ConfigService, RunningConfigService};
use super::example::error::StartError;
use super::example::gateway::{Gateway, GatewayOptions};
use super::example::server::Server;
use super::example::store::StoreError;
use super::example::upstream;

/// Only ever ends a test that has failed.
const PATIENCE: Duration = Duration::from_secs(20);
/// Between two looks at something that is waited for.
const PAUSE: Duration = Duration::from_millis(5);

pub(crate) type RequestBody = BoxBody<Bytes, Infallible>;

/// An address that nobody listens on and that no outgoing connection is given: below the range
/// that the system takes those from.
pub(crate) fn quiet_address() -> SocketAddr {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let start = 20_000 + u16::try_from(std::process::id() % 500).unwrap() * 20;
    loop {
        let port = start + NEXT.fetch_add(1, Ordering::Relaxed);
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        if std::net::TcpListener::bind(address).is_ok() {
            return address;
        }
    }
}

/// A folder of a test's own, removed at its end.
pub(crate) struct Folder(PathBuf);

impl Folder {
    pub(crate) fn new() -> Self {
        static NEXT: AtomicU16 = AtomicU16::new(0);
        let (process, next) = (std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let name = format!("gateway-{process}-{next}");
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// What came back.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Value,
}

impl Reply {
    /// The header's text.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// A header as the sample upstream saw it.
    pub(crate) fn seen(&self, header: &str) -> Option<&str> {
        self.body["headers"][header].as_str()
    }
}

/// Asks, over connections of its own.
#[derive(Clone)]
pub(crate) struct Asker {
    pub(crate) client: Client<HttpConnector, RequestBody>,
}

impl Asker {
    pub(crate) fn new() -> Self {
        Self {
            client: Client::builder(TokioExecutor::new()).build_http(),
        }
    }

    pub(crate) async fn send(&self, request: http::request::Builder, body: &str) -> Reply {
        let body = Full::from(body.to_owned()).boxed();
        let answer = self.client.request(request.body(body).unwrap()).await;
        let (head, body) = answer.unwrap().into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        Reply {
            status: head.status,
            headers: head.headers,
            body: serde_json::from_slice(&body).unwrap_or(Value::Null),
        }
    }

    pub(crate) async fn get(&self, url: &str) -> Reply {
        self.send(Request::get(url), "").await
    }
}

/// Everything that a test needs, on loopback.
pub(crate) struct Rig {
    pub(crate) asker: Asker,
    pub(crate) folder: Folder,
    pub(crate) config: SocketAddr,
    pub(crate) gateway: SocketAddr,
    pub(crate) upstreams: [SocketAddr; 2],
    service: Option<RunningConfigService>,
    running: Option<Gateway>,
    options: GatewayOptions,
    _upstreams: [Server; 2],
}

impl Rig {
    /// All of it, the configuration empty, kept in [`Self::data`], and in force.
    pub(crate) async fn new(transport: Transport) -> Self {
        let mut rig = Self::without_service(transport, OnNewEpoch::Accept).await;
        rig.start_service().await;
        rig.until("the empty configuration is in force", |health| {
            health["serving"] == true
        })
        .await;
        rig
    }

    /// The gateway and the upstreams, but no configuration service yet.
    pub(crate) async fn without_service(transport: Transport, on_new_epoch: OnNewEpoch) -> Self {
        let (config, folder) = (quiet_address(), Folder::new());
        let listen = || async { TcpListener::bind("127.0.0.1:0").await.unwrap() };
        let options = GatewayOptions {
            config: config.to_string(),
            transport,
            on_new_epoch,
            snapshot: Some(folder.file("snapshot")),
        };
        let gateway = Gateway::start(listen().await, &options).unwrap();
        let upstreams = [
            upstream::start(listen().await).unwrap(),
            upstream::start(listen().await).unwrap(),
        ];
        Self {
            asker: Asker::new(),
            folder,
            config,
            gateway: gateway.address(),
            upstreams: [upstreams[0].address(), upstreams[1].address()],
            service: None,
            running: Some(gateway),
            options,
            _upstreams: upstreams,
        }
    }

    /// The data file of the configuration service.
    pub(crate) fn data(&self) -> PathBuf {
        self.folder.file("config.json")
    }

    /// Opens the data file, as soon as the process before it has let go of it.
    pub(crate) async fn open_service(&self) -> ConfigService {
        let began = Instant::now();
        loop {
            match ConfigService::open(Some(&self.data())) {
                Ok(service) => return service,
                Err(StartError::Store(StoreError::InUse { .. })) if began.elapsed() < PATIENCE => {
                    tokio::time::sleep(PAUSE).await;
                }
                Err(error) => panic!("{error}"),
            }
        }
    }

    /// Has a configuration service answer at the address where the gateway looks for it.
    pub(crate) async fn serve(&mut self, service: ConfigService) {
        let began = Instant::now();
        let listener = loop {
            match TcpListener::bind(self.config).await {
                Ok(listener) => break listener,
                Err(error) => assert!(began.elapsed() < PATIENCE, "{error}"),
            }
            tokio::time::sleep(PAUSE).await;
        };
        self.service = Some(service.serve(listener).unwrap());
    }

    /// Starts the configuration service from its data file.
    pub(crate) async fn start_service(&mut self) {
        let service = self.open_service().await;
        self.serve(service).await;
    }

    /// Ends the configuration service in good order, and waits until the gateway has noticed.
    pub(crate) async fn stop_service(&mut self) {
        let service = self.service.take().expect("it runs");
        service.shutdown(Duration::from_secs(5)).await;
        self.until_all("stale").await;
    }

    /// Ends the configuration service in mid-sentence, and waits until the gateway has noticed.
    pub(crate) async fn kill_service(&mut self) {
        drop(self.service.take().expect("it runs"));
        self.until_all("stale").await;
    }

    /// Ends the gateway in good order, and starts another one with the same options.
    pub(crate) async fn restart_gateway(&mut self) {
        let gateway = self.running.take().expect("it runs");
        gateway.shutdown(Duration::from_secs(5)).await;
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let gateway = Gateway::start(listener, &self.options).unwrap();
        self.gateway = gateway.address();
        self.running = Some(gateway);
    }

    /// Asks the gateway for a path.
    pub(crate) async fn get(&self, path: &str) -> Reply {
        self.asker
            .get(&format!("http://{}{path}", self.gateway))
            .await
    }

    /// Asks the gateway for a path, with a key.
    pub(crate) async fn get_with_key(&self, path: &str, key: &str) -> Reply {
        let url = format!("http://{}{path}", self.gateway);
        let request = Request::get(url).header("x-api-key", key);
        self.asker.send(request, "").await
    }

    fn object(&self, object: &str) -> String {
        format!("http://{}/v1/{object}", self.config)
    }

    /// Writes an object, `collection/name`; its new revision.
    pub(crate) async fn put(&self, object: &str, value: Value) -> u64 {
        let request = Request::put(self.object(object));
        let reply = self.asker.send(request, &value.to_string()).await;
        assert!(reply.status.is_success(), "{object}: {reply:?}");
        number(&reply.body["revision"])
    }

    /// Deletes an object; the revision of that.
    pub(crate) async fn delete(&self, object: &str) -> u64 {
        let request = Request::builder().method(Method::DELETE);
        let reply = self.asker.send(request.uri(self.object(object)), "").await;
        assert!(reply.status.is_success(), "{object}: {reply:?}");
        number(&reply.body["revision"])
    }

    /// Writes an object, and waits until the gateway obeys it.
    pub(crate) async fn put_and_wait(&self, object: &str, value: Value) -> u64 {
        let revision = self.put(object, value).await;
        self.until_obeyed(object, revision).await;
        revision
    }

    /// Waits until the gateway's health shows that revision of the object's collection, or a later
    /// one.
    pub(crate) async fn until_obeyed(&self, object: &str, revision: u64) {
        let name = object.split('/').next().unwrap();
        let what = format!("{name} at {revision}");
        self.until(&what, |health| {
            let collection = collection(health, name);
            !collection["revision"].is_null() && number(&collection["revision"]) >= revision
        })
        .await;
    }

    /// Waits until all collections are in a state.
    pub(crate) async fn until_all(&self, state: &str) -> Value {
        self.until(state, |health| {
            let all = health["collections"].as_array().unwrap();
            all.iter().all(|collection| collection["state"] == state)
        })
        .await
    }

    /// Waits until the gateway's health is as wanted.
    pub(crate) async fn until(&self, what: &str, mut wanted: impl FnMut(&Value) -> bool) -> Value {
        let began = Instant::now();
        loop {
            let health = self.health().await;
            if wanted(&health) {
                return health;
            }
            assert!(began.elapsed() < PATIENCE, "never: {what}; {health:#}");
            tokio::time::sleep(PAUSE).await;
        }
    }

    pub(crate) async fn health(&self) -> Value {
        let reply = self.get("/-/health").await;
        assert_eq!(reply.status, StatusCode::OK);
        reply.body
    }

    /// A route to one of the upstreams.
    pub(crate) fn route(&self, prefix: &str, upstream: usize) -> Value {
        json!({"path_prefix": prefix, "upstream": self.upstreams[upstream]})
    }

    /// Asks for a path again and again, until told to stop. Returns after the first answer.
    pub(crate) async fn traffic(&self, path: &str, key: &str) -> Traffic {
        let (asker, stop) = (Asker::new(), Arc::new(AtomicBool::new(false)));
        let url = format!("http://{}{path}", self.gateway);
        let (key, stopped) = (key.to_owned(), Arc::clone(&stop));
        let (count, answers) = watch::channel(0);
        let task = tokio::spawn(async move {
            let mut statuses = Vec::new();
            while !stopped.load(Ordering::Acquire) {
                let request = Request::get(&url).header("x-api-key", &key);
                statuses.push(asker.send(request, "").await.status);
                count.send_replace(statuses.len());
                // A debug build on a small machine has other things to do as well.
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
            statuses
        });
        let mut traffic = Traffic {
            stop,
            answers,
            task,
        };
        traffic.until_answers(1).await;
        traffic
    }
}

/// Requests that go on in the background.
pub(crate) struct Traffic {
    stop: Arc<AtomicBool>,
    answers: watch::Receiver<usize>,
    task: JoinHandle<Vec<StatusCode>>,
}

impl Traffic {
    async fn until_answers(&mut self, wanted: usize) {
        let enough = self.answers.wait_for(|answers| *answers >= wanted);
        let enough = tokio::time::timeout(PATIENCE, enough).await;
        let _ = enough
            .expect("it is answered")
            .expect("every request is answered");
    }

    /// Ends it, some answers after this call; the statuses of all answers, in order.
    pub(crate) async fn stop(mut self) -> Vec<StatusCode> {
        let later = *self.answers.borrow() + 3;
        self.until_answers(later).await;
        self.stop.store(true, Ordering::Release);
        self.task.await.expect("every request is answered")
    }

    /// Ends it; every answer must have been good.
    pub(crate) async fn all_went_well(self) {
        let statuses = self.stop().await;
        let bad = statuses.iter().filter(|status| **status != StatusCode::OK);
        assert_eq!(bad.collect::<Vec<_>>(), Vec::<&StatusCode>::new());
    }
}

/// A collection of the health.
pub(crate) fn collection<'a>(health: &'a Value, name: &str) -> &'a Value {
    let all = health["collections"].as_array().unwrap();
    all.iter().find(|one| one["name"] == name).unwrap()
}

/// The number in a text.
pub(crate) fn number(text: &Value) -> u64 {
    text.as_str().expect("a text").parse().expect("a number")
}
