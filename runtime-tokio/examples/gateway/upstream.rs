//! A sample upstream: it answers with what it was asked, so that one sees what the gateway sent.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderValue, Request, Response};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use hyper::service::service_fn;
use serde_json::json;
use tokio::net::TcpListener;

use super::error::StartError;
use super::server::{Server, WRITE_TIMEOUT};

/// The longest request body that is echoed, in bytes.
const MAX_ECHO_BYTES: usize = 64 << 10;
/// The longest delay that a caller may ask for.
const MAX_DELAY: Duration = Duration::from_secs(60);

/// Starts a sample upstream. `?delay_ms=N` makes it answer late.
pub(crate) fn start(listener: TcpListener) -> Result<Server, StartError> {
    let system = |error: std::io::Error| StartError::System(error.to_string());
    let address = listener.local_addr().map_err(system)?;
    let service = move |_| service_fn(move |request| echo(address, request));
    Server::start(listener, WRITE_TIMEOUT, service).map_err(system)
}

async fn echo(
    upstream: SocketAddr,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    if let Some(delay) = delay(request.uri().query().unwrap_or_default()) {
        tokio::time::sleep(delay.min(MAX_DELAY)).await;
    }
    let (head, body) = request.into_parts();
    let headers: BTreeMap<_, _> = head
        .headers
        .iter()
        .map(|(name, value)| (name.as_str(), String::from_utf8_lossy(value.as_bytes())))
        .collect();
    let body = match Limited::new(body, MAX_ECHO_BYTES).collect().await {
        Ok(body) => String::from_utf8_lossy(&body.to_bytes()).into_owned(),
        Err(error) => format!("not echoed: {error}"),
    };
    let echoed = json!({
        "upstream": upstream,
        "method": head.method.as_str(),
        "path": head.uri.path(),
        "query": head.uri.query(),
        "headers": headers,
        "body": body,
    });
    let mut answer = Response::new(Full::from(format!("{echoed:#}\n")));
    let json = HeaderValue::from_static("application/json");
    answer.headers_mut().insert(CONTENT_TYPE, json);
    Ok(answer)
}

fn delay(query: &str) -> Option<Duration> {
    let millis = query
        .split('&')
        .find_map(|pair| pair.strip_prefix("delay_ms="))?;
    millis.parse().ok().map(Duration::from_millis)
}
