//! What is known of a run from outside, without a look into the engine.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use reflet_core::{Config, Notice, OnRewind, Revision, Timestamp};

use super::network::Talk;
use crate::oracles::{Ceiling, Checked, Content, Pace, Readiness, Revisions, Rewinds, Versions};
use crate::trace::{Lie, Setup};
use crate::world::{Place, Poison, Shape, State, Word, World};

/// How far the cache can be believed at some time; a snapshot that is taken then can be no more.
#[derive(Clone, Debug, Default)]
pub(super) struct Beliefs {
    lied: bool,
    losses: Vec<Loss>,
    blurred: bool,
    suspect: BTreeSet<(u64, u64)>,
    epochs: Vec<(u64, usize)>,
}

impl Beliefs {
    /// The process of now goes back to then; `rewound`: the source was set back in between.
    pub(super) fn set_back(&mut self, rewound: bool, now: &Observer) {
        self.blurred |= rewound && !now.shape.epochs;
    }
}

/// A transaction that the engine was not told of.
#[derive(Clone, Copy, Debug)]
struct Loss {
    at: Place,
    /// Something of it was told.
    in_part: bool,
    /// Only a list makes up for it.
    for_good: bool,
    /// Predecessors and digests together find it before anything after it counts as complete.
    found_at_once: bool,
}

/// A full state that was handed over to its end.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ended {
    at: Option<Place>,
    clean: bool,
    content_wanted: bool,
    content: bool,
}

/// What is known from outside.
pub(super) struct Observer {
    shape: Shape,
    pub(super) attempts: Pace,
    pub(super) pages: Pace,
    pub(super) readiness: Readiness,
    pub(super) revisions: Revisions,
    pub(super) versions: Versions,
    pub(super) ceiling: Ceiling,
    pub(super) detectable: bool,
    /// The source has lied: what it is said to hold means nothing.
    pub(super) lied: bool,
    losses: Vec<Loss>,
    /// The source was set back, and has no names for its histories: nobody can tell them apart.
    pub(super) blurred: bool,
    /// The policy for older lists: how many, over how long.
    rewind_after: (u32, Duration),
    /// Notices were lost.
    pub(super) unheard: bool,
    /// Two transactions changed places: what a key was before may come once more.
    pub(super) swapped: bool,
    /// A verify of the content was asked for.
    pub(super) content_wanted: bool,
    /// Keys that could not be decoded at some time.
    pub(super) spoilt: BTreeSet<Arc<str>>,
    /// Of these, the ones that the source itself has in good order.
    pub(super) spoilt_on_the_way: BTreeSet<Arc<str>>,
    /// What was shown while something was lost, blurred or a lie: local epochs and revisions.
    pub(super) suspect: BTreeSet<(u64, u64)>,
    /// The history of the source that each local epoch stands for.
    pub(super) epochs: Vec<(u64, usize)>,
    pub(super) ended: Option<Ended>,
    /// The state that is being handed over was found to be older than the cache.
    stale: bool,
    pub(super) refusal: Option<bool>,
    /// The cache's digest, and the source's, at the same revision.
    pub(super) digests: Option<(u64, u64)>,
    /// The last complete revision.
    pub(super) complete: u64,
    /// The cache held a state of the source after the call before.
    pub(super) was_synced: bool,
    /// What the cache showed last: local epoch, revision, whether complete, objects.
    pub(super) shown: (u64, u64, bool, usize),
    /// What the cache held before the last word, if anything was ever rejected.
    pub(super) known: Content,
    /// The evidence for a rewind.
    rewinds: Rewinds,
    /// How many subscribers have left of whom something may still be kept.
    pub(super) left: usize,
    /// A large world's state when it was last compared.
    pub(super) compared: Option<State>,
    /// The revision that this process began with: who tells of it, or of a later one, confirms it.
    floor: Option<u64>,
}

