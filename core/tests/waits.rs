//! What is waited for before the next attempt, and what cuts no wait short.
#![allow(clippy::panic, reason = "the helpers of a test may panic")]

mod rig;

use std::time::Duration;

use reflet_core::{
    Attempt, Class, Command, Condition, FailureClass, Feed, Input, RevisionOrder, SourceProfile,
    TimerReason, Verify, WatchFrom,
};
use rig::{Rig, config, full_profile, plain_profile};

fn waits_for(rig: &Rig) -> TimerReason {
    rig.informer.poll_timeout().unwrap().reason
}

fn streaming(source: SourceProfile) -> SourceProfile {
    let feed = Feed::InitialStream;
    SourceProfile { feed, ..source }
}

fn expect_stream(rig: &mut Rig) -> Attempt {
    match rig.next_start() {
        Some(Command::Watch {
            attempt,
            from: WatchFrom::Initial { .. },
            ..
        }) => attempt,
        other => panic!("expected a stream, got {other:?}"),
    }
}

#[test]
fn a_watch_that_falls_silent_before_it_is_stable_is_retried_after_a_backoff() {
    let mut config = config(plain_profile());
    config.timing.silence = Some(Duration::from_secs(5));
    let (mut rig, watch) = Rig::watching(config);
    rig.pass(Duration::from_secs(5));
    assert_eq!(
        rig.reason(),
        Some(Condition::TimedOut(TimerReason::Silence))
    );
    assert_eq!(rig.command(), Some(Command::Cancel { attempt: watch }));
    assert_eq!(
        (rig.command(), waits_for(&rig)),
        (None, TimerReason::Backoff)
    );
}

#[test]
fn a_stream_that_takes_too_long_is_followed_by_a_list_after_a_backoff() {
    let mut rig = Rig::new(config(streaming(plain_profile())));
    let stream = expect_stream(&mut rig);
    rig.opened(stream);
    rig.pass(Duration::from_secs(300));
    let reason = TimerReason::ListDeadline;
    assert_eq!(rig.reason(), Some(Condition::TimedOut(reason)));
    assert_eq!(rig.command(), Some(Command::Cancel { attempt: stream }));
    assert_eq!(
        (rig.command(), waits_for(&rig)),
        (None, TimerReason::Backoff)
    );
    rig.expect_list();
}

#[test]
fn a_stream_that_told_no_revision_is_streamed_again() {
    let source = SourceProfile {
        order: RevisionOrder::Opaque,
        class: Class::Whole,
        ..streaming(plain_profile())
    };
    let mut rig = Rig::new(config(source));
    let stream = expect_stream(&mut rig);
    rig.opened(stream);
    rig.say(stream, Input::InitialEnd { revision: None });
    assert!(rig.informer.is_synced());
    rig.fail(stream, FailureClass::Retryable);
    expect_stream(&mut rig);
}

#[test]
fn a_verify_does_not_cut_short_what_a_hints_list_waits_for() {
    let feed = Feed::HintOnly;
    let mut rig = Rig::new(config(SourceProfile {
        feed,
        ..plain_profile()
    }));
    let list = rig.expect_list();
    rig.list(list, 10, &[("a", 1)]);
    let Some(Command::Watch { attempt: hints, .. }) = rig.next_start() else {
        panic!("no hints")
    };
    rig.opened(hints);
    let list = rig.expect_list();
    rig.fail(list, FailureClass::Denied);
    rig.informer.verify(rig.now, Verify::Versions);
    assert_eq!(
        (rig.command(), waits_for(&rig)),
        (None, TimerReason::SlowRetry)
    );
}

#[test]
fn the_first_gone_is_answered_by_a_list_at_once() {
    let (mut rig, watch) = Rig::watching(config(plain_profile()));
    rig.fail(watch, FailureClass::Gone);
    assert!(matches!(rig.command(), Some(Command::List { .. })));
}

#[test]
fn a_retry_after_longer_than_the_backoff_is_what_is_waited_for() {
    for (secs, reason) in [(0, TimerReason::SlowRetry), (31, TimerReason::RetryAfter)] {
        let (mut rig, watch) = Rig::watching(config(full_profile()));
        let failure = reflet_core::Failure::new(FailureClass::Denied, "no");
        let wait = Duration::from_secs(secs);
        rig.say(watch, Input::Failed(failure.retry_after(wait)));
        let waited = rig.health().next_attempt.unwrap().saturating_since(rig.now);
        assert_eq!(waited, wait.max(Duration::from_secs(30)));
        assert_eq!(waits_for(&rig), reason);
    }
}

#[test]
fn a_source_without_revisions_to_resume_from_is_polled() {
    for feed in [Feed::ListWatch, Feed::InitialStream] {
        let mut rig = Rig::new(config(SourceProfile {
            feed,
            order: RevisionOrder::Opaque,
            class: Class::Whole,
            ..plain_profile()
        }));
        if feed == Feed::InitialStream {
            let stream = expect_stream(&mut rig);
            rig.fail(stream, FailureClass::Unsupported);
        }
        let list = rig.expect_list();
        let (epoch, revision) = (None, None);
        rig.say(list, Input::Page { epoch, revision });
        rig.say(list, Input::PageEnd { next: None });
        assert_eq!((rig.command(), waits_for(&rig)), (None, TimerReason::Poll));
        let waited = rig.health().next_attempt.unwrap().saturating_since(rig.now);
        assert_eq!(waited, rig.informer.config().timing.poll_interval);
        rig.expect_list();
    }
}
