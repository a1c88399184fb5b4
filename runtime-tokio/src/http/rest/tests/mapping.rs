use serde_json::{Value, json};

use super::rig::{configs, mapping};
use crate::http::rest::{
    Consistency, Events, Mapping, Problem, RestSource, RevisionAt, Transactions, Watch,
};
use crate::http::{BuildError, HeaderValue};
use crate::source::Source as _;
use reflet_core::{Class, Feed, RevisionOrder};

/// The problem of a mapping that is that of a working one but for this.
fn problem(change: impl FnOnce(&mut Value)) -> Option<(&'static str, Problem)> {
    let mut json = watched();
    change(&mut json);
    let found = mapping(json).check();
    found.err().map(|error| (error.field, error.problem))
}

fn watched() -> Value {
    let mut json = configs(json!({
        "revision": { "header": { "name": "x-resource-version", "order": "ordered" } },
        "consistency": "list",
    }));
    json["watch"] = json!({ "changes": {
        "path": "configs/watch",
        "resume": { "query": "resourceVersion" },
        "events": { "revision": { "field": "/version" } },
    }});
    json
}

#[test]
fn what_is_not_said_has_its_documented_default_and_what_is_unknown_is_refused() {
    let least = json!({ "list": { "path": "configs" }, "object": { "key": "/id" } });
    let read = mapping(least.clone());
    assert_eq!(read.watch, Watch::None);
    assert_eq!(read.list.revision, RevisionAt::None);
    assert_eq!(read.list.consistency, Consistency::None);
    assert_eq!(read.replica_lag_ms, 30_000);
    assert_eq!(read.check(), Ok(()));
    let written = serde_json::to_value(&read).unwrap();
    assert_eq!(mapping(written), read, "it survives being written");
    let events: Events = serde_json::from_str("{}").unwrap();
    assert_eq!(events.upsert, ["ADDED", "MODIFIED"]);
    assert_eq!(events.transactions, Transactions::Unknown);

    for (place, name) in [("", "lists"), ("/list", "itmes"), ("/object", "id")] {
        let mut wrong = least.clone();
        wrong.pointer_mut(place).unwrap()[name] = json!("/x");
        let read = serde_json::from_value::<Mapping>(wrong);
        assert!(read.unwrap_err().to_string().contains(name));
    }
    let mut wrong = watched();
    wrong["list"]["revision"]["header"]["kind"] = json!(1);
    assert!(serde_json::from_value::<Mapping>(wrong).is_err());
}

#[test]
fn what_does_not_go_together_is_named() {
    assert_eq!(problem(|_| {}), None);
    let set = |at: &'static str, value: Value| {
        problem(move |json| {
            let (place, name) = at.rsplit_once('/').unwrap();
            json.pointer_mut(place).unwrap()[name] = value;
        })
    };
    let changes = "/watch/changes";
    let named = |name: &str| format!("{changes}/{name}").leak() as &'static str;
    for path in ["a?b", "a#b", "a b", "/a", "ä", "{revision}"] {
        let field = "list.path";
        assert_eq!(
            set("/list/path", json!(path)),
            Some((field, Problem::Path)),
            "{path}"
        );
    }
    assert_eq!(
        set(named("path"), json!("watch/{revision}")),
        Some(("watch.changes.path", Problem::RevisionInPath))
    );
    assert_eq!(
        set(named("resume"), json!("path")),
        Some(("watch.changes.path", Problem::RevisionInPath))
    );
    assert_eq!(
        set(named("query"), json!({"resourceVersion": "1"})),
        Some(("watch.changes.query", Problem::QueryName))
    );
    assert_eq!(
        set("/list/limit", json!("")),
        Some(("list.query", Problem::QueryName))
    );
    assert_eq!(
        set("/headers", json!({"authorization": "x"})),
        Some(("headers", Problem::SecretHeader))
    );
    assert_eq!(
        set("/headers", json!({"x-a": "a\n"})),
        Some(("headers", Problem::HeaderValue))
    );
    assert_eq!(
        set(named("refusals"), json!({"gone": [404], "behind": [404]})),
        Some(("watch.changes.refusals", Problem::Status))
    );
    for status in [200, 403, 600] {
        assert_eq!(
            set(named("refusals"), json!({"gone": [status]})),
            Some(("watch.changes.refusals", Problem::Status))
        );
    }
    let events = |value: Value| set(named("events"), value).map(|(_, problem)| problem);
    let at = json!({"field": "/version"});
    let double = json!({"ignore": ["ADDED"], "revision": at});
    assert_eq!(events(double), Some(Problem::EventName));
    assert_eq!(
        events(json!({"upsert": [], "revision": at})),
        Some(Problem::EventName)
    );
    assert_eq!(
        events(json!({"delete": [], "revision": at})),
        Some(Problem::NoDeletes)
    );
    assert_eq!(
        events(json!({"name": "none", "revision": at})),
        Some(Problem::NoDeletes)
    );
    assert_eq!(events(json!({})), Some(Problem::NoCommitVersions));
    for revision in [json!("none"), json!("etag")] {
        assert_eq!(
            set("/list/revision", revision),
            Some(("watch.changes", Problem::NoRevision))
        );
    }
    assert_eq!(
        set("/list/revision", json!("newest_item")),
        Some(("list.revision", Problem::NoCommitVersions))
    );
    assert_eq!(
        set("/list/consistency", json!("none")),
        Some(("list.consistency", Problem::Inconsistent))
    );
}

