//! Any inputs in any order: never a panic, never a stop without a reason, never a dead attempt that
//! changes something.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "the helpers of a test may panic"
)]

mod rig;

use std::time::Duration;

use proptest::prelude::*;
use reflet_core::{
    Attempt, Body, Change, Class, Command, Config, Digest, Epoch, Event, Failure, FailureClass,
    Feed, Input, Item, OnNewEpoch, OnRewind, Removal, Revision, RevisionOrder, SourceProfile,
    Timestamp, VersionRef,
};
use rig::{Rig, Value};

const KEYS: [&str; 5] = ["a", "b", "c", "d", "a key that is too long"];
const REVISIONS: [&str; 12] = [
    "0",
    "1",
    "2",
    "3",
    "4",
    "5",
    "6",
    "7",
    "18446744073709551616",
    "no number",
    "",
    "a revision that is too long",
];
const TOKENS: [&str; 4] = ["", "one", "two", "a token that is too long"];
const EPOCHS: [&str; 3] = ["one", "two", "an epoch that is too long"];
const CLASSES: [FailureClass; 8] = [
    FailureClass::Retryable,
    FailureClass::Gone,
    FailureClass::Behind,
    FailureClass::Denied,
    FailureClass::Unsupported,
    FailureClass::NotFound,
    FailureClass::Malformed,
    FailureClass::Unexpected,
];

#[derive(Clone, Debug)]
enum Step {
    /// Say something to the attempt that was started so many attempts ago.
    Say {
        back: usize,
        word: Word,
    },
    /// Let time pass, in ms; a negative one runs backwards.
    Pass(i64),
    /// Let the next deadline pass.
    Timeout,
    PollCommands,
    PollDeltas,
    PollNotices,
    Verify(bool),
    Fence,
}

#[derive(Clone, Debug)]
enum Word {
    Opened(Option<usize>),
    Page(Option<usize>, Option<usize>),
    Item {
        key: usize,
        version: u64,
        incarnation: Option<u64>,
        body: u8,
        size: usize,
    },
    PageEnd(Option<usize>),
    Unmodified,
    Put {
        key: usize,
        version: u64,
        revision: Option<usize>,
        previous: Option<usize>,
        body: u8,
    },
    Delete {
        key: usize,
        version: Option<u64>,
        revision: Option<usize>,
    },
    Undecodable,
    BatchEnd(usize),
    InitialEnd(Option<usize>),
    Progress(usize, Option<u64>),
    Heartbeat,
    Hint,
    Closed,
    Failed(usize, Option<u64>),
}

fn revision() -> impl Strategy<Value = usize> {
    prop_oneof![20 => 0..8_usize, 1 => 8..REVISIONS.len()]
}

fn key() -> impl Strategy<Value = usize> {
    prop_oneof![20 => 0..4_usize, 1 => Just(4)]
}

fn word() -> impl Strategy<Value = Word> {
    let epoch = || prop::option::weighted(0.2, prop_oneof![10 => 0..2_usize, 1 => Just(2)]);
    let maybe = || prop::option::weighted(0.9, revision());
    prop_oneof![
        3 => epoch().prop_map(Word::Opened),
        6 => (epoch(), maybe()).prop_map(|(epoch, revision)| Word::Page(epoch, revision)),
        8 => (key(), 0..9_u64, prop::option::of(0..3_u64), 0..8_u8, 0..40_usize)
            .prop_map(|(key, version, incarnation, body, size)| Word::Item { key, version, incarnation, body, size }),
        6 => prop::option::weighted(0.3, 0..TOKENS.len()).prop_map(Word::PageEnd),
        1 => Just(Word::Unmodified),
        10 => (key(), 0..9_u64, maybe(), prop::option::of(revision()), 0..8_u8)
            .prop_map(|(key, version, revision, previous, body)| Word::Put { key, version, revision, previous, body }),
        4 => (key(), prop::option::of(0..9_u64), maybe())
            .prop_map(|(key, version, revision)| Word::Delete { key, version, revision }),
        1 => Just(Word::Undecodable),
        5 => revision().prop_map(Word::BatchEnd),
        3 => maybe().prop_map(Word::InitialEnd),
        4 => (revision(), prop::option::weighted(0.2, any::<u64>())).prop_map(|(at, digest)| Word::Progress(at, digest)),
        2 => Just(Word::Heartbeat),
        2 => Just(Word::Hint),
        2 => Just(Word::Closed),
        4 => (0..CLASSES.len(), prop::option::weighted(0.2, 0..1_000_000_u64))
            .prop_map(|(class, after)| Word::Failed(class, after)),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        30 => (prop_oneof![8 => Just(0_usize), 1 => 1..4_usize], word()).prop_map(|(back, word)| Step::Say { back, word }),
        3 => (-1_000_i64..20_000).prop_map(Step::Pass),
        6 => Just(Step::Timeout),
        12 => Just(Step::PollCommands),
        4 => Just(Step::PollDeltas),
        1 => Just(Step::PollNotices),
        1 => any::<bool>().prop_map(Step::Verify),
        1 => Just(Step::Fence),
    ]
}

