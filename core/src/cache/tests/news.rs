//! Who has news, and who is told of no news.

use super::*;

#[test]
fn a_publication_without_a_change_is_news_and_so_is_a_change_at_the_same_revision() {
    let mut rig = Rig::new();
    let id = rig.join();
    assert!(!rig.0.has_news(id), "nothing was published");
    rig.put("a", 1);
    assert!(!rig.0.has_news(id), "it waits for its publication");
    rig.publish(1);
    assert!(rig.0.has_news(id));
    rig.drain(id);
    assert!(!rig.0.has_news(id));
    rig.publish(1);
    assert!(!rig.0.has_news(id), "it has heard of that");
    rig.publish(2);
    assert!(rig.0.has_news(id));
    assert_eq!(rig.drain(id), ["@2"]);
    rig.put("a", 2);
    rig.publish(2);
    assert!(rig.0.has_news(id));
    assert_eq!(rig.drain(id), ["~a=1>2", "@2"]);
    rig.0.rewind();
    rig.publish(2);
    assert!(
        rig.0.has_news(id),
        "that is another point of another history"
    );
    assert_eq!(rig.drain(id), ["@2"]);
    rig.0.publish(Some(Revision::from(2)), false);
    assert_eq!(rig.drain(id), ["@2~"]);
}
