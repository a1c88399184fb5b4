//! Fences, through the informer and its readers.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod driver_rig;

use std::sync::Arc;

use driver_rig::{list, watch};
use reflet_tokio::read::ReadView;
use reflet_tokio::reflet_core::{self, FenceError, Revision, SourceProfile};
use reflet_tokio::{Informer, scripted};

fn fresh(fresh_lists: bool) -> (Informer<u32>, scripted::Script<u32>) {
    let profile = SourceProfile {
        fresh_lists,
        versions_ordered: true,
        ..SourceProfile::default()
    };
    let (source, script) = scripted::source(profile);
    (Informer::builder(source).seed(1).start(), script)
}

#[tokio::test(start_paused = true)]
async fn behind_a_fence_readers_see_what_was_there() {
    let (informer, mut script) = fresh(true);
    let reader = informer.reader();
    list(&mut script).await.objects(10, [("a", 9, 1)]);
    watch(&mut script).await.opened().flush().await;

    // The source goes on, and the watch says nothing of it.
    let fences: Vec<_> = (0..10)
        .map(|_| {
            let (informer, reader) = (informer.clone(), reader.clone());
            tokio::spawn(async move {
                informer.fence().await.unwrap();
                reader.load("mine")
            })
        })
        .collect();
    let other = reader.clone();
    let other = tokio::spawn(async move { (other.fence().await, other.load("mine")) });
    let again = list(&mut script).await;
    again.page(12).object("a", 9, 1).flush().await;
    assert!(!other.is_finished());
    again.object("mine", 12, 7).page_end(None);
    for fence in fences {
        assert_eq!(fence.await.unwrap(), Some(7));
    }
    let (published, found) = other.await.unwrap();
    assert_eq!(found, Some(7));
    assert_eq!(published.unwrap().revision, Some(Revision::from(12)));
    watch(&mut script).await.opened().flush().await;
    assert!(script.made_request().is_none(), "one list was enough");
}

#[tokio::test(start_paused = true)]
async fn a_fence_in_which_nothing_has_changed_is_passed_too() {
    let (informer, mut script) = fresh(true);
    list(&mut script).await.objects(10, [("a", 9, 1)]);
    watch(&mut script).await.opened().flush().await;
    let fence = tokio::spawn({
        let informer = informer.clone();
        async move { informer.fence().await }
    });
    list(&mut script).await.objects(10, [("a", 9, 1)]);
    assert_eq!(fence.await.unwrap(), Ok(()));
}

#[tokio::test(start_paused = true)]
async fn a_fence_that_cannot_be_passed_says_so() {
    let (informer, mut script) = fresh(false);
    list(&mut script).await.objects(10, [("a", 9, 1)]);
    assert_eq!(informer.fence().await, Err(FenceError::NotOffered));

    let (informer, mut script) = fresh(true);
    let reader = informer.reader();
    list(&mut script).await.objects(10, [("a", 9, 1)]);
    let _watch = watch(&mut script).await;
    let fence = tokio::spawn({
        let reader = reader.clone();
        async move { reader.fence().await }
    });
    tokio::task::yield_now().await;
    informer.shutdown().await;
    assert_eq!(fence.await.unwrap(), Err(FenceError::Stopped));
    assert_eq!(informer.fence().await, Err(FenceError::Stopped));
    drop(informer);
    assert_eq!(reader.fence().await, Err(FenceError::Stopped));

    let mut engine = reflet_core::Informer::<Arc<str>, u32>::new(
        reflet_core::Config::default(),
        1,
        reflet_core::Timestamp::ZERO,
    );
    let reader = ReadView::new(&mut engine, 1).reader(&mut engine);
    let nobody = reader.fence().await;
    assert_eq!(nobody, Err(FenceError::Stopped), "nobody asks the source");
}
