//! Answers of a service: a head of a few, and a body as it stands in the input or drawn from it.

use arbitrary::{Result, Unstructured};
use serde_json::{Map, Value, json};

use super::Answer;
use super::draw::{KINDS, NAMES};

const HEADS: [&str; 18] = [
    "200 OK\r\n",
    "200 OK\r\ncontent-type: application/json\r\n",
    "200 OK\r\nx-rev: 12\r\nx-epoch: e\r\n",
    "200 OK\r\nx-rev: 13\r\nx-epoch: e\r\n",
    "200 OK\r\nx-rev: twelve\r\nx-epoch: f\r\n",
    "200 OK\r\netag: \"5\"\r\n",
    "200 OK\r\netag: W/\"6\"\r\n",
    "200 OK\r\nlink: </base/things?page=2>; rel=\"next\"\r\n",
    "200 OK\r\nlink: <http://elsewhere/>; rel=next\r\n",
    "200 OK\r\ncontent-type: text/html\r\n",
    "200 OK\r\ncontent-type: text/event-stream\r\n",
    "101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
     sec-websocket-accept: {accept}\r\n",
    "304 Not Modified\r\netag: \"5\"\r\n",
    "204 No Content\r\n",
    "410 Gone\r\n",
    "404 Not Found\r\n",
    "429 Too Many Requests\r\nretry-after: 2\r\n",
    "503 Service Unavailable\r\n",
];
/// Keys, versions and revisions.
const SCALARS: [&str; 12] = [
    "1",
    "2",
    "12",
    "13",
    "14",
    "15",
    "99999999999999999999999",
    "a",
    "b",
    "e",
    "f",
    "a text that is longer than a key may be",
];

pub(super) fn answer(bytes: &[u8]) -> Result<Answer> {
    let mut from = Unstructured::new(bytes);
    let head = HEADS[usize::from(from.arbitrary::<u8>()?) % HEADS.len()].to_owned();
    let kind: u8 = from.arbitrary()?;
    let body = match kind % 8 {
        0 => from.take_rest().to_vec(),
        1..5 => list(&mut from)?.to_string().into_bytes(),
        _ => {
            // As server-sent events they have a field before them, and an empty line after.
            let (before, after) = match kind % 8 {
                5 => ("", "\n"),
                6 => ("data: ", "\n\n"),
                _ => ("event: UPDATE\nid: 13\ndata: ", "\n\n"),
            };
            let mut lines = Vec::new();
            while !from.is_empty() && lines.len() < 1_500 {
                let event = event(&mut from)?;
                lines.extend(format!("{before}{event}{after}").into_bytes());
            }
            lines
        }
    };
    Ok(Answer { head, body })
}

fn list(from: &mut Unstructured<'_>) -> Result<Value> {
    let mut list = Map::new();
    list.insert("rev".to_owned(), scalar(from)?);
    if from.ratio(1, 4)? {
        list.insert("x".to_owned(), scalar(from)?);
    }
    let mut items = Vec::new();
    while !from.is_empty() && items.len() < 12 {
        // In the answer to a long poll these are events.
        items.push(event(from)?);
    }
    list.insert("items".to_owned(), items.into());
    Ok(list.into())
}

/// An object that is an event as well.
fn event(from: &mut Unstructured<'_>) -> Result<Value> {
    if from.ratio(1, 8)? {
        return any(from, 3);
    }
    let kind = KINDS[usize::from(from.arbitrary::<u8>()?) % KINDS.len()];
    let mut event = json!({"type": kind, "id": scalar(from)?, "rev": scalar(from)?});
    if from.ratio(1, 2)? {
        event[*from.choose(&NAMES)?] = any(from, 1)?;
    }
    Ok(event)
}

fn scalar(from: &mut Unstructured<'_>) -> Result<Value> {
    let text = SCALARS[usize::from(from.arbitrary::<u8>()?) % SCALARS.len()];
    let number = text.parse::<u64>().ok();
    Ok(match (number, from.ratio(1, 4)?) {
        (Some(number), true) => number.into(),
        _ => text.into(),
    })
}

fn any(from: &mut Unstructured<'_>, depth: u32) -> Result<Value> {
    let most = if depth == 0 { 4 } else { 6 };
    Ok(match from.int_in_range(0..=most)? {
        0 => Value::Null,
        1 => true.into(),
        2 => from.arbitrary::<i64>()?.into(),
        3 | 4 => scalar(from)?,
        5 => {
            let count = from.int_in_range(0..=3)?;
            let items = (0..count).map(|_| any(from, depth - 1));
            items.collect::<Result<Vec<_>>>()?.into()
        }
        _ => {
            let mut map = Map::new();
            for _ in 0..from.int_in_range(0..=3_u8)? {
                let name = *from.choose(&NAMES)?;
                map.insert(name.to_owned(), any(from, depth - 1)?);
            }
            map.into()
        }
    })
}
