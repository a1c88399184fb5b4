//! Starts the parts that a role asks for, and ends them in order.

use std::io::Write as _;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::TcpListener;

use super::cli::{Cli, Role};
use super::config_service::{ConfigService, RunningConfigService};
use super::error::StartError;
use super::gateway::{Gateway, GatewayOptions};
use super::server::{Listens, Server, bind};
use super::tour::tour;
use super::upstream;

/// How long requests in flight may take once the process is told to end.
const GRACE: Duration = Duration::from_secs(5);

const GATEWAY: Listens = Listens {
    what: "gateway",
    option: "--gateway",
};
const CONFIG: Listens = Listens {
    what: "configuration service",
    option: "--config",
};
const UPSTREAM: Listens = Listens {
    what: "sample upstream",
    option: "--upstreams",
};

/// Runs until the process is told to end.
pub(crate) async fn run(cli: &Cli) -> Result<(), StartError> {
    let mut signals = Signals::install()?;
    let app = App::start(cli).await?;
    // Whoever closed our output does not want to read it.
    let _ = std::io::stdout().write_all(tour(cli, &app).as_bytes());
    signals.next().await;
    tracing::info!("ending; once more to end at once");
    tokio::select! {
        () = app.shutdown() => {}
        () = signals.next() => {}
    }
    Ok(())
}

/// The parts that run in this process.
pub(crate) struct App {
    gateway: Option<Gateway>,
    config: Option<RunningConfigService>,
    upstreams: Vec<Server>,
    /// Whether the sample objects were written.
    pub(crate) has_samples: bool,
}

impl App {
    /// Starts what the role asks for. Nothing is written before all addresses are ours.
    pub(crate) async fn start(cli: &Cli) -> Result<Self, StartError> {
        let (with_config, with_gateway) = match cli.role {
            Role::All => (true, true),
            Role::Config => (true, false),
            Role::Gateway => (false, true),
        };
        let mut app = Self {
            gateway: None,
            config: None,
            upstreams: Vec::new(),
            has_samples: false,
        };
        let gateway = match with_gateway {
            true => Some(bind(GATEWAY, &cli.gateway).await?),
            false => None,
        };
        let mut config_address = cli.config.clone();
        if with_config {
            let listener = bind(CONFIG, &cli.config).await?;
            app.start_config(cli, listener).await?;
            if let Some(config) = &app.config {
                config_address = config.address().to_string();
            }
        }
        if let Some(listener) = gateway {
            let options = GatewayOptions {
                config: config_address,
                transport: cli.transport,
                on_new_epoch: cli.on_new_epoch,
                snapshot: cli.snapshot.clone(),
            };
            app.gateway = Some(Gateway::start(listener, &options)?);
        }
        Ok(app)
    }

    async fn start_config(&mut self, cli: &Cli, listener: TcpListener) -> Result<(), StartError> {
        for address in &cli.upstreams {
            let upstream = bind(UPSTREAM, address).await?;
            self.upstreams.push(upstream::start(upstream)?);
        }
        let service = ConfigService::open(cli.data.as_ref())?;
        if service.is_fresh() && !cli.no_samples {
            service.add_samples(&self.upstreams())?;
            self.has_samples = true;
        }
        self.config = Some(service.serve(listener)?);
        Ok(())
    }

    /// Where the gateway listens, if it runs here.
    pub(crate) fn gateway(&self) -> Option<SocketAddr> {
        self.gateway.as_ref().map(Gateway::address)
    }

    /// Where the configuration service listens, if it runs here.
    pub(crate) fn config(&self) -> Option<SocketAddr> {
        self.config.as_ref().map(RunningConfigService::address)
    }

    /// Where the sample upstreams listen that run here.
    pub(crate) fn upstreams(&self) -> Vec<SocketAddr> {
        self.upstreams.iter().map(Server::address).collect()
    }

    /// Ends the gateway first, whose last requests need the rest.
    pub(crate) async fn shutdown(self) {
        if let Some(gateway) = self.gateway {
            gateway.shutdown(GRACE).await;
        }
        if let Some(config) = self.config {
            config.shutdown(GRACE).await;
        }
        for upstream in self.upstreams {
            upstream.shutdown(Duration::ZERO).await;
        }
    }
}

/// What tells the process to end.
struct Signals {
    #[cfg(unix)]
    interrupt: tokio::signal::unix::Signal,
    #[cfg(unix)]
    terminate: tokio::signal::unix::Signal,
}

#[cfg(unix)]
impl Signals {
    fn install() -> Result<Self, StartError> {
        use tokio::signal::unix::{SignalKind, signal};
        let system = |error: std::io::Error| StartError::System(error.to_string());
        Ok(Self {
            interrupt: signal(SignalKind::interrupt()).map_err(system)?,
            terminate: signal(SignalKind::terminate()).map_err(system)?,
        })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

#[cfg(not(unix))]
impl Signals {
    fn install() -> Result<Self, StartError> {
        Ok(Self {})
    }

    async fn next(&mut self) {
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending().await
        }
    }
}
