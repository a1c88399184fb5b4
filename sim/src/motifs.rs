//! Short sequences that lead into corners where blind chance seldom gets to. A seed may have one:
//! its setup is made to fit, and the sequence comes a few times, amid everything else.

use fastrand::Rng;

use crate::trace::{Fault, Lie, Setup, Span, Step};
use crate::world::{Feed, Poison};

/// A corner worth visiting.
#[derive(Clone, Copy, Debug)]
enum Motif {
    /// An old update comes after the delete.
    Resurrection,
    /// An old delete comes after the object was created again.
    OldDelete,
    /// More happens beside a verify than it can remember.
    BusyVerify,
    /// The source does not stream its initial state.
    NoStream,
    /// A stream ends without a revision.
    NamelessStream,
    /// An initial stream has a delete in it.
    DeleteInStream,
    /// A page token comes twice.
    SameToken,
    /// A list that cannot infer deletes is too much.
    DegradedAndLarge,
    /// A watch replays what a fuzzy list beside it is ahead of.
    FuzzyReplay,
    /// *Unchanged* is said of what is not held.
    NotHeld,
    /// A verify beside a watch that goes on.
    VerifyBeside,
    /// A batch's end is lost, and progress follows.
    LostEnd,
    /// A transaction is lost, and the next one names it.
    Gap,
    /// A transaction is lost, and the next digest shows it.
    Mismatch,
    /// Words are twisted in the middle of a watch.
    Twisted,
}

const ALL: [Motif; 15] = [
    Motif::Resurrection,
    Motif::OldDelete,
    Motif::BusyVerify,
    Motif::NoStream,
    Motif::NamelessStream,
    Motif::DeleteInStream,
    Motif::SameToken,
    Motif::DegradedAndLarge,
    Motif::FuzzyReplay,
    Motif::NotHeld,
    Motif::VerifyBeside,
    Motif::LostEnd,
    Motif::Gap,
    Motif::Mismatch,
    Motif::Twisted,
];

const SERVE: Step = Step::Serve(0, 16, Fault::None);
const CATCH_UP: Step = Step::Sync(0, 255);
const EVERYWHERE: [Step; 3] = [Step::Sync(0, 255), Step::Sync(1, 255), Step::Sync(2, 255)];
/// Long enough for the pacer, too short for any patience to end.
const A_MOMENT: Step = Step::Pass(600);

/// Makes the setup fit a random corner, and weaves its steps into the others.
pub(crate) fn weave(rng: &mut Rng, setup: &mut Setup, steps: &mut Vec<Step>) {
    let motif = ALL[rng.usize(..ALL.len())];
    fit(motif, setup);
    // What was drawn for the source as it was before.
    for step in &mut *steps {
        if let Step::Serve(_, _, fault) = step
            && !fault.fits(&setup.shape)
        {
            *fault = Fault::None;
        }
    }
    let first = matches!(
        motif,
        Motif::NoStream
            | Motif::NamelessStream
            | Motif::DeleteInStream
            | Motif::SameToken
            | Motif::NotHeld
    );
    for turn in 0..3 {
        let at = if first && turn == 0 {
            0
        } else {
            rng.usize(..=steps.len())
        };
        steps.splice(at..at, sequence(motif, rng.u32(..setup.keys), setup.keys));
    }
}

fn fit(motif: Motif, setup: &mut Setup) {
    let shape = &mut setup.shape;
    let plain = |feed, shape: &mut crate::world::Shape| {
        shape.feed = feed;
        shape.fuzzy = false;
        shape.opaque = false;
    };
    match motif {
        Motif::Resurrection | Motif::OldDelete => {
            plain(Feed::ListWatch, shape);
            shape.opaque = true;
            shape.versions_ordered = true;
            shape.commit_revisions = false;
            // An old delete may name its object or not.
            shape.uids = matches!(motif, Motif::Resurrection) || setup.keys.is_multiple_of(2);
            shape.epochs = true;
            shape.terse = false;
            setup.replicas = 1;
        }
        Motif::BusyVerify | Motif::VerifyBeside => {
            plain(Feed::ListWatch, shape);
            shape.commit_revisions = true;
            shape.uids = false;
            setup.keys = 5;
            setup.initial = 1;
            setup.tuning.page_items = 1;
            if matches!(motif, Motif::BusyVerify) {
                setup.tuning.objects = Some(4);
            }
        }
        Motif::LostEnd | Motif::Twisted => {
            plain(Feed::ListWatch, shape);
            shape.batch_ends = true;
        }
        Motif::Gap | Motif::Mismatch => {
            plain(Feed::ListWatch, shape);
            shape.predecessors = matches!(motif, Motif::Gap);
            shape.digests = !shape.predecessors;
        }
        Motif::NoStream | Motif::DeleteInStream => {
            plain(Feed::InitialStream, shape);
            setup.initial = setup.keys;
        }
        Motif::NamelessStream => {
            plain(Feed::InitialStream, shape);
            shape.opaque = true;
            shape.epochs = true;
            shape.commit_revisions = false;
            setup.replicas = 1;
        }
        Motif::SameToken | Motif::NotHeld => {
            plain(Feed::ListWatch, shape);
            setup.keys = setup.keys.max(5);
            setup.initial = setup.keys;
            setup.tuning.page_items = 1;
            setup.tuning.pages = None;
        }
        Motif::DegradedAndLarge => {
            plain(Feed::ListWatch, shape);
            setup.keys = setup.keys.max(5);
            setup.tuning.objects = Some(setup.keys / 2);
        }
        Motif::FuzzyReplay => {
            plain(Feed::ListWatch, shape);
            shape.fuzzy = true;
            shape.epochs = true;
            shape.commit_revisions = true;
            shape.uids = false;
            setup.tuning.page_items = 1;
        }
    }
}

