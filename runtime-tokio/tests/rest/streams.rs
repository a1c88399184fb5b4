//! What a service tells of its changes, in each form that the tests know.

use std::convert::Infallible;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::IntoResponse as _;
use futures_util::{SinkExt as _, Stream, StreamExt as _, stream};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::time::timeout;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::server::create_response_with_body;
use tokio_tungstenite::tungstenite::protocol::{Message, Role};

use crate::service::{Answer, Asked, Event, Service, json_body, stamped};

/// The longest quiet of a stream.
pub(crate) const HEARTBEAT: Duration = Duration::from_secs(10);

/// What a stream says next.
#[derive(Clone, Debug)]
enum Said {
    Event(Event),
    /// Nothing has happened for a while.
    Quiet,
    /// What comes next has been forgotten.
    Gone,
}

/// Everything that happens after `from`.
fn events(service: &Service, from: u64) -> impl Stream<Item = Said> + Send + 'static {
    let (service, mut ends) = (service.clone(), service.ends.subscribe());
    ends.mark_unchanged();
    let changes = service.changes.subscribe();
    stream::unfold(
        (service, changes, ends, Some(from)),
        |(service, mut changes, mut ends, from)| async move {
            let from = from?;
            loop {
                if ends.has_changed().is_ok_and(|ended| ended) {
                    return None;
                }
                changes.mark_unchanged();
                let next = after(&service, from);
                if let Some((said, next)) = next {
                    return Some((said, (service, changes, ends, next)));
                }
                let change = tokio::select! {
                    _ = ends.changed() => return None,
                    change = timeout(HEARTBEAT, changes.changed()) => change,
                };
                if change.is_err() {
                    return Some((Said::Quiet, (service, changes, ends, Some(from))));
                }
            }
        },
    )
}

/// What comes after a revision, and where the stream stands then.
fn after(service: &Service, from: u64) -> Option<(Said, Option<u64>)> {
    let table = service.table();
    if from < table.forgotten {
        return Some((Said::Gone, None));
    }
    let mut events = table.events.iter();
    let event = events.find(|event| event.config.version > from)?;
    Some((Said::Event(event.clone()), Some(event.config.version)))
}

/// From where the watch is wanted, or why there is none.
fn start(service: &Service, text: Option<&str>) -> Result<u64, (StatusCode, &'static str)> {
    let Some(from) = text.and_then(|text| text.parse().ok()) else {
        return Err((StatusCode::UNPROCESSABLE_ENTITY, "from where?"));
    };
    let table = service.table();
    if from < table.forgotten {
        // As services say it that know no 410.
        Err((StatusCode::BAD_REQUEST, "resource version too old"))
    } else if from > table.revision {
        Err((StatusCode::CONFLICT, "resource version too new"))
    } else if table.repeats {
        Ok(0)
    } else {
        Ok(from)
    }
}

fn streamed(
    service: &Service,
    from: Option<&str>,
    content: &str,
    write: impl Fn(Said) -> String + Send + 'static,
) -> Answer {
    let from = match start(service, from) {
        Ok(from) => from,
        Err(refused) => return refused.into_response(),
    };
    let times = if service.table().stutters { 2 } else { 1 };
    let body = events(service, from);
    let body = body.map(move |said| Ok::<_, Infallible>(write(said).repeat(times)));
    let head = stamped(&service.table());
    head.header(header::CONTENT_TYPE, content)
        .body(Body::from_stream(body))
        .unwrap()
}

fn resource_version(asked: &Asked) -> Option<&str> {
    asked.0.get("resourceVersion").map(String::as_str)
}

/// A line for each event: the config's fields, and what happened to it.
pub(crate) async fn lines(State(service): State<Service>, asked: Asked) -> Answer {
    let write = |said| match said {
        Said::Event(event) => format!("{}\n", flat(&event)),
        Said::Quiet => "\n".to_owned(),
        Said::Gone => "{\"event\":\"EXPIRED\",\"reason\":\"too slow\"}\n".to_owned(),
    };
    let from = resource_version(&asked);
    streamed(&service, from, "application/json; stream=watch", write)
}

fn flat(event: &Event) -> Value {
    let mut json = json!(event.config);
    json["event"] = json!(event.kind);
    json
}

