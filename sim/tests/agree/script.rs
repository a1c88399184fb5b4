//! What can be done to a source, in random order.

use proptest::prelude::*;

/// How many keys there are.
pub(crate) const KEYS: u32 = 8;

/// Numbers are taken modulo what there is, so that every script can be run, and each part of one.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    /// One transaction, which deletes those that exist of the second ones.
    Write(Vec<u32>, Vec<u32>),
    /// All but so many transactions are forgotten.
    Compact(usize),
    /// A backup of so many transactions ago is put in place, as a new epoch.
    Restore(usize),
    /// The server is restarted with all that it had, but for its history.
    Restart,
    /// One object is asked for.
    Get(u32),
    /// The first page of a list with pages of so many keys, not older than the newest revision
    /// and so much.
    List(u32, Option<i8>),
    /// The next page of one of the lists.
    NextPage(usize),
    /// A watch is opened.
    Watch(From),
    /// So many transactions are read from one of the watches.
    Read(usize, usize),
    /// One of the watches is read to its end, and until it says so.
    ReadAll(usize),
    /// What comes after a revision is asked for, about so many events.
    Poll(From, usize),
}

/// Where a watch begins.
#[derive(Clone, Debug)]
pub(crate) struct From {
    /// So many revisions before the newest; below zero: after it.
    pub(crate) back: i8,
    /// So many epochs ago; `None`: it is not said.
    pub(crate) epoch: Option<usize>,
}

/// How many transactions are kept, and a script.
pub(crate) fn scripts() -> impl Strategy<Value = (usize, Vec<Step>)> {
    (1usize..12, prop::collection::vec(step(), 1..60))
}

fn step() -> impl Strategy<Value = Step> {
    let keys = |most| prop::collection::vec(0..KEYS, 0..most);
    prop_oneof![
        12 => (keys(4), keys(3)).prop_map(|(puts, deletes)| Step::Write(puts, deletes)),
        2 => (0usize..6).prop_map(Step::Compact),
        1 => (0usize..6).prop_map(Step::Restore),
        1 => Just(Step::Restart),
        1 => (0..KEYS).prop_map(Step::Get),
        3 => (1u32..6, prop::option::of(-3i8..3)).prop_map(|(limit, least)| Step::List(limit, least)),
        4 => any::<usize>().prop_map(Step::NextPage),
        4 => from().prop_map(Step::Watch),
        6 => (any::<usize>(), 1usize..5).prop_map(|(watch, count)| Step::Read(watch, count)),
        3 => any::<usize>().prop_map(Step::ReadAll),
        4 => (from(), 1usize..9).prop_map(|(from, limit)| Step::Poll(from, limit)),
    ]
}

fn from() -> impl Strategy<Value = From> {
    let epoch = prop::option::weighted(0.8, prop_oneof![4 => Just(0usize), 1 => 1usize..3]);
    (-2i8..9, epoch).prop_map(|(back, epoch)| From { back, epoch })
}
