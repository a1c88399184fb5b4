//! A mapping in JSON, of what all its fields can be.

use arbitrary::{Result, Unstructured};
use serde_json::{Value, json};

/// Names that objects, events and answers have things by.
pub(super) const NAMES: [&str; 8] = ["id", "rev", "type", "items", "0", "x", "a/b", ""];
/// Names of events.
pub(super) const KINDS: [&str; 8] = [
    "ADD", "UPDATE", "DELETE", "MARK", "GONE", "ERROR", "PING", "",
];

type From<'a, 'b> = &'a mut Unstructured<'b>;

fn pointer(from: From<'_, '_>) -> Result<Value> {
    let steps = from.int_in_range(0..=2)?;
    let mut text = String::new();
    for _ in 0..steps {
        let name = from.choose(&NAMES)?;
        text = format!("{text}/{}", name.replace('/', "~1"));
    }
    Ok(text.into())
}

/// A pointer, mostly of one name.
fn field(from: From<'_, '_>, usual: &str) -> Result<Value> {
    match from.ratio(3, 4)? {
        true => Ok(usual.into()),
        false => pointer(from),
    }
}

fn maybe<T>(from: From<'_, '_>, draw: impl FnOnce(From<'_, '_>) -> Result<T>) -> Result<Option<T>> {
    match from.arbitrary()? {
        true => draw(from).map(Some),
        false => Ok(None),
    }
}

fn one(from: From<'_, '_>, of: &[&str]) -> Result<Value> {
    from.choose(of).map(|name| (*name).into())
}

fn order(from: From<'_, '_>) -> Result<Value> {
    one(from, &["opaque", "ordered"])
}

pub(super) fn mapping(from: From<'_, '_>) -> Result<Value> {
    let list = list(from)?;
    let watch = watch(from)?;
    let object = object(from)?;
    let headers = match from.int_in_range(0..=15_u8)? {
        0 => json!({"x-own": "a value"}),
        1 => json!({"authorization": "a secret"}),
        2 => json!({"x-own": "a\nvalue"}),
        _ => json!({}),
    };
    let lag = *from.choose(&[30_000, 0, u64::MAX])?;
    Ok(json!({
        "list": list, "object": object, "watch": watch, "replica_lag_ms": lag, "headers": headers,
    }))
}

fn list(from: From<'_, '_>) -> Result<Value> {
    let revision = match from.int_in_range(0..=7_u8)? {
        0 => json!("none"),
        1 => json!("etag"),
        2 => json!("newest_item"),
        3 => json!({"header": {"name": "x-rev", "order": order(from)?}}),
        _ => json!({"field": {"at": field(from, "/rev")?, "order": order(from)?}}),
    };
    let epoch = match from.int_in_range(0..=3_u8)? {
        0 => json!({"header": "x-epoch"}),
        1 => json!({"field": pointer(from)?}),
        _ => Value::Null,
    };
    let paging = match from.int_in_range(0..=7_u8)? {
        0 => json!("link"),
        1 => json!({"token": {"at": field(from, "/x")?, "query": "token"}}),
        2 => json!({"page_number": {"query": "page", "first": *from.choose(&[0, 1, u32::MAX])?}}),
        _ => json!("none"),
    };
    let path = one(
        from,
        &["things", "things", "a%20b", "a?b", "{revision}", ""],
    )?;
    let items = field(from, "/items")?;
    let consistency = one(from, &["list", "page", "none"])?;
    let limit = maybe(from, |from| one(from, &["limit", "page", ""]))?;
    let at_least = maybe(from, |from| one(from, &["least", "limit"]))?;
    let fresh: bool = from.arbitrary()?;
    Ok(json!({
        "path": path, "query": {"all": "1"}, "items": items, "revision": revision, "epoch": epoch,
        "consistency": consistency, "paging": paging, "limit": limit, "at_least": at_least,
        "fresh": fresh,
    }))
}

fn object(from: From<'_, '_>) -> Result<Value> {
    let version = match from.int_in_range(0..=3_u8)? {
        0 => json!("content"),
        _ => {
            let order = one(from, &["commit", "ordered", "opaque"])?;
            json!({"field": {"at": field(from, "/rev")?, "order": order}})
        }
    };
    let key = field(from, "/id")?;
    let uid = maybe(from, pointer)?;
    let value = field(from, "")?;
    let deleted = maybe(from, pointer)?;
    Ok(json!({"key": key, "version": version, "uid": uid, "value": value, "deleted": deleted}))
}

