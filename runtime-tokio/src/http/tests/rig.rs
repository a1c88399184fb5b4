//! A recording engine and a scripted server, joined by pipes in memory.

use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::sync::{Arc, Mutex};

use reflet_core::{Body, Change, Failure, Input, Revision, WatchFrom};
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream, duplex};
use tokio::sync::mpsc;

use crate::http::{Connect, HttpSource, HttpSourceBuilder, Target};
use crate::source::{Engine, Envelope, ListRequest, Port, Sink, Source, WatchRequest};

/// What an engine was told, a line each.
#[derive(Clone, Default)]
pub(crate) struct Recorder {
    said: Arc<Mutex<Vec<String>>>,
    held: Arc<Mutex<Vec<String>>>,
}

impl Recorder {
    pub(crate) fn hold(&self, item: &str) {
        self.held.lock().unwrap().push(item.to_owned());
    }

    pub(crate) fn said(&self) -> Vec<String> {
        self.said.lock().unwrap().clone()
    }

    pub(crate) fn sink<V: Clone + fmt::Debug + 'static>(&self) -> Sink<V> {
        Sink::new(self.clone())
    }
}

impl<V: fmt::Debug> Engine<V> for Recorder {
    fn with(&self, act: &mut dyn FnMut(&mut dyn Port<V>)) {
        act(&mut self.clone());
    }
}

impl<V: fmt::Debug> Port<V> for Recorder {
    fn holds(&self, envelope: &Envelope<'_>) -> bool {
        let item = format!("{}@{}", envelope.key, envelope.version);
        self.held.lock().unwrap().contains(&item)
    }

    fn handle(&mut self, input: Input<'_, Arc<str>, V>) {
        self.said.lock().unwrap().push(words(input));
    }
}

fn words<V: fmt::Debug>(input: Input<'_, Arc<str>, V>) -> String {
    let token = |revision: Option<Revision>| revision.map_or("-".to_owned(), |r| r.to_string());
    match input {
        Input::Opened { epoch: Some(epoch) } => format!("opened {epoch}"),
        Input::Opened { epoch: None } => "opened".to_owned(),
        Input::Page { epoch, revision } => {
            let epoch = epoch.map_or("-".to_owned(), |epoch| epoch.to_string());
            format!("page {epoch} {}", token(revision))
        }
        Input::Item(item) => {
            format!("item {}@{} {}", item.key, item.version, body(item.body))
        }
        Input::PageEnd { next } => format!("page end {}", next.unwrap_or("-")),
        Input::Unmodified => "unmodified".to_owned(),
        Input::Event(event) => {
            let commit = format!("{}<{}", token(event.previous), token(event.revision));
            match event.change {
                Change::Upsert(item) => {
                    format!(
                        "upsert {}@{} {commit} {}",
                        item.key,
                        item.version,
                        body(item.body)
                    )
                }
                Change::Delete(removal) => {
                    format!("delete {} {commit} {:?}", removal.key, removal.last)
                }
            }
        }
        Input::Undecodable { error, .. } => format!("undecodable {error}"),
        Input::BatchEnd { revision } => format!("batch end {revision}"),
        Input::InitialEnd { .. } => "initial end".to_owned(),
        Input::Progress { revision, digest } => match digest {
            Some(digest) => format!("progress {revision} {:x}", digest.0),
            None => format!("progress {revision}"),
        },
        Input::Heartbeat => "heartbeat".to_owned(),
        Input::Hint => "hint".to_owned(),
        Input::Closed => "closed".to_owned(),
        Input::Failed(failure) => format!("failed {failure}"),
    }
}

fn body<V: fmt::Debug>(body: Body<'_, V>) -> String {
    match body {
        Body::Value(value) => format!("{value:?}"),
        Body::Unchanged => "unchanged".to_owned(),
        Body::Undecodable(error) => format!("undecodable: {error}"),
    }
}

