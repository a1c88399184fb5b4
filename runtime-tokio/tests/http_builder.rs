//! What an HTTP source can be built from, and what not.
#![cfg(feature = "http")]

use reflet_tokio::http::{BuildError, HeaderName, HeaderValue, HttpSource};
use serde_json::Value;

fn build(url: &str, collection: &str) -> Result<HttpSource<Value>, BuildError> {
    HttpSource::<Value>::builder(url, collection).build()
}

#[test]
fn a_url_has_a_scheme_a_host_and_perhaps_a_port_and_a_prefix() {
    for url in [
        "http://server",
        "http://server/",
        "http://server:8080/a/b/",
        "http://[::1]:8080",
        "http://10.0.0.1",
        "http://server/@odd",
    ] {
        assert!(build(url, "things").is_ok(), "{url}");
    }
    for url in [
        "",
        "server",
        "/v1",
        "ftp://server",
        "http://",
        "http://server:99999",
        "http://server:0",
        "http://server:x",
        "http://server?x=y",
        "http://server/#part",
        "http://ser ver",
    ] {
        let error = build(url, "things").expect_err(url);
        assert!(matches!(error, BuildError::InvalidUrl(_)), "{url}: {error}");
    }
}

#[test]
fn credentials_in_a_url_are_refused_without_being_shown() {
    let error = build("http://user:hunter2@server", "things").unwrap_err();
    assert_eq!(error, BuildError::Credentials);
    assert!(!format!("{error} {error:?}").contains("hunter2"));
}

#[test]
fn a_collections_name_cannot_leave_its_place() {
    for name in ["", ".", ".."] {
        assert_eq!(
            build("http://server", name).unwrap_err(),
            BuildError::InvalidCollection(name.to_owned())
        );
    }
    let source = build("http://server/base/", "../x?y#z é%2f").unwrap();
    let shown = format!("{source:?}");
    assert!(
        shown.contains("/base/v1/..%2Fx%3Fy%23z%20%C3%A9%252f\""),
        "{shown}"
    );
}

#[test]
fn headers_of_the_connection_cannot_be_set() {
    for name in [
        "host",
        "connection",
        "transfer-encoding",
        "content-length",
        "accept",
    ] {
        let name = HeaderName::from_static(name);
        let builder = HttpSource::<Value>::builder("http://server", "things");
        let builder = builder.header(name.clone(), HeaderValue::from_static("x"));
        assert_eq!(
            builder.build().unwrap_err(),
            BuildError::ReservedHeader(name)
        );
    }
}
