//! The engine on smol: one task follows, and each exchange is a task of its own, which is cancelled by
//! being dropped.
//!
//! `cargo run -p reflet-core --features wire --example smol -- 127.0.0.1:8080 routes`

use std::collections::HashMap;
use std::error::Error;
use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::io;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Instant;

use reflet_core::cache::Delta;
use reflet_core::wire::{Endpoint, Exchange, Next, json};
use reflet_core::{Command, Informer, Timestamp};
use smol::channel::{Sender, bounded};
use smol::future::FutureExt as _;
use smol::io::{AsyncReadExt as _, AsyncWriteExt as _};
use smol::net::TcpStream;
use smol::{Task, Timer};

/// Values are JSON, and kept as that.
type Json = Arc<str>;

/// What the task of an exchange says: bytes; none: the connection was closed.
type Said = io::Result<Vec<u8>>;

/// The life of a connection, until nobody listens any more.
async fn talk(authority: &str, request: &[u8], say: &Say) -> io::Result<()> {
    let mut socket = TcpStream::connect(authority).await?;
    socket.write_all(request).await?;
    let mut buffer = vec![0; 16 << 10];
    loop {
        let read = socket.read(&mut buffer).await?;
        let bytes = buffer.get(..read).unwrap_or_default();
        if !say.say(Ok(bytes.to_vec())).await || bytes.is_empty() {
            return Ok(());
        }
    }
}

/// Where the task of an exchange says what comes.
struct Say {
    number: u64,
    to: Sender<(u64, Said)>,
}

impl Say {
    /// False: nobody listens any more.
    async fn say(&self, said: Said) -> bool {
        self.to.send((self.number, said)).await.is_ok()
    }
}

fn connect(authority: &str, request: &[u8], say: Say) -> Task<()> {
    let (authority, request) = (authority.to_owned(), request.to_vec());
    smol::spawn(async move {
        if let Err(error) = talk(&authority, &request, &say).await {
            say.say(Err(error)).await;
        }
    })
}

/// Follows a collection until `told` has heard enough.
pub(crate) async fn follow(
    authority: &str,
    collection: &str,
    mut told: impl FnMut(Delta<Arc<str>, Json>) -> ControlFlow<()>,
) -> Result<(), Box<dyn Error>> {
    let endpoint = Endpoint::new(authority, collection)?;
    let start = Instant::now();
    let now =
        || Timestamp::from_nanos(u64::try_from(start.elapsed().as_nanos()).unwrap_or(u64::MAX));
    // The hasher of std is seeded by the system's entropy.
    let seed = RandomState::new().build_hasher().finish();
    let mut routes: Informer<Arc<str>, Json> = Informer::new(endpoint.config(), seed, now());
    let subscriber = routes.subscribe(None);

    // Bounded: a server that is faster than this task waits.
    let (say, said) = bounded(16);
    let mut open: HashMap<u64, (Exchange, Task<()>)> = HashMap::new();
    let mut number = 0;
    loop {
        while let Some(command) = routes.poll_command() {
            if let Some(exchange) = Exchange::new(&endpoint, &command) {
                number += 1;
                let to = say.clone();
                let task = connect(authority, exchange.request(), Say { number, to });
                open.insert(number, (exchange, task));
            } else if let Command::Cancel { attempt } = command {
                open.retain(|_, (exchange, _)| exchange.attempt() != attempt);
            }
        }
        for delta in routes.deltas(subscriber) {
            if told(delta).is_break() {
                return Ok(());
            }
        }
        let deadline = routes.poll_timeout().map(|deadline| deadline.at);
        let timer = match deadline {
            Some(at) => Timer::after(at.saturating_since(now())),
            None => Timer::never(),
        };
        let heard = async { said.recv().await.ok() };
        let due = async {
            timer.await;
            None
        };
        let heard = heard.or(due).await;
        // However much there is to be heard, what is due is done.
        if deadline.is_some_and(|at| at <= now()) {
            routes.handle_timeout(now());
        }
        let Some((number, said)) = heard else {
            continue;
        };
        let Some((exchange, _)) = open.get_mut(&number) else {
            continue;
        };
        let next = match said {
            Ok(bytes) if bytes.is_empty() => exchange.closed(&mut routes, now(), &json),
            Ok(bytes) => exchange.read(&mut routes, now(), &bytes, &json),
            Err(error) => exchange.failed(&mut routes, now(), &error.to_string()),
        };
        if next != Next::More {
            open.remove(&number);
        }
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let (Some(authority), Some(collection)) = (arguments.next(), arguments.next()) else {
        return Err("give the server's host:port and a collection's name".into());
    };
    smol::block_on(follow(&authority, &collection, |delta| {
        println!("{delta:?}");
        ControlFlow::Continue(())
    }))
}
