//! A run of the simulator that the input decides: the first 32 bytes are its setup, and each 8 bytes
//! after them a step (now and then a few that belong together). So the fuzzer has all that the
//! simulator's own seeds have, and what it changes in one place changes one decision.
//!
//! Whatever the world and the adversary do, no promise may be broken. Where the first byte is a
//! multiple of four, the run is compared with itself, and with one of its subscribers alone.

use arbitrary::{Result, Unstructured};
use reflet_sim::run::{run as play, run_strictly};
use reflet_sim::trace::{
    By, Ending, Fault, Interest, Joining, Lie, Nuisance, Setup, Span, Step, Trace, Tuning,
};
use reflet_sim::world::{Feed, Poison, Shape};

/// The bytes of the setup.
const SETUP: usize = 32;
/// The bytes of a step.
const STEP: usize = 8;
/// No more steps than that: a run costs as much as it is long.
const MOST_STEPS: usize = 150;

const FEEDS: [Feed; 6] = [
    Feed::ListWatch,
    Feed::ListWatch,
    Feed::InitialStream,
    Feed::Polled,
    Feed::Blocking,
    Feed::Hints,
];
const INTERESTS: [Interest; 4] = [
    Interest::All,
    Interest::EvenKeys,
    Interest::EvenWrites,
    Interest::Nothing,
];
const BY: [By; 6] = [
    By::Key,
    By::Content,
    By::Several,
    By::Nothing,
    By::Many,
    By::Owner,
];
/// Periods of redeliveries, in milliseconds.
const PERIODS: [u32; 4] = [500, 2_000, 8_000, 60_000];
/// How much may wait for lossless subscribers, in bytes.
const BOUNDS: [u32; 4] = [0, 400, 1_500, 1 << 20];

pub(crate) fn run(data: &[u8]) -> Result<()> {
    let trace = trace(data)?;
    let outcome = match data.first() {
        Some(strict) if strict % 4 == 0 => run_strictly(&trace),
        _ => play(&trace),
    };
    if let Some(violation) = outcome.violation {
        panic!(
            "{} is broken at step {}: {}\n{trace:#?}",
            violation.promise, violation.step, violation.message
        );
    }
    Ok(())
}

/// What the input stands for.
pub(crate) fn trace(data: &[u8]) -> Result<Trace> {
    let (head, rest) = data
        .split_at_checked(SETUP)
        .ok_or(arbitrary::Error::NotEnoughData)?;
    let setup = setup(&mut Unstructured::new(&head[1..]))?;
    let mut steps = Vec::new();
    for record in rest.chunks(STEP).take(MOST_STEPS) {
        step(&mut Unstructured::new(record), &setup, &mut steps)?;
    }
    Ok(Trace { setup, steps })
}

fn setup(from: &mut Unstructured<'_>) -> Result<Setup> {
    let shape = shape(from)?;
    let keys = *from.choose(&[2, 3, 5, 8, 13])?;
    let initial = from.int_in_range(0..=keys)?;
    let tuning = tuning(from, keys)?;
    let lazy = from.arbitrary()?;
    let ending = match from.int_in_range(0..=31_u8)? {
        // These two take far longer than all steps together.
        31 => Ending::Load(*from.choose(&Nuisance::ALL)?),
        30 => Ending::Flap,
        _ => Ending::Heal,
    };
    let subscribers = (0..from.int_in_range(1..=3)?).map(|_| from.choose(&INTERESTS).copied());
    Ok(Setup {
        shape,
        keys,
        initial,
        subscribers: subscribers.collect::<Result<_>>()?,
        replicas: match shape.opaque {
            true => 1,
            false => from.int_in_range(1..=3)?,
        },
        seed: from.int_in_range(0..=u64::from(u16::MAX))?,
        tuning,
        lazy,
        ending,
    })
}

