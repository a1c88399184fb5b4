//! Indexes, through the informer.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod driver_rig;

use driver_rig::{list, start, watch};
use reflet_tokio::Informer;
use reflet_tokio::reflet_core::index::{IndexBy, IndexId};

fn found(informer: &Informer<u32>, id: IndexId, term: &str) -> Vec<u32> {
    informer.with_cache(|cache| {
        let found = cache.by_index(id, term);
        found.map(|entry| *entry.value).collect()
    })
}

#[tokio::test(start_paused = true)]
async fn objects_are_found_by_what_is_in_them() {
    let (informer, mut script) = start();
    let parity = informer.add_index(IndexBy::new("parity", |_, value: &u32, terms| {
        terms.add(if value.is_multiple_of(2) {
            "even"
        } else {
            "odd"
        });
    }));
    let page = list(&mut script).await;
    page.page(10).object("a", 9, 1).object("b", 10, 2);
    page.page_end(None);
    informer.synced().await.unwrap();
    assert_eq!(found(&informer, parity, "odd"), [1]);

    let late = informer.add_index(IndexBy::new("late", |key: &str, value: &u32, terms| {
        terms.add(key);
        assert!(*value != 4, "an odd number was expected");
    }));
    let watch = watch(&mut script).await;
    watch.opened().upsert("a", 11, 4);
    watch.flush().await;
    assert_eq!(found(&informer, parity, "even"), [4, 2]);
    assert_eq!(found(&informer, late, "a"), [4], "a panic harms nobody");
    assert!(informer.health().reason.is_none());

    assert!(informer.remove_index(parity));
    assert!(!informer.remove_index(parity));
    assert!(found(&informer, parity, "even").is_empty());
}
