//! A subscriber of the search.

use reflet_core::cache::{Delta, Mark, Polled, SubscriberId};

use super::check::{self, Broken};
use super::state::Engine;
use super::world::{Collection, Name, Object, Source};

/// What a subscriber knows by folding its deltas.
#[derive(Clone, Debug, Hash)]
pub(super) struct Follower {
    pub(super) id: SubscriberId,
    pub(super) objects: Collection,
    pub(super) mark: Option<Mark>,
    /// It takes its deltas late, so it may be reset.
    is_slow: bool,
}

impl Follower {
    pub(super) fn new(engine: &mut Engine, is_slow: bool) -> Self {
        Self {
            id: engine.subscribe(None),
            objects: Collection::default(),
            mark: None,
            is_slow,
        }
    }

    /// Takes one delta, and checks it. False: there was none.
    pub(super) fn poll(&mut self, engine: &mut Engine, source: &Source) -> Result<bool, Broken> {
        match engine.poll_delta(self.id) {
            Polled::Delta(delta) => self.fold(&delta, source).map(|()| true),
            Polled::Yield => Ok(true),
            Polled::Idle => Ok(false),
        }
    }

    fn fold(&mut self, delta: &Delta<Name, Object>, source: &Source) -> Result<(), Broken> {
        let have = |key: &Name| self.objects[key.index()];
        let valid = match delta {
            Delta::Added { key, .. } => have(key).is_none(),
            Delta::Updated { key, old, new } => {
                have(key) == Some(*old) && old != new && old.uid == new.uid
            }
            Delta::Deleted { key, seen, .. } => have(key) == Some(*seen),
            Delta::Mark(mark) => {
                check::mark(mark, self.mark.as_ref(), &self.objects, source)?;
                true
            }
            // Nobody asked for it.
            Delta::Redelivered { .. } | Delta::Gap(_) => false,
            // Only who lags behind can be over its limit (P10).
            Delta::Reset => self.is_slow,
        };
        if !valid {
            return Err(Broken::fold(delta, &self.objects));
        }
        match delta {
            Delta::Added { key, new } | Delta::Updated { key, new, .. } => {
                self.objects[key.index()] = Some(*new);
            }
            Delta::Deleted { key, .. } => self.objects[key.index()] = None,
            Delta::Redelivered { .. } | Delta::Gap(_) => {}
            Delta::Mark(mark) => self.mark = Some(mark.clone()),
            Delta::Reset => (self.objects, self.mark) = (Collection::default(), None),
        }
        Ok(())
    }
}
