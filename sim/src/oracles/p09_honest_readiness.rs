//! P9: *synced* follows a complete state from the source, and so does every mark.

use super::{Checked, Promise};

/// Whether a complete state was handed over, and what was said of it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Readiness {
    served: bool,
    announced: bool,
}

impl Readiness {
    /// The last word of a full state was handed over.
    pub fn served(&mut self) {
        self.served = true;
    }

    /// The engine says whether it is synced, or a mark implies it.
    ///
    /// # Errors
    ///
    /// If no full state was served before.
    pub fn check(&self, synced: bool, who: &str) -> Checked {
        Promise::HonestReadiness.require(self.served || !synced, || {
            format!("{who}, but the source has not shown a complete state yet")
        })
    }

    /// The engine announces that it has synced.
    ///
    /// # Errors
    ///
    /// If it is too early, or the second time.
    pub fn announce(&mut self) -> Checked {
        let again = std::mem::replace(&mut self.announced, true);
        Promise::HonestReadiness.require(!again, || "synced was announced twice".to_owned())?;
        self.check(true, "synced was announced")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fires_when_synced_is_said_early_or_twice() {
        let mut readiness = Readiness::default();
        assert_eq!(readiness.check(false, ""), Ok(()));
        assert!(readiness.check(true, "a mark").is_err());
        assert!({ readiness }.announce().is_err());
        readiness.served();
        assert_eq!(readiness.announce(), Ok(()));
        assert!(readiness.announce().is_err());
    }
}
