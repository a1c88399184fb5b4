//! The next page by a `Link` header ([RFC 8288](https://www.rfc-editor.org/rfc/rfc8288)), as far as
//! the same origin.

use http::Uri;
use http::uri::PathAndQuery;

use crate::http::connect::Target;

/// Why a link is not followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NotFollowed {
    /// It points to another origin, to which nothing of ours goes.
    OtherOrigin,
    /// It cannot be read.
    Unreadable,
}

/// The target of the first link whose relation is `next`, in these values of the header.
pub(super) fn next<'h>(values: impl IntoIterator<Item = &'h str>) -> Option<&'h str> {
    values.into_iter().find_map(next_in)
}

fn next_in(mut rest: &str) -> Option<&str> {
    loop {
        let (_, after) = rest.split_once('<')?;
        let (target, after) = after.split_once('>')?;
        let (parameters, after) = split_at_comma(after);
        if parameters_of(parameters).any(|(name, value)| {
            let relations = value.trim_matches('"').split_ascii_whitespace();
            name.eq_ignore_ascii_case("rel") && { relations }
                .any(|relation| relation.eq_ignore_ascii_case("next"))
        }) {
            return Some(target);
        }
        rest = after;
    }
}

/// The parameters of one link, and what comes after its comma.
fn split_at_comma(text: &str) -> (&str, &str) {
    let at = outside_quotes(text, b',').unwrap_or(text.len());
    let (parameters, after) = text.split_at(at);
    (parameters, after.strip_prefix(',').unwrap_or(after))
}

fn parameters_of(mut text: &str) -> impl Iterator<Item = (&str, &str)> {
    std::iter::from_fn(move || {
        if text.is_empty() {
            return None;
        }
        let at = outside_quotes(text, b';').unwrap_or(text.len());
        let (parameter, after) = text.split_at(at);
        text = after.strip_prefix(';').unwrap_or(after);
        let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
        Some((name.trim(), value.trim()))
    })
}

/// Where the first of these bytes stands that is in no quoted string.
fn outside_quotes(text: &str, wanted: u8) -> Option<usize> {
    let (mut quoted, mut escaped) = (false, false);
    text.bytes().position(|byte| {
        let here = byte == wanted && !quoted;
        match byte {
            b'"' if !escaped => quoted = !quoted,
            _ => {}
        }
        escaped = byte == b'\\' && quoted && !escaped;
        here
    })
}

/// The path and query that a link stands for, seen from the answer to `asked`.
pub(super) fn resolve(link: &str, asked: &str, origin: &Target) -> Result<String, NotFollowed> {
    // What comes after a number sign is no part of a request.
    let link = link.split('#').next().unwrap_or_default().trim();
    let path = asked.split('?').next().unwrap_or_default();
    let resolved = if link.starts_with("//") {
        return Err(NotFollowed::OtherOrigin);
    } else if link.starts_with('/') {
        link.to_owned()
    } else if link.starts_with('?') {
        format!("{path}{link}")
    } else if is_absolute(link) {
        of_origin(link, origin)?
    } else {
        let folder = path.rfind('/').and_then(|end| path.get(..=end));
        format!("{}{link}", folder.unwrap_or("/"))
    };
    match PathAndQuery::try_from(resolved.as_str()) {
        Ok(read) if !link.is_empty() && read.as_str() == resolved && link.is_ascii() => {
            Ok(resolved)
        }
        Ok(_) | Err(_) => Err(NotFollowed::Unreadable),
    }
}

/// Whether it begins with a scheme.
fn is_absolute(link: &str) -> bool {
    let colon = link.find(':');
    colon.is_some_and(|colon| link.find(['/', '?']).is_none_or(|slash| colon < slash))
}

fn of_origin(link: &str, origin: &Target) -> Result<String, NotFollowed> {
    let uri: Uri = link.parse().map_err(|_| NotFollowed::Unreadable)?;
    let (scheme, default) = if origin.https {
        ("https", 443)
    } else {
        ("http", 80)
    };
    let host = uri.host().unwrap_or_default();
    let host = host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'))
        .unwrap_or(host);
    let same = uri.scheme_str() == Some(scheme)
        && host.eq_ignore_ascii_case(&origin.host)
        && uri.port_u16().unwrap_or(default) == origin.port;
    let credentials = uri
        .authority()
        .is_some_and(|authority| authority.as_str().contains('@'));
    if !same || credentials {
        return Err(NotFollowed::OtherOrigin);
    }
    Ok(uri
        .path_and_query()
        .map_or("/", PathAndQuery::as_str)
        .to_owned())
}
