//! Whether an older list is a lagging replica, or a source that was set back.

use core::cmp::Ordering;
use core::time::Duration;

use crate::config::OnRewind;
use crate::probe::{canary, reach};
use crate::time::Timestamp;
use crate::token::Revision;

/// Collects the evidence for a rewind of an ordered source that has no epochs.
#[derive(Clone, Debug, Default)]
pub(crate) struct RewindJudge {
    /// The lists below our revision in a row, none of them decreasing.
    pub(super) row: Option<Row>,
}

#[derive(Clone, Debug)]
pub(super) struct Row {
    pub(super) lists: u32,
    pub(super) since: Timestamp,
    pub(super) newest: Revision,
}

impl RewindJudge {
    /// Something at or above our revision was seen: the source was not set back.
    pub(crate) fn clear(&mut self) {
        self.row = None;
    }

    /// Whether a list below our revision was seen of late.
    pub(crate) fn has_evidence(&self) -> bool {
        self.row.is_some()
    }

    /// Takes a complete list below our revision as evidence; true: it is enough.
    pub(crate) fn judge(
        &mut self,
        policy: OnRewind,
        replica_lag: Duration,
        now: Timestamp,
        revision: &Revision,
    ) -> bool {
        let OnRewind::AcceptAfter { lists, span } = policy else {
            return false;
        };
        let row = match self.row.take() {
            Some(row) if revision.compare(&row.newest) != Some(Ordering::Less) => Row {
                lists: row.lists.saturating_add(1),
                newest: revision.clone(),
                ..row
            },
            // The first one, or a step back: several replicas answer in turn.
            first => {
                reach!("evidence of a rewind goes back itself", first.is_some());
                Row {
                    lists: 1,
                    since: now,
                    newest: revision.clone(),
                }
            }
        };
        let enough = canary!(AcceptRewindAtOnce)
            || row.lists >= lists && now.saturating_since(row.since) > span.max(replica_lag);
        self.row = Some(row);
        enough
    }
}
