//! What a client sends to write: preconditions in headers, and bodies that nobody trusts.
//!
//! Values are kept as raw text, which is checked in a loop and not by recursion, so that no
//! nesting can exhaust the stack.

use std::error::Error;
use std::time::Duration;

use axum::body::to_bytes;
use axum::extract::Request;
use bytes::Bytes;
use http::header::{HeaderName, IF_MATCH, IF_NONE_MATCH};
use http::{HeaderMap, StatusCode};
use http_body_util::LengthLimitError;
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;
use tokio::time::timeout;

use super::json;
use super::object::{Change, Precondition};
use super::options::CollectionOptions;
use super::reply::Failure;

/// The precondition that the headers say.
pub(super) fn read_precondition(headers: &HeaderMap) -> Result<Precondition, Failure> {
    match (
        single(headers, &IF_MATCH)?,
        single(headers, &IF_NONE_MATCH)?,
    ) {
        (None, None) => Ok(Precondition::None),
        (Some("*"), None) => Ok(Precondition::Exists),
        (Some(tag), None) => version(tag).map(Precondition::Version),
        (None, Some("*")) => Ok(Precondition::Absent),
        (None, Some(_)) => Err(Failure::bad_request("if-none-match must be *")),
        (Some(_), Some(_)) => Err(Failure::bad_request(
            "if-match and if-none-match exclude each other",
        )),
    }
}

/// The header's text, which must not be there twice: the first alone could be the wrong one.
pub(super) fn single<'a>(
    headers: &'a HeaderMap,
    name: &HeaderName,
) -> Result<Option<&'a str>, Failure> {
    let mut values = headers.get_all(name).iter();
    let (Some(value), None) = (values.next(), values.next()) else {
        return if headers.contains_key(name) {
            Err(Failure::bad_request(format!("{name} is there twice")))
        } else {
            Ok(None)
        };
    };
    let text = value
        .to_str()
        .map_err(|_| Failure::bad_request(format!("{name} is not text")))?;
    Ok(Some(text.trim()))
}

fn version(tag: &str) -> Result<u64, Failure> {
    let digits = tag
        .strip_prefix('"')
        .and_then(|rest| rest.strip_suffix('"'));
    let wrong = || Failure::bad_request("if-match must be * or one version in quotes");
    digits.and_then(json::decimal).ok_or_else(wrong)
}

/// The body of a `PUT`.
pub(super) async fn read_value(
    request: Request,
    options: &CollectionOptions,
) -> Result<Box<RawValue>, Failure> {
    let body = read_body(request, options.max_value_bytes, options.body_timeout).await?;
    serde_json::from_slice(&body).map_err(broken)
}

/// The body of a `POST`.
pub(super) async fn read_changes(
    request: Request,
    options: &CollectionOptions,
) -> Result<Vec<Change>, Failure> {
    let limit = options.max_transaction_bytes;
    let body = read_body(request, limit, options.body_timeout).await?;
    let ChangesBody { changes } = serde_json::from_slice(&body).map_err(broken)?;
    changes.into_iter().map(ChangeBody::change).collect()
}

async fn read_body(request: Request, limit: usize, wait: Duration) -> Result<Bytes, Failure> {
    let read = timeout(wait, to_bytes(request.into_body(), limit)).await;
    let read = read.map_err(|_| {
        Failure::new(
            StatusCode::REQUEST_TIMEOUT,
            "Timeout",
            format!("the body did not come within {wait:?}"),
        )
    })?;
    read.map_err(|error| {
        if error
            .source()
            .is_some_and(|source| source.is::<LengthLimitError>())
        {
            Failure::too_large(format!("the body has more than {limit} bytes"))
        } else {
            Failure::bad_request("the body broke off")
        }
    })
}

/// Says what is wrong and where; serde_json names line and column.
fn broken(error: serde_json::Error) -> Failure {
    Failure::bad_request(format!("the body is not what it should be: {error}"))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ChangesBody {
    changes: Vec<ChangeBody>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ChangeBody {
    op: Op,
    key: String,
    #[serde(default, deserialize_with = "present")]
    value: Option<Box<RawValue>>,
    if_version: Option<String>,
    #[serde(default)]
    if_absent: bool,
    #[serde(default)]
    if_exists: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum Op {
    Put,
    Delete,
}

/// A value that is there, also if it is `null`: that is a value like any other.
fn present<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Box<RawValue>>, D::Error> {
    Box::deserialize(from).map(Some)
}

impl ChangeBody {
    fn change(self) -> Result<Change, Failure> {
        let precondition = match (&self.if_version, self.if_absent, self.if_exists) {
            (None, false, false) => Precondition::None,
            (None, true, false) => Precondition::Absent,
            (None, false, true) => Precondition::Exists,
            (Some(version), false, false) => {
                let wrong = || Failure::bad_request("if_version must be a decimal string");
                Precondition::Version(json::decimal(version).ok_or_else(wrong)?)
            }
            (_, _, _) => {
                return Err(Failure::bad_request(
                    "a change has one precondition at most",
                ));
            }
        };
        let key = self.key;
        match (self.op, self.value) {
            (Op::Put, Some(value)) => Ok(Change::Put {
                key,
                value,
                precondition,
            }),
            (Op::Delete, None) => Ok(Change::Delete { key, precondition }),
            (Op::Put, None) => Err(Failure::bad_request("a put needs a value")),
            (Op::Delete, Some(_)) => Err(Failure::bad_request("a delete has no value")),
        }
    }
}
