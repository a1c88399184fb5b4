//! What does not go together in a mapping, and what a mapping promises to the engine.

use std::collections::BTreeSet;
use std::fmt;
use std::time::Duration;

use http::header::{AUTHORIZATION, COOKIE, PROXY_AUTHORIZATION};
use http::uri::PathAndQuery;
use http::{HeaderName, HeaderValue};
use reflet_core::{Class, Feed, RevisionOrder, SourceProfile};

use super::mapping::{
    Changes, Consistency, EventRevision, Events, LongPoll, Mapping, Order, Paging, Place, Resume,
    RevisionAt, Stream, Transactions, Version, VersionOrder, Watch,
};
use crate::http::builder::RESERVED;

/// What stands for the revision in a path.
pub(super) const IN_PATH: &str = "{revision}";

/// What is wrong with a mapping.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(not(feature = "simulated"), non_exhaustive)]
pub struct MappingError {
    /// The field, by the names of the JSON: `watch.changes.path`.
    pub field: &'static str,
    /// What is wrong with it.
    pub problem: Problem,
}

/// What is wrong with a field of a mapping.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Problem {
    /// It is no path: it cannot be sent, or has a query or a fragment.
    Path,
    /// `{revision}` is to stand in the path exactly where the path tells it.
    RevisionInPath,
    /// A name in the query is empty, or is used twice.
    QueryName,
    /// A header's value cannot be sent.
    HeaderValue,
    /// A header that carries secrets: it belongs into the source's builder, which never shows it.
    SecretHeader,
    /// An event's name stands for two things, or for none that there is.
    EventName,
    /// It is no status of a refusal (400 to 599, but for 401 and 403), or stands for two things.
    Status,
    /// Only a list of one page can have this revision.
    OnePageOnly,
    /// A watch has to go on from a revision; an `ETag` is none, and neither is nothing.
    NoRevision,
    /// This needs versions that are revisions: `object.version.field.order` must be `commit`.
    NoCommitVersions,
    /// A watch goes on from the revision of a list, whose answers must be right for it: what a list
    /// missed no watch would bring. Pages by number or link must belong to one moment; so must all
    /// pages where revisions have no order.
    Inconsistent,
    /// Nothing says which events are deletes.
    NoDeletes,
    /// A condition needs an `ETag`, or the name in the query of a revision.
    NoCondition,
    /// Only server-sent events have this field.
    NoEventStream,
    /// It is no name of a subprotocol.
    Subprotocol,
    /// A header that belongs to the connection.
    ReservedHeader,
}

impl fmt::Display for MappingError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.field, self.problem)
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Path => "is no path without a query",
            Self::RevisionInPath => {
                "{revision} must be in the path if, and only if, `resume` is `path`"
            }
            Self::QueryName => "a name in the query is empty or used twice",
            Self::HeaderValue => "the value of a header cannot be sent",
            Self::SecretHeader => "a header with secrets must be given to the builder",
            Self::EventName => "a name is used twice, or there are no names",
            Self::Status => "a status is none of a refusal, or is used twice",
            Self::OnePageOnly => "only a list of one page can have this revision",
            Self::NoRevision => "a watch needs a revision of the list to go on from",
            Self::NoCommitVersions => "the order of the versions must be `commit`",
            Self::Inconsistent => {
                "a watch after such a list needs more consistency: `page`, or `list` where pages \
                 have numbers or links or revisions have no order"
            }
            Self::NoDeletes => "nothing says which events are deletes",
            Self::NoCondition => "a blocking list needs an ETag or the name of a revision",
            Self::NoEventStream => "only the events of `server_sent_events` have this",
            Self::Subprotocol => "is no name of a subprotocol",
            Self::ReservedHeader => "a header that belongs to the connection",
        })
    }
}

impl std::error::Error for MappingError {}

type Checked = Result<(), MappingError>;

