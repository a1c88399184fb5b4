//! P8: accounted bytes are bounded: live objects within the limit, what is retained within the
//! limit of each subscriber.

use reflet_core::{Health, Limits};

use super::{Checked, Promise};

fn bounded(what: &str, is: usize, limit: usize) -> Checked {
    Promise::BoundedMemory.require(is <= limit, || format!("{is} {what}; the limit is {limit}"))
}

/// Checks what health accounts for. What was kept for subscribers that have `left` is given back
/// little by little.
///
/// # Errors
///
/// If something is over its limit.
pub fn check_memory<K>(health: &Health<K>, bytes: usize, left: usize, limits: &Limits) -> Checked {
    bounded("objects", health.objects, limits.objects)?;
    bounded("bytes of objects", bytes, limits.bytes)?;
    bounded(
        "quarantined keys in health",
        health.quarantined.len(),
        limits.quarantined,
    )?;
    for subscriber in &health.subscribers {
        bounded(
            "bytes retained for one subscriber",
            subscriber.retained_bytes,
            limits.retained_bytes,
        )?;
    }
    let all = limits
        .retained_bytes
        .saturating_mul(health.subscribers.len() + left);
    bounded(
        "bytes retained for all subscribers",
        health.retained_bytes,
        all,
    )
}

/// Checks how many notices waited to be polled; one more tells how many were lost.
///
/// # Errors
///
/// If they were more than the limit.
pub fn check_notices(waited: usize, limits: &Limits) -> Checked {
    bounded("notices waited", waited, limits.notices.saturating_add(1))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use reflet_core::{Config, Informer, Timestamp};

    use super::*;

    #[test]
    fn fires_over_each_limit() {
        let mut informer: Informer<Arc<str>, u64> =
            Informer::new(Config::default(), 1, Timestamp::ZERO);
        informer.subscribe(None);
        let (health, limits) = (informer.health(), Limits::default());
        assert_eq!(check_memory(&health, 0, 0, &limits), Ok(()));
        assert_eq!(check_notices(limits.notices + 1, &limits), Ok(()));
        let mut broken = health.clone();
        broken.objects = limits.objects + 1;
        assert!(check_memory(&broken, 0, 0, &limits).is_err());
        assert!(check_memory(&health, limits.bytes + 1, 0, &limits).is_err());
        assert!(check_notices(limits.notices + 2, &limits).is_err());
        let mut broken = health.clone();
        broken.subscribers[0].retained_bytes = limits.retained_bytes + 1;
        assert!(check_memory(&broken, 0, 0, &limits).is_err());
        let mut broken = health;
        broken.retained_bytes = limits.retained_bytes + 1;
        assert_eq!(check_memory(&broken, 0, 1, &limits), Ok(()));
        assert!(check_memory(&broken, 0, 0, &limits).is_err());
    }
}
