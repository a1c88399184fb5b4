//! Answers that break on their way.

use std::io;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::response::Response;
use futures_util::StreamExt as _;
use futures_util::stream;
use http::header::CONTENT_LENGTH;
use madsim::time::sleep;

/// What happens to an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Damage {
    /// Its connection is cut.
    Cut,
    /// It ends as if it were complete.
    End,
    /// One byte is another one, which JSON has nowhere.
    Garble,
}

/// How far an answer has come.
enum Stage {
    /// So many bytes are still good.
    Good(usize),
    /// The connection is to be cut.
    Cut,
    Over,
    /// The damage is done, and the rest is good.
    Damaged,
}

/// A response that is damaged after so many bytes of its body.
pub(super) fn damaged(mut response: Response, damage: Damage, after: usize) -> Response {
    // A length would give away that something is missing.
    response.headers_mut().remove(CONTENT_LENGTH);
    response.map(|body| {
        let state = (body.into_data_stream(), Stage::Good(after));
        Body::from_stream(stream::unfold(
            state,
            move |(mut chunks, stage)| async move {
                let left = match stage {
                    Stage::Good(left) => left,
                    Stage::Damaged => usize::MAX,
                    Stage::Over => return None,
                    Stage::Cut => {
                        // The good part has to leave first.
                        sleep(Duration::from_millis(1)).await;
                        let cut = io::Error::from(io::ErrorKind::ConnectionReset);
                        return Some((Err(cut), (chunks, Stage::Over)));
                    }
                };
                let chunk = match chunks.next().await? {
                    Ok(chunk) => chunk,
                    Err(error) => {
                        return Some((Err(io::Error::other(error)), (chunks, Stage::Over)));
                    }
                };
                let (chunk, stage) = if chunk.len() > left {
                    damage.apply(&chunk, left)
                } else {
                    let left = Stage::Good(left - chunk.len());
                    (chunk, left)
                };
                Some((Ok(chunk), (chunks, stage)))
            },
        ))
    })
}

impl Damage {
    /// Damages a chunk at a place within it.
    fn apply(self, chunk: &Bytes, at: usize) -> (Bytes, Stage) {
        match self {
            Self::Cut => (chunk.slice(..at), Stage::Cut),
            Self::End => (chunk.slice(..at), Stage::Over),
            Self::Garble => {
                let mut bytes = Vec::from(&chunk[..]);
                bytes[at] = 0;
                (bytes.into(), Stage::Damaged)
            }
        }
    }
}
