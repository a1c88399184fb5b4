//! P6: unless stopped there is a finite deadline with a reason, and with timeouts as the only
//! input a new attempt starts within a stated bound.

use std::time::Duration;

use reflet_core::{Deadline, Health, State, Timestamp};

use super::{Checked, Promise};

/// What must be there after each call.
///
/// # Errors
///
/// If there is no deadline, or no reason for not being live.
pub fn check_next_step<K: std::fmt::Debug>(
    deadline: Option<Deadline>,
    health: &Health<K>,
) -> Checked {
    Promise::NextStep.require(deadline.is_some(), || {
        format!(
            "no deadline in {:?}, because {:?}",
            health.state, health.reason
        )
    })?;
    let explained = health.state == State::Live || health.reason.is_some();
    Promise::NextStep.require(explained, || format!("{:?} without a reason", health.state))
}

/// Timeouts were the only input since `from`, and at `now` no new attempt has started.
///
/// # Errors
///
/// If that is longer than `bound`.
pub fn check_next_attempt(from: Timestamp, now: Timestamp, bound: Duration) -> Checked {
    let waited = now.saturating_since(from);
    Promise::NextStep.require(waited <= bound, || {
        format!("no new attempt for {waited:?}; the bound is {bound:?}")
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use reflet_core::{Config, Informer};

    use super::*;

    #[test]
    fn fires_without_a_deadline_or_a_reason() {
        let informer: Informer<Arc<str>, u64> =
            Informer::new(Config::default(), 1, Timestamp::ZERO);
        let (deadline, mut health) = (informer.poll_timeout(), informer.health());
        assert_eq!(check_next_step(deadline, &health), Ok(()));
        assert!(check_next_step(None, &health).is_err());
        health.reason = None;
        assert!(check_next_step(deadline, &health).is_err());
    }

    #[test]
    fn fires_when_no_attempt_starts_in_time() {
        let check = |now| {
            check_next_attempt(
                Timestamp::ZERO,
                Timestamp::from_millis(now),
                Duration::from_millis(5),
            )
        };
        assert_eq!(check(5), Ok(()));
        assert!(check(6).is_err());
    }
}
