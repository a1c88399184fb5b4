//! A REST service that is understood by any mapping, and says anything.
//!
//! The first 64 bytes choose a mapping, the next four where the network cuts what is said. The rest,
//! split at zeros, are the answers: a byte for the head and one for the kind of the body, which then is
//! what follows as it stands, or lines of JSON that are drawn from it.
//!
//! A mapping is what it was after it was written as JSON and read again. A source that can be built of
//! it is followed for a while of virtual time, twice: uncut, and cut as the input wants it, with the
//! bodies framed in another way. What there is to see must be the same.

mod bodies;
mod draw;

use std::time::Duration;

use arbitrary::{Result, Unstructured};
use reflet_tokio::http::HttpLimits;
use reflet_tokio::http::rest::{Mapping, RestSource, Watch};
use serde_json::Value;

use crate::line::{Cuts, Framing, Line, Reply};
use crate::seen::{Seen, follow, on_paused_time};

/// The bytes of a mapping.
const MAPPING: usize = 64;
/// More than is needed to poll, and to fail and try again.
const WATCHED: Duration = Duration::from_secs(25);
/// The burst and the attempts of that time, with their pages, and the polls at their pace.
const MOST_REQUESTS: usize = (5 + 25) * 4 + 25_000 / 50;

/// An answer before it is framed.
struct Answer {
    head: String,
    body: Vec<u8>,
}

pub(crate) fn run(data: &[u8]) -> Result<()> {
    let Some((drawn, rest)) = data.split_at_checked(MAPPING) else {
        return Ok(());
    };
    let Some((cuts, rest)) = rest.split_first_chunk::<4>() else {
        return Ok(());
    };
    let json = draw::mapping(&mut Unstructured::new(drawn))?;
    let Ok(mapping) = serde_json::from_value::<Mapping>(json.clone()) else {
        panic!("this is a mapping: {json}");
    };
    let again = serde_json::to_value(&mapping).and_then(serde_json::from_value);
    assert_eq!(again.ok().as_ref(), Some(&mapping), "{json}");
    let answers = rest.split(|byte| *byte == 0).take(8).map(bodies::answer);
    let answers = answers.collect::<Result<Vec<_>>>()?;

    let chunk = usize::from(cuts[0]) + 1;
    let whole = play(&mapping, &answers, Framing::Length, Cuts::nowhere());
    let cut = play(&mapping, &answers, Framing::Chunks(chunk), Cuts::at(*cuts));
    // Each hint asks for a list, and several for one, if they come together.
    if !matches!(mapping.watch, Watch::Hints(_)) {
        assert_eq!(cut, whole, "{json}");
    }
    Ok(())
}

/// `None` for a mapping that does not go together.
fn play(mapping: &Mapping, answers: &[Answer], framing: Framing, cuts: Cuts) -> Option<Seen> {
    let replies = answers.iter().map(|answer| {
        if answer.head.starts_with("101") {
            return Reply::socket(&answer.head, &answer.body);
        }
        // Such an answer has no body, whatever is said of it.
        let empty = answer.head.starts_with("304") || answer.head.starts_with("204");
        let framing = if empty { Framing::Length } else { framing };
        let body = if empty { &[] } else { answer.body.as_slice() };
        Reply::new(&answer.head, body, framing, true)
    });
    let line = Line::new(replies.collect(), cuts);
    let limits = HttpLimits {
        page_bytes: 1_200,
        line_bytes: 160,
        ..HttpLimits::default()
    };
    let source = RestSource::<Value>::builder("http://server:8080/base", mapping.clone())
        .connector(line.clone())
        .limits(limits)
        .build();
    assert_eq!(source.is_ok(), mapping.check().is_ok());
    let seen = on_paused_time(follow(source.ok()?, WATCHED)).until_gone();
    assert!(line.asked() <= MOST_REQUESTS, "{} requests", line.asked());
    Some(seen)
}
