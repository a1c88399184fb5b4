//! What is going to happen to a connection, and the account of what did.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use fastrand::Rng;
use real_tokio::sync::watch;

/// Everything that the proxy can do to a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Fault {
    /// An answer was cut in its head.
    MidHead,
    /// An answer was cut in a body of known length.
    MidBody,
    /// An answer was cut in the size of a chunk.
    MidChunkSize,
    /// An answer was cut in a line, and so in a chunk.
    MidLine,
    /// A connection was cut after its upgrade.
    MidFrames,
    /// An answer was closed as HTTP wants it, but in a line.
    CleanEndInMidLine,
    /// Both directions were closed.
    Eof,
    /// The direction to the client was closed, and the other one stayed open.
    HalfClose,
    /// The client's connection was reset.
    Reset,
    /// Nothing was read any more, until the client left.
    Stall,
    /// Nothing was read until the server could not write; then all of it was.
    StallAndGo,
    /// The server could not write.
    BackPressure,
    /// An answer came a few bytes at a time.
    Dribble,
    /// What the server wrote one by one came together.
    Coalesce,
    /// The server saw the end of a request before all of it was there.
    RequestCut,
    /// The direction to the server was closed after a whole request.
    RequestHalfClose,
    /// A request came a few bytes at a time.
    RequestDribble,
    /// A client was refused.
    Refused,
    /// A client was not accepted until it left.
    NotAccepted,
}

impl Fault {
    pub(crate) const ALL: [Self; 19] = [
        Self::MidHead,
        Self::MidBody,
        Self::MidChunkSize,
        Self::MidLine,
        Self::MidFrames,
        Self::CleanEndInMidLine,
        Self::Eof,
        Self::HalfClose,
        Self::Reset,
        Self::Stall,
        Self::StallAndGo,
        Self::BackPressure,
        Self::Dribble,
        Self::Coalesce,
        Self::RequestCut,
        Self::RequestHalfClose,
        Self::RequestDribble,
        Self::Refused,
        Self::NotAccepted,
    ];

    /// Whether it takes a connection from the client, as against only making it worse.
    fn is_end(self) -> bool {
        match self {
            Self::CleanEndInMidLine
            | Self::Eof
            | Self::HalfClose
            | Self::Reset
            | Self::Stall
            | Self::RequestCut
            | Self::RequestHalfClose
            | Self::Refused
            | Self::NotAccepted => true,
            // The first five tell where an end was, not that there was another one.
            Self::MidHead
            | Self::MidBody
            | Self::MidChunkSize
            | Self::MidLine
            | Self::MidFrames
            | Self::StallAndGo
            | Self::BackPressure
            | Self::Dribble
            | Self::Coalesce
            | Self::RequestDribble => false,
        }
    }

    /// Whether it can only happen to an answer without a length.
    pub(crate) fn needs_chunks(self) -> bool {
        matches!(
            self,
            Self::MidChunkSize | Self::MidLine | Self::CleanEndInMidLine
        )
    }

    /// Whether it can only happen to a connection that is upgraded.
    pub(crate) fn needs_upgrade(self) -> bool {
        self == Self::MidFrames
    }
}

/// Counts what has happened. Clones share the account.
#[derive(Clone, Default)]
pub(crate) struct Account {
    counts: Arc<Mutex<BTreeMap<Fault, u64>>>,
    /// How many connections the client has opened, and the number of the newest of those that it
    /// left without having heard anything.
    opened: Arc<AtomicU64>,
    unheard: Arc<AtomicU64>,
    changes: watch::Sender<u64>,
}

impl Account {
    pub(crate) fn happened(&self, fault: Fault) {
        *self.counts.lock().unwrap().entry(fault).or_default() += 1;
        self.changes.send_modify(|changes| *changes += 1);
    }

    pub(crate) fn counts(&self) -> BTreeMap<Fault, u64> {
        self.counts.lock().unwrap().clone()
    }

    /// How many connections came to a bad end.
    pub(crate) fn spoilt(&self) -> u64 {
        let counts = self.counts.lock().unwrap();
        let ends = counts.iter().filter(|(fault, _)| fault.is_end());
        ends.map(|(_, count)| count).sum()
    }

    fn of(&self, fault: Fault) -> u64 {
        let counts = self.counts.lock().unwrap();
        counts.get(&fault).copied().unwrap_or(0)
    }

