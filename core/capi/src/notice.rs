//! What is worth knowing, for a log.

use std::mem::MaybeUninit;
use std::sync::Arc;

use reflet_core::{Notice as CoreNotice, Revision};

use crate::border::{Bytes, guard, place};
use crate::informer::Informer;
use crate::state::lock;
use crate::status::Status;

/// What a notice is about.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoticeKind {
    /// No notice now.
    None = 0,
    /// So many notices were dropped because nobody polled them.
    Lost,
    /// The first complete state of this run is here.
    Synced,
    /// The local copy was filled from a snapshot.
    Restored,
    /// The local copy follows the source again.
    Live,
    /// The local copy is the last known good state.
    Stale,
    /// An attempt failed.
    Failed,
    /// Something did not come in time.
    TimedOut,
    /// A list after the first one is here.
    Relisted,
    /// A list found a difference that no event accounts for.
    Diverged,
    /// An object was rejected; its last good version stays.
    ObjectRejected,
    /// A rejected object is good again, or gone.
    ObjectRecovered,
    /// Something was rejected whose key is not known.
    UnknownRejected,
    /// A limit was exceeded: nothing is applied until a list fits.
    Frozen,
    /// A list fits again.
    Thawed,
    /// A list was older than what is here, and was refused.
    StaleList,
    /// The source's history is not a continuation of what was known, and was accepted.
    Rewound,
    /// The source's epoch changed, and that is refused.
    EpochRefused,
    /// Events are missing.
    Gap,
    /// The source's digest is not that of the local copy.
    DigestMismatch,
    /// The source keeps less history than a list takes.
    HistoryTooShort,
    /// The source does not stream its initial state: it is listed instead.
    FellBack,
    /// An input that the protocol does not allow at this point, or at all.
    BadInput,
    /// A subscriber held back more than the limit: it gets a reset.
    SubscriberReset,
    /// The informer was stopped.
    Stopped,
    /// Something else: the text says what.
    Other,
}

/// One notice.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Notice {
    /// What it is about.
    pub kind: NoticeKind,
    /// The notice in words, for people. It has keys and the source's words in it, never values.
    pub text: Bytes,
}

/// The next notice. Call it until the kind is REFLET_NOTICE_KIND_NONE, or never: if nobody does, the
/// oldest are counted as lost.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn reflet_informer_poll_notice(
    informer: *mut Informer,
    notice: Option<&mut MaybeUninit<Notice>>,
) -> Status {
    guard(|| {
        let place = place(notice)?;
        let mut state = lock(informer)?;
        let told = state.engine.poll_notice().map(|notice| tell(&notice));
        let (kind, text) = told.map_or((NoticeKind::None, None), |(kind, text)| (kind, Some(text)));
        let text = state.lent.printed(text);
        place.write(Notice { kind, text });
        Ok(())
    })
}

fn tell(notice: &CoreNotice<Arc<str>>) -> (NoticeKind, String) {
    match notice {
        CoreNotice::Lost(count) => (NoticeKind::Lost, format!("{count} notices were lost")),
        CoreNotice::Synced {
            revision, objects, ..
        } => (
            NoticeKind::Synced,
            format!("synced: {objects} objects{}", at(revision.as_ref())),
        ),
        CoreNotice::Restored {
            revision, objects, ..
        } => (
            NoticeKind::Restored,
            format!("restored: {objects} objects{}", at(revision.as_ref())),
        ),
        CoreNotice::Live => (NoticeKind::Live, "live".into()),
        CoreNotice::Stale { reason, .. } => (NoticeKind::Stale, format!("stale: {reason}")),
        CoreNotice::Failed {
            attempt, failure, ..
        } => (
            NoticeKind::Failed,
            format!("attempt {attempt} failed: {failure}"),
        ),
        CoreNotice::TimedOut {
            attempt, reason, ..
        } => {
            let text = format!("attempt {attempt}: not in time: {reason}");
            (NoticeKind::TimedOut, text)
        }
        CoreNotice::Relisted {
            reason,
            added,
            updated,
            deleted,
            ..
        } => {
            let text =
                format!("listed again ({reason}): {added} new, {updated} changed, {deleted} gone");
            (NoticeKind::Relisted, text)
        }
        CoreNotice::ObjectRejected {
            key,
            version,
            error,
            ..
        } => {
            let text = format!("{key:?} in version {version} was rejected: {error}");
            (NoticeKind::ObjectRejected, text)
        }
        CoreNotice::ObjectRecovered { key, .. } => (
            NoticeKind::ObjectRecovered,
            format!("{key:?} is good again, or gone"),
        ),
        CoreNotice::UnknownRejected { error, .. } => (
            NoticeKind::UnknownRejected,
            format!("something was rejected: {error}"),
        ),
        CoreNotice::BadInput { attempt, what, .. } => (
            NoticeKind::BadInput,
            format!("attempt {attempt}: an input was refused: {what}"),
        ),
        other => tell_of_the_source(other),
    }
}

/// What happened to the collection as a whole.
fn tell_of_the_source(notice: &CoreNotice<Arc<str>>) -> (NoticeKind, String) {
    match notice {
        CoreNotice::Diverged { objects, .. } => (
            NoticeKind::Diverged,
            format!("{objects} objects differed, and no event said so"),
        ),
        CoreNotice::Frozen { limit, .. } => (
            NoticeKind::Frozen,
            format!("over the limit of {limit}: nothing is applied until a list fits"),
        ),
        CoreNotice::Thawed => (NoticeKind::Thawed, "a list fits again".into()),
        CoreNotice::StaleList { got, have, .. } => (
            NoticeKind::StaleList,
            format!("a list at {got} is older than {have}, and was refused"),
        ),
        CoreNotice::Rewound {
            from, to, epoch, ..
        } => {
            let of = |revision: &Option<Revision>| {
                let known = revision.as_ref().map(ToString::to_string);
                known.unwrap_or_else(|| "no revision".into())
            };
            let mut text = format!("the source went from {} to {}", of(from), of(to));
            if let Some(epoch) = epoch {
                text.push_str(&format!(", in a new epoch, {epoch}"));
            }
            (NoticeKind::Rewound, text)
        }
        CoreNotice::EpochRefused { .. } => (
            NoticeKind::EpochRefused,
            "the source's epoch changed, which is refused".into(),
        ),
        CoreNotice::Gap { have, expected, .. } => (
            NoticeKind::Gap,
            format!("events between {have} and {expected} are missing"),
        ),
        CoreNotice::DigestMismatch { revision, .. } => (
            NoticeKind::DigestMismatch,
            format!("the source's digest at {revision} is another one"),
        ),
        CoreNotice::HistoryTooShort => (
            NoticeKind::HistoryTooShort,
            "the source keeps less history than a list takes".into(),
        ),
        CoreNotice::FellBack => (
            NoticeKind::FellBack,
            "the source does not stream its initial state: it is listed".into(),
        ),
        CoreNotice::SubscriberReset { .. } => (
            NoticeKind::SubscriberReset,
            "a subscriber was too far behind: it is reset".into(),
        ),
        CoreNotice::Stopped => (NoticeKind::Stopped, "stopped".into()),
        other => (NoticeKind::Other, format!("{other:?}")),
    }
}

fn at(revision: Option<&Revision>) -> String {
    revision.map_or_else(String::new, |revision| format!(" at revision {revision}"))
}
