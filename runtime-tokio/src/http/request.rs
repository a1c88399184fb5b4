//! One request and its answer over HTTP/1.1.
//!
//! No task is spawned: whoever waits for an answer also drives its connection, so dropping that
//! future closes the socket. One idle connection is kept for the next page or poll.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::{Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_TYPE, HOST};
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode};
use http_body_util::Empty;
use hyper::body::{Body as _, Incoming};
use hyper::client::conn::http1;
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use reflet_core::{Epoch, Failure, FailureClass, Revision};
use tokio::time::{Instant, timeout};

use super::connect::{BoxStream, Dial, Target};
use super::failure::{self, transport, with_sources};
use super::gzip::Gunzip;
use super::tls::Tls;
use super::{redirect, secrets};
use crate::probe::reach;
use reflet_core::wire::parts::{Asked, malformed, retryable, shown};

const REVISION: HeaderName = HeaderName::from_static("x-reflet-revision");
const EPOCH: HeaderName = HeaderName::from_static("x-reflet-epoch");

/// How much is taken from a connection before it is handed over.
const READ_BYTES: usize = 64 << 10;
/// How much of a refusal is read for its words, and for how long they are waited for: the status
/// alone already says what to do.
const REFUSAL_BYTES: usize = 8 << 10;
const REFUSAL_WAIT: Duration = Duration::from_secs(2);
/// Servers and the networks between drop idle connections, some without a word.
const IDLE_LIMIT: Duration = Duration::from_secs(20);

/// Sends requests to one server.
pub(super) struct Client {
    pub(super) target: Target,
    pub(super) authority: HeaderValue,
    pub(super) headers: HeaderMap,
    pub(super) dial: Box<dyn Dial>,
    pub(super) tls: Option<Tls>,
    pub(super) connect_timeout: Duration,
    pub(super) max_header_bytes: usize,
    pub(super) redirects: u32,
    /// Whether answers may be compressed.
    pub(super) gzip: bool,
    pub(super) kept: Mutex<Option<(Connection, Instant)>>,
}

