//! The examples do what they say.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

#[path = "../examples/rest_mapping.rs"]
#[allow(dead_code, reason = "its main function is not called")]
mod rest_mapping;
#[path = "../examples/thread_per_core.rs"]
#[allow(dead_code, reason = "its main function is not called")]
mod thread_per_core;

#[tokio::test]
async fn every_worker_sees_the_change() {
    let answers = thread_per_core::run().await.unwrap();
    assert_eq!(answers.len(), 4);
    for (before, after) in &answers {
        assert_eq!(
            (before.as_str(), after.as_str()),
            ("one.internal", "two.internal")
        );
    }
}

#[tokio::test]
async fn a_service_that_exists_is_followed() {
    let seen = rest_mapping::run().await.unwrap();
    let seen: Vec<_> = seen.iter().map(|limit| limit.as_deref()).collect();
    assert_eq!(seen, [Some("10"), Some("20"), Some("20"), None, Some("30")]);
}

#[test]
fn the_readme_shows_the_mapping_of_the_example() {
    let readme = include_str!("../../README.md");
    let (_, after) = readme.split_once("```json\n").unwrap();
    let (shown, _) = after.split_once("```").unwrap();
    let shown: serde_json::Value = serde_json::from_str(shown).unwrap();
    let example: serde_json::Value = serde_json::from_str(rest_mapping::MAPPING).unwrap();
    assert_eq!(shown, example);
}
