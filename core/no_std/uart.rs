//! An informer on a small device: a loop, an interrupt for each byte that comes over a serial line, and
//! a fixed pool of memory. The other end of the line is a server of Reflet's protocol; `uart.c` stands
//! for the hardware.
//!
//! What is kept is bounded by the engine's limits, far below the pool. At a limit the engine freezes and
//! says so; what it has stays there to be read.

use alloc::boxed::Box;
use alloc::format;
use alloc::string::String;
use alloc::sync::Arc;
use core::sync::atomic::{AtomicBool, AtomicU8, AtomicUsize, Ordering};
use core::time::Duration;

use reflet_core::cache::{Delta, SubscriberId};
use reflet_core::wire::{Endpoint, Exchange, Next, WireLimits, json};
use reflet_core::{Command, Config, Informer, Limits, Notice, Timestamp, Timing};
use spin::Mutex;

const LIMITS: Limits = Limits {
    objects: 100,
    bytes: 16 << 10,
    staged_bytes: 32 << 10,
    key_bytes: 64,
    token_bytes: 128,
    pages: 100,
    page_items: 20,
    index_terms: 0,
    retained_bytes: 16 << 10,
    notices: 16,
    quarantined: 16,
    graves: 0,
};
const WIRE: WireLimits = WireLimits {
    page_bytes: 8 << 10,
    line_bytes: 1 << 10,
    header_bytes: 1 << 10,
};

/// What the interrupt leaves for the loop: one writes, the other reads, and nobody waits.
struct Ring {
    bytes: [AtomicU8; 1 << 10],
    /// How many have been written and read so far.
    written: AtomicUsize,
    read: AtomicUsize,
}

impl Ring {
    const fn new() -> Self {
        Self {
            bytes: [const { AtomicU8::new(0) }; 1 << 10],
            written: AtomicUsize::new(0),
            read: AtomicUsize::new(0),
        }
    }

    fn room(&self) -> usize {
        let written = self.written.load(Ordering::Relaxed);
        self.bytes.len() - written.wrapping_sub(self.read.load(Ordering::Acquire))
    }

    /// False: there is no room.
    fn push(&self, byte: u8) -> bool {
        let written = self.written.load(Ordering::Relaxed);
        let place = self.bytes.get(written % self.bytes.len());
        match place {
            Some(place) if self.room() > 0 => {
                place.store(byte, Ordering::Relaxed);
                self.written
                    .store(written.wrapping_add(1), Ordering::Release);
                true
            }
            _ => false,
        }
    }

    fn pop(&self) -> Option<u8> {
        let read = self.read.load(Ordering::Relaxed);
        if read == self.written.load(Ordering::Acquire) {
            return None;
        }
        let byte = self.bytes.get(read % self.bytes.len())?;
        let byte = byte.load(Ordering::Relaxed);
        self.read.store(read.wrapping_add(1), Ordering::Release);
        Some(byte)
    }
}

static RECEIVED: Ring = Ring::new();
/// A byte came for which there was no room.
static OVERRUN: AtomicBool = AtomicBool::new(false);
/// The line went down.
static DOWN: AtomicBool = AtomicBool::new(false);
/// Only the loop takes it.
static DEVICE: Mutex<Option<Device>> = Mutex::new(None);

/// What goes out, a byte at a time.
#[derive(Default)]
struct Outgoing {
    text: String,
    sent: usize,
}

impl Outgoing {
    fn next(&mut self) -> Option<u8> {
        let byte = self.text.as_bytes().get(self.sent).copied();
        self.sent += 1;
        if byte.is_none() {
            *self = Self::default();
        }
        byte
    }
}

struct Device {
    endpoint: Endpoint,
    routes: Informer<Arc<str>, Box<str>>,
    subscriber: SubscriberId,
    /// There is one line, and so one exchange at a time.
    exchange: Option<Exchange>,
    /// How much of the request has been sent.
    sent: usize,
    /// Which connection the line should be: each exchange has its own.
    line: u32,
    log: Outgoing,
}

impl Device {
    fn new(seed: u64) -> Option<Self> {
        let endpoint = Endpoint::new("server", "routes").ok()?.limits(WIRE);
        let timing = Timing {
            // The server is next door, and nobody else asks it.
            slow_retry: Duration::from_secs(1),
            ..Timing::default()
        };
        let config = Config {
            limits: LIMITS,
            timing,
            ..endpoint.config()
        };
        let mut routes = Informer::new(config, seed, Timestamp::ZERO);
        let subscriber = routes.subscribe(None);
        Some(Self {
            endpoint,
            routes,
            subscriber,
            exchange: None,
            sent: 0,
            line: 0,
            log: Outgoing::default(),
        })
    }

