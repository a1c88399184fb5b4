//! Following a collection: as a stream that goes on for ever, or poll by poll.
//!
//! What a stream says is made here, how it is written down for a transport in `framing`. A watcher is a position in the shared history and at most one portion of it in flight. One that
//! is slower than the history is cut off; nothing is ever queued for it.

use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, sleep};

use super::access::{Caller, Place};
use super::collection::{Collection, Shared};
use super::history::Transaction;
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

    /// The stream: a bookmark at once, then everything after the position.
    pub(super) fn stream(self, digest: u64, timeout: Option<Duration>) -> Following {
        let now = Instant::now();
        let revision = self.position.revision;
        Following {
            watcher: self,
            opening: Some(Said::Bookmark { revision, digest }),
            ended: false,
            opened_at: now,
            timeout,
            spoke_at: now,
            news_at: now,
        }
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

/// What a stream says.
pub(super) enum Said {
    /// The next transactions; at least one.
    News(Vec<Arc<Transaction>>),
    /// The watcher has everything up to the revision, where the collection has this digest.
    Bookmark { revision: u64, digest: u64 },
    /// A sign of life.
    Heartbeat,
    /// The last word: the stream cannot go on.
    Failed(Failure),
}

/// A stream and its clocks.
pub(super) struct Following {
    watcher: Watcher,
    /// The first word, until it is said.
    opening: Option<Said>,
    ended: bool,
    opened_at: Instant,
    timeout: Option<Duration>,
    /// When anything was said last.
    spoke_at: Instant,
    /// When the last change or bookmark was said.
    news_at: Instant,
}

impl Following {
    /// What is to be said next, or `None` at the end of the stream. Dropping the future loses
    /// nothing.
    pub(super) async fn next(&mut self) -> Option<Said> {
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
                Ahead::News(news) => return Some(self.advance(news)),
                Ahead::Nothing { digest } => digest,
                Ahead::Closed => {
                    reach!("stream ended by a server that closes");
                    return None;
                }
                Ahead::Forgotten => {
                    reach!("stream slower than the history");
                    return Some(self.end(forgotten(&self.watcher.position)));
                }
                Ahead::Restored => {
                    reach!("stream ended by a restore");
                    return Some(self.end(restored()));
                }
            };
            if let Some(said) = self.in_quiet(digest) {
                return Some(said);
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

    /// Whether the end of the stream is that of the server.
    pub(super) fn is_closing(&self) -> bool {
        self.watcher.shared.state().closed
    }

    fn advance(&mut self, news: Vec<Arc<Transaction>>) -> Said {
        if let Some(last) = news.last() {
            self.watcher.position.revision = last.revision;
        }
        self.spoke_at = Instant::now();
        self.news_at = self.spoke_at;
        Said::News(news)
    }

    fn end(&mut self, failure: Failure) -> Said {
        self.ended = true;
        Said::Failed(failure)
    }

    /// What is due because nothing happened, if anything is.
    fn in_quiet(&mut self, digest: u64) -> Option<Said> {
        if self.news_at.elapsed() >= self.bookmark_interval() {
            self.spoke_at = Instant::now();
            self.news_at = self.spoke_at;
            let revision = self.watcher.position.revision;
            Some(Said::Bookmark { revision, digest })
        } else if self.spoke_at.elapsed() >= self.heartbeat_interval() {
            self.spoke_at = Instant::now();
            Some(Said::Heartbeat)
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
            .saturating_sub(self.spoke_at.elapsed());
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
