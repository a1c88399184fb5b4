//! How a service's lists, objects and watches look: plain data, which may come out of a file.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use http::HeaderName;
use serde::{Deserialize, Serialize};

use super::pointer::Pointer;

/// How a service is followed. Everything but `list.path` and `object.key` has a default.
///
/// In JSON the names are those of the fields, and of the variants in `snake_case`; what is not
/// known is refused. [`Mapping::check`] finds what does not go together. Fields will be added, with
/// defaults that change nothing: a file that is understood now stays so, and so does a mapping that
/// code makes of one. One that code writes as a literal of all fields may not compile any more.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mapping {
    /// How the collection is listed.
    pub list: List,
    /// How an object looks, in a list and in an event.
    pub object: Object,
    /// How changes are heard of. Default: not at all; the list is taken again and again.
    #[serde(default)]
    pub watch: Watch,
    /// How far one of several servers behind the URL may lag behind another, in milliseconds.
    /// Default: 30,000.
    #[serde(default = "default_replica_lag")]
    pub replica_lag_ms: u64,
    /// Headers that are sent with every request. What is secret belongs into the builder's
    /// [`header`](crate::http::HttpSourceBuilder::header), and is refused here. Default: none.
    #[serde(default)]
    pub headers: BTreeMap<Header, String>,
}

/// How the collection is listed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct List {
    /// The path below the base URL, percent-encoded where need be; no query.
    pub path: String,
    /// What is always asked for, as names and values of the query. Default: nothing.
    #[serde(default)]
    pub query: BTreeMap<String, String>,
    /// Where the answer has the array of the objects. Default: it is the answer itself.
    #[serde(default)]
    pub items: Pointer,
    /// Where the answer says which revision of the collection it shows. Default: nowhere.
    #[serde(default)]
    pub revision: RevisionAt,
    /// Where the answer names the unbroken history that its revision belongs to: an id that the
    /// service renews when it starts over or is restored. Default: nowhere. Without it a service
    /// that went back is taken for one that lags, see [`OnRewind`](reflet_core::OnRewind).
    #[serde(default)]
    pub epoch: Option<Place>,
    /// What the service promises of its answers. Default: nothing.
    #[serde(default)]
    pub consistency: Consistency,
    /// How a list goes on. Default: one answer is all of it.
    #[serde(default)]
    pub paging: Paging,
    /// The name in the query of how many objects a page should have. Default: it is not said.
    #[serde(default)]
    pub limit: Option<String>,
    /// The name in the query of the revision that the answer must not be older than. Default: it
    /// is not said, and an older answer is refused when it has come.
    #[serde(default)]
    pub at_least: Option<String>,
    /// Whether each answer shows at least what was there when it was asked for, so that
    /// [`Informer::fence`](crate::Informer::fence) can rely on it: no cache and no replica stands
    /// in between. Default: no.
    #[serde(default)]
    pub fresh: bool,
}

/// Where a list says which revision it shows.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum RevisionAt {
    /// Nowhere. Only the objects can be compared.
    #[default]
    None,
    /// In a header, such as `X-Resource-Version`.
    Header {
        /// The header.
        name: Header,
        /// What can be said of two of them. Default: whether they are equal.
        #[serde(default)]
        order: Order,
    },
    /// In the body.
    Field {
        /// Where.
        at: Pointer,
        /// What can be said of two of them. Default: whether they are equal.
        #[serde(default)]
        order: Order,
    },
    /// The `ETag` of the answer. The next poll asks for something else than that
    /// (`If-None-Match`), and a 304 costs neither side anything. For lists of one page.
    Etag,
    /// The highest version of an object in the list, where versions are revisions
    /// ([`VersionOrder::Commit`]). It is lower after the newest object was deleted, so nothing is
    /// concluded from its order, but a watch can go on from it. For lists of one page.
    NewestItem,
}

/// What can be said of two revisions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Order {
    /// Whether they are equal. What is shown may go back when the service does, and nobody can
    /// wait for a revision.
    #[default]
    Opaque,
    /// They are decimals that the service never lowers, so that an older answer is found and
    /// refused.
    Ordered,
}

