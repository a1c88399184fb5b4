//! Servers that refuse, break off or say nothing.

use std::time::Duration;

use reflet_tokio::reflet_core::{Condition, FailureClass, TimerReason, Timing};

use crate::rig::{Phase, Rig};
use crate::server::{Act, answer, chunk, stream_head};
use FailureClass::{Denied, Malformed, NotFound, Retryable, Unexpected};

/// Answers everything with a status, headers and a body; in each phase the informer says this of
/// it.
async fn refused(status: &'static str, headers: &'static str, class: FailureClass, words: &str) {
    let body = r#"{"reason":"Odd","message":"the server's own words"}"#;
    for phase in Phase::ALL {
        let mut rig = Rig::at(phase, move |_| {
            vec![Act::Send(answer(status, headers, body))]
        })
        .await;
        let failure = rig.failure(class, words).await;
        rig.suffers(phase, &Condition::Failing(class));
        let (_, last) = rig.informer.health().last_error.unwrap();
        assert_eq!(last, failure, "{phase:?}");
        rig.survives(phase).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_denial_is_told_in_the_servers_words() {
    refused(
        "401 Unauthorized",
        "",
        Denied,
        "401 Unauthorized (Odd): the server's own words",
    )
    .await;
    refused(
        "403 Forbidden",
        "",
        Denied,
        "403 Forbidden (Odd): the server's own words",
    )
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_collection_that_is_not_found_is_not_an_empty_one() {
    refused(
        "404 Not Found",
        "",
        NotFound,
        "404 Not Found (Odd): the server's own words",
    )
    .await;
}

#[tokio::test(start_paused = true)]
async fn statuses_that_nobody_expects_are_told_and_retried_slowly() {
    refused("418 I'm a teapot", "", Unexpected, "418 I'm a teapot (Odd)").await;
    refused("206 Partial Content", "", Unexpected, "206 Partial Content").await;
    refused("203 Non-Authoritative Information", "", Unexpected, "203").await;
}

#[tokio::test(start_paused = true)]
async fn an_overloaded_server_is_retried_with_backoff() {
    refused(
        "429 Too Many Requests",
        "",
        Retryable,
        "429 Too Many Requests (Odd)",
    )
    .await;
    refused(
        "500 Internal Server Error",
        "",
        Retryable,
        "500 Internal Server Error (Odd)",
    )
    .await;
    refused(
        "503 Service Unavailable",
        "",
        Retryable,
        "503 Service Unavailable (Odd)",
    )
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_redirect_to_elsewhere_is_not_followed_but_told() {
    let words =
        "302 Found (Odd): redirects to elsewhere are not followed; it points to http://evil/";
    refused("302 Found", "location: http://evil/\r\n", Unexpected, words).await;
}

#[tokio::test(start_paused = true)]
async fn redirects_in_a_circle_are_given_up() {
    let words = "302 Found (Odd): redirected once more than is followed; it points to /round?hop=1";
    refused("302 Found", "location: /round?hop=1\r\n", Unexpected, words).await;
}

/// Nothing at all is sent before the server's wait is over, nor much later.
async fn held_off(status: &'static str, headers: &'static str, wait: Duration) {
    for phase in Phase::ALL {
        let mut rig = Rig::at(phase, move |_| vec![Act::Send(answer(status, headers, ""))]).await;
        let failure = rig.failure(Retryable, "").await;
        let class = if failure.retry_after.is_none() {
            // The connection that was cut when the server changed its mind.
            rig.failure(Retryable, status).await.class
        } else {
            failure.class
        };
        rig.suffers(phase, &Condition::Failing(class));
        let health = rig.informer.health();
        let due = health
            .next_attempt
            .unwrap()
            .saturating_since(rig.informer.now());
        assert_eq!(due, wait, "{phase:?} {headers}");
        let before = rig.server.log();
        rig.run(wait - Duration::from_secs(1)).await;
        assert_eq!(rig.server.log().len(), before.len(), "{phase:?} {headers}");
        rig.run(Duration::from_secs(2)).await;
        assert_eq!(
            rig.server.log().len(),
            before.len() + 1,
            "{phase:?} {headers}"
        );
        rig.survives(phase).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_retry_after_is_obeyed_to_the_second() {
    let too_many = "429 Too Many Requests";
    held_off(too_many, "retry-after: 120\r\n", Duration::from_secs(120)).await;
    let dates =
        "date: Sun, 06 Nov 1994 08:49:37 GMT\r\nretry-after: Sun, 06 Nov 1994 08:50:37 GMT\r\n";
    held_off("503 Service Unavailable", dates, Duration::from_secs(60)).await;
}

#[tokio::test(start_paused = true)]
async fn a_retry_after_of_an_age_is_capped() {
    let longest = Timing::default().max_retry_after;
    held_off(
        "503 Service Unavailable",
        "retry-after: 1000000\r\n",
        longest,
    )
    .await;
    held_off(
        "503 Service Unavailable",
        "retry-after: 99999999999999999999999\r\n",
        longest,
    )
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_refusal_whose_words_never_end_is_still_a_refusal() {
    for phase in Phase::ALL {
        let mut rig = Rig::at(phase, |_| {
            vec![
                Act::Send(b"HTTP/1.1 403 Forbidden\r\n\r\n".to_vec()),
                Act::Endless(Duration::ZERO, Box::new(|_| b"blah ".repeat(1_000))),
            ]
        })
        .await;
        rig.failure(Denied, "403 Forbidden: blah blah").await;
        rig.suffers(phase, &Condition::Failing(Denied));
        rig.survives(phase).await;
    }
}

/// Plays these acts to every request; in each of the phases the informer says this of them.
async fn broken(phases: &[Phase], acts: fn() -> Vec<Act>, class: FailureClass, words: &str) {
    for phase in phases.iter().copied() {
        let mut rig = Rig::at(phase, move |_| acts()).await;
        rig.failure(class, words).await;
        rig.suffers(phase, &Condition::Failing(class));
        rig.survives(phase).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_server_that_hangs_up_is_retried() {
    broken(&Phase::ALL, || vec![Act::Close], Retryable, "no answer").await;
    let half_a_head = || vec![Act::Send(b"HTTP/1.1 200 O".to_vec()), Act::Close];
    broken(&Phase::ALL, half_a_head, Retryable, "no answer").await;
}

#[tokio::test(start_paused = true)]
async fn what_is_not_http_is_malformed() {
    let ssh = || vec![Act::Send(b"SSH-2.0-OpenSSH_9.7\r\n".to_vec()), Act::Silence];
    broken(&Phase::ALL, ssh, Malformed, "invalid HTTP version parsed").await;
    let endless_head = || {
        vec![
            Act::Send(b"HTTP/1.1 200 OK\r\n".to_vec()),
            Act::Endless(
                Duration::ZERO,
                Box::new(|_| b"x: yyyyyyyyyyyyyyyyyyyy\r\n".repeat(100)),
            ),
        ]
    };
    broken(
        &Phase::ALL,
        endless_head,
        Malformed,
        "message head is too large",
    )
    .await;
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_is_cut_off_shows_nothing_of_itself() {
    const PAGE: &str = r#"{"revision":"9","items":[{"key":"x","version":"9","value":1}"#;
    let with_length = || {
        let mut bytes = answer("200 OK", "", PAGE.repeat(2));
        bytes.truncate(bytes.len() - PAGE.len());
        vec![Act::Send(bytes), Act::Close]
    };
    let lists_and_polls = [Phase::FirstList, Phase::Relist, Phase::Polls];
    broken(
        &lists_and_polls,
        with_length,
        Retryable,
        "the answer broke off",
    )
    .await;
    let chunked = || vec![Act::Send([stream_head(), chunk(PAGE)].concat()), Act::Close];
    broken(&lists_and_polls, chunked, Retryable, "the answer broke off").await;
    let until_close = || {
        let head = "HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n";
        vec![Act::Send([head, PAGE].concat().into_bytes()), Act::Close]
    };
    broken(
        &lists_and_polls,
        until_close,
        Malformed,
        "EOF while parsing",
    )
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_is_cut_in_mid_line_shows_nothing_of_the_line() {
    const EVENT: &str = r#"{"type":"MODIFIED","revision":"3","key":"a","ver"#;
    let broken_off = || {
        vec![
            Act::Send([stream_head(), chunk(EVENT)].concat()),
            Act::Close,
        ]
    };
    broken(&[Phase::Lines], broken_off, Retryable, "in mid-line").await;
    let ended = || {
        vec![Act::Send(
            [stream_head(), chunk(EVENT), b"0\r\n\r\n".to_vec()].concat(),
        )]
    };
    broken(&[Phase::Lines], ended, Retryable, "closed in mid-line").await;
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_is_cut_in_mid_transaction_shows_nothing_of_it() {
    const EVENT: &str = r#"{"type":"MODIFIED","revision":"3","previous":"2","key":"a","version":"3","value":"half"}"#;
    let cut = || {
        vec![
            Act::Send([stream_head(), chunk([EVENT, "\n"].concat())].concat()),
            Act::Close,
        ]
    };
    broken(&[Phase::Lines], cut, Retryable, "the answer broke off").await;
}

/// Plays these acts to every request; in each of the phases the informer waits in vain for this.
async fn silent(phases: &[Phase], acts: fn() -> Vec<Act>, what: TimerReason) {
    for phase in phases.iter().copied() {
        let mut rig = Rig::at(phase, move |_| acts()).await;
        rig.timed_out(what).await;
        rig.suffers(phase, &Condition::TimedOut(what));
        rig.survives(phase).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_server_that_never_answers_is_given_up() {
    silent(&Phase::ALL, || vec![Act::Silence], TimerReason::Opening).await;
    let half_a_head = || vec![Act::Send(b"HTTP/1.1 200 OK\r\nx-".to_vec()), Act::Silence];
    silent(&Phase::ALL, half_a_head, TimerReason::Opening).await;
}

#[tokio::test(start_paused = true)]
async fn a_page_that_stops_in_its_middle_is_given_up() {
    let half = || {
        vec![
            Act::Send(b"HTTP/1.1 200 OK\r\ncontent-length: 99\r\n\r\n{".to_vec()),
            Act::Silence,
        ]
    };
    silent(&Phase::LISTS, half, TimerReason::PageSilence).await;
}

#[tokio::test(start_paused = true)]
async fn an_open_watch_that_falls_silent_is_presumed_dead() {
    let mute = || vec![Act::Send(stream_head()), Act::Silence];
    silent(&[Phase::Lines], mute, TimerReason::Silence).await;
    let half_a_line = || {
        vec![
            Act::Send([stream_head(), chunk("{")].concat()),
            Act::Silence,
        ]
    };
    silent(&[Phase::Lines], half_a_line, TimerReason::Silence).await;
}