/// One answer of a scripted server.
pub(crate) struct Reply {
    pub(crate) bytes: Vec<u8>,
    pub(crate) then: Then,
}

/// What the server does after an answer.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Then {
    Keep,
    Close,
}

/// A server whose answers are a script, one connection after the other.
pub(crate) struct Server {
    connections: mpsc::UnboundedSender<DuplexStream>,
    requests: Arc<Mutex<Vec<String>>>,
    opened: Arc<Mutex<usize>>,
    pipe_bytes: usize,
}

impl Server {
    pub(crate) fn new(script: Vec<Reply>) -> Self {
        Self::with_pipe(script, 64 << 10)
    }

    /// A server behind a pipe that takes only so many bytes at a time.
    pub(crate) fn with_pipe(script: Vec<Reply>, pipe_bytes: usize) -> Self {
        let (connections, mut accepted) = mpsc::unbounded_channel::<DuplexStream>();
        let requests = Arc::new(Mutex::new(Vec::new()));
        let log = requests.clone();
        let script = Arc::new(Mutex::new(VecDeque::from(script)));
        tokio::spawn(async move {
            while let Some(stream) = accepted.recv().await {
                tokio::spawn(serve(stream, script.clone(), log.clone()));
            }
        });
        Self {
            connections,
            requests,
            opened: Arc::default(),
            pipe_bytes,
        }
    }

    pub(crate) fn builder<T>(&self) -> HttpSourceBuilder<T>
    where
        T: DeserializeOwned + Send + Sync + 'static,
    {
        HttpSource::builder("http://server:8080/base", "things").connector(self.pipe())
    }

    pub(crate) fn pipe(&self) -> Pipe {
        Pipe {
            connections: self.connections.clone(),
            opened: self.opened.clone(),
            pipe_bytes: self.pipe_bytes,
        }
    }

    pub(crate) fn source(&self) -> HttpSource<Value> {
        self.builder().build().unwrap()
    }

    /// The targets of the requests so far.
    pub(crate) fn paths(&self) -> Vec<String> {
        let requests = self.requests.lock().unwrap();
        let path = |head: &String| head.split(' ').nth(1).unwrap_or_default().to_owned();
        requests.iter().map(path).collect()
    }

    pub(crate) fn heads(&self) -> Vec<String> {
        self.requests.lock().unwrap().clone()
    }

    pub(crate) fn connections(&self) -> usize {
        *self.opened.lock().unwrap()
    }
}

async fn serve(
    mut stream: DuplexStream,
    script: Arc<Mutex<VecDeque<Reply>>>,
    log: Arc<Mutex<Vec<String>>>,
) {
    while let Some(head) = request_head(&mut stream).await {
        log.lock().unwrap().push(head);
        let reply = script.lock().unwrap().pop_front();
        let Some(reply) = reply else { return };
        // A client may go away whenever it likes.
        let _ = stream.write_all(&reply.bytes).await;
        if reply.then == Then::Close {
            return;
        }
    }
}

/// The head of a request, or `None` when the client has gone.
pub(crate) async fn request_head(stream: &mut (impl AsyncRead + Unpin)) -> Option<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.ok()?);
    }
    String::from_utf8(head).ok()
}

pub(crate) struct Pipe {
    connections: mpsc::UnboundedSender<DuplexStream>,
    opened: Arc<Mutex<usize>>,
    pipe_bytes: usize,
}

impl Connect for Pipe {
    type Stream = DuplexStream;

    async fn connect(&self, _: &Target) -> io::Result<DuplexStream> {
        let (ours, theirs) = duplex(self.pipe_bytes);
        let refused = |_| io::Error::from(io::ErrorKind::ConnectionRefused);
        self.connections.send(theirs).map_err(refused)?;
        *self.opened.lock().unwrap() += 1;
        Ok(ours)
    }
}

/// Hands every connection to the test.
pub(crate) struct Handed(pub(crate) mpsc::UnboundedSender<DuplexStream>);

impl Connect for Handed {
    type Stream = DuplexStream;

