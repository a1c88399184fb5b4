//! The data path: one request in, one request out, judged by the table in force.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HOST, RETRY_AFTER, WWW_AUTHENTICATE};
use http::uri::{PathAndQuery, Scheme};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Uri, Version};
use http_body_util::{Either, Full};
use hyper::body::Incoming;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use serde::Serialize;
use serde_json::json;

use super::headers;
use super::limiter;
use super::table::{InForce, KeyState, Match, Table, Target};

/// The gateway's own answers, and those that it passes on as they stream in.
pub(crate) type Answer = Response<Either<Full<Bytes>, Incoming>>;

/// How long a connection to an upstream is kept for the next request: less than what most servers
/// wait, so that it is seldom they who close it first.
const IDLE: Duration = Duration::from_secs(15);

/// Sends requests on to upstreams.
pub(crate) struct Proxy {
    in_force: Arc<InForce>,
    client: Client<HttpConnector, Incoming>,
}

/// Why a request is not answered by an upstream.
#[derive(Clone, Debug, PartialEq)]
enum Refusal {
    /// The configuration is not complete yet.
    NotReady,
    /// A tunnel.
    Tunnel,
    /// No route may take such a path.
    BadPath,
    /// The request went in circles.
    Loop,
    /// No route takes it.
    NoRoute,
    /// The route asks for a key, and there is none.
    NoKey,
    /// The key is unknown or revoked.
    BadKey,
    /// Over a limit, which has room again after this time.
    TooMany(Duration),
    /// The upstream could not be reached, or broke off.
    Upstream(String),
    /// The upstream's answer did not begin in time.
    Late(Duration),
}

impl Proxy {
    /// A proxy that obeys the table in force.
    pub(crate) fn new(in_force: Arc<InForce>) -> Self {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE)
            .build(connector);
        Self { in_force, client }
    }

    /// Answers one request, in every case.
    pub(crate) async fn answer(&self, peer: IpAddr, request: Request<Incoming>) -> Answer {
        let answered = self.pass_on(peer, request).await;
        answered.unwrap_or_else(|refusal| refusal.answer())
    }

    async fn pass_on(&self, peer: IpAddr, request: Request<Incoming>) -> Result<Answer, Refusal> {
        if request.method() == Method::CONNECT {
            return Err(Refusal::Tunnel);
        }
        if headers::went_in_circles(request.headers()) {
            return Err(Refusal::Loop);
        }
        let table = self.in_force.load().ok_or(Refusal::NotReady)?;
        let path = request.uri().path();
        let found = table.route(path).map_err(|_| Refusal::BadPath)?;
        let Match { target, prefix_end } = found.ok_or(Refusal::NoRoute)?;
        let owner = admit(&table, target, request.headers())?;

        let route = Arc::clone(&target.route);
        let uri = rewrite(
            request.uri(),
            route.upstream,
            if route.strip_prefix { prefix_end } else { 0 },
        );
        let (mut head, body) = request.into_parts();
        let host = original_host(&head.uri, &head.headers);
        head.uri = uri.ok_or(Refusal::BadPath)?;
        head.version = Version::HTTP_11;
        headers::prepare_request(&mut head.headers, peer, host, owner);
        // A request in flight must not keep a replaced table alive.
        drop(table);

        let answer = self.client.request(Request::from_parts(head, body));
        match tokio::time::timeout(route.timeout(), answer).await {
            Err(_) => Err(Refusal::Late(route.timeout())),
            Ok(Err(error)) => Err(Refusal::Upstream(chain(&error))),
            // Nobody asked for another protocol.
            Ok(Ok(answer)) if answer.status() == StatusCode::SWITCHING_PROTOCOLS => {
                Err(Refusal::Upstream("it switched protocols unasked".into()))
            }
            Ok(Ok(mut answer)) => {
                headers::prepare_answer(answer.headers_mut());
                *answer.version_mut() = Version::HTTP_11;
                Ok(answer.map(Either::Right))
            }
        }
    }
}

/// Checks the key, then the limits: whoever has no good key uses up nobody's tokens. Says whose
/// key it was, where the route asks for one.
fn admit(
    table: &Table,
    target: &Target,
    headers: &HeaderMap,
) -> Result<Option<HeaderValue>, Refusal> {
    let owner = if target.route.requires_key {
        let mut keys = headers.get_all(headers::API_KEY).iter();
        let (Some(key), None) = (keys.next(), keys.next()) else {
            return Err(Refusal::NoKey);
        };
        let known = key.to_str().ok().and_then(|key| table.key(key));
        match known {
            Some(KeyState::Good { owner }) => {
                let owner = HeaderValue::from_bytes(owner.as_bytes());
                Some(owner.unwrap_or(HeaderValue::from_static("unprintable")))
            }
            Some(KeyState::Revoked) | None => return Err(Refusal::BadKey),
        }
    } else {
        None
    };
    let buckets = target.buckets.iter().map(|bucket| &**bucket);
    limiter::admit(buckets, Instant::now()).map_err(Refusal::TooMany)?;
    Ok(owner)
}

