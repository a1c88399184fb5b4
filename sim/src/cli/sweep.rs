//! The sweep, with a progress bar, and a second process that must see the same.

use std::io::{self, BufRead, Write};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};
use reflet_sim::oracles::check_determinism;
use reflet_sim::sweep::{BrokenBy, Failure, Plan, Progress, Report, Runner, sweep as run_sweep};

use super::error::CliError;
use super::level::{Level, Subject};
use super::{HashesArgs, SweepArgs, Verdict, cores, hushed, one};

/// So many failures are shrunk; of the others there is a line.
const SHRUNK: usize = 3;
/// So many missing situations are named under the progress bar.
const NAMED: usize = 3;

pub(crate) fn sweep(args: &SweepArgs, out: &mut impl Write) -> Result<Verdict, CliError> {
    let plan = Plan {
        start: args.start,
        seeds: args.seeds,
        jobs: args.jobs.unwrap_or_else(cores),
        keep_going: args.keep_going,
        wanted: args.level.marks(),
    };
    let progress = Arc::new(Progress::default());
    let interrupted = stop_on_ctrl_c(&progress)?;
    let mut report = thread::scope(|scope| {
        scope.spawn(|| show_progress(&plan, &progress));
        hushed(|| run_sweep(&plan, &progress, &args.subject()))
    })
    .map_err(|error| CliError::start(&error))?;
    let interrupted = interrupted.load(Ordering::Relaxed);
    let compared = if interrupted { 0 } else { report.hashes.len() };
    if !interrupted {
        report.failures.extend(second_process(
            args.subject(),
            &report.hashes,
            plan.jobs.get(),
        )?);
    }
    print_report(args, &plan, &report, compared, out)?;
    let passed = report.failures.is_empty() && !is_too_weak(args, &report);
    if interrupted {
        writeln!(
            out,
            "interrupted after {} of {} seeds",
            report.seeds, args.seeds
        )?;
        return Ok(Verdict::Interrupted);
    }
    Ok(Verdict::passed_if(passed))
}

/// Whether the sweep was long enough to reach everything, and did not.
fn is_too_weak(args: &SweepArgs, report: &Report) -> bool {
    report.seeds >= args.level.enough() && !report.marks_missing.is_empty()
}

/// The first Ctrl-C ends the sweep, the second one the program.
fn stop_on_ctrl_c(progress: &Arc<Progress>) -> Result<Arc<AtomicBool>, CliError> {
    let interrupted = Arc::new(AtomicBool::new(false));
    let (flag, progress) = (Arc::clone(&interrupted), Arc::clone(progress));
    ctrlc::set_handler(move || {
        progress.stop();
        if flag.swap(true, Ordering::Relaxed) {
            std::process::exit(130);
        }
        eprintln!("\nfinishing the seeds under way; Ctrl-C once more to leave them");
    })
    .map_err(|error| CliError::Start(error.to_string()))?;
    Ok(interrupted)
}

fn show_progress(plan: &Plan, progress: &Progress) {
    let bar = ProgressBar::new(plan.seeds);
    let template = "{bar:30} {human_pos}/{human_len} seeds, {elapsed}, {eta} to go\n{msg}";
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style);
    }
    let began = Instant::now();
    while !progress.is_done() {
        let (seeds, steps, _) = progress.counts();
        bar.set_position(seeds);
        let elapsed = began.elapsed();
        let failed = match progress.failures() {
            0 => String::new(),
            failed => format!(" · {failed} FAILED"),
        };
        let missing = missing_in_brief(&progress.missing(plan.wanted));
        let (seeds, steps) = (rate(seeds, elapsed), rate(steps, elapsed));
        bar.set_message(format!(
            "{seeds} seeds/s · {steps} steps/s{failed} · {missing}"
        ));
        thread::sleep(Duration::from_millis(100));
    }
    bar.finish_and_clear();
}

fn missing_in_brief(missing: &[&str]) -> String {
    if missing.is_empty() {
        return "all situations reached".to_owned();
    }
    let named = missing
        .iter()
        .take(NAMED)
        .copied()
        .collect::<Vec<_>>()
        .join(", ");
    let more = if missing.len() > NAMED { ", …" } else { "" };
    format!("{} situations not reached: {named}{more}", missing.len())
}

fn rate(count: u64, elapsed: Duration) -> String {
    #[allow(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a rate to read"
    )]
    let rate = (count as f64 / elapsed.as_secs_f64().max(0.001)) as u64;
    grouped(rate)
}