/// What the notices of one call said.
#[derive(Default)]
pub(super) struct Told {
    pub(super) refused: bool,
    pub(super) bad: bool,
    pub(super) rewound: bool,
    pub(super) lost: bool,
    pub(super) mismatch: bool,
    /// Objects whose deletes were inferred.
    pub(super) inferred: usize,
    pub(super) rejected: Vec<Arc<str>>,
    pub(super) count: usize,
}

impl Observer {
    pub(super) fn new(config: &Config, setup: &Setup) -> Self {
        let (timing, shape) = (&config.timing, setup.shape);
        Self {
            shape,
            attempts: Pace::new("attempts", timing.burst, timing.min_interval),
            pages: Pace::new("pages", timing.page_burst, timing.page_interval),
            readiness: Readiness::default(),
            revisions: Revisions::default(),
            versions: Versions::default(),
            ceiling: Ceiling::default(),
            detectable: shape.predecessors
                || shape.digests
                || shape.is_whole()
                || timing.verify_period.is_some(),
            rewind_after: match config.policy.rewind {
                OnRewind::Refuse => (u32::MAX, Duration::MAX),
                OnRewind::AcceptAfter { lists, span } => {
                    (lists, span.max(config.source.replica_lag))
                }
            },
            lied: false,
            losses: Vec::new(),
            blurred: false,
            unheard: false,
            swapped: false,
            content_wanted: false,
            spoilt: BTreeSet::new(),
            spoilt_on_the_way: BTreeSet::new(),
            suspect: BTreeSet::new(),
            epochs: Vec::new(),
            ended: None,
            stale: false,
            refusal: None,
            digests: None,
            complete: 0,
            was_synced: false,
            shown: (0, 0, false, 0),
            known: Content::new(),
            rewinds: Rewinds::default(),
            left: 0,
            compared: None,
            floor: None,
        }
    }

    pub(super) fn beliefs(&self) -> Beliefs {
        Beliefs {
            lied: self.lied,
            losses: self.losses.clone(),
            blurred: self.blurred,
            suspect: self.suspect.clone(),
            epochs: self.epochs.clone(),
        }
    }

    /// Another process begins: what was seen of the one before no longer counts.
    pub(super) fn restart(&mut self, beliefs: Beliefs, config: &Config, setup: &Setup) {
        let Beliefs {
            lied,
            losses,
            blurred,
            suspect,
            epochs,
        } = beliefs;
        *self = Self {
            lied,
            losses,
            blurred,
            suspect,
            epochs,
            spoilt: std::mem::take(&mut self.spoilt),
            spoilt_on_the_way: std::mem::take(&mut self.spoilt_on_the_way),
            ..Self::new(config, setup)
        };
    }

    /// It begins with a snapshot of this revision, and never shows an older one (P2).
    pub(super) fn warm(&mut self, local: u64, revision: u64) -> Checked {
        self.complete = revision;
        self.was_synced = true;
        if self.shape.opaque {
            self.floor = Some(0);
            return Ok(());
        }
        self.floor = Some(revision);
        self.revisions.show(local, revision)
    }

    /// Whether a word shows that the source has what this process began with.
    fn confirms(&self, word: &Word, lie: Option<Lie>) -> bool {
        let at = match word {
            Word::Put(_, _, at, _) | Word::Delete(_, _, at, _) => at,
            Word::BatchEnd(at) | Word::Progress(at, _) => at,
            _ => return false,
        };
        self.floor
            .is_some_and(|floor| lie.is_some() || *at >= floor)
    }

    /// Whether a list that begins now compares contents: unless one that has just ended did.
    pub(super) fn wants_content(&self) -> bool {
        let used_up = self
            .ended
            .as_ref()
            .is_some_and(|ended| ended.content_wanted);
        self.content_wanted && !used_up
    }

    pub(super) fn has_lied(&self) -> bool {
        self.lied
    }

    pub(super) fn has_losses(&self) -> bool {
        !self.losses.is_empty()
    }

