//! What the simulator sees of the inside: named situations that a run has reached. Nothing at all
//! in any build but the simulator's own.

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

pub(crate) use reach;
