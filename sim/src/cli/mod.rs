//! The command line: what can be asked for, and how it ends.

#[cfg(feature = "driver")]
mod driver;
mod error;
mod level;
mod more;
mod one;
mod sweep;

use std::io::{self, Write};
use std::num::NonZero;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::{panic, thread};

use clap::{Args, Parser, Subcommand};
use reflet_core::probe::Canary;

use error::CliError;
use level::{Level, Subject};

/// The simulator of the Reflet informer: worlds full of faults, and a checker for each promise.
///
/// A run is named by its seed (a number) or by a trace file. The exit status is 0 only if nothing
/// failed: 1 if a promise was broken or a sweep was too weak, 2 for a wrong command line, 130
/// after Ctrl-C.
#[derive(Debug, Parser)]
#[command(name = "reflet-sim", version, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run many seeds, and report what broke and what was not reached.
    ///
    /// One seed in a hundred is run again in this process and in a second one, and the hashes of
    /// what happened must be the same. From 2,000 engine seeds or 200 driver seeds on, all named
    /// situations must be reached. What fails is shrunk, printed, and saved in the current
    /// directory.
    Sweep(SweepArgs),
    /// Run one seed or trace, and shrink it if it breaks a promise.
    Replay(ReplayArgs),
    /// Shrink a run that breaks a promise to a minimal trace.
    Shrink(ShrinkArgs),
    /// Render a run as one page of HTML: who said what, when.
    Show(ShowArgs),
    /// Visit every state of a tiny world: two keys, one transaction, and one of each fault.
    Exhaust(ExhaustArgs),
    /// Plant each known error in turn, and tell which promise caught it after how many seeds.
    Canaries(CanariesArgs),
    /// Visit the museum: bugs that informers are known to have had, each played against Reflet.
    Museum,
    /// Print the hashes of the seeds on standard input, for another process to compare.
    #[command(hide = true)]
    Hashes(HashesArgs),
}

#[derive(Debug, Args)]
struct SweepArgs {
    /// How many seeds
    #[arg(long, value_name = "N")]
    seeds: u64,
    /// The first seed
    #[arg(long, value_name = "S", default_value_t = 0)]
    start: u64,
    /// On how many threads [default: as many as the machine has cores]
    #[arg(long, value_name = "J")]
    jobs: Option<NonZero<usize>>,
    /// The engine alone, or the whole driver over a simulated network
    #[arg(long, value_enum, default_value_t)]
    level: Level,
    /// Go on after a failure, and report all of them
    #[arg(long)]
    keep_going: bool,
    /// How many runs shrinking a failure may take
    #[arg(long, value_name = "N", default_value_t = SHRINK_RUNS)]
    shrink_runs: usize,
    /// Plant a known error in the engine, to see it caught
    #[arg(long, value_name = "NAME", value_parser = level::canary_named)]
    canary: Option<Canary>,
}

#[derive(Debug, Args)]
struct ReplayArgs {
    /// A seed, or a trace file
    run: Run,
    /// The level that the seed belongs to
    #[arg(long, value_enum, default_value_t)]
    level: Level,
    /// Print nothing but the hash of what happened
    #[arg(long)]
    hash: bool,
    /// How many runs shrinking a failure may take
    #[arg(long, value_name = "N", default_value_t = SHRINK_RUNS)]
    shrink_runs: usize,
    /// Plant a known error in the engine, to see it caught
    #[arg(long, value_name = "NAME", value_parser = level::canary_named)]
    canary: Option<Canary>,
}

#[derive(Debug, Args)]
struct ShrinkArgs {
    /// A seed of the engine level, or a trace file
    run: Run,
    /// Where the minimal trace goes [default: named after the run, in the current directory]
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// How many runs it may take
    #[arg(long, value_name = "N", default_value_t = SHRINK_RUNS)]
    shrink_runs: usize,
    /// Plant a known error in the engine, to see it caught
    #[arg(long, value_name = "NAME", value_parser = level::canary_named)]
    canary: Option<Canary>,
}

