//! What must have come about in some script, or the scripts are too weak.

/// A situation in which both gave the same answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Situation {
    /// A key was deleted and, in a later transaction, there again.
    Recreated,
    /// A list of several pages was read to its end while its source changed.
    PagesThroughWrites,
    /// An empty list.
    EmptyList,
    /// The token of a page was of a revision that is no longer kept.
    TokenTooOld,
    /// The token of a page was of another epoch.
    TokenOfAnotherEpoch,
    /// A list should be newer than the source.
    ListBehind,
    /// A watch or poll began before the history.
    TooOld,
    /// A watch or poll began in another epoch.
    AnotherEpoch,
    /// A watch or poll began in the future.
    FromTheFuture,
    /// A slow watch was ended because what it needed next was forgotten.
    TooSlow,
    /// An open watch was ended by a restore.
    Restored,
    /// A watch told several transactions, and then its progress.
    ReadToTheEnd,
    /// A poll brought several transactions.
    PolledMany,
    /// A poll stopped at its limit.
    PolledUpToTheLimit,
    /// One transaction was more than the limit of its poll.
    PolledBeyondTheLimit,
    /// A poll brought nothing.
    PolledNothing,
}

impl Situation {
    pub(crate) const ALL: [Self; 16] = [
        Self::Recreated,
        Self::PagesThroughWrites,
        Self::EmptyList,
        Self::TokenTooOld,
        Self::TokenOfAnotherEpoch,
        Self::ListBehind,
        Self::TooOld,
        Self::AnotherEpoch,
        Self::FromTheFuture,
        Self::TooSlow,
        Self::Restored,
        Self::ReadToTheEnd,
        Self::PolledMany,
        Self::PolledUpToTheLimit,
        Self::PolledBeyondTheLimit,
        Self::PolledNothing,
    ];
}
