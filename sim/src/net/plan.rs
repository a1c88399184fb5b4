//! What a seed stands for: the world that is built, and what goes wrong in it.

use std::time::Duration;

use fastrand::Rng;
use reflet_core::{Config, Limits, Policy, Timing};
use reflet_tokio::http::{PollTiming, Transport};

/// Everything that is decided before the first step.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    pub(super) servers: usize,
    /// For each client node the informers that it runs.
    pub(super) clients: Vec<Vec<InformerPlan>>,
    pub(super) publishing: Publishing,
    pub(super) writing: Writing,
    /// What can go wrong: a random part of all that could.
    pub(super) faults: Vec<Fault>,
    /// The time between two faults, at most.
    pub(super) fault_pause: Duration,
    /// How long things go wrong.
    pub(super) storm: Duration,
    /// What never stops going wrong after that, and neither does the writer. `None`: all heals.
    pub(super) nuisance: Option<Fault>,
}

/// How the servers publish their collection.
#[derive(Clone, Copy, Debug)]
pub(super) struct Publishing {
    /// The longest quiet of a watch; the clients are told the same.
    pub(super) heartbeat: Duration,
    pub(super) bookmark: Duration,
    pub(super) history: usize,
    pub(super) watchers: usize,
    pub(super) buffer_bytes: usize,
    /// How far a replica lags behind the writer, at most.
    pub(super) lag: Duration,
}

/// What the writer does.
#[derive(Clone, Copy, Debug)]
pub(super) struct Writing {
    /// How many keys there are to write.
    pub(super) keys: usize,
    /// The time between two transactions, at most.
    pub(super) pause: Duration,
    /// Whether there are objects that no client can decode.
    pub(super) poison: bool,
    /// Whether some transactions change hundreds of objects.
    pub(super) bursts: bool,
}

/// One informer of a client.
#[derive(Clone, Debug)]
pub(super) struct InformerPlan {
    pub(super) seed: u64,
    pub(super) config: Config,
    pub(super) transport: Transport,
    /// It knows the protocol by a mapping only, as that of any service.
    pub(super) mapped: bool,
    pub(super) connect_timeout: Duration,
    /// How it finds a server among several.
    pub(super) choice: Choice,
    pub(super) subscribers: Vec<Subscriber>,
}

/// How a client picks one of several servers behind a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Choice {
    /// The driver's own connector, and the name's only address.
    Name,
    /// One after the other.
    Turns,
    /// Any.
    Random,
    /// The last one that answered.
    Sticky,
}

/// Somebody who follows an informer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Subscriber {
    /// A stream that is read at once.
    Prompt,
    /// A stream whose reader takes so long over each batch, at most.
    Slow(Duration),
    /// A stream of some of the objects; its filter is changed now and then.
    Filtered,
    /// A stream that is dropped after a few batches and subscribed anew, sometimes while a batch
    /// is being read.
    Fleeting,
    /// A stream whose filter panics at some point.
    PanickingFilter,
    /// A handler.
    Handler,
    /// A handler that panics at every so many-th call.
    PanickingHandler(u32),
}

/// Something that goes wrong for a while.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Fault {
    /// A node hears nobody, and nobody hears it.
    CutOff,
    /// A node hears nobody.
    Deaf,
    /// Nobody hears a node.
    Dumb,
    /// One way between a client and a server.
    OneWay,
    /// Packets are lost, which delays what they carry.
    Loss,
    /// Packets take long.
    Latency,
    /// A server is killed, and comes back with all that it ever showed.
    KillServer,
    /// A client is killed, and comes back knowing nothing.
    KillClient,
    /// A server that accepts connections and requests, and never answers.
    Hang,
    /// A server that stands still, whatever it was doing.
    Pause,
    /// A server that refuses, mostly saying when to come back.
    Refuse,
    /// A server that drains: watches are ended cleanly, new ones refused; then it is started
    /// again.
    Drain,
    /// The history is forgotten.
    Compact,
    /// The collection goes back to an older state, in a new epoch.
    GoBack,
    /// Answers break off after a while.
    CutAnswers,
    /// Answers end early, as if they were complete.
    EndAnswers,
    /// Bytes of answers are replaced.
    Garble,
    /// A server's connections break.
    Reset,
    /// Connections are neither accepted nor refused.
    VanishingConnects,
    /// Somebody asks for a verify.
    Verify,
}

