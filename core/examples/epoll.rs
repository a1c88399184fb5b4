//! The engine in the event loop of a gateway's worker: one thread, one poller, non-blocking sockets,
//! and two informers.
//!
//! `cargo run -p reflet-core --features wire --example epoll -- 127.0.0.1:8080 routes clusters`

use std::collections::HashMap;
use std::error::Error;
use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::net::SocketAddr;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Instant;

use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};
use reflet_core::cache::{Delta, SubscriberId};
use reflet_core::wire::{Endpoint, Exchange, Next, json};
use reflet_core::{Command, Informer, Timestamp};

/// Values are JSON, and kept as that.
type Json = Arc<str>;

/// A collection that is followed.
struct Following {
    endpoint: Endpoint,
    informer: Informer<Arc<str>, Json>,
    subscriber: SubscriberId,
}

/// An exchange on its way.
struct Connection {
    /// Whose it is.
    following: usize,
    exchange: Exchange,
    socket: TcpStream,
    /// How much of the request has been written.
    written: usize,
}

struct Worker {
    server: SocketAddr,
    poll: Poll,
    following: Vec<Following>,
    connections: HashMap<Token, Connection>,
    last: usize,
    start: Instant,
}

impl Connection {
    /// Writes and reads as much as can be without waiting.
    fn go_on(&mut self, informer: &mut Informer<Arc<str>, Json>, now: Timestamp) -> Next {
        match self.try_go_on(informer, now) {
            Ok(next) => next,
            Err(error) if error.kind() == ErrorKind::WouldBlock => Next::More,
            // The socket says that the connection is not there yet.
            Err(error) if error.kind() == ErrorKind::NotConnected => Next::More,
            Err(error) => self.exchange.failed(informer, now, &error.to_string()),
        }
    }

    fn try_go_on(
        &mut self,
        informer: &mut Informer<Arc<str>, Json>,
        now: Timestamp,
    ) -> io::Result<Next> {
        // Once there is a connection, what came over it is read before how it ended.
        if self.written == 0
            && let Some(error) = self.socket.take_error()?
        {
            return Err(error);
        }
        while let Some(rest @ [_, ..]) = self.exchange.request().get(self.written..) {
            match self.socket.write(rest) {
                Ok(written) => self.written += written,
                // The poller does not say twice that there is something to be read.
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
        }
        let mut buffer = [0; 16 << 10];
        loop {
            let read = self.socket.read(&mut buffer)?;
            let next = match buffer.get(..read) {
                None | Some([]) => self.exchange.closed(informer, now, &json),
                Some(bytes) => self.exchange.read(informer, now, bytes, &json),
            };
            if next != Next::More {
                return Ok(next);
            }
        }
    }
}

impl Worker {
    fn now(&self) -> Timestamp {
        Timestamp::from_nanos(u64::try_from(self.start.elapsed().as_nanos()).unwrap_or(u64::MAX))
    }

    fn follow(&mut self, authority: &str, collection: &str) -> Result<(), Box<dyn Error>> {
        let endpoint = Endpoint::new(authority, collection)?;
        // The hasher of std is seeded by the system's entropy.
        let seed = RandomState::new().build_hasher().finish();
        let mut informer = Informer::new(endpoint.config(), seed, self.now());
        let subscriber = informer.subscribe(None);
        self.following.push(Following {
            endpoint,
            informer,
            subscriber,
        });
        Ok(())
    }

    /// Does what an engine asks for.
    fn execute(&mut self, following: usize, command: &Command) -> io::Result<()> {
        let now = self.now();
        let Some(Following {
            endpoint, informer, ..
        }) = self.following.get_mut(following)
        else {
            return Ok(());
        };
        let Some(mut exchange) = Exchange::new(endpoint, command) else {
            if let Command::Cancel { attempt } = command {
                // A socket that is dropped is closed, and no longer polled.
                self.connections.retain(|_, connection| {
                    connection.following != following || connection.exchange.attempt() != *attempt
                });
            }
            return Ok(());
        };
        let mut socket = match TcpStream::connect(self.server) {
            Ok(socket) => socket,
            Err(error) => {
                let _ = exchange.failed(informer, now, &error.to_string());
                return Ok(());
            }
        };
        self.last += 1;
        let token = Token(self.last);
        let interest = Interest::READABLE | Interest::WRITABLE;
        self.poll
            .registry()
            .register(&mut socket, token, interest)?;
        let connection = Connection {
            following,
            exchange,
            socket,
            written: 0,
        };
        self.connections.insert(token, connection);
        Ok(())
    }

    /// Waits until a socket or an engine wants something.
    fn turn(&mut self, events: &mut Events) -> io::Result<()> {
        let due = |following: &Following| Some(following.informer.poll_timeout()?.at);
        let due = self.following.iter().filter_map(due).min();
        let wait = due.map(|at| at.saturating_since(self.now()));
        match self.poll.poll(events, wait) {
            Err(error) if error.kind() != ErrorKind::Interrupted => return Err(error),
            _ => {}
        }
        let now = self.now();
        for event in events.iter() {
            let Some(connection) = self.connections.get_mut(&event.token()) else {
                continue;
            };
            let Some(following) = self.following.get_mut(connection.following) else {
                continue;
            };
            if connection.go_on(&mut following.informer, now) != Next::More {
                self.connections.remove(&event.token());
            }
        }
        for following in &mut self.following {
            let due = following.informer.poll_timeout();
            if due.is_some_and(|due| due.at <= now) {
                following.informer.handle_timeout(now);
            }
        }
        Ok(())
    }
}

/// Follows collections until `told` has heard enough; it is told which one changed, and how.
pub(crate) fn follow(
    server: SocketAddr,
    collections: &[&str],
    mut told: impl FnMut(usize, Delta<Arc<str>, Json>) -> ControlFlow<()>,
) -> Result<(), Box<dyn Error>> {
    let mut worker = Worker {
        server,
        poll: Poll::new()?,
        following: Vec::new(),
        connections: HashMap::new(),
        last: 0,
        start: Instant::now(),
    };
    for collection in collections {
        worker.follow(&server.to_string(), collection)?;
    }
    let mut events = Events::with_capacity(64);
    loop {
        for at in 0..worker.following.len() {
            while let Some(command) = worker.following[at].informer.poll_command() {
                worker.execute(at, &command)?;
            }
            let Following {
                informer,
                subscriber,
                ..
            } = &mut worker.following[at];
            for delta in informer.deltas(*subscriber) {
                if told(at, delta).is_break() {
                    return Ok(());
                }
            }
        }
        worker.turn(&mut events)?;
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let Some((server, collections)) = arguments.split_first() else {
        return Err("give the server's address and the collections' names".into());
    };
    let collections: Vec<&str> = collections.iter().map(String::as_str).collect();
    follow(server.parse()?, &collections, |at, delta| {
        println!("{}: {delta:?}", collections[at]);
        ControlFlow::Continue(())
    })
}
