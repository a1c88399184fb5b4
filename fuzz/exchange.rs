//! The answer to one request, taken without I/O, whole and cut.
//!
//! The first byte chooses whether it answers a list or a watch, and with which status; the second one
//! whether the rest is the answer as it stands or its body; the next four where it is cut. What the
//! informer makes of it must be the same whole, cut as the input wants it, and byte by byte; and, of a
//! body, however its end is marked.

use std::sync::Arc;

use arbitrary::Result;
use reflet_core::wire::{Endpoint, Exchange, Next, WireLimits, json};
use reflet_core::{Config, Informer, Timestamp};

use crate::line::{Framing, Reply, Then};
use crate::seen::small_limits;

type Things = Informer<Arc<str>, Arc<str>>;

const LIST: &str = r#"{"revision":"12","epoch":"e","items":[
{"key":"a","version":"7","uid":"3","value":1},{"key":"b","version":"12","uid":"12","value":[]}]}"#;
const STATUSES: [&str; 8] = [
    "200 OK",
    "200 OK",
    "200 OK",
    "200 OK",
    "410 Gone",
    "412 x",
    "503 x\r\nretry-after: 3",
    "302 Found",
];
const LIMITS: WireLimits = WireLimits {
    page_bytes: 1_200,
    line_bytes: 160,
    header_bytes: 400,
};

/// What the informer makes of an answer.
#[derive(Debug, PartialEq, Eq)]
struct Made {
    notices: Vec<String>,
    objects: Vec<(String, String)>,
    health: String,
    wants: Option<String>,
}

pub(crate) fn run(data: &[u8]) -> Result<()> {
    let Some((head, rest)) = data.split_at_checked(6) else {
        return Ok(());
    };
    let watch = head[0] % 2 == 1;
    let status = STATUSES[usize::from(head[0] / 2) % STATUSES.len()];
    let cuts = head[2..6].iter().map(|cut| usize::from(*cut));
    let cuts: Vec<usize> = cuts.collect();
    let bare = head[1] % 2 == 1;
    let complete = head[1] & 2 == 0;
    let framed = |framing| {
        let head = format!("{status}\r\ncontent-type: application/json\r\n");
        let reply = Reply::new(&head, rest, framing, complete);
        let closed = reply.then != Then::Reset;
        (reply.bytes, closed)
    };
    let (answer, closed) = match bare {
        true => (rest.to_vec(), complete),
        false => framed(Framing::Length),
    };
    let whole = take(watch, &[&answer], closed);
    assert_eq!(take(watch, &pieces(&answer, &cuts), closed), whole);
    let bytes: Vec<&[u8]> = answer.chunks(1).collect();
    assert_eq!(take(watch, &bytes, closed), whole);
    if !bare {
        let (answer, closed) = framed(Framing::Chunks(cuts[0] + 1));
        assert_eq!(take(watch, &pieces(&answer, &cuts), closed), whole);
        // Without a length nobody can see that something is missing, unless the connection says so.
        let (answer, closed) = framed(Framing::Close);
        assert_eq!(take(watch, &pieces(&answer, &cuts), closed), whole);
    }
    Ok(())
}

/// The parts of `answer`, each of the next length in `lengths`, over and over.
fn pieces<'a>(mut answer: &'a [u8], lengths: &[usize]) -> Vec<&'a [u8]> {
    let mut lengths = lengths.iter().cycle();
    let mut pieces = Vec::new();
    while let Some(length) = lengths.next()
        && !answer.is_empty()
    {
        let (piece, rest) = answer.split_at((length + 1).min(answer.len()));
        pieces.push(piece);
        answer = rest;
    }
    pieces
}

fn take(watch: bool, pieces: &[&[u8]], closed: bool) -> Made {
    let endpoint = Endpoint::new("server", "things");
    let Ok(endpoint) = endpoint.map(|endpoint| endpoint.limits(LIMITS)) else {
        unreachable!("an endpoint of our own");
    };
    let now = Timestamp::ZERO;
    let config = Config {
        limits: small_limits(),
        ..endpoint.config()
    };
    let mut things = Things::new(config, 7, now);
    let mut exchange = next(&mut things, &endpoint);
    if watch {
        let length = LIST.len();
        let list = format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n{LIST}");
        let listed = exchange.read(&mut things, now, list.as_bytes(), &json);
        assert_eq!(listed, Next::Done { keep: true });
        exchange = next(&mut things, &endpoint);
    }
    let mut last = Next::More;
    for piece in pieces {
        if last == Next::More {
            last = exchange.read(&mut things, now, piece, &json);
        }
    }
    if last == Next::More {
        last = match closed {
            true => exchange.closed(&mut things, now, &json),
            false => exchange.failed(&mut things, now, "reset"),
        };
    }
    assert!(matches!(last, Next::Done { .. }), "it goes on for ever");
    let objects = things.cache().iter();
    let objects = objects.map(|entry| (entry.key.to_string(), entry.value.to_string()));
    let mut objects: Vec<_> = objects.collect();
    objects.sort();
    Made {
        notices: std::iter::from_fn(|| things.poll_notice())
            .map(|notice| format!("{notice:?}"))
            .collect(),
        objects,
        health: format!("{:?}", things.health()),
        wants: things.poll_command().map(|command| format!("{command:?}")),
    }
}

/// The next request of an informer that wants one at once.
fn next(things: &mut Things, endpoint: &Endpoint) -> Exchange {
    let command = things.poll_command();
    match command.and_then(|command| Exchange::new(endpoint, &command)) {
        Some(exchange) => exchange,
        None => unreachable!("it has only just begun"),
    }
}
