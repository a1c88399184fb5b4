//! Retries, backoff, herds.

use std::time::Duration;

use reflet_core::{Attempt, Command, Failure, FailureClass, Input, Timestamp};

use super::Exhibit;
use super::rig::{Rig, kubernetes};

const MINUTE: Duration = Duration::from_secs(60);

pub(super) const HALL: &[Exhibit] = &[
    Exhibit {
        name: "a_restarted_server_is_not_asked_for_a_hundred_lists",
        upstream: "kubernetes/kubernetes#6770",
        suffered: "Watches that ended together led to lists that were taken together: the \
                   herd of them hit a server that had only just come back.",
        instead: "Watches that were cut are resumed where they were; no list is taken for \
                  that.",
        scene: || {
            for seed in 0..100 {
                let (mut rig, watch) = Rig::seeded(kubernetes(), seed).synced();
                rig.fail(watch, FailureClass::Retryable, "server is shutting down");
                let watch = rig.asked_to_watch(10);
                rig.fail(watch, FailureClass::Retryable, "connection refused");
                let watch = rig.asked_to_watch(10);
                rig.open(watch);
            }
        },
    },
    Exhibit {
        name: "a_hundred_clients_of_a_dead_server_do_not_come_back_together",
        upstream: "kubernetes/kubernetes#87795",
        suffered: "Clients retried every second without jitter: after an outage all of them \
                   came back in the same moments, at seven times the usual load.",
        instead: "Each informer draws its waits from its own seed, evenly, up to an end that \
                  doubles each time: soon the hundred are spread over half a minute.",
        scene: || {
            let mut per_second = [0; 600];
            for seed in 0..100 {
                let (mut rig, watch) = Rig::seeded(kubernetes(), seed).synced();
                let down = rig.now;
                for start in refusals(&mut rig, watch, down.saturating_add(10 * MINUTE)) {
                    let second = start.saturating_since(down).as_secs() as usize;
                    per_second[second] += 1;
                }
            }
            // By the last five minutes, a hundred clients wait for 15 seconds on average.
            let busiest = per_second[300..].iter().max();
            assert!(busiest < Some(&20), "{busiest:?} of 100 in one second");
        },
    },
    Exhibit {
        name: "waits_are_drawn_and_not_computed",
        upstream: "kube-rs/kube#1897",
        suffered: "Jitter was switched on and thrown away by mistake: all clients waited \
                   exactly 100, 200, 400 milliseconds.",
        instead: "No two of twenty informers wait equally long after the same failures.",
        scene: || {
            let waits = (0..20).map(|seed| {
                let (mut rig, watch) = Rig::seeded(kubernetes(), seed).synced();
                let down = rig.now;
                refusals(&mut rig, watch, down.saturating_add(MINUTE))
            });
            let mut waits: Vec<_> = waits.map(|starts| starts[5]).collect();
            waits.sort();
            waits.dedup();
            assert_eq!(waits.len(), 20);
        },
    },
    Exhibit {
        name: "a_server_that_refuses_at_once_is_not_asked_in_a_loop",
        upstream: "kube-rs/kube#577",
        suffered: "The watcher had no backoff: a server that refused at once was asked again \
                   at once, as fast as the machine could.",
        instead: "Retries back off; ten minutes of refusals cost some forty requests.",
        scene: || {
            let (mut rig, watch) = Rig::watching(kubernetes());
            let end = rig.now.saturating_add(10 * MINUTE);
            let starts = refusals(&mut rig, watch, end);
            assert!((20..80).contains(&starts.len()), "{}", starts.len());
        },
    },
    Exhibit {
        name: "an_answer_that_breaks_off_does_not_reset_the_backoff",
        upstream: "kube-rs/kube#717",
        suffered: "A controller was stuck in a loop of failing initial lists, five of them a \
                   second, and only a restart got it out.",
        instead: "Only a stable period of real progress resets the backoff, an answer that \
                  breaks off does not; and the next good answer is as good as any.",
        scene: || {
            let mut rig = Rig::new(kubernetes());
            let (end, mut lists) = (rig.now.saturating_add(10 * MINUTE), 0);
            let mut list = rig.asked_to_list();
            while rig.now < end {
                rig.begin_page(list, 10);
                rig.fail(list, FailureClass::Retryable, "TLS: internal error");
                list = rig.asked_to_list();
                lists += 1;
            }
            assert!((20..80).contains(&lists), "{lists} in ten minutes");
            rig.list(list, 10, &[("a", 1)]);
            assert_eq!(rig.cache(), "a=1 at 10");
        },
    },
    Exhibit {
        name: "a_thousand_failures_are_no_reason_to_give_up",
        upstream: "kube-rs/kube#1713",
        suffered: "After three failed tries the watcher gave up.",
        instead: "There is always a next attempt, and the thousandth is as good as the \
                  first.",
        scene: || {
            let mut rig = Rig::new(kubernetes());
            for _ in 0..1_000 {
                let list = rig.asked_to_list();
                rig.fail(list, FailureClass::Retryable, "503");
            }
            let list = rig.asked_to_list();
            rig.list(list, 10, &[("a", 1)]);
            assert_eq!(rig.cache(), "a=1 at 10");
        },
    },
    Exhibit {
        name: "too_many_requests_is_no_reason_for_a_list",
        upstream: "kubernetes/kubernetes#100878",
        suffered: "A watch that was answered by 429 was replaced by a list, the most \
                   expensive request there is, exactly when the server was overloaded.",
        instead: "The same watch is asked for again, and not before the time that the server \
                  named.",
        scene: || {
            let (mut rig, watch) = Rig::watching(kubernetes());
            let asked = rig.now;
            let wait = Duration::from_secs(45);
            let busy = Failure::new(FailureClass::Retryable, "429 Too Many Requests");
            rig.say(watch, Input::Failed(busy.retry_after(wait)));
            rig.asked_to_watch(10);
            assert_eq!(rig.now, asked.saturating_add(wait));
        },
    },
    Exhibit {
        name: "watches_that_close_cleanly_at_once_are_no_storm",
        upstream: "jupyterhub/kubespawner#920",
        suffered: "A gateway closed each watch cleanly after seconds; the client reconnected \
                   at once each time, dozens of times a minute.",
        instead: "A clean close is only resumed at once if the watch had been of use; else \
                  the backoff applies, and after three of them a list looks for what is \
                  wrong.",
        scene: || {
            let (mut rig, mut attempt) = Rig::watching(kubernetes());
            let (end, mut watches) = (rig.now.saturating_add(10 * MINUTE), 0);
            while rig.now < end {
                rig.open(attempt);
                rig.pass(Duration::from_secs(2));
                rig.close(attempt);
                attempt = match rig.next_request() {
                    Some(Command::List { attempt, .. }) => {
                        rig.list(attempt, 10, &[("a", 1), ("b", 2)]);
                        rig.asked_to_watch(10)
                    }
                    Some(Command::Watch { attempt, .. }) => attempt,
                    other => panic!("{other:?}"),
                };
                watches += 1;
            }
            assert!((20..80).contains(&watches), "{watches} in ten minutes");
        },
    },
    Exhibit {
        name: "watches_that_deliver_and_close_are_paced_too",
        upstream: "kubernetes-client/javascript#1933",
        suffered: "After a lost connection had come back, the informer sent tens of watch \
                   requests a second, and did not stop.",
        instead: "Whatever the source does, requests beyond a small burst are a second \
                  apart, also where each of them was a success.",
        scene: || {
            let (mut rig, mut watch) = Rig::watching(kubernetes());
            let from = rig.now;
            for revision in 11..=100 {
                rig.put(watch, "a", revision);
                rig.progress(watch, revision);
                rig.close(watch);
                watch = rig.asked_to_watch(revision);
                rig.open(watch);
            }
            let spent = rig.now.saturating_since(from);
            assert!(
                spent >= Duration::from_secs(90 - 5),
                "90 requests in {spent:?}"
            );
        },
    },
    Exhibit {
        name: "a_delay_without_end_neither_panics_nor_stops_the_informer",
        upstream: "kube-rs/kube#1772",
        suffered: "A delay of very many years was more than a timer could take, and the \
                   controller panicked.",
        instead: "Time saturates, and a retry-after is obeyed up to a maximum.",
        scene: || {
            let mut config = kubernetes();
            config.timing.backoff_max = Duration::MAX;
            config.timing.list_deadline = Duration::MAX;
            config.timing.silence = Some(Duration::MAX);
            config.timing.verify_period = Some(Duration::MAX);
            let longest = config.timing.max_retry_after;
            let (mut rig, watch) = Rig::watching(config);
            let asked = rig.now;
            let never = Failure::new(FailureClass::Retryable, "come back later");
            rig.say(watch, Input::Failed(never.retry_after(Duration::MAX)));
            rig.asked_to_watch(10);
            assert_eq!(rig.now, asked.saturating_add(longest));
        },
    },
];

/// When requests start while every one is refused at once, from the watch on that is refused
/// first.
fn refusals(rig: &mut Rig, watch: Attempt, until: Timestamp) -> Vec<Timestamp> {
    let mut starts = Vec::new();
    let mut refused = watch;
    loop {
        rig.fail(refused, FailureClass::Retryable, "connection refused");
        refused = rig.asked_to_watch(10);
        if rig.now >= until {
            return starts;
        }
        starts.push(rig.now);
    }
}
