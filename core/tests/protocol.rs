//! What the protocol does not allow at a point is refused there, and changes nothing.

mod rig;

use std::sync::Arc;

use reflet_core::{Attempt, BadInput, Class, Feed, Input, Notice, RevisionOrder, SourceProfile};
use rig::{Rig, config, item, objects, plain_profile};

fn is_refused(rig: &mut Rig, attempt: Attempt) -> bool {
    let what = BadInput::OutOfPlace;
    rig.notices().contains(&Notice::BadInput { attempt, what })
}

#[test]
fn no_change_is_no_answer_to_who_knows_nothing_or_to_half_a_list() {
    let mut rig = Rig::new(config(plain_profile()));
    let list = rig.expect_list();
    rig.say(list, Input::Unmodified);
    assert!(is_refused(&mut rig, list) && !rig.informer.is_synced());

    for pages in [0, 1] {
        let mut rig = Rig::new(config(SourceProfile {
            feed: Feed::FullState { blocking: false },
            class: Class::Whole,
            order: RevisionOrder::Opaque,
            ..plain_profile()
        }));
        let list = rig.expect_list();
        rig.list(list, 1, &[("a", 1)]);
        let list = rig.expect_list();
        if pages == 0 {
            let (epoch, revision) = (None, Some(2.into()));
            rig.say(list, Input::Page { epoch, revision });
        } else {
            rig.page(list, None, 2, &[], Some("next"));
        }
        rig.say(list, Input::Unmodified);
        assert!(is_refused(&mut rig, list), "after {pages} pages");
        assert_eq!(rig.cache(), objects(&[("a", 1)]));
    }
}

#[test]
fn what_belongs_to_a_page_is_refused_outside_one() {
    for input in [
        (|| Input::PageEnd { next: None }) as fn() -> Input<'static, Arc<str>, u64>,
        || Input::Item(item("a", 1)),
        || Input::Undecodable {
            size: 3,
            error: "bad",
        },
        || Input::Opened { epoch: None },
        || Input::Hint,
    ] {
        let mut rig = Rig::new(config(plain_profile()));
        let list = rig.expect_list();
        rig.say(list, input());
        assert!(is_refused(&mut rig, list) && !rig.informer.is_synced());
    }
    let mut rig = Rig::new(config(plain_profile()));
    let list = rig.expect_list();
    for _ in 0..2 {
        let (epoch, revision) = (None, Some(10.into()));
        rig.say(list, Input::Page { epoch, revision });
    }
    assert!(is_refused(&mut rig, list), "a page within a page");
}
