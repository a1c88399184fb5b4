//! Revisions, replicas, and history that is gone.

use reflet_core::{FailureClass, Item, Notice};

use super::Exhibit;
use super::rig::{Rig, kubernetes, object};

pub(super) const HALL: &[Exhibit] = &[
    Exhibit {
        name: "a_lagging_replica_takes_nobody_back_in_time",
        upstream: "kubernetes/kubernetes#59848",
        suffered: "A client that reconnected to a replica that lagged behind listed an older \
                   state and acted on it: pods that had been replaced were started a second \
                   time.",
        instead: "A list older than the cache is refused with a notice and taken again, and \
                  nobody is told anything of it.",
        scene: || {
            let (mut rig, watch) = Rig::watching(kubernetes());
            let handler = rig.subscribe();
            rig.put(watch, "a", 20);
            rig.progress(watch, 20);
            rig.told(handler);

            rig.fail(watch, FailureClass::Gone, "too old resource version");
            let list = rig.asked_to_list();
            rig.list(list, 15, &[("a", 15), ("b", 2)]);
            assert_eq!(rig.cache(), "a=20 b=2 at 20");
            assert!(rig.told(handler).is_empty());
            let (got, have) = (15.into(), 20.into());
            assert!(rig.notices().contains(&Notice::StaleList { got, have }));

            let list = rig.asked_to_list();
            rig.list(list, 21, &[("a", 20), ("b", 21)]);
            assert_eq!(rig.told(handler), ["updated b=2 to 21", "caught up at 21"]);
        },
    },
    Exhibit {
        name: "gone_at_the_opening_of_a_watch_leads_to_a_list",
        upstream: "kube-rs/kube#1042",
        suffered: "A 410 that came as the answer to opening a watch kept the old revision, \
                   which was asked for again and again, for ever.",
        instead: "Gone leads to a list wherever it comes from, and the next watch starts at \
                  that list's revision.",
        scene: || {
            let (mut rig, watch) = Rig::watching(kubernetes());
            rig.fail(watch, FailureClass::Retryable, "connection reset");
            let watch = rig.asked_to_watch(10);
            rig.fail(watch, FailureClass::Gone, "410 before the first event");
            let list = rig.asked_to_list();
            rig.list(list, 30, &[("b", 25)]);
            rig.asked_to_watch(30);
            assert_eq!(rig.cache(), "b=25 at 30");
        },
    },
    Exhibit {
        name: "gone_in_answer_to_a_list_lets_go_of_the_revision",
        upstream: "kubernetes-client/java#1533",
        suffered: "A relist named the last known revision; once the server had forgotten \
                   that, each list failed with 410, and the log filled up until a restart.",
        instead: "A list that is answered by Gone is asked again without any revision.",
        scene: || {
            let (mut rig, watch) = Rig::watching(kubernetes());
            rig.fail(watch, FailureClass::Gone, "too old resource version");
            let list = rig.asked_to_list_from(Some(10));
            rig.fail(list, FailureClass::Gone, "410 Gone");
            let list = rig.asked_to_list_from(None);
            rig.list(list, 12, &[("a", 12)]);
            assert_eq!(rig.cache(), "a=12 at 12");
        },
    },
    Exhibit {
        name: "a_revision_that_no_server_reaches_is_not_insisted_on",
        upstream: "kubernetes/kubernetes#107133",
        suffered: "The client knew a later revision than the server's cache would reach as \
                   long as nothing changed: each list failed with \"too large resource \
                   version\", for ever.",
        instead: "A list that comes back as Behind is asked again for any state, which is \
                  then judged by its revision.",
        scene: || {
            let (mut rig, watch) = Rig::watching(kubernetes());
            rig.fail(watch, FailureClass::Gone, "too old resource version");
            let list = rig.asked_to_list_from(Some(10));
            rig.fail(list, FailureClass::Behind, "Too large resource version: 10");
            let list = rig.asked_to_list_from(None);
            rig.list(list, 10, &[("a", 1), ("b", 2)]);
            let watch = rig.asked_to_watch(10);
            rig.open(watch);
            rig.put(watch, "a", 11);
            assert_eq!(rig.cache(), "a=11 b=2 partly at 11");
        },
    },
    Exhibit {
        name: "a_watch_that_fails_over_its_revision_again_and_again_becomes_a_list",
        upstream: "fabric8io/kubernetes-client#6065",
        suffered: "Each reconnect failed with the same error about its revision, and no \
                   event came until the process was restarted.",
        instead: "After three watches in a row without a step a list is taken, which finds \
                  the way out whatever was wrong with the revision.",
        scene: || {
            let (mut rig, watch) = Rig::watching(kubernetes());
            rig.fail(watch, FailureClass::Behind, "resource version is bad");
            for _ in 0..2 {
                let watch = rig.asked_to_watch(10);
                rig.fail(watch, FailureClass::Behind, "resource version is bad");
            }
            let list = rig.asked_to_list();
            rig.list(list, 40, &[("a", 33)]);
            rig.asked_to_watch(40);
            assert_eq!(rig.cache(), "a=33 at 40");
        },
    },
    Exhibit {
        name: "a_list_after_gone_can_be_served_from_any_fresh_enough_replica",
        upstream: "kubernetes/kubernetes#86483",
        suffered: "During a rolling upgrade all kubelets relisted with the strongest \
                   consistency, which reads through to etcd: the masters went down.",
        instead: "After Gone the list asks for a state not older than the cache, which a \
                  server may answer from its memory.",
        scene: || {
            let (mut rig, watch) = Rig::watching(kubernetes());
            rig.progress(watch, 17);
            rig.fail(watch, FailureClass::Gone, "too old resource version");
            rig.asked_to_list_from(Some(17));
        },
    },
    Exhibit {
        name: "nothing_falls_between_the_list_and_the_watch",
        upstream: "jupyterhub/kubespawner#81",
        suffered: "The watch began at \"now\": a pod that was deleted after the list and \
                   before the watch was shown as running until the next list.",
        instead: "The watch starts after the very revision that the list showed.",
        scene: || {
            let mut rig = Rig::new(kubernetes());
            let list = rig.asked_to_list();
            rig.list(list, 10, &[("pod-x", 7)]);
            // Now pod-x is deleted, at revision 11, and nobody watches yet.
            let watch = rig.asked_to_watch(10);
            rig.open(watch);
            rig.delete(watch, "pod-x", 11);
            rig.progress(watch, 11);
            assert_eq!(rig.cache(), "at 11");
        },
    },
    Exhibit {
        name: "delete_and_re_create_during_a_partition_is_no_update",
        upstream: "apache/curator#911 (CURATOR-391)",
        suffered: "A node that was deleted and created again while the connection was down \
                   had version 0 before and after, so its new data was never noticed.",
        instead: "A version only counts within one incarnation: another incarnation is a \
                  delete and an add.",
        scene: || {
            let mut rig = Rig::new(kubernetes());
            let handler = rig.subscribe();
            let born = |at: u64, content| Item {
                version: 0.into(),
                incarnation: Some(at.into()),
                ..object("tmp", content)
            };
            let list = rig.asked_to_list();
            rig.list_of(list, 10, [born(4, 100)]);
            assert_eq!(
                rig.told(handler),
                ["added tmp=100", "synced, caught up at 10"]
            );

            let watch = rig.asked_to_watch(10);
            rig.fail(watch, FailureClass::Gone, "session expired");
            let list = rig.asked_to_list();
            rig.list_of(list, 20, [born(15, 200)]);
            let told = rig.told(handler);
            assert_eq!(
                told,
                ["found tmp=100 gone", "added tmp=200", "caught up at 20"]
            );
        },
    },
];
