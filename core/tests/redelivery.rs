//! Redelivery on a period: everything once more, in time, once, and from nobody but the cache.
#![allow(clippy::expect_used, reason = "the helpers of a test may panic")]

mod rig;

use std::time::Duration;

use reflet_core::cache::{Delta, Subscription};
use reflet_core::{Attempt, TimerReason, Timestamp};
use rig::{Mirror, Rig, config, plain_profile};

const PERIOD: Duration = Duration::from_secs(60);

/// A rig that knows a=1 and b=2, and a subscriber that wants them every minute.
fn redelivering() -> (Rig, Attempt, Mirror) {
    let (mut rig, watch) = Rig::watching(config(plain_profile()));
    let to = Subscription::new().redeliver_every(PERIOD);
    let mut mirror = Mirror::of(&mut rig.informer, to);
    mirror.drain(&mut rig.informer);
    mirror.log.clear();
    (rig, watch, mirror)
}

/// The keys that were redelivered since the last time.
fn redelivered(rig: &mut Rig, mirror: &mut Mirror) -> Vec<String> {
    mirror.drain(&mut rig.informer);
    let log = std::mem::take(&mut mirror.log);
    let keys = log.iter().filter_map(|delta| match delta {
        Delta::Redelivered { key, .. } => Some(key.to_string()),
        _ => None,
    });
    keys.collect()
}

/// When the next redelivery is due; other deadlines pass.
fn next_due(rig: &mut Rig) -> Timestamp {
    loop {
        let deadline = rig.informer.poll_timeout().expect("a deadline");
        if deadline.reason == TimerReason::Redeliver {
            return deadline.at;
        }
        rig.pass_until(deadline.at);
    }
}

#[test]
fn everything_is_handed_out_once_in_each_period_and_ends_with_a_mark() {
    let (mut rig, _, mut mirror) = redelivering();
    for _ in 0..5 {
        let since = rig.now;
        let due = next_due(&mut rig);
        let wait = due.saturating_since(since);
        assert!(
            (PERIOD * 9 / 10..=PERIOD).contains(&wait),
            "drawn from {wait:?}"
        );
        assert!(redelivered(&mut rig, &mut mirror).is_empty(), "not yet");
        rig.pass_until(due);
        assert!(rig.informer.has_delta(mirror.id));
        let marks = mirror.marks.len();
        assert_eq!(redelivered(&mut rig, &mut mirror), ["a", "b"]);
        assert_eq!(mirror.marks.len(), marks + 1);
        assert!(!rig.informer.has_delta(mirror.id));
    }
    rig.drain();
    assert!(rig.mirror.log.len() <= 3, "the other one hears nothing");
}

#[test]
fn one_that_is_overdue_is_not_doubled() {
    let (mut rig, watch, mut mirror) = redelivering();
    rig.pass(PERIOD * 7);
    assert_eq!(redelivered(&mut rig, &mut mirror), ["a", "b"]);
    // A clock that jumps is one call, and one redelivery.
    rig.now = rig.now.saturating_add(PERIOD * 1_000);
    rig.informer.handle_timeout(rig.now);
    rig.informer.handle_timeout(rig.now);
    assert_eq!(redelivered(&mut rig, &mut mirror), ["a", "b"]);
    let since = rig.now;
    let next = next_due(&mut rig).saturating_since(since);
    assert!(next >= PERIOD * 9 / 10, "the next one is {next:?} away");
    rig.put(watch, 11, "a", 3);
    assert!(redelivered(&mut rig, &mut mirror).is_empty());
}

#[test]
fn who_leaves_leaves_no_deadline_behind() {
    let (mut rig, _, mirror) = redelivering();
    assert!(rig.informer.unsubscribe(mirror.id));
    assert!(!rig.informer.redeliver(mirror.id));
    let reasons = (0..20).map(|_| {
        let deadline = rig.informer.poll_timeout().expect("a deadline");
        rig.pass_until(deadline.at);
        deadline.reason
    });
    assert!(
        !reasons
            .collect::<Vec<_>>()
            .contains(&TimerReason::Redeliver)
    );
}

#[test]
fn it_goes_on_while_the_source_is_away_and_ends_with_the_informer() {
    let (mut rig, watch, mut mirror) = redelivering();
    let lost = reflet_core::Failure::new(reflet_core::FailureClass::Retryable, "away");
    rig.say(watch, reflet_core::Input::Failed(lost));
    rig.pass(PERIOD);
    assert_eq!(redelivered(&mut rig, &mut mirror), ["a", "b"]);
    rig.informer.stop(rig.now);
    assert_eq!(rig.informer.poll_timeout(), None);
    assert!(rig.informer.redeliver(mirror.id), "by hand it still works");
    assert_eq!(redelivered(&mut rig, &mut mirror), ["a", "b"]);
}

#[test]
fn a_period_without_end_and_a_clock_at_its_end_are_harmless() {
    let (mut rig, _, _) = redelivering();
    let never = Subscription::new().redeliver_every(Duration::MAX);
    let always = Subscription::new().redeliver_every(Duration::ZERO);
    let mut never = Mirror::of(&mut rig.informer, never);
    let mut always = Mirror::of(&mut rig.informer, always);
    for mirror in [&mut never, &mut always] {
        mirror.drain(&mut rig.informer);
    }
    rig.pass(Duration::from_millis(10));
    assert_eq!(redelivered(&mut rig, &mut always), ["a", "b"]);
    for _ in 0..3 {
        rig.informer.handle_timeout(Timestamp::MAX);
    }
    assert_eq!(redelivered(&mut rig, &mut never), ["a", "b"]);
    assert!(redelivered(&mut rig, &mut never).is_empty());
}
