//! The engine with plain threads and blocking sockets: one thread to each connection, and a channel to
//! the loop that has the informer.
//!
//! `cargo run -p reflet-core --features wire --example threads -- 127.0.0.1:8080 routes`

use std::collections::HashMap;
use std::error::Error;
use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::io::{self, Read as _, Write as _};
use std::net::{Shutdown, TcpStream};
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use reflet_core::cache::Delta;
use reflet_core::wire::{Endpoint, Exchange, Next, json};
use reflet_core::{Command, Informer, Timestamp};

/// Values are JSON, and kept as that.
type Json = Arc<str>;

/// What the thread of a connection says.
enum Said {
    Connected(TcpStream),
    Bytes(Vec<u8>),
    Closed,
    Failed(io::Error),
}

/// An exchange and its socket, which is closed with it: that wakes the thread.
struct Open {
    exchange: Exchange,
    socket: Option<TcpStream>,
}

impl Drop for Open {
    fn drop(&mut self) {
        if let Some(socket) = &self.socket {
            // It may be closed already.
            let _ = socket.shutdown(Shutdown::Both);
        }
    }
}

/// The life of a connection, until nobody listens any more.
fn talk(authority: &str, request: &[u8], say: &dyn Fn(Said) -> bool) -> io::Result<()> {
    let mut socket = TcpStream::connect(authority)?;
    if !say(Said::Connected(socket.try_clone()?)) {
        return Ok(());
    }
    socket.write_all(request)?;
    let mut buffer = [0; 16 << 10];
    loop {
        let read = socket.read(&mut buffer)?;
        let bytes = buffer.get(..read).unwrap_or_default();
        let said = if bytes.is_empty() {
            Said::Closed
        } else {
            Said::Bytes(bytes.to_vec())
        };
        if !say(said) || bytes.is_empty() {
            return Ok(());
        }
    }
}

fn connect(authority: &str, request: &[u8], number: u64, loop_: &SyncSender<(u64, Said)>) {
    let (authority, request, loop_) = (authority.to_owned(), request.to_vec(), loop_.clone());
    thread::spawn(move || {
        let say = |said| loop_.send((number, said)).is_ok();
        if let Err(error) = talk(&authority, &request, &say) {
            say(Said::Failed(error));
        }
    });
}

/// Follows a collection until `told` has heard enough.
pub(crate) fn follow(
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

    // Bounded: a server that is faster than this loop waits.
    let (say, said) = sync_channel(16);
    let mut open: HashMap<u64, Open> = HashMap::new();
    let mut number = 0;
    loop {
        while let Some(command) = routes.poll_command() {
            if let Some(exchange) = Exchange::new(&endpoint, &command) {
                number += 1;
                connect(authority, exchange.request(), number, &say);
                let socket = None;
                open.insert(number, Open { exchange, socket });
            } else if let Command::Cancel { attempt } = command {
                open.retain(|_, open| open.exchange.attempt() != attempt);
            }
        }
        for delta in routes.deltas(subscriber) {
            if told(delta).is_break() {
                return Ok(());
            }
        }
        let deadline = routes.poll_timeout().map(|deadline| deadline.at);
        let wait = deadline.map_or(Duration::MAX, |at| at.saturating_since(now()));
        let said = said.recv_timeout(wait);
        // However much there is to be heard, what is due is done.
        if deadline.is_some_and(|at| at <= now()) {
            routes.handle_timeout(now());
        }
        let Ok((number, said)) = said else {
            continue;
        };
        let Some(Open { exchange, socket }) = open.get_mut(&number) else {
            if let Said::Connected(socket) = said {
                // It was cancelled before it was there.
                let _ = socket.shutdown(Shutdown::Both);
            }
            continue;
        };
        let next = match said {
            Said::Connected(connected) => {
                *socket = Some(connected);
                Next::More
            }
            Said::Bytes(bytes) => exchange.read(&mut routes, now(), &bytes, &json),
            Said::Closed => exchange.closed(&mut routes, now(), &json),
            Said::Failed(error) => exchange.failed(&mut routes, now(), &error.to_string()),
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
    follow(&authority, &collection, |delta| {
        println!("{delta:?}");
        ControlFlow::Continue(())
    })
}
