//! What went wrong, as the engine's classes of failure.

use std::error::Error;
use std::fmt::Write as _;
use std::io;
use std::time::Duration;

use http::header::{DATE, HeaderMap, RETRY_AFTER};
use http::{HeaderName, StatusCode};
use reflet_core::wire::parts::{Asked, Text, Words, clip, malformed, refused, retryable, shown};
use reflet_core::{Failure, FailureClass};

use super::connect::Target;
use super::redirect;

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
