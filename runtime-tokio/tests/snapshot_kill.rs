//! A process that writes snapshots as fast as it can is killed, again and again: whenever that
//! happens, the next one finds a whole state, and none that is older than what was said to be
//! written.
#![cfg(feature = "snapshot")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may panic")]

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use reflet_tokio::reflet_core::{Revision, SourceProfile};
use reflet_tokio::scripted::{self, Request, Script};
use reflet_tokio::source::Frame;
use reflet_tokio::{Informer, Notice, SnapshotOptions, WarmStart};

const KILLS: u64 = 30;
/// So many objects, all of which say the revision, so often that a snapshot has several pieces.
const OBJECTS: usize = 60;
const WORDS: usize = 1_000;
/// Tells the child from a run of the ignored tests.
const FILE: &str = "REFLET_TEST_SNAPSHOT";

type Value = Vec<u64>;

fn start(file: &Path) -> (Informer<Value>, Script<Value>) {
    let profile = SourceProfile {
        batch_ends: true,
        ..SourceProfile::default()
    };
    let (source, script) = scripted::source(profile);
    let options = SnapshotOptions::new(file, "killed").period(Duration::from_millis(1));
    (Informer::builder(source).snapshot(options).start(), script)
}

/// The revision that it was restored at, all of which it holds; zero at the first start.
fn restored(informer: &Informer<Value>) -> u64 {
    let WarmStart::Restored { revision, objects } = informer.warm_start() else {
        assert_eq!(*informer.warm_start(), WarmStart::NoSnapshot);
        return 0;
    };
    let revision = revision.as_ref().and_then(Revision::as_u64).unwrap();
    assert_eq!(*objects, OBJECTS);
    for (key, value) in informer.objects() {
        assert!(
            value.len() == WORDS && value.iter().all(|word| *word == revision),
            "{key}"
        );
    }
    revision
}

fn write_all(watch: &Request<Value>, revision: u64) {
    for number in 0..OBJECTS {
        watch.upsert(&format!("object-{number}"), revision, vec![revision; WORDS]);
    }
    watch.frame(Frame::BatchEnd(revision.into()));
}

#[tokio::test]
#[ignore = "the process that is killed"]
async fn child() {
    let Some(file) = std::env::var_os(FILE) else {
        return;
    };
    let (informer, mut script) = start(Path::new(&file));
    let mut notices = informer.notices();
    let mut revision = restored(&informer);
    if revision == 0 {
        script.next_request().await.unwrap().objects(1, []);
        revision = 1;
    }
    let watch = script.next_request().await.unwrap();
    watch.opened();
    loop {
        revision += 1;
        write_all(&watch, revision);
        let written = loop {
            match notices.next().await.unwrap() {
                Notice::SnapshotWritten {
                    revision, objects, ..
                } if objects > 0 => break revision,
                Notice::SnapshotFailed { error } => panic!("{error}"),
                _ => {}
            }
        };
        let mut stdout = std::io::stdout();
        writeln!(stdout, "\nwritten {}", written.unwrap()).unwrap();
        stdout.flush().unwrap();
    }
}

/// Removes the folder and ends the child, whatever happens.
struct Cleanup(PathBuf, Option<Child>);

impl Drop for Cleanup {
    fn drop(&mut self) {
        if let Some(child) = &mut self.1 {
            let _ = child.kill();
            let _ = child.wait();
        }
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[tokio::test]
async fn whenever_it_is_killed_the_old_or_the_new_state_is_there() {
    let folder = format!("snapshot-kill-{}", std::process::id());
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(folder);
    std::fs::create_dir_all(&folder).unwrap();
    let mut cleanup = Cleanup(folder.clone(), None);
    let file = folder.join("killed");
    let mut newest = 0;
    let mut between = 0;
    for round in 0..KILLS {
        let mut child = Command::new(std::env::current_exe().unwrap());
        child.args(["--exact", "child", "--ignored", "--nocapture"]);
        child
            .env(FILE, &file)
            .stdout(Stdio::piped())
            .stderr(Stdio::null());
        let mut child = child.spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        cleanup.1 = Some(child);
        let mut said = 0;
        let mut next = || {
            lines.by_ref().map_while(Result::ok).find_map(|line| {
                line.strip_prefix("written ")
                    .and_then(|revision| revision.parse::<u64>().ok())
            })
        };
        for _ in 0..=round % 3 {
            said = next().expect("the child writes");
        }
        // Somewhere in the next write.
        let (began, wait) = (Instant::now(), Duration::from_micros(round * 7_919 % 3_000));
        while began.elapsed() < wait {
            std::hint::spin_loop();
        }
        let mut child = cleanup.1.take().unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
        while let Some(later) = next() {
            said = later;
        }

        between += u64::from(folder.join("killed.tmp").exists());
        let (informer, _script) = start(&file);
        let found = restored(&informer);
        assert!(found >= said, "{said} was written, and {found} is there");
        assert!(
            found > newest,
            "{newest} was there before, and {found} is now"
        );
        newest = found;
        assert!(!folder.join("killed.bad").exists());
        informer.shutdown().await;
    }
    println!("{between} of {KILLS} kills left a file that was being written");
}
