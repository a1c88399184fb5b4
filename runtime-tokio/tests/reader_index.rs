//! What readers find by indexes.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod driver_rig;

use std::sync::Arc;

use driver_rig::{list, live, start, watch};
use reflet_tokio::reflet_core::FailureClass;
use reflet_tokio::reflet_core::index::IndexBy;

fn parity() -> IndexBy<Arc<str>, u32> {
    IndexBy::new("parity", |_, value: &u32, terms| {
        terms.add(if value.is_multiple_of(2) {
            "even"
        } else {
            "odd"
        });
    })
}

fn last_digit() -> IndexBy<Arc<str>, u32> {
    IndexBy::new("last digit", |_, value: &u32, terms| {
        terms.add((value % 10).to_string());
    })
}

/// What was found, as words, by key.
fn words(found: impl IntoIterator<Item = (Arc<str>, u32)>) -> String {
    let mut words: Vec<_> = found
        .into_iter()
        .map(|(key, value)| format!("{key}={value}"))
        .collect();
    words.sort();
    words.join(" ")
}

#[tokio::test(start_paused = true)]
async fn readers_find_by_what_is_in_objects() {
    let (informer, mut script) = start();
    let parity = informer.add_index(parity());
    let reader = informer.reader();
    assert!(reader.by_index(parity, "odd").is_empty());
    let page = list(&mut script).await;
    page.page(10)
        .object("a", 9, 1)
        .object("b", 10, 2)
        .flush()
        .await;
    assert!(
        reader.by_index(parity, "odd").is_empty(),
        "a list shows when it is whole"
    );
    page.object("c", 8, 13).page_end(None);
    informer.synced().await.unwrap();
    assert_eq!(words(reader.by_index(parity, "odd")), "a=1 c=13");
    assert_eq!(reader.count_by(parity, "odd"), 2);

    // An index that comes later is there at once.
    let digit = informer.add_index(last_digit());
    assert_eq!(words(reader.by_index(digit, "3")), "c=13");
    assert_eq!(words(reader.by_both((parity, "odd"), (digit, "1"))), "a=1");

    let watch = watch(&mut script).await;
    watch
        .opened()
        .upsert("a", 11, 4)
        .delete("c", 12)
        .upsert("d", 13, 33);
    watch.flush().await;
    assert_eq!(words(reader.by_index(parity, "odd")), "d=33");
    assert_eq!(words(reader.by_index(parity, "even")), "a=4 b=2");
    assert_eq!(words(reader.by_index(digit, "3")), "d=33");
    assert_eq!(reader.count_by(digit, "1"), 0);

    assert!(informer.remove_index(parity));
    assert!(reader.by_index(parity, "even").is_empty());
    assert_eq!(words(reader.by_index(digit, "4")), "a=4");
}

#[tokio::test(start_paused = true)]
async fn a_view_finds_what_its_publication_holds() {
    let (informer, mut script, watch) = live().await;
    let reader = informer.reader();
    let before = reader.view();
    let parity = informer.add_index(parity());
    let first = reader.view();
    watch.upsert("a", 11, 4).upsert("c", 12, 3).flush().await;
    let second = reader.view();
    watch.fail(FailureClass::Gone, "compacted");
    list(&mut script).await.objects(20, [("b", 15, 5)]);
    driver_rig::watch(&mut script).await.opened().flush().await;
    informer.remove_index(parity);

    assert_eq!(before.by_index(parity, "odd").count(), 0, "nor is it ahead");
    assert_eq!(words(first.by_index(parity, "odd")), "a=1");
    assert_eq!(words(first.by_index(parity, "even")), "b=2");
    assert_eq!(words(second.by_index(parity, "odd")), "c=3");
    assert_eq!(words(second.by_index(parity, "even")), "a=4 b=2");
    assert_eq!(
        (
            first.count_by(parity, "even"),
            second.count_by(parity, "even")
        ),
        (1, 2)
    );
    assert_eq!(reader.count_by(parity, "odd"), 0);
}

