use crate::http::connect::Target;
use crate::http::rest::link::{NotFollowed, next, resolve};

#[test]
fn the_next_relation_is_found_among_others() {
    let found = [
        (r#"<a>; rel="next""#, Some("a")),
        (r#"<a>;rel=next"#, Some("a")),
        (r#"<a>; rel="prev", <b>; rel="next""#, Some("b")),
        (
            r#"<a,b>; rel=prev ,<c;d>; title="x, <y>; rel=next"; REL="last Next""#,
            Some("c;d"),
        ),
        (r#"<a>; title="\", <x>; rel=next"; rel=first"#, None),
        (r#"<a>; rel="next"#, Some("a")),
        (r#"<a>"#, None),
        (r#"<a"#, None),
        (r#"a>; rel=next"#, None),
        (r#"<a>; anchor; =; ;rel=nexter"#, None),
        ("", None),
    ];
    for (header, expected) in found {
        assert_eq!(next([header]), expected, "{header}");
    }
    assert_eq!(next(["<a>; rel=prev", "<b>; rel=next"]), Some("b"));
}

#[test]
fn links_are_resolved_within_their_origin_only() {
    let origin = Target {
        host: "server".into(),
        port: 8080,
        https: false,
    };
    let asked = "/base/configs?page=1";
    let good = [
        ("/base/configs?page=2", "/base/configs?page=2"),
        ("?page=2", "/base/configs?page=2"),
        ("more?page=2", "/base/more?page=2"),
        ("http://server:8080/x?a=b#c", "/x?a=b"),
        ("HTTP://SERVER:8080", "/"),
    ];
    for (link, expected) in good {
        assert_eq!(
            resolve(link, asked, &origin).as_deref(),
            Ok(expected),
            "{link}"
        );
    }
    for link in [
        "http://server/x",
        "http://server:8081/x",
        "https://server:8080/x",
        "http://other:8080/x",
        "//other/x",
        "//server:8080/x",
        "http://user@server:8080/x",
        "ftp://server:8080/x",
    ] {
        assert_eq!(
            resolve(link, asked, &origin),
            Err(NotFollowed::OtherOrigin),
            "{link}"
        );
    }
    for link in ["", "#x", "/a b", "/a\u{7f}", "http://", "mailto:x"] {
        assert!(resolve(link, asked, &origin).is_err(), "{link}");
    }
}
