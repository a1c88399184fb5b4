//! Values as JSON within the snapshot's own format.

use std::fmt;
use std::marker::PhantomData;

use serde::de::{DeserializeOwned, Visitor};
use serde::ser::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::Picture;

/// A value that is written as the bytes of its JSON.
pub(super) struct Json<V>(pub(super) V);

/// The values themselves.
pub(super) fn unwrap<V>(picture: Picture<Json<V>>) -> Picture<V> {
    picture.map(|Json(value)| value)
}

impl<V: Serialize> Serialize for Json<V> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_bytes(&serde_json::to_vec(&self.0).map_err(S::Error::custom)?)
    }
}

impl<'de, V: DeserializeOwned> Deserialize<'de> for Json<V> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Bytes<V>(PhantomData<V>);

        impl<V: DeserializeOwned> Visitor<'_> for Bytes<V> {
            type Value = Json<V>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a value as JSON")
            }

            fn visit_bytes<E: serde::de::Error>(self, bytes: &[u8]) -> Result<Json<V>, E> {
                serde_json::from_slice(bytes).map(Json).map_err(E::custom)
            }
        }

        from.deserialize_bytes(Bytes(PhantomData))
    }
}
