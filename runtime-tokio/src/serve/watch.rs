//! Following a collection: as a stream of JSON lines, or poll by poll.
//!
//! A watcher is a position in the shared history and at most one portion of it in flight. One that
//! is slower than the history is cut off; nothing is ever queued for it.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::Stream;
use http::StatusCode;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, sleep};

use super::access::{Caller, Place};
use super::collection::{Collection, Shared};
use super::history::Transaction;
use super::json;
use super::query::Resume;
use super::reply::{Failure, Refused};
use super::state::{Ahead, Head, Portion, Position, State};
use crate::probe::reach;

/// No timer is armed for longer, so that any duration may be configured.
const LONGEST_SLEEP: Duration = Duration::from_secs(24 * 60 * 60);
const SHORTEST_INTERVAL: Duration = Duration::from_millis(1);

/// A watch that was granted.
pub(super) struct Watcher {
    shared: Arc<Shared>,
    position: Position,
    /// Frees the place among the watchers when the client goes away.
    _place: OwnedSemaphorePermit,
    /// The same among those of this client.
    _own_place: Option<Place>,
}

impl Watcher {
    /// Grants a watch, and says where the collection is and the digest where the watch begins.
    pub(super) fn open(
        collection: &Collection,
        caller: &Caller,
        resume: &Resume,
    ) -> Result<(Self, Head, u64), Refused> {
        let shared = Arc::clone(&collection.shared);
        let state = shared.state();
        let head = state.head();
        let digest = match check(&state, resume) {
            Ok(digest) => digest,
            Err(failure) => return Err(failure.at(head)),
        };
        let position = Position {
            life: state.life,
            revision: resume.from,
        };
        drop(state);
        let Ok(place) = Arc::clone(&shared.watchers).try_acquire_owned() else {
            reach!("one watcher too many");
            return Err(too_many_watchers().at(head));
        };
        let own_place = match caller.watch() {
            Ok(own_place) => own_place,
            Err(failure) => return Err(failure.at(head)),
        };
        Ok((
            Self {
                shared,
                position,
                _place: place,
                _own_place: own_place,
            },
            head,
            digest,
        ))
    }

    /// The stream of lines: a bookmark at once, then everything after the position.
    pub(super) fn lines(
        self,
        digest: u64,
        timeout: Option<Duration>,
    ) -> impl Stream<Item = Result<Bytes, Infallible>> + Send + 'static {
        let now = Instant::now();
        let opening = bookmark(self.position.revision, digest);
        let lines = Lines {
            watcher: self,
            opening: Some(opening),
            ended: false,
            opened_at: now,
            timeout,
            line_at: now,
            news_at: now,
        };
        futures_util::stream::unfold(lines, |mut lines| async move {
            let chunk = lines.next().await?;
            Some((Ok(chunk), lines))
        })
    }

    /// Waits for transactions after the position, for at most `wait`; none if there were none.
    pub(super) async fn poll(
        self,
        wait: Duration,
        portion: Portion,
    ) -> Result<(Vec<Arc<Transaction>>, Head), Refused> {
        let began = Instant::now();
        let shared = Arc::clone(&self.shared);
        loop {
            // Made before looking, so that it also hears of a change that comes in between.
            let changed = shared.changed.notified();
            let (ahead, head) = {
                let state = shared.state();
                (state.ahead(self.position, portion), state.head())
            };
            let left = wait.saturating_sub(began.elapsed());
            match ahead {
                Ahead::News(news) => return Ok((news, head)),
                Ahead::Forgotten => return Err(forgotten(&self.position).at(head)),
                Ahead::Restored => {
                    reach!("poll ended by a restore");
                    return Err(restored().at(head));
                }
                Ahead::Closed => {
                    reach!("poll ended by a server that closes");
                    // The head may be ahead of the poll, and would have its client skip what it
                    // has not been told.
                    let revision = self.position.revision;
                    return Ok((Vec::new(), Head { revision, ..head }));
                }
                Ahead::Nothing { .. } if left.is_zero() => return Ok((Vec::new(), head)),
                Ahead::Nothing { .. } => {}
            }
            tokio::select! {
                biased;
                () = changed => {}
                () = sleep(left.min(LONGEST_SLEEP)) => {}
            }
        }
    }
}

/// A stream of lines and its clocks.
struct Lines {
    watcher: Watcher,
    /// The first line, until it is sent.
    opening: Option<Bytes>,
    ended: bool,
    opened_at: Instant,
    timeout: Option<Duration>,
    /// When the last line was sent.
    line_at: Instant,
    /// When the last change or bookmark was sent.
    news_at: Instant,
}

