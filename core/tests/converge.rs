//! A truthful source behind an adversary: the promises hold at every step, and once the adversary
//! stops, the engine converges within its bound, with nothing but timers and answers.

mod world;

use std::time::Duration;

use proptest::prelude::*;
use reflet_core::{Class, Config, Feed, RevisionOrder, SourceProfile};
use world::{CLASSES, Case, Fault, Habits, Step, World};

#[derive(Clone, Debug)]
struct Setup {
    source: SourceProfile,
    habits: Habits,
    replicas: usize,
    lazy: bool,
    seed: u64,
    burst: u32,
    retained: usize,
    verify_period: Option<u64>,
    /// Which faults this case does without.
    off: u16,
}

prop_compose! {
    fn setups()(
        feed in prop_oneof![
            5 => Just(Feed::ListWatch),
            3 => Just(Feed::InitialStream),
            1 => any::<bool>().prop_map(|blocking| Feed::FullState { blocking }),
            2 => Just(Feed::HintOnly),
        ],
        fuzzy in prop::bool::weighted(0.15),
        opaque in prop::bool::weighted(0.15),
        flags in any::<[bool; 5]>(),
        heartbeat in any::<bool>(),
        [epochs, uids, careless, patient, gone_inside] in any::<[bool; 5]>(),
        replicas in 1..4_usize,
        (lazy, seed) in any::<(bool, u64)>(),
        burst in 1..4_u32,
        retained in prop_oneof![3 => Just(1_usize << 20), 1 => Just(600)],
        verify_period in prop::option::weighted(0.3, 5_000..40_000_u64),
        off in any::<u16>(),
    ) -> Setup {
        let [batch_ends, predecessors, digests, versions_ordered, commit_revisions] = flags;
        let listed = matches!(feed, Feed::ListWatch | Feed::InitialStream);
        let commit_revisions = commit_revisions && !opaque && listed;
        let uids = uids && !commit_revisions;
        let class = match feed {
            Feed::FullState { .. } => Class::Whole,
            Feed::ListWatch if fuzzy && !opaque => Class::Fuzzy,
            Feed::ListWatch | Feed::InitialStream | Feed::HintOnly => Class::Pinned,
        };
        Setup {
            source: SourceProfile {
                feed,
                class,
                order: if opaque { RevisionOrder::Opaque } else { RevisionOrder::Ordered },
                batch_ends: batch_ends && listed,
                predecessors: predecessors && listed,
                digests: digests && listed,
                versions_ordered,
                commit_revisions,
                heartbeat: heartbeat.then_some(Duration::from_secs(1)),
                replica_lag: Duration::from_secs(5),
                fresh_lists: false,
            },
            habits: Habits { epochs, uids, careless, patient, gone_inside },
            replicas: if opaque { 1 } else { replicas },
            lazy,
            seed,
            burst,
            retained,
            verify_period,
            off,
        }
    }
}

impl Setup {
    fn config(&self) -> Config {
        let mut config = Config {
            source: self.source.clone(),
            ..Config::default()
        };
        let (timing, limits) = (&mut config.timing, &mut config.limits);
        timing.open_timeout = Duration::from_secs(2);
        timing.page_timeout = Duration::from_secs(3);
        timing.list_deadline = Duration::from_secs(10);
        timing.silence = (!self.lazy).then_some(Duration::from_secs(6));
        timing.burst = self.burst;
        timing.min_interval = Duration::from_millis(100);
        timing.backoff_min = Duration::from_millis(50);
        timing.backoff_max = Duration::from_secs(2);
        timing.slow_retry = Duration::from_secs(5);
        timing.max_retry_after = Duration::from_secs(8);
        timing.stable_after = Duration::from_secs(1);
        timing.poll_interval = Duration::from_secs(1);
        timing.verify_min_interval = Duration::from_secs(3);
        timing.verify_period = self.verify_period.map(Duration::from_millis);
        limits.page_items = 2;
        limits.retained_bytes = self.retained;
        config
    }

    /// Whether a step is one that this case does without, or that nothing could ever detect.
    fn allows(&self, step: &Step) -> bool {
        let on = |bit: u16| self.off >> bit & 1 == 0;
        // What is lost can be noticed at once, or else P3 is suspended.
        let noticed = self.source.predecessors && self.source.digests;
        let spoils = on(9);
        match step {
            Step::Restore(_) => self.habits.epochs && on(0),
            Step::Compact => on(1),
            Step::Late(_) => true,
            Step::Serve(_, _, fault) => match fault {
                Fault::None => true,
                Fault::Fail(_, None) => on(2),
                Fault::Fail(_, Some(_)) => on(3),
                Fault::Close => on(4),
                Fault::Mute => on(5),
                Fault::Repeat => on(6) && self.source.order == RevisionOrder::Ordered,
                Fault::LoseTransaction => on(7) && noticed && !spoils,
                Fault::LoseBatchEnd => on(8) && self.source.batch_ends,
                Fault::SpoilValue => spoils,
                Fault::SpoilAll => spoils && on(10),
            },
            Step::Verify(_) => on(11),
            Step::Pass(_) => on(12),
            Step::Write { .. }
            | Step::Elsewhere(_)
            | Step::Sync(..)
            | Step::Timeout
            | Step::DrainFirst
            | Step::PollSecond(_) => true,
        }
    }
}

fn steps() -> impl Strategy<Value = Step> {
    let fault = prop_oneof![
        30 => Just(Fault::None),
        2 => (0..CLASSES.len(), prop::option::weighted(0.3, 0..20_000_u64))
            .prop_map(|(class, wait)| Fault::Fail(class, wait)),
        1 => Just(Fault::Close),
        1 => Just(Fault::Mute),
        2 => Just(Fault::Repeat),
        2 => Just(Fault::LoseTransaction),
        1 => Just(Fault::LoseBatchEnd),
        1 => Just(Fault::SpoilValue),
        1 => Just(Fault::SpoilAll),
    ];
    let which = prop_oneof![3 => Just(0_usize), 1 => Just(1)];
    prop_oneof![
        10 => (0..32_u8, 0..32_u8, 1..4_u64).prop_map(|(a, b, step)| Step::Write { puts: a, deletes: a & b, step }),
        2 => (1..4_u64).prop_map(Step::Elsewhere),
        10 => (0..3_usize, 1..12_u64).prop_map(|(replica, revisions)| Step::Sync(replica, revisions)),
        1 => Just(Step::Compact),
        1 => (0..6_usize).prop_map(Step::Restore),
        50 => (which, 1..9_usize, fault).prop_map(|(which, words, fault)| Step::Serve(which, words, fault)),
        2 => (0..3_usize).prop_map(Step::Late),
        4 => (0..4_000_u64).prop_map(Step::Pass),
        10 => Just(Step::Timeout),
        6 => Just(Step::DrainFirst),
        2 => (1..8_usize).prop_map(Step::PollSecond),
        1 => any::<bool>().prop_map(Step::Verify),
    ]
}

fn run(setup: &Setup, steps: &[Step]) -> Case {
    let world = World::new(setup.source.clone(), setup.habits, setup.replicas);
    let mut case = Case::new(setup.config(), world, setup.lazy, setup.seed);
    for step in steps.iter().filter(|step| setup.allows(step)) {
        case.step(*step);
    }
    case.heal();
    case.finish();
    case
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 3_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn it_keeps_its_promises_and_converges(
        setup in setups(),
        steps in prop::collection::vec(steps(), 1..120),
    ) {
        run(&setup, &steps);
    }
}
