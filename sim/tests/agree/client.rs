//! Asks the server side, and reads what it says as the protocol wants it.

use axum::body::Body;
use axum::response::Response;
use http::{Request, StatusCode};
use http_body_util::BodyExt as _;
use real_reflet::serve::{Collection, Publish};
use reflet_core::FailureClass;
use reflet_sim::world::Word;
use serde_json::Value;
use tower_service::Service as _;

/// A client of one server.
pub(crate) struct Client {
    router: axum::Router,
}

/// A whole answer.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: StatusCode,
    pub(crate) epoch: String,
    pub(crate) revision: u64,
    pub(crate) body: Value,
}

impl Client {
    pub(crate) fn new(things: &Collection) -> Self {
        let router = Publish::new().collection(things).writable(true).router();
        Self { router }
    }

    async fn send(&self, request: Request<Body>) -> Response {
        self.router.clone().call(request).await.unwrap()
    }

    /// Asks with this after the collection's name.
    pub(crate) async fn open(&self, rest: &str) -> Response {
        let request = Request::get(format!("/v1/things{rest}"));
        self.send(request.body(Body::empty()).unwrap()).await
    }

    pub(crate) async fn get(&self, rest: &str) -> Reply {
        Reply::read(self.open(rest).await).await
    }

    pub(crate) async fn post(&self, body: &Value) -> Reply {
        let request = Request::post("/v1/things");
        let request = request.body(Body::from(body.to_string())).unwrap();
        Reply::read(self.send(request).await).await
    }
}

impl Reply {
    pub(crate) async fn read(response: Response) -> Self {
        let (head, body) = response.into_parts();
        let header = |name| head.headers[name].to_str().unwrap().to_owned();
        let (epoch, revision) = (header("x-reflet-epoch"), header("x-reflet-revision"));
        let bytes = body.collect().await.unwrap().to_bytes();
        Self {
            status: head.status,
            epoch,
            revision: revision.parse().unwrap(),
            body: match bytes.is_empty() {
                true => Value::Null,
                false => serde_json::from_slice(&bytes).unwrap(),
            },
        }
    }

    /// The failure, if it is one.
    pub(crate) fn failure(&self) -> Option<Word> {
        (!self.status.is_success() && self.status != StatusCode::NOT_MODIFIED).then(|| {
            assert_eq!(self.body["status"], self.status.as_u16());
            failure(&self.body)
        })
    }
}

/// An error in the model's words.
pub(crate) fn failure(body: &Value) -> Word {
    let class = match (&body["status"], body["reason"].as_str().unwrap()) {
        (status, "Gone") if *status == 410 => FailureClass::Gone,
        (status, "Behind") if *status == 412 => FailureClass::Behind,
        (status, "NotFound") if *status == 404 => FailureClass::NotFound,
        other => panic!("{other:?}"),
    };
    Word::Failed(class, None)
}

/// A number that travels as text.
pub(crate) fn number(text: &Value) -> u64 {
    let text = text.as_str().unwrap_or_else(|| panic!("no text: {text}"));
    let number: u64 = text.parse().unwrap();
    assert_eq!(number.to_string(), text, "not a plain decimal");
    number
}

/// A stream of JSON lines.
pub(crate) struct Lines {
    body: Body,
    rest: Vec<u8>,
}

impl Lines {
    pub(crate) fn new(body: Body) -> Self {
        Self {
            body,
            rest: Vec::new(),
        }
    }

    /// The next line that is no heartbeat; `None` at the end of the stream.
    pub(crate) async fn next(&mut self) -> Option<Value> {
        loop {
            if let Some(end) = self.rest.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.rest.drain(..=end).collect();
                if end > 0 {
                    return Some(serde_json::from_slice(&line).unwrap());
                }
                continue;
            }
            let Some(frame) = self.body.frame().await else {
                assert!(self.rest.is_empty(), "the stream ends in mid-line");
                return None;
            };
            self.rest.extend(frame.unwrap().into_data().unwrap());
        }
    }
}