fn shape(from: &mut Unstructured<'_>) -> Result<Shape> {
    let feed = *from.choose(&FEEDS)?;
    let flags: u16 = from.arbitrary()?;
    let flag = |bit: u32| flags & (1 << bit) != 0;
    let shape = Shape {
        feed,
        fuzzy: flag(0) && flag(1),
        opaque: flag(2) && flag(3),
        batch_ends: flag(4),
        predecessors: flag(5),
        digests: flag(6),
        versions_ordered: flag(7),
        commit_revisions: flag(8),
        heartbeat: flag(9),
        epochs: flag(10),
        uids: flag(11),
        terse: flag(12),
        careless: flag(13),
        patient: flag(14),
        gone_inside: flag(15),
    };
    Ok(shape.plausible())
}

/// The same ranges as those of the simulator's seeds: in others nobody has said what is promised.
fn tuning(from: &mut Unstructured<'_>, keys: u32) -> Result<Tuning> {
    let rare: u16 = from.arbitrary()?;
    let all = |mask: u16| rare & mask == mask;
    Ok(Tuning {
        burst: from.int_in_range(1..=4)?,
        min_interval: *from.choose(&[10, 100, 500])?,
        page_burst: *from.choose(&[1, 4, 200])?,
        page_interval: *from.choose(&[0, 2, 20])?,
        silence: all(0x0001).then_some(6_000),
        backoff_max: *from.choose(&[500, 2_000, 4_000])?,
        verify_period: match all(0x0002) {
            true => Some(*from.choose(&[5_000, 12_000, 39_000])?),
            false => None,
        },
        stable_after: *from.choose(&[200, 1_000, 5_000])?,
        objects: match all(0x000c) {
            true => Some(from.int_in_range(1..=keys)?),
            false => None,
        },
        staged: match all(0x0030) {
            true => Some(from.int_in_range(40..=295)?),
            false => None,
        },
        pages: match all(0x00c0) {
            true => Some(from.int_in_range(1..=5)?),
            false => None,
        },
        graves: if all(0x0100) { 1 } else { 10_000 },
        page_items: *from.choose(&[1, 2, 3, 500])?,
        retained: if all(0x0200) { 600 } else { 1 << 20 },
        notices: *from.choose(&[256, 4, 1])?,
        quarantined: if all(0x0400) { 1 } else { 1_000 },
        refuse_epochs: all(0x1800),
        rewind: match all(0x2000) {
            true => Some((
                from.int_in_range(1..=3)?,
                *from.choose(&[0, 1_000, 3_000, 7_000])?,
            )),
            false => None,
        },
        dead_ends: from.int_in_range(1..=3)?,
        gone_limit: from.int_in_range(1..=3)?,
    })
}

fn step(record: &mut Unstructured<'_>, setup: &Setup, steps: &mut Vec<Step>) -> Result<()> {
    let keys = setup.keys;
    steps.push(match record.int_in_range(0..=39_u8)? {
        0..6 => write(record, keys)?,
        6 => Step::Recreate(span(record, keys, 2)?),
        7 => Step::Elsewhere(record.int_in_range(1..=4)?),
        8..10 => Step::Sync(record.int_in_range(0..=2)?, record.int_in_range(1..=19)?),
        10 => Step::Compact(*record.choose(&[0, 1, 3, 10])?),
        11 => Step::Restore(record.int_in_range(0..=7)?),
        12..20 => Step::Serve(
            record.int_in_range(0..=1)?,
            record.int_in_range(1..=15)?,
            fault(record, &setup.shape)?,
        ),
        20 => Step::Late(record.int_in_range(0..=2)?),
        21 => Step::Pass(record.int_in_range(0..=3_999)?),
        22 => Step::Pass(record.int_in_range(10_000..=1_999_999)?),
        23..25 => Step::Timeout,
        25 => Step::Early,
        26 => Step::Backwards(record.int_in_range(1..=99_999)?),
        27 => Step::Poll(subscriber(record)?, record.int_in_range(1..=7)?),
        28 => Step::Lend(subscriber(record)?, record.int_in_range(1..=7)?),
        29 => Step::Drain(subscriber(record)?),
        30 => Step::Subscribe(*record.choose(&INTERESTS)?),
        31 => return join(record, steps),
        32 => match record.int_in_range(0..=3_u8)? {
            0 => Step::Unsubscribe(subscriber(record)?),
            1 => Step::Muster,
            _ => Step::Refilter(subscriber(record)?, *record.choose(&INTERESTS)?),
        },
        33 => Step::Redeliver(subscriber(record)?),
        34 => Step::Verify(record.arbitrary()?),
        35 => Step::Neglect(record.int_in_range(1..=9)?),
        36 => match record.int_in_range(0..=2_u8)? {
            0 => Step::Save,
            1 => Step::Crash(0),
            _ => Step::Crash(record.arbitrary()?),
        },
        37 => match record.int_in_range(0..=2_u8)? {
            0 => Step::Index(*record.choose(&BY)?),
            1 => Step::Unindex(record.int_in_range(0..=2)?),
            _ => Step::Order(record.ratio(2, 3)?),
        },
        38 => match record.int_in_range(0..=4_u8)? {
            0 => Step::Unfollow,
            1 => Step::Follow(*record.choose(&[0, 1, 3, 100, 255])?),
            _ => Step::Look(slots(record)?),
        },
        _ => Step::Fence,
    });
    Ok(())
}

