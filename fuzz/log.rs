//! The cache and its log beside the naive model of core's own tests: the first two bytes say how it is
//! played and with how much memory, and each 8 bytes after them are an operation.

use arbitrary::{Result, Unstructured};
use reflet_sim::log::{KEYS, Op, WORKERS, play, play_alone, play_copied};

/// The bytes of an operation.
const OP: usize = 8;
/// No more operations than that: after each one all of the log is walked.
const MOST: usize = 200;

pub(crate) fn run(data: &[u8]) -> Result<()> {
    let Some(([how, limit], rest)) = data.split_first_chunk() else {
        return Ok(());
    };
    let records = rest.chunks(OP).take(MOST);
    let ops = records.map(|record| op(&mut Unstructured::new(record)));
    let ops = ops.collect::<Result<Vec<_>>>()?;
    match how % 4 {
        0 => play_alone(&ops, limit % 2 == 0),
        1 => play_copied(&ops, usize::from(*limit)),
        2 => play(&ops, usize::from(*limit) * 8),
        _ => play(&ops, usize::MAX),
    }
    Ok(())
}

fn op(record: &mut Unstructured<'_>) -> Result<Op> {
    let kind = record.int_in_range(0..=31_u8)?;
    let who = record.int_in_range(0..=4_usize)?;
    let key = record.int_in_range(0..=KEYS - 1)?;
    let number = record.int_in_range(0..=4_u8)?;
    let flags: u8 = record.arbitrary()?;
    let flag = |bit: u32| flags & (1 << bit) != 0;
    Ok(match kind {
        0..8 => Op::Upsert {
            key,
            incarnation: flag(0).then_some(u64::from(flag(1))),
        },
        8..12 => Op::Delete {
            key,
            told: flag(0),
            inferred: flag(1),
        },
        12 => Op::Restamp { key },
        13 => Op::List {
            marked: flags,
            spared: record.arbitrary()?,
        },
        14..18 => Op::Publish { complete: flag(0) },
        18 => Op::Rewind,
        19..21 => Op::Subscribe {
            filter: number,
            worker: flag(0).then_some(u32::from(flag(1)) % WORKERS),
            lossless: match (flag(2), flag(3)) {
                (false, _) => None,
                (true, false) => Some(usize::MAX),
                (true, true) => Some(usize::from(flags) * 8),
            },
        },
        21 => Op::Redeliver { who },
        22 => Op::SetFilter {
            who,
            filter: number,
        },
        23 => Op::Unsubscribe { who },
        24..26 => Op::Poll {
            who,
            times: usize::from(number),
        },
        26..28 => Op::Take {
            who,
            most: usize::from(number),
        },
        28..30 => Op::Drain {
            who,
            most: usize::from(number),
        },
        30 => Op::TakeLapsed,
        _ => Op::Reclaim {
            steps: usize::from(number),
        },
    })
}