fn require(holds: bool, field: &'static str, problem: Problem) -> Checked {
    if holds {
        Ok(())
    } else {
        Err(MappingError { field, problem })
    }
}

impl Mapping {
    /// Whether all of it goes together. A source that is built does this itself.
    ///
    /// # Errors
    /// The first field that does not.
    pub fn check(&self) -> Result<(), MappingError> {
        for (name, value) in &self.headers {
            let secret = [AUTHORIZATION, PROXY_AUTHORIZATION, COOKIE].contains(&name.0);
            require(!secret, "headers", Problem::SecretHeader)?;
            let value = HeaderValue::from_str(value);
            require(value.is_ok(), "headers", Problem::HeaderValue)?;
        }
        self.check_list()?;
        match &self.watch {
            Watch::None => Ok(()),
            Watch::Blocking { known, .. } => self.check_blocking(known.is_some()),
            Watch::Changes(changes) => self.check_changes(changes),
            Watch::LongPoll(poll) => self.check_long_poll(poll),
            Watch::Hints(hints) => {
                let field = "watch.hints.path";
                require(is_path(&hints.path), field, Problem::Path)?;
                check_stream(&hints.stream, "watch.hints.stream")?;
                let names = hints.query.keys().map(String::as_str);
                require(are_names(names), "watch.hints.query", Problem::QueryName)
            }
        }
    }

    fn check_list(&self) -> Checked {
        let list = &self.list;
        require(is_path(&list.path), "list.path", Problem::Path)?;
        let paging = match &list.paging {
            Paging::Token { query, .. } | Paging::PageNumber { query, .. } => Some(query),
            Paging::None | Paging::Link => None,
        };
        let own = [paging, list.limit.as_ref(), list.at_least.as_ref()];
        let held = match &self.watch {
            Watch::Blocking { known, wait } => {
                [known.as_ref(), wait.as_ref().map(|wait| &wait.query)]
            }
            Watch::None | Watch::Changes(_) | Watch::LongPoll(_) | Watch::Hints(_) => [None, None],
        };
        let names = list
            .query
            .keys()
            .chain(own.into_iter().chain(held).flatten());
        require(
            are_names(names.map(String::as_str)),
            "list.query",
            Problem::QueryName,
        )?;
        let one_page = list.paging == Paging::None;
        match &list.revision {
            RevisionAt::Etag => require(one_page, "list.revision", Problem::OnePageOnly),
            RevisionAt::NewestItem => {
                require(one_page, "list.revision", Problem::OnePageOnly)?;
                let commit = self.version_order() == Some(VersionOrder::Commit);
                require(commit, "list.revision", Problem::NoCommitVersions)
            }
            RevisionAt::None | RevisionAt::Header { .. } | RevisionAt::Field { .. } => Ok(()),
        }
    }

    fn check_blocking(&self, named: bool) -> Checked {
        let one_page = self.list.paging == Paging::None;
        require(one_page, "watch.blocking", Problem::OnePageOnly)?;
        let revision = match &self.list.revision {
            RevisionAt::Etag => true,
            RevisionAt::Header { .. } | RevisionAt::Field { .. } => named,
            RevisionAt::None | RevisionAt::NewestItem => false,
        };
        require(revision, "watch.blocking.known", Problem::NoCondition)
    }

    fn check_changes(&self, changes: &Changes) -> Checked {
        let path = (changes.path.as_str(), "watch.changes.path");
        let names = changes.query.keys().map(String::as_str).collect();
        let names = (names, "watch.changes.query");
        check_resume(&changes.resume, "watch.changes.resume", path, names)?;
        check_statuses(
            &changes.refusals.gone,
            &changes.refusals.behind,
            "watch.changes.refusals",
        )?;
        check_stream(&changes.stream, "watch.changes.stream")?;
        let labelled = matches!(changes.stream, Stream::ServerSentEvents { .. });
        check_labels(&changes.events, labelled, "watch.changes.events")?;
        self.check_resumable("watch.changes")?;
        self.check_events(&changes.events, "watch.changes.events")
    }

