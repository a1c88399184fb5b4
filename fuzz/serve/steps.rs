//! Writes whose ends are foretold by a naive map.

use std::collections::{BTreeMap, BTreeSet};

use arbitrary::{Result, Unstructured};
use axum::body::Body;
use http::{HeaderName, HeaderValue, Method, Request};
use serde_json::json;

use super::{Server, options, requests};

/// Keys, as they are and as they travel in a path.
const KEYS: [(&str, &str); 8] = [
    ("a", "a"),
    ("b", "b"),
    ("c/d", "c/d"),
    ("é", "%C3%A9"),
    ("e f", "e%20f"),
    ("g%", "g%25"),
    ("h", "%68"),
    ("i", "i"),
];
/// Values by their text; what is wrong with them beside it.
const VALUES: [(&str, Option<u16>); 8] = [
    ("1", None),
    ("null", None),
    ("{\"to\":\"b\"}", None),
    ("\"0123456789012345678901234567890123456789\"", None),
    ("[[[[1]]]]", None),
    ("[[[[[1]]]]]", Some(413)),
    (
        "\"01234567890123456789012345678901234567890123456789012345678901234567890\"",
        Some(413),
    ),
    ("{\"a\":", Some(400)),
];

/// What a change asks of what is there.
#[derive(Clone, Copy)]
enum If {
    Anything,
    Version(u64),
    Absent,
    Exists,
}

impl If {
    fn draw(record: &mut Unstructured<'_>, have: Option<u64>) -> Result<Self> {
        Ok(match record.int_in_range(0..=9)? {
            0..4 => Self::Anything,
            4 => Self::Absent,
            5 => Self::Exists,
            6 => Self::Version(record.arbitrary::<u8>()?.into()),
            _ => Self::Version(have.unwrap_or(1)),
        })
    }

    fn holds(self, have: Option<u64>) -> bool {
        match self {
            Self::Anything => true,
            Self::Version(version) => have == Some(version),
            Self::Absent => have.is_none(),
            Self::Exists => have.is_some(),
        }
    }

    fn header(self) -> Option<(HeaderName, HeaderValue)> {
        let (name, value) = match self {
            Self::Anything => return None,
            Self::Version(version) => (http::header::IF_MATCH, format!("\"{version}\"")),
            Self::Absent => (http::header::IF_NONE_MATCH, "*".to_owned()),
            Self::Exists => (http::header::IF_MATCH, "*".to_owned()),
        };
        Some((name, HeaderValue::try_from(value).ok()?))
    }
}

