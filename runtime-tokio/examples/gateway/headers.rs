//! What a proxy must change about headers.

use std::net::IpAddr;

use http::header::{CONNECTION, EXPECT, HOST, HeaderName, VIA};
use http::{HeaderMap, HeaderValue};

/// The header that carries a caller's key.
pub(crate) const API_KEY: &str = "x-api-key";
/// The header that tells an upstream whose key it was.
const API_KEY_OWNER: &str = "x-api-key-owner";
const FORWARDED_FOR: &str = "x-forwarded-for";
const FORWARDED_HOST: &str = "x-forwarded-host";
const FORWARDED_PROTO: &str = "x-forwarded-proto";

/// What belongs to one connection, and is never passed on.
const HOP_BY_HOP: [&str; 9] = [
    "connection",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// Our name in `Via`.
const OURSELVES: &str = "1.1 reflet-gateway";
/// How often a request may come by: a route that leads back to the gateway would go on for ever.
const MAX_VISITS: usize = 4;

/// Whether a request has come through a gateway like this one too often.
pub(crate) fn went_in_circles(headers: &HeaderMap) -> bool {
    let visits = headers
        .get_all(VIA)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter(|hop| hop.trim() == OURSELVES);
    visits.count() >= MAX_VISITS
}

/// Makes the headers of a request fit for the upstream. `host` is what the caller asked for, and
/// `owner` whose key it had, where the route asks for one.
pub(crate) fn prepare_request(
    headers: &mut HeaderMap,
    peer: IpAddr,
    host: Option<HeaderValue>,
    owner: Option<HeaderValue>,
) {
    remove_hop_by_hop(headers);
    // The server side has answered it already, and the client sets the upstream's host.
    headers.remove(EXPECT);
    headers.remove(HOST);
    headers.remove(API_KEY_OWNER);
    if let Some(owner) = owner {
        // The key is for the gateway; an upstream only needs to know whose it was.
        headers.remove(API_KEY);
        headers.insert(API_KEY_OWNER, owner);
    }
    append_to_list(headers, FORWARDED_FOR, &peer.to_string());
    headers.insert(FORWARDED_PROTO, HeaderValue::from_static("http"));
    headers.remove(FORWARDED_HOST);
    if let Some(host) = host {
        headers.insert(FORWARDED_HOST, host);
    }
    headers.append(VIA, HeaderValue::from_static(OURSELVES));
}

/// Makes the headers of an upstream's answer fit for the caller.
pub(crate) fn prepare_answer(headers: &mut HeaderMap) {
    remove_hop_by_hop(headers);
    headers.append(VIA, HeaderValue::from_static(OURSELVES));
}

fn remove_hop_by_hop(headers: &mut HeaderMap) {
    let named: Vec<HeaderName> = headers
        .get_all(CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|name| name.trim().parse().ok())
        .collect();
    for name in named {
        headers.remove(name);
    }
    for name in HOP_BY_HOP {
        headers.remove(name);
    }
}

/// Adds to a list that several headers or one with commas may hold, as one header.
fn append_to_list(headers: &mut HeaderMap, name: &'static str, value: &str) {
    let mut list: Vec<u8> = Vec::new();
    for before in headers.get_all(name) {
        list.extend(before.as_bytes());
        list.extend(b", ");
    }
    list.extend(value.bytes());
    if let Ok(list) = HeaderValue::from_bytes(&list) {
        headers.insert(name, list);
    }
}
