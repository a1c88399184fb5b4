//! What to try next, as lines for a shell.

use std::fmt::Write as _;
use std::net::SocketAddr;

use super::app::App;
use super::cli::{Cli, Role};
use super::config_service::SAMPLE_KEY;

/// Who runs where, and what to try with it.
pub(crate) fn tour(cli: &Cli, app: &App) -> String {
    let mut text = String::from("\n");
    let gateway = app
        .gateway()
        .map_or_else(|| cli.gateway.clone(), |address| address.to_string());
    let config = app
        .config()
        .map_or_else(|| cli.config.clone(), |address| address.to_string());
    // Writing to a string cannot fail.
    let _ = match cli.role {
        Role::All | Role::Gateway => writeln!(
            text,
            "The gateway listens on http://{gateway} and follows the configuration service at http://{config}"
        ),
        Role::Config => writeln!(
            text,
            "The configuration service listens on http://{config}; a gateway for it, in another shell:\n\n    \
             cargo run --release --example gateway -- --role gateway --gateway {gateway} --config {config}"
        ),
    };
    let upstreams: Vec<_> = app.upstreams().iter().map(ToString::to_string).collect();
    if !upstreams.is_empty() {
        let _ = writeln!(text, "Sample upstreams: {}", upstreams.join(", "));
    }
    if let (Some(data), false) = (&cli.data, app.has_samples) {
        let _ = writeln!(text, "The objects are those of {}", data.display());
    }
    let samples = app.has_samples || cli.role == Role::Gateway;
    if let (Role::Gateway, true) = (cli.role, samples) {
        let _ = writeln!(text, "With the service's sample objects, try:");
    } else {
        let _ = writeln!(text, "Try:");
    }
    if samples {
        with_samples(&mut text, &gateway);
    }
    with_any(&mut text, &gateway, &config, app.upstreams().first());
    text.push('\n');
    text
}

fn with_samples(text: &mut String, gateway: &str) {
    let key = format!("-H 'x-api-key: {SAMPLE_KEY}'");
    let lines = [
        (
            "a route for everybody",
            format!("curl -i http://{gateway}/public/anything"),
        ),
        (
            "a route for callers with a key: 401",
            format!("curl -i http://{gateway}/hello"),
        ),
        (
            "with a key",
            format!("curl -i {key} http://{gateway}/hello"),
        ),
        (
            "over the limit of 5 a second: 429",
            format!(
                "for i in 1 2 3 4 5 6 7 8; do curl -s -o /dev/null -w '%{{http_code}}\\n' {key} http://{gateway}/hello; done"
            ),
        ),
        (
            "later than the route allows: 504",
            format!("curl -i 'http://{gateway}/public?delay_ms=3000'"),
        ),
    ];
    for (what, line) in lines {
        add(text, what, &line);
    }
}

fn with_any(text: &mut String, gateway: &str, config: &str, upstream: Option<&SocketAddr>) {
    let objects = format!("http://{config}/v1");
    let upstream = upstream.map_or_else(|| "127.0.0.1:9000".to_owned(), ToString::to_string);
    let lines = [
        (
            "a new route, in force at once",
            format!(
                "curl -X PUT -d '{{\"path_prefix\":\"/new\",\"upstream\":\"{upstream}\"}}' {objects}/routes/new"
            ),
        ),
        ("is it?", format!("curl -i http://{gateway}/new")),
        (
            "a route that makes no sense: the last good one stays",
            format!(
                "curl -X PUT -d '{{\"path_prefix\":\"/new\",\"upstream\":\"nowhere\"}}' {objects}/routes/new"
            ),
        ),
        (
            "the gateway says so",
            format!("curl http://{gateway}/-/health"),
        ),
        (
            "take it away",
            format!("curl -X DELETE {objects}/routes/new"),
        ),
        ("all routes", format!("curl {objects}/routes")),
    ];
    for (what, line) in lines {
        add(text, what, &line);
    }
}

fn add(text: &mut String, what: &str, line: &str) {
    let _ = writeln!(text, "\n  # {what}\n  {line}");
}