#[test]
fn pages_need_what_makes_a_watch_after_them_true() {
    let paged = |paging: Value, consistency: &str, order: &str| {
        problem(|json| {
            json["list"]["paging"] = paging;
            json["list"]["consistency"] = json!(consistency);
            json["list"]["revision"]["header"]["order"] = json!(order);
        })
        .map(|(_, problem)| problem)
    };
    let token = || json!({"token": {"at": "/next", "query": "continue"}});
    assert_eq!(paged(token(), "page", "ordered"), None);
    assert_eq!(
        paged(token(), "page", "opaque"),
        Some(Problem::Inconsistent)
    );
    assert_eq!(paged(token(), "list", "opaque"), None);
    let number = || json!({"page_number": {"query": "page"}});
    assert_eq!(
        paged(number(), "page", "ordered"),
        Some(Problem::Inconsistent)
    );
    assert_eq!(
        paged(json!("link"), "page", "ordered"),
        Some(Problem::Inconsistent)
    );
    assert_eq!(paged(json!("link"), "list", "ordered"), None);

    let paged = |revision: Value| {
        let mut json = configs(json!({"revision": revision, "paging": "link"}));
        json["object"]["version"]["field"]["order"] = json!("commit");
        mapping(json).check().unwrap_err().problem
    };
    assert_eq!(paged(json!("etag")), Problem::OnePageOnly);
    assert_eq!(paged(json!("newest_item")), Problem::OnePageOnly);
    let blocking = |list: Value, known: Value| {
        let mut json = configs(list);
        json["watch"] = json!({"blocking": {"known": known}});
        mapping(json).check().err().map(|error| error.problem)
    };
    let header = json!({"header": {"name": "x-index"}});
    assert_eq!(blocking(json!({"revision": header}), json!("index")), None);
    assert_eq!(blocking(json!({"revision": "etag"}), json!(null)), None);
    assert_eq!(
        blocking(json!({"revision": header}), json!(null)),
        Some(Problem::NoCondition)
    );
    assert_eq!(
        blocking(json!({}), json!("index")),
        Some(Problem::NoCondition)
    );
}

#[test]
fn the_engine_is_promised_no_more_than_the_mapping_says() {
    let profile = |json: Value| mapping(json).profile();
    let polled = profile(configs(json!({})));
    assert_eq!(polled.feed, Feed::FullState { blocking: false });
    assert_eq!(
        (polled.class, polled.order),
        (Class::Fuzzy, RevisionOrder::Opaque)
    );
    assert!(!polled.versions_ordered && !polled.batch_ends && !polled.fresh_lists);
    let whole = profile(configs(json!({"consistency": "page", "revision": "etag"})));
    assert_eq!(whole.class, Class::Whole);
    let paged = profile(configs(json!({"consistency": "page", "paging": "link"})));
    assert_eq!(paged.class, Class::Fuzzy);
    let pinned = profile(configs(json!({"consistency": "list", "paging": "link"})));
    assert_eq!(pinned.class, Class::Pinned);

    let watching = profile(watched());
    assert_eq!(watching.feed, Feed::ListWatch);
    assert_eq!(
        (watching.class, watching.order),
        (Class::Pinned, RevisionOrder::Ordered)
    );
    assert!(!watching.batch_ends && !watching.predecessors && !watching.commit_revisions);
    assert_eq!(watching.heartbeat, None);

    let mut json = watched();
    json["object"]["version"]["field"]["order"] = json!("commit");
    json["watch"]["changes"]["events"] = json!({"previous": "/previous", "transactions": "single"});
    json["watch"]["changes"]["heartbeat_ms"] = json!(5_000);
    let promising = profile(json);
    assert!(promising.batch_ends && promising.predecessors);
    assert!(promising.versions_ordered && promising.commit_revisions);
    assert_eq!(promising.heartbeat.unwrap().as_secs(), 5);

    let mut json = configs(json!({}));
    json["watch"] = json!({"hints": {"path": "feed"}});
    assert_eq!(profile(json).feed, Feed::HintOnly);
}

#[test]
fn a_source_is_not_built_from_a_wrong_mapping_and_shows_no_secrets() {
    let mut json = configs(json!({"path": "a?b"}));
    let built = RestSource::<Value>::builder("http://x", mapping(json)).build();
    let Err(BuildError::Mapping(error)) = built else {
        panic!("built")
    };
    assert_eq!(error.to_string(), "list.path: is no path without a query");

    json = configs(json!({}));
    json["headers"] = json!({"host": "x"});
    let built = RestSource::<Value>::builder("http://x", mapping(json)).build();
    assert!(matches!(built, Err(BuildError::ReservedHeader(_))));

    let secret = HeaderValue::from_static("Bearer s3cret");
    let builder = RestSource::<Value>::builder("http://x", mapping(configs(json!({}))))
        .header(http::header::AUTHORIZATION, secret);
    assert!(!format!("{builder:?}").contains("s3cret"));
    let source = builder.build().unwrap();
    assert!(!format!("{source:?}").contains("s3cret"));
    assert_eq!(source.profile().feed, Feed::FullState { blocking: false });
}
