//! How an [`HttpSource`] is put together, and what can be wrong with that.

use std::fmt;
use std::marker::PhantomData;
use std::sync::Mutex;
use std::time::Duration;

use http::header::{
    ACCEPT, ACCEPT_ENCODING, AUTHORIZATION, CONNECTION, CONTENT_LENGTH, COOKIE, HOST, HeaderMap,
    HeaderName, HeaderValue, PROXY_AUTHORIZATION, SEC_WEBSOCKET_EXTENSIONS, SEC_WEBSOCKET_KEY,
    SEC_WEBSOCKET_PROTOCOL, SEC_WEBSOCKET_VERSION, TE, TRAILER, TRANSFER_ENCODING, UPGRADE,
};
use http::uri::{Authority, PathAndQuery, Scheme, Uri};
use reflet_core::wire::parts::encode;
use serde::de::DeserializeOwned;

use super::connect::{Connect, Dial, Target, TcpConnector};
use super::request::Client;
use super::rest::MappingError;
use super::tls::{Identity, Roots, Tls};
use super::{HttpSource, Transport};

/// The least that hyper reads a head into.
const LEAST_HEADER_BYTES: usize = 8 << 10;

/// Headers that belong to the connection or to the protocol.
pub(super) const RESERVED: [HeaderName; 13] = [
    ACCEPT,
    ACCEPT_ENCODING,
    CONNECTION,
    CONTENT_LENGTH,
    HOST,
    SEC_WEBSOCKET_EXTENSIONS,
    SEC_WEBSOCKET_KEY,
    SEC_WEBSOCKET_PROTOCOL,
    SEC_WEBSOCKET_VERSION,
    TE,
    TRAILER,
    TRANSFER_ENCODING,
    UPGRADE,
];

/// What one answer may cost. Beyond a limit the attempt fails, or the line is skipped. Fields will be
/// added: end a literal with `..HttpLimits::default()`.
///
/// How long to wait for answers, and how many objects and pages to take, is the engine's to decide:
/// see [`Timing`](reflet_core::Timing) and [`Limits`](reflet_core::Limits).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HttpLimits {
    /// The longest time to open a connection, TLS included. Default: 5 s.
    pub connect_timeout: Duration,
    /// The most bytes of a page, or of the answer to a poll, decompressed. Default: 64 MiB.
    pub page_bytes: usize,
    /// The most bytes of an event of a watch, decompressed: of a line, or of all lines or fragments
    /// of one. A longer one is skipped and reported; one of more than eight times as many bytes ends
    /// the attempt. Default: 8 MiB.
    pub line_bytes: usize,
    /// The most bytes of an answer's head; at least 8 KiB. Default: 64 KiB.
    pub header_bytes: usize,
    /// The most redirects that one request follows. Only those within the same scheme, host and
    /// port are: another server is never asked, let alone shown credentials. They are part of the
    /// attempt that asked: its pace allows for one request, and these on top. Default: 3.
    pub redirects: u32,
}

impl Default for HttpLimits {
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_secs(5),
            page_bytes: 64 << 20,
            line_bytes: 8 << 20,
            header_bytes: 64 << 10,
            redirects: 3,
        }
    }
}

/// Why a source cannot be built.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum BuildError {
    /// The base URL is not `http://host[:port][/prefix]` or `https://…`, in these words.
    InvalidUrl(String),
    /// The base URL carries a user name or a password. They would show up in logs: send them as a
    /// sensitive header.
    Credentials,
    /// A collection's name is empty, `.` or `..`.
    InvalidCollection(String),
    /// This header belongs to the connection or to the protocol.
    ReservedHeader(HeaderName),
    /// A root certificate could not be read, in these words.
    InvalidRoot(String),
    /// The client certificate or its key cannot be used, in these words, which never quote them.
    InvalidIdentity(&'static str),
    /// No root certificate was found, so that no server could be trusted; the platform's words.
    NoRoots(Option<String>),
    /// TLS could not be set up, in these words.
    Tls(String),
    /// The mapping onto a REST service does not go together.
    Mapping(MappingError),
}

impl fmt::Display for BuildError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InvalidUrl(words) => write!(f, "the base URL: {words}"),
            Self::Credentials => f.write_str(
                "the base URL must not carry credentials: send them as a header, which is never shown",
            ),
            Self::InvalidCollection(name) => write!(f, "{name:?} cannot be a collection's name"),
            Self::ReservedHeader(name) => write!(
                f,
                "the header {name} belongs to the connection or the protocol: leave it out"
            ),
            Self::InvalidRoot(words) => write!(f, "a root certificate cannot be read: {words}"),
            Self::InvalidIdentity(words) => write!(f, "the client certificate: {words}"),
            Self::NoRoots(None) => f.write_str(
                "there is no root certificate, so that no server can be trusted: add one as PEM",
            ),
            Self::NoRoots(Some(words)) => write!(
                f,
                "there is no root certificate, so that no server can be trusted: add one as PEM, or \
                 mend the platform's: {words}"
            ),
            Self::Tls(words) => write!(f, "TLS: {words}"),
            Self::Mapping(error) => write!(f, "the mapping: {error}"),
        }
    }
}