    fn check_long_poll(&self, poll: &LongPoll) -> Checked {
        let path = (poll.path.as_str(), "watch.long_poll.path");
        let mut names: Vec<_> = poll.query.keys().map(String::as_str).collect();
        names.extend(poll.wait.as_ref().map(|wait| wait.query.as_str()));
        let names = (names, "watch.long_poll.query");
        check_resume(&poll.resume, "watch.long_poll.resume", path, names)?;
        check_statuses(
            &poll.refusals.gone,
            &poll.refusals.behind,
            "watch.long_poll.refusals",
        )?;
        check_labels(&poll.events, false, "watch.long_poll.events")?;
        self.check_resumable("watch.long_poll")?;
        self.check_events(&poll.events, "watch.long_poll.events")
    }

    /// Whether what a list says is enough for a watch of changes to go on from.
    fn check_resumable(&self, field: &'static str) -> Checked {
        let revision = !matches!(self.list.revision, RevisionAt::None | RevisionAt::Etag);
        require(revision, field, Problem::NoRevision)?;
        let ordered = self.order() == RevisionOrder::Ordered;
        let enough = match (&self.list.paging, self.list.consistency) {
            (_, Consistency::List) | (Paging::None, Consistency::Page) => true,
            (Paging::Token { .. }, Consistency::Page) => ordered,
            (_, Consistency::None | Consistency::Page) => false,
        };
        require(enough, "list.consistency", Problem::Inconsistent)
    }

    fn check_events(&self, events: &Events, field: &'static str) -> Checked {
        let lists = [
            &events.upsert,
            &events.delete,
            &events.progress,
            &events.gone,
            &events.error,
            &events.ignore,
        ];
        let mut known = BTreeSet::new();
        let once = lists.into_iter().flatten().all(|name| known.insert(name));
        require(once && !events.upsert.is_empty(), field, Problem::EventName)?;
        let named = events.name != super::mapping::EventName::None && !events.delete.is_empty();
        let deletes = named || self.object.deleted.is_some();
        require(deletes, field, Problem::NoDeletes)?;
        let commit = self.version_order() == Some(VersionOrder::Commit);
        let told = events.revision != EventRevision::Version || commit;
        require(told, field, Problem::NoCommitVersions)
    }

    fn version_order(&self) -> Option<VersionOrder> {
        match self.object.version {
            Version::Content => None,
            Version::Field { order, .. } => Some(order),
        }
    }

    fn order(&self) -> RevisionOrder {
        match self.list.revision {
            RevisionAt::Header {
                order: Order::Ordered,
                ..
            }
            | RevisionAt::Field {
                order: Order::Ordered,
                ..
            } => RevisionOrder::Ordered,
            RevisionAt::Header { .. }
            | RevisionAt::Field { .. }
            | RevisionAt::Etag
            | RevisionAt::NewestItem
            | RevisionAt::None => RevisionOrder::Opaque,
        }
    }

    fn class(&self) -> Class {
        let paged = self.list.paging != Paging::None;
        match self.list.consistency {
            Consistency::None => Class::Fuzzy,
            Consistency::Page if paged => Class::Fuzzy,
            Consistency::Page | Consistency::List => match self.watch {
                Watch::Changes(_) | Watch::LongPoll(_) => Class::Pinned,
                Watch::None | Watch::Blocking { .. } | Watch::Hints(_) if paged => Class::Pinned,
                Watch::None | Watch::Blocking { .. } | Watch::Hints(_) => Class::Whole,
            },
        }
    }

