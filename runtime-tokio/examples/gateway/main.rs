//! A reverse proxy that knows its configuration only through three informers.
//!
//! One process runs a configuration service, two sample upstreams and the gateway between them
//! (`--role` runs them apart). Routes, rate limits and API keys are objects of the service; the
//! gateway lists and watches them, and swaps its routing table once for each consistent state.
//! When the service is gone, the gateway goes on with its last known good state and says so at
//! `/-/health`.
//!
//! ```text
//! cargo run --release --example gateway
//! ```
//!
//! From here down: `app` starts the parts, `gateway` is the proxy's server, `follow` keeps the
//! routing table (`table`) up to date, and `proxy` is the way of one request.

pub(crate) mod app;
pub(crate) mod cli;
pub(crate) mod config_service;
pub(crate) mod error;
pub(crate) mod follow;
pub(crate) mod gateway;
pub(crate) mod headers;
pub(crate) mod health;
pub(crate) mod limiter;
pub(crate) mod objects;
pub(crate) mod path;
pub(crate) mod proxy;
pub(crate) mod server;
pub(crate) mod store;
pub(crate) mod table;
pub(crate) mod tour;
pub(crate) mod upstream;

use std::process::ExitCode;

use clap::Parser as _;
use tracing_subscriber::EnvFilter;

#[tokio::main]
async fn main() -> ExitCode {
    let cli = cli::Cli::parse()
        .checked()
        .unwrap_or_else(|error| error.exit());
    tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::new(&cli.log))
        .with_writer(std::io::stderr)
        .init();
    match app::run(&cli).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("gateway: {error}");
            ExitCode::FAILURE
        }
    }
}
