//! Lossless subscribers: every version in order, and a gap where one may be missing.
#![allow(clippy::panic, reason = "the helpers of a test may panic")]

mod rig;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;
use reflet_core::cache::{Delta, Filter, GapReason, Polled, SubscriberId, Subscription};
use reflet_core::{Attempt, FailureClass};
use rig::{Mirror, Rig, Value, config, full_profile, plain_profile};

const PLENTY: usize = 1 << 20;

/// A rig that knows a=1 and b=2, and a lossless subscriber that has heard of them.
fn lossless(bytes: usize) -> (Rig, Attempt, Mirror) {
    let (mut rig, watch) = Rig::watching(config(plain_profile()));
    let to = Subscription::new().lossless(bytes);
    let mut mirror = Mirror::of(&mut rig.informer, to);
    assert_eq!(heard(&mut rig, &mut mirror), ["+a=1", "+b=2", "@10!"]);
    (rig, watch, mirror)
}

/// What it was told since the last time, in words.
fn heard(rig: &mut Rig, mirror: &mut Mirror) -> Vec<String> {
    mirror.drain(&mut rig.informer);
    let log = std::mem::take(&mut mirror.log);
    log.iter().map(word).collect()
}

fn word(delta: &Delta<Arc<str>, Value>) -> String {
    match delta {
        Delta::Added { key, new } => format!("+{key}={new}"),
        Delta::Updated { key, old, new } => format!("~{key}={old}>{new}"),
        Delta::Deleted {
            key,
            seen,
            inferred,
            ..
        } => format!("-{key}={seen}{}", if *inferred { "?" } else { "" }),
        Delta::Redelivered { key, value } => format!("={key}={value}"),
        Delta::Gap(why) => format!("gap: {why:?}"),
        Delta::Mark(mark) => {
            let revision = mark
                .revision
                .as_ref()
                .map_or(0, |at| at.as_u64().unwrap_or(0));
            format!("@{revision}{}", if mark.initial { "!" } else { "" })
        }
        Delta::Reset => "reset".to_owned(),
    }
}

#[test]
fn every_version_is_told_in_order_where_others_hear_of_the_last() {
    let (mut rig, watch, mut mirror) = lossless(PLENTY);
    rig.put(watch, 11, "a", 11);
    rig.put(watch, 12, "a", 12);
    rig.delete(watch, 13, "a");
    rig.put(watch, 14, "a", 14);
    let all = [
        "~a=1>11", "@11", "~a=11>12", "@12", "-a=12", "@13", "+a=14", "@14",
    ];
    assert_eq!(heard(&mut rig, &mut mirror), all);
    assert!(!rig.informer.has_delta(mirror.id));
    rig.mirror.log.clear();
    rig.drain();
    assert_eq!(rig.mirror.log.len(), 3, "deleted, added, a mark");
}

#[test]
fn a_transaction_is_told_when_it_is_whole_and_its_versions_one_by_one() {
    let (mut rig, watch) = Rig::watching(config(full_profile()));
    let mut mirror = Mirror::of(&mut rig.informer, Subscription::new().lossless(PLENTY));
    heard(&mut rig, &mut mirror);
    rig.put_after(watch, 10, 11, "a", 11);
    rig.put_after(watch, 10, 11, "c", 11);
    assert!(heard(&mut rig, &mut mirror).is_empty());
    rig.batch_end(watch, 11);
    assert_eq!(heard(&mut rig, &mut mirror), ["~a=1>11", "+c=11", "@11"]);
}

#[test]
fn more_than_the_bound_is_a_gap_and_then_what_others_hear() {
    let (mut rig, watch, mut mirror) = lossless(700);
    for revision in 11..20 {
        rig.put(watch, revision, "a", revision);
    }
    rig.put(watch, 20, "c", 20);
    let health = rig.health();
    let kept = health.subscribers.iter().find(|its| its.id == mirror.id);
    assert!(kept.is_some_and(|its| its.lag > 2 && its.retained_bytes > 500));
    let all = [
        "~a=1>11",
        "@11",
        "~a=11>12",
        "@12",
        "gap: Overflow",
        "~a=12>19",
        "+c=20",
        "@20",
    ];
    assert_eq!(heard(&mut rig, &mut mirror), all);
    // From there on it is lossless again.
    rig.put(watch, 21, "a", 21);
    rig.put(watch, 22, "a", 22);
    let all = ["~a=19>21", "@21", "~a=21>22", "@22"];
    assert_eq!(heard(&mut rig, &mut mirror), all);
}

