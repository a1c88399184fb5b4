//! Pages, relists, and objects that cannot be read.

use std::sync::Arc;

use reflet_core::{Body, FailureClass, Input, Item};

use super::Exhibit;
use super::rig::{Rig, broken, kubernetes, object};

pub(super) const HALL: &[Exhibit] = &[
    Exhibit {
        name: "no_page_is_skipped_and_nothing_shows_before_the_last",
        upstream: "kube-rs/kube#1524, #1525",
        suffered: "A paged initial list dropped pages, and the store called itself ready \
                   with a part of the objects.",
        instead: "Pages are asked for one by one and staged; the list becomes visible at \
                  once and whole, after the page without a next token.",
        scene: || {
            let mut rig = Rig::new(kubernetes());
            let list = rig.asked_to_list();
            rig.page(list, 10, &[("a", 1)], Some("page 2"));
            rig.asked_for_page("page 2");
            rig.page(list, 10, &[("b", 2)], Some("page 3"));
            rig.asked_for_page("page 3");
            assert_eq!(rig.cache(), "nothing yet");
            assert!(!rig.informer.is_synced());
            rig.page(list, 10, &[("c", 3)], None);
            assert_eq!(rig.cache(), "a=1 b=2 c=3 at 10");
            assert!(rig.informer.is_synced());
        },
    },
    Exhibit {
        name: "an_empty_page_token_is_the_end",
        upstream: "kube-rs/kube#1250",
        suffered: "A server closed each list with an empty continue token, which was sent \
                   back to it: the first page came again, for ever.",
        instead: "An empty token is no token: the list is complete.",
        scene: || {
            let mut rig = Rig::new(kubernetes());
            let list = rig.asked_to_list();
            rig.page(list, 10, &[("a", 1)], Some(""));
            assert_eq!(rig.cache(), "a=1 at 10");
            rig.asked_to_watch(10);
        },
    },
    Exhibit {
        name: "a_page_token_that_has_expired_starts_the_list_again",
        upstream: "apache/apisix#7489",
        suffered: "A 410 in the middle of a paged list left the expired token in place, and \
                   the list failed with it for ever.",
        instead: "The list starts again from its first page; it is never continued at \
                  another revision, which would tear it.",
        scene: || {
            let mut rig = Rig::new(kubernetes());
            let list = rig.asked_to_list();
            rig.page(list, 10, &[("a", 1), ("b", 2)], Some("page 2"));
            rig.asked_for_page("page 2");
            rig.fail(list, FailureClass::Gone, "continue parameter is too old");
            assert_eq!(rig.cache(), "nothing yet");
            let list = rig.asked_to_list();
            rig.page(list, 15, &[("b", 2)], Some("page 2'"));
            rig.asked_for_page("page 2'");
            rig.page(list, 15, &[("c", 14)], None);
            assert_eq!(rig.cache(), "b=2 c=14 at 15");
        },
    },
    Exhibit {
        name: "one_undecodable_object_does_not_hide_the_others",
        upstream: "kube-rs/kube#774",
        suffered: "A field changed its type, and one old object could no longer be decoded: \
                   the whole list failed, so that the controller saw nothing at all.",
        instead: "The object is quarantined and named in the health; all others are there.",
        scene: || {
            let mut rig = Rig::new(kubernetes());
            let list = rig.asked_to_list();
            rig.list_of(list, 10, [object("eggs", 1), broken("spam", 2)]);
            assert_eq!(rig.cache(), "eggs=1 at 10");
            assert!(rig.informer.is_synced());
            let health = rig.informer.health();
            let (key, _) = health.quarantined.first().expect("it is named");
            assert_eq!(&**key, "spam");
        },
    },
    Exhibit {
        name: "an_undecodable_event_does_not_end_the_watch",
        upstream: "kubernetes/kubernetes#57705",
        suffered: "One bad manifest was applied, and the watch ended in a tight loop of \
                   decoding errors; no other object was seen to change.",
        instead: "The last good version stays in force, the watch goes on, and a good \
                  version takes the object out of quarantine.",
        scene: || {
            let (mut rig, watch) = Rig::watching(kubernetes());
            rig.put_object(watch, 11, broken("a", 11));
            rig.put(watch, "b", 12);
            rig.progress(watch, 12);
            assert_eq!(rig.cache(), "a=1 b=12 at 12");
            assert_eq!(rig.informer.health().quarantined_count, 1);
            rig.put(watch, "a", 13);
            rig.progress(watch, 13);
            assert_eq!(rig.cache(), "a=13 b=12 at 13");
            assert_eq!(rig.informer.health().quarantined_count, 0);
            assert!(!rig.informer.has_command(), "it is still the same watch");
        },
    },
    Exhibit {
        name: "no_reader_sees_half_of_a_relist",
        upstream: "kubernetes/kubernetes#127631",
        suffered: "A relist was applied object by object, so that readers saw new objects \
                   beside old ones: states that the cluster never had.",
        instead: "A relist changes the cache in one step, and a handler gets it as one batch \
                  that a mark closes.",
        scene: || {
            let (mut rig, watch) = Rig::watching(kubernetes());
            let handler = rig.subscribe();
            rig.told(handler);
            rig.fail(watch, FailureClass::Gone, "too old resource version");
            let list = rig.asked_to_list();
            rig.begin_page(list, 20);
            rig.say(list, Input::Item(object("b", 19)));
            rig.say(list, Input::Item(object("claim-on-b", 20)));
            assert_eq!(rig.cache(), "a=1 b=2 at 10");
            assert!(rig.told(handler).is_empty());
            rig.say(list, Input::PageEnd { next: None });
            assert_eq!(rig.cache(), "b=19 claim-on-b=20 at 20");
            let told = rig.told(handler);
            assert_eq!(told.len(), 4);
            assert_eq!(told[3], "caught up at 20");
        },
    },
    Exhibit {
        name: "a_transaction_shows_whole_or_not_at_all",
        upstream: "kubernetes/kubernetes#127631",
        suffered: "What was written in one transaction was seen one object after the other, \
                   and a cut connection left a reader with one half of it.",
        instead: "Where the source says where a transaction ends, all of it shows at once, \
                  and one that is cut off is dropped and fetched again.",
        scene: || {
            let mut config = kubernetes();
            config.source.batch_ends = true;
            let (mut rig, watch) = Rig::watching(config);
            rig.put(watch, "a", 11);
            rig.close(watch);
            assert_eq!(rig.cache(), "a=1 b=2 at 10");
            let watch = rig.asked_to_watch(10);
            rig.open(watch);
            rig.put(watch, "a", 11);
            rig.put(watch, "b", 11);
            assert_eq!(rig.cache(), "a=1 b=2 at 10");
            rig.batch_end(watch, 11);
            assert_eq!(rig.cache(), "a=11 b=11 at 11");
        },
    },
    Exhibit {
        name: "a_relist_does_not_repeat_what_everybody_knows",
        upstream: "kubernetes/kubernetes#119646",
        suffered: "Each upgrade of the API server led to a relist, and each relist to \
                   100,000 updates that changed nothing: routing tables were minutes late.",
        instead: "A relist tells a handler what differs from what it was last told, and \
                  nothing else.",
        scene: || {
            let (mut rig, watch) = Rig::watching(kubernetes());
            let handler = rig.subscribe();
            rig.told(handler);
            rig.fail(watch, FailureClass::Gone, "too old resource version");
            let list = rig.asked_to_list();
            rig.list(list, 20, &[("a", 1), ("b", 2), ("c", 20)]);
            assert_eq!(rig.told(handler), ["added c=20", "caught up at 20"]);
        },
    },
    Exhibit {
        name: "relists_without_news_pile_up_nothing",
        upstream: "kubernetes-client/java#1259",
        suffered: "Every reconnect queued one more copy of each object for a handler that \
                   was late, until the process ran out of memory.",
        instead: "An object that did not change costs a relist nothing that is kept, whoever \
                  sleeps.",
        scene: || {
            let (mut rig, mut watch) = Rig::watching(kubernetes());
            let sleeper = rig.subscribe();
            rig.told(sleeper);
            for round in 1..=50 {
                rig.fail(watch, FailureClass::Gone, "too old resource version");
                let list = rig.asked_to_list();
                rig.list(list, 10 + round, &[("a", 1), ("b", 2)]);
                watch = rig.asked_to_watch(10 + round);
            }
            assert_eq!(rig.informer.cache().retained_bytes(), 0);
            assert_eq!(rig.told(sleeper), ["caught up at 60"]);
        },
    },
    Exhibit {
        name: "a_relist_does_not_hold_everything_twice",
        upstream: "kube-rs/kube#1209",
        suffered: "A relist built a second copy of everything beside the first one, and a \
                   third for its events: memory tripled at the worst moment.",
        instead: "What did not change is neither decoded nor kept: a relist of a thousand \
                  objects fits a stage that has room for a few.",
        scene: || {
            let mut config = kubernetes();
            config.limits.staged_bytes = 600;
            let mut rig = Rig::new(config);
            let list = rig.asked_to_list();
            rig.list(list, 1, &[]);
            let watch = rig.asked_to_watch(1);
            rig.open(watch);
            let names: Vec<_> = (2..=1_001).map(|at| (at, format!("object-{at}"))).collect();
            for (at, name) in &names {
                rig.put(watch, name, *at);
            }

            rig.fail(watch, FailureClass::Gone, "too old resource version");
            let list = rig.asked_to_list();
            rig.begin_page(list, 2_000);
            for (at, name) in &names {
                assert!(rig.informer.holds(list, name, (*at).into(), None));
                let body = Body::Unchanged;
                let unchanged = Item {
                    body,
                    ..object(name, *at)
                };
                rig.say(list, Input::Item(unchanged));
            }
            for new in ["x", "y", "z"] {
                rig.say(list, Input::Item(object(new, 2_000)));
            }
            rig.say(list, Input::PageEnd { next: None });
            assert_eq!(rig.informer.cache().len(), 1_003);
        },
    },
    Exhibit {
        name: "a_cut_watch_is_resumed_without_a_list",
        upstream: "kubernetes/client-go#1377",
        suffered: "An error of the watch led to a new list of 50,000 pods, which doubled the \
                   memory in an instant and did not give it back.",
        instead: "A watch that breaks is resumed after the last complete revision: nothing \
                  is listed, nothing is held twice.",
        scene: || {
            let (mut rig, watch) = Rig::watching(kubernetes());
            rig.put(watch, "a", 11);
            rig.put(watch, "b", 12);
            rig.fail(
                watch,
                FailureClass::Retryable,
                "http2: client connection lost",
            );
            // Revision 12 may have been cut short, 11 is over: it comes again from there.
            let watch = rig.asked_to_watch(11);
            rig.open(watch);
            rig.put(watch, "b", 12);
            rig.progress(watch, 12);
            assert_eq!(rig.cache(), "a=11 b=12 at 12");
        },
    },
    Exhibit {
        name: "one_object_that_stays_does_not_keep_its_page",
        upstream: "kubernetes/kubernetes#113305",
        suffered: "Objects of the initial list pointed into one array: as long as one of \
                   them lived, none of their memory was given back.",
        instead: "Each object is held on its own, and let go with its last holder.",
        scene: || {
            let mut rig = Rig::new(kubernetes());
            let (stays, goes) = (Arc::new(1), Arc::new(2));
            let list = rig.asked_to_list();
            let held = |key, content: &Arc<u64>| Item {
                body: Body::Value(Arc::clone(content)),
                ..object(key, **content)
            };
            rig.list_of(list, 10, [held("stays", &stays), held("goes", &goes)]);
            let watch = rig.asked_to_watch(10);
            rig.open(watch);
            rig.delete(watch, "goes", 11);
            assert_eq!(Arc::strong_count(&stays), 2);
            assert_eq!(Arc::strong_count(&goes), 1, "only this scene holds it");
        },
    },
];
