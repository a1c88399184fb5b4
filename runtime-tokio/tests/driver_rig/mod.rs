//! An informer on a scripted source, and the first words of a script.

#![allow(
    dead_code,
    unreachable_pub,
    reason = "each test file uses another part"
)]

use reflet_tokio::reflet_core::SourceProfile;
use reflet_tokio::reflet_core::cache::Delta;
use reflet_tokio::scripted::{self, Asked, Request, Script};
use reflet_tokio::{Batch, Informer};

/// What the tests' collections hold.
pub type Value = u32;

/// An informer, and what its source will say.
pub fn start() -> (Informer<Value>, Script<Value>) {
    let (source, script) = scripted::source(SourceProfile::default());
    (Informer::builder(source).seed(1).start(), script)
}

/// The next request, which has to be a list.
pub async fn list(script: &mut Script<Value>) -> Request<Value> {
    let request = script.next_request().await.unwrap();
    assert!(
        matches!(request.asked(), Asked::List(_)),
        "{:?}",
        request.asked()
    );
    request
}

/// The next request, which has to be a watch.
pub async fn watch(script: &mut Script<Value>) -> Request<Value> {
    let request = script.next_request().await.unwrap();
    assert!(
        matches!(request.asked(), Asked::Watch(_)),
        "{:?}",
        request.asked()
    );
    request
}

/// An informer that holds `a = 1` and `b = 2` at revision 10, and its open watch.
pub async fn live() -> (Informer<Value>, Script<Value>, Request<Value>) {
    let (informer, mut script) = start();
    list(&mut script)
        .await
        .objects(10, [("a", 9, 1), ("b", 10, 2)]);
    let watch = watch(&mut script).await;
    watch.opened().flush().await;
    (informer, script, watch)
}

/// A batch as short words: `reset +a=1 ~b=1>2 -c=2 =d=1`. Between objects no order is promised, so they
/// are sorted by key here, and the steps of one object stay in order.
pub fn words(batch: &Batch<Value>) -> String {
    let mut words: Vec<_> = batch
        .deltas
        .iter()
        .map(|delta| match delta {
            Delta::Added { key, new } => (&**key, format!("+{key}={new}")),
            Delta::Updated { key, old, new } => (&**key, format!("~{key}={old}>{new}")),
            Delta::Deleted { key, seen, .. } => (&**key, format!("-{key}={seen}")),
            Delta::Redelivered { key, value } => (&**key, format!("={key}={value}")),
            Delta::Gap(why) => ("", format!("gap:{why:?}")),
            Delta::Reset => ("", "reset".to_owned()),
            Delta::Mark(_) => ("", "mark".to_owned()),
        })
        .collect();
    words.sort_by_key(|(key, _)| *key);
    let words: Vec<_> = words.into_iter().map(|(_, words)| words).collect();
    words.join(" ")
}

/// The tasks of this runtime that are not over, the test itself apart.
pub fn alive_tasks() -> usize {
    tokio::runtime::Handle::current()
        .metrics()
        .num_alive_tasks()
}