impl std::error::Error for BuildError {}

/// Puts an [`HttpSource`] together; see [`HttpSource::builder`].
///
/// `P` is what is spoken over the connection; all that is said of the connection itself is the
/// same for each.
pub struct HttpSourceBuilder<T, P = OwnProtocol> {
    url: String,
    spoken: P,
    headers: Vec<(HeaderName, HeaderValue)>,
    dial: Box<dyn Dial>,
    roots: Roots,
    identity: Option<Identity>,
    limits: HttpLimits,
    gzip: bool,
    value: PhantomData<fn() -> T>,
}

/// A collection that a server publishes by Reflet's own protocol.
#[derive(Debug)]
pub struct OwnProtocol {
    collection: String,
    transport: Transport,
    heartbeat: Duration,
    fresh_lists: bool,
}

impl OwnProtocol {
    pub(super) fn new(collection: &str) -> Self {
        Self {
            collection: collection.to_owned(),
            transport: Transport::default(),
            heartbeat: Duration::from_secs(10),
            fresh_lists: false,
        }
    }
}

impl<T, P> HttpSourceBuilder<T, P> {
    pub(super) fn new(url: &str, spoken: P) -> Self {
        Self {
            url: url.to_owned(),
            spoken,
            headers: Vec::new(),
            dial: Box::new(TcpConnector),
            roots: Roots::default(),
            identity: None,
            limits: HttpLimits::default(),
            gzip: false,
            value: PhantomData,
        }
    }

    /// A header that is sent with every request. Mark a secret by
    /// [`HeaderValue::set_sensitive`]: it is never shown. `Authorization`, `Proxy-Authorization`
    /// and `Cookie` are marked in any case.
    #[must_use]
    pub fn header(mut self, name: HeaderName, mut value: HeaderValue) -> Self {
        if [AUTHORIZATION, PROXY_AUTHORIZATION, COOKIE].contains(&name) {
            value.set_sensitive(true);
        }
        self.headers.push((name, value));
        self
    }

    /// Opens the byte streams. Default: [`TcpConnector`]. TLS is spoken over them for `https`.
    #[must_use]
    pub fn connector(mut self, connector: impl Connect) -> Self {
        self.dial = Box::new(connector);
        self
    }

    /// Trusts these certificate authorities too: one or more certificates as PEM.
    #[must_use]
    pub fn root_pem(mut self, pem: &[u8]) -> Self {
        self.roots.pem.push(pem.to_vec());
        self
    }

    /// Trusts only what [`root_pem`](Self::root_pem) adds, not the platform's authorities.
    #[must_use]
    pub fn without_platform_roots(mut self) -> Self {
        self.roots.platform = false;
        self
    }

    /// Shows this certificate to a server that asks for one: the chain as PEM, the client's own
    /// certificate first, and its private key as PEM (PKCS#8, PKCS#1 or SEC1). The key is never
    /// shown. Only for `https`.
    #[must_use]
    pub fn client_certificate_pem(mut self, chain: &[u8], key: &[u8]) -> Self {
        self.identity = Some(Identity {
            chain: chain.to_vec(),
            key: key.to_vec(),
        });
        self
    }

    /// What one answer may cost.
    #[must_use]
    pub fn limits(mut self, limits: HttpLimits) -> Self {
        self.limits = limits;
        self
    }

    /// Lets the server compress its answers with gzip. Default: no.
    ///
    /// The limits hold for what comes out, and no more than a part of it is ever in memory, so a
    /// bomb is only an answer that is too long. What it takes is trust in everybody on the way: a
    /// proxy that compresses a watch and does not flush after each event holds events back without
    /// a word.
    #[must_use]
    pub fn gzip(mut self, gzip: bool) -> Self {
        self.gzip = gzip;
        self
    }

    /// What is spoken over the connection.
    pub(super) fn spoken(&self) -> &P {
        &self.spoken
    }

    /// What sends the requests, the path that all of them begin with, and what is spoken.
    ///
    /// # Errors
    /// What is wrong with the URL, a header or a certificate.
    pub(super) fn connected(self) -> Result<Connected<P>, BuildError> {
        let base = Base::parse(&self.url)?;
        let tls = base
            .target
            .https
            .then(|| Tls::new(&base.target, &self.roots, self.identity));
        let client = Client {
            tls: tls.transpose()?,
            target: base.target,
            authority: base.authority,
            headers: checked(self.headers)?,
            dial: self.dial,
            connect_timeout: self.limits.connect_timeout,
            max_header_bytes: self.limits.header_bytes.max(LEAST_HEADER_BYTES),
            redirects: self.limits.redirects,
            gzip: self.gzip,
            kept: Mutex::new(None),
        };
        Ok(Connected {
            client,
            prefix: base.prefix,
            limits: self.limits,
            spoken: self.spoken,
        })
    }
}

