//! Where a collection is, and what is asked there.

use alloc::boxed::Box;
use alloc::format;
use alloc::string::String;
use alloc::sync::Arc;
use core::fmt;
use core::time::Duration;

use super::path::{Path, encode};
use super::secrets::{SECRET, secrets_of};
use crate::config::{Class, Config, Feed, RevisionOrder, SourceProfile};
use crate::output::{Command, WatchFrom};

/// How often a server says that a quiet watch is alive, unless it was told otherwise.
const HEARTBEAT: Duration = Duration::from_secs(10);

/// What one answer may cost. Beyond a limit the attempt fails, or the line is skipped. Fields will be
/// added: end a literal with `..WireLimits::default()`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WireLimits {
    /// The most bytes of a page. All of a page is told to the informer in one call, which no other work
    /// can interrupt: less than where there are threads. Default: 16 MiB.
    pub page_bytes: usize,
    /// The most bytes of an event. A longer one is skipped and reported; one of more than eight times
    /// as many bytes ends the attempt. Default: 8 MiB.
    pub line_bytes: usize,
    /// The most bytes of an answer's head. Default: 64 KiB.
    pub header_bytes: usize,
}

impl Default for WireLimits {
    fn default() -> Self {
        Self {
            page_bytes: 16 << 20,
            line_bytes: 8 << 20,
            header_bytes: 64 << 10,
        }
    }
}

/// Why there can be no such endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum EndpointError {
    /// The authority is not `host` or `host:port`.
    InvalidAuthority(Box<str>),
    /// The collection's name is empty, `.` or `..`.
    InvalidCollection(Box<str>),
    /// The prefix does not begin with a slash, ends with one, or holds what no path may hold.
    InvalidPrefix(Box<str>),
    /// This is no name of a header, or its value cannot be one. The value is not repeated: it may be
    /// a secret.
    InvalidHeader(Box<str>),
    /// This header belongs to the connection or to the protocol.
    ReservedHeader(Box<str>),
}

impl fmt::Display for EndpointError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InvalidAuthority(text) => {
                write!(f, "{text:?} is no authority: give host or host:port")
            }
            Self::InvalidCollection(name) => write!(f, "{name:?} cannot be a collection's name"),
            Self::InvalidPrefix(text) => {
                write!(f, "{text:?} cannot stand before a path: give /some/prefix")
            }
            Self::InvalidHeader(name) => write!(f, "the header {name:?} cannot be sent"),
            Self::ReservedHeader(name) => write!(f, "the header {name} cannot be set"),
        }
    }
}

impl core::error::Error for EndpointError {}

/// A collection that a server publishes by Reflet's own protocol.
#[derive(Clone)]
pub struct Endpoint {
    authority: Box<str>,
    path: String,
    /// Lines of a head, each with its end.
    headers: String,
    /// What of the headers is told nobody.
    secrets: Arc<[Box<str>]>,
    limits: WireLimits,
    heartbeat: Duration,
}

impl Endpoint {
    /// The collection of that name at `host` or `host:port`.
    ///
    /// # Errors
    /// The authority or the name cannot be one.
    pub fn new(authority: &str, collection: &str) -> Result<Self, EndpointError> {
        let known = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~:[]%".contains(&byte);
        if authority.is_empty() || !authority.bytes().all(known) {
            return Err(EndpointError::InvalidAuthority(authority.into()));
        }
        if ["", ".", ".."].contains(&collection) {
            return Err(EndpointError::InvalidCollection(collection.into()));
        }
        Ok(Self {
            authority: authority.into(),
            path: format!("/v1/{}", encode(collection)),
            headers: String::new(),
            secrets: Arc::new([]),
            limits: WireLimits::default(),
            heartbeat: HEARTBEAT,
        })
    }

    /// The same below a path, such as `/config`.
    ///
    /// # Errors
    /// It is no such path.
    pub fn below(mut self, prefix: &str) -> Result<Self, EndpointError> {
        let known = |byte: u8| byte.is_ascii_graphic() && !b"?#\"<>\\^`{|}".contains(&byte);
        if !prefix.starts_with('/') || prefix.ends_with('/') || !prefix.bytes().all(known) {
            return Err(EndpointError::InvalidPrefix(prefix.into()));
        }
        self.path.insert_str(0, prefix);
        Ok(self)
    }

