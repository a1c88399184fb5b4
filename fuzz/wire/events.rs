//! Events of the protocol, nearly right, in the form that a transport wants.

use arbitrary::{Result, Unstructured};

use super::frames::framed;
use super::{Way, small};

/// The bytes of a record.
const RECORD: usize = 8;
/// No more events than that.
const MOST: usize = 40;

const KEYS: [&str; 8] = [
    "a",
    "b",
    "c",
    "\\u00e9",
    "d/e",
    "",
    "a key that is too long by far",
    "\u{1f600}",
];
const VALUES: [&str; 8] = [
    "1",
    "null",
    "{\"to\":\"10.0.0.1\"}",
    "[[[]]]",
    "\"\\ud800\"",
    "1e999",
    "\"\u{fffd}\"",
    "\"a text that takes a good deal of the place that there is in a line, and so on, and so on\"",
];

/// The bodies of answers that say what the records describe.
pub(super) fn bodies(way: Way, rest: &[u8]) -> Result<Vec<Vec<u8>>> {
    let mut told = Vec::new();
    let mut at = 12;
    for record in rest.chunks(RECORD).take(MOST) {
        told.push(told_by(&mut Unstructured::new(record), way, &mut at)?);
    }
    Ok(match way {
        Way::List => told.chunks(6).map(|some| page(some, at)).collect(),
        Way::Poll => told.chunks(6).map(polled).collect(),
        Way::Lines | Way::ServerSent | Way::WebSocket => {
            // The second half is told to who comes again.
            let halves = told.chunks(told.len().div_ceil(2).max(1));
            halves
                .map(|half| half.iter().flat_map(|event| event.framed.clone()).collect())
                .collect()
        }
    })
}

/// An event, and what it looks like on the wire.
struct Told {
    json: String,
    revision: u64,
    framed: Vec<u8>,
}

fn told_by(record: &mut Unstructured<'_>, way: Way, at: &mut u64) -> Result<Told> {
    let kind = small(record, 16)?;
    let previous = *at;
    let moves = [1, 1, 1, 1, 0, 2][small(record, 6)?];
    *at += moves;
    let revision = *at;
    let key = KEYS[small(record, 16)? % KEYS.len()];
    let value = VALUES[small(record, 16)? % VALUES.len()];
    let flags: u8 = record.arbitrary()?;
    let last = if flags & 3 < 3 { ",\"last\":true" } else { "" };
    let uid = if flags & 4 == 0 { "\"uid\":\"3\"," } else { "" };
    let item = format!("\"key\":\"{key}\",\"version\":\"{revision}\",{uid}");
    let place = format!("\"revision\":\"{revision}\",\"previous\":\"{previous}\"");
    let json = match (way, kind) {
        (Way::List, 15) => format!("{{{item}\"val\":{value}}}"),
        (Way::List, _) => format!("{{{item}\"value\":{value}}}"),
        (_, 0..8) => format!("{{\"type\":\"ADDED\",{place},{item}\"value\":{value}{last}}}"),
        (_, 8..11) => format!("{{\"type\":\"DELETED\",{place},{item}\"value\":{value}{last}}}"),
        (_, 11) => format!("{{\"type\":\"BOOKMARK\",\"revision\":\"{revision}\"}}"),
        (_, 12) => {
            format!("{{\"type\":\"BOOKMARK\",{place},\"digest\":\"00000000000000{flags:02x}\"}}")
        }
        (_, 13) => "{\"type\":\"ERROR\",\"status\":410,\"reason\":\"Gone\"}".to_owned(),
        (_, 14) => format!("{{\"type\":\"MODIFIED\",{item}\"value\":{value}}}"),
        (_, _) => format!("{{\"type\":\"NEW\",{place}}}"),
    };
    let json = spoilt(json, record)?;
    let framed = framed(way, json.as_bytes(), record)?;
    Ok(Told {
        json,
        revision,
        framed,
    })
}

/// Now and then it is cut short, or one of its characters is another one.
fn spoilt(mut json: String, record: &mut Unstructured<'_>) -> Result<String> {
    match small(record, 24)? {
        23 => json.truncate(json.floor_char_boundary(small(record, 200)?)),
        22 => {
            let at = json.floor_char_boundary(small(record, 200)?.min(json.len()));
            json.insert(
                at,
                *record.choose(&['\0', '"', '\\', '9', '}', ',', '\u{e9}'])?,
            );
        }
        21 => json.insert_str(0, "  "),
        _ => {}
    }
    Ok(json)
}

fn joined(some: &[Told]) -> String {
    let all: Vec<_> = some.iter().map(|event| event.json.as_str()).collect();
    all.join(",")
}

/// A page of a list; another one follows until one is not full.
fn page(some: &[Told], revision: u64) -> Vec<u8> {
    let items = joined(some);
    let next = match some.last() {
        Some(last) if some.len() == 6 => format!(",\"continue\":\"{}\"", last.revision),
        _ => String::new(),
    };
    let page = format!("{{\"revision\":\"{revision}\",\"epoch\":\"e\",\"items\":[{items}]{next}}}");
    page.into_bytes()
}

fn polled(some: &[Told]) -> Vec<u8> {
    let events = joined(some);
    let revision = some.last().map_or(12, |last| last.revision);
    format!("{{\"revision\":\"{revision}\",\"epoch\":\"e\",\"events\":[{events}]}}").into_bytes()
}