    /// What the engine may rely on.
    pub(super) fn profile(&self) -> SourceProfile {
        let (feed, events, heartbeat) = match &self.watch {
            Watch::None => (Feed::FullState { blocking: false }, None, None),
            Watch::Blocking { .. } => (Feed::FullState { blocking: true }, None, None),
            Watch::Changes(changes) => (
                Feed::ListWatch,
                Some(&changes.events),
                changes.heartbeat_ms.map(Duration::from_millis),
            ),
            Watch::LongPoll(poll) => (Feed::ListWatch, Some(&poll.events), Some(poll.quiet())),
            Watch::Hints(hints) => (
                Feed::HintOnly,
                None,
                hints.heartbeat_ms.map(Duration::from_millis),
            ),
        };
        let order = self.order();
        let versions = self.version_order();
        SourceProfile {
            feed,
            class: self.class(),
            order,
            batch_ends: events.is_some_and(|events| events.transactions != Transactions::Unknown),
            predecessors: events.is_some_and(|events| events.previous.is_some()),
            digests: false,
            versions_ordered: matches!(
                versions,
                Some(VersionOrder::Ordered | VersionOrder::Commit)
            ),
            commit_revisions: versions == Some(VersionOrder::Commit)
                && order == RevisionOrder::Ordered
                && events.is_some(),
            heartbeat,
            replica_lag: Duration::from_millis(self.replica_lag_ms),
            fresh_lists: self.list.fresh,
        }
    }

    /// The headers in which answers say something.
    pub(super) fn epoch_header(&self) -> Option<&super::mapping::Header> {
        match &self.list.epoch {
            Some(Place::Header(name)) => Some(name),
            Some(Place::Field(_)) | None => None,
        }
    }
}

fn check_resume<'m>(
    resume: &'m Resume,
    resume_field: &'static str,
    (path, path_field): (&str, &'static str),
    (mut names, query_field): (Vec<&'m str>, &'static str),
) -> Checked {
    let in_path = path.matches(IN_PATH).count();
    let wanted = usize::from(*resume == Resume::Path);
    require(in_path == wanted, path_field, Problem::RevisionInPath)?;
    require(
        is_path(&path.replace(IN_PATH, "0")),
        path_field,
        Problem::Path,
    )?;
    match resume {
        Resume::Query(name) => names.push(name),
        Resume::Header(name) => {
            let reserved = RESERVED.contains(&name.0);
            require(!reserved, resume_field, Problem::ReservedHeader)?;
        }
        Resume::Path => {}
    }
    require(are_names(names), query_field, Problem::QueryName)
}

fn check_stream(stream: &Stream, field: &'static str) -> Checked {
    let fine = match stream {
        Stream::JsonLines
        | Stream::ServerSentEvents { .. }
        | Stream::WebSocket { protocol: None } => true,
        // What HTTP calls a token, by which names of headers go too.
        Stream::WebSocket {
            protocol: Some(name),
        } => HeaderName::from_bytes(name.as_bytes()).is_ok(),
    };
    require(fine, field, Problem::Subprotocol)
}

/// Whether the framing has what the events are said to have there.
fn check_labels(events: &Events, labelled: bool, field: &'static str) -> Checked {
    let asked = events.name == super::mapping::EventName::EventField
        || events.revision == EventRevision::IdField;
    require(labelled || !asked, field, Problem::NoEventStream)
}

fn check_statuses(gone: &[u16], behind: &[u16], field: &'static str) -> Checked {
    let mut known = BTreeSet::new();
    let fine = gone.iter().chain(behind).all(|status| {
        let denied = matches!(status, 401 | 403);
        (400..=599).contains(status) && !denied && known.insert(*status)
    });
    require(fine, field, Problem::Status)
}

/// Whether it can be sent as it is.
fn is_path(path: &str) -> bool {
    let plain = path.is_ascii() && !path.contains(['?', '#', '{', '}']) && !path.starts_with('/');
    let target = format!("/{path}");
    plain && PathAndQuery::try_from(target.as_str()).is_ok_and(|read| read.path() == target)
}

fn are_names<'n>(names: impl IntoIterator<Item = &'n str>) -> bool {
    let mut known = BTreeSet::new();
    names
        .into_iter()
        .all(|name| !name.is_empty() && known.insert(name))
}
