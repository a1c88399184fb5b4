//! What the simulator sees of the inside: named situations that a run has reached, and errors
//! planted on purpose. Both are nothing at all in any build but the simulator's own.

/// Counts a named situation as reached, if a condition holds.
#[cfg(feature = "simulated")]
macro_rules! reach {
    ($situation:literal) => {
        reflet_core::probe::count($situation)
    };
    ($situation:literal, $condition:expr) => {
        if $condition {
            reflet_core::probe::count($situation)
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
        reflet_core::probe::is_planted(reflet_core::probe::Canary::$name)
    };
}

/// Whether a known error is planted here.
#[cfg(not(feature = "simulated"))]
macro_rules! canary {
    ($name:ident) => {
        false
    };
}

pub(crate) use {canary, reach};
