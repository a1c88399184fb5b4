//! Redirects: followed within the origin that a source was made for, and never out of it. So no
//! header, credentials included, is ever sent to another server, and nothing goes unencrypted that
//! did not before.

use http::header::{HeaderMap, LOCATION, RETRY_AFTER};
use http::uri::{PathAndQuery, Scheme, Uri};
use http::{HeaderValue, StatusCode};

use super::builder::host_and_port;
use super::connect::Target;
use reflet_core::wire::parts::shown;

/// Where a redirect leads within the origin of `target`: the path to ask for. A redirect that asks
/// to wait is none: the engine waits, as after any other answer that asks for it (P7).
pub(super) fn within(target: &Target, status: StatusCode, headers: &HeaderMap) -> Option<String> {
    if headers.contains_key(RETRY_AFTER) {
        return None;
    }
    match status {
        StatusCode::MOVED_PERMANENTLY
        | StatusCode::FOUND
        | StatusCode::SEE_OTHER
        | StatusCode::TEMPORARY_REDIRECT
        | StatusCode::PERMANENT_REDIRECT => path(target, headers.get(LOCATION)?),
        _ => None,
    }
}

/// What is said of a redirect that was not followed.
pub(super) fn words(target: &Target, headers: &HeaderMap) -> Option<String> {
    let location = headers.get(LOCATION)?;
    let place = shown(location.as_bytes());
    Some(match path(target, location) {
        Some(_) if headers.contains_key(RETRY_AFTER) => {
            format!("redirects that ask to wait are not followed; it points to {place}")
        }
        Some(_) => format!("redirected once more than is followed; it points to {place}"),
        None => format!("redirects to elsewhere are not followed; it points to {place}"),
    })
}

fn path(target: &Target, location: &HeaderValue) -> Option<String> {
    let text = location.to_str().ok()?.split('#').next()?;
    if text.starts_with('/') && !text.starts_with("//") {
        let path: PathAndQuery = text.parse().ok()?;
        return Some(path.as_str().to_owned());
    }
    let scheme = if target.https {
        Scheme::HTTPS
    } else {
        Scheme::HTTP
    };
    // Two slashes begin a host, of the same scheme.
    let uri = if text.starts_with("//") {
        format!("{scheme}:{text}").parse()
    } else {
        text.parse::<Uri>()
    };
    let uri = uri.ok().filter(|uri| uri.scheme() == Some(&scheme))?;
    let authority = uri.authority()?;
    let (host, port) = host_and_port(authority, target.https)?;
    let same = host.eq_ignore_ascii_case(&target.host) && port == target.port;
    let path = uri.path_and_query().map_or("/", PathAndQuery::as_str);
    (same && !authority.as_str().contains('@')).then(|| path.to_owned())
}