impl Client {
    /// Sends a GET, and again to where a redirect within the origin leads.
    pub(super) async fn get(
        &self,
        path: &str,
        accept: &'static str,
    ) -> Result<Answer<'_>, Failure> {
        self.get_with(path, accept, &HeaderMap::new()).await
    }

    /// [`get`](Self::get) with headers that are this request's own.
    pub(super) async fn get_with(
        &self,
        path: &str,
        accept: &'static str,
        own: &HeaderMap,
    ) -> Result<Answer<'_>, Failure> {
        let mut answer = self.ask(path, accept, own).await?;
        for _ in 0..self.redirects {
            let Some(path) = redirect::within(&self.target, answer.status, &answer.headers) else {
                break;
            };
            answer.let_go().await;
            answer = self.ask(&path, accept, own).await?;
        }
        Ok(answer)
    }

    /// Sends a GET and waits for the head of the answer. A kept connection that turns out to be
    /// closed before anything was sent is replaced by a new one. A request that the server may
    /// have seen is not sent again: that would be one more than the engine's pace allows (P7).
    async fn ask(
        &self,
        path: &str,
        accept: &'static str,
        own: &HeaderMap,
    ) -> Result<Answer<'_>, Failure> {
        if let Some(mut kept) = self.take_kept() {
            match kept.send(self.request(path, accept, own)?).await {
                Ok(response) => {
                    reach!("kept connection used again");
                    return Ok(self.answer(response, kept));
                }
                Err(error) if error.is_canceled() => reach!("kept connection found closed"),
                Err(error) => {
                    reach!("kept connection broke under a request");
                    return Err(transport("no answer", &error));
                }
            }
        }
        let mut connection = self.connect().await?;
        let response = connection.send(self.request(path, accept, own)?).await;
        let response = response.map_err(|error| transport("no answer", &error))?;
        Ok(self.answer(response, connection))
    }

    fn answer(&self, mut response: Response<Incoming>, connection: Connection) -> Answer<'_> {
        let upgrade = hyper::upgrade::on(&mut response);
        let (head, body) = response.into_parts();
        let encoding = head.headers.get(CONTENT_ENCODING);
        let packed = self.gzip && encoding.is_some_and(|encoding| encoding == "gzip");
        Answer {
            client: self,
            status: head.status,
            headers: head.headers,
            body,
            gunzip: packed.then(Gunzip::new),
            connection,
            upgrade,
            end: None,
        }
    }

    fn request(
        &self,
        path: &str,
        accept: &'static str,
        own: &HeaderMap,
    ) -> Result<Request<Empty<Bytes>>, Failure> {
        let mut request = Request::get(path)
            .body(Empty::new())
            .map_err(|error| Failure::new(FailureClass::Unexpected, error.to_string()))?;
        let headers = request.headers_mut();
        headers.insert(HOST, self.authority.clone());
        headers.insert(ACCEPT, HeaderValue::from_static(accept));
        if self.gzip {
            headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("gzip"));
        }
        for (name, value) in self.headers.iter().chain(own) {
            headers.append(name, value.clone());
        }
        Ok(request)
    }

    async fn connect(&self) -> Result<Connection, Failure> {
        let Target { host, port, .. } = &self.target;
        let opened = timeout(self.connect_timeout, self.open()).await;
        let stream = match opened {
            Ok(Ok(stream)) => stream,
            Ok(Err((what, error))) => {
                reach!("connection refused");
                let words = with_sources(&error);
                return Err(retryable(&format!("{what} {host}:{port}: {words}")));
            }
            Err(_) => {
                reach!("connecting timed out");
                let wait = self.connect_timeout;
                return Err(retryable(&format!(
                    "connecting to {host}:{port}: nothing within {wait:?}"
                )));
            }
        };
        let (sender, driver) = http1::Builder::new()
            .max_buf_size(self.max_header_bytes)
            .handshake(TokioIo::new(stream))
            .await
            .map_err(|error| transport("no connection", &error))?;
        Ok(Connection {
            sender,
            driver: Some(Box::pin(driver.with_upgrades())),
        })
    }

    async fn open(&self) -> Result<BoxStream, (&'static str, std::io::Error)> {
        let stream = self.dial.dial(&self.target).await;
        let stream = stream.map_err(|error| ("connecting to", error))?;
        match &self.tls {
            None => Ok(stream),
            Some(tls) => {
                let secured = tls.handshake(stream).await;
                secured.map_err(|error| ("TLS with", error))
            }
        }
    }

    /// The failure without what is secret in our own headers.
    pub(super) fn discreet(&self, failure: Failure) -> Failure {
        secrets::hide(failure, &self.headers)
    }

    fn take_kept(&self) -> Option<Connection> {
        let kept = self
            .kept
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        let (connection, since) = kept?;
        let fresh = since.elapsed() < IDLE_LIMIT;
        reach!("kept connection too old", !fresh);
        fresh.then_some(connection)
    }

    fn keep(&self, connection: Connection) {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        *kept = Some((connection, Instant::now()));
    }
}

/// What drives a connection. Boxed, since hyper does not name the type that hands a connection over.
type Driver = Pin<Box<dyn Future<Output = hyper::Result<()>> + Send>>;

/// A connection and what drives it.
pub(super) struct Connection {
    sender: http1::SendRequest<Empty<Bytes>>,
    /// Dropped when it has ended: only then does a request that it had not taken yet hear of it.
    driver: Option<Driver>,
}

impl Connection {
    async fn send(&mut self, request: Request<Empty<Bytes>>) -> hyper::Result<Response<Incoming>> {
        let mut answer = pin!(self.sender.send_request(request));
        poll_fn(|cx| {
            drive(&mut self.driver, cx);
            answer.as_mut().poll(cx)
        })
        .await
    }

    fn drive(&mut self, cx: &mut Context<'_>) {
        drive(&mut self.driver, cx);
    }
}

/// How the driver ended is told to the request or the body that waits for it.
fn drive<D: Future + Unpin>(driver: &mut Option<D>, cx: &mut Context<'_>) {
    if let Some(running) = driver
        && Pin::new(running).poll(cx).is_ready()
    {
        *driver = None;
    }
}

