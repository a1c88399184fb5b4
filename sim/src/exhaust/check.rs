//! What must hold at every point, checked literally against the source.

use std::time::Duration;

use reflet_core::cache::{Delta, Mark};

use super::state::{Action, State};
use super::world::{Collection, KEYS, Name, Object, Source};

/// A promise that was broken, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Broken {
    pub(super) promise: &'static str,
    pub(super) how: String,
}

impl Broken {
    fn new(promise: &'static str, how: impl Into<String>) -> Self {
        Self {
            promise,
            how: how.into(),
        }
    }

    pub(super) fn fold(delta: &Delta<Name, Object>, objects: &Collection) -> Self {
        let isolation = matches!(delta, Delta::Reset);
        Self::new(
            if isolation { "P10" } else { "P4" },
            format!("{delta:?} does not fit {objects:?}"),
        )
    }
}

/// P3, P4, P9: a mark names exactly what its subscriber was handed.
pub(super) fn mark(
    mark: &Mark,
    last: Option<&Mark>,
    objects: &Collection,
    source: &Source,
) -> Result<(), Broken> {
    let Some(revision) = mark
        .revision
        .as_ref()
        .and_then(|revision| revision.as_u64())
    else {
        return Err(Broken::new("P9", format!("{mark:?} names no revision")));
    };
    let before = last.and_then(|last| last.revision.as_ref()?.as_u64());
    if before.is_some_and(|before| before > revision) {
        return Err(Broken::new("P2", format!("{mark:?} after {last:?}")));
    }
    if last.is_some() == mark.initial {
        return Err(Broken::new("P9", format!("{mark:?} after {last:?}")));
    }
    real("P4", source, revision, mark.complete, objects)
}

/// P3: a complete state is what the source had at its revision. Of a partial one each key is as it
/// was at that revision, or at the one before.
fn real(
    promise: &'static str,
    source: &Source,
    revision: u64,
    complete: bool,
    objects: &Collection,
) -> Result<(), Broken> {
    let Some(then) = source.state_at(revision) else {
        return Err(Broken::new(
            promise,
            format!("there was no revision {revision}"),
        ));
    };
    let before = source
        .state_at(revision.saturating_sub(1))
        .filter(|_| !complete);
    if !complete && source.profile.source().batch_ends {
        return Err(Broken::new(
            promise,
            format!("revision {revision} shows in part"),
        ));
    }
    for key in KEYS {
        let (have, at) = (objects[key.index()], key.index());
        let was = before.is_some_and(|before| before[at] == have);
        if have != then[at] && !was {
            let words = format!("{key} is {have:?}, and was {:?} at {revision}", then[at]);
            return Err(Broken::new(promise, words));
        }
    }
    Ok(())
}

/// What the cache has.
fn contents(state: &State) -> Collection {
    let mut contents = Collection::default();
    for entry in state.engine.cache().iter() {
        contents[entry.key.index()] = Some(*entry.value);
    }
    contents
}

fn revision(state: &State) -> Option<u64> {
    state.engine.cache().revision()?.as_u64()
}

/// Everything that must hold after a step.
pub(super) fn step(before: &State, after: &State) -> Result<(), Broken> {
    let (cache, objects) = (after.engine.cache(), contents(after));
    if let Some(revision) = revision(after) {
        real("P3", &after.source, revision, cache.is_complete(), &objects)?;
    } else if cache.is_synced() {
        return Err(Broken::new("P3", "the cache shows no revision"));
    }
    if revision(before) > revision(after) {
        let words = format!(
            "revision {:?} after {:?}",
            revision(after),
            revision(before)
        );
        return Err(Broken::new("P2", words));
    }
    for (old, new) in contents(before).iter().zip(&objects) {
        if let (Some(old), Some(new)) = (old, new)
            && old.uid == new.uid
            && old.revision > new.revision
        {
            return Err(Broken::new("P2", format!("{new:?} after {old:?}")));
        }
    }
    if (after.engine.is_synced() || cache.is_synced()) && !after.served {
        return Err(Broken::new("P9", "synced before a complete state"));
    }
    if after.quick.objects != objects {
        let words = format!(
            "the quick subscriber has {:?}, not {objects:?}",
            after.quick.objects
        );
        return Err(Broken::new("P4", words));
    }
    let (retained, limit) = (
        cache.retained_bytes(),
        after.engine.config().limits.retained_bytes,
    );
    if retained > limit {
        return Err(Broken::new(
            "P8",
            format!("{retained} bytes are kept, which is over {limit}"),
        ));
    }
    next_step(after)
}

/// P6: there is a deadline, and it is not too far away.
fn next_step(state: &State) -> Result<(), Broken> {
    let bound = state
        .now
        .saturating_add(state.engine.config().next_attempt_bound());
    match state.engine.poll_timeout() {
        None => Err(Broken::new("P6", "there is no deadline")),
        Some(deadline) if deadline.at > bound => Err(Broken::new(
            "P6",
            format!("{:?} is too far away", deadline.reason),
        )),
        Some(_) => Ok(()),
    }
}

/// P1: the state shows all that the source has.
pub(super) fn has_converged(state: &State) -> bool {
    let (cache, source) = (state.engine.cache(), &state.source);
    cache.is_complete()
        && revision(state) == Some(source.head())
        && contents(state) == source.newest().after
}

/// What a benign world does next: it lets everybody speak, in order, and time pass when nobody
/// has anything to say.
pub(super) fn benign(state: &State) -> Action {
    let mut dialogues = state.source.dialogues.iter();
    dialogues
        .position(|dialogue| !dialogue.dead && state.source.word(dialogue).is_some())
        .map_or(Action::Wait, Action::Speak)
}

/// P1: it took too long, or too many steps.
pub(super) fn late(state: &State, took: Duration) -> Broken {
    let why = state.engine.poll_timeout().map(|deadline| deadline.reason);
    let health = state.engine.health().reason;
    Broken::new(
        "P1",
        format!("not converged after {took:?}: waits for {why:?}, says {health:?}"),
    )
}

/// P4, P8: subscribers that have caught up with a quiet source know what the source has, and nothing
/// is kept for them any more.
pub(super) fn caught_up(state: &State) -> Result<(), Broken> {
    for follower in [&state.quick, &state.slow] {
        let revision = follower.mark.as_ref().filter(|mark| mark.complete);
        let revision = revision.and_then(|mark| mark.revision.as_ref()?.as_u64());
        if follower.objects != state.source.newest().after || revision != Some(state.source.head())
        {
            let words = format!("{follower:?} is not {:?}", state.source.newest());
            return Err(Broken::new("P4", words));
        }
    }
    match state.engine.cache().retained_bytes() {
        0 => Ok(()),
        bytes => Err(Broken::new(
            "P8",
            format!("{bytes} bytes are kept for nobody"),
        )),
    }
}