prop_compose! {
    fn configs()(
        feed in prop_oneof![
            4 => Just(Feed::ListWatch),
            2 => Just(Feed::InitialStream),
            1 => any::<bool>().prop_map(|blocking| Feed::FullState { blocking }),
            1 => Just(Feed::HintOnly),
        ],
        class in prop_oneof![Just(Class::Pinned), Just(Class::Whole), Just(Class::Fuzzy)],
        opaque in prop::bool::weighted(0.2),
        flags in any::<[bool; 5]>(),
        heartbeat in prop::option::of(1..5_000_u64),
        burst in 1..5_u32,
        interval in 1..500_u64,
        objects in prop_oneof![4 => Just(100_usize), 1 => Just(2)],
        staged in prop_oneof![4 => Just(100_000_usize), 1 => Just(300)],
        refuse in prop::bool::weighted(0.3),
        accept_rewind in any::<bool>(),
        verify_period in prop::option::of(1_000..60_000_u64),
    ) -> Config {
        let [batch_ends, predecessors, digests, versions_ordered, commit_revisions] = flags;
        let mut config = Config {
            source: SourceProfile {
                feed,
                class,
                order: if opaque { RevisionOrder::Opaque } else { RevisionOrder::Ordered },
                batch_ends,
                predecessors,
                digests,
                versions_ordered,
                commit_revisions,
                heartbeat: heartbeat.map(Duration::from_millis),
                replica_lag: Duration::from_secs(1),
                fresh_lists: true,
            },
            ..Config::default()
        };
        config.timing.burst = burst;
        config.timing.min_interval = Duration::from_millis(interval);
        config.timing.verify_period = verify_period.map(Duration::from_millis);
        config.timing.verify_min_interval = Duration::from_secs(1);
        config.limits.objects = objects;
        config.limits.staged_bytes = staged;
        config.limits.key_bytes = 8;
        config.limits.token_bytes = 20;
        config.limits.pages = 5;
        config.limits.notices = 16;
        config.limits.quarantined = 2;
        if refuse {
            config.policy.new_epoch = OnNewEpoch::Refuse;
        }
        if accept_rewind {
            config.policy.rewind = OnRewind::AcceptAfter { lists: 2, span: Duration::from_secs(2) };
        }
        config
    }
}

/// Which attempts are alive, as the driver knows it from commands.
#[derive(Default)]
struct Driver {
    started: Vec<(Attempt, Timestamp)>,
    cancelled: Vec<Attempt>,
}

impl Driver {
    fn poll(&mut self, rig: &mut Rig) {
        let mut polled = 0;
        while let Some(command) = rig.command() {
            polled += 1;
            assert!(polled < 16, "commands pile up");
            match command {
                Command::List {
                    attempt,
                    page: None,
                    ..
                }
                | Command::Watch { attempt, .. } => {
                    self.started.push((attempt, rig.now));
                }
                Command::List { attempt, .. } => {
                    assert!(
                        !self.cancelled.contains(&attempt),
                        "a page of a cancelled list is asked for"
                    );
                }
                Command::Cancel { attempt } => self.cancelled.push(attempt),
            }
        }
    }
}

fn body(kind: u8, version: u64) -> Body<'static, Value> {
    match kind {
        0 => Body::Unchanged,
        1 => Body::Undecodable("bad"),
        2 => Body::Value(version + 100),
        _ => Body::Value(version),
    }
}

fn say(rig: &mut Rig, attempt: Attempt, word: &Word) {
    let revision = |index: usize| {
        REVISIONS
            .get(index)
            .map(|text| Revision::parse(text))
            .unwrap()
    };
    let epoch = |index: &Option<usize>| {
        index
            .and_then(|index| EPOCHS.get(index))
            .map(|text| Epoch::new(text))
    };
    let key = |index: usize| *KEYS.get(index).unwrap();
    let item = |index: usize, version: u64, incarnation: Option<u64>, kind: u8, size: usize| Item {
        key: key(index),
        version: VersionRef::from(version),
        incarnation: incarnation.map(Into::into),
        size,
        body: body(kind, version),
    };
    let input = match word {
        Word::Opened(at) => Input::Opened { epoch: epoch(at) },
        Word::Page(at, shown) => Input::Page {
            epoch: epoch(at),
            revision: shown.map(revision),
        },
        Word::Item {
            key,
            version,
            incarnation,
            body,
            size,
        } => Input::Item(item(*key, *version, *incarnation, *body, *size)),
        Word::PageEnd(next) => Input::PageEnd {
            next: next.and_then(|index| TOKENS.get(index)).copied(),
        },
        Word::Unmodified => Input::Unmodified,
        Word::Put {
            key,
            version,
            revision: at,
            previous,
            body,
        } => Input::Event(Event {
            change: Change::Upsert(item(*key, *version, None, *body, 20)),
            revision: at.map(revision),
            previous: previous.map(revision),
        }),
        Word::Delete {
            key: index,
            version,
            revision: at,
        } => Input::Event(Event {
            change: Change::Delete(Removal {
                key: key(*index),
                version: version.map(Into::into),
                incarnation: None,
                last: None,
                size: 9,
            }),
            revision: at.map(revision),
            previous: None,
        }),
        Word::Undecodable => Input::Undecodable {
            size: 7,
            error: "bad",
        },
        Word::BatchEnd(at) => Input::BatchEnd {
            revision: revision(*at),
        },
        Word::InitialEnd(at) => Input::InitialEnd {
            revision: at.map(revision),
        },
        Word::Progress(at, digest) => Input::Progress {
            revision: revision(*at),
            digest: digest.map(Digest),
        },
        Word::Heartbeat => Input::Heartbeat,
        Word::Hint => Input::Hint,
        Word::Closed => Input::Closed,
        Word::Failed(class, after) => {
            let mut failure = Failure::new(*CLASSES.get(*class).unwrap(), "x".repeat(600));
            failure.retry_after = after.map(Duration::from_millis);
            Input::Failed(failure)
        }
    };
    rig.say(attempt, input);
}

