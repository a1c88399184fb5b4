//! One run: replayed, shrunk, shown.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use reflet_core::probe::{Canary, plant};
use reflet_sim::html;
use reflet_sim::run::{Outcome, Violation, run_strictly, tell};
use reflet_sim::simplify::{Minimal, minimize};
use reflet_sim::trace::{Setup, Trace};
use reflet_sim::world::Shape;

#[cfg(feature = "driver")]
use super::driver;
use super::error::CliError;
use super::level::Level;
use super::{ReplayArgs, Run, ShowArgs, ShrinkArgs, Verdict, hushed};

/// How to start this program again.
pub(crate) const AGAIN: &str = "cargo run --release -p reflet-sim --";

impl Run {
    /// The trace that it is.
    fn trace(&self) -> Result<Trace, CliError> {
        match self {
            Self::Seed(seed) => Ok(Trace::generate(*seed)),
            Self::File(path) => {
                let bytes = fs::read(path).map_err(CliError::read(path))?;
                Trace::from_bytes(&bytes).map_err(|error| CliError::NotATrace(path.clone(), error))
            }
        }
    }

    fn name(&self) -> String {
        match self {
            Self::Seed(seed) => format!("seed {seed}"),
            Self::File(path) => path.display().to_string(),
        }
    }

    /// A file name for its minimal trace.
    fn minimal_name(&self) -> PathBuf {
        match self {
            Self::Seed(seed) => format!("reflet-seed-{seed}.trace").into(),
            Self::File(path) => {
                let stem = path.file_stem().unwrap_or_default().to_string_lossy();
                format!("{stem}-minimal.trace").into()
            }
        }
    }
}

pub(crate) fn replay(args: &ReplayArgs, out: &mut impl Write) -> Result<Verdict, CliError> {
    match args.level {
        Level::Engine => replay_engine(args, out),
        #[cfg(feature = "driver")]
        Level::Driver => driver::replay(args, out),
    }
}

fn replay_engine(args: &ReplayArgs, out: &mut impl Write) -> Result<Verdict, CliError> {
    let trace = args.run.trace()?;
    plant(args.canary);
    if args.hash {
        let outcome = reflet_sim::run::run(&trace);
        writeln!(out, "{:016x}", outcome.hash)?;
        return Ok(Verdict::passed_if(outcome.violation.is_none()));
    }
    let Outcome {
        hash,
        steps,
        changes,
        violation,
        marks,
        ..
    } = run_strictly(&trace);
    let name = args.run.name();
    writeln!(
        out,
        "{name}: {steps} steps, {changes} source changes, {} situations reached, hash {hash:016x}",
        marks.len()
    )?;
    let Some(violation) = violation else {
        writeln!(out, "no promise broken")?;
        return Ok(Verdict::Passed);
    };
    writeln!(
        out,
        "{} is broken at step {}: {}",
        violation.promise, violation.step, violation.message
    )?;
    let how = Shrinking {
        runs: args.shrink_runs,
        file: None,
        canary: args.canary,
    };
    report_minimal(&args.run, &trace, &violation, &how, out)?;
    Ok(Verdict::Failed)
}

pub(crate) fn shrink(args: &ShrinkArgs, out: &mut impl Write) -> Result<Verdict, CliError> {
    let trace = args.run.trace()?;
    plant(args.canary);
    let violation = hushed(|| run_strictly(&trace))
        .violation
        .ok_or(CliError::NothingBroken)?;
    let how = Shrinking {
        runs: args.shrink_runs,
        file: args.output.as_deref(),
        canary: args.canary,
    };
    report_minimal(&args.run, &trace, &violation, &how, out)?;
    Ok(Verdict::Passed)
}

/// Reports a seed of the engine level that a sweep found.
pub(crate) fn report_seed(
    seed: u64,
    runs: usize,
    canary: Option<Canary>,
    out: &mut impl Write,
) -> Result<(), CliError> {
    let trace = Trace::generate(seed);
    plant(canary);
    let how = Shrinking {
        runs,
        file: None,
        canary,
    };
    match hushed(|| run_strictly(&trace)).violation {
        Some(violation) => report_minimal(&Run::Seed(seed), &trace, &violation, &how, out),
        // Two processes differed, or a panic of the simulator itself.
        None => Ok(()),
    }
}

/// How far to shrink, and where to.
struct Shrinking<'a> {
    runs: usize,
    file: Option<&'a Path>,
    canary: Option<Canary>,
}

/// What to add to a command line for this planted error.
pub(crate) fn canary_flag(canary: Option<Canary>) -> String {
    canary.map_or(String::new(), |canary| {
        format!(" --canary {}", canary.name())
    })
}

