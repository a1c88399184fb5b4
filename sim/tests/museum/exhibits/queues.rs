//! What gets lost or leaks between a watch, a relist and a handler that is late.
//!
//! All of these happened between a queue and the store that it fed. Reflet has no such queue: a
//! handler's news are worked out from what it was last told and what is true.

use reflet_core::{FailureClass, Item};

use super::Exhibit;
use super::rig::{Rig, kubernetes, object};

pub(super) const HALL: &[Exhibit] = &[
    Exhibit {
        name: "deleted_and_found_again_by_a_relist_is_told_as_both",
        upstream: "kubernetes/kubernetes#83810",
        suffered: "An object was deleted and created again around a broken watch; with its \
                   delete still queued, the relist's add was dropped, and handlers never \
                   heard of it.",
        instead: "A handler that has not yet heard of the delete is told of the delete and \
                  of the new object, in this order.",
        scene: || {
            let (mut rig, watch) = Rig::watching(kubernetes());
            let late = rig.subscribe();
            rig.told(late);
            rig.delete(watch, "a", 11);
            rig.fail(watch, FailureClass::Gone, "too old resource version");
            let list = rig.asked_to_list();
            rig.list(list, 15, &[("a", 14), ("b", 2)]);
            assert_eq!(
                rig.told(late),
                ["deleted a=1", "added a=14", "caught up at 15"]
            );
        },
    },
    Exhibit {
        name: "an_object_that_a_relist_lacks_is_gone_even_if_its_add_is_still_queued",
        upstream: "kubernetes/kubernetes#115620",
        suffered: "A short-lived object's add was queued while a relist without it was \
                   stored; then the add was stored too, and the object stayed for ever.",
        instead: "A relist that lacks an object removes it from the one place where it was; \
                  a handler that never heard of it is told nothing.",
        scene: || {
            let (mut rig, watch) = Rig::watching(kubernetes());
            let late = rig.subscribe();
            rig.told(late);
            rig.put(watch, "short-lived", 11);
            rig.fail(watch, FailureClass::Gone, "too old resource version");
            let list = rig.asked_to_list();
            rig.list(list, 15, &[("a", 1), ("b", 2)]);
            assert_eq!(rig.cache(), "a=1 b=2 at 15");
            assert_eq!(rig.told(late), ["caught up at 15"]);
            assert_eq!(rig.informer.cache().retained_bytes(), 0);
        },
    },
    Exhibit {
        name: "a_delete_counts_although_its_add_was_not_handled",
        upstream: "kubernetes/kubernetes#27004",
        suffered: "A delete looked into the store, did not find the object whose add was \
                   still in the queue, and was dropped: 131 pods were shown where there were \
                   100.",
        instead: "The cache is written when the event comes in, so a delete finds its \
                  object; a late handler is spared both, an early one is told both.",
        scene: || {
            let (mut rig, watch) = Rig::watching(kubernetes());
            let (early, late) = (rig.subscribe(), rig.subscribe());
            rig.told(early);
            rig.told(late);
            rig.put(watch, "pod", 11);
            assert_eq!(rig.told(early), ["added pod=11", "partly at 11"]);
            rig.delete(watch, "pod", 12);
            rig.progress(watch, 12);
            assert_eq!(rig.cache(), "a=1 b=2 at 12");
            assert_eq!(rig.told(early), ["deleted pod=11", "caught up at 12"]);
            assert_eq!(rig.told(late), ["caught up at 12"]);
        },
    },
    Exhibit {
        name: "what_a_relist_changed_is_an_update_for_every_handler",
        upstream: "kubernetes/kubernetes#86015",
        suffered: "A relist was taken for a periodic resync, which handlers without one are \
                   not sent: what had changed during an outage was lost on them.",
        instead: "A relist's differences are news like any other: every handler is told, \
                  each from what it was last told itself.",
        scene: || {
            let (mut rig, watch) = Rig::watching(kubernetes());
            let (early, late) = (rig.subscribe(), rig.subscribe());
            rig.told(early);
            rig.told(late);
            rig.put(watch, "a", 11);
            rig.told(early);
            rig.fail(watch, FailureClass::Gone, "too old resource version");
            let list = rig.asked_to_list();
            rig.list(list, 20, &[("a", 20)]);
            let told = rig.told(early);
            assert_eq!(
                told,
                ["updated a=11 to 20", "found b=2 gone", "caught up at 20"]
            );
            let told = rig.told(late);
            assert_eq!(
                told,
                ["updated a=1 to 20", "found b=2 gone", "caught up at 20"]
            );
        },
    },
    Exhibit {
        name: "a_late_answer_of_a_list_that_was_given_up_is_not_heard",
        upstream: "opensandbox-group/OpenSandbox#1674",
        suffered: "The response of an older request arrived late and overwrote what the \
                   watch had brought since; a deleted object came back.",
        instead: "Each answer carries the number of its attempt; those of a dead attempt are \
                  ignored.",
        scene: || {
            let mut rig = Rig::new(kubernetes());
            let slow = rig.asked_to_list();
            rig.begin_page(slow, 5);
            rig.fail(slow, FailureClass::Retryable, "timeout");
            let list = rig.asked_to_list();
            rig.list(slow, 5, &[("a", 4), ("deleted", 5)]);
            assert_eq!(rig.cache(), "nothing yet");
            rig.list(list, 10, &[("a", 10)]);
            let watch = rig.asked_to_watch(10);
            rig.list(slow, 5, &[("a", 4), ("deleted", 5)]);
            assert_eq!(rig.cache(), "a=10 at 10");
            rig.open(watch);
            rig.put(watch, "a", 11);
            assert_eq!(rig.cache(), "a=11 partly at 11", "the watch is unharmed");
        },
    },
    Exhibit {
        name: "a_re_created_object_is_new_however_much_it_resembles_the_old_one",
        upstream: "kube-rs/kube#1830",
        suffered: "An object that was deleted and created again with the same generation was \
                   filtered out as unchanged, and what depended on it was not built again.",
        instead: "Another incarnation is never merged with the one before, also if the \
                  content is the same and the handler slept through it.",
        scene: || {
            let mut rig = Rig::new(kubernetes());
            let sleeper = rig.subscribe();
            let born = |at: u64| Item {
                incarnation: Some(at.into()),
                version: at.into(),
                ..object("app", 1)
            };
            let list = rig.asked_to_list();
            rig.list_of(list, 10, [born(10)]);
            rig.told(sleeper);
            let watch = rig.asked_to_watch(10);
            rig.open(watch);
            rig.delete(watch, "app", 11);
            rig.put_object(watch, 12, born(12));
            rig.progress(watch, 12);
            assert_eq!(
                rig.told(sleeper),
                ["deleted app=1", "added app=1", "caught up at 12"]
            );
        },
    },
];