fn run(config: Config, steps: &[Step]) -> Result<String, TestCaseError> {
    let mut rig = Rig::new(config);
    let mut driver = Driver::default();
    driver.poll(&mut rig);
    let mut fences = Vec::new();
    for step in steps {
        match step {
            Step::Say { back, word } => {
                let index = driver.started.len().wrapping_sub(1).wrapping_sub(*back);
                let Some((attempt, _)) = driver.started.get(index).copied() else {
                    continue;
                };
                let before = (rig.cache(), rig.health());
                say(&mut rig, attempt, word);
                if driver.cancelled.contains(&attempt) {
                    prop_assert_eq!(
                        before,
                        (rig.cache(), rig.health()),
                        "a cancelled attempt changed something"
                    );
                }
            }
            Step::Pass(millis) => {
                let step = Duration::from_millis(millis.unsigned_abs());
                if *millis < 0 {
                    rig.informer.handle_timeout(rig.now.saturating_sub(step));
                } else {
                    rig.now = rig.now.saturating_add(step);
                }
            }
            Step::Timeout => {
                let deadline = rig
                    .informer
                    .poll_timeout()
                    .expect("there is always a deadline");
                rig.now = rig.now.max(deadline.at);
                rig.informer.handle_timeout(rig.now);
            }
            Step::PollCommands => driver.poll(&mut rig),
            Step::PollDeltas => rig.drain(),
            Step::PollNotices => prop_assert!(rig.notices().len() <= 17),
            Step::Verify(content) => {
                let mode = if *content {
                    reflet_core::Verify::Content
                } else {
                    reflet_core::Verify::Versions
                };
                rig.informer.verify(rig.now, mode);
            }
            Step::Fence => {
                let fence = rig.informer.fence(rig.now).unwrap();
                fences.push((fence, driver.started.last().map(|(attempt, _)| *attempt)));
            }
        }
        let read = rig.informer.last_read();
        for (fence, begun) in &fences {
            prop_assert!(
                !fence.is_passed_by(read) || read > *begun,
                "a read that had begun has passed a fence"
            );
        }
        prop_assert!(
            rig.informer.poll_timeout().is_some(),
            "it stopped without a reason"
        );
        prop_assert!(
            rig.cache().len() <= rig.informer.config().limits.objects,
            "over the limit"
        );
    }
    rig.drain();
    if rig.informer.cache().is_synced() {
        let mirror: Vec<_> = rig
            .mirror
            .objects
            .iter()
            .map(|(key, value)| (key.to_string(), *value))
            .collect();
        prop_assert_eq!(mirror, rig.cache(), "the subscriber knows another state");
    }
    // With timeouts alone a new attempt starts within the bound.
    let (bound, from, before) = (
        rig.informer.config().next_attempt_bound(),
        rig.now,
        driver.started.len(),
    );
    while driver.started.len() == before {
        let deadline = rig
            .informer
            .poll_timeout()
            .expect("there is always a deadline");
        prop_assert!(
            deadline.at.saturating_since(from) <= bound,
            "{deadline:?} is beyond {bound:?} from {from:?}"
        );
        rig.now = rig.now.max(deadline.at);
        rig.informer.handle_timeout(rig.now);
        driver.poll(&mut rig);
    }
    Ok(format!(
        "{:?}{:?}{:?}",
        rig.cache(),
        rig.health(),
        rig.mirror.log
    ))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 3_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_inputs_in_any_order_keep_the_promises(
        config in configs(),
        steps in prop::collection::vec(step(), 1..120),
    ) {
        let first = run(config.clone(), &steps)?;
        prop_assert_eq!(first, run(config, &steps)?, "the same calls gave other outputs");
    }
}