/// Shrinks, prints the minimal trace, and saves it.
fn report_minimal(
    run: &Run,
    trace: &Trace,
    violation: &Violation,
    how: &Shrinking<'_>,
    out: &mut impl Write,
) -> Result<(), CliError> {
    let Minimal {
        trace: found,
        violation,
        runs,
        minimal,
    } = hushed(|| minimize(trace, violation, how.runs));
    let default = run.minimal_name();
    let file = how.file.unwrap_or(&default);
    let canary = canary_flag(how.canary);
    fs::write(file, found.to_bytes()).map_err(CliError::write(file))?;

    let (before, after) = (trace.steps.len(), found.steps.len());
    let rest = if minimal {
        "nothing more can go"
    } else {
        "more may go with more runs"
    };
    writeln!(
        out,
        "shrunk from {before} to {after} steps in {runs} runs; {rest}:"
    )?;
    print_setup(&found.setup, out)?;
    for (i, step) in found.steps.iter().enumerate() {
        writeln!(out, "  {i:>4}  {step}")?;
        if i == violation.step {
            writeln!(
                out,
                "        ^ {}: {}",
                violation.promise, violation.message
            )?;
        }
    }
    if violation.step >= after {
        writeln!(out, "   end  {}: {}", violation.promise, violation.message)?;
    }
    let page = file.with_extension("html");
    let (file, page) = (file.display(), page.display());
    writeln!(out, "saved as {file}")?;
    writeln!(out, "replay it:   {AGAIN} replay {file}{canary}")?;
    writeln!(
        out,
        "look at it:  {AGAIN} show {file}{canary} --html {page}"
    )?;
    Ok(())
}

fn print_setup(setup: &Setup, out: &mut impl Write) -> Result<(), CliError> {
    let Setup {
        shape,
        keys,
        initial,
        replicas,
        seed,
        tuning,
        lazy,
        subscribers,
        ending,
    } = setup;
    let (feed, habits) = (shape.feed, habits(shape).join(", "));
    writeln!(
        out,
        "  a {feed:?} source with {keys} keys, {initial} at first, {replicas} replicas; {habits}"
    )?;
    writeln!(out, "  an engine with seed {seed}, lazy {lazy}, {tuning:?}")?;
    writeln!(
        out,
        "  subscribers {subscribers:?}; after the steps: {ending:?}"
    )?;
    Ok(())
}

/// What is special about a source.
fn habits(shape: &Shape) -> Vec<&'static str> {
    let Shape {
        feed: _,
        fuzzy,
        opaque,
        batch_ends,
        predecessors,
        digests,
        versions_ordered,
        commit_revisions,
        heartbeat,
        epochs,
        uids,
        terse,
        careless,
        patient,
        gone_inside,
    } = *shape;
    let habits = [
        (fuzzy, "fuzzy"),
        (opaque, "opaque"),
        (batch_ends, "batch ends"),
        (predecessors, "predecessors"),
        (digests, "digests"),
        (versions_ordered, "versions ordered"),
        (commit_revisions, "commit revisions"),
        (heartbeat, "heartbeat"),
        (epochs, "epochs"),
        (uids, "uids"),
        (terse, "terse"),
        (careless, "careless"),
        (patient, "patient"),
        (gone_inside, "gone inside"),
    ];
    habits
        .into_iter()
        .filter_map(|(has, habit)| has.then_some(habit))
        .collect()
}

pub(crate) fn show(args: &ShowArgs, out: &mut impl Write) -> Result<Verdict, CliError> {
    let (mut story, broken) = match args.level {
        Level::Engine => {
            let trace = args.run.trace()?;
            plant(args.canary);
            let (outcome, story) = hushed(|| tell(&trace));
            (
                story,
                outcome
                    .violation
                    .map(|violation| violation.promise.to_string()),
            )
        }
        #[cfg(feature = "driver")]
        Level::Driver => match args.run {
            Run::Seed(seed) => driver::story(seed, args.canary),
            Run::File(_) => return Err(CliError::OnlySeeds),
        },
    };
    story.retitle(format_args!(
        "Reflet, {} level, {}",
        args.level,
        args.run.name()
    ));
    fs::write(&args.html, html::page(&story)).map_err(CliError::write(&args.html))?;
    let broken = broken.map_or("no promise broken".to_owned(), |promise| {
        format!("breaks {promise}")
    });
    writeln!(
        out,
        "{}: {} moments, {broken}",
        args.html.display(),
        story.moments().len()
    )?;
    Ok(Verdict::Passed)
}
