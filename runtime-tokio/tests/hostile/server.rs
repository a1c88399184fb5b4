//! A server that does to each request what it is told, byte by byte.

use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use reflet_tokio::http::{Connect, Target};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream, duplex};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::time::{Instant, sleep};

use crate::world::{EPOCH, World, sane};

/// One step of an answer. After the last one the next request is read.
pub(crate) enum Act {
    Send(Vec<u8>),
    /// One byte at a time, so far apart.
    Trickle(Vec<u8>, Duration),
    /// The nth piece and a pause, for ever, or until a piece is empty.
    Endless(Duration, Box<dyn FnMut(u64) -> Vec<u8> + Send>),
    Wait(Duration),
    /// Never another word, and never an end.
    Silence,
    Close,
    /// As `Close`, but a socket ends by RST.
    Reset,
}

/// A request as the server saw it.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) at: Instant,
    target: String,
    head: String,
}

impl Request {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let mut fields = self.head.lines().filter_map(|line| line.split_once(": "));
        let found = fields.find(|(key, _)| key.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value)
    }

    pub(crate) fn query(&self, name: &str) -> Option<&str> {
        let (_, query) = self.target.split_once('?')?;
        let mut pairs = query.split('&').filter_map(|pair| pair.split_once('='));
        pairs.find(|(key, _)| *key == name).map(|(_, value)| value)
    }

    pub(crate) fn is_watch(&self) -> bool {
        self.query("watch").is_some()
    }

    /// Whether a redirect led here.
    pub(crate) fn is_redirected(&self) -> bool {
        self.query("hop").is_some()
    }

    /// Whether it begins an attempt: pages, polls and redirects go on with one.
    pub(crate) fn is_first(&self) -> bool {
        !self.is_redirected()
            && self.query("continue").is_none()
            && self.query("page").is_none()
            && self.query("wait_ms").is_none_or(|wait| wait == "0")
    }
}

type Behaviour = Arc<dyn Fn(&Request) -> Vec<Act> + Send + Sync>;

/// The server; a clone is the same one.
#[derive(Clone)]
pub(crate) struct Server {
    world: Arc<Mutex<World>>,
    /// `None`: it is sane. Whoever changes it ends all connections.
    behaviour: watch::Sender<Option<Behaviour>>,
    log: Arc<Mutex<Vec<Request>>>,
}

impl Server {
    pub(crate) fn new() -> Self {
        Self {
            world: Arc::default(),
            behaviour: watch::Sender::new(None),
            log: Arc::default(),
        }
    }

    /// The collection.
    pub(crate) fn world(&self) -> std::sync::MutexGuard<'_, World> {
        self.world.lock().unwrap()
    }

    /// Cuts all connections, and answers from now on like this.
    pub(crate) fn turn(&self, behaviour: impl Fn(&Request) -> Vec<Act> + Send + Sync + 'static) {
        self.behaviour.send_replace(Some(Arc::new(behaviour)));
    }

    /// Cuts all connections, and answers as it should from now on.
    pub(crate) fn turn_sane(&self) {
        self.behaviour.send_replace(None);
    }

    /// What a sane server would answer.
    pub(crate) fn sane(&self) -> impl Fn(&Request) -> Vec<Act> + Send + Sync + 'static {
        let world = Arc::clone(&self.world);
        move |request| sane(request, &world)
    }

    pub(crate) fn log(&self) -> Vec<Request> {
        self.log.lock().unwrap().clone()
    }

    async fn serve<S: Ending>(self, mut stream: S) {
        let mut turned = self.behaviour.subscribe();
        let reset = tokio::select! {
            biased;
            _ = turned.changed() => false,
            end = self.talk(&mut stream) => end.unwrap_or(false),
        };
        if reset {
            stream.reset();
        }
    }

    /// True: the connection is to be reset.
    async fn talk(&self, stream: &mut (impl AsyncRead + AsyncWrite + Unpin)) -> io::Result<bool> {
        loop {
            let request = read_request(stream).await?;
            self.log.lock().unwrap().push(request.clone());
            let behaviour = self.behaviour.borrow().clone();
            let acts = match behaviour {
                Some(behaviour) => behaviour(&request),
                None => sane(&request, &self.world),
            };
            for act in acts {
                match act {
                    Act::Close => return Ok(false),
                    Act::Reset => return Ok(true),
                    act => act.play(stream).await?,
                }
            }
        }
    }

    /// Listens on a real socket; its port.
    pub(crate) async fn listen(&self) -> u16 {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let server = self.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(server.clone().serve(stream));
            }
        });
        port
    }
}