fn subscriber(record: &mut Unstructured<'_>) -> Result<u8> {
    record.int_in_range(0..=5)
}

fn slots(record: &mut Unstructured<'_>) -> Result<u8> {
    record.choose(&[1, 2, 3, 8, 100, 255]).copied()
}

fn span(record: &mut Unstructured<'_>, keys: u32, most: u32) -> Result<Span> {
    Ok(Span {
        first: record.int_in_range(0..=keys - 1)?,
        count: record.int_in_range(1..=most)?,
    })
}

fn write(record: &mut Unstructured<'_>, keys: u32) -> Result<Step> {
    let kind = record.int_in_range(0..=15_u8)?;
    let (mut put, mut delete) = (Span::default(), Span::default());
    let mut poison = Poison::None;
    match kind {
        0..6 => put = span(record, keys, 3)?,
        6..10 => delete = span(record, keys, 2)?,
        10..13 => (put, delete) = (span(record, keys, 2)?, span(record, keys, 2)?),
        13 => put.count = keys,
        14 => delete.count = keys,
        _ => {
            put = span(record, keys, 1)?;
            poison = *record.choose(&[Poison::Payload, Poison::Key])?;
        }
    }
    let skip = *record.choose(&[1, 1, 1, 2, 5])?;
    Ok(Step::Write {
        put,
        delete,
        poison,
        skip,
    })
}

fn fault(record: &mut Unstructured<'_>, shape: &Shape) -> Result<Fault> {
    let fault = match record.int_in_range(0..=31_u8)? {
        0..16 => Fault::None,
        16 => {
            let wait = record.ratio(1, 4)?.then(|| record.int_in_range(0..=19_999));
            Fault::Fail(0, wait.transpose()?)
        }
        17 => Fault::Fail(1, None),
        18 => Fault::Fail(record.int_in_range(2..=7)?, None),
        19 => Fault::Close,
        20 => Fault::Mute,
        21 => Fault::Repeat,
        22 => Fault::Again,
        23 => Fault::Hint,
        24 => Fault::LoseTransaction,
        25 => Fault::LoseWord,
        26 => Fault::LoseBatchEnd,
        27 => Fault::Swap,
        28 => Fault::SpoilPayload,
        29 => Fault::SpoilKey,
        _ => Fault::Lie(*record.choose(&Lie::ALL)?),
    };
    Ok(match fault.fits(shape) {
        true => fault,
        false => Fault::None,
    })
}

fn join(record: &mut Unstructured<'_>, steps: &mut Vec<Step>) -> Result<()> {
    let kind = record.int_in_range(0..=2_u8)?;
    let mut joining = Joining::from(*record.choose(&INTERESTS)?);
    let period = record.choose(&PERIODS)?;
    let bound = record.choose(&BOUNDS)?;
    joining.redeliver = (kind == 0 || record.ratio(1, 4)?).then_some(*period);
    joining.lossless = (kind == 1 || record.ratio(1, 4)?).then_some(*bound);
    if kind < 2 {
        steps.push(Step::Join(joining));
        return Ok(());
    }
    let of = record.int_in_range(2..=4_u8)?;
    steps.extend((0..of).map(|index| {
        Step::Join(Joining {
            interest: Interest::All,
            worker: Some((index, of)),
            ..joining
        })
    }));
    Ok(())
}