/// Where the upstream finds what was asked for; `None` if that makes no URI.
fn rewrite(uri: &Uri, upstream: SocketAddr, skip: usize) -> Option<Uri> {
    let whole = uri.path_and_query().map_or("/", PathAndQuery::as_str);
    let rest = whole.get(skip..)?;
    let rest = if rest.starts_with('/') {
        rest.to_owned()
    } else {
        format!("/{rest}")
    };
    Uri::builder()
        .scheme(Scheme::HTTP)
        .authority(upstream.to_string())
        .path_and_query(rest)
        .build()
        .ok()
}

/// The host that the caller asked: an absolute URI says it better than the header.
fn original_host(uri: &Uri, headers: &HeaderMap) -> Option<HeaderValue> {
    match uri.authority() {
        Some(authority) => HeaderValue::from_str(authority.as_str()).ok(),
        None => headers.get(HOST).cloned(),
    }
}

/// An error with its causes: the outermost alone only says that something failed.
fn chain(error: &dyn std::error::Error) -> String {
    let mut words = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        words = format!("{words}: {cause}");
        next = cause.source();
    }
    words
}

impl Refusal {
    fn answer(&self) -> Answer {
        let (status, message) = self.status_and_message();
        let mut answer = json_answer(
            status,
            &json!({"status": status.as_u16(), "error": message}),
        );
        let headers = answer.headers_mut();
        match self {
            Self::NotReady => {
                headers.insert(RETRY_AFTER, HeaderValue::from_static("1"));
            }
            Self::TooMany(wait) => {
                // Whole seconds, rounded up: earlier would be refused again.
                let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
                headers.insert(RETRY_AFTER, HeaderValue::from(seconds.max(1)));
            }
            Self::NoKey | Self::BadKey => {
                headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static(headers::API_KEY));
            }
            Self::Tunnel
            | Self::BadPath
            | Self::Loop
            | Self::NoRoute
            | Self::Upstream(_)
            | Self::Late(_) => {}
        }
        answer
    }

    fn status_and_message(&self) -> (StatusCode, String) {
        match self {
            Self::NotReady => (
                StatusCode::SERVICE_UNAVAILABLE,
                "the configuration is not complete yet, see /-/health".into(),
            ),
            Self::Tunnel => (
                StatusCode::NOT_IMPLEMENTED,
                "this gateway makes no tunnels".into(),
            ),
            Self::BadPath => (
                StatusCode::BAD_REQUEST,
                "a path with dot segments goes nowhere".into(),
            ),
            Self::Loop => (
                StatusCode::LOOP_DETECTED,
                "the request has come through this gateway too often".into(),
            ),
            Self::NoRoute => (StatusCode::NOT_FOUND, "no route takes this path".into()),
            Self::NoKey => (
                StatusCode::UNAUTHORIZED,
                "this route asks for one x-api-key header".into(),
            ),
            Self::BadKey => (
                StatusCode::UNAUTHORIZED,
                "the x-api-key is unknown or revoked".into(),
            ),
            Self::TooMany(_) => (
                StatusCode::TOO_MANY_REQUESTS,
                "this route takes no more requests just now".into(),
            ),
            Self::Upstream(error) => (
                StatusCode::BAD_GATEWAY,
                format!("the upstream failed: {error}"),
            ),
            Self::Late(limit) => (
                StatusCode::GATEWAY_TIMEOUT,
                format!("the upstream did not answer within {limit:?}"),
            ),
        }
    }
}

/// An answer of the gateway itself.
pub(crate) fn json_answer(status: StatusCode, value: &impl Serialize) -> Answer {
    // Ours are plain values, which can always be written.
    let mut body = serde_json::to_vec_pretty(value).unwrap_or_default();
    body.push(b'\n');
    let mut answer = Response::new(Either::Left(Full::from(body)));
    *answer.status_mut() = status;
    let json = HeaderValue::from_static("application/json");
    answer.headers_mut().insert(CONTENT_TYPE, json);
    answer
}
