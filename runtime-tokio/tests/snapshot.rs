//! Warm starts through the public API: what is written, what is served, what is refused.
#![cfg(feature = "snapshot")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may panic")]

mod driver_rig;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use driver_rig::{Value, list, watch};
use reflet_tokio::reflet_core::cache::{Delta, Mark};
use reflet_tokio::reflet_core::snapshot::SnapshotError;
use reflet_tokio::reflet_core::{Condition, FailureClass, Revision, SourceProfile, State};
use reflet_tokio::scripted::{self, Script};
use reflet_tokio::{
    Handler, Informer, Notice, SnapshotEncoding, SnapshotFailure, SnapshotOptions, WarmStart,
};

/// A folder of a test's own, removed at its end.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let (process, next) = (std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let name = format!("snapshot-{process}-{next}");
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn options(&self) -> SnapshotOptions {
        SnapshotOptions::new(self.file(), "test/numbers/v1").period(Duration::from_secs(5))
    }

    fn file(&self) -> PathBuf {
        self.0.join("numbers")
    }

    /// The names of all that is in it.
    fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(&self.0).unwrap();
        let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let mut names: Vec<_> = names.collect();
        names.sort();
        names
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn start(options: SnapshotOptions) -> (Informer<Value>, Script<Value>) {
    let (source, script) = scripted::source(SourceProfile::default());
    let informer = Informer::builder(source).seed(1).snapshot(options).start();
    (informer, script)
}

/// Leaves a snapshot of `a = 1` and `b = 2` at revision 10.
async fn leave(options: SnapshotOptions) {
    let (informer, mut script) = start(options);
    list(&mut script)
        .await
        .objects(10, [("a", 9, 1), ("b", 10, 2)]);
    informer.synced().await.unwrap();
    informer.shutdown().await;
}

/// The next notice about snapshots.
async fn told(notices: &mut reflet_tokio::Notices) -> Notice {
    loop {
        let notice = notices.next().await.unwrap();
        if !matches!(notice, Notice::Engine(_)) {
            return notice;
        }
    }
}

#[tokio::test]
async fn what_was_held_at_the_end_is_served_at_once() {
    let folder = Folder::new();
    let (cold, _script) = start(folder.options());
    assert_eq!(*cold.warm_start(), WarmStart::NoSnapshot);
    cold.shutdown().await;
    assert_eq!(
        folder.names(),
        [""; 0],
        "nothing is known, and nothing is written"
    );

    leave(folder.options()).await;
    assert_eq!(folder.names(), ["numbers"]);

    let (informer, mut script) = start(folder.options());
    let revision = Some(Revision::from(10));
    let restored = WarmStart::Restored {
        revision: revision.clone(),
        objects: 2,
    };
    assert_eq!(*informer.warm_start(), restored);
    assert_eq!((informer.get("a"), informer.get("b")), (Some(1), Some(2)));
    let status = informer.status().borrow().clone();
    assert_eq!(
        (status.synced, status.objects, status.revision),
        (false, 2, revision)
    );
    let health = informer.health();
    assert_eq!(
        (health.state, health.reason),
        (State::Stale, Some(Condition::Restored))
    );

    let reader = informer.reader();
    let view = reader.view();
    assert_eq!((view.get("a"), view.published().restored), (Some(1), true));
    let mut deltas = informer.subscribe();
    let batch = deltas.next().await.unwrap();
    assert_eq!(batch.deltas.len(), 2);
    assert!(batch.mark.restored && batch.mark.complete);

    let watch = watch(&mut script).await;
    watch.opened().upsert("a", 11, 3).progress(11);
    let batch = deltas.next().await.unwrap();
    assert_eq!(
        batch.deltas,
        [Delta::Updated {
            key: "a".into(),
            old: 1,
            new: 3
        }]
    );
    assert!(!batch.mark.restored && !reader.published().restored);
    assert!(view.published().restored, "it stays what it is");
    informer.synced().await.unwrap();
    informer.shutdown().await;

    let (informer, _script) = start(folder.options());
    assert_eq!(
        (informer.get("a"), informer.revision()),
        (Some(3), Some(11.into()))
    );
}

#[derive(Clone, Default)]
struct Calls(Arc<std::sync::Mutex<Vec<String>>>);

impl Handler<Value> for Calls {
    fn caught_up(&mut self, mark: &Mark) {
        let word = if mark.restored {
            "restored"
        } else {
            "confirmed"
        };
        self.0.lock().unwrap().push(word.to_owned());
    }

