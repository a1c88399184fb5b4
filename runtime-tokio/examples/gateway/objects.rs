//! What the three collections hold, and what makes an object of them good.
//!
//! Everything is checked while an object is decoded: a bad one never gets as far as the routing
//! table, and its last good version stays in force.

use std::fmt;
use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::time::Duration;

use serde::de::value::MapAccessDeserializer;
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::path::PathPrefix;

/// Has each type decoded from JSON objects alone: what serde derives, by itself, also takes an
/// array of the fields in their order, which nobody means.
macro_rules! only_from_objects {
    ($($name:ident)*) => {$(
        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
                struct Fields;
                impl<'de> Visitor<'de> for Fields {
                    type Value = $name;

                    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                        f.write_str("an object")
                    }

                    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<$name, A::Error> {
                        // The derived function, which `remote` has made one of the type's own.
                        $name::deserialize(MapAccessDeserializer::new(map))
                    }
                }
                from.deserialize_map(Fields)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
                $name::serialize(self, to)
            }
        }
    )*};
}

only_from_objects!(Route RateLimit ApiKey);

/// An object of `routes`: requests below a path go to an upstream.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(remote = "Self", deny_unknown_fields)]
pub(crate) struct Route {
    /// `/hello` takes `/hello` and all below `/hello/`, not `/hellox`. The longest prefix wins.
    pub(crate) path_prefix: PathPrefix,
    /// Where the requests go: an IP address and a port.
    pub(crate) upstream: SocketAddr,
    /// Whether the upstream sees the path without the prefix.
    #[serde(default)]
    pub(crate) strip_prefix: bool,
    /// How long the upstream may take until its answer begins.
    #[serde(default = "five_seconds")]
    timeout_ms: NonZeroU32,
    /// Whether callers need an API key.
    #[serde(default)]
    pub(crate) requires_key: bool,
}

impl Route {
    /// How long the upstream may take until its answer begins.
    pub(crate) fn timeout(&self) -> Duration {
        Duration::from_millis(self.timeout_ms.get().into())
    }
}

fn five_seconds() -> NonZeroU32 {
    NonZeroU32::MIN.saturating_add(4_999)
}

/// An object of `rate-limits`: how many requests a route takes. Where a route has several, all of
/// them hold.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(remote = "Self", deny_unknown_fields)]
pub(crate) struct RateLimit {
    /// The name of the route. One that does not exist is no error: it may come later.
    pub(crate) route: String,
    /// The requests that it takes in the long run; zero closes the route once the burst is used.
    pub(crate) requests_per_second: Rate,
    /// How many requests it takes at once after a pause; zero closes the route.
    pub(crate) burst: u32,
}

/// A finite number that is not negative.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize, Serialize)]
#[serde(try_from = "f64")]
pub(crate) struct Rate(f64);

impl Rate {
    /// How many in a second.
    pub(crate) fn per_second(self) -> f64 {
        self.0
    }
}

impl TryFrom<f64> for Rate {
    type Error = String;

    fn try_from(rate: f64) -> Result<Self, String> {
        if rate.is_finite() && rate >= 0.0 {
            Ok(Self(rate))
        } else {
            Err(format!("requests_per_second cannot be {rate}"))
        }
    }
}

/// An object of `api-keys`. A key that several objects name is revoked if one of them says so.
#[derive(Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(remote = "Self", deny_unknown_fields)]
pub(crate) struct ApiKey {
    /// What callers send as `x-api-key`.
    pub(crate) key: Secret,
    /// Whose key it is; said to upstreams as `x-api-key-owner`.
    pub(crate) owner: String,
    /// Whether it is no longer good.
    #[serde(default)]
    pub(crate) revoked: bool,
}

/// A key that is not empty. Has no `Debug`: it must not reach a log.
#[derive(Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(try_from = "String")]
pub(crate) struct Secret(String);

impl Secret {
    /// The key as callers send it.
    pub(crate) fn reveal(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for Secret {
    type Error = &'static str;

    fn try_from(key: String) -> Result<Self, Self::Error> {
        if key.is_empty() {
            // A caller without a key could send the empty one.
            return Err("the key is empty");
        }
        Ok(Self(key))
    }
}