    /// The client has opened a connection: its number.
    pub(crate) fn opens(&self) -> u64 {
        self.opened.fetch_add(1, Ordering::AcqRel) + 1
    }

    /// The client has left this connection without having heard anything.
    pub(crate) fn left_unheard(&self, number: u64) {
        self.unheard.fetch_max(number, Ordering::AcqRel);
        self.changes.send_modify(|changes| *changes += 1);
    }

    /// Waits until this happens once more.
    pub(crate) async fn again(&self, fault: Fault) {
        let count = self.of(fault);
        self.until(|| self.of(fault) > count).await;
    }

    /// Waits until the client has opened another connection and has left it without having heard
    /// anything.
    pub(crate) async fn unheard(&self) {
        let before = self.opened.load(Ordering::Acquire);
        self.until(|| self.unheard.load(Ordering::Acquire) > before)
            .await;
    }

    async fn until(&self, condition: impl Fn() -> bool) {
        let mut changes = self.changes.subscribe();
        // The channel cannot close: this account holds a sender.
        let _ = changes.wait_for(|_| condition()).await;
    }
}

/// How a client is let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Door {
    Open,
    Refuse,
    DoNotAccept,
}

/// How an answer's bytes are handed over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Manner {
    AsTheyCome,
    /// So many at a time.
    Dribble(usize),
    /// At least so many at a time, unless the answer is over.
    Coalesce(usize),
}

/// Where an answer is cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Where {
    Anywhere,
    MidHead,
    MidBody,
    MidChunkSize,
    MidLine,
    MidFrames,
}

/// How it goes on after the cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    Eof,
    HalfClose,
    Reset,
    Stall,
    StallAndGo,
    /// As HTTP wants it.
    Clean,
}

/// After so many bytes that are in such a place, this happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Cut {
    pub(crate) place: Where,
    pub(crate) after: usize,
    pub(crate) ending: Ending,
}

/// How a client's requests are handed over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Requests {
    AsTheyCome,
    Dribble(usize),
    /// The direction is closed after so many bytes.
    CutAfter(usize),
    /// The direction is closed after so many requests.
    CloseAfter(usize),
}

/// All that is going to happen to one connection. It always comes to an end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Plan {
    pub(crate) door: Door,
    pub(crate) requests: Requests,
    pub(crate) manner: Manner,
    pub(crate) cut: Cut,
}

impl Plan {
    /// The plan of a connection, by its number.
    pub(crate) fn new(seed: u64, number: u64) -> Self {
        let rng = &mut Rng::with_seed(seed << 32 | number);
        Self {
            door: match rng.u8(..12) {
                0 => Door::Refuse,
                1 => Door::DoNotAccept,
                _ => Door::Open,
            },
            requests: match rng.u8(..12) {
                0 => Requests::CutAfter(rng.usize(1..60)),
                1 => Requests::CloseAfter(rng.usize(1..4)),
                2 | 3 => Requests::Dribble(rng.usize(1..8)),
                _ => Requests::AsTheyCome,
            },
            manner: match rng.u8(..6) {
                0 => Manner::Dribble(rng.usize(1..64)),
                1 => Manner::Coalesce(rng.usize(2_000..20_000)),
                _ => Manner::AsTheyCome,
            },
            cut: Cut::new(rng),
        }
    }
}

impl Cut {
    fn new(rng: &mut Rng) -> Self {
        let place = *rng
            .choice(&[
                Where::Anywhere,
                Where::MidHead,
                Where::MidBody,
                Where::MidChunkSize,
                Where::MidLine,
                Where::MidFrames,
            ])
            .unwrap();
        let reach = match place {
            Where::Anywhere | Where::MidLine | Where::MidFrames => 30_000,
            Where::MidHead => 600,
            Where::MidBody => 20_000,
            Where::MidChunkSize => 30,
        };
        let most = rng.usize(2..reach);
        let ending = *rng
            .choice(&[
                Ending::Eof,
                Ending::HalfClose,
                Ending::Reset,
                Ending::Stall,
                Ending::StallAndGo,
                Ending::Clean,
            ])
            .unwrap();
        Self {
            // Only a line can be cut while HTTP is content.
            place: match ending {
                Ending::Clean => Where::MidLine,
                _ => place,
            },
            // More often soon than late.
            after: rng.usize(1..=most),
            ending,
        }
    }
}
