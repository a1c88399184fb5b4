//! One seed of the driver level: replayed, and told for the viewer.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io::Write;

use reflet_core::probe::Canary;
use reflet_sim::story::{Kind, Story};
use reflet_sim::sweep::Runner;

use super::error::CliError;
use super::one::{AGAIN, canary_flag};
use super::{ReplayArgs, Run, Verdict, hushed};

pub(crate) fn replay(args: &ReplayArgs, out: &mut impl Write) -> Result<Verdict, CliError> {
    let Run::Seed(seed) = args.run else {
        return Err(CliError::OnlySeeds);
    };
    if args.hash {
        let ran = hushed(|| args.subject().run(seed));
        writeln!(out, "{:016x}", ran.hash)?;
        return Ok(Verdict::passed_if(ran.broken.is_none()));
    }
    let ran = hushed(|| args.subject().run_strictly(seed));
    writeln!(
        out,
        "driver seed {seed}: {} observations, {} commits, {} situations reached, hash {:016x}",
        ran.steps,
        ran.changes,
        ran.marks.len(),
        ran.hash
    )?;
    let Some(broken) = ran.broken else {
        writeln!(out, "no promise broken")?;
        return Ok(Verdict::Passed);
    };
    writeln!(out, "{} is broken {}", broken.promise, broken.message)?;
    let canary = canary_flag(args.canary);
    writeln!(
        out,
        "look at it:  {AGAIN} show {seed} --level driver{canary} --html reflet-driver-seed-{seed}.html"
    )?;
    Ok(Verdict::Failed)
}

/// The story of a driver seed, and the promise that it breaks.
pub(crate) fn story(seed: u64, canary: Option<Canary>) -> (Story, Option<String>) {
    let outcome = hushed(|| reflet_sim::net::run_planted(seed, canary));
    let lines: Vec<Line<'_>> = outcome.story.iter().map(|line| Line::parse(line)).collect();
    let mut story = Story::new("");
    story.fact("simulated", format_args!("{:?}", outcome.simulated));
    story.fact("counts", format_args!("{:?}", outcome.counts));
    // The world first, then servers and informers as they are numbered.
    let names: BTreeSet<_> = lines.iter().map(|line| line.lane).collect();
    let lanes: BTreeMap<_, _> = names
        .into_iter()
        .map(|name| (name, story.lane(name)))
        .collect();
    let (mut step, mut now) = (0, 0);
    for line in &lines {
        step += usize::from(line.at != now);
        now = line.at;
        story.at(step, now);
        let Some(lane) = lanes.get(&line.lane) else {
            continue;
        };
        match line.broken {
            Some(promise) => story.violation(*lane, promise, line.words),
            None => story.say(*lane, line.kind, line.words, String::new),
        };
    }
    let Some(violation) = outcome.violation else {
        return (story, None);
    };
    let promise = violation.promise.to_string();
    // A panic of the whole run is told by nobody in it.
    if !lines.iter().any(|line| line.broken.is_some()) {
        let lane = story.lane("outside");
        story.violation(lane, &promise, violation.words);
    }
    (story, Some(promise))
}

/// One observation.
struct Line<'a> {
    at: u64,
    lane: Lane<'a>,
    kind: Kind,
    /// The promise that is broken.
    broken: Option<&'a str>,
    words: &'a str,
}

/// Whose observation it is, in the order of the lanes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Lane<'a> {
    World,
    Network,
    Server(&'a str),
    /// An informer, with all that follow it.
    Informer(&'a str),
}

impl fmt::Display for Lane<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::World => f.write_str("source"),
            Self::Network => f.write_str("network"),
            Self::Server(number) => write!(f, "server {number}"),
            Self::Informer(name) => write!(f, "informer {name}"),
        }
    }
}

impl<'a> Line<'a> {
    /// Takes a line apart: the time, then whose words these are. What is unknown is the world's.
    fn parse(line: &'a str) -> Self {
        let line = line.trim_start();
        let (at, words) = line.split_once(' ').unwrap_or(("", line));
        let at = at.parse().unwrap_or(0);
        let (first, rest) = words.split_once(' ').unwrap_or((words, ""));
        let said = |lane, kind, words| Self {
            at,
            lane,
            kind,
            broken: None,
            words,
        };
        match first {
            "BROKEN" => {
                let (promise, words) = rest.split_once(": ").unwrap_or((rest, ""));
                let broken = Some(promise);
                Self {
                    at,
                    lane: Lane::World,
                    kind: Kind::Violation,
                    broken,
                    words,
                }
            }
            "fault" => said(Lane::Network, Kind::Fault, rest),
            "healed" => said(Lane::Network, Kind::Notice, words),
            "server" => {
                let (number, words) = rest.split_once(' ').unwrap_or((rest, ""));
                said(Lane::Server(number), Kind::Normal, words)
            }
            name if name.starts_with('c') && name.contains('.') => {
                let (informer, follower) = name.split_once('/').unwrap_or((name, ""));
                let kind = if follower.is_empty() {
                    Kind::Notice
                } else {
                    Kind::Normal
                };
                // The follower's number stays with its words.
                let words = if follower.is_empty() {
                    rest
                } else {
                    &words[informer.len() + 1..]
                };
                said(Lane::Informer(informer), kind, words)
            }
            _ => said(Lane::World, Kind::Normal, words),
        }
    }
}