/// A number with its thousands apart.
fn grouped(n: u64) -> String {
    let digits = n.to_string();
    let mut out = String::with_capacity(digits.len() * 4 / 3);
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

fn print_report(
    args: &SweepArgs,
    plan: &Plan,
    report: &Report,
    compared: usize,
    out: &mut impl Write,
) -> Result<(), CliError> {
    let Report {
        seeds,
        steps,
        changes,
        failures,
        marks_missing,
        elapsed,
        ..
    } = report;
    writeln!(
        out,
        "{} level: {} seeds from {} on, {} steps, {} source changes in {:.1} s on {} threads: {} seeds/s, {} steps/s",
        args.level,
        grouped(*seeds),
        plan.start,
        grouped(*steps),
        grouped(*changes),
        elapsed.as_secs_f64(),
        plan.jobs,
        rate(*seeds, *elapsed),
        rate(*steps, *elapsed),
    )?;
    writeln!(
        out,
        "{compared} seeds were run again, in this process and in a second one"
    )?;
    let (wanted, missing) = (plan.wanted.len(), marks_missing.len());
    writeln!(
        out,
        "{} of {wanted} named situations reached",
        wanted - missing
    )?;
    for mark in marks_missing {
        writeln!(out, "  not reached: {mark}")?;
    }
    if is_too_weak(args, report) {
        writeln!(
            out,
            "TOO WEAK: {} seeds must reach all of them",
            grouped(args.level.enough())
        )?;
    }
    if failures.is_empty() {
        writeln!(out, "no promise broken")?;
    }
    let canary = one::canary_flag(args.canary);
    for (i, failure) in failures.iter().enumerate() {
        writeln!(out, "\n{failure}")?;
        writeln!(
            out,
            "replay it:   {} replay {}{}{canary}",
            one::AGAIN,
            failure.seed,
            args.level.flag()
        )?;
        if i < SHRUNK && args.level == Level::Engine {
            one::report_seed(failure.seed, args.shrink_runs, args.canary, out)?;
        }
    }
    Ok(())
}

/// Runs these seeds in other processes, and compares (P11).
fn second_process(
    subject: Subject,
    hashes: &[(u64, u64)],
    jobs: usize,
) -> Result<Vec<Failure>, CliError> {
    let share = hashes.len().div_ceil(jobs).max(1);
    thread::scope(|scope| {
        let shares: Vec<_> = hashes
            .chunks(share)
            .map(|share| scope.spawn(move || compare(subject, share)))
            .collect();
        let mut failures = Vec::new();
        for share in shares {
            let died = |_| CliError::SecondProcess("its reader panicked".to_owned());
            failures.extend(share.join().map_err(died)??);
        }
        Ok(failures)
    })
}

fn compare(subject: Subject, hashes: &[(u64, u64)]) -> Result<Vec<Failure>, CliError> {
    let program = std::env::current_exe().map_err(|error| CliError::start(&error))?;
    let mut child = Command::new(program)
        .args(["hashes", "--level", &subject.level.to_string()])
        .args(
            subject
                .canary
                .map(|canary| format!("--canary={}", canary.name())),
        )
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(|error| CliError::start(&error))?;
    let stdin = child.stdin.take();
    let output = thread::scope(|scope| {
        // Apart, so that neither waits for the other with a full pipe.
        scope.spawn(|| feed(stdin, hashes));
        child.wait_with_output()
    });
    let output = output.map_err(|error| CliError::SecondProcess(error.to_string()))?;
    let text = String::from_utf8_lossy(&output.stdout);
    let answers: Vec<_> = text.lines().filter_map(parse_hash).collect();
    if !answers
        .iter()
        .map(|(seed, _)| seed)
        .eq(hashes.iter().map(|(seed, _)| seed))
    {
        let counts = format!("{} of {} seeds answered", answers.len(), hashes.len());
        return Err(CliError::SecondProcess(format!(
            "{counts}, {}",
            output.status
        )));
    }
    let pairs = hashes.iter().zip(&answers);
    let differing = pairs.filter_map(|((seed, here), (_, there))| {
        let broken = check_determinism(*here, *there).err()?;
        let message = format!("in two processes: {}", broken.message);
        let broken = BrokenBy {
            promise: broken.promise.to_string(),
            message,
        };
        Some(Failure {
            seed: *seed,
            broken,
        })
    });
    Ok(differing.collect())
}

/// A process that ends early is noticed by its answers.
fn feed(stdin: Option<std::process::ChildStdin>, hashes: &[(u64, u64)]) {
    let Some(mut stdin) = stdin else { return };
    for (seed, _) in hashes {
        if writeln!(stdin, "{seed}").is_err() {
            return;
        }
    }
}

fn parse_hash(line: &str) -> Option<(u64, u64)> {
    let (seed, hash) = line.split_once(' ')?;
    Some((seed.parse().ok()?, u64::from_str_radix(hash, 16).ok()?))
}

/// The second process: a seed on each line of input, its hash on each line of output.
pub(crate) fn hashes(args: &HashesArgs, out: &mut impl Write) -> Result<Verdict, CliError> {
    let subject = Subject {
        level: args.level,
        canary: args.canary,
    };
    for line in io::stdin().lock().lines() {
        let line = line?;
        let seed = line
            .trim()
            .parse()
            .map_err(|_| CliError::NotASeed(line.clone()))?;
        let ran = hushed(|| subject.run(seed));
        writeln!(out, "{seed} {:x}", ran.hash)?;
    }
    Ok(Verdict::Passed)
}
