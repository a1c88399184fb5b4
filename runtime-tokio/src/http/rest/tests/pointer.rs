use proptest::prelude::*;
use serde_json::Value;

use crate::http::rest::Pointer;
use crate::http::rest::pointer::{pick, text};

fn pointer(text: &str) -> Pointer {
    text.parse().unwrap()
}

#[test]
fn pointers_are_read_and_written_as_the_standard_says() {
    for good in ["", "/", "/a", "/a/b/0", "/a~1b/~0/", "/ü"] {
        assert_eq!(pointer(good).to_string(), good);
    }
    let deep = "/a".repeat(17);
    for bad in ["a", "a/b", "/~", "/~2", "/a~", "#/a", &deep] {
        assert!(bad.parse::<Pointer>().is_err(), "{bad}");
    }
    assert!(serde_json::from_str::<Pointer>(r#""x""#).is_err());
}

#[test]
fn a_part_is_found_and_a_member_that_is_there_twice_is_refused() {
    let json = r#" {"a": [1, {"b/c": "x"}], "d": null, "0": {"": 2}} "#;
    let wanted = ["/a/1/b~1c", "/d", "/0/", "/a/2", "/a/01", "/d/e", ""].map(pointer);
    let found = pick(json, wanted.each_ref().map(Some)).unwrap();
    let expected = [Some(r#""x""#), Some("null"), Some("2"), None, None, None];
    assert_eq!(found[..6], expected);
    assert_eq!(found[6], Some(json.trim_start()));

    let twice = r#"{"a":1,"b":2,"a":1}"#;
    assert!(pick(twice, [Some(&pointer("/a"))]).is_err());
    assert!(pick(twice, [Some(&pointer("/b"))]).is_ok());
}

#[test]
fn what_is_deep_costs_no_stack() {
    let deep = format!(
        r#"{{"x":{}{},"a":1}}"#,
        "[".repeat(100_000),
        "]".repeat(100_000)
    );
    let found = pick(&deep, [Some(&pointer("/a"))]).unwrap();
    assert_eq!(found, [Some("1")]);
}

#[test]
fn names_are_strings_or_numbers() {
    let told = |json| text(Some(json)).map(|text| text.map(String::from));
    assert_eq!(told(r#""a\n\u00e9""#), Ok(Some("a\né".into())));
    assert_eq!(told("-12.50"), Ok(Some("-12.50".into())));
    assert_eq!(told("null"), Ok(None));
    assert_eq!(text(None), Ok(None));
    for bad in ["true", "[]", "{}", r#""\ud800""#] {
        assert!(told(bad).is_err(), "{bad}");
    }
}

/// JSON with few names, so that pointers hit something.
fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i32>().prop_map(Value::from),
        "[a/~ü0]{0,2}".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
            prop::collection::btree_map("[a/~ü0]{0,2}", inner, 0..4)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn what_is_picked_is_what_a_decoded_value_has_there(
        value in value(),
        steps in prop::collection::vec(prop::collection::vec("[a/~ü01]{0,2}", 0..4), 3),
    ) {
        let pointers: Vec<Pointer> = steps.iter().map(|steps| {
            let escaped = steps.iter().map(|step| step.replace('~', "~0").replace('/', "~1"));
            pointer(&escaped.map(|step| format!("/{step}")).collect::<String>())
        }).collect();
        let json = value.to_string();
        let found = pick(&json, [Some(&pointers[0]), Some(&pointers[1]), Some(&pointers[2])]).unwrap();
        for (found, pointer) in found.iter().zip(&pointers) {
            let found = found.map(|json| serde_json::from_str(json).unwrap());
            prop_assert_eq!(found.as_ref(), value.pointer(&pointer.to_string()));
        }
    }
}
