//! What is secret is told nobody, however somebody else repeats it: words of a server and of a decoder
//! become notices, and those end up in logs.

use http::header::HeaderMap;
use reflet_core::Failure;
use reflet_core::wire::parts::{hide_all, secrets_of};

/// The failure without what our own secret headers say: a proxy that is in trouble may well answer
/// with the request that it got.
pub(super) fn hide(failure: Failure, headers: &HeaderMap) -> Failure {
    let secret = headers.iter().filter(|(_, value)| value.is_sensitive());
    let texts = secret.filter_map(|(name, value)| Some((name.as_str(), value.to_str().ok()?)));
    hide_all(
        failure,
        texts.flat_map(|(name, value)| secrets_of(name, value)),
    )
}

#[cfg(not(feature = "simulated"))]
#[cfg(test)]
mod tests {
    use http::header::{AUTHORIZATION, COOKIE, PROXY_AUTHORIZATION};
    use http::{HeaderName, HeaderValue};
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
