//! Passes: what is told, in which order, and up to which mark.

use super::*;

#[test]
fn nothing_is_told_before_it_is_published() {
    let mut rig = Rig::new();
    let id = rig.join();
    rig.put("a", 1);
    assert!(!rig.0.has_news(id) && !rig.0.is_synced());
    assert_eq!(rig.poll(id), "");
    rig.publish(5);
    assert!(rig.0.has_news(id));
    assert_eq!(rig.drain(id), ["+a=1", "@5!"]);
    rig.put("a", 2);
    assert!(!rig.0.has_news(id));
    assert_eq!(rig.poll(id), "", "half a batch is nobody's state");
    rig.publish(6);
    assert_eq!(rig.drain(id), ["~a=1>2", "@6"]);
    rig.assert_settled();
}

#[test]
fn an_empty_collection_is_a_state_too() {
    let mut rig = Rig::new();
    let id = rig.join();
    rig.publish(1);
    assert_eq!(rig.drain(id), ["@1!"]);
    rig.put("a", 1);
    rig.publish(2);
    assert_eq!(rig.drain(id), ["+a=1", "@2"]);
}

#[test]
fn marks_follow_the_publications_that_differ() {
    let mut rig = Rig::new();
    let id = rig.join();
    rig.put("a", 1);
    rig.0.publish(Some(7.into()), false);
    assert_eq!(rig.drain(id), ["+a=1", "@7!~"]);
    rig.publish(7);
    assert_eq!(rig.drain(id), ["@7"]);
    rig.publish(7);
    assert!(!rig.0.has_news(id));
    assert_eq!(rig.poll(id), "");
    rig.0.rewind();
    assert_eq!(rig.poll(id), "");
    rig.publish(7);
    let Polled::Delta(Delta::Mark(mark)) = rig.0.poll(id) else {
        panic!("no mark")
    };
    assert_eq!((mark.local_epoch, mark.initial), (1, false));
}

#[test]
fn old_is_what_was_handed_out_however_slowly_it_is_polled() {
    let mut rig = Rig::new();
    let id = rig.join();
    for (number, name) in ["a", "b", "c"].into_iter().enumerate() {
        rig.put(name, number as u32);
    }
    rig.publish(1);
    assert_eq!(rig.poll(id), "+a=0");
    rig.put("b", 10);
    rig.put("a", 11);
    rig.put("b", 12);
    rig.publish(2);
    assert_eq!(rig.poll(id), "+b=1", "the pass shows the state of its end");
    rig.put("b", 13);
    rig.publish(3);
    assert_eq!(rig.drain(id), ["+c=2", "@1!", "~a=0>11", "~b=1>13", "@3"]);
    rig.assert_settled();
}

#[test]
fn a_hot_key_does_not_hold_a_pass_up() {
    let mut rig = Rig::new();
    let id = rig.join();
    rig.put("hot", 0);
    rig.put("cold", 0);
    rig.publish(1);
    let mut heard = Vec::new();
    for value in 1..10 {
        heard.push(rig.poll(id));
        rig.put("hot", value);
        rig.publish(1 + u64::from(value));
        rig.0.check();
    }
    assert_eq!(heard[..5], ["+hot=0", "+cold=0", "@1!", "~hot=0>3", "@4"]);
}

#[test]
fn a_delete_is_heard_although_the_key_is_back_before_the_pass_comes_by() {
    let mut rig = Rig::new();
    let id = rig.join();
    rig.put("a", 1);
    rig.put("b", 1);
    rig.publish(1);
    rig.drain(id);
    rig.put("b", 2);
    rig.remove("a");
    rig.publish(2);
    assert_eq!(rig.poll(id), "~b=1>2");
    rig.put("a", 3);
    rig.publish(3);
    assert_eq!(rig.drain(id), ["-a=1/1", "@2", "+a=3", "@3"]);
    rig.assert_settled();
}

#[test]
fn a_tombstone_that_is_only_passed_through_splits_delete_and_add() {
    let mut rig = Rig::new();
    let id = rig.join();
    rig.put("a", 1);
    rig.publish(1);
    rig.drain(id);
    rig.put("a", 2);
    rig.remove("a");
    rig.put("a", 3);
    rig.put("a", 4);
    rig.publish(2);
    assert_eq!(rig.drain(id), ["-a=1/1", "+a=4", "@2"]);
    rig.assert_settled();
}

#[test]
fn another_incarnation_is_an_inferred_delete_and_an_add() {
    let mut rig = Rig::new();
    let id = rig.join();
    assert_eq!(rig.put_as("a", 1, Some(1)), Upserted::Added);
    rig.publish(1);
    rig.drain(id);
    assert_eq!(rig.put_as("a", 2, Some(1)), Upserted::Updated);
    assert_eq!(
        rig.put_as("a", 3, None),
        Upserted::Updated,
        "unknown is not another one"
    );
    assert_eq!(rig.put_as("a", 4, Some(2)), Upserted::Recreated);
    rig.publish(2);
    assert_eq!(rig.poll(id), "-a=1/1?");
    rig.put_as("a", 5, Some(2));
    rig.publish(3);
    assert_eq!(rig.drain(id), ["+a=4", "@2", "~a=4>5", "@3"]);
    rig.assert_settled();
}

#[test]
fn last_is_the_state_before_the_delete_even_if_nobody_was_told_of_it() {
    let mut rig = Rig::new();
    let id = rig.join();
    for name in ["a", "b", "c"] {
        rig.put(name, 1);
    }
    rig.publish(1);
    rig.drain(id);
    rig.put("a", 2);
    rig.remove("a");
    rig.0.delete("b", Some(9), false);
    rig.0.delete("c", None, true);
    rig.publish(2);
    assert_eq!(rig.drain(id), ["-a=1/2", "-b=1/9", "-c=1/1?", "@2"]);
    rig.assert_settled();
}

#[test]
fn who_joins_late_is_not_told_of_what_it_never_saw() {
    let mut rig = Rig::new();
    let early = rig.join();
    rig.put("a", 1);
    rig.put("b", 1);
    rig.publish(1);
    rig.drain(early);
    rig.remove("a");
    rig.publish(2);
    let late = rig.join();
    assert_eq!(rig.poll(late), "+b=1");
    assert_eq!(rig.drain(late), ["@2!"]);
    rig.put("c", 1);
    rig.remove("c");
    rig.publish(3);
    assert_eq!(
        rig.drain(late),
        ["@3"],
        "what came and went in between is nothing"
    );
    assert_eq!(rig.drain(early), ["-a=1/1", "@3"]);
    rig.assert_settled();
}
