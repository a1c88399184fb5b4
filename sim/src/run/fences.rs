//! Fences: each that is passed is compared with what was in the source when it was put up.

use reflet_core::{Fence, FenceError, probe};

use super::Run;
use crate::oracles::{Checked, Promise, check_fence};
use crate::story::Kind;
use crate::world::{Ask, Object, Place, Start};

/// A fence that is not passed yet, and where the source was when it was put up.
#[derive(Clone, Copy, Debug)]
pub(super) struct Standing {
    fence: Fence,
    at: Place,
}

impl Run<'_> {
    pub(super) fn put_up_fence(&mut self) -> Checked {
        let now = self.call_time();
        let at = self.world.place();
        let fence = match self.engine.fence(now) {
            Ok(fence) => fence,
            Err(error) => return Promise::HonestReadiness.broken(format!("no fence: {error}")),
        };
        self.say_of_fences(format_args!(
            "a fence is put up at r{} in e{}",
            at.head, at.epoch
        ));
        self.standing.push(Standing { fence, at });
        self.after_call(true)
    }

    /// A source that promises too little has no fences.
    pub(super) fn check_fence_refused(&mut self) -> Checked {
        let refused = self.engine.fence(self.told) == Err(FenceError::NotOffered);
        Promise::HonestReadiness.require(refused, || {
            "there is a fence, and the source's lists may be old".to_owned()
        })
    }

    /// A replica that is asked for a full state catches up before it reads it.
    pub(super) fn freshen(&mut self, replica: usize, ask: Ask) {
        let full = match ask {
            Ask::List { .. } => true,
            Ask::Watch { from, .. } => matches!(from, Start::Initial(_)),
        };
        if full && self.config.source.fresh_lists {
            self.world.sync(replica, u64::MAX);
        }
    }

    /// Compares what fences were put up for that are passed now.
    pub(super) fn check_fences(&mut self) -> Checked {
        let read = self.engine.last_read();
        let passes = |standing: &mut Standing| standing.fence.is_passed_by(read);
        let passed: Vec<_> = self.standing.extract_if(.., passes).collect();
        for Standing { at, .. } in passed {
            self.say_of_fences(format_args!(
                "the fence of r{} in e{} is passed",
                at.head, at.epoch
            ));
            if at.epoch < self.world.epoch() {
                probe::count("fence passed in another history");
            }
            // Nobody can tell which history a list without its name is of.
            if !self.observer.is_confused() {
                self.check_passed(at)?;
            }
        }
        Ok(())
    }

    /// Each key shows what it was at this place, or has been since; quarantined keys apart.
    fn check_passed(&self, at: Place) -> Checked {
        let apart = self.apart(&self.engine.health());
        let states: Vec<_> = self.world.states_since(at).collect();
        for (key, name) in (0..).zip(&self.world.names) {
            if !apart.contains(name) {
                let shown = self.engine.cache().get(name).copied();
                let since = states
                    .iter()
                    .map(|state| state.get(&key).map(Object::value));
                check_fence(name, shown, since)?;
            }
        }
        Ok(())
    }

    fn say_of_fences(&mut self, words: std::fmt::Arguments<'_>) {
        let lane = self.lanes.cache;
        self.story.say(lane, Kind::Normal, words, String::new);
    }
}