impl Act {
    async fn play(self, stream: &mut (impl AsyncWrite + Unpin)) -> io::Result<()> {
        match self {
            Act::Send(bytes) => stream.write_all(&bytes).await,
            Act::Trickle(bytes, pause) => {
                for byte in bytes {
                    stream.write_all(&[byte]).await?;
                    sleep(pause).await;
                }
                Ok(())
            }
            Act::Endless(pause, mut piece) => {
                for n in 0.. {
                    let piece = piece(n);
                    if piece.is_empty() {
                        break;
                    }
                    stream.write_all(&piece).await?;
                    if !pause.is_zero() {
                        sleep(pause).await;
                    }
                }
                Ok(())
            }
            Act::Wait(pause) => {
                sleep(pause).await;
                Ok(())
            }
            Act::Silence | Act::Close | Act::Reset => std::future::pending().await,
        }
    }
}

async fn read_request(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<Request> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await?);
    }
    let head = String::from_utf8(head).unwrap();
    let target = head.split(' ').nth(1).unwrap().to_owned();
    Ok(Request {
        at: Instant::now(),
        target,
        head,
    })
}

/// How a stream ends abruptly.
trait Ending: AsyncRead + AsyncWrite + Unpin + Send + 'static {
    fn reset(self);
}

impl Ending for DuplexStream {
    fn reset(self) {}
}

impl Ending for TcpStream {
    fn reset(self) {
        self.set_zero_linger().unwrap();
    }
}

/// Pipes instead of sockets.
impl Connect for Server {
    type Stream = DuplexStream;

    async fn connect(&self, _: &Target) -> io::Result<DuplexStream> {
        let (ours, theirs) = duplex(64 << 10);
        tokio::spawn(self.clone().serve(theirs));
        Ok(ours)
    }
}

/// An answer with a length.
pub(crate) fn answer(status: &str, headers: &str, body: impl AsRef<[u8]>) -> Vec<u8> {
    let body = body.as_ref();
    let length = body.len();
    let head = format!(
        "HTTP/1.1 {status}\r\nx-reflet-epoch: {EPOCH}\r\n{headers}content-length: {length}\r\n\r\n"
    );
    [head.as_bytes(), body].concat()
}

/// The head of an answer whose body comes in chunks.
pub(crate) fn stream_head() -> Vec<u8> {
    format!("HTTP/1.1 200 OK\r\nx-reflet-epoch: {EPOCH}\r\ntransfer-encoding: chunked\r\n\r\n")
        .into()
}

pub(crate) fn chunk(body: impl AsRef<[u8]>) -> Vec<u8> {
    let body = body.as_ref();
    let head = format!("{:x}\r\n", body.len());
    [head.as_bytes(), body, b"\r\n"].concat()
}

/// A stream of these lines that stays open.
pub(crate) fn lines(lines: impl AsRef<[u8]>) -> Vec<Act> {
    vec![
        Act::Send([stream_head(), chunk(lines)].concat()),
        Act::Endless(Duration::from_secs(5), Box::new(|_| chunk("\n"))),
    ]
}

/// An answer of status 200.
pub(crate) fn ok(body: impl AsRef<[u8]>) -> Vec<Act> {
    vec![Act::Send(answer("200 OK", "", body))]
}
