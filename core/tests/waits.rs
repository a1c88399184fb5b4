//! What is waited for before the next attempt, and what cuts no wait short.
#![allow(clippy::panic, reason = "the helpers of a test may panic")]

mod rig;

use std::time::Duration;

use reflet_core::{
    Attempt, Class, Command, Condition, Failure, FailureClass, Feed, Input, Notice, RevisionOrder,
    SourceProfile, TimerReason, Verify, WatchFrom,
};
use rig::{Rig, config, full_profile, plain_profile};

fn waits_for(rig: &Rig) -> Option<TimerReason> {
    rig.informer.poll_timeout().map(|deadline| deadline.reason)
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
        (None, Some(TimerReason::Backoff))
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
        (None, Some(TimerReason::Backoff))
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
        (None, Some(TimerReason::SlowRetry))
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
        let failure = Failure::new(FailureClass::Denied, "no");
        let wait = Duration::from_secs(secs);
        rig.say(watch, Input::Failed(failure.retry_after(wait)));
        let waited = rig.health().next_attempt.unwrap().saturating_since(rig.now);
        assert_eq!(waited, wait.max(Duration::from_secs(30)));
        assert_eq!(waits_for(&rig), Some(reason));
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
        assert_eq!(
            (rig.command(), waits_for(&rig)),
            (None, Some(TimerReason::Poll))
        );
        let waited = rig.health().next_attempt.unwrap().saturating_since(rig.now);
        assert_eq!(waited, rig.informer.config().timing.poll_interval);
        rig.expect_list();
    }
}

#[test]
fn a_verify_of_a_polled_source_is_the_next_poll_at_once() {
    let source = SourceProfile {
        feed: Feed::FullState { blocking: false },
        class: Class::Whole,
        order: RevisionOrder::Opaque,
        ..SourceProfile::default()
    };
    let mut rig = Rig::new(config(source));
    let list = rig.expect_list();
    rig.list(list, 10, &[("a", 1)]);
    assert_eq!(rig.command(), None);
    let deadline = rig.informer.poll_timeout().unwrap();
    assert_eq!(deadline.reason, TimerReason::Poll);
    rig.informer.verify(rig.now, Verify::Versions);
    let Some(Command::List { attempt, .. }) = rig.command() else {
        panic!("no list")
    };
    rig.fail(attempt, FailureClass::Denied);
    rig.informer.verify(rig.now, Verify::Versions);
    assert_eq!(
        rig.command(),
        None,
        "a wait after a failure is not cut short"
    );
    let deadline = rig.informer.poll_timeout().unwrap();
    assert_eq!(deadline.reason, TimerReason::SlowRetry);
}

#[test]
fn a_list_is_over_at_its_deadline_also_if_its_next_page_is_due_then() {
    let mut config = config(plain_profile());
    config.timing.page_burst = 1;
    config.timing.page_interval = Duration::from_secs(20);
    config.timing.list_deadline = Duration::from_secs(20);
    let mut rig = Rig::new(config);
    let list = rig.expect_list();
    for next in ["one", "two"] {
        rig.page(list, None, 10, &[], Some(next));
        rig.command();
    }
    let deadline = rig.informer.poll_timeout().unwrap();
    assert_eq!(deadline.reason, TimerReason::ListDeadline);
    rig.pass_until(deadline.at);
    assert_eq!(
        rig.reason(),
        Some(Condition::TimedOut(TimerReason::ListDeadline))
    );
}

#[test]
fn a_stream_that_has_ended_and_falls_silent_is_no_reason_to_fall_back() {
    let feed = Feed::InitialStream;
    let mut rig = Rig::new(config(SourceProfile {
        feed,
        ..full_profile()
    }));
    let Some(Command::Watch { attempt, .. }) = rig.next_start() else {
        panic!("no stream")
    };
    rig.opened(attempt);
    let revision = Some(10.into());
    rig.say(attempt, Input::InitialEnd { revision });
    for _ in 0..3 {
        rig.say(attempt, Input::Heartbeat);
    }
    rig.pass(Duration::from_secs(30));
    let watch = rig.expect_watch(10);
    rig.pass(Duration::from_secs(30));
    assert!(!rig.notices().contains(&Notice::FellBack));
    let next = rig.expect_watch(10);
    assert!(next > watch);
}

#[test]
fn a_verify_waits_until_the_watch_is_open() {
    let (mut rig, watch) = Rig::watching(config(full_profile()));
    rig.fail(watch, FailureClass::Gone);
    let list = rig.expect_list();
    rig.list(list, 20, &[("a", 1)]);
    let watch = rig.expect_watch(20);
    rig.informer.verify(rig.now, Verify::Versions);
    assert_eq!(rig.command(), None);
    rig.opened(watch);
    rig.informer.handle_timeout(rig.now);
    rig.expect_list();
}

#[test]
fn what_nobody_has_asked_to_start_need_not_be_cancelled() {
    let starts = |rig: &mut Rig| {
        rig.pass(Duration::from_secs(600));
        let commands: Vec<_> = std::iter::from_fn(|| rig.command()).collect();
        let one = matches!(commands[..], [Command::List { .. } | Command::Watch { .. }]);
        assert!(one || commands.is_empty(), "{commands:?}");
    };
    let mut rig = Rig::new(config(plain_profile()));
    starts(&mut rig);

    let mut rig = Rig::new(config(plain_profile()));
    let list = rig.expect_list();
    rig.list(list, 10, &[("a", 1)]);
    starts(&mut rig);

    let (mut rig, watch) = Rig::watching(config(full_profile()));
    rig.informer.verify(rig.now, Verify::Versions);
    rig.fail(watch, FailureClass::Gone);
    starts(&mut rig);
}

#[test]
fn of_two_attempts_only_the_one_that_is_under_way_is_cancelled() {
    let (mut rig, watch) = Rig::watching(config(full_profile()));
    rig.informer.verify(rig.now, Verify::Versions);
    rig.informer.stop(rig.now);
    assert_eq!(rig.command(), Some(Command::Cancel { attempt: watch }));
    assert_eq!(rig.command(), None, "nobody has heard of the list");
}