    /// One turn: what came, what time it is, what is wanted, what is new.
    fn turn(&mut self, now: Timestamp) {
        self.receive(now);
        self.routes.handle_timeout(now);
        while let Some(command) = self.routes.poll_command() {
            match (Exchange::new(&self.endpoint, &command), command) {
                (Some(mut exchange), _) if self.exchange.is_some() => {
                    let _ = exchange.failed(&mut self.routes, now, "the line is taken");
                }
                (Some(exchange), _) => {
                    // What is still there of the connection before is nothing to this one.
                    while RECEIVED.pop().is_some() {}
                    DOWN.store(false, Ordering::Relaxed);
                    OVERRUN.store(false, Ordering::Relaxed);
                    (self.exchange, self.sent) = (Some(exchange), 0);
                    self.line += 1;
                }
                (None, Command::Cancel { attempt }) => {
                    self.exchange.take_if(|open| open.attempt() == attempt);
                }
                (None, _) => {}
            }
        }
        for delta in self.routes.deltas(self.subscriber) {
            let line = match delta {
                Delta::Added { key, new } => format!("+{key}={new}\n"),
                Delta::Updated { key, new, .. } => format!("~{key}={new}\n"),
                Delta::Deleted { key, .. } => format!("-{key}\n"),
                _ => continue,
            };
            self.log.text.push_str(&line);
        }
        while let Some(notice) = self.routes.poll_notice() {
            match notice {
                Notice::Frozen { limit } => self.log.text.push_str(&format!("full: {limit:?}\n")),
                Notice::Thawed => self.log.text.push_str("fits again\n"),
                _ => {}
            }
        }
    }

    /// Hands the engine what the interrupts have left.
    fn receive(&mut self, now: Timestamp) {
        let mut buffer = [0; 128];
        loop {
            // Asked first: what is in the ring then is all that came.
            let down = DOWN.load(Ordering::Acquire);
            let mut count = 0;
            for place in &mut buffer {
                let Some(byte) = RECEIVED.pop() else { break };
                *place = byte;
                count += 1;
            }
            let Some(exchange) = &mut self.exchange else {
                return;
            };
            let routes = &mut self.routes;
            let next = match buffer.get(..count) {
                // Nothing that came since can be trusted.
                _ if OVERRUN.swap(false, Ordering::Relaxed) => {
                    exchange.failed(routes, now, "bytes were lost")
                }
                Some(bytes @ [_, ..]) => exchange.read(routes, now, bytes, &json),
                _ if down => exchange.closed(routes, now, &json),
                _ => return,
            };
            if next != Next::More {
                self.exchange = None;
            }
        }
    }
}

/// The interrupt of the receiver. 0: the byte is lost, since the loop is too slow.
#[unsafe(no_mangle)]
pub extern "C" fn uart_received(byte: u8) -> u8 {
    let kept = RECEIVED.push(byte);
    if !kept {
        OVERRUN.store(true, Ordering::Relaxed);
    }
    u8::from(kept)
}

/// The interrupt of the line that went down.
#[unsafe(no_mangle)]
pub extern "C" fn uart_down() {
    DOWN.store(true, Ordering::Release);
}

/// How many bytes the receiver has room for: a sender that respects this loses none.
#[unsafe(no_mangle)]
pub extern "C" fn uart_room() -> usize {
    RECEIVED.room()
}

/// Which connection the line should be; 0: none. Another number than before: dial anew.
#[unsafe(no_mangle)]
pub extern "C" fn uart_line() -> u32 {
    let device = DEVICE.lock();
    device
        .as_ref()
        .filter(|device| device.exchange.is_some())
        .map_or(0, |device| device.line)
}

/// The next byte to send; -1: there is none.
#[unsafe(no_mangle)]
pub extern "C" fn uart_to_send() -> i32 {
    let mut device = DEVICE.lock();
    let byte = device.as_mut().and_then(|device| {
        let request = device.exchange.as_ref()?.request();
        let byte = request.get(device.sent).copied()?;
        device.sent += 1;
        Some(byte)
    });
    byte.map_or(-1, i32::from)
}

/// The next byte of the device's log; -1: there is none.
#[unsafe(no_mangle)]
pub extern "C" fn device_says() -> i32 {
    let mut device = DEVICE.lock();
    let byte = device.as_mut().and_then(|device| device.log.next());
    byte.map_or(-1, i32::from)
}

/// Starts the device; 0: it could not.
#[unsafe(no_mangle)]
pub extern "C" fn device_start(seed: u64) -> u8 {
    let device = Device::new(seed);
    let started = device.is_some();
    *DEVICE.lock() = device;
    u8::from(started)
}

/// One turn of the loop at `now_ms`; returns for how many milliseconds it may sleep.
#[unsafe(no_mangle)]
pub extern "C" fn device_turn(now_ms: u64) -> u64 {
    let mut device = DEVICE.lock();
    let Some(device) = device.as_mut() else {
        return u64::MAX;
    };
    let now = Timestamp::from_nanos(now_ms.saturating_mul(1_000_000));
    device.turn(now);
    let deadline = device.routes.poll_timeout();
    let wait = deadline.map_or(Duration::MAX, |deadline| deadline.at.saturating_since(now));
    u64::try_from(wait.as_millis()).map_or(u64::MAX, |wait| wait.saturating_add(1))
}