#[test]
fn no_bound_at_all_is_a_gap_before_each_change() {
    let (mut rig, watch, mut mirror) = lossless(0);
    rig.put(watch, 11, "a", 11);
    rig.put(watch, 12, "a", 12);
    let all = ["gap: Overflow", "~a=1>12", "@12"];
    assert_eq!(heard(&mut rig, &mut mirror), all);
    rig.delete(watch, 13, "b");
    assert_eq!(
        heard(&mut rig, &mut mirror),
        ["gap: Overflow", "-b=2", "@13"]
    );
}

#[test]
fn who_overflows_while_it_catches_up_goes_on_from_where_that_ends() {
    let (mut rig, watch) = Rig::watching(config(plain_profile()));
    let to = Subscription::new().lossless(300);
    let mut mirror = Mirror::of(&mut rig.informer, to);
    assert!(matches!(
        rig.informer.poll_delta(mirror.id),
        Polled::Delta(Delta::Added { .. })
    ));
    mirror.objects.insert("a".into(), 1);
    rig.put(watch, 11, "b", 11);
    rig.put(watch, 12, "b", 12);
    let all = ["+b=2", "@10!", "gap: Overflow", "~b=2>12", "@12"];
    assert_eq!(heard(&mut rig, &mut mirror), all);
}

#[test]
fn who_holds_back_too_much_after_a_gap_is_reset_like_anybody() {
    let mut config = config(plain_profile());
    config.limits.retained_bytes = 1_000;
    let (mut rig, watch) = Rig::watching(config);
    let mut mirror = Mirror::of(&mut rig.informer, Subscription::new().lossless(600));
    heard(&mut rig, &mut mirror);
    for revision in 11..40 {
        rig.put(watch, revision, &format!("k{}", revision % 9), revision);
    }
    for key in 0..9 {
        rig.delete(watch, 40 + key, &format!("k{key}"));
    }
    for revision in 50..70 {
        rig.put(watch, revision, "a", revision);
    }
    rig.pass(std::time::Duration::from_secs(1));
    let told = heard(&mut rig, &mut mirror);
    assert!(told.len() < 12, "{told:?}");
    assert_eq!(mirror.objects, [("a".into(), 69), ("b".into(), 2)].into());
}

#[test]
fn a_list_is_a_gap_and_then_the_difference() {
    let (mut rig, watch, mut mirror) = lossless(PLENTY);
    rig.put(watch, 11, "a", 11);
    rig.fail(watch, FailureClass::Gone);
    let list = rig.expect_list();
    rig.list(list, 20, &[("a", 15), ("c", 16)]);
    let all = [
        "~a=1>11",
        "@11",
        "gap: Listed",
        "~a=11>15",
        "+c=16",
        "-b=2?",
        "@20",
    ];
    assert_eq!(heard(&mut rig, &mut mirror), all);
}

#[test]
fn a_list_that_changes_nothing_is_a_gap_unless_nothing_can_have_happened() {
    let (mut rig, watch, mut mirror) = lossless(PLENTY);
    rig.fail(watch, FailureClass::Gone);
    let list = rig.expect_list();
    rig.list(list, 10, &[("a", 1), ("b", 2)]);
    assert!(heard(&mut rig, &mut mirror).is_empty(), "the same revision");
    let watch = rig.expect_watch(10);
    rig.opened(watch);
    rig.fail(watch, FailureClass::Gone);
    let list = rig.expect_list();
    rig.list(list, 17, &[("a", 1), ("b", 2)]);
    assert_eq!(heard(&mut rig, &mut mirror), ["gap: Listed", "@17"]);
}

#[test]
fn a_gap_that_does_not_fit_holds_nothing_back_once_it_was_told() {
    let (mut rig, watch, mut mirror) = lossless(400);
    rig.put(watch, 11, "a", 11);
    rig.fail(watch, FailureClass::Gone);
    let list = rig.expect_list();
    rig.list(list, 17, &[("a", 11), ("b", 2)]);
    let all = ["~a=1>11", "@11", "gap: Overflow", "@17"];
    assert_eq!(heard(&mut rig, &mut mirror), all);
    let watch = rig.expect_watch(17);
    rig.opened(watch);
    for revision in 18..22 {
        rig.put(watch, revision, "a", revision);
        heard(&mut rig, &mut mirror);
    }
    rig.drain();
    rig.pass(Duration::from_secs(1));
    assert_eq!(rig.health().retained_bytes, 0);
}