    async fn connect(&self, _: &Target) -> io::Result<DuplexStream> {
        let (ours, theirs) = duplex(64 << 10);
        let refused = |_| io::Error::from(io::ErrorKind::ConnectionRefused);
        self.0.send(theirs).map_err(refused)?;
        Ok(ours)
    }
}

const STAMPS: &str = "x-reflet-revision: 12\r\nx-reflet-epoch: e1\r\n";

/// An answer with a length; the connection stays open.
pub(crate) fn answer(status: &str, headers: &str, body: impl AsRef<[u8]>) -> Reply {
    let body = body.as_ref();
    let length = body.len();
    let head = format!("HTTP/1.1 {status}\r\n{STAMPS}{headers}content-length: {length}\r\n\r\n");
    Reply {
        bytes: [head.as_bytes(), body].concat(),
        then: Then::Keep,
    }
}

pub(crate) fn ok(body: impl AsRef<[u8]>) -> Reply {
    answer("200 OK", "content-type: application/json\r\n", body)
}

pub(crate) fn not_modified() -> Reply {
    Reply {
        bytes: format!("HTTP/1.1 304 Not Modified\r\n{STAMPS}\r\n").into_bytes(),
        then: Then::Keep,
    }
}

/// A stream of chunks, with its end.
pub(crate) fn stream<B: AsRef<[u8]>>(chunks: impl IntoIterator<Item = B>) -> Reply {
    let mut reply = cut_stream(chunks);
    reply.bytes.extend_from_slice(b"0\r\n\r\n");
    reply.then = Then::Keep;
    reply
}

/// A stream of chunks that breaks off.
pub(crate) fn cut_stream<B: AsRef<[u8]>>(chunks: impl IntoIterator<Item = B>) -> Reply {
    let mut bytes = stream_head();
    for chunk in chunks {
        let chunk = chunk.as_ref();
        bytes.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
        bytes.extend_from_slice(chunk);
        bytes.extend_from_slice(b"\r\n");
    }
    Reply {
        bytes,
        then: Then::Close,
    }
}

pub(crate) fn stream_head() -> Vec<u8> {
    let head =
        "HTTP/1.1 200 OK\r\ncontent-type: application/x-ndjson\r\ntransfer-encoding: chunked\r\n";
    format!("{head}{STAMPS}\r\n").into_bytes()
}

pub(crate) fn page_request() -> ListRequest {
    ListRequest {
        page: None,
        at_least: None,
        known: None,
        epoch: None,
        limit: 500,
    }
}

pub(crate) fn watch_request() -> WatchRequest {
    WatchRequest {
        from: WatchFrom::Revision(Revision::from(12)),
        epoch: Some(reflet_core::Epoch::new("e1")),
    }
}

/// Lists one page, and says what the engine heard but for signs of life, of which there are as
/// many as the page came in parts.
pub(crate) async fn list(
    source: &HttpSource<impl DeserializeOwned + fmt::Debug + Send + Sync + 'static>,
) -> (Vec<String>, Result<(), Failure>) {
    let recorder = Recorder::default();
    let outcome = source.list(page_request(), &mut recorder.sink()).await;
    (without_heartbeats(recorder.said()), outcome)
}

pub(crate) fn without_heartbeats(mut said: Vec<String>) -> Vec<String> {
    said.retain(|word| word != "heartbeat");
    said
}

/// Watches until the attempt ends, and says what the engine heard.
pub(crate) async fn watch(source: &HttpSource<Value>) -> (Vec<String>, Result<(), Failure>) {
    let recorder = Recorder::default();
    let outcome = source.watch(watch_request(), &mut recorder.sink()).await;
    (recorder.said(), outcome)
}

/// Writes one answer and leaves the connection open.
pub(crate) async fn write(stream: &mut (impl AsyncWrite + Unpin), bytes: &[u8]) {
    stream.write_all(bytes).await.unwrap();
    stream.flush().await.unwrap();
}