#[tokio::test(start_paused = true)]
async fn a_view_walks_its_publication_in_the_order_of_the_keys() {
    let (informer, mut script) = start();
    let before = informer.reader().view();
    let page = list(&mut script).await;
    page.objects(
        20,
        [("b/2", 1, 2), ("a/1", 2, 1), ("b/1", 3, 3), ("c", 4, 4)],
    );
    informer.synced().await.unwrap();
    let order = informer.add_key_order();
    let view = informer.reader().view();
    let watch = watch(&mut script).await;
    watch.opened().delete("b/1", 21).upsert("b", 22, 5);
    watch.flush().await;
    let next = informer.reader().view();
    assert!(informer.remove_key_order(order));

    let keys = |walk: &mut dyn Iterator<Item = (Arc<str>, u32)>| {
        walk.map(|(key, _)| key.to_string())
            .collect::<Vec<_>>()
            .join(" ")
    };
    assert_eq!(keys(&mut view.iter_by_key(order)), "a/1 b/1 b/2 c");
    assert_eq!(keys(&mut view.iter_by_key(order).rev()), "c b/2 b/1 a/1");
    assert_eq!(keys(&mut view.prefix(order, "b/")), "b/1 b/2");
    assert_eq!(keys(&mut next.iter_by_key(order)), "a/1 b b/2 c");
    assert_eq!(keys(&mut next.range(order, "b/".."c")), "b/2");
    let (upper, lower) = ("c", "a");
    assert_eq!(keys(&mut next.range(order, upper..lower)), "");
    let after = informer.reader().view();
    for without in [&before, &after] {
        assert_eq!(keys(&mut without.iter_by_key(order)), "");
    }
}

#[tokio::test(start_paused = true)]
async fn the_first_reader_of_a_full_cache_finds_all_of_it() {
    let (informer, mut script) = start();
    let digit = informer.add_index(last_digit());
    let many: Vec<_> = (0..5_000_u32).map(|n| (format!("key {n}"), n)).collect();
    let objects = many.iter().map(|(key, n)| (&**key, u64::from(*n) + 1, *n));
    list(&mut script).await.objects(20_000, objects);
    informer.synced().await.unwrap();
    let reader = informer.reader();
    assert_eq!(reader.count_by(digit, "7"), 500);
    let found = reader.by_index(digit, "7");
    assert_eq!(found.len(), 500);
    assert!(found.iter().all(|(_, value)| value % 10 == 7));

    let order = informer.add_key_order();
    let view = reader.view();
    assert!(view.iter_by_key(order).map(|(key, _)| key).is_sorted());
    assert_eq!(view.iter_by_key(order).count(), 5_000);
    assert_eq!(view.prefix(order, "key 12").count(), 111);
    let (upper, lower) = ("key 4", "key 1");
    assert_eq!(view.range(order, upper..lower).count(), 0);
}

#[tokio::test(start_paused = true)]
async fn owners_find_what_is_theirs_and_a_panic_harms_nobody() {
    let (informer, _script, watch) = live().await;
    let reader = informer.reader();
    let owners = informer.add_index(IndexBy::owners(|value: &u32, owners| {
        owners.add(format!("owner {}", value / 10));
        assert!(*value != 14, "an object that was not thought of");
        owners.add("everybody");
    }));
    watch
        .upsert("c", 11, 13)
        .upsert("d", 12, 14)
        .upsert("e", 13, 25)
        .flush()
        .await;
    assert_eq!(words(reader.dependents(owners, "owner 1")), "c=13 d=14");
    assert_eq!(
        words(reader.by_index(owners, "everybody")),
        "a=1 b=2 c=13 e=25"
    );
    watch.upsert("d", 14, 15).flush().await;
    assert_eq!(reader.count_by(owners, "everybody"), 5);
}
