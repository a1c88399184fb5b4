//! Checkers, each named after its promise.
//!
//! They take plain data and know nothing of how it came about, so both levels of the simulation,
//! and anybody else, can use them. Each has a test that shows it fire.

use std::fmt;

mod p01_converges;
mod p02_no_time_travel;
mod p03_lookups;
mod p03_one_real_state;
mod p04_lossless;
mod p04_partitions;
mod p04_redelivery;
mod p04_truthful_deltas;
mod p05_loss_is_found;
mod p06_next_step;
mod p07_never_hammers;
mod p08_bounded_memory;
mod p09_fences;
mod p09_honest_readiness;
mod p09_read_view;
mod p10_isolation;
mod p11_determinism;
mod p12_harmless;
mod p13_warm_restart;

pub use p01_converges::{Lag, Patience};
pub use p02_no_time_travel::{Revisions, Rewinds, Versions};
pub use p03_lookups::{check_found, check_order};
pub use p03_one_real_state::{Content, same_state};
pub use p04_lossless::{Chronicle, Lossless};
pub use p04_partitions::check_partitions;
pub use p04_redelivery::Redelivery;
pub use p04_truthful_deltas::Fold;
pub use p05_loss_is_found::{Ceiling, Horizon};
pub use p06_next_step::{check_next_attempt, check_next_step};
pub use p07_never_hammers::{Pace, Waits};
pub use p08_bounded_memory::{check_memory, check_notices};
pub use p09_fences::check_fence;
pub use p09_honest_readiness::Readiness;
pub use p09_read_view::{Followed, check_read};
pub use p10_isolation::check_isolation;
pub use p11_determinism::{TraceHash, check_determinism};
pub use p12_harmless::{check_refused, panic_message};
pub use p13_warm_restart::Kept;

/// What Reflet promises.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Promise {
    /// P1: once the source is quiet, the cache equals it within a bound.
    Converges,
    /// P2: revisions and versions never go back.
    NoTimeTravel,
    /// P3: at a complete revision, the cache is what the source was at it.
    OneRealState,
    /// P4: deltas fold, and are true.
    TruthfulDeltas,
    /// P5: a loss is found.
    LossIsFound,
    /// P6: there is always a next step.
    NextStep,
    /// P7: the source is never hammered.
    NeverHammers,
    /// P8: memory is bounded.
    BoundedMemory,
    /// P9: readiness is honest.
    HonestReadiness,
    /// P10: subscribers do not disturb each other.
    Isolation,
    /// P11: the same calls give the same answers.
    Determinism,
    /// P12: hostile input is harmless.
    Harmless,
    /// P13: a restart goes on from a snapshot, and says so.
    WarmRestart,
}

impl Promise {
    /// All of them, in order.
    pub const ALL: [Self; 13] = [
        Self::Converges,
        Self::NoTimeTravel,
        Self::OneRealState,
        Self::TruthfulDeltas,
        Self::LossIsFound,
        Self::NextStep,
        Self::NeverHammers,
        Self::BoundedMemory,
        Self::HonestReadiness,
        Self::Isolation,
        Self::Determinism,
        Self::Harmless,
        Self::WarmRestart,
    ];
}

impl fmt::Display for Promise {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Converges => "P1 converges",
            Self::NoTimeTravel => "P2 no time travel",
            Self::OneRealState => "P3 one real state",
            Self::TruthfulDeltas => "P4 truthful deltas",
            Self::LossIsFound => "P5 loss is found",
            Self::NextStep => "P6 always a next step",
            Self::NeverHammers => "P7 never hammers",
            Self::BoundedMemory => "P8 bounded memory",
            Self::HonestReadiness => "P9 honest readiness",
            Self::Isolation => "P10 isolation",
            Self::Determinism => "P11 determinism",
            Self::Harmless => "P12 hostile input is harmless",
            Self::WarmRestart => "P13 warm restart",
        })
    }
}

/// A promise that was broken, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Broken {
    /// The promise.
    pub promise: Promise,
    /// What was seen.
    pub message: String,
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.promise, self.message)
    }
}

/// What a checker says.
pub type Checked = Result<(), Broken>;

impl Promise {
    /// This promise is broken.
    ///
    /// # Errors
    ///
    /// Always: it is the error.
    pub fn broken<T>(self, message: impl Into<String>) -> Result<T, Broken> {
        Err(Broken {
            promise: self,
            message: message.into(),
        })
    }

    /// This promise is broken unless `holds`.
    ///
    /// # Errors
    ///
    /// If it does not hold.
    pub fn require(self, holds: bool, message: impl FnOnce() -> String) -> Checked {
        if holds {
            Ok(())
        } else {
            self.broken(message())
        }
    }
}