/// What the service promises of its answers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Consistency {
    /// Nothing: an answer may mix moments. What is shown is always flagged *partial*, and an
    /// object that moves while it is read may be missing until the next list.
    #[default]
    None,
    /// Each answer shows one moment of the part of the collection that it covers: at the revision
    /// that it names, where it names one. Pages of one list may differ; then what is shown is
    /// flagged *partial* until a watch has passed the newest of them.
    Page,
    /// All pages of a list show one moment. If it names revisions, they are the same on each page.
    List,
}

/// How a list goes on after a page.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Paging {
    /// It does not: one answer is the list.
    #[default]
    None,
    /// By a token in the answer; none, or an empty one: the list is complete.
    Token {
        /// Where the answer has it.
        at: Pointer,
        /// The name in the query by which it is given back.
        query: String,
    },
    /// By numbers; a page without any object is the end of the list.
    PageNumber {
        /// The name in the query.
        query: String,
        /// The first page's number. Default: 1.
        #[serde(default = "one")]
        first: u32,
    },
    /// By a `Link` header with `rel="next"`; none: the list is complete. A link to another origin
    /// is not followed: the list fails.
    Link,
}

/// How an object looks. Its pointers are relative to the object.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Object {
    /// Its key, a string or a number: unique in the collection.
    pub key: Pointer,
    /// What tells two states of an object apart. Default: their content.
    #[serde(default)]
    pub version: Version,
    /// What tells a re-created object from an updated one (a string or a number). Default:
    /// nothing, and a re-creation that nobody saw looks like an update.
    #[serde(default)]
    pub uid: Option<Pointer>,
    /// What is decoded as the value. Default: the whole object.
    #[serde(default)]
    pub value: Pointer,
    /// Where `true` says that the object is deleted and only its tombstone is shown. Default:
    /// nowhere.
    #[serde(default)]
    pub deleted: Option<Pointer>,
}

/// What tells two states of an object apart.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Version {
    /// The bytes of its value as the service writes them, by their hash of 64 bits. Where the
    /// service writes the same value in another way, that is an update.
    #[default]
    Content,
    /// A string or a number in the object.
    Field {
        /// Where.
        at: Pointer,
        /// What can be said of two of them. Default: whether they are equal.
        #[serde(default)]
        order: VersionOrder,
    },
}

/// What can be said of two versions of one object.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum VersionOrder {
    /// Whether they are equal: an object with the same version is the same, and is not decoded.
    #[default]
    Opaque,
    /// They are decimals that grow with each change of the object: an older state is not shown
    /// after a newer one.
    Ordered,
    /// They are the collection's revisions: each is that of the change that made it. So is that of
    /// a delete's event, which is not the one that the object had before. A periodic verify can
    /// then run beside the watch.
    Commit,
}

/// How changes are heard of.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Watch {
    /// Not at all: the list is taken every
    /// [`poll_interval`](reflet_core::Timing::poll_interval). What came and went in between was
    /// never here, and a change shows after at most that time.
    #[default]
    None,
    /// The list itself is held back by the service until the collection is another than the one
    /// that is known (a blocking query). A 304, or the same list again: nothing happened.
    Blocking {
        /// The name in the query of the known revision. Default: `If-None-Match` says it.
        #[serde(default)]
        known: Option<String>,
        /// For how long to hold it back; less than
        /// [`page_timeout`](reflet_core::Timing::page_timeout). Default: the service decides.
        #[serde(default)]
        wait: Option<Wait>,
    },
    /// A stream of changes from a revision on.
    Changes(Changes),
    /// Requests for the changes since a revision, held back by the service while there are none;
    /// 304 or 204: there were none.
    LongPoll(LongPoll),
    /// A stream that only says that something changed: each event, whatever is in it, means that
    /// the list is taken again.
    Hints(Hints),
}

/// A stream of changes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Changes {
    /// The path below the base URL; no query.
    pub path: String,
    /// What is always asked for. Default: nothing.
    #[serde(default)]
    pub query: BTreeMap<String, String>,
    /// How the events come. Default: JSON lines.
    #[serde(default)]
    pub stream: Stream,
    /// How the service is told where to go on.
    pub resume: Resume,
    /// What the events say.
    #[serde(default)]
    pub events: Events,
    /// What refusals mean.
    #[serde(default)]
    pub refusals: Refusals,
    /// The longest quiet that the service promises, in milliseconds: three times this without a
    /// word, and the stream is opened anew. Default: no promise, and ten minutes are waited.
    #[serde(default)]
    pub heartbeat_ms: Option<u64>,
}

