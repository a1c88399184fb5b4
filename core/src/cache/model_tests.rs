//! The cache beside its model, under operations drawn at random.

use alloc::vec;
use alloc::vec::Vec;

use proptest::prelude::*;

use super::model::{KEYS, Op, WORKERS, play, play_alone, play_copied};

fn op() -> impl Strategy<Value = Op> {
    let key = 0..KEYS;
    let who = 0..5_usize;
    prop_oneof![
        12 => (key.clone(), proptest::option::weighted(0.3, 0..2_u64))
            .prop_map(|(key, incarnation)| Op::Upsert { key, incarnation }),
        6 => (key.clone(), any::<bool>(), any::<bool>())
            .prop_map(|(key, told, inferred)| Op::Delete { key, told, inferred }),
        1 => key.prop_map(|key| Op::Restamp { key }),
        1 => (any::<u8>(), any::<u8>()).prop_map(|(marked, spared)| Op::List { marked, spared }),
        6 => any::<bool>().prop_map(|complete| Op::Publish { complete }),
        1 => Just(Op::Rewind),
        3 => (
            0..5_u8,
            proptest::option::weighted(0.3, 0..WORKERS.get()),
            proptest::option::weighted(0.4, prop_oneof![Just(usize::MAX), 0..2_000_usize]),
        )
            .prop_map(|(filter, worker, lossless)| Op::Subscribe { filter, worker, lossless }),
        1 => who.clone().prop_map(|who| Op::Redeliver { who }),
        2 => (who.clone(), 0..5_u8).prop_map(|(who, filter)| Op::SetFilter { who, filter }),
        1 => who.clone().prop_map(|who| Op::Unsubscribe { who }),
        6 => (who.clone(), 1..4_usize).prop_map(|(who, times)| Op::Poll { who, times }),
        6 => (who.clone(), 0..4_usize).prop_map(|(who, most)| Op::Take { who, most }),
        4 => (who, 0..4_usize).prop_map(|(who, most)| Op::Drain { who, most }),
        1 => Just(Op::TakeLapsed),
        1 => (0..5_usize).prop_map(|steps| Op::Reclaim { steps }),
    ]
}

fn ops(most: usize) -> impl Strategy<Value = Vec<Op>> {
    proptest::collection::vec(op(), 1..most)
}

fn cases(cases: u32) -> ProptestConfig {
    ProptestConfig {
        cases,
        failure_persistence: None,
        ..ProptestConfig::default()
    }
}

proptest! {
    #![proptest_config(cases(3_000))]

    #[test]
    fn deltas_fold_to_the_published_state(
        ops in ops(70),
        limit in prop_oneof![4 => Just(usize::MAX), 1 => 0..2_000_usize],
    ) {
        play(&ops, limit);
    }
}

proptest! {
    #![proptest_config(cases(1_000))]

    #[test]
    fn nobody_hears_of_other_subscribers(ops in ops(80), lossless: bool) {
        play_alone(&ops, lossless);
    }

    #[test]
    fn a_copy_goes_on_like_the_original(ops in ops(60), split in 0..60_usize) {
        play_copied(&ops, split);
    }
}
