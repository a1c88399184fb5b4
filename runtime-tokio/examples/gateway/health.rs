//! What the gateway says of itself at `/-/health`.
//!
//! Revisions and object counts are those of the table in force, not of the informers: once a
//! revision shows here, every later request obeys it.

use std::time::Duration;

use reflet_core::{Condition, FailureClass, State, Timestamp};
use serde::Serialize;

use super::follow::Report;
use super::table::{Built, Table};

/// The whole of it.
#[derive(Debug, Serialize)]
pub(crate) struct GatewayHealth {
    /// The worst state of all collections. Before the first table all requests are answered 503;
    /// after it none is for want of a configuration.
    status: &'static str,
    /// Whether there is a table in force.
    serving: bool,
    /// How many objects of all collections are quarantined.
    quarantined: usize,
    /// One for each collection.
    collections: Vec<CollectionHealth>,
}

/// One collection.
#[derive(Debug, Serialize)]
struct CollectionHealth {
    name: &'static str,
    /// `syncing`, `live`, `stale` or `stopped`.
    state: &'static str,
    /// For how long that has been so.
    since_ms: u64,
    /// The revision in force.
    revision: Option<String>,
    /// The epoch that the revision belongs to.
    epoch: Option<String>,
    /// How many objects are in force.
    objects: usize,
    /// Why it is not live, or not whole.
    reason: Option<String>,
    /// When the configuration service is asked again, if that is waited for.
    next_attempt_in_ms: Option<u64>,
    /// The last failure, kept after recovery.
    last_error: Option<String>,
    /// How long ago that was.
    last_error_ms_ago: Option<u64>,
    /// Objects whose newest version makes no sense: their last good one is in force.
    quarantined: Vec<Quarantined>,
    /// How many there are, should they be too many to be named.
    quarantined_count: usize,
}

#[derive(Debug, Serialize)]
struct Quarantined {
    key: String,
    error: String,
}

impl GatewayHealth {
    /// Puts together what is in force and what the informers say. The table must have been loaded
    /// before the informers were asked.
    pub(crate) fn of(table: Option<&Table>, reports: &[Report; 3]) -> Self {
        let nothing = [Built::default(), Built::default(), Built::default()];
        let sources = table.map_or(&nothing, |table| &table.sources);
        let worst = reports.iter().map(|report| report.health.state);
        let status = match table {
            // Some informer may be live already.
            None => "syncing",
            Some(_) => worst
                .max_by_key(|state| badness(*state))
                .map_or("live", name),
        };
        let collections = reports.iter().zip(sources);
        Self {
            status,
            serving: table.is_some(),
            quarantined: reports
                .iter()
                .map(|report| report.health.quarantined_count)
                .sum(),
            collections: collections
                .map(|(report, built)| CollectionHealth::of(report, built))
                .collect(),
        }
    }
}

impl CollectionHealth {
    fn of(report: &Report, built: &Built) -> Self {
        let Report {
            health, rewinds, ..
        } = report;
        let ago = |at: Timestamp| millis(report.now.saturating_since(at));
        // Before the first table, and in the moment between an accepted rewind and the table that
        // follows from it, the informer's epoch is not the table's.
        let in_force = built.revision.is_some() && *rewinds == built.epoch;
        let epoch = health.epoch.as_ref().filter(|_| in_force);
        let quarantined = health.quarantined.iter().map(|(key, error)| Quarantined {
            key: key.to_string(),
            error: error.to_string(),
        });
        Self {
            name: report.name,
            state: name(health.state),
            since_ms: ago(health.since),
            revision: built.revision.as_ref().map(ToString::to_string),
            epoch: epoch.map(|epoch| epoch.as_str().to_owned()),
            objects: built.objects,
            reason: health.reason.as_ref().map(reason),
            next_attempt_in_ms: health
                .next_attempt
                .map(|at| millis(at.saturating_since(report.now))),
            last_error: health
                .last_error
                .as_ref()
                .map(|(_, error)| error.to_string()),
            last_error_ms_ago: health.last_error.as_ref().map(|(at, _)| ago(*at)),
            quarantined: quarantined.collect(),
            quarantined_count: health.quarantined_count,
        }
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

fn name(state: State) -> &'static str {
    match state {
        State::Stopped => "stopped",
        State::Syncing => "syncing",
        State::Live => "live",
        State::Stale => "stale",
    }
}

fn badness(state: State) -> u8 {
    match state {
        State::Live => 0,
        State::Stale => 1,
        State::Syncing => 2,
        State::Stopped => 3,
    }
}

/// A condition in a human's words.
fn reason(condition: &Condition) -> String {
    match condition {
        Condition::Starting => "the first list is under way".into(),
        Condition::Restored => {
            "the snapshot's configuration is not confirmed by the configuration service yet".into()
        }
        Condition::Failing(FailureClass::Retryable) => {
            "the configuration service does not answer".into()
        }
        Condition::Failing(class) => format!("the configuration service answers: {class}"),
        Condition::TimedOut(what) => {
            format!("the configuration service did not answer in time: {what}")
        }
        Condition::NewEpochRefused => {
            "the configuration service has a new epoch, which --on-new-epoch refuses".into()
        }
        Condition::OlderThanCache => "the configuration service is behind what is known".into(),
        Condition::Frozen(limit) => format!("the configuration is over a limit: {limit}"),
        Condition::HistoryTooShort => "the configuration service keeps too little history".into(),
        Condition::LossDetected => "events were lost, a verifying list follows".into(),
        Condition::DeadEnd => "the configuration service cannot be followed any further".into(),
        // There may be more of them one day, and all have words of their own.
        other => other.to_string(),
    }
}
