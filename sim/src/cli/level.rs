//! The two levels of the simulation, as the sweep sees them.

use std::fmt;

use clap::ValueEnum;
use reflet_core::probe::{Canary, plant};
use reflet_sim::marks;
use reflet_sim::run::{Outcome, run, run_strictly};
use reflet_sim::sweep::{BrokenBy, Ran, Runner};
use reflet_sim::trace::Trace;

/// What is simulated.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Level {
    /// The engine alone, against a model source
    #[default]
    Engine,
    /// The driver, the HTTP source and the server side, over a simulated network
    #[cfg(feature = "driver")]
    Driver,
}

impl Level {
    /// The situations that a sweep must reach.
    pub(crate) const fn marks(self) -> &'static [&'static str] {
        match self {
            Self::Engine => marks::ENGINE,
            #[cfg(feature = "driver")]
            Self::Driver => marks::DRIVER,
        }
    }

    /// From how many seeds on it must.
    pub(crate) const fn enough(self) -> u64 {
        match self {
            Self::Engine => 2_000,
            #[cfg(feature = "driver")]
            Self::Driver => 200,
        }
    }

    /// What to add to a command line for this level.
    pub(crate) const fn flag(self) -> &'static str {
        match self {
            Self::Engine => "",
            #[cfg(feature = "driver")]
            Self::Driver => " --level driver",
        }
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Engine => "engine",
            #[cfg(feature = "driver")]
            Self::Driver => "driver",
        })
    }
}

/// A level, and the error that is planted in its engines.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Subject {
    pub(crate) level: Level,
    pub(crate) canary: Option<Canary>,
}

impl Runner for Subject {
    fn run(&self, seed: u64) -> Ran {
        match self.level {
            Level::Engine => {
                plant(self.canary);
                ran(run(&Trace::generate(seed)))
            }
            #[cfg(feature = "driver")]
            Level::Driver => driven(reflet_sim::net::run_planted(seed, self.canary)),
        }
    }

    fn run_strictly(&self, seed: u64) -> Ran {
        match self.level {
            Level::Engine => {
                plant(self.canary);
                ran(run_strictly(&Trace::generate(seed)))
            }
            #[cfg(feature = "driver")]
            Level::Driver => (|seed| self.run(seed)).run_strictly(seed),
        }
    }
}

/// The known error of this name.
pub(crate) fn canary_named(name: &str) -> Result<Canary, String> {
    let mut all = Canary::ALL.iter().copied();
    all.find(|canary| canary.name() == name)
        .ok_or_else(|| "no such canary; `reflet-sim canaries` names them all".to_owned())
}

fn ran(outcome: Outcome) -> Ran {
    let Outcome {
        hash,
        steps,
        changes,
        violation,
        marks,
        ..
    } = outcome;
    let broken = violation.map(|violation| BrokenBy {
        promise: violation.promise.to_string(),
        message: violation.message,
    });
    Ran {
        hash,
        steps,
        changes,
        broken,
        marks,
    }
}

#[cfg(feature = "driver")]
fn driven(outcome: reflet_sim::net::Outcome) -> Ran {
    let reflet_sim::net::Outcome {
        hash,
        violation,
        marks,
        counts,
        story,
        ..
    } = outcome;
    let broken = violation.map(|violation| BrokenBy {
        promise: violation.promise.to_string(),
        message: format!("after {:?}: {}", violation.at, violation.words),
    });
    // What was observed is what there is of steps.
    Ran {
        hash,
        steps: story.len() as u64,
        changes: counts.commits,
        broken,
        marks,
    }
}
