//! Who may read and write what: bearer tokens, the rights that each of them gives, and how many
//! watches one client may have.

use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use http::header::{AUTHORIZATION, HeaderMap, WWW_AUTHENTICATE};
use http::{HeaderValue, Method, StatusCode};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

use super::reply::{Failure, Refused};
use super::router::{Path, Publish, last};

/// Which collections somebody may read (list, watch, get) and write (put, delete, transactions).
///
/// The two are apart: who may write may not read for that. [`Publish::writable`] is asked, too.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rights {
    read: Scope,
    write: Scope,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Scope {
    All,
    Only(BTreeSet<String>),
}

impl Default for Scope {
    fn default() -> Self {
        Self::Only(BTreeSet::new())
    }
}

impl Scope {
    fn add(&mut self, collection: &str) {
        if let Self::Only(collections) = self {
            collections.insert(collection.to_owned());
        }
    }

    fn has(&self, collection: &str) -> bool {
        match self {
            Self::All => true,
            Self::Only(collections) => collections.contains(collection),
        }
    }
}

impl Rights {
    /// No rights.
    #[must_use]
    pub fn none() -> Self {
        Self::default()
    }

    /// Besides, this collection may be read.
    #[must_use]
    pub fn read(mut self, collection: &str) -> Self {
        self.read.add(collection);
        self
    }

    /// Besides, this collection may be written.
    #[must_use]
    pub fn write(mut self, collection: &str) -> Self {
        self.write.add(collection);
        self
    }

    /// Besides, every collection may be read.
    #[must_use]
    pub fn read_all(mut self) -> Self {
        self.read = Scope::All;
        self
    }

    /// Besides, every collection may be written.
    #[must_use]
    pub fn write_all(mut self) -> Self {
        self.write = Scope::All;
        self
    }

    fn allow(&self, method: &Method, collection: &str) -> bool {
        let scope = match *method {
            Method::GET | Method::HEAD => &self.read,
            _ => &self.write,
        };
        scope.has(collection)
    }
}

/// Who may read and write what, for [`Publish::access`]. At first, nobody anything.
///
/// A client shows its token as `Authorization: Bearer …` and nowhere else: what stands in a URL ends
/// up in logs. Of a token only a hash is kept, and comparing takes as long for a wrong one as for a
/// right one.
///
/// ```
/// use reflet_tokio::serve::{Access, Rights};
///
/// # fn main() -> Result<(), reflet_tokio::serve::AccessError> {
/// let access = Access::new()
///     .client("gateway", "kq3xKCwAdB0WnUdD", Rights::none().read_all())?
///     .client("deployer", "vTq5nOiE7XhFY9Pz", Rights::none().read("routes").write("routes"))?;
/// # drop(access);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Default)]
pub struct Access {
    clients: Vec<Client>,
    anonymous: Rights,
}

#[derive(Clone)]
struct Client {
    name: Arc<str>,
    token: [u8; 32],
    rights: Rights,
}

/// Why a client was not added.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum AccessError {
    /// A token is one or more of the characters `A-Z a-z 0-9 - . _ ~ + /`, then any number of `=`
    /// (RFC 6750). It is not shown.
    TokenInvalid {
        /// The client's name.
        client: String,
    },
    /// Two entries have the same token, so that nobody could tell whose it is.
    TokenTwice {
        /// The name of the client that already has it.
        client: String,
    },
}

impl fmt::Display for AccessError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TokenInvalid { client } => {
                write!(f, "the token of {client:?} is not a bearer token")
            }
            Self::TokenTwice { client } => write!(f, "{client:?} already has that token"),
        }
    }
}

impl Error for AccessError {}

impl Access {
    /// Nobody may do anything yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Whoever shows this token is the client of this name, and has these rights. A client may have
    /// several tokens, so that one can be replaced without an interruption.
    ///
    /// # Errors
    /// See [`AccessError`].
    pub fn client(mut self, name: &str, token: &str, rights: Rights) -> Result<Self, AccessError> {
        let client = name.to_owned();
        if !is_token(token) {
            return Err(AccessError::TokenInvalid { client });
        }
        if let Some(owner) = self.find(token.as_bytes()) {
            let client = String::from(&*owner.name);
            return Err(AccessError::TokenTwice { client });
        }
        self.clients.push(Client {
            name: client.into(),
            token: Sha256::digest(token).into(),
            rights,
        });
        Ok(self)
    }

    /// What those may do who show no token. Default: nothing.
    #[must_use]
    pub fn anonymous(mut self, rights: Rights) -> Self {
        self.anonymous = rights;
        self
    }

    /// Every client is looked at, and each byte of a hash: the time that it takes depends on no
    /// token that is kept here, and hashes are of one length.
    fn find(&self, token: &[u8]) -> Option<&Client> {
        let shown: [u8; 32] = Sha256::digest(token).into();
        let mut found = None;
        for client in &self.clients {
            if bool::from(client.token.ct_eq(&shown)) {
                found = Some(client);
            }
        }
        found
    }