/// A line for each event, with the config in an envelope.
pub(crate) async fn envelopes(State(service): State<Service>, asked: Asked) -> Answer {
    let write = |said| match said {
        Said::Event(Event { kind, config }) => {
            format!("{}\r\n", json!({"Type": kind, "Config": config}))
        }
        Said::Quiet => "\r\n".to_owned(),
        Said::Gone => "{\"Type\":\"EXPIRED\"}\r\n".to_owned(),
    };
    let from = resource_version(&asked);
    streamed(&service, from, "application/x-ndjson", write)
}

/// Server-sent events: what happened and where it stands is said by their framing, and a delete has
/// no more than the id.
pub(crate) async fn server_sent(State(service): State<Service>, headers: HeaderMap) -> Answer {
    let write = |said| match said {
        Said::Event(Event { kind, config }) => {
            let data = match kind {
                "DELETE" => json!({"id": config.id}),
                _ => json!(config),
            };
            let kind = kind.to_ascii_lowercase();
            format!("event: {kind}\nid: {}\ndata: {data}\n\n", config.version)
        }
        Said::Quiet => "event: ping\ndata: {}\n\n".to_owned(),
        Said::Gone => "event: expired\ndata: \"too slow\"\n\n".to_owned(),
    };
    let from = headers.get("last-event-id");
    let from = from.and_then(|from| from.to_str().ok());
    streamed(&service, from, "text/event-stream", write)
}

/// A socket with a message for each event.
pub(crate) async fn socket(
    State(service): State<Service>,
    asked: Asked,
    mut request: Request,
) -> Answer {
    let from = match start(&service, resource_version(&asked)) {
        Ok(from) => from,
        Err(refused) => return refused.into_response(),
    };
    let connection = hyper::upgrade::on(&mut request);
    let answer = create_response_with_body(&request, Body::empty).unwrap();
    let mut said = Box::pin(events(&service, from));
    tokio::spawn(async move {
        let Ok(connection) = connection.await else {
            return;
        };
        let connection = TokioIo::new(connection);
        let mut socket = WebSocketStream::from_raw_socket(connection, Role::Server, None).await;
        while let Some(said) = said.next().await {
            let message = match said {
                Said::Event(event) => Message::Text(flat(&event).to_string().into()),
                Said::Quiet => Message::Ping("".into()),
                Said::Gone => Message::Text("{\"event\":\"EXPIRED\"}".into()),
            };
            if socket.send(message).await.is_err() {
                return;
            }
        }
        let _ = socket.close(None).await;
    });
    answer
}

/// What has happened since, at once or when something has; 304: nothing has.
pub(crate) async fn poll(State(service): State<Service>, asked: Asked) -> Answer {
    let from = match start(&service, resource_version(&asked)) {
        Ok(from) => from,
        Err(refused) => return refused.into_response(),
    };
    let seconds = asked.0.get("wait").map_or(20, |text| text.parse().unwrap());
    let mut changes = service.changes.subscribe();
    let wait = changes.wait_for(|revision| *revision > from);
    let _ = timeout(Duration::from_secs(seconds), wait).await;
    let table = service.table();
    let events = table.events.iter();
    let events = events.filter(|event| event.config.version > from).map(flat);
    let events: Vec<_> = events.collect();
    if events.is_empty() {
        let nothing = stamped(&table).status(StatusCode::NOT_MODIFIED);
        return nothing.body(Body::empty()).unwrap();
    }
    json_body(stamped(&table), &json!({"events": events}))
}

/// Says that something has changed, and nothing of what.
pub(crate) async fn feed(State(service): State<Service>) -> Answer {
    let from = service.table().revision;
    let write = |said| match said {
        Said::Event(_) | Said::Gone => "{\"op\":\"look again\"}\n".to_owned(),
        Said::Quiet => "\n".to_owned(),
    };
    let from = from.to_string();
    streamed(&service, Some(&from), "application/x-ndjson", write)
}

/// The same, as server-sent events.
pub(crate) async fn server_sent_feed(State(service): State<Service>) -> Answer {
    let from = service.table().revision;
    let write = |said| match said {
        Said::Event(_) | Said::Gone => "event: changed\ndata: look again\n\n".to_owned(),
        Said::Quiet => "event: ping\ndata: still here\n\n".to_owned(),
    };
    let from = from.to_string();
    streamed(&service, Some(&from), "text/event-stream", write)
}
