//! The gateway: a proxy, and the follower that tells it what to do.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use http::header::{ALLOW, CACHE_CONTROL};
use http::{HeaderValue, Method, Request, StatusCode};
use hyper::body::Incoming;
use hyper::service::service_fn;
use serde_json::json;
use tokio::net::TcpListener;

use super::cli::{OnNewEpoch, Transport};
use super::error::StartError;
use super::follow::Follower;
use super::health::GatewayHealth;
use super::proxy::{Answer, Proxy, json_answer};
use super::server::{Server, WRITE_TIMEOUT};

/// Paths below this one are the gateway's own, whatever the routes say.
const OWN: &str = "/-/";
const HEALTH: &str = "/-/health";

/// How a gateway finds and follows its configuration.
#[derive(Clone, Debug)]
pub(crate) struct GatewayOptions {
    /// Where the configuration service is, `host:port`.
    pub(crate) config: String,
    /// How it is followed.
    pub(crate) transport: Transport,
    /// What to do when its history does not continue the known one.
    pub(crate) on_new_epoch: OnNewEpoch,
    /// Where the configuration is kept for the next start, with the collections' names added.
    pub(crate) snapshot: Option<PathBuf>,
}

/// A running gateway.
pub(crate) struct Gateway {
    server: Server,
    front: Arc<Front>,
}

/// What every request meets first.
struct Front {
    follower: Follower,
    proxy: Proxy,
}

impl Gateway {
    /// Starts to serve at once: 503 until the configuration is complete, be it that of a snapshot.
    pub(crate) fn start(
        listener: TcpListener,
        options: &GatewayOptions,
    ) -> Result<Self, StartError> {
        let follower = Follower::start(options)?;
        let proxy = Proxy::new(Arc::clone(follower.in_force()));
        let front = Arc::new(Front { follower, proxy });
        let shared = Arc::clone(&front);
        let service = move |peer: SocketAddr| {
            let front = Arc::clone(&shared);
            service_fn(move |request| {
                let front = Arc::clone(&front);
                async move { Ok::<_, Infallible>(front.answer(peer, request).await) }
            })
        };
        let server = Server::start(listener, WRITE_TIMEOUT, service)
            .map_err(|error| StartError::System(error.to_string()))?;
        Ok(Self { server, front })
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.server.address()
    }

    /// Stops accepting, lets requests finish for at most `grace`, then stops to follow.
    pub(crate) async fn shutdown(self, grace: Duration) {
        self.server.shutdown(grace).await;
        self.front.follower.shutdown().await;
    }
}

impl Front {
    async fn answer(&self, peer: SocketAddr, request: Request<Incoming>) -> Answer {
        let path = request.uri().path();
        if !path.starts_with(OWN) {
            return self.proxy.answer(peer.ip(), request).await;
        }
        if path != HEALTH {
            let error = json!({"status": 404, "error": "the gateway itself only has /-/health"});
            return json_answer(StatusCode::NOT_FOUND, &error);
        }
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            let error = json!({"status": 405, "error": "the health can only be read"});
            let mut answer = json_answer(StatusCode::METHOD_NOT_ALLOWED, &error);
            let allowed = HeaderValue::from_static("GET, HEAD");
            answer.headers_mut().insert(ALLOW, allowed);
            return answer;
        }
        self.health()
    }

    fn health(&self) -> Answer {
        // Loaded first: what is in force may be older than what the informers say, never newer.
        let table = self.follower.in_force().load();
        let health = GatewayHealth::of(table.as_deref(), &self.follower.reports());
        let mut answer = json_answer(StatusCode::OK, &health);
        let fresh = HeaderValue::from_static("no-store");
        answer.headers_mut().insert(CACHE_CONTROL, fresh);
        answer
    }
}
