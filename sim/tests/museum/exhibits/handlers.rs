//! Slow, late, filtered and sleeping handlers.

use reflet_core::Notice;

use super::Exhibit;
use super::rig::{Rig, kubernetes};

pub(super) const HALL: &[Exhibit] = &[
    Exhibit {
        name: "a_handler_that_never_reads_costs_a_limit_and_then_starts_afresh",
        upstream: "kubernetes/client-go#1326",
        suffered: "Each handler had a buffer without a limit: one that was stuck filled the \
                   memory until the process was killed.",
        instead: "What is retained for a handler has a limit; beyond it that handler is \
                  reset and gets the present state, and nobody else notices.",
        scene: || {
            let mut config = kubernetes();
            config.limits.retained_bytes = 10_000;
            let (mut rig, watch) = Rig::watching(config);
            let pods: Vec<_> = (0..1_000).map(|pod| format!("pod-{pod}")).collect();
            for (revision, pod) in (1_000..).zip(&pods) {
                rig.put(watch, pod, revision);
            }
            let (stuck, awake) = (rig.subscribe(), rig.subscribe());
            rig.told(stuck);
            rig.told(awake);
            for (revision, pod) in (2_000..).zip(&pods) {
                rig.put(watch, pod, revision);
                assert!(rig.informer.cache().retained_bytes() <= 10_000);
                assert_eq!(rig.told(awake).len(), 2, "the update, and a mark");
            }
            let subscriber = stuck;
            assert!(
                rig.notices()
                    .contains(&Notice::SubscriberReset { subscriber })
            );
            let told = rig.told(stuck);
            assert_eq!(told[0], "reset");
            assert_eq!(
                told.len(),
                1 + 1_002 + 1,
                "a reset, all objects, and a mark"
            );
        },
    },
    Exhibit {
        name: "a_slow_handler_holds_up_nobody",
        upstream: "kubernetes/kubernetes#103789",
        suffered: "A handler that was slow stalled the pipeline behind it: events piled up \
                   in the watch, whose memory grew without end.",
        instead: "The cache and the other handlers go on; the slow one is told the sum of \
                  what it missed, once per object.",
        scene: || {
            let (mut rig, watch) = Rig::watching(kubernetes());
            rig.put(watch, "a", 11);
            let (slow, fast) = (rig.subscribe(), rig.subscribe());
            rig.told(slow);
            rig.told(fast);
            for revision in 12..=1_000 {
                rig.put(watch, "a", revision);
                let update = format!("updated a={} to {revision}", revision - 1);
                assert_eq!(rig.told(fast), [update, format!("partly at {revision}")]);
            }
            rig.progress(watch, 1_000);
            assert_eq!(
                rig.told(slow),
                ["updated a=11 to 1000", "caught up at 1000"]
            );
        },
    },
    Exhibit {
        name: "a_reader_in_the_middle_of_its_news_holds_up_nobody",
        upstream: "kube-rs/kube#1449",
        suffered: "Of two readers of a shared stream the fast one got the next event only \
                   when the slow one had taken the last.",
        instead: "Each handler has its own place; one that stops in the middle keeps its \
                  place, and is handed the state that it began with to the end.",
        scene: || {
            let (mut rig, watch) = Rig::watching(kubernetes());
            let (slow, fast) = (rig.subscribe(), rig.subscribe());
            assert_eq!(rig.told_next(slow).as_deref(), Some("added a=1"));
            rig.told(fast);
            rig.put(watch, "b", 11);
            rig.progress(watch, 11);
            assert_eq!(rig.told(fast), ["updated b=2 to 11", "caught up at 11"]);
            let told = rig.told(slow);
            let first = ["added b=2", "synced, caught up at 10"];
            let then = ["updated b=2 to 11", "caught up at 11"];
            assert_eq!(told, [first, then].concat());
        },
    },
    Exhibit {
        name: "every_handler_is_told_of_a_delete_and_handed_what_it_knew",
        upstream: "kube-rs/kube#1590",
        suffered: "Subscribers of a shared store were told of objects, and never of deletes: \
                   nothing was repaired that somebody had removed.",
        instead: "Each handler is told of the delete, with the state that it was last told.",
        scene: || {
            let (mut rig, watch) = Rig::watching(kubernetes());
            let (early, late) = (rig.subscribe(), rig.subscribe());
            rig.told(late);
            rig.put(watch, "a", 11);
            rig.told(early);
            rig.delete(watch, "a", 12);
            rig.progress(watch, 12);
            assert_eq!(rig.told(early), ["deleted a=11", "caught up at 12"]);
            assert_eq!(rig.told(late), ["deleted a=1", "caught up at 12"]);
        },
    },
    Exhibit {
        name: "a_filter_does_not_swallow_deletes",
        upstream: "kube-rs/kube#1768",
        suffered: "A filter for changes saw the deleted object's last state, which had not \
                   changed, and dropped the delete.",
        instead: "Filters choose objects, not events: a delete, or a change that leaves the \
                  filter, is a delete for whoever was told of the object.",
        scene: || {
            let (mut rig, watch) = Rig::watching(kubernetes());
            let of_even = rig.subscribe_to(|content| content % 2 == 0);
            assert_eq!(rig.told(of_even), ["added b=2", "synced, caught up at 10"]);
            rig.put(watch, "b", 11);
            assert_eq!(rig.told(of_even), ["deleted b=2", "partly at 11"]);
            rig.put(watch, "a", 12);
            assert_eq!(rig.told(of_even), ["added a=12", "partly at 12"]);
            rig.delete(watch, "a", 13);
            rig.progress(watch, 13);
            assert_eq!(rig.told(of_even), ["deleted a=12", "caught up at 13"]);
        },
    },
    Exhibit {
        name: "a_handler_that_comes_late_gets_everything_first",
        upstream: "kube-rs/kube#1630",
        suffered: "One could only subscribe before the stream began; whoever came later had \
                   to put a snapshot and the events together, with a race between them.",
        instead: "A handler can come at any time: it is told all objects, a mark, and then \
                  what changes, without a gap or a repetition.",
        scene: || {
            let (mut rig, watch) = Rig::watching(kubernetes());
            rig.put(watch, "c", 11);
            rig.progress(watch, 11);
            let late = rig.subscribe();
            rig.put(watch, "a", 12);
            assert_eq!(rig.told_next(late).as_deref(), Some("added b=2"));
            rig.delete(watch, "c", 13);
            rig.progress(watch, 13);
            let told = rig.told(late);
            let first = ["added c=11", "added a=12", "synced, partly at 12"];
            let then = ["deleted c=11", "caught up at 13"];
            assert_eq!(told, [&first[..], &then[..]].concat());
        },
    },
    Exhibit {
        name: "synced_is_said_after_the_last_object_of_the_first_state",
        upstream: "kubernetes/kubernetes#113763",
        suffered: "The informer said \"synced\" while its handlers had not yet seen the \
                   first objects, and servers went into traffic with half of their routes.",
        instead: "Each handler has its own mark, which comes to it after all objects of a \
                  complete state.",
        scene: || {
            let mut rig = Rig::new(kubernetes());
            let handler = rig.subscribe();
            let list = rig.asked_to_list();
            rig.page(list, 10, &[("a", 1)], Some("page 2"));
            rig.asked_for_page("page 2");
            assert_eq!(rig.told_next(handler), None);
            rig.page(list, 10, &[("b", 2)], None);
            assert!(rig.informer.is_synced());
            assert_eq!(rig.told_next(handler).as_deref(), Some("added a=1"));
            assert_eq!(rig.told_next(handler).as_deref(), Some("added b=2"));
            let last = rig.told_next(handler);
            assert_eq!(last.as_deref(), Some("synced, caught up at 10"));
        },
    },
    Exhibit {
        name: "a_reader_can_tell_whether_its_own_write_is_there",
        upstream: "kubernetes-sigs/controller-runtime#3473",
        suffered: "A controller read the cache right after its own write, did not find it \
                   there, and did the same work twice.",
        instead: "The cache says which revision it is complete at: a write at revision 12 is \
                  in it once it is complete at 12, and not before.",
        scene: || {
            let (mut rig, watch) = Rig::watching(kubernetes());
            // Our write is b, in revision 12, together with somebody's a.
            rig.put(watch, "c", 11);
            assert_eq!(rig.cache(), "a=1 b=2 c=11 partly at 11");
            rig.put(watch, "a", 12);
            assert_eq!(rig.cache(), "a=12 b=2 c=11 partly at 12");
            rig.put(watch, "b", 12);
            assert_eq!(rig.cache(), "a=12 b=12 c=11 partly at 12");
            rig.progress(watch, 12);
            assert_eq!(rig.cache(), "a=12 b=12 c=11 at 12");
        },
    },
];