fn sequence(motif: Motif, key: u32, keys: u32) -> Vec<Step> {
    let one = Span {
        first: key,
        count: 1,
    };
    let put = write(one, Span::default(), Poison::None);
    let delete = write(Span::default(), one, Poison::None);
    let again = Step::Serve(0, 1, Fault::Again);
    let lie = |lie| Step::Serve(0, 1, Fault::Lie(lie));
    match motif {
        Motif::Resurrection => vec![SERVE, put, CATCH_UP, SERVE, delete, CATCH_UP, SERVE, again],
        Motif::OldDelete => {
            vec![
                SERVE, put, delete, CATCH_UP, SERVE, put, CATCH_UP, SERVE, again,
            ]
        }
        Motif::BusyVerify | Motif::VerifyBeside => {
            let none = write(
                Span::default(),
                Span {
                    first: 0,
                    count: keys,
                },
                Poison::None,
            );
            let mut steps = vec![none];
            steps.extend(EVERYWHERE);
            steps.extend([SERVE, SERVE, SERVE, Step::Verify(false), A_MOMENT]);
            steps.push(Step::Serve(0, 2, Fault::None));
            for first in 0..keys.min(5) {
                let span = Span { first, count: 1 };
                steps.push(write(span, Span::default(), Poison::None));
                steps.push(write(Span::default(), span, Poison::None));
            }
            steps.extend(EVERYWHERE);
            steps.extend([
                Step::Serve(1, 40, Fault::None),
                Step::Serve(0, 40, Fault::None),
            ]);
            steps
        }
        Motif::LostEnd => {
            let lost = Step::Serve(0, 1, Fault::LoseBatchEnd);
            vec![
                SERVE,
                SERVE,
                put,
                CATCH_UP,
                Step::Sync(1, 255),
                Step::Sync(2, 255),
                lost,
                SERVE,
            ]
        }
        Motif::Gap | Motif::Mismatch => {
            let lost = Step::Serve(0, 1, Fault::LoseTransaction);
            let mut steps = vec![SERVE, SERVE, SERVE, put];
            steps.extend(EVERYWHERE);
            steps.extend([lost, put]);
            steps.extend(EVERYWHERE);
            steps.push(SERVE);
            steps
        }
        Motif::Twisted => {
            let mut steps = vec![SERVE, SERVE];
            for twist in [Lie::BatchEnd, Lie::Lower, Lie::LongKey] {
                steps.extend([put, put]);
                steps.extend(EVERYWHERE);
                steps.extend([Step::Serve(0, 3, Fault::None), lie(twist), SERVE, SERVE]);
            }
            steps
        }
        Motif::NoStream => vec![Step::Serve(0, 1, Fault::Fail(4, None)), SERVE],
        Motif::NamelessStream => {
            vec![
                lie(Lie::NoRevision),
                SERVE,
                Step::Serve(0, 1, Fault::Close),
                Step::Timeout,
            ]
        }
        Motif::DeleteInStream => vec![lie(Lie::Removal), SERVE],
        Motif::SameToken => vec![lie(Lie::Token), lie(Lie::Token), lie(Lie::Token)],
        Motif::DegradedAndLarge => {
            let half = Span {
                first: 0,
                count: keys / 2,
            };
            let rest = Span {
                first: keys / 2,
                count: keys / 2,
            };
            let bad = Span {
                first: keys / 2,
                count: 1,
            };
            vec![
                write(half, rest, Poison::None),
                CATCH_UP,
                Step::Sync(1, 255),
                Step::Serve(0, 40, Fault::None),
                Step::Serve(0, 40, Fault::None),
                write(rest, half, Poison::None),
                write(bad, Span::default(), Poison::Key),
                Step::Compact(0),
                CATCH_UP,
                Step::Sync(1, 255),
                Step::Serve(0, 1, Fault::Fail(1, None)),
                Step::Timeout,
                Step::Serve(0, 40, Fault::None),
                Step::Serve(0, 40, Fault::None),
            ]
        }
        Motif::FuzzyReplay => {
            let mut steps = vec![SERVE, SERVE, SERVE];
            for _ in 0..3 {
                steps.extend([put, delete]);
            }
            steps.push(put);
            steps.extend(EVERYWHERE);
            // The first list beside the watch is ahead of it, the second one finds nothing new.
            for _ in 0..2 {
                steps.extend([
                    Step::Verify(false),
                    A_MOMENT,
                    Step::Serve(0, 60, Fault::None),
                ]);
            }
            let pages = u8::try_from(key.min(20) * 3 + 3).unwrap_or(60);
            steps.extend([
                Step::Verify(false),
                A_MOMENT,
                Step::Serve(0, pages, Fault::None),
            ]);
            steps.extend([
                Step::Serve(1, 40, Fault::None),
                Step::Serve(0, 60, Fault::None),
            ]);
            steps
        }
        Motif::NotHeld => vec![lie(Lie::Unchanged), SERVE],
    }
}

fn write(put: Span, delete: Span, poison: Poison) -> Step {
    Step::Write {
        put,
        delete,
        poison,
        skip: 1,
    }
}
