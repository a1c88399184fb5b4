//! Silence, shutdown, and "why is it doing nothing?".

use std::time::Duration;

use reflet_core::{BadInput, Command, Condition, FailureClass, Input, Notice, State, Timestamp};

use super::Exhibit;
use super::rig::{Rig, kubernetes};

pub(super) const HALL: &[Exhibit] = &[
    Exhibit {
        name: "a_watch_that_falls_silent_is_given_up",
        upstream: "kubernetes/kubernetes#65012, kubernetes/client-go#374",
        suffered: "A connection was half open: the client waited on a watch that nobody \
                   served any more, and saw nothing for 15 minutes.",
        instead: "Silence has a limit, derived from the heartbeat that the source promises; \
                  the watch is then cancelled and opened again.",
        scene: || {
            let mut config = kubernetes();
            config.source.heartbeat = Some(Duration::from_secs(10));
            let (mut rig, watch) = Rig::watching(config);
            rig.put(watch, "a", 11);
            rig.progress(watch, 11);
            // From here on nothing comes, and the connection looks fine.
            rig.pass(Duration::from_secs(29));
            assert!(!rig.informer.has_command());
            rig.pass(Duration::from_secs(1));
            let cancel = Command::Cancel { attempt: watch };
            assert_eq!(rig.informer.poll_command(), Some(cancel));
            rig.asked_to_watch(11);
        },
    },
    Exhibit {
        name: "an_answer_that_makes_no_sense_is_followed_by_another_try",
        upstream: "fabric8io/kubernetes-client#6379",
        suffered: "An exception while a relist was processed was swallowed; the watcher had \
                   stopped, nothing was logged, and the informer still called itself \
                   running.",
        instead: "What is not the protocol ends the attempt with a notice, the health says \
                  so, and the next attempt is scheduled.",
        scene: || {
            let (mut rig, watch) = Rig::watching(kubernetes());
            rig.fail(watch, FailureClass::Gone, "too old resource version");
            let list = rig.asked_to_list();
            rig.begin_page(list, 20);
            rig.begin_page(list, 20);
            let (attempt, what) = (list, BadInput::OutOfPlace);
            assert!(rig.notices().contains(&Notice::BadInput { attempt, what }));
            let health = rig.informer.health();
            assert_eq!(health.state, State::Stale);
            assert_eq!(
                health.reason,
                Some(Condition::Failing(FailureClass::Malformed))
            );
            assert!(health.next_attempt.is_some());
            let list = rig.asked_to_list();
            rig.list(list, 20, &[("a", 20)]);
            assert_eq!(rig.cache(), "a=20 at 20");
        },
    },
    Exhibit {
        name: "whoever_polls_nothing_finds_everything_later",
        upstream: "nats-io/nats.rs#1596",
        suffered: "A watch that nobody polled for a while never came back to life when it \
                   was polled again.",
        instead: "The engine lives by its inputs and its deadlines, not by being drained: it \
                  goes on, and an hour later all the news are there.",
        scene: || {
            let (mut rig, mut watch) = Rig::watching(kubernetes());
            let sleeper = rig.subscribe();
            rig.told(sleeper);
            for revision in 11..=70 {
                rig.put(watch, "a", revision);
                rig.progress(watch, revision);
                rig.pass(Duration::from_secs(60));
                rig.close(watch);
                watch = rig.asked_to_watch(revision);
                rig.open(watch);
            }
            assert_eq!(rig.told(sleeper), ["updated a=1 to 70", "caught up at 70"]);
        },
    },
    Exhibit {
        name: "outputs_that_nobody_drains_block_nobody",
        upstream: "kube-rs/kube#925, #926",
        suffered: "The buffer between two halves of the runtime was full, each half waited \
                   for the other, and the controller hung for good.",
        instead: "No call waits: commands are withdrawn when they are overtaken, notices \
                  beyond the limit are counted as lost, and a handler's news are one per \
                  object.",
        scene: || {
            let (mut rig, watch) = Rig::watching(kubernetes());
            let handler = rig.subscribe();
            for revision in 11..10_000 {
                rig.put(watch, "a", revision);
                rig.say(
                    watch,
                    Input::Undecodable {
                        size: 10,
                        error: "not JSON",
                    },
                );
            }
            let notices = rig.notices();
            assert_eq!(notices.len(), 1 + rig.informer.config().limits.notices);
            assert!(matches!(notices.first(), Some(Notice::Lost(lost)) if *lost > 9_000));
            let told = rig.told(handler);
            assert_eq!(
                told,
                ["added b=2", "added a=9999", "synced, partly at 9999"]
            );
        },
    },
    Exhibit {
        name: "without_permission_it_says_so",
        upstream: "kubernetes-sigs/controller-runtime#1653",
        suffered: "Without the right to list, a cached read hung until a timeout that named \
                   no cause; people searched everywhere but in their permissions.",
        instead: "The health says that we are denied, in the server's words, since when, and \
                  when the next attempt is.",
        scene: || {
            let mut rig = Rig::new(kubernetes());
            let list = rig.asked_to_list();
            rig.fail(
                list,
                FailureClass::Denied,
                "secrets is forbidden: cannot list",
            );
            let health = rig.informer.health();
            assert_eq!(health.state, State::Syncing);
            assert_eq!(
                health.reason,
                Some(Condition::Failing(FailureClass::Denied))
            );
            let (_, error) = health.last_error.expect("there was one");
            assert_eq!(&*error.message, "secrets is forbidden: cannot list");
            assert!(health.next_attempt > Some(rig.now));
        },
    },
    Exhibit {
        name: "a_kind_that_is_no_more_is_told_and_can_be_let_go",
        upstream: "kubernetes/kubernetes#79610",
        suffered: "The custom resource definition was removed; its informer went on and \
                   logged an error every second, and there was no way to stop it.",
        instead: "Not found is told, retried slowly and never taken for an empty collection; \
                  stopping ends everything at once.",
        scene: || {
            let (mut rig, watch) = Rig::watching(kubernetes());
            rig.fail(watch, FailureClass::Gone, "too old resource version");
            let (list, asked) = (rig.asked_to_list(), rig.now);
            rig.fail(
                list,
                FailureClass::NotFound,
                "the server could not find the resource",
            );
            assert_eq!(rig.cache(), "a=1 b=2 at 10");
            let health = rig.informer.health();
            assert_eq!(
                health.reason,
                Some(Condition::Failing(FailureClass::NotFound))
            );
            let list = rig.asked_to_list();
            assert_eq!(rig.now, asked.saturating_add(Duration::from_secs(30)));

            rig.informer.stop(rig.now);
            let cancel = Command::Cancel { attempt: list };
            assert_eq!(rig.informer.poll_command(), Some(cancel));
            assert_eq!(rig.informer.poll_timeout(), None);
            rig.informer.handle_timeout(Timestamp::MAX);
            assert_eq!(rig.informer.poll_command(), None);
        },
    },
    Exhibit {
        name: "stopping_waits_for_nobody",
        upstream: "kubernetes-sigs/controller-runtime#3540",
        suffered: "On shutdown two parts waited for each other, and the process hung.",
        instead: "Stopping in the middle of a list, with a handler in the middle of its \
                  news, is one call; what the handler has not read yet is still there.",
        scene: || {
            let (mut rig, watch) = Rig::watching(kubernetes());
            let handler = rig.subscribe();
            assert_eq!(rig.told_next(handler).as_deref(), Some("added a=1"));
            rig.fail(watch, FailureClass::Gone, "too old resource version");
            let list = rig.asked_to_list();
            rig.begin_page(list, 20);
            rig.informer.stop(rig.now);
            assert_eq!(rig.informer.health().state, State::Stopped);
            let cancel = Command::Cancel { attempt: list };
            assert_eq!(rig.informer.poll_command(), Some(cancel));
            assert_eq!(rig.told(handler), ["added b=2", "synced, caught up at 10"]);
            assert_eq!(rig.cache(), "a=1 b=2 at 10");
        },
    },
    Exhibit {
        name: "handlers_that_came_and_went_leave_nothing",
        upstream: "kubernetes/kubernetes#73587",
        suffered: "Each short-lived informer registered its own metrics, which nobody \
                   removed: kubelets grew by millions of them.",
        instead: "What is kept and reported for a subscriber goes with it.",
        scene: || {
            let (mut rig, watch) = Rig::watching(kubernetes());
            for revision in 11..2_000 {
                let short_lived = rig.subscribe();
                rig.told_next(short_lived);
                rig.put(watch, "a", revision);
                assert!(rig.informer.unsubscribe(short_lived));
            }
            rig.pass(Duration::from_secs(1));
            let health = rig.informer.health();
            assert!(health.subscribers.is_empty());
            assert_eq!(health.retained_bytes, 0);
        },
    },
];
