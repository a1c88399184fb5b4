//! What a refusal means to the engine.

use alloc::string::ToString as _;
use core::fmt::Write as _;

use serde::Deserialize;

use super::text::{Text, clip, in_one_line};
use crate::input::{Failure, FailureClass};

/// What was asked for: some statuses mean something else for a watch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asked {
    /// A page.
    List,
    /// A watch, or a poll.
    Watch,
}

/// The body of a refusal, as far as it is the protocol's.
#[derive(Debug, Default, Deserialize)]
pub struct Words<'a> {
    /// For machines.
    #[serde(borrow, default)]
    pub reason: Option<Text<'a>>,
    /// For people.
    #[serde(borrow, default)]
    pub message: Option<Text<'a>>,
}

/// What a status and its reason mean, whether they came as a response or as a line of a stream.
#[must_use]
pub fn refused(asked: Asked, status: u16, reason: Option<&str>, words: &str) -> Failure {
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
    let name = name(status);
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
    Failure::new(class, clip(&in_one_line(&message)))
}

fn says_unsupported(reason: &str) -> bool {
    matches!(
        reason,
        "Unsupported" | "NotSupported" | "NotImplemented" | "MethodNotAllowed"
    )
}

/// A failure that is worth another try.
#[must_use]
pub fn retryable(message: &str) -> Failure {
    Failure::new(FailureClass::Retryable, clip(message))
}

/// What came is not the protocol.
#[must_use]
pub fn malformed(message: &str) -> Failure {
    Failure::new(FailureClass::Malformed, clip(message))
}

/// The name of a status, as IANA's registry has it.
fn name(status: u16) -> Option<&'static str> {
    Some(match status {
        200 => "OK",
        201 => "Created",
        202 => "Accepted",
        203 => "Non Authoritative Information",
        204 => "No Content",
        205 => "Reset Content",
        206 => "Partial Content",
        300 => "Multiple Choices",
        301 => "Moved Permanently",
        302 => "Found",
        303 => "See Other",
        304 => "Not Modified",
        305 => "Use Proxy",
        307 => "Temporary Redirect",
        308 => "Permanent Redirect",
        400 => "Bad Request",
        401 => "Unauthorized",
        402 => "Payment Required",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        406 => "Not Acceptable",
        407 => "Proxy Authentication Required",
        408 => "Request Timeout",
        409 => "Conflict",
        410 => "Gone",
        411 => "Length Required",
        412 => "Precondition Failed",
        413 => "Payload Too Large",
        414 => "URI Too Long",
        415 => "Unsupported Media Type",
        416 => "Range Not Satisfiable",
        417 => "Expectation Failed",
        418 => "I'm a teapot",
        421 => "Misdirected Request",
        422 => "Unprocessable Entity",
        423 => "Locked",
        424 => "Failed Dependency",
        425 => "Too Early",
        426 => "Upgrade Required",
        428 => "Precondition Required",
        429 => "Too Many Requests",
        431 => "Request Header Fields Too Large",
        451 => "Unavailable For Legal Reasons",
        500 => "Internal Server Error",
        501 => "Not Implemented",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        505 => "HTTP Version Not Supported",
        506 => "Variant Also Negotiates",
        507 => "Insufficient Storage",
        508 => "Loop Detected",
        510 => "Not Extended",
        511 => "Network Authentication Required",
        _ => return None,
    })
}
