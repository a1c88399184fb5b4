//! Real sockets that misbehave: what a simulated TCP does not have.
//!
//! A small proxy stands between the real HTTP source and the real server side, both on tokio's own
//! runtime and on loopback. It ends answers at any byte, closes one direction only, resets, stops
//! reading until the server is held up, hands bytes over one by one, and does not let anybody in.
//! What it does to which connection follows from a seed; when that happens in time does not, so
//! nothing here is asserted about time. Whatever comes, all that is shown and told must be true,
//! and once the proxy behaves, the informer has what the server has.
#![cfg(unix)]
// Helpers of tests may fail like tests do.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod answer;
mod answering;
mod connector;
mod follower;
mod plan;
#[path = "../../../runtime-tokio/tests/support/protocol.rs"]
mod protocol;
mod proxy;
mod relay;
mod scenario;
mod server;
mod truth;

use std::collections::BTreeMap;
use std::time::Duration;

use real_reflet::http::{PollTiming, Transport};
use real_tokio::runtime;
use real_tokio::task::JoinSet;

use crate::plan::Fault;
use crate::protocol::Travel;
use crate::scenario::Way;

const SEEDS_AT_ONCE: usize = 8;
const MOST_SEEDS: u64 = 48;

#[test]
fn json_lines_survive_every_fault_of_a_connection() {
    endured(Way::Own(Transport::JsonLines), not_upgraded);
}

#[test]
fn server_sent_events_survive_every_fault_of_a_connection() {
    endured(Way::Own(Transport::ServerSentEvents), not_upgraded);
}

#[test]
fn web_sockets_survive_every_fault_of_a_connection() {
    endured(Way::Own(Transport::WebSocket), not_chunked);
}

#[test]
fn long_polls_survive_every_fault_of_a_connection() {
    let polls = Transport::LongPoll(PollTiming {
        wait: Duration::from_millis(150),
        busy_interval: Duration::from_millis(1),
        idle_interval: Duration::from_millis(5),
    });
    endured(Way::Own(polls), of_polls);
}

#[test]
fn a_mapping_survives_every_fault_of_a_connection_with_json_lines() {
    endured(Way::Mapped(Travel::JsonLines), not_upgraded);
}

#[test]
fn a_mapping_survives_every_fault_of_a_connection_with_server_sent_events() {
    endured(Way::Mapped(Travel::ServerSentEvents), not_upgraded);
}

#[test]
fn a_mapping_survives_every_fault_of_a_connection_with_web_sockets() {
    endured(Way::Mapped(Travel::WebSocket), not_chunked);
}

#[test]
fn a_mapping_survives_every_fault_of_a_connection_with_long_polls() {
    let polls = Travel::LongPoll {
        wait_ms: 150,
        busy_ms: 1,
        idle_ms: 5,
    };
    endured(Way::Mapped(polls), of_polls);
}

fn not_upgraded(fault: &Fault) -> bool {
    !fault.needs_upgrade()
}

fn not_chunked(fault: &Fault) -> bool {
    !fault.needs_chunks()
}

/// The answers to polls have a length: they are neither chunked nor lines.
fn of_polls(fault: &Fault) -> bool {
    not_chunked(fault) && not_upgraded(fault)
}

/// Each fault that can happen must happen in at least one seed. Where the machine has other things to do
/// a connection may be given up before its turn comes, so that it takes a few seeds more.
fn endured(way: Way, can_happen: impl Fn(&Fault) -> bool) {
    let faults: Vec<_> = Fault::ALL.into_iter().filter(can_happen).collect();
    let mut counts: BTreeMap<Fault, u64> = BTreeMap::new();
    for first in (0..MOST_SEEDS).step_by(SEEDS_AT_ONCE) {
        let seeds = (first..MOST_SEEDS).take(SEEDS_AT_ONCE);
        for (fault, count) in at_once(seeds, way) {
            *counts.entry(fault).or_default() += count;
        }
        if faults.iter().all(|fault| counts.contains_key(fault)) {
            return;
        }
    }
    panic!("of {faults:?} there were only {counts:#?}");
}

/// Runs seeds beside each other, and sums up what happened to their connections.
fn at_once(seeds: impl Iterator<Item = u64>, way: Way) -> Vec<(Fault, u64)> {
    let mut runtime = runtime::Builder::new_multi_thread();
    let runtime = runtime.worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let mut scenarios = JoinSet::new();
        for seed in seeds {
            let scenario = real_tokio::spawn(scenario::run(seed, way));
            scenarios.spawn(async move { (seed, scenario.await) });
        }
        let mut happened = Vec::new();
        while let Some(ended) = scenarios.join_next().await {
            let (seed, counts) = ended.unwrap();
            happened.extend(counts.unwrap_or_else(|error| panic!("seed {seed}: {error}")));
        }
        happened
    })
}
