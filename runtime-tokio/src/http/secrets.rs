//! What is secret is told nobody, however somebody else repeats it: words of a server and of a decoder
//! become notices, and those end up in logs.

use http::header::{AUTHORIZATION, COOKIE, HeaderMap, PROXY_AUTHORIZATION};
use http::{HeaderName, HeaderValue};
use reflet_core::Failure;

/// What stands for what is not shown.
const HIDDEN: &str = "[hidden]";
/// A shorter text is no secret, and would be found in words that mean something else.
const LEAST_BYTES: usize = 4;

/// The failure without what our own secret headers say: a proxy that is in trouble may well answer
/// with the request that it got.
pub(super) fn hide(mut failure: Failure, headers: &HeaderMap) -> Failure {
    let secret = headers.iter().filter(|(_, value)| value.is_sensitive());
    let secrets = secret.flat_map(|(name, value)| secrets(name, value));
    let mut secrets: Vec<_> = secrets.filter(|text| text.len() >= LEAST_BYTES).collect();
    // One may be a part of another.
    secrets.sort_unstable_by_key(|text| std::cmp::Reverse(text.len()));
    for secret in secrets {
        if failure.message.contains(secret) {
            failure.message = failure.message.replace(secret, HIDDEN).into();
        }
        failure.message = without_beginning(failure.message, secret);
    }
    failure
}

/// What is secret in a header's value: not the name of a scheme or of a cookie.
fn secrets<'v>(name: &HeaderName, value: &'v HeaderValue) -> Vec<&'v str> {
    let Ok(text) = value.to_str() else {
        return Vec::new();
    };
    let after = |text: &'v str, separator| {
        let parts = text.trim().split_once(separator);
        parts.map_or(text, |(_, rest)| rest).trim()
    };
    if *name == COOKIE {
        text.split(';').map(|cookie| after(cookie, '=')).collect()
    } else if [AUTHORIZATION, PROXY_AUTHORIZATION].contains(name) {
        vec![after(text, ' ')]
    } else {
        vec![text.trim()]
    }
}

/// Messages are cut to a length, perhaps in the middle of a secret.
fn without_beginning(message: Box<str>, secret: &str) -> Box<str> {
    let whole = message.trim_end_matches('…');
    let begun = secret.char_indices().map(|(end, _)| end).rev();
    let mut begun = begun.filter(|end| *end >= LEAST_BYTES);
    let found = begun.find_map(|end| whole.strip_suffix(secret.get(..end)?));
    match found {
        Some(rest) => format!("{rest}{HIDDEN}").into(),
        None => message,
    }
}

#[cfg(not(feature = "simulated"))]
#[cfg(test)]
mod tests {
    use http::header::PROXY_AUTHORIZATION;
    use reflet_core::FailureClass;

    use super::*;

    fn headers() -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            (AUTHORIZATION, "Bearer hunter2hunter2"),
            (PROXY_AUTHORIZATION, "Basic dXNlcjpodW50ZXIy"),
            (COOKIE, "theme=dark; session=s3cr3t; a=b"),
            (HeaderName::from_static("x-key"), "hunter2"),
        ] {
            let mut value = HeaderValue::from_static(value);
            value.set_sensitive(true);
            headers.append(name, value);
        }
        headers.insert("x-plain", HeaderValue::from_static("gateway"));
        headers
    }

    fn hidden(message: &str) -> String {
        let failure = Failure::new(FailureClass::Denied, message);
        hide(failure, &headers()).message.into()
    }

    #[test]
    fn what_a_server_repeats_of_our_secrets_is_hidden() {
        assert_eq!(
            hidden("403: Bearer hunter2hunter2 of gateway, cookie session=s3cr3t; a=b"),
            "403: Bearer [hidden] of gateway, cookie session=[hidden]; a=b"
        );
        assert_eq!(hidden("hunter2, dXNlcjpodW50ZXIy"), "[hidden], [hidden]");
        assert_eq!(hidden("404 Not Found"), "404 Not Found");
    }

    #[test]
    fn a_message_that_is_cut_within_a_secret_shows_nothing_of_it() {
        assert_eq!(hidden("you sent dXNlcjpod…"), "you sent [hidden]");
        assert_eq!(hidden("you sent hunter2hun"), "you sent [hidden]");
        assert_eq!(hidden("you sent hunt"), "you sent [hidden]");
        assert_eq!(hidden("you sent hun"), "you sent hun");
    }
}
