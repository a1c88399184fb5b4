//! Any REST service as a source, by configuration alone: where its lists, objects and events have
//! what, and what it promises.
//!
//! A [`Mapping`] is plain data and may come out of a file. What a service does not promise is not
//! assumed: the docs of each field say what it means for what is shown.
//!
//! ```
//! use reflet_tokio::http::rest::{Mapping, RestSource};
//! # #[derive(serde::Deserialize)] struct Config { value: String }
//!
//! let mapping: Mapping = serde_json::from_str(
//!     r#"{
//!         "list": { "path": "configs", "revision": "etag", "consistency": "page" },
//!         "object": { "key": "/id", "version": { "field": { "at": "/version" } } }
//!     }"#,
//! )?;
//! let source = RestSource::<Config>::builder("http://10.0.0.7:8080", mapping).build()?;
//! # let _ = source;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod check;
mod events;
mod link;
mod list;
mod mapping;
mod object;
mod pointer;
mod poll;
mod stream;

#[cfg(not(feature = "simulated"))]
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;

use http::{HeaderName, HeaderValue};
use reflet_core::wire::parts::{Asked, Path};
use reflet_core::{Failure, FailureClass, SourceProfile, WatchFrom};
use serde::de::DeserializeOwned;

pub use self::check::{MappingError, Problem};
pub use self::mapping::{
    Changes, Consistency, EventName, EventRevision, Events, Header, Hints, List, LongPoll, Mapping,
    Object, Order, Paging, Place, Refusals, Resume, RevisionAt, Stream, Transactions, Version,
    VersionOrder, Wait, Watch,
};
pub use self::pointer::{InvalidPointer, Pointer};

use super::builder::{BuildError, Connected, HttpLimits, HttpSourceBuilder};
use super::decode;
use super::request::Client;
use crate::source::{ListRequest, Sink, Source, WatchRequest};

/// A REST service whose objects are `T`s in JSON.
pub struct RestSource<T> {
    mapped: Mapped,
    value: PhantomData<fn() -> T>,
}

/// A service, and how it is to be understood.
struct Mapped {
    client: Client,
    /// What all paths begin with.
    prefix: String,
    limits: HttpLimits,
    mapping: Mapping,
}

impl<T: DeserializeOwned + Send + Sync + 'static> RestSource<T> {
    /// A source for what the mapping describes below `url`, which is `http://host[:port][/prefix]`
    /// or `https://…`.
    #[must_use]
    pub fn builder(url: &str, mapping: Mapping) -> HttpSourceBuilder<T, Mapping> {
        HttpSourceBuilder::new(url, mapping)
    }
}

impl<T: DeserializeOwned + Send + Sync + 'static> HttpSourceBuilder<T, Mapping> {
    /// The source. Reads the platform's root certificates, for `https`; opens no connection.
    ///
    /// # Errors
    /// What is wrong with the mapping, the URL, a header or a certificate.
    pub fn build(self) -> Result<RestSource<T>, BuildError> {
        self.spoken().check().map_err(BuildError::Mapping)?;
        let headers = self.spoken().constant_headers();
        let with = |builder: Self, (name, value)| builder.header(name, value);
        let Connected {
            client,
            prefix,
            limits,
            spoken: mapping,
        } = headers.into_iter().fold(self, with).connected()?;
        Ok(RestSource {
            mapped: Mapped {
                client,
                prefix,
                limits,
                mapping,
            },
            value: PhantomData,
        })
    }
}

impl Mapping {
    /// What [`check`](Self::check) has found to be sendable.
    fn constant_headers(&self) -> Vec<(HeaderName, HeaderValue)> {
        let headers = self.headers.iter();
        headers
            .filter_map(|(name, value)| Some((name.0.clone(), HeaderValue::from_str(value).ok()?)))
            .collect()
    }
}

impl<T: DeserializeOwned + Send + Sync + 'static> Source for RestSource<T> {
    type Value = Arc<T>;

    fn profile(&self) -> SourceProfile {
        self.mapped.mapping.profile()
    }

    async fn list(
        &self,
        request: ListRequest,
        sink: &mut Sink<Self::Value>,
    ) -> Result<(), Failure> {
        let listed = list::page(&self.mapped, &request, &decode::<T>, sink).await;
        listed.map_err(|failure| self.mapped.client.discreet(failure))
    }

    async fn watch(
        &self,
        request: WatchRequest,
        sink: &mut Sink<Self::Value>,
    ) -> Result<(), Failure> {
        let decoder = &decode::<T>;
        let rest = &self.mapped;
        let ended = match (&rest.mapping.watch, &request.from) {
            (Watch::Changes(changes), WatchFrom::Revision(from)) => {
                stream::changes(rest, changes, from, decoder, sink).await
            }
            (Watch::LongPoll(poll), WatchFrom::Revision(from)) => {
                poll::follow(rest, poll, (from, request.epoch.as_ref()), decoder, sink).await
            }
            (Watch::Hints(hints), WatchFrom::Now) => stream::hints(rest, hints, sink).await,
            (
                Watch::None
                | Watch::Blocking { .. }
                | Watch::Changes(_)
                | Watch::LongPoll(_)
                | Watch::Hints(_),
                _,
            ) => Err(Failure::new(
                FailureClass::Unsupported,
                "the mapping has no such watch",
            )),
        };
        ended.map_err(|failure| rest.client.discreet(failure))
    }
}

impl<T> fmt::Debug for RestSource<T> {
    /// Header values that are marked sensitive are not shown.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RestSource")
            .field("target", &self.mapped.client.target)
            .field("headers", &self.mapped.client.headers)
            .field("limits", &self.mapped.limits)
            .field("mapping", &self.mapped.mapping)
            .finish_non_exhaustive()
    }
}

/// A path below the base URL, with what is always asked for.
fn url(prefix: &str, path: &str, query: &BTreeMap<String, String>) -> Path {
    let start = Path::new(&format!("{prefix}/{path}"));
    query
        .iter()
        .fold(start, |path, (name, value)| path.with(name, value))
}

/// What a refused watch means, by the mapping's own statuses too.
async fn refused(answer: super::request::Answer<'_>, refusals: &Refusals) -> Failure {
    let status = answer.status().as_u16();
    let mut failure = answer.refusal(Asked::Watch).await;
    failure.class = refusals.class(status, failure.class);
    failure
}

impl Refusals {
    fn class(&self, status: u16, otherwise: FailureClass) -> FailureClass {
        if self.gone.contains(&status) {
            FailureClass::Gone
        } else if self.behind.contains(&status) {
            FailureClass::Behind
        } else {
            otherwise
        }
    }
}
