//! How what a stream says is written down, for each transport.

use std::convert::Infallible;

use bytes::Bytes;
use futures_util::Stream;

use super::json;
use super::watch::{Following, Said};

/// A stream's body, in the framing of a transport.
pub(super) fn body(
    following: Following,
    write: impl Fn(&Said) -> Bytes + Send + 'static,
) -> impl Stream<Item = Result<Bytes, Infallible>> + Send + 'static {
    futures_util::stream::unfold((following, write), |(mut following, write)| async move {
        let said = following.next().await?;
        Some((Ok(write(&said)), (following, write)))
    })
}

/// Lines of JSON, each closed by a line break; an empty one is a heartbeat.
pub(super) fn lines(said: &Said) -> Bytes {
    match said {
        Said::News(news) => match &**news {
            [only] => only.lines(),
            many => many
                .iter()
                .flat_map(|transaction| transaction.lines())
                .collect(),
        },
        Said::Bookmark { revision, digest } => bookmark(*revision, *digest),
        Said::Heartbeat => Bytes::from_static(b"\n"),
        Said::Failed(failure) => failure.line().into(),
    }
}

/// Server-sent events. An id is where to resume, so only what completes a revision has one.
pub(super) fn server_sent(said: &Said, epoch: &str) -> Bytes {
    let mut out = Vec::new();
    match said {
        Said::News(news) => {
            for transaction in news {
                let lines = transaction.lines();
                let mut lines = split(&lines).peekable();
                while let Some(line) = lines.next() {
                    let id = lines.peek().is_none().then_some(transaction.revision);
                    event(line, id, epoch, &mut out);
                }
            }
        }
        Said::Bookmark { revision, digest } => {
            let line = bookmark(*revision, *digest);
            event(&line, Some(*revision), epoch, &mut out);
        }
        Said::Heartbeat => out.extend(b":\n\n"),
        Said::Failed(failure) => event(&failure.line(), None, epoch, &mut out),
    }
    out.into()
}

fn event(line: &[u8], id: Option<u64>, epoch: &str, out: &mut Vec<u8>) {
    if let Some(revision) = id {
        out.extend(format!("id: {revision}.{epoch}\n").bytes());
    }
    out.extend(b"data: ");
    out.extend(line.trim_ascii_end());
    out.extend(b"\n\n");
}

/// Whole lines without their line breaks.
pub(super) fn split(lines: &[u8]) -> impl Iterator<Item = &[u8]> {
    let lines = lines.strip_suffix(b"\n").unwrap_or(lines);
    lines.split(|byte| *byte == b'\n')
}

fn bookmark(revision: u64, digest: u64) -> Bytes {
    let mut out = Vec::from(*b"{\"type\":\"BOOKMARK\",");
    json::counter(&mut out, "revision", revision);
    out.extend(b"\"digest\":");
    json::string(&mut out, &format!("{digest:016x}"));
    out.extend(b"}\n");
    out.into()
}