    fn synced(&mut self) {
        self.0.lock().unwrap().push("synced".to_owned());
    }
}

#[tokio::test]
async fn a_handler_is_synced_when_the_source_has_confirmed() {
    let folder = Folder::new();
    leave(folder.options()).await;
    let (informer, mut script) = start(folder.options());
    let calls = Calls::default();
    let task = informer.handle(calls.clone());
    let mut other = informer.subscribe();
    other.next().await.unwrap();

    let watch = watch(&mut script).await;
    watch.opened().progress(10);
    task.synced().await.unwrap();
    let calls = calls.0.lock().unwrap().clone();
    assert_eq!(
        calls.last().map(String::as_str),
        Some("synced"),
        "{calls:?}"
    );
    assert_eq!(
        calls.iter().filter(|call| *call == "synced").count(),
        1,
        "{calls:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn it_is_written_once_in_each_period_if_anything_has_changed() {
    let folder = Folder::new();
    let (informer, mut script) = start(folder.options());
    let mut notices = informer.notices();
    list(&mut script).await.objects(10, [("a", 9, 1)]);
    let written = told(&mut notices).await;
    let first = matches!(written, Notice::SnapshotWritten { objects: 1, .. });
    assert!(first, "{written:?}");

    let watch = watch(&mut script).await;
    watch.opened().flush().await;
    let before = fs::metadata(folder.file()).unwrap().modified().unwrap();
    // Nothing has changed in these periods, but an event in the last one.
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(
        fs::metadata(folder.file()).unwrap().modified().unwrap(),
        before
    );
    watch.upsert("b", 11, 2).progress(11);
    let Notice::SnapshotWritten {
        revision,
        objects,
        bytes,
    } = told(&mut notices).await
    else {
        panic!("not written")
    };
    assert_eq!((revision, objects), (Some(11.into()), 2));
    assert_eq!(bytes, fs::metadata(folder.file()).unwrap().len());
    informer.shutdown().await;
    assert_eq!(folder.names(), ["numbers"]);
}

#[tokio::test(start_paused = true)]
async fn a_complete_state_is_waited_for() {
    let folder = Folder::new();
    let (informer, mut script) = start(folder.options());
    let mut notices = informer.notices();
    list(&mut script).await.objects(10, [("a", 9, 1)]);
    told(&mut notices).await;
    let watch = watch(&mut script).await;
    // Without batch ends nobody knows whether there is more of revision 11.
    watch.opened().upsert("b", 11, 2).flush().await;
    tokio::time::sleep(Duration::from_secs(8)).await;
    watch.upsert("c", 12, 3).flush().await;
    watch.progress(12);
    let written = told(&mut notices).await;
    assert!(
        matches!(&written, Notice::SnapshotWritten { revision, .. } if *revision == Some(12.into())),
        "{written:?}"
    );
}

#[tokio::test]
async fn dropping_the_last_handle_writes_it_too() {
    let folder = Folder::new();
    let (informer, mut script) = start(folder.options());
    let mut notices = informer.notices();
    list(&mut script).await.objects(10, [("a", 9, 1)]);
    informer.synced().await.unwrap();
    drop(informer);
    let written = told(&mut notices).await;
    assert!(
        matches!(written, Notice::SnapshotWritten { .. }),
        "{written:?}"
    );
}

/// Starts with a file that cannot be used; why, in the words of the notice and of the handle.
async fn refused(folder: &Folder, options: SnapshotOptions) -> SnapshotFailure {
    let (informer, mut script) = start(options);
    let mut notices = informer.notices();
    let WarmStart::Refused { error, kept } = informer.warm_start().clone() else {
        panic!("{:?}", informer.warm_start())
    };
    assert_eq!(kept, Some(folder.0.join("numbers.bad")));
    assert!(informer.is_empty());
    let notice = Notice::SnapshotRefused {
        error: error.clone(),
        kept,
    };
    assert_eq!(told(&mut notices).await, notice);
    // A cold start like any other.
    list(&mut script).await.objects(12, [("a", 11, 7)]);
    informer.synced().await.unwrap();
    informer.shutdown().await;
    assert_eq!(folder.names(), ["numbers", "numbers.bad"]);
    error
}

#[tokio::test]
async fn what_cannot_be_used_is_put_aside() {
    let folder = Folder::new();
    leave(folder.options()).await;
    let mut bytes = fs::read(folder.file()).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0x10;
    fs::write(folder.file(), &bytes).unwrap();
    let error = refused(&folder, folder.options()).await;
    assert!(
        matches!(
            error,
            SnapshotFailure::Content(SnapshotError::Damaged { .. })
        ),
        "{error}"
    );
    assert_eq!(
        fs::read(folder.0.join("numbers.bad")).unwrap(),
        bytes,
        "for a human to look at"
    );

    // The next one takes its place: they do not pile up.
    let whole = fs::read(folder.file()).unwrap();
    fs::write(folder.file(), &whole[..whole.len() - 3]).unwrap();
    let error = refused(&folder, folder.options()).await;
    assert!(
        matches!(
            error,
            SnapshotFailure::Content(SnapshotError::Truncated { .. })
        ),
        "{error}"
    );

    let mut other = folder.options();
    other.identity = "test/numbers/v2".into();
    let error = refused(&folder, other).await;
    let found = "test/numbers/v1".into();
    assert_eq!(
        error,
        SnapshotFailure::Content(SnapshotError::Foreign { found })
    );
}

#[tokio::test]
async fn limits_hold_for_what_is_restored() {
    let folder = Folder::new();
    leave(folder.options()).await;
    let (source, _script) = scripted::source::<Value>(SourceProfile::default());
    let informer = Informer::builder(source)
        .snapshot(folder.options())
        .limits(|limits| limits.objects = 1)
        .start();
    assert!(
        matches!(
            informer.warm_start(),
            WarmStart::Refused {
                error: SnapshotFailure::Content(SnapshotError::OverLimit { .. }),
                ..
            }
        ),
        "{:?}",
        informer.warm_start()
    );
}

#[tokio::test(start_paused = true)]
async fn a_missing_folder_is_told_and_tried_again() {
    let folder = Folder::new();
    let mut options = folder.options();
    options.path = folder.0.join("later/numbers");
    let (informer, mut script) = start(options.clone());
    assert_eq!(*informer.warm_start(), WarmStart::NoSnapshot);
    let mut notices = informer.notices();
    list(&mut script).await.objects(10, [("a", 9, 1)]);
    for _ in 0..2 {
        let Notice::SnapshotFailed { error } = told(&mut notices).await else {
            panic!("it cannot be written")
        };
        assert!(
            matches!(
                &error,
                SnapshotFailure::Io {
                    kind: io::ErrorKind::NotFound,
                    ..
                }
            ),
            "{error}"
        );
    }
    assert_eq!(informer.get("a"), Some(1), "nobody else notices");
    fs::create_dir(folder.0.join("later")).unwrap();
    let written = told(&mut notices).await;
    assert!(
        matches!(written, Notice::SnapshotWritten { .. }),
        "{written:?}"
    );
}

#[tokio::test]
async fn what_may_not_be_written_leaves_nothing_behind() {
    let folder = Folder::new();
    // Even root cannot replace a folder by a file.
    fs::create_dir(folder.file()).unwrap();
    let (informer, mut script) = start(folder.options());
    let WarmStart::Refused { kept: None, .. } = informer.warm_start() else {
        panic!("{:?}", informer.warm_start())
    };
    let mut notices = informer.notices();
    list(&mut script).await.objects(10, [("a", 9, 1)]);
    informer.synced().await.unwrap();
    informer.shutdown().await;
    let mut last = told(&mut notices).await;
    if matches!(last, Notice::SnapshotRefused { .. }) {
        last = told(&mut notices).await;
    }
    assert!(matches!(last, Notice::SnapshotFailed { .. }), "{last:?}");
    assert_eq!(
        folder.names(),
        ["numbers"],
        "the folder is as it was, and nothing beside it"
    );
}

#[cfg(unix)]
#[tokio::test]
async fn only_its_owner_may_read_it() {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = Folder::new();
    leave(folder.options()).await;
    let mode = fs::metadata(folder.file()).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[cfg(unix)]
#[tokio::test]
async fn what_lies_in_the_way_of_a_new_one_is_not_written_to() {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = Folder::new();
    let (temporary, elsewhere) = (folder.0.join("numbers.tmp"), folder.0.join("elsewhere"));
    // As an interrupted run of somebody who is careless, or worse, may leave it.
    fs::write(&temporary, "open to all").unwrap();
    fs::set_permissions(&temporary, fs::Permissions::from_mode(0o644)).unwrap();
    leave(folder.options()).await;
    let mode = fs::metadata(folder.file()).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);

    fs::remove_file(folder.file()).unwrap();
    fs::write(&elsewhere, "of somebody else").unwrap();
    std::os::unix::fs::symlink(&elsewhere, &temporary).unwrap();
    leave(folder.options()).await;
    assert_eq!(fs::read(&elsewhere).unwrap(), b"of somebody else");
    assert!(fs::symlink_metadata(folder.file()).unwrap().is_file());
    assert_eq!(folder.names(), ["elsewhere", "numbers"]);
}

#[cfg(unix)]
#[tokio::test]
async fn what_may_not_be_read_is_a_cold_start() {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = Folder::new();
    leave(folder.options()).await;
    fs::set_permissions(folder.file(), fs::Permissions::from_mode(0o000)).unwrap();
    let (informer, _script) = start(folder.options());
    match informer.warm_start() {
        WarmStart::Refused { error, .. } => {
            let denied = io::ErrorKind::PermissionDenied;
            assert!(matches!(error, SnapshotFailure::Io { kind, .. } if *kind == denied));
        }
        // Root may read everything.
        WarmStart::Restored { .. } => assert!(fs::read(folder.file()).is_ok()),
        other => panic!("{other:?}"),
    }
}

/// What only a format that describes itself can hold.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(untagged)]
enum Untagged {
    Number(u32),
    Words(Vec<String>),
}

#[tokio::test]
async fn types_that_need_a_self_describing_format_are_kept_as_json() {
    let folder = Folder::new();
    let options = folder.options().encoding(SnapshotEncoding::Json);
    let words = Untagged::Words(vec!["one".into(), "two".into()]);
    let start = || {
        let (source, script) = scripted::source::<Untagged>(SourceProfile::default());
        let informer = Informer::builder(source).snapshot(options.clone()).start();
        (informer, script)
    };
    let (informer, mut script) = start();
    let list = script.next_request().await.unwrap();
    list.objects(
        10,
        [("a", 9, Untagged::Number(7)), ("b", 10, words.clone())],
    );
    informer.synced().await.unwrap();
    informer.shutdown().await;

    let (informer, _script) = start();
    assert_eq!(informer.get("a"), Some(Untagged::Number(7)));
    assert_eq!(informer.get("b"), Some(words));
}

/// Panics when it is written, or when it is read.
#[derive(Clone)]
struct Touchy;

impl serde::Serialize for Touchy {
    fn serialize<S: serde::Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
        panic!("do not write me")
    }
}

