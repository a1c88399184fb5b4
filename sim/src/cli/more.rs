//! What is searched in full, what is known to be wrong, and what was wrong elsewhere.

use std::io::Write;
use std::panic;

use reflet_sim::canaries::hunt_all;
use reflet_sim::exhaust::{Profile, Scope, explore};
use reflet_sim::oracles::panic_message;

use super::error::CliError;
use super::{CanariesArgs, ExhaustArgs, Verdict, cores, hushed};

#[path = "../../tests/museum/exhibits/mod.rs"]
mod exhibits;

pub(crate) fn museum(out: &mut impl Write) -> Result<Verdict, CliError> {
    let (mut shown, mut failed) = (0, 0);
    for (hall, exhibits) in exhibits::HALLS {
        writeln!(out, "{hall}")?;
        for exhibit in *exhibits {
            let exhibits::Exhibit {
                name,
                upstream,
                suffered,
                instead,
                scene,
            } = exhibit;
            shown += 1;
            writeln!(out, "  {}  ({upstream})", name.replace('_', " "))?;
            writeln!(out, "    suffered: {suffered}")?;
            writeln!(out, "    instead:  {instead}")?;
            if let Err(panic) = hushed(|| panic::catch_unwind(scene)) {
                failed += 1;
                writeln!(out, "    BUT HERE: {}", panic_message(&*panic))?;
            }
        }
    }
    writeln!(out, "{shown} exhibits, {failed} failed")?;
    Ok(Verdict::passed_if(failed == 0))
}

pub(crate) fn exhaust(args: &ExhaustArgs, out: &mut impl Write) -> Result<Verdict, CliError> {
    let mut passed = true;
    for profile in Profile::ALL {
        let scope = if args.large {
            Scope::large(profile)
        } else {
            Scope::of(profile)
        };
        let scope = Scope {
            states: args.states,
            ..scope
        };
        let report = hushed(|| explore(&scope));
        let extent = if report.complete {
            "all of them"
        } else {
            "not all"
        };
        writeln!(
            out,
            "{profile:?}: {} states, {extent}; {} transitions, {} steps deep, converges within {:?}",
            report.states, report.transitions, report.depth, report.slowest
        )?;
        passed &= report.complete;
        if let Some(violation) = report.violation {
            writeln!(out, "{} is broken: {}", violation.promise, violation.how)?;
            for step in violation.path {
                writeln!(out, "  {step}")?;
            }
        }
    }
    Ok(Verdict::passed_if(passed))
}

pub(crate) fn canaries(args: &CanariesArgs, out: &mut impl Write) -> Result<Verdict, CliError> {
    writeln!(out, "{:32} {:>5}  caught by", "canary", "seeds")?;
    let found = hushed(|| hunt_all(args.seeds, args.jobs.unwrap_or_else(cores)));
    for row in &found {
        writeln!(out, "{row}")?;
    }
    let escaped = found.iter().filter(|row| row.by.is_none()).count();
    writeln!(out, "{} canaries, {escaped} escaped", found.len())?;
    Ok(Verdict::passed_if(escaped == 0))
}