/// Long polling for changes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LongPoll {
    /// The path below the base URL; no query.
    pub path: String,
    /// What is always asked for. Default: nothing.
    #[serde(default)]
    pub query: BTreeMap<String, String>,
    /// How the service is told where to go on.
    pub resume: Resume,
    /// For how long to hold a request back. Default: the service decides; should it hold back the
    /// first one too, let [`open_timeout`](reflet_core::Timing::open_timeout) be longer than that.
    #[serde(default)]
    pub wait: Option<Wait>,
    /// Where the answer has the array of the events. Default: it is the answer itself.
    #[serde(default)]
    pub items: Pointer,
    /// Where the answer says up to which revision it has told everything. Default: up to that of
    /// its last event.
    #[serde(default)]
    pub up_to: Option<Place>,
    /// What the events say.
    #[serde(default)]
    pub events: Events,
    /// What refusals mean.
    #[serde(default)]
    pub refusals: Refusals,
    /// The least time from one request to the next when an answer brought something, in
    /// milliseconds. Default: 50.
    #[serde(default = "default_busy")]
    pub busy_interval_ms: u64,
    /// The least time from one request to the next when it brought nothing, in milliseconds.
    /// Default: 1,000.
    #[serde(default = "default_idle")]
    pub idle_interval_ms: u64,
    /// The longest time that the service holds a request back, in milliseconds. Default: 30,000.
    #[serde(default = "default_held")]
    pub held_ms: u64,
}

/// A stream of hints.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Hints {
    /// The path below the base URL; no query.
    pub path: String,
    /// What is always asked for. Default: nothing.
    #[serde(default)]
    pub query: BTreeMap<String, String>,
    /// How the hints come. Default: JSON lines.
    #[serde(default)]
    pub stream: Stream,
    /// The longest quiet that the service promises, in milliseconds. Default: no promise.
    #[serde(default)]
    pub heartbeat_ms: Option<u64>,
}

/// How events come.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Stream {
    /// A line of JSON for each, in an answer that goes on; empty lines are heartbeats.
    #[default]
    JsonLines,
    /// An answer that goes on in the framing of browsers' `EventSource`, each event's data being
    /// JSON. Where the service sends `retry:`, that is the least pause before the next attempt.
    ServerSentEvents {
        /// The names of the events that are looked at, by their `event:`; one without has the name
        /// `message`. Others are signs of life. Default: all are looked at.
        #[serde(default)]
        only: Vec<String>,
    },
    /// A WebSocket on which each message is an event: a text of JSON. What its close codes mean is
    /// written down in `PROTOCOL.md`.
    WebSocket {
        /// The subprotocol that is offered; the service must choose it. Default: none.
        #[serde(default)]
        protocol: Option<String>,
    },
}

/// How the service is told from which revision on it is asked for changes. Those of the revision
/// itself may come once more.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Resume {
    /// By this name in the query.
    Query(String),
    /// By this header, such as `Last-Event-ID`.
    Header(Header),
    /// In the path, where it says `{revision}`.
    Path,
}

/// How long a service is asked to hold a request back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Wait {
    /// The name in the query.
    pub query: String,
    /// What stands for the time, such as `25s`.
    pub value: String,
    /// What stands for no time at all, for the first request of a long poll: it must not look as if
    /// the service did not answer. Default: that request says nothing of it.
    #[serde(default)]
    pub at_once: Option<String>,
}

