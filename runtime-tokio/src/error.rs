//! What can go wrong while waiting.

use std::fmt;
use std::sync::Arc;

use reflet_core::Health;

/// Why a wait for the first complete state came to nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(not(feature = "simulated"), non_exhaustive)]
pub enum NotSynced {
    /// The informer, or the handler that was waited for, was stopped before.
    Stopped,
    /// The time was over; the health at that moment says what it was waiting for.
    TimedOut(Box<Health<Arc<str>>>),
}

impl fmt::Display for NotSynced {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let health = match self {
            Self::Stopped => return f.write_str("stopped before it was synced"),
            Self::TimedOut(health) => health,
        };
        f.write_str("not synced in time")?;
        if let Some(reason) = &health.reason {
            write!(f, ": {reason}")?;
        }
        if let Some((_, error)) = &health.last_error {
            write!(f, ", last error: {error}")?;
        }
        Ok(())
    }
}

impl std::error::Error for NotSynced {}