    /// Whose request this is, if it is somebody's with a name, and whether it is granted.
    fn decide(
        &self,
        headers: &HeaderMap,
        method: &Method,
        collection: &str,
    ) -> Result<Option<Arc<str>>, Failure> {
        let (rights, name) = match token(headers)? {
            None => (&self.anonymous, None),
            Some(token) => {
                let unknown = || unauthorized("the token is not known here");
                let client = self.find(token).ok_or_else(unknown)?;
                (&client.rights, Some(Arc::clone(&client.name)))
            }
        };
        if rights.allow(method, collection) {
            return Ok(name);
        }
        Err(match name {
            None => unauthorized("a bearer token is needed"),
            Some(_) => {
                let message = "this client may not do that with this collection";
                Failure::new(StatusCode::FORBIDDEN, "Forbidden", message)
            }
        })
    }
}

impl fmt::Debug for Access {
    /// Without tokens and their hashes.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let clients = self.clients.iter();
        let clients: Vec<_> = clients
            .map(|client| (&client.name, &client.rights))
            .collect();
        f.debug_struct("Access")
            .field("clients", &clients)
            .field("anonymous", &self.anonymous)
            .finish()
    }
}

/// RFC 6750's `b64token`.
fn is_token(text: &str) -> bool {
    let body = text.trim_end_matches('=');
    let plain = |byte: u8| {
        byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~' | b'+' | b'/')
    };
    !body.is_empty() && body.bytes().all(plain)
}

/// The bearer token that the headers show, if they show any credentials.
fn token(headers: &HeaderMap) -> Result<Option<&[u8]>, Failure> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let Some(value) = values.next() else {
        return Ok(None);
    };
    if values.next().is_some() {
        return Err(unauthorized("authorization is there twice"));
    }
    let bytes = value.as_bytes();
    let (scheme, rest) = bytes.split_at_checked(7).unwrap_or((bytes, b""));
    if !scheme.eq_ignore_ascii_case(b"bearer ") {
        return Err(unauthorized("only bearer tokens are known here"));
    }
    Ok(Some(rest.trim_ascii()))
}

fn unauthorized(message: &'static str) -> Failure {
    Failure::new(StatusCode::UNAUTHORIZED, "Unauthorized", message)
}

/// What the embedding server knows a client by that shows no token, such as its address: put as an
/// extension into the request, it is what [`Publish::max_watchers_per_client`] counts by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientId(
    /// Any text; equal texts are one client.
    pub Arc<str>,
);

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Known {
    ByToken(Arc<str>),
    ByServer(Arc<str>),
}

/// Whose request it is, as far as anybody knows. Each request has it as an extension.
#[derive(Clone, Debug)]
pub(super) struct Caller {
    known: Option<Known>,
    watches: Arc<Watches>,
}

impl Caller {
    /// A place among this client's watches. Who is known by nothing is not counted.
    pub(super) fn watch(&self) -> Result<Option<Place>, Failure> {
        let Some(known) = &self.known else {
            return Ok(None);
        };
        self.watches.take(known).map(Some).ok_or_else(|| {
            let message = "as many watchers as one client may have";
            Failure::new(StatusCode::TOO_MANY_REQUESTS, "TooManyWatchers", message).retry_after(1)
        })
    }
}

/// How many watches each client has; who has none takes no memory.
#[derive(Debug)]
pub(super) struct Watches {
    most: usize,
    by_client: Mutex<BTreeMap<Known, usize>>,
}

impl Watches {
    pub(super) fn new(most: usize) -> Arc<Self> {
        Arc::new(Self {
            most,
            by_client: Mutex::default(),
        })
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Known, usize>> {
        self.by_client
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn take(self: &Arc<Self>, known: &Known) -> Option<Place> {
        let mut by_client = self.lock();
        let has = by_client.get(known).copied().unwrap_or(0);
        if has >= self.most {
            return None;
        }
        by_client.insert(known.clone(), has + 1);
        Some(Place {
            watches: Arc::clone(self),
            known: known.clone(),
        })
    }
}

/// A place among a client's watches, until it is dropped.
#[derive(Debug)]
pub(super) struct Place {
    watches: Arc<Watches>,
    known: Known,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut by_client = self.watches.lock();
        if let Some(has) = by_client.get_mut(&self.known) {
            *has -= 1;
            if *has == 0 {
                by_client.remove(&self.known);
            }
        }
    }
}

/// Around every handler: nobody gets past it without the right, and behind it there is a [`Caller`].
pub(super) async fn check(
    State((published, watches)): State<(Arc<Publish>, Arc<Watches>)>,
    path: Path,
    mut request: Request,
    next: Next,
) -> Response {
    let path = path.as_ref().ok();
    let collection = path.and_then(|path| last(path, "collection"));
    let collection = collection.unwrap_or_default();
    let named = match &published.access {
        None => None,
        Some(access) => match access.decide(request.headers(), request.method(), collection) {
            Ok(named) => named,
            Err(failure) => return refuse(failure, collection),
        },
    };
    let by_server = request.extensions().get::<ClientId>();
    let known = named
        .map(Known::ByToken)
        .or(by_server.map(|id| Known::ByServer(Arc::clone(&id.0))));
    request.extensions_mut().insert(Caller { known, watches });
    next.run(request).await
}

/// Without a head: where a collection is, is not everybody's business.
fn refuse(failure: Failure, collection: &str) -> Response {
    tracing::debug!(collection, reason = failure.reason, "request refused");
    let asks = failure.status == StatusCode::UNAUTHORIZED;
    let head = None;
    let mut response = Refused { failure, head }.into_response();
    if asks {
        let scheme = HeaderValue::from_static("Bearer");
        response.headers_mut().insert(WWW_AUTHENTICATE, scheme);
    }
    response
}
