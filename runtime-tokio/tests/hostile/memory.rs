//! What hostile answers cost in memory: counted by the allocator, so that the bound is asserted.
#![allow(unsafe_code)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::time::Duration;

use reflet_tokio::http::Transport;
use reflet_tokio::reflet_core::{FailureClass, LimitKind, Notice};

use crate::rig::{Phase, Rig};
use crate::server::{Act, Request, Server, answer, chunk, lines, stream_head};

/// Counts what each thread has allocated. A scenario runs in one thread, client and server alike,
/// so that scenarios beside it are not counted.
struct Counting;

thread_local! {
    static LIVE: Cell<usize> = const { Cell::new(0) };
    static PEAK: Cell<usize> = const { Cell::new(0) };
}

impl Counting {
    fn add(bytes: usize) {
        let live = LIVE.get().wrapping_add(bytes);
        LIVE.set(live);
        // What was freed for another thread is a negative number.
        if live < usize::MAX / 2 {
            PEAK.set(PEAK.get().max(live));
        }
    }

    fn remove(bytes: usize) {
        LIVE.set(LIVE.get().wrapping_sub(bytes));
    }
}

// SAFETY: everything is passed on to the system's allocator as it came. Counting allocates
// nothing: cells without destructors need no registration.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        Self::add(layout.size());
        // SAFETY: the caller's promise is the system allocator's condition.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, ptr: *mut u8, layout: Layout) {
        Self::remove(layout.size());
        // SAFETY: `ptr` came from the system's allocator, by `alloc`.
        unsafe { System.dealloc(ptr, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

pub(crate) const MIB: usize = 1 << 20;

/// Begins to measure, and says what is allocated now.
pub(crate) fn begin() -> usize {
    PEAK.set(LIVE.get());
    LIVE.get()
}

/// The most that was allocated at one time since then, beyond what was allocated then.
pub(crate) fn peak_since(base: usize) -> usize {
    PEAK.get().saturating_sub(base)
}

/// A hundred megabytes in chunks, none of which is a whole anything.
fn hundred_megabytes(head: &'static str) -> Vec<Act> {
    let piece = chunk(vec![b'x'; 64 << 10]);
    let body = move |n| match n {
        0 => [stream_head(), chunk(head)].concat(),
        1..1_600 => piece.clone(),
        _ => Vec::new(),
    };
    vec![Act::Endless(Duration::ZERO, Box::new(body)), Act::Close]
}

#[tokio::test(start_paused = true)]
async fn a_page_of_a_hundred_megabytes_costs_no_more_than_the_limit() {
    for phase in [Phase::FirstList, Phase::Relist, Phase::Polls] {
        let mut rig = Rig::at(phase, |_| {
            hundred_megabytes(r#"{"revision":"3","items":[{"key":""#)
        })
        .await;
        let base = begin();
        rig.failure(
            FailureClass::Malformed,
            "the answer has more than 1048576 bytes",
        )
        .await;
        let peak = peak_since(base);
        // The limit, doubled while the buffer grows, and as much again for reading.
        assert!((MIB..4 * MIB).contains(&peak), "{phase:?}: {peak}");
        rig.recovers().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_page_that_says_that_it_is_too_long_costs_nothing() {
    let mut rig = Rig::at(Phase::FirstList, |_| {
        let head = b"HTTP/1.1 200 OK\r\ncontent-length: 104857600\r\n\r\n";
        vec![
            Act::Send(head.to_vec()),
            Act::Endless(Duration::ZERO, Box::new(|_| vec![b' '; 64 << 10])),
        ]
    })
    .await;
    let base = begin();
    rig.failure(
        FailureClass::Malformed,
        "the answer has more than 1048576 bytes",
    )
    .await;
    let peak = peak_since(base);
    assert!(peak < MIB, "{peak}");
    rig.recovers().await;
}

#[tokio::test(start_paused = true)]
async fn an_event_of_a_hundred_megabytes_costs_no_more_than_the_limit() {
    let mut rig = Rig::at(Phase::Lines, |_| {
        hundred_megabytes(r#"{"type":"ADDED","key":""#)
    })
    .await;
    let base = begin();
    rig.failure(FailureClass::Malformed, "a line without an end")
        .await;
    let peak = peak_since(base);
    assert!(peak < 2 * MIB, "{peak}");
    rig.recovers().await;
}

#[tokio::test(start_paused = true)]
async fn a_line_over_the_limit_is_skipped_and_the_stream_goes_on() {
    let long = format!("{}\n", "x".repeat(100_000));
    let event = r#"{"type":"ADDED","revision":"3","previous":"2","last":true,"key":"c","version":"3","value":1}"#;
    let rig = Rig::at(Phase::Lines, move |_| lines(format!("{long}{event}\n"))).await;
    let base = begin();
    rig.until(|health| health.objects == 3).await;
    let peak = peak_since(base);
    assert!(peak < 2 * MIB, "{peak}");
    assert!(rig.informer.health().degraded);
}

#[tokio::test(start_paused = true)]
async fn rejections_without_end_are_bounded() {
    let flood = |_: &Request| {
        let bad = |n| {
            let (before, at) = (2 + n, 3 + n);
            let key = format!("{}-{at}", "k".repeat(100));
            chunk(format!(
                r#"{{"type":"ADDED","revision":"{at}","previous":"{before}","last":true,"key":"{key}","version":"{at}"}}
{{"key":7}}
"#
            ))
        };
        vec![
            Act::Send(stream_head()),
            Act::Endless(Duration::from_millis(1), Box::new(bad)),
        ]
    };
    let rig = Rig::at(Phase::Lines, flood).await;
    let base = begin();
    rig.until(|health| health.quarantined_count >= 20_000).await;
    let health = rig.informer.health();
    assert_eq!(health.quarantined.len(), 1_000);
    let peak = peak_since(base);
    assert!(peak < 4 * MIB, "{peak}");
    assert_eq!(rig.shown(), rig.truth());
}

#[tokio::test(start_paused = true)]
async fn what_freezes_the_collection_is_not_kept() {
    let server = Server::new();
    let mut rig = Rig::with(Transport::JsonLines, &server, |builder| {
        builder.limits(|limits| limits.staged_bytes = 4 * MIB)
    });
    rig.is_live().await;
    server.turn(|request| match request.is_watch() {
        true => crate::rig::gone(),
        false => {
            let token = request
                .query("continue")
                .map_or(0, |token| token.parse().unwrap())
                + 1;
            let item = |n| {
                format!(
                    r#"{{"key":"{token}-{n}","version":"3","value":"{}"}}"#,
                    "v".repeat(1_000)
                )
            };
            let items: Vec<_> = (0..500).map(item).collect();
            let page = format!(
                r#"{{"revision":"3","items":[{}],"continue":"{token}"}}"#,
                items.join(",")
            );
            vec![Act::Send(answer("200 OK", "", page))]
        }
    });
    let base = begin();
    let frozen = Notice::Frozen {
        limit: LimitKind::StagedBytes,
    };
    rig.says(&frozen).await;
    rig.run(Duration::from_secs(600)).await;
    let peak = peak_since(base);
    assert!((4 * MIB..12 * MIB).contains(&peak), "{peak}");
    let kept = begin().saturating_sub(base);
    assert!(kept < MIB, "{kept}");
    rig.recovers().await;
}
