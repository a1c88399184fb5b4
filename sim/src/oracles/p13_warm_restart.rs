//! P13: a restored snapshot equals one complete revision of the source and epoch, and is called
//! what it is until the source has confirmed it; anything invalid is refused.

use reflet_core::{Epoch, Revision, State};

use super::p03_one_real_state::differences;
use super::{Checked, Content, Promise};

/// What a snapshot was taken of.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Kept {
    /// The objects.
    pub objects: Content,
    /// Their revision.
    pub revision: Option<Revision>,
    /// Its epoch, where the source has epochs.
    pub epoch: Option<Epoch>,
}

impl Kept {
    /// A snapshot was taken of a cache that shows all of its revision, or not.
    ///
    /// # Errors
    ///
    /// If it does not.
    pub fn check_taken(complete: bool) -> Checked {
        Promise::WarmRestart.require(complete, || {
            "a snapshot was taken between two states of the source".to_owned()
        })
    }

    /// An informer has just been restored, and this is what it has and how it calls that.
    ///
    /// # Errors
    ///
    /// If it has anything else than was kept, or takes it for more than it is.
    pub fn check_restored(&self, ours: &Self, state: State, synced: bool) -> Checked {
        let said = "a restored informer";
        Promise::WarmRestart.require(ours.objects == self.objects, || {
            let different = differences(&ours.objects, &self.objects);
            format!("{said} has other objects than the snapshot: {different}")
        })?;
        let (here, there) = (&ours.revision, &self.revision);
        Promise::WarmRestart.require(here == there, || {
            format!("{said} is at {here:?}, its snapshot at {there:?}")
        })?;
        let (here, there) = (&ours.epoch, &self.epoch);
        Promise::WarmRestart.require(here == there, || {
            format!("{said} is in {here:?}, its snapshot in {there:?}")
        })?;
        Promise::WarmRestart.require(state == State::Stale && !synced, || {
            format!("{said} calls itself {state:?}, synced: {synced}")
        })
    }

    /// A mark says that the state comes from a snapshot: then that is all that there is.
    ///
    /// # Errors
    ///
    /// If it names another revision.
    pub fn check_mark(&self, revision: Option<&Revision>) -> Checked {
        let there = self.revision.as_ref();
        Promise::WarmRestart.require(revision == there, || {
            format!("a mark of {revision:?} is called restored; the snapshot is of {there:?}")
        })
    }

    /// A damaged snapshot was refused, or not.
    ///
    /// # Errors
    ///
    /// If it was not.
    pub fn check_damaged(refused: bool) -> Checked {
        Promise::WarmRestart.require(refused, || "a damaged snapshot was read".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept() -> Kept {
        Kept {
            objects: [("a".into(), 1)].into(),
            revision: Some(7.into()),
            epoch: Some(Epoch::new("e1")),
        }
    }

    #[test]
    fn fires_when_anything_else_is_restored() {
        let stale = |ours: &Kept| kept().check_restored(ours, State::Stale, false);
        assert_eq!(stale(&kept()), Ok(()));
        let objects = [("a".into(), 2)].into();
        assert!(stale(&Kept { objects, ..kept() }).is_err());
        let revision = Some(6.into());
        assert!(stale(&Kept { revision, ..kept() }).is_err());
        let epoch = None;
        assert!(stale(&Kept { epoch, ..kept() }).is_err());
    }

    #[test]
    fn fires_when_it_passes_for_more_than_it_is() {
        assert!(kept().check_restored(&kept(), State::Live, false).is_err());
        assert!(kept().check_restored(&kept(), State::Stale, true).is_err());
        assert_eq!(kept().check_mark(Some(&7.into())), Ok(()));
        assert!(kept().check_mark(Some(&8.into())).is_err());
    }

    #[test]
    fn fires_on_half_a_state_and_on_damage() {
        assert_eq!(Kept::check_taken(true), Ok(()));
        assert!(Kept::check_taken(false).is_err());
        assert!(Kept::check_damaged(false).is_err());
    }
}