impl Fault {
    /// Those that leave a source of which P1 can be promised, if there is little of them.
    const NUISANCES: [Self; 8] = [
        Self::CutOff,
        Self::Loss,
        Self::Latency,
        Self::KillServer,
        Self::Refuse,
        Self::Drain,
        Self::CutAnswers,
        Self::Reset,
    ];

    pub(super) const ALL: [Self; 20] = [
        Self::CutOff,
        Self::Deaf,
        Self::Dumb,
        Self::OneWay,
        Self::Loss,
        Self::Latency,
        Self::KillServer,
        Self::KillClient,
        Self::Hang,
        Self::Pause,
        Self::Refuse,
        Self::Drain,
        Self::Compact,
        Self::GoBack,
        Self::CutAnswers,
        Self::EndAnswers,
        Self::Garble,
        Self::Reset,
        Self::VanishingConnects,
        Self::Verify,
    ];
}

impl Plan {
    /// The plan of a seed.
    pub(super) fn new(rng: &mut Rng) -> Self {
        let servers = rng.usize(1..=3);
        let publishing = Publishing {
            heartbeat: millis(rng, 500..4_000),
            bookmark: millis(rng, 500..12_000),
            history: one_of(rng, &[4, 20, 200, 10_000]),
            watchers: one_of(rng, &[2, 10_000, 10_000, 10_000]),
            buffer_bytes: one_of(rng, &[200, 64 << 10]),
            lag: millis(rng, 1..3_000),
        };
        let writing = Writing {
            keys: one_of(rng, &[3, 12, 40]),
            pause: millis(rng, 20..1_500),
            poison: rng.u8(0..4) == 0,
            bursts: rng.u8(0..4) == 0,
        };
        // A list must not take longer than it may.
        let pages = if writing.bursts {
            &[20, 500]
        } else {
            &[2, 500]
        };
        let clients = (0..rng.usize(1..=3))
            .map(|_| {
                (0..rng.usize(1..=3))
                    .map(|_| InformerPlan::new(rng, servers, publishing.heartbeat, pages))
                    .collect()
            })
            .collect();
        let share = rng.u8(1..=4);
        let mut faults: Vec<_> = Fault::ALL.into_iter().collect();
        faults.retain(|_| rng.u8(0..4) < share);
        let mut plan = Self {
            servers,
            clients,
            publishing,
            writing,
            faults,
            fault_pause: millis(rng, 500..8_000),
            storm: millis(rng, 15_000..60_000),
            nuisance: None,
        };
        if rng.u8(0..8) == 0 {
            plan.never_rest(one_of(rng, &Fault::NUISANCES));
        }
        plan
    }

    /// The writer and this fault never stop. What P1 asks for is there, but for the fault: history
    /// for longer than a list takes, and patience for slow answers. The bounds are short enough to
    /// be waited for.
    fn never_rest(&mut self, nuisance: Fault) {
        self.nuisance = Some(nuisance);
        self.storm = self.storm.min(Duration::from_secs(15));
        self.clients.truncate(2);
        self.publishing.history = self.publishing.history.max(200);
        self.writing.pause = self.writing.pause.max(Duration::from_secs(1));
        for informer in self.clients.iter_mut().flatten() {
            let second = Duration::from_secs(1);
            let timing = &mut informer.config.timing;
            timing.open_timeout = timing.open_timeout.clamp(second * 2, second * 3);
            timing.page_timeout = timing.page_timeout.max(second * 2);
            timing.list_deadline = second * 10;
            timing.backoff_max = timing.backoff_max.min(second * 2);
            timing.slow_retry = timing.slow_retry.min(second * 2);
            timing.max_retry_after = timing.max_retry_after.min(second * 3);
            informer.connect_timeout = informer.connect_timeout.max(second);
        }
    }
}

