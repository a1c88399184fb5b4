//! A server in memory that publishes a collection, and informers that follow it.

use std::time::Duration;

use reflet_tokio::Informer;
use reflet_tokio::http::rest::RestSource;
use reflet_tokio::http::{
    Connect, HttpLimits, HttpSource, HttpSourceBuilder, PollTiming, Transport,
};
use reflet_tokio::serve::{
    Change, Collection, CollectionOptions, Precondition, Publish, to_raw_value,
};

use crate::followed::Followed as FollowedBy;
pub(crate) use crate::network::{Network, served};
use crate::protocol::{Travel, mapping};

pub(crate) type Followed = FollowedBy<u64>;

/// The longest event that the informer takes.
pub(crate) const EVENT_BYTES: usize = 64 << 10;
/// The longest quiet of the server.
pub(crate) const HEARTBEAT: Duration = Duration::from_secs(10);

/// A way to follow a collection: our own source, or any other service's that is told about the
/// protocol by a mapping.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    JsonLines,
    ServerSentEvents,
    WebSocket,
    LongPoll,
    MappedJsonLines,
    MappedServerSentEvents,
    MappedWebSocket,
    MappedLongPoll,
}

impl Way {
    /// An informer of numbers, over this network.
    pub(crate) fn follow(self, url: &str, connect: impl Connect, root: Option<&[u8]>) -> Followed {
        let informer = match self.transport() {
            Ok(transport) => {
                let source = HttpSource::builder(url, "things").transport(transport);
                Informer::builder(over(source, connect, root).build().unwrap())
                    .seed(7)
                    .start()
            }
            Err(travel) => {
                let quiet = u64::try_from(HEARTBEAT.as_millis()).unwrap();
                let mapping = mapping("things", travel, quiet);
                let source = RestSource::builder(url, serde_json::from_value(mapping).unwrap());
                Informer::builder(over(source, connect, root).build().unwrap())
                    .seed(7)
                    .start()
            }
        };
        Followed::by(informer)
    }

    /// How our own source has it; `Err`: how a mapping has it.
    fn transport(self) -> Result<Transport, Travel> {
        match self {
            Self::JsonLines => Ok(Transport::JsonLines),
            Self::ServerSentEvents => Ok(Transport::ServerSentEvents),
            Self::WebSocket => Ok(Transport::WebSocket),
            Self::LongPoll => Ok(Transport::LongPoll(PollTiming::default())),
            Self::MappedJsonLines => Err(Travel::JsonLines),
            Self::MappedServerSentEvents => Err(Travel::ServerSentEvents),
            Self::MappedWebSocket => Err(Travel::WebSocket),
            Self::MappedLongPoll => Err(Travel::LongPoll {
                wait_ms: 25_000,
                busy_ms: 50,
                idle_ms: 1_000,
            }),
        }
    }
}

/// What goes for any source of these tests.
fn over<P>(
    builder: HttpSourceBuilder<u64, P>,
    connect: impl Connect,
    root: Option<&[u8]>,
) -> HttpSourceBuilder<u64, P> {
    let limits = HttpLimits {
        line_bytes: EVENT_BYTES,
        ..HttpLimits::default()
    };
    let builder = builder
        .connector(connect)
        .limits(limits)
        .without_platform_roots();
    match root {
        Some(pem) => builder.root_pem(pem),
        None => builder,
    }
}

impl Network {
    pub(crate) fn of(things: &Collection) -> Self {
        let network = Self::default();
        network.serve(things);
        network
    }

    /// From now on this is what new connections find.
    pub(crate) fn serve(&self, things: &Collection) {
        self.listen(Publish::new().collection(things).router());
    }
}

impl Followed {
    /// Waits until it is live and has what `things` has.
    pub(crate) async fn has_all(&self, things: &Collection) {
        self.has(&truth(things)).await;
    }
}

fn truth(things: &Collection) -> Vec<(String, u64)> {
    let objects = things.export().objects.into_iter();
    let mut truth: Vec<_> = objects
        .map(|object| (object.key.to_string(), object.value.get().parse().unwrap()))
        .collect();
    truth.sort();
    truth
}

/// A collection of numbers.
pub(crate) fn things() -> Collection {
    Collection::new("things", options()).unwrap()
}

pub(crate) fn options() -> CollectionOptions {
    let mut options = CollectionOptions::default();
    options.heartbeat_interval = HEARTBEAT;
    options
}

pub(crate) fn put(things: &Collection, key: &str, value: u64) {
    things.transaction(vec![change(key, value)]).unwrap();
}

pub(crate) fn change(key: &str, value: u64) -> Change {
    Change::Put {
        key: key.into(),
        value: to_raw_value(&value).unwrap(),
        precondition: Precondition::None,
    }
}