impl Lines {
    /// The next lines, or `None` at the end of the stream.
    async fn next(&mut self) -> Option<Bytes> {
        if let Some(opening) = self.opening.take() {
            return Some(opening);
        }
        let shared = Arc::clone(&self.watcher.shared);
        let portion = Portion {
            events: usize::MAX,
            bytes: shared.options.watcher_buffer_bytes,
        };
        while !self.ended && !self.left().is_some_and(|left| left.is_zero()) {
            // Made before looking, so that it also hears of a change that comes in between.
            let changed = shared.changed.notified();
            let ahead = shared.state().ahead(self.watcher.position, portion);
            let digest = match ahead {
                Ahead::News(news) => return Some(self.advance(&news)),
                Ahead::Nothing { digest } => digest,
                Ahead::Closed => {
                    reach!("stream ended by a server that closes");
                    return None;
                }
                Ahead::Forgotten => {
                    reach!("stream slower than the history");
                    return Some(self.end(&forgotten(&self.watcher.position)));
                }
                Ahead::Restored => {
                    reach!("stream ended by a restore");
                    return Some(self.end(&restored()));
                }
            };
            if let Some(line) = self.quiet_line(digest) {
                return Some(line);
            }
            let nap = self.nap();
            tokio::select! {
                biased;
                () = changed => {}
                () = sleep(nap) => {}
            }
        }
        None
    }

    fn advance(&mut self, news: &[Arc<Transaction>]) -> Bytes {
        if let Some(last) = news.last() {
            self.watcher.position.revision = last.revision;
        }
        self.line_at = Instant::now();
        self.news_at = self.line_at;
        match news {
            [only] => only.lines(),
            many => many
                .iter()
                .flat_map(|transaction| transaction.lines())
                .collect(),
        }
    }

    /// The last line.
    fn end(&mut self, failure: &Failure) -> Bytes {
        self.ended = true;
        failure.line().into()
    }

    /// The line that is due because nothing happened, if one is.
    fn quiet_line(&mut self, digest: u64) -> Option<Bytes> {
        if self.news_at.elapsed() >= self.bookmark_interval() {
            self.line_at = Instant::now();
            self.news_at = self.line_at;
            Some(bookmark(self.watcher.position.revision, digest))
        } else if self.line_at.elapsed() >= self.heartbeat_interval() {
            self.line_at = Instant::now();
            Some(Bytes::from_static(b"\n"))
        } else {
            None
        }
    }

    /// How long nothing has to be done.
    fn nap(&self) -> Duration {
        let bookmark = self
            .bookmark_interval()
            .saturating_sub(self.news_at.elapsed());
        let heartbeat = self
            .heartbeat_interval()
            .saturating_sub(self.line_at.elapsed());
        let end = self.left().unwrap_or(LONGEST_SLEEP);
        LONGEST_SLEEP.min(bookmark).min(heartbeat).min(end)
    }

    /// How long until the client wants the stream to end.
    fn left(&self) -> Option<Duration> {
        self.timeout
            .map(|timeout| timeout.saturating_sub(self.opened_at.elapsed()))
    }

    fn bookmark_interval(&self) -> Duration {
        self.watcher
            .shared
            .options
            .bookmark_interval
            .max(SHORTEST_INTERVAL)
    }

    fn heartbeat_interval(&self) -> Duration {
        self.watcher
            .shared
            .options
            .heartbeat_interval
            .max(SHORTEST_INTERVAL)
    }
}

/// The digest at the revision from which a watch may begin, or why it may not.
fn check(state: &State, resume: &Resume) -> Result<u64, Failure> {
    if resume
        .epoch
        .as_deref()
        .is_some_and(|epoch| epoch != &*state.epoch)
    {
        return Err(Failure::gone("the epoch is another one now: list again"));
    }
    if resume.from > state.revision {
        reach!("watch ahead of its server");
        let Resume { from, .. } = resume;
        return Err(Failure::behind(format!(
            "{from} is not there yet, only {}",
            state.revision
        )));
    }
    if state.closed {
        return Err(Failure::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "Unavailable",
            "the server is closing",
        )
        .retry_after(1));
    }
    state.history.digest_at(resume.from).map_err(|_| {
        let base = state.history.base();
        Failure::gone(format!(
            "the history begins after {base}, {} is gone",
            resume.from
        ))
    })
}

fn too_many_watchers() -> Failure {
    let message = "as many watchers as there may be";
    Failure::new(StatusCode::TOO_MANY_REQUESTS, "TooManyWatchers", message).retry_after(1)
}

fn forgotten(position: &Position) -> Failure {
    Failure::gone(format!(
        "too slow: what follows {} is no longer kept",
        position.revision
    ))
}

fn restored() -> Failure {
    Failure::gone("the collection was restored: list again")
}

fn bookmark(revision: u64, digest: u64) -> Bytes {
    let mut out = Vec::from(*b"{\"type\":\"BOOKMARK\",");
    json::counter(&mut out, "revision", revision);
    out.extend(b"\"digest\":");
    json::string(&mut out, &format!("{digest:016x}"));
    out.extend(b"}\n");
    out.into()
}
