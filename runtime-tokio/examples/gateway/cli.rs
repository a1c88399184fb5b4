//! The command line.

use std::path::PathBuf;

use clap::error::ErrorKind;
use clap::{CommandFactory as _, Parser, ValueEnum};
use tracing_subscriber::EnvFilter;

/// A reverse proxy that is configured while it runs, and goes on with its last known good
/// configuration when the configuration service is gone.
#[derive(Clone, Debug, Parser)]
#[command(name = "gateway", version)]
pub(crate) struct Cli {
    /// What to run in this process
    #[arg(long, value_enum, default_value = "all")]
    pub(crate) role: Role,

    /// Where the gateway listens; port 0 takes any free one
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8080", value_parser = address)]
    pub(crate) gateway: String,

    /// Where the configuration service listens, or, for the role `gateway`, where it is found
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8081", value_parser = address)]
    pub(crate) config: String,

    /// Where the sample upstreams of the roles `all` and `config` listen
    #[arg(
        long,
        value_name = "ADDR,ADDR",
        value_delimiter = ',',
        default_value = "127.0.0.1:9000,127.0.0.1:9001",
        value_parser = address
    )]
    pub(crate) upstreams: Vec<String>,

    /// How the gateway follows the configuration service
    #[arg(long, value_enum, default_value = "jsonl")]
    pub(crate) transport: Transport,

    /// Keep the configuration in FILE; FILE.head beside it tells a restored backup from the newest
    /// state, so back up FILE alone
    #[arg(long, value_name = "FILE")]
    pub(crate) data: Option<PathBuf>,

    /// Start without the sample objects
    #[arg(long)]
    pub(crate) no_samples: bool,

    /// What the gateway does when the configuration service comes back with a history that does
    /// not continue the one it knows
    #[arg(long, value_enum, default_value = "accept")]
    pub(crate) on_new_epoch: OnNewEpoch,

    /// Keep what the gateway knows in FILE.routes, FILE.rate-limits and FILE.api-keys, and serve that
    /// at once after a restart, even if the configuration service is gone
    #[arg(long, value_name = "FILE")]
    pub(crate) snapshot: Option<PathBuf>,

    /// What to log, like `info` or `warn,reflet_tokio=debug`
    #[arg(long, value_name = "FILTER", default_value = "info", value_parser = filter)]
    pub(crate) log: String,
}

impl Cli {
    /// The options as they are, if they go together: one that the role has no use for would promise
    /// what nobody keeps.
    ///
    /// # Errors
    /// They do not go together, in words for whoever typed them.
    pub(crate) fn checked(self) -> Result<Self, clap::Error> {
        let wrong = |kind, words| Err(Self::command().error(kind, words));
        if self.role == Role::Gateway {
            if self.data.is_some() || self.no_samples {
                let words = "--data and --no-samples are for a configuration service, which the \
                             role gateway does not run";
                return wrong(ErrorKind::ArgumentConflict, words);
            }
            if self.config.ends_with(":0") {
                let words = "--config says where the configuration service is found, which cannot \
                             be port 0";
                return wrong(ErrorKind::ValueValidation, words);
            }
        }
        if self.role == Role::Config && self.snapshot.is_some() {
            let words = "--snapshot is for a gateway, which the role config does not run";
            return wrong(ErrorKind::ArgumentConflict, words);
        }
        Ok(self)
    }
}

/// What to run in one process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Role {
    /// The configuration service, the sample upstreams and the gateway
    All,
    /// The configuration service and the sample upstreams
    Config,
    /// The gateway
    Gateway,
}

/// How a gateway follows a collection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Transport {
    /// One long answer, a line for each event
    Jsonl,
    /// One answer for each event or few
    LongPoll,
    /// One long answer of server-sent events
    Sse,
    /// A WebSocket, a message for each event
    Websocket,
}

/// What a gateway does about a new epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum OnNewEpoch {
    /// Take the new state, whatever it is
    Accept,
    /// Keep the last known good state, and say so in the health
    Refuse,
}

fn address(text: &str) -> Result<String, String> {
    let parts = text.rsplit_once(':');
    match parts.map(|(host, port)| (host, port.parse::<u16>())) {
        Some((host, Ok(_))) if is_host(host) => Ok(text.to_owned()),
        _ => Err("an address is HOST:PORT, like 127.0.0.1:8080".into()),
    }
}

/// Whether this is a name or an IP address, and no piece of a URL. Only in brackets are there colons.
fn is_host(text: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
    match text
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'))
    {
        Some(address) => address.parse::<std::net::Ipv6Addr>().is_ok(),
        None => !text.is_empty() && text.bytes().all(plain),
    }
}

fn filter(text: &str) -> Result<String, String> {
    EnvFilter::try_new(text)
        .map(|_| text.to_owned())
        .map_err(|error| error.to_string())
}