/// What the events of a watch say. The pointers are relative to the event.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Events {
    /// Where an event says what it is. Default: at `/type`.
    pub name: EventName,
    /// Names of events with an object that was created or updated. Default: `ADDED`, `MODIFIED`.
    pub upsert: Vec<String>,
    /// Names of events of a delete. Default: `DELETED`.
    pub delete: Vec<String>,
    /// Names of events that only say that everything up to their revision was told. Default:
    /// `BOOKMARK`.
    pub progress: Vec<String>,
    /// Names of events that end the watch because the history needed for it is gone: a list is
    /// taken. Default: none.
    pub gone: Vec<String>,
    /// Names of events that end the watch with an error. Default: `ERROR`.
    pub error: Vec<String>,
    /// Names of events that say nothing of the collection. Default: none. An event with any other
    /// name is reported, and a list is taken to make up for what it may have meant.
    pub ignore: Vec<String>,
    /// Where the object is. Default: it is the event itself.
    pub object: Pointer,
    /// Where the key is, in a delete that comes without an object. Default: in the object.
    pub deleted_key: Option<Pointer>,
    /// Where the revision is. Default: it is the object's version ([`VersionOrder::Commit`]).
    pub revision: EventRevision,
    /// Where the revision of the transaction before is, so that a missing event is found at once.
    /// Default: nowhere.
    pub previous: Option<Pointer>,
    /// Where a transaction ends. Default: nobody knows.
    pub transactions: Transactions,
    /// Where an error has its HTTP status, which is treated as that of an answer. Default: nowhere.
    pub status: Option<Pointer>,
    /// Where an error has words for a human. Default: nowhere.
    pub message: Option<Pointer>,
}

/// Where an event says what it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EventName {
    /// In the event.
    Field(Pointer),
    /// In the `event:` of a server-sent event; `message` where it has none.
    EventField,
    /// Nowhere: each event has an object, or its tombstone.
    None,
}

/// Where an event has its revision.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EventRevision {
    /// It is the object's version.
    #[default]
    Version,
    /// In the event.
    Field(Pointer),
    /// In the `id:` of a server-sent event, which each change and each progress must have then. A
    /// service that takes it back as `Last-Event-ID` has that header as its [`Resume::Header`].
    IdField,
}

/// Where the events of one transaction end.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Transactions {
    /// Nobody knows: each change shows when it comes, and what is shown is flagged *partial* until
    /// a later revision or progress has come. A watch that broke off goes on before the last
    /// revision.
    #[default]
    Unknown,
    /// Each event is one: no two have the same revision.
    Single,
    /// An event with `true` here is the last one of its own.
    Last(Pointer),
}

/// Statuses that mean something particular for a watch, besides 410 (gone).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Refusals {
    /// The history needed to go on is no longer there: a list is taken. Some services say 400 or
    /// 404 then. Default: none.
    pub gone: Vec<u16>,
    /// The revision is not there yet, on a server that lags. Default: 412.
    pub behind: Vec<u16>,
}

/// A place in an answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Place {
    /// In a header.
    Header(Header),
    /// In the body.
    Field(Pointer),
}

/// The name of a header.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Header(pub(super) HeaderName);

impl Default for Events {
    fn default() -> Self {
        let names = |names: &[&str]| names.iter().map(ToString::to_string).collect();
        Self {
            name: EventName::Field(Pointer::child("type")),
            upsert: names(&["ADDED", "MODIFIED"]),
            delete: names(&["DELETED"]),
            progress: names(&["BOOKMARK"]),
            gone: Vec::new(),
            error: names(&["ERROR"]),
            ignore: Vec::new(),
            object: Pointer::whole(),
            deleted_key: None,
            revision: EventRevision::default(),
            previous: None,
            transactions: Transactions::default(),
            status: None,
            message: None,
        }
    }
}

impl Default for Refusals {
    fn default() -> Self {
        Self {
            gone: Vec::new(),
            behind: vec![412],
        }
    }
}

impl LongPoll {
    /// The longest time without an answer.
    pub(super) fn quiet(&self) -> Duration {
        let pause = self.idle_interval_ms.max(self.busy_interval_ms);
        Duration::from_millis(self.held_ms.saturating_add(pause))
    }
}

impl FromStr for Header {
    type Err = http::header::InvalidHeaderName;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        name.parse().map(Self)
    }
}

impl TryFrom<String> for Header {
    type Error = http::header::InvalidHeaderName;

    fn try_from(name: String) -> Result<Self, Self::Error> {
        name.parse()
    }
}

impl From<Header> for String {
    fn from(header: Header) -> Self {
        header.to_string()
    }
}

impl PartialOrd for Header {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Header {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.0.as_str().cmp(other.0.as_str())
    }
}

impl fmt::Display for Header {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.as_str())
    }
}

fn one() -> u32 {
    1
}

fn default_replica_lag() -> u64 {
    30_000
}

fn default_busy() -> u64 {
    50
}

fn default_idle() -> u64 {
    1_000
}

fn default_held() -> u64 {
    30_000
}
