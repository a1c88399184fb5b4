//! Where a collection is that a server publishes by Reflet's own protocol.

use std::mem::MaybeUninit;
use std::sync::Mutex;
use std::time::Duration;

use reflet_core::wire::{Endpoint as CoreEndpoint, EndpointError};

use crate::border::{Bytes, guard, place};
use crate::config::Config;
use crate::handle::{Handle, free, hand_over, lock};
use crate::status::{Error, Status};

/// A collection that a server publishes by Reflet's own protocol over HTTP/1.1 (PROTOCOL.md), and how to
/// ask for it. With this no program has to know HTTP or JSON.
///
/// Made by reflet_endpoint_new(), freed by reflet_endpoint_free(). Exchanges keep what they need of
/// it.
pub struct Endpoint(Mutex<CoreEndpoint>);

impl Handle for Endpoint {
    type Inner = CoreEndpoint;

    const NAME: &'static str = "endpoint";

    fn inner(&self) -> &Mutex<CoreEndpoint> {
        &self.0
    }
}

/// Names a collection: `authority` is `host` or `host:port`, and is what a `host` header says; the
/// connection is the program's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn reflet_endpoint_new(
    authority: Bytes,
    collection: Bytes,
    endpoint: Option<&mut MaybeUninit<*mut Endpoint>>,
) -> Status {
    guard(|| {
        let place = place(endpoint)?;
        let authority = authority.text_or_empty("the authority")?;
        let collection = collection.text_or_empty("the collection's name")?;
        let endpoint = CoreEndpoint::new(authority, collection).map_err(|error| bad(&error))?;
        hand_over(place, Endpoint(Mutex::new(endpoint)));
        Ok(())
    })
}

/// Frees an endpoint. NULL is fine.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn reflet_endpoint_free(endpoint: *mut Endpoint) -> Status {
    guard(|| free(endpoint))
}

/// Puts a path before the protocol's own, such as `/config`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn reflet_endpoint_set_prefix(
    endpoint: *mut Endpoint,
    prefix: Bytes,
) -> Status {
    guard(|| {
        let mut endpoint = lock(endpoint)?;
        let prefix = prefix.text_or_empty("the prefix")?;
        *endpoint = endpoint
            .clone()
            .below(prefix)
            .map_err(|error| bad(&error))?;
        Ok(())
    })
}

/// Adds a header to each request, such as `authorization`. Its value is told nobody, even if the server
/// repeats it in what becomes a notice.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn reflet_endpoint_add_header(
    endpoint: *mut Endpoint,
    name: Bytes,
    value: Bytes,
) -> Status {
    guard(|| {
        let mut endpoint = lock(endpoint)?;
        let name = name.text_or_empty("the header's name")?;
        let value = value.text_or_empty("the header's value")?;
        let more = endpoint.clone().secret_header(name, value);
        *endpoint = more.map_err(|error| bad(&error))?;
        Ok(())
    })
}

/// How often the server says that a quiet watch is alive, if not every 10 seconds.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn reflet_endpoint_set_heartbeat(
    endpoint: *mut Endpoint,
    interval_ms: u64,
) -> Status {
    guard(|| {
        let mut endpoint = lock(endpoint)?;
        let interval = Duration::from_millis(interval_ms);
        *endpoint = endpoint.clone().heartbeat(interval);
        Ok(())
    })
}

/// Fills in the settings of an informer for this collection: the usual ones, and what servers of the
/// protocol promise.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn reflet_endpoint_config(
    endpoint: *mut Endpoint,
    config: Option<&mut MaybeUninit<Config>>,
) -> Status {
    guard(|| {
        let place = place(config)?;
        let endpoint = lock(endpoint)?;
        place.write(Config::from_core(&endpoint.config()));
        Ok(())
    })
}

fn bad(error: &EndpointError) -> Error {
    Error::bad_argument(error.to_string())
}
