//! The trace viewer: what a story tells, and the page that shows it.

use reflet_sim::html::page;
use reflet_sim::story::{EngineState, Kind, Story, seconds};

/// A watch that says too much.
fn hostile() -> Story {
    let mut story = Story::new("</title><script>alert('title')</script>");
    let source = story.lane("source <b>");
    let engine = story.lane("engine & co");
    story.fact(
        "</script><img src=x onerror=alert('fact')>",
        "<!-- {{script}} -->",
    );
    story.at(0, 1_500_000_000);
    let said = story.say(
        source,
        Kind::Normal,
        "</script><script>alert('text')</script>",
        || "<![CDATA[ </SCRIPT \u{2028} {{story}} & \"quoted\"".to_owned(),
    );
    let heard = story.say(
        engine,
        Kind::Notice,
        format_args!("heard {}", "<i>"),
        String::new,
    );
    story.arrow(said, heard);
    story.violation(
        engine,
        "P3 one real state",
        "<u>k1</u> is & was not\nsecond line",
    );
    story
}

fn watching(state: &str, attempt: Option<u64>, at: Option<u64>) -> EngineState {
    EngineState {
        state: state.to_owned(),
        attempt,
        deadline: at.map(|at| (at, "Silence".to_owned())),
    }
}

#[test]
fn nothing_that_a_story_says_becomes_markup() {
    let page = page(&hostile());
    let count = |what: &str| page.to_lowercase().matches(what).count();
    assert_eq!(count("<script"), 2, "the data, and the page's own script");
    assert_eq!(count("</script"), 2);
    assert_eq!(count("</title"), 1);
    for markup in ["<b>", "<i>", "<u>", "<img", "<!--", "<![cdata["] {
        assert_eq!(count(markup), 0, "{markup}");
    }
    assert!(page.contains("&lt;/title&gt;"));
}

#[test]
fn the_page_is_whole_and_needs_nothing_else() {
    let page = page(&hostile());
    assert!(page.starts_with("<!DOCTYPE html>") && page.trim_end().ends_with("</html>"));
    assert!(page.contains("default-src 'none'"));
    for outside in ["src=\"", "href=\"", "@import", "url(", "fetch(", "https://"] {
        assert!(!page.contains(outside), "{outside}");
    }
    // What was told about placeholders is told, not replaced.
    assert!(page.contains("{{story}}") && page.contains("{{script}}"));
    assert_eq!(page.matches("'use strict'").count(), 1);
}

#[test]
fn the_page_carries_the_story_as_it_was_told() {
    let page = page(&hostile());
    let (_, rest) = page.split_once("id=\"story\">").expect("the data");
    let (json, _) = rest.split_once("</script>").expect("its end");
    let data: serde_json::Value = serde_json::from_str(json).expect("JSON");
    assert_eq!(data["lanes"][0], "source <b>");
    assert_eq!(data["moments"][0][1], "1.500 s");
    assert_eq!(
        data["moments"][0][4],
        "</script><script>alert('text')</script>"
    );
    assert_eq!(data["moments"][1][3], "notice");
    assert_eq!(data["arrows"], serde_json::json!([[0, 1]]));
    assert_eq!(data["violated"]["moment"], 2);
    assert_eq!(data["violated"]["promise"], "P3 one real state");
    assert_eq!(data["moments"][2][5], "<u>k1</u> is & was not\nsecond line");
}

#[test]
fn the_engines_state_is_told_when_it_changes() {
    let mut story = Story::new("");
    let engine = story.lane("engine");
    for (step, state) in [
        watching("listing", Some(1), Some(3_000_000_000)),
        watching("listing", Some(1), Some(3_000_000_000)),
        watching("watching", Some(2), Some(3_000_000_000)),
        watching("stopped", None, None),
    ]
    .into_iter()
    .enumerate()
    {
        story.at(step, 1_000_000_000);
        story.state(engine, || state);
    }
    let told: Vec<_> = story
        .moments()
        .iter()
        .map(|moment| (moment.step, &*moment.text))
        .collect();
    assert_eq!(
        told,
        [
            (0, "listing #1 · Silence in 2.000 s"),
            (2, "watching #2 · Silence in 2.000 s"),
            (3, "stopped"),
        ]
    );
    assert!(
        story.moments()[0]
            .detail
            .contains("at 3.000 s (in 2.000 s), for: Silence")
    );
    assert!(story.moments()[2].detail.contains("deadline: none"));
}

#[test]
fn a_story_that_nobody_hears_renders_no_word() {
    struct Loud;
    impl std::fmt::Display for Loud {
        fn fmt(&self, _: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            panic!("rendered")
        }
    }
    let mut story = Story::unheard();
    let lane = story.lane(Loud);
    story.fact(Loud, Loud);
    let a = story.say(lane, Kind::Fault, Loud, || panic!("rendered"));
    let b = story.violation(lane, Loud, Loud);
    story.state(lane, || panic!("rendered"));
    story.arrow(a, b);
    assert!(story.moments().is_empty() && !story.is_heard());
}

#[test]
fn only_the_first_violation_is_the_one_to_jump_to() {
    let mut story = hostile();
    let lane = story.lane("late");
    story.violation(lane, "P1 converges", "also");
    assert!(page(&story).contains("\"violated\":{\"moment\":2,"));
}

#[test]
fn a_story_reads_as_lines() {
    let text = hostile().to_string();
    let last = text.lines().last().expect("a line");
    assert_eq!(last, "    0      1.500 s X engine & co  P3 one real state");
}

#[test]
fn times_keep_every_nanosecond() {
    assert_eq!(seconds(0), "0.000 s");
    assert_eq!(seconds(1_234_567_890), "1.23456789 s");
    assert_eq!(seconds(2_000_000_001), "2.000000001 s");
    assert_eq!(seconds(u64::MAX), "18446744073.709551615 s");
}
