//! Readers, through the informer: what they see, when, and what they wait for.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod driver_rig;

use std::sync::Arc;

use driver_rig::{list, live, start, watch};
use futures_util::FutureExt as _;
use reflet_tokio::read::ReadView;
use reflet_tokio::reflet_core::{
    Command, Config, Epoch, Failure, FailureClass, Input, Revision, RevisionOrder, SourceProfile,
    Timestamp,
};
use reflet_tokio::{Informer, Published, Reader, View, WaitError, scripted};

/// What a view holds, as words, by key.
fn words(view: &View<u32>) -> String {
    let mut all: Vec<_> = view
        .iter()
        .map(|(key, value)| format!("{key}={value}"))
        .collect();
    assert_eq!(all.len(), view.len());
    all.sort();
    all.join(" ")
}

fn now(reader: &Reader<u32>) -> String {
    words(&reader.view())
}

fn whole(revision: u64) -> Published {
    let mut published = Published::default();
    published.revision = Some(Revision::from(revision));
    published.complete = true;
    published
}

#[tokio::test(start_paused = true)]
async fn a_reader_sees_what_is_published() {
    let (informer, mut script) = start();
    let reader = informer.reader();
    assert!(reader.is_empty());
    assert_eq!(reader.published(), Published::default());

    let page = list(&mut script).await;
    page.page(10).object("a", 9, 1).flush().await;
    assert_eq!(reader.load("a"), None, "a list shows when it is whole");
    page.object("b", 10, 2).page_end(None);
    informer.synced().await.unwrap();
    assert_eq!(now(&reader), "a=1 b=2");
    assert_eq!(reader.published(), whole(10));

    let watch = watch(&mut script).await;
    watch
        .opened()
        .upsert("a", 11, 3)
        .delete("b", 12)
        .upsert("c", 13, 4);
    watch.flush().await;
    assert_eq!(
        (reader.load("a"), reader.load("b"), reader.load("c")),
        (Some(3), None, Some(4))
    );
    assert_eq!(reader.len(), 2);
    assert_eq!(reader.revision(), Some(Revision::from(13)));
}