impl InformerPlan {
    fn new(rng: &mut Rng, servers: usize, heartbeat: Duration, pages: &[u32]) -> Self {
        let transport = match rng.u8(0..4) {
            0 => Transport::LongPoll(PollTiming {
                wait: one_of(rng, &[Duration::ZERO, heartbeat, heartbeat * 3]),
                busy_interval: millis(rng, 0..100),
                idle_interval: millis(rng, 100..1_000),
            }),
            1 => Transport::ServerSentEvents,
            2 => Transport::WebSocket,
            _ => Transport::JsonLines,
        };
        let choices = if servers == 1 {
            &[Choice::Name, Choice::Sticky][..]
        } else {
            &[Choice::Turns, Choice::Random, Choice::Sticky][..]
        };
        let mut subscribers = vec![Subscriber::Prompt];
        subscribers.extend((0..rng.usize(0..=3)).map(|_| Subscriber::any(rng)));
        let seed = rng.u64(..);
        Self {
            seed,
            config: config(rng, pages),
            transport,
            // Nothing is drawn for it, so that what else a seed means does not depend on it.
            mapped: seed.is_multiple_of(3),
            connect_timeout: millis(rng, 300..5_000),
            choice: one_of(rng, choices),
            subscribers,
        }
    }
}

impl Subscriber {
    fn any(rng: &mut Rng) -> Self {
        match rng.u8(0..8) {
            0..=1 => Self::Slow(millis(rng, 100..8_000)),
            2 => Self::Filtered,
            3 => Self::Fleeting,
            4 => Self::PanickingFilter,
            5..=6 => Self::Handler,
            _ => Self::PanickingHandler(rng.u32(1..30)),
        }
    }
}

/// A configuration that is impatient, so that much happens in little time.
fn config(rng: &mut Rng, pages: &[u32]) -> Config {
    let min_interval = millis(rng, 20..1_000);
    Config {
        timing: Timing {
            open_timeout: millis(rng, 500..8_000),
            page_timeout: millis(rng, 1_000..8_000),
            list_deadline: millis(rng, 5_000..30_000),
            silence: None,
            burst: rng.u32(1..6),
            min_interval,
            page_burst: rng.u32(1..50),
            page_interval: millis(rng, 0..50),
            backoff_min: millis(rng, 20..500),
            backoff_max: millis(rng, 500..8_000),
            slow_retry: millis(rng, 500..8_000),
            max_retry_after: millis(rng, 500..10_000),
            stable_after: millis(rng, 100..5_000),
            poll_interval: Duration::from_secs(1),
            verify_period: match rng.u8(0..6) {
                0..=2 => None,
                3..=4 => Some(millis(rng, 3_000..15_000)),
                // Longer than idle connections are kept.
                _ => Some(millis(rng, 20_500..25_000)),
            },
            verify_min_interval: millis(rng, 500..5_000),
        },
        limits: Limits {
            page_items: one_of(rng, pages),
            retained_bytes: one_of(rng, &[300, 4_000, 1 << 20]),
            ..Limits::default()
        },
        policy: Policy {
            dead_ends: rng.u32(1..4),
            gone_limit: rng.u32(1..4),
            ..Policy::default()
        },
        ..Config::default()
    }
}

/// A time in milliseconds.
pub(super) fn millis(rng: &mut Rng, range: std::ops::Range<u64>) -> Duration {
    Duration::from_millis(rng.u64(range))
}

/// One of several; there must be one.
pub(super) fn one_of<T: Copy>(rng: &mut Rng, options: &[T]) -> T {
    options[rng.usize(..options.len())]
}
