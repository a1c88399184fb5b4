//! What the simulator sees of the inside: named situations that a run has reached, and errors
//! planted on purpose. Both are nothing at all in any build but the simulator's own.

/// Counts a named situation as reached, if a condition holds.
#[cfg(feature = "simulated")]
macro_rules! reach {
    ($situation:literal) => {
        $crate::probe::count($situation)
    };
    ($situation:literal, $condition:expr) => {
        if $condition {
            $crate::probe::count($situation)
        }
    };
}

/// Counts a named situation as reached, if a condition holds. The condition is checked by the
/// compiler, and never evaluated.
#[cfg(not(feature = "simulated"))]
macro_rules! reach {
    ($situation:literal) => {{}};
    ($situation:literal, $condition:expr) => {
        if false {
            let _: bool = $condition;
        }
    };
}

/// Whether a known error is planted here.
#[cfg(feature = "simulated")]
macro_rules! canary {
    ($name:ident) => {
        $crate::probe::is_planted($crate::probe::Canary::$name)
    };
}

/// Whether a known error is planted here.
#[cfg(not(feature = "simulated"))]
macro_rules! canary {
    ($name:ident) => {
        false
    };
}

#[allow(unused_imports, reason = "not every build has both")]
pub(crate) use {canary, reach};

#[cfg(feature = "simulated")]
mod canaries;
#[cfg(feature = "simulated")]
mod marks;

#[cfg(feature = "simulated")]
pub use canaries::{Canary, is_planted, plant};
#[cfg(feature = "simulated")]
pub use marks::{count, reached, reset};

/// What differs from call to call and from process to process: no product build may see any.
#[cfg(feature = "simulated")]
pub(crate) use canaries::noise;

/// What differs from call to call and from process to process: no product build may see any.
#[cfg(not(feature = "simulated"))]
pub(crate) const fn noise() -> u64 {
    0
}