    /// A word is about to be handed over.
    pub(super) fn hears(&mut self, word: &Word, lie: Option<Lie>, world: &World) {
        self.lied |= lie.is_some_and(|lie| self.misleads(lie));
        let completes = word.completes() && !lie.is_some_and(Lie::hides_an_end);
        if completes || self.confirms(word, lie) {
            self.readiness.served();
        }
        match word {
            Word::Put(_, object, at, previous) | Word::Delete(_, object, at, previous) => {
                self.misses(*previous);
                if self.shape.batch_ends && object.poison != Poison::Key && *at > self.complete {
                    self.ceiling.begins(*at);
                }
            }
            Word::BatchEnd(at) => self.ceiling.ends(*at),
            _ => {}
        }
        if let Word::Item(key, object) | Word::Initial(key, object) | Word::Put(key, object, ..) =
            word
            && object.poison != Poison::None
            && let Some(name) = world.names.get(*key as usize)
        {
            self.spoilt.insert(Arc::clone(name));
        }
    }

    /// Whether a lie can be believed. The others can only be refused, and change nothing else.
    fn misleads(&self, lie: Lie) -> bool {
        match lie {
            Lie::OutOfPlace | Lie::Token | Lie::Long => false,
            Lie::NotDecimal => self.shape.opaque,
            Lie::Huge
            | Lie::Zero
            | Lie::Lower
            | Lie::LongKey
            | Lie::BatchEnd
            | Lie::Unchanged
            | Lie::NoRevision
            | Lie::Removal => true,
        }
    }

    /// A good object is spoilt on its way.
    pub(super) fn spoils(&mut self, word: &Word, world: &World) {
        if let Word::Item(key, _) | Word::Initial(key, _) | Word::Put(key, ..) = word
            && let Some(name) = world.names.get(*key as usize)
        {
            self.spoilt_on_the_way.insert(Arc::clone(name));
        }
    }

    /// An event names its predecessor: that one must have been seen.
    fn misses(&mut self, previous: u64) {
        let lost = |loss: &Loss| loss.at.head == previous && !loss.in_part;
        let named = self.shape.predecessors && !self.shape.fuzzy && previous > self.complete;
        if named && self.losses.iter().any(lost) {
            self.ceiling.detected(previous - 1);
        }
    }

    /// A word was handed over.
    pub(super) fn spoke(&mut self, word: &Word, talk: Option<&Talk>) {
        if let Some(talk) = talk.filter(|_| word.completes()) {
            self.ended = Some(Ended {
                at: talk.dialogue.pinned(),
                clean: talk.clean,
                content_wanted: talk.content_wanted,
                content: talk.content,
            });
        }
    }

    pub(super) fn expect_refusal(&mut self, changed: bool) {
        self.refusal = Some(changed);
    }

    /// A transaction was lost on its way.
    pub(super) fn lost(&mut self, epoch: usize, revision: u64, in_part: bool) {
        self.losses.push(Loss {
            at: Place {
                epoch,
                head: revision,
            },
            in_part,
            for_good: false,
            found_at_once: self.shape.predecessors && self.shape.digests && !in_part,
        });
    }

    /// Old words came once more, in a source that cannot tell old from new.
    pub(super) fn replayed(&mut self, here: Place) {
        self.losses.push(Loss {
            at: here,
            in_part: true,
            for_good: true,
            found_at_once: false,
        });
    }

    /// A new list starts.
    pub(super) fn lists(&mut self) {
        self.stale = false;
    }

    /// A new watch starts after a revision: what was lost later comes once more.
    pub(super) fn resumes(&mut self, revision: u64) {
        self.losses
            .retain(|loss| loss.at.head <= revision || loss.for_good);
        if self.ceiling.check(revision).is_ok() {
            self.ceiling.made_up();
        }
    }

    /// The source was set back.
    pub(super) fn restored(&mut self, engaged: bool) {
        self.blurred |= engaged && !self.shape.epochs;
    }

    /// A revision in the world's numbers.
    pub(super) fn number(&self, revision: &Revision) -> Option<u64> {
        let text = revision.to_string();
        let digits = if self.shape.opaque {
            text.strip_prefix('r')?
        } else {
            &text
        };
        digits.parse().ok()
    }

