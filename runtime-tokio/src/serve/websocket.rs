//! A stream as the messages of a WebSocket.
//!
//! The only part of the server side that spawns: hyper hands the connection over once the answer
//! has left, and then nobody else is there to drive it.

use std::time::Duration;

use axum::body::Body;
use axum::extract::Request;
use axum::response::Response;
use bytes::Bytes;
use futures_util::{SinkExt as _, StreamExt as _};
use http::HeaderValue;
use http::header::SEC_WEBSOCKET_PROTOCOL;
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use tokio::time::timeout;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::server::create_response_with_body;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Error, Message, Utf8Bytes};

use super::framing;
use super::reply::{Failure, with_head};
use super::state::Head;
use super::watch::{Following, Said, Watcher};

/// What is spoken: the events of the protocol's version 1.
const SUBPROTOCOL: &str = "reflet.v1";
/// A client has nothing to say: its pings, pongs and close are all that is read.
const CLIENT_BYTES: usize = 4 << 10;
/// What is read at a time, and gathered before it is written.
const BUFFER_BYTES: usize = 4 << 10;
/// How long a client has to answer a close before its connection is dropped.
const CLOSE_WAIT: Duration = Duration::from_secs(5);

type Socket = WebSocketStream<TokioIo<Upgraded>>;

/// A request that asks for a WebSocket and may have one.
pub(super) struct Upgrade {
    answer: Response,
    connection: OnUpgrade,
}

impl Upgrade {
    /// Checks the handshake.
    pub(super) fn of(mut request: Request) -> Result<Self, Failure> {
        let connection = hyper::upgrade::on(&mut request);
        let mut answer = create_response_with_body(&request, Body::empty)
            .map_err(|error| Failure::upgrade_required(error.to_string()))?;
        let offered = request.headers().get_all(SEC_WEBSOCKET_PROTOCOL);
        let mut offered = offered.iter().filter_map(|value| value.to_str().ok());
        if !offered.any(|list| list.split(',').any(|one| one.trim() == SUBPROTOCOL)) {
            let message = format!("the subprotocol {SUBPROTOCOL} has to be offered");
            return Err(Failure::bad_request(message));
        }
        let protocol = HeaderValue::from_static(SUBPROTOCOL);
        answer
            .headers_mut()
            .insert(SEC_WEBSOCKET_PROTOCOL, protocol);
        Ok(Self { answer, connection })
    }

    /// The answer; what follows it is a task of its own.
    pub(super) fn speak(
        self,
        (watcher, head, digest): (Watcher, Head, u64),
        ends_after: Option<Duration>,
    ) -> Response {
        let connection = self.connection;
        let following = watcher.stream(digest, ends_after);
        tokio::spawn(async move {
            // Whoever serves connections without upgrades has dropped this one.
            if let Ok(connection) = connection.await {
                speak(TokioIo::new(connection), following).await;
            }
        });
        with_head(self.answer, &head)
    }
}

/// What happens next on a socket.
enum Turn {
    Said(Option<Said>),
    Heard(Option<Result<Message, Error>>),
}

/// How a socket ends.
enum End {
    /// By a close of ours.
    Close(CloseCode),
    /// By a close of ours, and what else comes cannot be understood.
    Fail(CloseCode),
    /// The client has closed, and an answer waits to be sent.
    Closed,
    /// The connection is gone.
    Gone,
}

async fn speak(connection: TokioIo<Upgraded>, mut following: Following) {
    let config = WebSocketConfig::default()
        .read_buffer_size(BUFFER_BYTES)
        .write_buffer_size(BUFFER_BYTES)
        .max_message_size(Some(CLIENT_BYTES))
        .max_frame_size(Some(CLIENT_BYTES));
    let mut socket = WebSocketStream::from_raw_socket(connection, Role::Server, Some(config)).await;
    let end = loop {
        let turn = tokio::select! {
            biased;
            heard = socket.next() => Turn::Heard(heard),
            said = following.next() => Turn::Said(said),
        };
        let turn = match turn {
            Turn::Said(Some(said)) => say(&mut socket, &said).await,
            Turn::Said(None) => Err(End::Close(following.close_code())),
            Turn::Heard(heard) => hear(&mut socket, heard).await,
        };
        if let Err(end) = turn {
            break end;
        }
    };
    // Its place among the watchers is free, however long the farewell takes.
    drop(following);
    let farewell = async {
        match end {
            // Dropping the connection before the client has read it all could take that away.
            End::Close(code) => {
                close(&mut socket, code).await?;
                while socket.next().await.transpose()?.is_some() {}
                Ok(())
            }
            End::Fail(code) => {
                close(&mut socket, code).await?;
                tokio::io::copy(socket.get_mut(), &mut tokio::io::sink()).await?;
                Ok(())
            }
            End::Closed => socket.flush().await,
            End::Gone => Ok::<_, Error>(()),
        }
    };
    // There is nobody to tell that a client does not hear its farewell.
    let _ = timeout(CLOSE_WAIT, farewell).await;
}

async fn close(socket: &mut Socket, code: CloseCode) -> Result<(), Error> {
    let reason = Utf8Bytes::default();
    socket.close(Some(CloseFrame { code, reason })).await
}

impl Following {
    fn close_code(&self) -> CloseCode {
        match self.is_closing() {
            true => CloseCode::Away,
            false => CloseCode::Normal,
        }
    }
}

/// Sends what is said, a message for each event, and waits until the connection has taken it.
async fn say(socket: &mut Socket, said: &Said) -> Result<(), End> {
    let lines = framing::lines(said);
    for line in framing::split(&lines) {
        let message = match Utf8Bytes::try_from(lines.slice_ref(line)) {
            Ok(text) if text.is_empty() => Message::Ping(Bytes::new()),
            Ok(text) => Message::Text(text),
            Err(_) => return Err(End::Close(CloseCode::Error)),
        };
        socket.feed(message).await.map_err(gone)?;
    }
    socket.flush().await.map_err(gone)
}

fn gone(_: Error) -> End {
    End::Gone
}

/// What a client says is answered, or is its end.
async fn hear(socket: &mut Socket, heard: Option<Result<Message, Error>>) -> Result<(), End> {
    match heard {
        // The pong is on its way before the next ping is read: no more than one of them waits.
        Some(Ok(Message::Ping(_))) => socket.flush().await.map_err(gone),
        Some(Ok(Message::Pong(_) | Message::Frame(_))) => Ok(()),
        Some(Ok(Message::Close(_))) => Err(End::Closed),
        Some(Ok(Message::Text(_) | Message::Binary(_))) => Err(End::Close(CloseCode::Unsupported)),
        Some(Err(Error::Capacity(_))) => Err(End::Fail(CloseCode::Size)),
        Some(Err(Error::Utf8(_))) => Err(End::Fail(CloseCode::Invalid)),
        Some(Err(Error::Protocol(_))) => Err(End::Fail(CloseCode::Protocol)),
        Some(Err(_)) | None => Err(End::Gone),
    }
}