#[derive(Debug, Args)]
struct ShowArgs {
    /// A seed, or a trace file
    run: Run,
    /// Where the page goes
    #[arg(long, value_name = "FILE")]
    html: PathBuf,
    /// The level that the seed belongs to
    #[arg(long, value_enum, default_value_t)]
    level: Level,
    /// Plant a known error in the engine, to see it caught
    #[arg(long, value_name = "NAME", value_parser = level::canary_named)]
    canary: Option<Canary>,
}

#[derive(Debug, Args)]
struct HashesArgs {
    #[arg(long, value_enum, default_value_t)]
    level: Level,
    /// Plant a known error in the engine, to see it caught
    #[arg(long, value_name = "NAME", value_parser = level::canary_named)]
    canary: Option<Canary>,
}

#[derive(Debug, Args)]
struct ExhaustArgs {
    /// The most states for each kind of source
    #[arg(long, value_name = "N", default_value_t = 5_000_000)]
    states: usize,
    /// Two transactions and any two faults instead: 1.8 million states, about a minute, 1.1 GB
    #[arg(long)]
    large: bool,
}

#[derive(Debug, Args)]
struct CanariesArgs {
    /// Within how many seeds each must be caught
    #[arg(long, value_name = "N", default_value_t = reflet_sim::canaries::SEEDS)]
    seeds: u64,
    /// On how many threads [default: as many as the machine has cores]
    #[arg(long, value_name = "J")]
    jobs: Option<NonZero<usize>>,
}

const SHRINK_RUNS: usize = 4_000;

/// What is to be run.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Run {
    Seed(u64),
    File(PathBuf),
}

impl From<&str> for Run {
    fn from(name: &str) -> Self {
        name.parse()
            .map_or_else(|_| Self::File(name.into()), Self::Seed)
    }
}

impl SweepArgs {
    const fn subject(&self) -> Subject {
        Subject {
            level: self.level,
            canary: self.canary,
        }
    }
}

impl ReplayArgs {
    #[cfg(feature = "driver")]
    const fn subject(&self) -> Subject {
        Subject {
            level: self.level,
            canary: self.canary,
        }
    }
}

/// How a command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Passed,
    Failed,
    Interrupted,
}

impl Verdict {
    const fn passed_if(passed: bool) -> Self {
        if passed { Self::Passed } else { Self::Failed }
    }
}

pub(crate) fn main() -> ExitCode {
    let cli = Cli::parse();
    hush_while_running();
    let mut out = io::stdout().lock();
    let verdict = match &cli.command {
        Command::Sweep(args) => sweep::sweep(args, &mut out),
        Command::Replay(args) => one::replay(args, &mut out),
        Command::Shrink(args) => one::shrink(args, &mut out),
        Command::Show(args) => one::show(args, &mut out),
        Command::Exhaust(args) => more::exhaust(args, &mut out),
        Command::Canaries(args) => more::canaries(args, &mut out),
        Command::Museum => more::museum(&mut out),
        Command::Hashes(args) => sweep::hashes(args, &mut out),
    };
    let flushed = out.flush().map_err(|error| CliError::print(&error));
    match verdict.and_then(|verdict| flushed.map(|()| verdict)) {
        Ok(Verdict::Passed) => ExitCode::SUCCESS,
        Ok(Verdict::Failed) => ExitCode::FAILURE,
        Ok(Verdict::Interrupted) => ExitCode::from(130),
        // Whoever read it has seen enough.
        Err(CliError::ReaderGone) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("reflet-sim: {error}");
            ExitCode::FAILURE
        }
    }
}

static HUSHED: AtomicBool = AtomicBool::new(false);

/// A panic inside a run is a broken promise, which is reported as such. With thousands of runs, a
/// word from each would drown the report.
fn hush_while_running() {
    let loud = panic::take_hook();
    panic::set_hook(Box::new(move |info| {
        if !HUSHED.load(Ordering::Relaxed) {
            loud(info);
        }
    }));
}

/// Does something without a word about panics.
fn hushed<T>(act: impl FnOnce() -> T) -> T {
    HUSHED.store(true, Ordering::Relaxed);
    let done = act();
    HUSHED.store(false, Ordering::Relaxed);
    done
}

/// As many threads as the machine has cores.
fn cores() -> NonZero<usize> {
    thread::available_parallelism().unwrap_or(NonZero::<usize>::MIN)
}