fn events(from: From<'_, '_>) -> Result<Value> {
    let name = match from.int_in_range(0..=7_u8)? {
        0 => json!("none"),
        1 => json!("event_field"),
        _ => json!({"field": field(from, "/type")?}),
    };
    let revision = match from.int_in_range(0..=3_u8)? {
        0 => json!({"field": pointer(from)?}),
        1 => json!("version"),
        2 => json!("id_field"),
        _ => json!({"field": "/rev"}),
    };
    let transactions = match from.int_in_range(0..=2_u8)? {
        0 => json!("unknown"),
        1 => json!("single"),
        _ => json!({"last": field(from, "/x")?}),
    };
    let delete = match from.ratio(7, 8)? {
        true => json!(["DELETE"]),
        false => json!([]),
    };
    let ignore = match from.ratio(7, 8)? {
        true => json!(["PING", ""]),
        false => json!(["ADD"]),
    };
    let object = field(from, "")?;
    let deleted_key = maybe(from, pointer)?;
    let previous = maybe(from, pointer)?;
    let status = maybe(from, pointer)?;
    let message = maybe(from, pointer)?;
    Ok(json!({
        "name": name, "upsert": ["ADD", "UPDATE"], "delete": delete, "progress": ["MARK"],
        "gone": ["GONE"], "error": ["ERROR"], "ignore": ignore, "object": object,
        "deleted_key": deleted_key, "revision": revision, "previous": previous,
        "transactions": transactions, "status": status, "message": message,
    }))
}

fn watch(from: From<'_, '_>) -> Result<Value> {
    let wait = json!({"query": "wait", "value": "5s", "at_once": "0s"});
    let beat = maybe(from, |from| from.choose(&[1_000, 0, u64::MAX]).copied())?;
    Ok(match from.int_in_range(0..=9_u8)? {
        0 => json!("none"),
        1 => {
            let known = maybe(from, |from| one(from, &["index", "all"]))?;
            let wait = maybe(from, |_| Ok(wait))?;
            json!({"blocking": {"known": known, "wait": wait}})
        }
        2 => json!({"hints": {
            "path": "feed", "stream": stream(from)?, "heartbeat_ms": beat,
        }}),
        3..7 => {
            let resume = resume(from)?;
            let events = events(from)?;
            json!({"changes": {
                "path": path_of(&resume), "resume": resume, "events": events,
                "stream": stream(from)?, "heartbeat_ms": beat, "refusals": refusals(from)?,
            }})
        }
        _ => {
            let resume = resume(from)?;
            let events = events(from)?;
            let wait = maybe(from, |_| Ok(wait))?;
            let items = field(from, "/items")?;
            let up_to = maybe(from, |from| match from.arbitrary()? {
                true => Ok(json!({"header": "x-rev"})),
                false => Ok(json!({"field": field(from, "/rev")?})),
            })?;
            let pause = |from: From<'_, '_>| from.choose(&[50, 200, 1_000, u64::MAX]).copied();
            let (busy, idle, held) = (pause(from)?, pause(from)?, pause(from)?);
            json!({"long_poll": {
                "path": path_of(&resume), "resume": resume, "wait": wait, "items": items,
                "up_to": up_to, "events": events, "refusals": refusals(from)?,
                "busy_interval_ms": busy, "idle_interval_ms": idle, "held_ms": held,
            }})
        }
    })
}

fn stream(from: From<'_, '_>) -> Result<Value> {
    Ok(match from.int_in_range(0..=3_u8)? {
        0 => json!({"server_sent_events": {"only": []}}),
        1 => json!({"server_sent_events": {"only": ["UPDATE"]}}),
        2 => json!({"web_socket": {"protocol": null}}),
        _ => json!("json_lines"),
    })
}

fn resume(from: From<'_, '_>) -> Result<Value> {
    Ok(match from.int_in_range(0..=3_u8)? {
        0 => json!({"header": "last-event-id"}),
        1 => json!("path"),
        _ => json!({"query": "from"}),
    })
}

fn path_of(resume: &Value) -> &'static str {
    match resume.as_str() {
        Some(_) => "since/{revision}/watch",
        None => "watch",
    }
}

fn refusals(from: From<'_, '_>) -> Result<Value> {
    let gone = *from.choose(&[400_u16, 404, 412, 200])?;
    Ok(json!({"gone": [gone], "behind": [412]}))
}