/// What the collection holds: version and size of each object.
#[derive(Clone, Default)]
struct Model(BTreeMap<&'static str, (u64, usize)>);

/// One change: the key, and the value's text or a delete.
struct Change {
    key: (&'static str, &'static str),
    value: Option<(&'static str, Option<u16>)>,
    when: If,
}

impl Model {
    fn draw(&self, record: &mut Unstructured<'_>) -> Result<Change> {
        let key = *record.choose(&KEYS)?;
        let value = record.ratio(2, 3)?.then(|| record.choose(&VALUES).copied());
        let have = self.0.get(key.0).map(|(version, _)| *version);
        Ok(Change {
            key,
            value: value.transpose()?,
            when: If::draw(record, have)?,
        })
    }

    fn bytes(&self) -> usize {
        self.0.iter().map(|(key, (_, size))| key.len() + size).sum()
    }

    /// Makes the changes at a revision. The status if they are refused, and nothing is changed then.
    fn commit(
        &mut self,
        changes: &[Change],
        revision: Option<u64>,
    ) -> std::result::Result<(), u16> {
        let mut next = self.clone();
        let mut keys = BTreeSet::new();
        for change in changes {
            if let Some((_, Some(status))) = change.value {
                return Err(status);
            }
            if !keys.insert(change.key.0) {
                return Err(400);
            }
        }
        let revision = revision.ok_or(507_u16)?;
        for change in changes {
            let key = change.key.0;
            let have = self.0.get(key).map(|(version, _)| *version);
            match change.value {
                None if have.is_none() => return Err(404),
                _ if !change.when.holds(have) => return Err(412),
                None => drop(next.0.remove(key)),
                Some((text, _)) => drop(next.0.insert(key, (revision, text.len()))),
            }
        }
        let limits = options();
        let (objects, bytes) = (next.0.len(), next.bytes());
        let more = objects > limits.max_objects && objects > self.0.len()
            || bytes > limits.max_total_bytes && bytes > self.bytes();
        if more {
            return Err(507);
        }
        *self = next;
        Ok(())
    }
}

pub(super) async fn run(server: &mut Server, data: &[u8]) -> Result<()> {
    let mut model = Model::default();
    for record in data.chunks(16).take(200) {
        let record = &mut Unstructured::new(record);
        match record.int_in_range(0..=15)? {
            0 => server
                .things
                .compact(server.revision.saturating_sub(record.int_in_range(0..=4)?)),
            1 => server.things.compact(record.int_in_range(0..=20)?),
            2..6 => several(server, &mut model, record).await?,
            _ => one(server, &mut model, record).await?,
        }
    }
    let kept = server.things.export().objects;
    let kept: Vec<_> = kept
        .iter()
        .map(|object| (&*object.key, object.version))
        .collect();
    let wanted: Vec<_> = model
        .0
        .iter()
        .map(|(key, (version, _))| (*key, *version))
        .collect();
    assert_eq!(kept, wanted);
    Ok(())
}

async fn one(server: &mut Server, model: &mut Model, record: &mut Unstructured<'_>) -> Result<()> {
    let change = model.draw(record)?;
    let (piece, breaks_off) = (record.int_in_range(1..=9)?, record.ratio(1, 16)?);
    let value = change.value.map_or("", |(text, _)| text);
    let mut request = Request::new(requests::in_pieces(value.as_bytes(), piece, breaks_off));
    *request.method_mut() = match change.value {
        Some(_) => Method::PUT,
        None => Method::DELETE,
    };
    let Ok(uri) = format!("/v1/things/{}", change.key.1).parse() else {
        unreachable!("keys are encoded");
    };
    *request.uri_mut() = uri;
    request.headers_mut().extend(change.when.header());
    let is_new = !model.0.contains_key(change.key.0);
    let wanted = match change.value {
        // A body that is too long is refused as soon as it is.
        Some((text, _)) if breaks_off && text.len() <= options().max_value_bytes => 400,
        Some(_) | None => match model.commit(&[change], server.revision.checked_add(1)) {
            Ok(()) if is_new => 201,
            Ok(()) => 200,
            Err(status) => status,
        },
    };
    let answer = server.send(request).await;
    assert_eq!(answer.status.as_u16(), wanted, "{answer:?}");
    Ok(())
}

async fn several(
    server: &mut Server,
    model: &mut Model,
    record: &mut Unstructured<'_>,
) -> Result<()> {
    let count = record.int_in_range(1..=3)?;
    let changes = (0..count).map(|_| model.draw(record));
    let changes = changes.collect::<Result<Vec<_>>>()?;
    let texts: Vec<_> = changes.iter().map(text).collect();
    let body = format!("{{\"changes\":[{}]}}", texts.join(","));
    let mut request = Request::new(Body::from(body));
    *request.method_mut() = Method::POST;
    let Ok(uri) = "/v1/things".parse() else {
        unreachable!("a path of our own");
    };
    *request.uri_mut() = uri;
    // What cannot be parsed is refused before anything else is looked at.
    let broken = |change: &Change| matches!(change.value, Some((_, Some(400))));
    let wanted = if changes.iter().any(broken) {
        400
    } else {
        model
            .commit(&changes, server.revision.checked_add(1))
            .err()
            .unwrap_or(200)
    };
    let answer = server.send(request).await;
    assert_eq!(answer.status.as_u16(), wanted, "{answer:?}");
    Ok(())
}

/// A change as the body of a transaction has it.
fn text(change: &Change) -> String {
    let key = json!(change.key.0);
    let when = match change.when {
        If::Anything => String::new(),
        If::Version(version) => format!(",\"if_version\":\"{version}\""),
        If::Absent => ",\"if_absent\":true".to_owned(),
        If::Exists => ",\"if_exists\":true".to_owned(),
    };
    match change.value {
        Some((value, _)) => format!("{{\"op\":\"put\",\"key\":{key},\"value\":{value}{when}}}"),
        None => format!("{{\"op\":\"delete\",\"key\":{key}{when}}}"),
    }
}
