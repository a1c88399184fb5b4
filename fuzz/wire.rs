//! What a server says, by each transport, whole and cut.
//!
//! The first byte chooses the transport, the second one whether the answer is compressed and how it ends,
//! the next four where the network cuts it. The rest is what is said: as it stands; or as records of
//! 8 bytes, each of which is an event of the protocol with something wrong now and then.
//!
//! An informer follows that for a while of virtual time, three times: uncut, cut as the input wants
//! it, and byte by byte, with the body framed in another way each time. What there is to see must be
//! the same each time.

mod events;
mod frames;

use std::io::Write as _;
use std::time::Duration;

use arbitrary::{Result, Unstructured};
use flate2::Compression;
use flate2::write::GzEncoder;
use reflet_tokio::http::{HttpLimits, HttpSource, PollTiming, Transport};
use serde_json::Value;

use crate::line::{ACCEPT, Cuts, Framing, Line, Reply, Then};
use crate::seen::{Seen, follow, on_paused_time};

/// More than the informer needs to hear of everything, and to try again.
const WATCHED: Duration = Duration::from_secs(15);
/// More than the burst, the attempts of that time and their pages, and the polls at their pace.
const MOST_REQUESTS: usize = 400;
const STAMPS: &str = "x-reflet-revision: 12\r\nx-reflet-epoch: e\r\n";
const LIST: &str = r#"{"revision":"12","epoch":"e","items":[
{"key":"a","version":"7","uid":"3","value":1},{"key":"b","version":"12","uid":"12","value":[]}]}"#;

/// What is said by the bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    List,
    Lines,
    ServerSent,
    WebSocket,
    Poll,
}

const WAYS: [Way; 5] = [
    Way::List,
    Way::Lines,
    Way::ServerSent,
    Way::WebSocket,
    Way::Poll,
];

/// How a stream ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Whole,
    Cut,
    /// It does not: nothing more comes.
    Silence,
}

/// The answers of a server, before they are framed.
struct Script {
    way: Way,
    /// Head and body of an answer are the bodies' bytes.
    bare: bool,
    end: End,
    /// The bodies are compressed.
    packed: bool,
    bodies: Vec<Vec<u8>>,
}

pub(crate) fn run(data: &[u8]) -> Result<()> {
    let Some((head, rest)) = data.split_at_checked(6) else {
        return Ok(());
    };
    let script = Script::read(head[0], head[1], rest)?;
    let cuts = Cuts::at(head[2..6].iter().copied());
    let chunk = usize::from(head[3]) + 1;
    let whole = script.play(Framing::Length, Cuts::nowhere());
    for (framing, cuts) in [
        (Framing::Chunks(chunk), cuts),
        (Framing::Close, Cuts::at([0])),
    ] {
        let cut = script.play(framing, cuts);
        if script.bare {
            // What is wrong with a head depends on how much of it has come.
            continue;
        }
        assert_eq!(cut, whole, "{:?}, {framing:?}", script.way);
    }
    Ok(())
}

impl Script {
    fn read(kind: u8, how: u8, rest: &[u8]) -> Result<Self> {
        let way = WAYS[usize::from(kind) % WAYS.len()];
        let bare = how % 8 == 7;
        let end = match how / 8 % 4 {
            0 | 1 => End::Whole,
            2 => End::Cut,
            _ => End::Silence,
        };
        let written = (kind / 8).is_multiple_of(2);
        let bodies = match (written, way) {
            (false, Way::WebSocket) => vec![rest.to_vec()],
            (false, _) => rest
                .split(|byte| *byte == 0)
                .take(4)
                .map(<[u8]>::to_vec)
                .collect(),
            (true, way) => events::bodies(way, rest)?,
        };
        let packed = how & 0x20 != 0 && !bare && way != Way::WebSocket;
        // What stands in the input may be anything but what it is said to be.
        let bodies = match packed && written {
            true => bodies.iter().map(|body| gzipped(body)).collect(),
            false => bodies,
        };
        Ok(Self {
            packed,
            way,
            bare,
            end,
            bodies,
        })
    }

    fn play(&self, framing: Framing, cuts: Cuts) -> Seen {
        let line = Line::new(self.replies(framing), cuts);
        let limits = HttpLimits {
            page_bytes: 1_200,
            line_bytes: 160,
            ..HttpLimits::default()
        };
        let source = HttpSource::<Value>::builder("http://server:8080", "things")
            .transport(self.transport())
            .connector(line.clone())
            .gzip(self.packed)
            .limits(limits)
            .build();
        let Ok(source) = source else {
            unreachable!("a URL of our own");
        };
        let seen = on_paused_time(follow(source, WATCHED)).until_gone();
        assert!(line.asked() <= MOST_REQUESTS, "{} requests", line.asked());
        seen
    }

    fn transport(&self) -> Transport {
        match self.way {
            Way::List | Way::Lines => Transport::JsonLines,
            Way::ServerSent => Transport::ServerSentEvents,
            Way::WebSocket => Transport::WebSocket,
            Way::Poll => Transport::LongPoll(PollTiming::default()),
        }
    }

    fn replies(&self, framing: Framing) -> Vec<Reply> {
        let list = Reply::new(
            &format!("200 OK\r\ncontent-type: application/json\r\n{STAMPS}"),
            LIST.as_bytes(),
            Framing::Length,
            true,
        );
        let said = self.bodies.iter().map(|body| self.reply(body, framing));
        match self.way {
            Way::List => said.chain([list.clone()]).collect(),
            _ => [list.clone()].into_iter().chain(said).collect(),
        }
    }

    fn reply(&self, body: &[u8], framing: Framing) -> Reply {
        let then = match self.end {
            End::Whole => Then::Close,
            End::Cut => Then::Reset,
            End::Silence => Then::Keep,
        };
        if self.bare {
            let bytes = body.to_vec();
            return Reply { bytes, then };
        }
        let content = match self.way {
            Way::WebSocket => {
                let head = format!(
                    "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\n\
                     upgrade: websocket\r\nsec-websocket-protocol: reflet.v1\r\n\
                     sec-websocket-accept: {ACCEPT}\r\n{STAMPS}\r\n"
                );
                let bytes = [head.as_bytes(), body].concat();
                return Reply { bytes, then };
            }
            Way::ServerSent => "text/event-stream",
            Way::Lines => "application/x-ndjson",
            Way::List | Way::Poll => "application/json",
        };
        let packed = if self.packed {
            "content-encoding: gzip\r\n"
        } else {
            ""
        };
        let head = format!("200 OK\r\ncontent-type: {content}\r\n{packed}{STAMPS}");
        // An answer without a length cannot fall silent and be whole at once.
        let mut reply = Reply::new(&head, body, framing, self.end == End::Whole);
        if self.end == End::Silence {
            reply.then = Then::Keep;
        }
        reply
    }
}

fn gzipped(body: &[u8]) -> Vec<u8> {
    let mut packed = GzEncoder::new(Vec::new(), Compression::fast());
    // Into memory it cannot fail.
    match packed.write_all(body) {
        Ok(()) => packed.finish().unwrap_or_default(),
        Err(_) => Vec::new(),
    }
}

/// One byte of a record, as a number below `most`.
fn small(record: &mut Unstructured<'_>, most: usize) -> Result<usize> {
    record.int_in_range(0..=most - 1)
}