/// What is known once the connection's side of a source has been checked.
pub(super) struct Connected<P> {
    pub(super) client: Client,
    /// Empty, or a path that starts with a slash and does not end with one.
    pub(super) prefix: String,
    pub(super) limits: HttpLimits,
    pub(super) spoken: P,
}

impl<T: DeserializeOwned + Send + Sync + 'static> HttpSourceBuilder<T> {
    /// How the collection is watched. Default: [`Transport::JsonLines`].
    #[must_use]
    pub fn transport(mut self, transport: Transport) -> Self {
        self.spoken.transport = transport;
        self
    }

    /// The longest quiet of the server's JSON lines. Default: 10 s, as the server's.
    #[must_use]
    pub fn heartbeat(mut self, interval: Duration) -> Self {
        self.spoken.heartbeat = interval;
        self
    }

    /// Whether each list shows what the collection holds when it is asked for, so that
    /// [`Informer::fence`](crate::Informer::fence) can rely on it: the server is the one that is
    /// written to, and no cache and no replica stands in between. Default: no.
    #[must_use]
    pub fn fresh_lists(mut self, fresh: bool) -> Self {
        self.spoken.fresh_lists = fresh;
        self
    }

    /// The source. Reads the platform's root certificates, for `https`; opens no connection.
    ///
    /// # Errors
    /// What is wrong with the URL, the name, a header or a certificate.
    pub fn build(self) -> Result<HttpSource<T>, BuildError> {
        let Connected {
            client,
            prefix,
            limits,
            spoken,
        } = self.connected()?;
        let OwnProtocol {
            collection,
            transport,
            heartbeat,
            fresh_lists,
        } = spoken;
        if ["", ".", ".."].contains(&collection.as_str()) {
            return Err(BuildError::InvalidCollection(collection));
        }
        Ok(HttpSource {
            client,
            path: format!("{prefix}/v1/{}", encode(&collection)),
            transport,
            limits,
            heartbeat,
            fresh_lists,
            value: PhantomData,
        })
    }
}

impl<T, P: fmt::Debug> fmt::Debug for HttpSourceBuilder<T, P> {
    /// Without the URL, which has not been checked for credentials yet.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpSourceBuilder")
            .field("spoken", &self.spoken)
            .field("headers", &self.headers)
            .field("limits", &self.limits)
            .finish_non_exhaustive()
    }
}

fn checked(headers: Vec<(HeaderName, HeaderValue)>) -> Result<HeaderMap, BuildError> {
    let mut map = HeaderMap::new();
    for (name, value) in headers {
        if RESERVED.contains(&name) {
            return Err(BuildError::ReservedHeader(name));
        }
        map.append(name, value);
    }
    Ok(map)
}

/// The parts of a base URL.
struct Base {
    target: Target,
    authority: HeaderValue,
    /// Empty, or a path that starts with a slash and does not end with one.
    prefix: String,
}

impl Base {
    fn parse(url: &str) -> Result<Self, BuildError> {
        let invalid = |words: &str| BuildError::InvalidUrl(words.to_owned());
        // `Uri` drops a fragment without a word.
        if url.contains('#') {
            return Err(invalid("it has a fragment"));
        }
        let uri: Uri = url.parse().map_err(|_| invalid("it cannot be read"))?;
        let https = match uri.scheme() {
            Some(scheme) if *scheme == Scheme::HTTP => false,
            Some(scheme) if *scheme == Scheme::HTTPS => true,
            _ => return Err(invalid("it is neither http:// nor https://")),
        };
        let authority = uri.authority().ok_or_else(|| invalid("it has no host"))?;
        if authority.as_str().contains('@') {
            return Err(BuildError::Credentials);
        }
        let (host, port) =
            host_and_port(authority, https).ok_or_else(|| invalid("it has no host"))?;
        if uri.query().is_some() {
            return Err(invalid("it has a query"));
        }
        let prefix = uri.path_and_query().map_or("", PathAndQuery::path);
        Ok(Self {
            target: Target { host, port, https },
            authority: HeaderValue::from_str(authority.as_str())
                .map_err(|_| invalid("its host cannot be sent"))?,
            prefix: prefix.trim_end_matches('/').to_owned(),
        })
    }
}

/// The host without IPv6's brackets, and the port; `None` where one of them is nonsense.
pub(super) fn host_and_port(authority: &Authority, https: bool) -> Option<(String, u16)> {
    let host = authority.host();
    let bare = host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'));
    let default = if https { 443 } else { 80 };
    let after = authority.as_str().get(host.len()..)?;
    let port = match after.strip_prefix(':') {
        None => default,
        Some(port) => port.parse().ok().filter(|port| *port != 0)?,
    };
    let host = bare.unwrap_or(host);
    (!host.is_empty()).then(|| (host.to_owned(), port))
}