#[tokio::test(start_paused = true)]
async fn the_first_reader_of_a_full_cache_sees_all_of_it() {
    let (informer, mut script) = start();
    let many: Vec<_> = (0..20_000_u32).map(|n| (format!("key {n}"), n)).collect();
    let objects = many.iter().map(|(key, n)| (&**key, u64::from(*n) + 1, *n));
    list(&mut script).await.objects(20_000, objects);
    informer.synced().await.unwrap();

    let reader = informer.reader();
    assert_eq!(reader.len(), many.len());
    assert_eq!(reader.revision(), Some(Revision::from(20_000)));
    assert!(many.iter().all(|(key, n)| reader.load(key) == Some(*n)));
    assert_eq!(reader.view().iter().count(), many.len());

    let watch = watch(&mut script).await;
    watch
        .opened()
        .upsert("key 7", 20_001, 70)
        .delete("key 8", 20_002);
    watch.flush().await;
    let another = informer.reader();
    for reader in [&reader, &another] {
        assert_eq!(
            (reader.load("key 7"), reader.load("key 8")),
            (Some(70), None)
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_view_stays_as_it_is() {
    let (informer, _script, watch) = live().await;
    let reader = informer.reader();
    let first = reader.view();
    watch.upsert("a", 11, 3).flush().await;
    let second = reader.view();
    let again = first.clone();
    watch.delete("a", 12).upsert("c", 13, 4).flush().await;
    let third = reader.view();
    watch
        .upsert("a", 14, 5)
        .delete("b", 15)
        .delete("c", 16)
        .flush()
        .await;

    assert_eq!(words(&first), "a=1 b=2");
    assert_eq!(words(&second), "a=3 b=2");
    assert_eq!(words(&third), "b=2 c=4");
    assert_eq!(now(&reader), "a=5");
    assert_eq!((first.get("a"), first.get("c")), (Some(1), None));
    assert_eq!((first.contains("a"), first.contains("c")), (true, false));
    assert_eq!((reader.contains("a"), reader.contains("b")), (true, false));
    assert_eq!(
        (informer.contains("a"), informer.contains("b")),
        (true, false)
    );
    assert_eq!((third.get("a"), third.get("c")), (None, Some(4)));
    assert_eq!(first.revision(), Some(&Revision::from(10)));
    assert_eq!(third.revision(), Some(&Revision::from(13)));

    drop((first, third));
    watch.upsert("b", 17, 6).flush().await;
    assert_eq!(words(&second), "a=3 b=2");
    assert_eq!(words(&again), "a=1 b=2", "a clone is kept for itself");
    assert_eq!(again.revision(), Some(&Revision::from(10)));
    drop(informer);
    assert_eq!(words(&second), "a=3 b=2", "also when the informer is gone");
}

#[tokio::test(start_paused = true)]
async fn a_relist_shows_at_once_and_one_without_news_not_at_all() {
    let (informer, mut script, watch) = live().await;
    let mut reader = informer.reader();
    watch.fail(FailureClass::Gone, "compacted");
    list(&mut script)
        .await
        .objects(10, [("a", 9, 1), ("b", 10, 2)]);
    let watch = driver_rig::watch(&mut script).await;
    watch.opened().flush().await;
    assert_eq!(reader.changed().now_or_never(), None, "nothing has changed");

    watch.fail(FailureClass::Gone, "compacted");
    let page = list(&mut script).await;
    page.page(20).object("b", 20, 7).flush().await;
    assert_eq!(now(&reader), "a=1 b=2");
    page.object("c", 15, 8).page_end(None);
    assert_eq!(reader.changed().await, Ok(whole(20)));
    assert_eq!(now(&reader), "b=7 c=8");
}

#[tokio::test(start_paused = true)]
async fn readers_are_never_behind_a_delta() {
    let (informer, _script, watch) = live().await;
    let reader = informer.reader();
    let mut deltas = informer.subscribe();
    for revision in 11..200 {
        let key = format!("key {}", revision % 7);
        if revision % 3 == 0 {
            watch.delete(&key, revision);
        } else {
            watch.upsert(&key, revision, revision as u32);
        }
        let batch = deltas.next().await.unwrap();
        assert_eq!(batch.mark.revision, reader.revision());
        let cached = informer.objects().into_iter().collect();
        let read: std::collections::BTreeMap<_, _> = reader.view().iter().collect();
        assert_eq!(read, cached);
    }
}

#[tokio::test(start_paused = true)]
async fn changes_are_told_once_and_the_end_too() {
    let (informer, _script, watch) = live().await;
    let mut reader = informer.reader();
    assert_eq!(reader.changed().now_or_never(), None, "it knows that state");
    watch.upsert("a", 11, 3).flush().await;
    watch.upsert("a", 12, 4).progress(12).flush().await;
    let mut clone = reader.clone();
    assert_eq!(reader.changed().await, Ok(whole(12)), "the newest");
    assert_eq!(reader.changed().now_or_never(), None);
    assert_eq!(clone.changed().await, Ok(whole(12)));

    watch.upsert("a", 13, 5).progress(13).flush().await;
    informer.shutdown().await;
    assert_eq!(
        reader.changed().await,
        Ok(whole(13)),
        "what came before the end"
    );
    assert_eq!(reader.changed().await, Err(WaitError::Stopped));
    assert_eq!(reader.load("a"), Some(5));
    drop(informer);
    assert_eq!(clone.changed().await, Ok(whole(13)));
    assert_eq!(clone.changed().await, Err(WaitError::Stopped));
}

#[tokio::test(start_paused = true)]
async fn who_waits_for_a_revision_reads_its_own_writes() {
    let (informer, _script, watch) = live().await;
    let reader = informer.reader();
    assert_eq!(reader.wait_for(&Revision::from(9)).await, Ok(whole(10)));
    let waiting = tokio::spawn({
        let reader = reader.clone();
        async move {
            let published = reader.wait_for(&Revision::from(12)).await.unwrap();
            (published.revision, reader.load("mine"))
        }
    });
    watch.upsert("other", 11, 3).flush().await;
    assert!(!waiting.is_finished());
    watch.upsert("mine", 12, 4).flush().await;
    assert_eq!(waiting.await.unwrap(), (Some(Revision::from(12)), Some(4)));
    let long = Revision::parse("123456789012345678901234567890");
    assert_eq!(reader.wait_for(&long).now_or_never(), None);
}

#[tokio::test(start_paused = true)]
async fn a_wait_that_cannot_end_well_ends_with_a_reason() {
    let (informer, _script, _watch) = live().await;
    let reader = informer.reader();
    let text = reader.wait_for(&Revision::parse("W/\"x\"")).await;
    assert_eq!(text, Err(WaitError::Unordered));
    let waiting = reader.clone();
    let waiting = tokio::spawn(async move { waiting.wait_for(&Revision::from(99)).await });
    tokio::task::yield_now().await;
    informer.shutdown().await;
    assert_eq!(waiting.await.unwrap(), Err(WaitError::Stopped));
    assert_eq!(reader.wait_for(&Revision::from(10)).await, Ok(whole(10)));

    let profile = SourceProfile {
        order: RevisionOrder::Opaque,
        ..SourceProfile::default()
    };
    let (source, _script) = scripted::source::<u32>(profile);
    let informer = Informer::builder(source).seed(1).start();
    let wait = informer
        .reader()
        .wait_for(&Revision::from(1))
        .now_or_never();
    assert_eq!(wait, Some(Err(WaitError::Unordered)));
}

#[tokio::test(start_paused = true)]
async fn a_wait_does_not_outlive_its_epoch() {
    let (informer, mut script) = start();
    let reader = informer.reader();
    let epoch = |name: &str| Some(Epoch::new(name));
    list(&mut script).await.say(move |sink| {
        sink.page(epoch("one"), Some(Revision::from(10)));
        sink.page_end(None);
    });
    informer.synced().await.unwrap();
    let waiting = reader.clone();
    let waiting = tokio::spawn(async move { waiting.wait_for(&Revision::from(99)).await });
    tokio::task::yield_now().await;
    watch(&mut script)
        .await
        .fail(FailureClass::Gone, "compacted");
    list(&mut script).await.say(move |sink| {
        sink.page(epoch("two"), Some(Revision::from(200)));
        sink.page_end(None);
    });
    assert_eq!(waiting.await.unwrap(), Err(WaitError::EpochChanged));
    assert_eq!(reader.published().local_epoch, 1);
}

#[tokio::test(start_paused = true)]
async fn a_reader_needs_neither_a_runtime_nor_its_own_thread() {
    let (informer, _script, watch) = live().await;
    let reader = informer.reader();
    let view = reader.view();
    let reading = std::thread::spawn(move || {
        while reader.load("c").is_none() {
            assert_eq!(view.get("c"), None);
            std::hint::spin_loop();
        }
        (reader.len(), words(&view))
    });
    watch.upsert("c", 11, 3).flush().await;
    assert_eq!(reading.join().unwrap(), (3, "a=1 b=2".to_owned()));
}

/// Answers the list that an engine asks for, now or when its wait is over.
fn list_by_hand(engine: &mut Engine, epoch: &str, revision: u64) {
    let mut now = Timestamp::ZERO;
    if !engine.has_command() {
        now = engine.poll_timeout().unwrap().at;
        engine.handle_timeout(now);
    }
    let Some(Command::List { attempt, .. }) = engine.poll_command() else {
        panic!("no list")
    };
    let page = Input::Page {
        epoch: Some(Epoch::new(epoch)),
        revision: Some(revision.into()),
    };
    engine.handle(now, attempt, page);
    engine.handle(now, attempt, Input::PageEnd { next: None });
}

type Engine = reflet_tokio::reflet_core::Informer<Arc<str>, u32>;

/// Those who wait are told a moment after readers see it, when nothing is locked any more.
#[test]
fn between_what_is_seen_and_what_is_told_nothing_is_mistaken() {
    let mut engine = Engine::new(Config::default(), 1, Timestamp::ZERO);
    let mut view = ReadView::new(&mut engine, 1);
    list_by_hand(&mut engine, "one", 10);
    let telling = view.bring_up(&mut engine);
    let mut reader = view.reader(&mut engine);
    assert_eq!(reader.revision(), Some(Revision::from(10)));
    drop(telling);
    assert_eq!(reader.changed().now_or_never(), None, "it knew that");

    let Some(Command::Watch { attempt, .. }) = engine.poll_command() else {
        panic!("no watch")
    };
    let gone = Failure::new(FailureClass::Gone, "compacted");
    engine.handle(Timestamp::ZERO, attempt, Input::Failed(gone));
    list_by_hand(&mut engine, "two", 20);
    let telling = view.bring_up(&mut engine);
    assert_eq!(
        (reader.published().local_epoch, reader.published().revision),
        (1, Some(20.into()))
    );
    let revision = Revision::from(20);
    let mut waiting = Box::pin(reader.wait_for(&revision));
    assert_eq!(waiting.as_mut().now_or_never(), None);
    drop(telling);
    let told = waiting.now_or_never().unwrap().unwrap();
    assert_eq!(
        (told.local_epoch, told.revision),
        (1, Some(revision.clone())),
        "nothing was rewound since"
    );
}

#[tokio::test(start_paused = true)]
async fn what_is_replaced_is_let_go() {
    let (source, mut script) = scripted::source(SourceProfile::default());
    let informer = Informer::builder(source).seed(1).start();
    let reader = informer.reader();
    let (first, second) = (Arc::new(1), Arc::new(2));
    let list = script.next_request().await.unwrap();
    list.objects(10, [("a", 9, Arc::clone(&first))]);
    informer.synced().await.unwrap();
    let view = reader.view();
    let watch = script.next_request().await.unwrap();
    watch
        .opened()
        .upsert("a", 11, Arc::clone(&second))
        .flush()
        .await;
    assert_eq!(
        Arc::strong_count(&first),
        3,
        "ours, and the view's on both sides"
    );
    drop(view);
    watch.delete("a", 12).flush().await;
    assert_eq!(Arc::strong_count(&first), 1);
    assert_eq!(Arc::strong_count(&second), 1);
}

#[tokio::test(start_paused = true)]
async fn what_a_view_saw_is_let_go_also_if_nothing_more_is_published() {
    const OBJECTS: u64 = 5_000;
    let (source, mut script) = scripted::source(SourceProfile::default());
    let informer = Informer::builder(source).seed(1).start();
    let reader = informer.reader();
    let keys: Vec<_> = (0..OBJECTS).map(|n| format!("key {n}")).collect();
    let (old, new) = (Arc::new(1), Arc::new(2));
    let list = script.next_request().await.unwrap();
    list.objects(10, keys.iter().map(|key| (&**key, 10, Arc::clone(&old))));
    informer.synced().await.unwrap();
    let view = reader.view();
    let watch = script.next_request().await.unwrap();
    watch.opened();
    for (key, revision) in keys.iter().zip(11..) {
        watch.upsert(key, revision, Arc::clone(&new));
        // A publication each.
        watch.flush().await;
    }
    assert!(Arc::strong_count(&old) as u64 > OBJECTS, "for the view");
    drop(view);
    // Whoever touches the informer next finds that out.
    drop(informer.subscribe());
    for _ in 0..OBJECTS {
        tokio::task::yield_now().await;
    }
    assert_eq!(Arc::strong_count(&old), 1);
}