    /// The same with one more header. What `authorization`, `proxy-authorization` and `cookie` say is
    /// told nobody, even if the server repeats it.
    ///
    /// # Errors
    /// It cannot be sent, or must not be set.
    pub fn header(self, name: &str, value: &str) -> Result<Self, EndpointError> {
        let secret = SECRET.iter().any(|known| name.eq_ignore_ascii_case(known));
        self.add(name, value, secret)
    }

    /// The same with one more header whose value is told nobody, even if the server repeats it.
    ///
    /// # Errors
    /// It cannot be sent, or must not be set.
    pub fn secret_header(self, name: &str, value: &str) -> Result<Self, EndpointError> {
        self.add(name, value, true)
    }

    fn add(mut self, name: &str, value: &str, secret: bool) -> Result<Self, EndpointError> {
        const RESERVED: [&str; 9] = [
            "accept",
            "accept-encoding",
            "connection",
            "content-length",
            "host",
            "te",
            "trailer",
            "transfer-encoding",
            "upgrade",
        ];
        let token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
        let text = |byte: u8| byte == b'\t' || (byte >= b' ' && byte != 0x7f);
        if name.is_empty() || !name.bytes().all(token) || !value.bytes().all(text) {
            return Err(EndpointError::InvalidHeader(name.into()));
        }
        if RESERVED
            .iter()
            .any(|known| name.eq_ignore_ascii_case(known))
        {
            return Err(EndpointError::ReservedHeader(name.into()));
        }
        for part in [name, ": ", value, "\r\n"] {
            self.headers.push_str(part);
        }
        if secret {
            let more = secrets_of(name, value).into_iter().map(Box::from);
            self.secrets = self.secrets.iter().cloned().chain(more).collect();
        }
        Ok(self)
    }

    pub(super) fn secrets(&self) -> Arc<[Box<str>]> {
        Arc::clone(&self.secrets)
    }

    /// The same with other limits.
    #[must_use]
    pub fn limits(mut self, limits: WireLimits) -> Self {
        self.limits = limits;
        self
    }

    /// The same for a server that says at this interval that a quiet watch is alive. Default: 10 s.
    #[must_use]
    pub fn heartbeat(mut self, interval: Duration) -> Self {
        self.heartbeat = interval;
        self
    }

    /// A configuration for informers of this collection: the usual one, with its
    /// [`profile`](Self::profile).
    #[must_use]
    pub fn config(&self) -> Config {
        Config {
            source: self.profile(),
            ..Config::default()
        }
    }

    /// What the informer has to know of it: its [`Config::source`](crate::Config::source).
    #[must_use]
    pub fn profile(&self) -> SourceProfile {
        profile(self.heartbeat)
    }

    pub(super) fn read_limits(&self) -> WireLimits {
        self.limits
    }

    /// The head of the request that a command is; `Err`: it is none of this protocol.
    pub(super) fn request(&self, command: &Command) -> Result<String, &'static str> {
        let path = Path::new(&self.path);
        let (path, accept) = match command {
            Command::List {
                page,
                at_least,
                limit,
                ..
            } => {
                let path = path
                    .with("limit", limit)
                    .with_some("continue", page.as_deref())
                    .with_some("at_least", at_least.as_ref());
                (path, "application/json")
            }
            Command::Watch {
                from: WatchFrom::Revision(from),
                epoch,
                ..
            } => {
                let path = path
                    .with("watch", "jsonl")
                    .with("from", from)
                    .with_some("epoch", epoch.as_ref());
                (path, "application/x-ndjson")
            }
            Command::Watch { .. } => return Err("a watch of this protocol starts at a revision"),
            Command::Cancel { .. } => return Err("a cancelled attempt is no request"),
        };
        let (path, authority, headers) = (path.as_str(), &self.authority, &self.headers);
        Ok(format!(
            "GET {path} HTTP/1.1\r\nhost: {authority}\r\naccept: {accept}\r\n{headers}\r\n"
        ))
    }
}

impl fmt::Debug for Endpoint {
    /// Headers are not shown: they may be secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Endpoint")
            .field("authority", &self.authority)
            .field("path", &self.path)
            .field("limits", &self.limits)
            .field("heartbeat", &self.heartbeat)
            .finish_non_exhaustive()
    }
}

/// What servers of the protocol can do, and promise.
#[must_use]
pub fn profile(heartbeat: Duration) -> SourceProfile {
    SourceProfile {
        feed: Feed::ListWatch,
        class: Class::Pinned,
        order: RevisionOrder::Ordered,
        batch_ends: true,
        predecessors: true,
        digests: true,
        versions_ordered: true,
        commit_revisions: true,
        heartbeat: Some(heartbeat),
        ..SourceProfile::default()
    }
}
