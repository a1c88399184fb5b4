//! The shapes of responses.

use std::borrow::Cow;

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use http::header::{
    CACHE_CONTROL, CONTENT_TYPE, ETAG, RETRY_AFTER, SEC_WEBSOCKET_VERSION, UPGRADE,
};
use http::{HeaderName, HeaderValue, StatusCode};

use super::error::WriteError;
use super::json;
use super::state::Head;

const REVISION: HeaderName = HeaderName::from_static("x-reflet-revision");
const EPOCH: HeaderName = HeaderName::from_static("x-reflet-epoch");

pub(super) const JSON: HeaderValue = HeaderValue::from_static("application/json");
pub(super) const JSON_LINES: HeaderValue = HeaderValue::from_static("application/x-ndjson");
pub(super) const EVENT_STREAM: HeaderValue = HeaderValue::from_static("text/event-stream");

/// A request that was not granted: a status, a reason for machines and a message for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Failure {
    pub(super) status: StatusCode,
    pub(super) reason: &'static str,
    pub(super) message: Cow<'static, str>,
    /// Seconds after which to try again.
    pub(super) retry_after: Option<u64>,
}

impl Failure {
    pub(super) fn new(
        status: StatusCode,
        reason: &'static str,
        message: impl Into<Cow<'static, str>>,
    ) -> Self {
        Self {
            status,
            reason,
            message: message.into(),
            retry_after: None,
        }
    }

    pub(super) fn bad_request(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "BadRequest", message)
    }

    pub(super) fn gone(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::GONE, "Gone", message)
    }

    pub(super) fn behind(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::PRECONDITION_FAILED, "Behind", message)
    }

    pub(super) fn not_found(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "NotFound", message)
    }

    pub(super) fn upgrade_required(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::UPGRADE_REQUIRED, "UpgradeRequired", message)
    }

    pub(super) fn too_large(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "TooLarge", message)
    }

    pub(super) fn retry_after(mut self, seconds: u64) -> Self {
        self.retry_after = Some(seconds);
        self
    }

    /// `"status":410,"reason":"Gone","message":"…"`, without the braces.
    fn write_fields(&self, out: &mut Vec<u8>) {
        out.extend(b"\"status\":");
        out.extend(self.status.as_str().bytes());
        out.push(b',');
        json::field(out, "reason", self.reason);
        out.extend(b"\"message\":");
        json::string(out, &self.message);
    }

    /// The failure as the last event of a stream, closed by a line break.
    pub(super) fn line(&self) -> Vec<u8> {
        let mut out = Vec::from(*b"{\"type\":\"ERROR\",");
        self.write_fields(&mut out);
        out.extend(b"}\n");
        out
    }

    /// The failure of a request, at this place of the collection.
    pub(super) fn at(self, head: Head) -> Refused {
        Refused {
            failure: self,
            head: Some(head),
        }
    }

    fn response(&self, head: Option<&Head>) -> Response {
        let mut body = Vec::from(*b"{");
        self.write_fields(&mut body);
        body.push(b'}');
        let mut response = response(self.status, head, JSON, body.into());
        if let Some(seconds) = self.retry_after {
            response.headers_mut().insert(RETRY_AFTER, seconds.into());
        }
        if self.status == StatusCode::UPGRADE_REQUIRED {
            let headers = response.headers_mut();
            headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
            headers.insert(SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
        }
        response
    }
}

/// A failure, and where the collection was then, if there is one.
#[derive(Clone, Debug)]
pub(super) struct Refused {
    pub(super) failure: Failure,
    pub(super) head: Option<Head>,
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        self.failure.response(self.head.as_ref())
    }
}

impl From<WriteError> for Failure {
    fn from(error: WriteError) -> Self {
        let (status, reason) = match &error {
            WriteError::Conflict { .. } => (StatusCode::PRECONDITION_FAILED, "Conflict"),
            WriteError::NotFound { .. } => (StatusCode::NOT_FOUND, "NotFound"),
            WriteError::KeyInvalid { .. } | WriteError::DuplicateKey { .. } | WriteError::Empty => {
                (StatusCode::BAD_REQUEST, "BadRequest")
            }
            WriteError::ValueTooLarge { .. }
            | WriteError::ValueTooDeep { .. }
            | WriteError::TooManyChanges { .. } => (StatusCode::PAYLOAD_TOO_LARGE, "TooLarge"),
            WriteError::TooManyObjects { .. }
            | WriteError::TooManyBytes { .. }
            | WriteError::RevisionsExhausted => (StatusCode::INSUFFICIENT_STORAGE, "Full"),
            WriteError::Journal(_) => (StatusCode::SERVICE_UNAVAILABLE, "Unavailable"),
        };
        Self::new(status, reason, error.to_string())
    }
}

/// A response with the headers that every response has.
pub(super) fn response(
    status: StatusCode,
    head: Option<&Head>,
    content_type: HeaderValue,
    body: Body,
) -> Response {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, content_type);
    // A cached list or watch would be a lagging replica that nobody knows of.
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    match head {
        Some(head) => with_head(response, head),
        None => response,
    }
}

/// Adds where the collection is.
pub(super) fn with_head(mut response: Response, head: &Head) -> Response {
    let headers = response.headers_mut();
    headers.insert(REVISION, head.revision.into());
    if let Ok(epoch) = HeaderValue::from_str(&head.epoch) {
        headers.insert(EPOCH, epoch);
    }
    response
}

/// Adds an object's version as its entity tag.
pub(super) fn with_etag(mut response: Response, version: u64) -> Response {
    if let Ok(tag) = HeaderValue::from_str(&format!("\"{version}\"")) {
        response.headers_mut().insert(ETAG, tag);
    }
    response
}