    /// Whether what is in the cache may be no state that ever was, with good reason.
    pub(super) fn is_suspended(&self) -> bool {
        // A digest is not comparable while something is rejected.
        let comparable = self.spoilt.is_empty();
        let hidden = |loss: &Loss| !loss.found_at_once || !comparable;
        self.lied || self.blurred || self.losses.iter().any(hidden)
    }

    /// Whether histories or words may be mixed up.
    pub(super) fn is_confused(&self) -> bool {
        self.lied || self.blurred
    }

    pub(super) fn is_suspect(&self, local: u64, revision: u64) -> bool {
        self.lied || self.suspect.contains(&(local, revision))
    }

    /// The histories that a local epoch can stand for.
    pub(super) fn candidates(&self, world: &World, local: u64) -> Vec<usize> {
        if !self.shape.epochs {
            return (0..=world.epoch()).rev().collect();
        }
        let known = self.epochs.iter().find(|(epoch, _)| *epoch == local);
        known.map(|(_, epoch)| *epoch).into_iter().collect()
    }

    pub(super) fn takes(&mut self, notice: &Notice<Arc<str>>, told: &mut Told) -> Checked {
        told.count += 1;
        match notice {
            Notice::Lost(_) => {
                told.lost = true;
                self.unheard = true;
            }
            Notice::Synced { .. } => self.readiness.announce()?,
            Notice::Relisted { deleted, .. } => told.inferred += deleted,
            Notice::ObjectRejected { key, .. } => told.rejected.push(Arc::clone(key)),
            // Good again in the same batch.
            Notice::ObjectRecovered { key } => told.rejected.retain(|rejected| rejected != key),
            Notice::StaleList { .. } => self.stale = true,
            Notice::EpochRefused { .. } | Notice::Frozen { .. } => told.refused = true,
            Notice::BadInput { .. } => {
                told.refused = true;
                told.bad = true;
            }
            Notice::Rewound { .. } => told.rewound = true,
            Notice::Gap { have, .. } => {
                let have = self.number(have).unwrap_or(0);
                self.ceiling.detected(have.max(self.complete));
            }
            Notice::DigestMismatch { .. } => {
                told.mismatch = true;
                self.ceiling.detected(self.complete);
            }
            _ => {}
        }
        Ok(())
    }

    /// What a full state that was taken makes up for.
    pub(super) fn settle(
        &mut self,
        told: &Told,
        all_clean: bool,
        synced_before: bool,
        now: Timestamp,
    ) -> Checked {
        if told.rewound {
            self.ceiling.made_up();
        }
        let Some(ended) = self.ended.take() else {
            return Ok(());
        };
        if self.stale {
            self.rewinds.older(now);
            if told.rewound && !told.lost && !self.lied {
                self.rewinds.check(now, self.rewind_after)?;
            }
        } else {
            self.rewinds = Rewinds::default();
        }
        if (told.refused || self.stale) && !told.rewound && !told.lost {
            return Ok(());
        }
        self.ceiling.made_up();
        self.ceiling.covered(ended.at.map_or(0, |at| at.head));
        self.versions.list();
        if ended.content_wanted {
            self.content_wanted = false;
        }
        if told.lost {
            return Ok(());
        }
        if let Some(at) = ended.at {
            self.losses.retain(|loss| {
                loss.at.epoch > at.epoch || (loss.at.epoch == at.epoch && loss.at.head > at.head)
            });
        }
        let fresh = ended.content || told.rewound || !synced_before;
        if ended.clean && all_clean && fresh {
            self.blurred = false;
            self.versions = Versions::default();
        }
        Ok(())
    }

    /// Nobody hears whether what was handed over was taken.
    pub(super) fn neglected(&mut self) {
        let ended = self.ended.take();
        self.content_wanted &= !ended.is_some_and(|ended| ended.content_wanted);
        self.rewinds.missed();
        self.ceiling.made_up();
        self.refusal = None;
        self.digests = None;
    }
}