impl<'de> serde::Deserialize<'de> for Touchy {
    fn deserialize<D: serde::Deserializer<'de>>(_: D) -> Result<Self, D::Error> {
        panic!("do not read me")
    }
}

#[tokio::test]
async fn values_that_panic_cost_a_snapshot_and_nothing_else() {
    let folder = Folder::new();
    leave(folder.options()).await;
    let (source, mut script) = scripted::source::<Touchy>(SourceProfile::default());
    let informer = Informer::builder(source).snapshot(folder.options()).start();
    let panicked = |words: &str| SnapshotFailure::Panicked(words.into());
    assert!(
        matches!(informer.warm_start(), WarmStart::Refused { error, .. } if *error == panicked("do not read me"))
    );
    let mut notices = informer.notices();
    let list = script.next_request().await.unwrap();
    list.objects(10, [("a", 9, Touchy)]);
    informer.synced().await.unwrap();
    informer.shutdown().await;
    told(&mut notices).await;
    let error = panicked("do not write me");
    assert_eq!(told(&mut notices).await, Notice::SnapshotFailed { error });
}

#[tokio::test]
async fn a_source_that_is_down_changes_nothing_of_what_is_served() {
    let folder = Folder::new();
    leave(folder.options()).await;
    let (informer, mut script) = start(folder.options());
    watch(&mut script)
        .await
        .fail(FailureClass::Retryable, "down");
    let mut notices = informer.notices();
    while !matches!(
        notices.next().await.unwrap(),
        Notice::Engine(reflet_tokio::reflet_core::Notice::Failed { .. })
    ) {}
    assert_eq!((informer.get("a"), informer.len()), (Some(1), 2));
    assert_eq!(informer.health().state, State::Stale);
}
