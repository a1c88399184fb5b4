//! What may be relied on of the types, whatever they hold.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod driver_rig;

use std::error::Error;
use std::fmt::Debug;
use std::sync::Arc;

use driver_rig::{list, live, start};
use reflet_tokio::read::{Afterwards, Found, Iter, ReadView};
use reflet_tokio::reflet_core::Revision;
use reflet_tokio::scripted::{Request, Script, ScriptedSource};
use reflet_tokio::source::{ListRequest, Sink, WatchRequest};
use reflet_tokio::{
    Batch, Builder, Deltas, Ended, HandlerTask, Informer, NotSynced, Notice, Notices, Published,
    Reader, Status, View, WaitError, scripted,
};

fn crosses_threads<T: Send + Sync + Debug>() {}

fn is_plain<T: Clone + PartialEq + Send + Sync + Debug + 'static>() {}

fn is_an_error<T: Error + Clone + PartialEq + Send + Sync + 'static>() {}

fn may_be_spawned(_: impl Future + Send) {}

#[test]
fn whatever_users_hold_crosses_threads_and_can_be_shown() {
    crosses_threads::<Informer<u32>>();
    crosses_threads::<Builder<ScriptedSource<u32>>>();
    crosses_threads::<Reader<u32>>();
    crosses_threads::<View<u32>>();
    crosses_threads::<(Iter<'_, u32>, Found<'_, u32>)>();
    crosses_threads::<(ReadView<u32>, Afterwards<u32>)>();
    crosses_threads::<Deltas<u32>>();
    crosses_threads::<(HandlerTask, Notices)>();
    crosses_threads::<(Script<u32>, Request<u32>)>();
    is_plain::<(ListRequest, WatchRequest)>();
    // A source's futures hold it, and may be sent.
    fn can_be_sent<T: Send + Debug>() {}
    can_be_sent::<Sink<u32>>();
    is_plain::<(Batch<u32>, Ended, Notice, Status, Published)>();
    is_an_error::<NotSynced>();
    is_an_error::<WaitError>();
}

#[cfg(feature = "http")]
#[test]
fn so_does_whatever_speaks_http() {
    use reflet_tokio::http::rest::{InvalidPointer, Mapping, MappingError, RestSource};
    use reflet_tokio::http::{BuildError, HttpLimits, HttpSource, HttpSourceBuilder, Transport};

    crosses_threads::<(HttpSource<String>, RestSource<String>)>();
    is_plain::<(HttpLimits, Transport, Mapping)>();
    is_an_error::<BuildError>();
    is_an_error::<MappingError>();
    is_an_error::<InvalidPointer>();
    // Its connector is anybody's.
    fn can_be_moved<T: Send + Debug>() {}
    can_be_moved::<HttpSourceBuilder<String>>();
}

#[cfg(feature = "serve")]
#[test]
fn so_does_whatever_is_published() {
    use reflet_tokio::serve::{
        Access, AccessError, Collection, CollectionOptions, Export, JournalError, OpenError,
        Publish, RestoreError, WriteError,
    };

    crosses_threads::<(Collection, CollectionOptions, Publish, Access)>();
    is_plain::<Export>();
    is_an_error::<WriteError>();
    is_an_error::<OpenError>();
    is_an_error::<RestoreError>();
    is_an_error::<JournalError>();
    is_an_error::<AccessError>();
}

#[cfg(feature = "snapshot")]
#[test]
fn so_does_whatever_is_kept_in_a_file() {
    use reflet_tokio::{SnapshotFailure, SnapshotOptions, WarmStart};

    is_plain::<(SnapshotOptions, WarmStart)>();
    is_an_error::<SnapshotFailure>();
}

#[tokio::test(start_paused = true)]
async fn whatever_waits_may_be_spawned() {
    let (informer, _script, _watch) = live().await;
    let mut reader = informer.reader();
    let mut deltas = informer.subscribe();
    may_be_spawned(informer.synced());
    may_be_spawned(informer.fence());
    may_be_spawned(informer.shutdown());
    may_be_spawned(reader.wait_for(&Revision::from(1)));
    may_be_spawned(reader.fence());
    may_be_spawned(reader.changed());
    may_be_spawned(deltas.next());
}

/// The name of an index that belongs to another informer finds nothing, instead of something else.
#[tokio::test(start_paused = true)]
async fn nothing_is_found_by_an_index_of_another_informer() {
    let (informer, mut script) = start();
    let (source, _silent) = scripted::source::<u32>(Default::default());
    let other = Informer::builder(source).seed(2).start();
    let all = |informer: &Informer<u32>| informer.add_index_by("all", |_, _, terms| terms.add("x"));
    let (its, mine) = (all(&other), all(&informer));
    list(&mut script).await.objects(10, [("a", 9, 1)]);
    informer.synced().await.unwrap();

    let reader = informer.reader();
    assert_eq!(reader.by_index(mine, "x"), [(Arc::from("a"), 1)]);
    assert_eq!(reader.by_index(its, "x"), []);
    assert_eq!(reader.count_by(its, "x"), 0);
    assert!(!informer.remove_index(its));
    assert_eq!(reader.count_by(mine, "x"), 1);

    let order = other.add_key_order();
    assert_eq!(reader.view().iter_by_key(order).count(), 0);
    assert!(!informer.redeliver(other.subscribe().id()));
}
