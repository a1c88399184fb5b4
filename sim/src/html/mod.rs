//! The trace viewer: a [`Story`] as one page of HTML that needs nothing else.
//!
//! The story travels in the page as data, and the page's script shows it as text; nothing that a
//! story says can become markup or script.

use serde::Serialize;

use crate::story::{Kind, Moment, Story, seconds};

const PAGE: &str = include_str!("page.html");
const STYLE: &str = include_str!("page.css");
const SCRIPT: &str = include_str!("page.js");

/// A story as the page's script wants it.
#[derive(Serialize)]
struct View<'a> {
    facts: &'a [(String, String)],
    lanes: &'a [String],
    /// Step, time, lane, kind, text, detail. The time is a string: the script's numbers would
    /// round it.
    moments: Vec<(usize, String, usize, &'static str, &'a str, &'a str)>,
    arrows: &'a [(usize, usize)],
    violated: Option<ViewViolated<'a>>,
}

#[derive(Serialize)]
struct ViewViolated<'a> {
    moment: usize,
    promise: &'a str,
    message: &'a str,
}

/// The story as one self-contained page of HTML: lanes side by side, time downwards.
#[must_use]
pub fn page(story: &Story) -> String {
    let title = escaped(&story.title);
    let data = data(story);
    let mut page = String::with_capacity(PAGE.len() + STYLE.len() + SCRIPT.len() + data.len());
    // Piece by piece, so that what is put in is never searched for more names.
    for (i, piece) in PAGE.split("{{").enumerate() {
        let Some((name, rest)) = piece.split_once("}}").filter(|_| i > 0) else {
            page.push_str(piece);
            continue;
        };
        page.push_str(match name {
            "title" => &title,
            "style" => STYLE,
            "script" => SCRIPT,
            "story" => &data,
            other => other,
        });
        page.push_str(rest);
    }
    page
}

fn data(story: &Story) -> String {
    let view = View {
        facts: &story.facts,
        lanes: &story.lanes,
        moments: story
            .moments
            .iter()
            .map(
                |Moment {
                     step,
                     at,
                     lane,
                     kind,
                     text,
                     detail,
                 }| {
                    (
                        *step,
                        seconds(*at),
                        lane.0,
                        word(*kind),
                        text.as_str(),
                        detail.as_str(),
                    )
                },
            )
            .collect(),
        arrows: &story.arrows,
        violated: story.violated.as_ref().map(|violated| ViewViolated {
            moment: violated.moment,
            promise: &violated.promise,
            message: &violated.message,
        }),
    };
    // Strings and numbers can always be written as JSON.
    let json = serde_json::to_string(&view).unwrap_or_default();
    // Inside strings only: JSON itself has none of these. They could end the element.
    json.replace('<', "\\u003c")
        .replace('>', "\\u003e")
        .replace('&', "\\u0026")
}

const fn word(kind: Kind) -> &'static str {
    match kind {
        Kind::Normal => "normal",
        Kind::Fault => "fault",
        Kind::Command => "command",
        Kind::Notice => "notice",
        Kind::State => "state",
        Kind::Violation => "violation",
    }
}

fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '&' => out.push_str("&amp;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c => out.push(c),
        }
    }
    out
}