#[test]
fn a_filter_and_a_redelivery_go_with_it() {
    let (mut rig, watch, _) = lossless(PLENTY);
    let even = Filter::new(|_: &Arc<str>, value: &Value| value.is_multiple_of(2));
    let to = Subscription::new().filter(even).lossless(PLENTY);
    let mut mirror = Mirror::of(&mut rig.informer, to);
    assert_eq!(heard(&mut rig, &mut mirror), ["+b=2", "@10!"]);
    for revision in 11..15 {
        rig.put(watch, revision, "a", revision);
    }
    rig.informer.redeliver(mirror.id);
    let all = [
        "@11", "+a=12", "@12", "-a=12", "@13", "+a=14", "@14", "=b=2", "=a=14", "@14",
    ];
    assert_eq!(heard(&mut rig, &mut mirror), all);
    // Another filter is a walk over what is there, and lossless again after it.
    rig.informer.set_filter(mirror.id, None);
    rig.put(watch, 15, "a", 15);
    rig.put(watch, 16, "c", 3);
    let all = ["-a=14", "+a=15", "+c=3", "@16"];
    let told = heard(&mut rig, &mut mirror);
    assert!(
        told == all || told == ["-a=14", "+c=3", "+a=15", "@16"],
        "{told:?}"
    );
    rig.put(watch, 17, "c", 4);
    rig.put(watch, 18, "c", 5);
    assert_eq!(
        heard(&mut rig, &mut mirror),
        ["~c=3>4", "@17", "~c=4>5", "@18"]
    );
}

#[test]
fn nothing_is_kept_for_one_that_has_left() {
    let (mut rig, watch, mirror) = lossless(PLENTY);
    rig.drain();
    rig.put(watch, 11, "a", 11);
    rig.drain();
    assert!(rig.health().retained_bytes > 0);
    rig.informer.unsubscribe(mirror.id);
    assert_eq!(rig.health().retained_bytes, 0);
    let next = rig.informer.subscribe(None);
    rig.put(watch, 12, "a", 12);
    assert!(rig.informer.has_delta(next));
}

/// What the informer was told, by the test itself.
#[derive(Clone, Debug, PartialEq)]
enum Told {
    Change(String),
    Listed,
}

#[derive(Clone, Debug)]
enum Step {
    Put(u8),
    Delete(u8),
    List(u8),
    Poll(usize),
    Drain,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => (0..5_u8).prop_map(Step::Put),
        3 => (0..5_u8).prop_map(Step::Delete),
        1 => any::<u8>().prop_map(Step::List),
        6 => (1..6_usize).prop_map(Step::Poll),
        2 => Just(Step::Drain),
    ]
}

/// A naive model: everything that happened, and how far the subscriber is in it.
struct Model {
    rig: Rig,
    watch: Attempt,
    revision: u64,
    live: BTreeMap<String, Value>,
    told: Vec<Told>,
    id: SubscriberId,
    /// What comes next of `told`; `None`: it is catching up, and only its end is known.
    next: Option<usize>,
    /// Where `told` was when it began to catch up.
    began: Option<usize>,
    objects: BTreeMap<Arc<str>, Value>,
    bound: usize,
    /// The most that ever waited, since it caught up.
    waited: usize,
}

impl Model {
    fn new(bound: usize) -> Self {
        let mut rig = Rig::new(config(plain_profile()));
        let list = rig.expect_list();
        rig.list(list, 1, &[]);
        let watch = rig.expect_watch(1);
        rig.opened(watch);
        let id = rig.informer.subscribe(Subscription::new().lossless(bound));
        Self {
            rig,
            watch,
            revision: 1,
            live: BTreeMap::new(),
            told: Vec::new(),
            id,
            next: None,
            began: None,
            objects: BTreeMap::new(),
            bound,
            waited: 0,
        }
    }

    fn step(&mut self, step: &Step) {
        self.revision += 1;
        match *step {
            Step::Put(key) => self.put(key),
            Step::Delete(key) => {
                let key = format!("k{key}");
                self.rig.delete(self.watch, self.revision, &key);
                if let Some(seen) = self.live.remove(&key) {
                    self.told.push(Told::Change(format!("-{key}={seen}")));
                }
            }
            Step::List(keys) => self.list(keys),
            Step::Poll(times) => (0..times).for_each(|_| {
                self.poll();
            }),
            Step::Drain => while self.poll() {},
        }
    }

