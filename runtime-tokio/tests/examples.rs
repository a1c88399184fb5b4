//! The examples do what they say.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

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
