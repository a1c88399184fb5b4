//! What went wrong, as the engine's classes of failure.

use std::error::Error;
use std::fmt::Write as _;
use std::io;
use std::time::Duration;

use http::header::{DATE, HeaderMap, RETRY_AFTER};
use http::{HeaderName, StatusCode};
use reflet_core::{Failure, FailureClass};
use serde::Deserialize;

use super::connect::Target;
use super::envelope::Text;
use super::redirect;

/// How much of an answer that is not the protocol's is shown.
const SHOWN_BYTES: usize = 200;
/// How much of a message is passed on.
const MESSAGE_BYTES: usize = 512;

/// What was asked for: some statuses mean something else for a watch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Asked {
    List,
    Watch,
}

/// The body of a refusal, as far as it is the protocol's.
#[derive(Debug, Default, Deserialize)]
struct Words<'a> {
    #[serde(borrow, default)]
    reason: Option<Text<'a>>,
    #[serde(borrow, default)]
    message: Option<Text<'a>>,
}

/// What a response other than the hoped-for one means.
pub(super) fn refusal(
    target: &Target,
    asked: Asked,
    status: StatusCode,
    headers: &HeaderMap,
    body: &[u8],
) -> Failure {
    let words: Words<'_> = serde_json::from_slice(body).unwrap_or_default();
    let reason = words.reason.as_ref().map(Text::as_str);
    let mut message = match &words.message {
        Some(message) => message.as_str().to_owned(),
        None => shown(body),
    };
    if status.is_redirection()
        && let Some(words) = redirect::words(target, headers)
    {
        message = words;
    }
    let mut failure = refused(asked, status.as_u16(), reason, &message);
    failure.retry_after = retry_after(headers);
    failure
}

/// What a status and its reason mean, whether they came as a response or as a line of a stream.
pub(super) fn refused(asked: Asked, status: u16, reason: Option<&str>, words: &str) -> Failure {
    let class = match (status, reason) {
        (410, _) | (_, Some("Gone")) => FailureClass::Gone,
        (412, Some("Behind")) => FailureClass::Behind,
        (401 | 403, _) => FailureClass::Denied,
        (404, _) => FailureClass::NotFound,
        (400 | 405 | 501, Some(reason)) if asked == Asked::Watch && says_unsupported(reason) => {
            FailureClass::Unsupported
        }
        (501, _) if asked == Asked::Watch => FailureClass::Unexpected,
        (408 | 425 | 429 | 500..=599, _) => FailureClass::Retryable,
        _ => FailureClass::Unexpected,
    };
    let name = StatusCode::from_u16(status).ok();
    let name = name.and_then(|status| status.canonical_reason());
    let mut message = status.to_string();
    // Writing to a string cannot fail.
    if let Some(name) = name {
        let _ = write!(message, " {name}");
    }
    if let Some(reason) = reason.filter(|reason| Some(*reason) != name) {
        let _ = write!(message, " ({reason})");
    }
    if !words.is_empty() {
        let _ = write!(message, ": {words}");
    }
    Failure::new(class, clip(&message))
}

fn says_unsupported(reason: &str) -> bool {
    matches!(
        reason,
        "Unsupported" | "NotSupported" | "NotImplemented" | "MethodNotAllowed"
    )
}

/// How long the server asks us to wait. A date is taken relative to the response's own date: no
/// clock of ours has to agree with the server's.
pub(super) fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = |name: HeaderName| headers.get(name)?.to_str().ok();
    let wait = text(RETRY_AFTER)?.trim();
    if !wait.is_empty() && wait.bytes().all(|byte| byte.is_ascii_digit()) {
        // More seconds than can be counted are still a wait; the engine caps it.
        return Some(Duration::from_secs(wait.parse().unwrap_or(u64::MAX)));
    }
    let until = httpdate::parse_http_date(wait).ok()?;
    let now = httpdate::parse_http_date(text(DATE)?.trim()).ok()?;
    Some(until.duration_since(now).unwrap_or(Duration::ZERO))
}

/// A failure of the transport: broken connections are worth another try, broken framing is not
/// the protocol.
pub(super) fn transport(context: &str, error: &hyper::Error) -> Failure {
    let class = if is_malformed(error) {
        FailureClass::Malformed
    } else {
        FailureClass::Retryable
    };
    Failure::new(class, clip(&format!("{context}: {}", with_sources(error))))
}

/// A compressed answer that cannot be decompressed: one that was cut is worth another try.
pub(super) fn unpacking(error: &io::Error) -> Failure {
    let words = format!("the compressed answer: {error}");
    match error.kind() {
        io::ErrorKind::UnexpectedEof => retryable(&words),
        _ => malformed(&words),
    }
}

pub(super) fn retryable(message: &str) -> Failure {
    Failure::new(FailureClass::Retryable, clip(message))
}

pub(super) fn malformed(message: &str) -> Failure {
    Failure::new(FailureClass::Malformed, clip(message))
}

/// Whether the server wrote something that is not HTTP.
pub(super) fn is_malformed(error: &hyper::Error) -> bool {
    let framing = error
        .source()
        .and_then(|source| source.downcast_ref::<io::Error>())
        .is_some_and(|error| {
            // What an error of TLS carries is no word of the server.
            let kind = error.kind();
            matches!(
                kind,
                io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput
            ) && error
                .get_ref()
                .is_none_or(|inner| !inner.is::<rustls::Error>())
        });
    error.is_parse() || framing
}

pub(super) fn with_sources(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        let words = error.to_string();
        // Some errors already say what their source says.
        if !text.ends_with(&words) {
            let _ = write!(text, ": {words}");
        }
        source = error.source();
    }
    text
}

/// The first bytes of an answer as text for a human.
pub(super) fn shown(body: &[u8]) -> String {
    let head = body.get(..SHOWN_BYTES).unwrap_or(body);
    let mut text = String::new();
    for c in String::from_utf8_lossy(head).trim().chars() {
        if c.is_control() {
            text.extend(c.escape_default());
        } else {
            text.push(c);
        }
    }
    if body.len() > SHOWN_BYTES {
        text.push('…');
    }
    text
}

/// The beginning of a text, cut at a character.
pub(super) fn clip(text: &str) -> &str {
    text.get(..text.floor_char_boundary(MESSAGE_BYTES))
        .unwrap_or(text)
}