    fn put(&mut self, key: u8) {
        let (key, value) = (format!("k{key}"), self.revision);
        self.rig.put(self.watch, self.revision, &key, value);
        self.told
            .push(Told::Change(match self.live.insert(key.clone(), value) {
                Some(old) => format!("~{key}={old}>{value}"),
                None => format!("+{key}={value}"),
            }));
    }

    /// The history is gone, and a list shows some keys as they were, and others new.
    fn list(&mut self, keys: u8) {
        self.rig.fail(self.watch, FailureClass::Gone);
        let list = self.rig.expect_list();
        self.told.push(Told::Listed);
        let mut items = Vec::new();
        for number in 0..5_u8 {
            let key = format!("k{number}");
            let before = self.live.get(&key).copied();
            match (keys >> number & 1 == 1, before) {
                (true, Some(value)) => items.push((key, value)),
                (true, None) => {
                    self.told
                        .push(Told::Change(format!("+{key}={}", self.revision)));
                    self.live.insert(key.clone(), self.revision);
                    items.push((key, self.revision));
                }
                (false, _) => {}
            }
        }
        let kept: Vec<_> = items.iter().map(|(key, _)| key.clone()).collect();
        // Deletes are inferred in the order of the last changes.
        for entry in self.rig.informer.cache().iter() {
            let (key, value) = (entry.key.to_string(), entry.value);
            if !kept.contains(&key) {
                self.told.push(Told::Change(format!("-{key}={value}?")));
                self.live.remove(&key);
            }
        }
        let items: Vec<_> = items.iter().map(|(key, value)| (&**key, *value)).collect();
        self.rig.list(list, self.revision, &items);
        self.watch = self.rig.expect_watch(self.revision);
        self.rig.opened(self.watch);
    }

    /// One poll, judged. False if there was nothing.
    fn poll(&mut self) -> bool {
        if self.next.is_none() && self.began.is_none() {
            self.began = Some(self.told.len());
            self.waited = 0;
        }
        let from = self.next.or(self.began).unwrap_or(0);
        self.waited = self.waited.max(self.told.len() - from);
        let delta = match self.rig.informer.poll_delta(self.id) {
            Polled::Idle => {
                if let Some(next) = self.next {
                    assert_eq!(next, self.told.len(), "{:?}", &self.told[next..]);
                }
                return false;
            }
            Polled::Yield => return true,
            Polled::Delta(delta) => delta,
        };
        self.fold(&delta);
        let Some(next) = self.next else {
            if let Delta::Mark(_) = delta {
                self.next = self.began.take();
            }
            return true;
        };
        match &delta {
            Delta::Mark(_) => {}
            Delta::Gap(GapReason::Listed) => {
                assert_eq!(self.told.get(next), Some(&Told::Listed));
                self.next = Some(next + 1);
            }
            Delta::Gap(GapReason::Overflow) => {
                assert!(self.waited * 400 > self.bound, "there was room");
                (self.next, self.began) = (None, None);
            }
            change => {
                let ours = Told::Change(word(change));
                assert_eq!(Some(&ours), self.told.get(next));
                self.next = Some(next + 1);
            }
        }
        true
    }

    fn fold(&mut self, delta: &Delta<Arc<str>, Value>) {
        match delta {
            Delta::Added { key, new } => {
                assert_eq!(self.objects.insert(Arc::clone(key), *new), None);
            }
            Delta::Updated { key, old, new } => {
                assert_eq!(self.objects.insert(Arc::clone(key), *new), Some(*old));
            }
            Delta::Deleted { key, seen, .. } => {
                assert_eq!(self.objects.remove(key), Some(*seen));
            }
            Delta::Mark(_) | Delta::Gap(_) => {}
            Delta::Redelivered { .. } | Delta::Reset => panic!("nobody asked for {delta:?}"),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 500,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn what_is_told_is_what_happened(
        steps in prop::collection::vec(step(), 1..60),
        bound in prop_oneof![Just(PLENTY), 0..3_000_usize],
    ) {
        let mut model = Model::new(bound);
        for step in &steps {
            model.step(step);
        }
        while model.poll() {}
        let ours: Vec<_> = model.objects.iter().map(|(key, value)| (key.to_string(), *value)).collect();
        prop_assert_eq!(ours, model.rig.cache());
        model.rig.drain();
        prop_assert_eq!(model.rig.health().retained_bytes, 0);
    }
}