/// The head of an answer, and its body as it comes.
pub(super) struct Answer<'c> {
    client: &'c Client,
    status: StatusCode,
    headers: HeaderMap,
    body: Incoming,
    /// What the body is decompressed by, if it has to be.
    gunzip: Option<Gunzip>,
    connection: Connection,
    /// The connection itself, if the answer is 101.
    upgrade: OnUpgrade,
    end: Option<Result<(), Failure>>,
}

impl Answer<'_> {
    pub(super) fn status(&self) -> StatusCode {
        self.status
    }

    /// The epoch in the head.
    pub(super) fn epoch(&self) -> Result<Option<Epoch>, Failure> {
        Ok(self.text(EPOCH)?.map(Epoch::new))
    }

    /// The collection's revision in the head.
    pub(super) fn revision(&self) -> Result<Option<Revision>, Failure> {
        let Some(text) = self.text(REVISION)? else {
            return Ok(None);
        };
        let revision = Revision::parse(text);
        match revision.compare(&revision) {
            Some(_) => Ok(Some(revision)),
            None => Err(malformed(&format!("{REVISION}: {text:?} is not a decimal"))),
        }
    }

    /// The connection itself, after an answer of 101.
    pub(super) async fn upgraded(&mut self) -> Result<TokioIo<Upgraded>, Failure> {
        let upgraded = poll_fn(|cx| {
            self.connection.drive(cx);
            Pin::new(&mut self.upgrade).poll(cx)
        });
        match upgraded.await {
            Ok(connection) => Ok(TokioIo::new(connection)),
            Err(error) => Err(transport("the connection was not upgraded", &error)),
        }
    }

    /// A header as text.
    pub(super) fn text(&self, name: HeaderName) -> Result<Option<&str>, Failure> {
        let value = self.headers.get(&name).map(HeaderValue::to_str);
        value
            .transpose()
            .map_err(|_| malformed(&format!("the header {name} is not text")))
    }

    /// All values of a header as text.
    pub(super) fn all(&self, name: HeaderName) -> Result<Vec<&str>, Failure> {
        let values = self.headers.get_all(&name).iter().map(HeaderValue::to_str);
        values
            .collect::<Result<_, _>>()
            .map_err(|_| malformed(&format!("the header {name} is not text")))
    }

    /// Whether the body can be what was asked for: its content type, if it has one, contains `kind`.
    pub(super) fn check_content(&self, kind: &str) -> Result<(), Failure> {
        if let Some(encoding) = self.headers.get(CONTENT_ENCODING)
            && encoding != "identity"
            && self.gunzip.is_none()
        {
            return Err(malformed(&format!(
                "the content encoding {encoding:?} was not asked for"
            )));
        }
        let content = self.headers.get(CONTENT_TYPE);
        let fits = |value: &HeaderValue| {
            let bytes = value.as_bytes().to_ascii_lowercase();
            memchr::memmem::find(&bytes, kind.to_ascii_lowercase().as_bytes()).is_some()
        };
        match content {
            Some(value) if !fits(value) => {
                let shown = shown(value.as_bytes());
                Err(malformed(&format!("the content is {shown}, not {kind}")))
            }
            _ => Ok(()),
        }
    }

    /// Everything that has come since, at least one chunk; empty at the end.
    pub(super) async fn read(&mut self) -> Result<Vec<Bytes>, Failure> {
        if self.gunzip.is_some() {
            pause().await;
        }
        let mut chunks = Vec::new();
        let mut bytes = 0;
        poll_fn(|cx| {
            while self.end.is_none() && bytes < READ_BYTES {
                match self.poll_chunk(cx) {
                    Poll::Ready(chunk) => {
                        bytes += chunk.len();
                        if !chunk.is_empty() {
                            chunks.push(chunk);
                        }
                    }
                    Poll::Pending if chunks.is_empty() => return Poll::Pending,
                    Poll::Pending => break,
                }
            }
            Poll::Ready(())
        })
        .await;
        match &self.end {
            Some(Err(failure)) if chunks.is_empty() => Err(failure.clone()),
            _ => Ok(chunks),
        }
    }

    /// The next chunk, decompressed; empty for trailers and at the end.
    fn poll_chunk(&mut self, cx: &mut Context<'_>) -> Poll<Bytes> {
        let Some(mut gunzip) = self.gunzip.take() else {
            return self.poll_body(cx);
        };
        let part = loop {
            match gunzip.pull() {
                Ok(part) if part.is_empty() => {}
                part => break part,
            }
            match self.poll_body(cx) {
                Poll::Pending => {
                    self.gunzip = Some(gunzip);
                    return Poll::Pending;
                }
                Poll::Ready(chunk) => gunzip.push(chunk),
            }
            match &self.end {
                Some(Ok(())) => break gunzip.finish().map(|()| Bytes::new()),
                Some(Err(_)) => break Ok(Bytes::new()),
                None => {}
            }
        };
        self.gunzip = Some(gunzip);
        Poll::Ready(part.unwrap_or_else(|error| {
            self.end = Some(Err(failure::unpacking(&error)));
            Bytes::new()
        }))
    }

    /// The next chunk as it was sent; empty for trailers and at the end.
    fn poll_body(&mut self, cx: &mut Context<'_>) -> Poll<Bytes> {
        self.connection.drive(cx);
        match Pin::new(&mut self.body).poll_frame(cx) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(Some(Ok(frame))) => Poll::Ready(frame.into_data().unwrap_or_default()),
            Poll::Ready(Some(Err(error))) => {
                reach!("answer broke off");
                self.end = Some(Err(transport("the answer broke off", &error)));
                Poll::Ready(Bytes::new())
            }
            Poll::Ready(None) => {
                self.end = Some(Ok(()));
                Poll::Ready(Bytes::new())
            }
        }
    }

    /// The whole body, which may have at most `limit` bytes; `alive` is called whenever a part of
    /// it has come and more is to come: a long answer is no silence. Keeps the connection.
    pub(super) async fn collect(
        mut self,
        limit: usize,
        mut alive: impl FnMut(),
    ) -> Result<Vec<u8>, Failure> {
        let too_long = || malformed(&format!("the answer has more than {limit} bytes"));
        if self.body.size_hint().lower() > limit as u64 {
            return Err(too_long());
        }
        let mut body = Vec::new();
        loop {
            let chunks = self.read().await?;
            if chunks.is_empty() {
                self.finish().await;
                return Ok(body);
            }
            if self.end.is_none() {
                alive();
            }
            for chunk in chunks {
                if chunk.len() > limit - body.len() {
                    return Err(too_long());
                }
                body.extend_from_slice(&chunk);
            }
        }
    }

    /// What a status that was not hoped for means, with the server's words.
    pub(super) async fn refusal(mut self, asked: Asked) -> Failure {
        let words = self.words().await;
        let target = &self.client.target;
        let failure = failure::refusal(target, asked, self.status, &self.headers, &words);
        reach!("told when to come back", failure.retry_after.is_some());
        self.keep_if_read().await;
        failure
    }

    /// Nothing in this answer is wanted but its connection.
    async fn let_go(mut self) {
        self.words().await;
        self.keep_if_read().await;
    }

    /// The beginning of the body.
    async fn words(&mut self) -> Vec<u8> {
        let mut words = Vec::new();
        // Words that do not come, or break off, take nothing from the status.
        let _ = timeout(REFUSAL_WAIT, async {
            while let Ok(chunks) = self.read().await
                && !chunks.is_empty()
                && words.len() < REFUSAL_BYTES
            {
                words.extend(chunks.into_iter().flatten());
            }
        })
        .await;
        words
    }

    async fn keep_if_read(self) {
        if matches!(self.end, Some(Ok(()))) {
            self.finish().await;
        }
    }

    /// Keeps the connection, whose body has been read to its end, if it can be used again.
    pub(super) async fn finish(mut self) {
        poll_fn(|cx| {
            self.connection.drive(cx);
            Poll::Ready(())
        })
        .await;
        if self.connection.driver.is_some() && self.connection.sender.is_ready() {
            self.client.keep(self.connection);
        }
    }
}

/// Lets other tasks have a turn. What is decompressed comes from no socket, which would see to it.
async fn pause() {
    let mut paused = false;
    poll_fn(|cx| {
        if paused {
            return Poll::Ready(());
        }
        paused = true;
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}
