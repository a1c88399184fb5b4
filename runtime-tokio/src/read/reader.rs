//! The handle for reading.

use std::fmt;
use std::sync::{Arc, Weak};

use reflet_core::index::IndexId;
use reflet_core::{Class, FenceError, Revision, RevisionOrder, SourceProfile};
use tokio::sync::watch;

use crate::probe::canary;

use super::store::Store;
use super::{News, Published, View};
use crate::shared::Shared;

/// A handle for reading: see [`Informer::reader`](crate::Informer::reader).
///
/// Cheap to clone, and usable on any thread, with a runtime or without. Reading waits for nobody,
/// whatever is going on: not for a burst or a relist, which show at once and whole. It shows at
/// least what any stream was handed, and goes on showing it when the informer has ended. A reader
/// does not keep its informer running.
///
/// One read after another may show two publications, never an older one after a newer one. Where
/// several reads must show the same one, a [`view`](Self::view) does.
pub struct Reader<V> {
    store: Arc<Store<V>>,
    news: watch::Receiver<News>,
    /// The publication that [`changed`](Self::changed) has told of last.
    told: u64,
    /// Who can ask the source. Not kept alive.
    driver: Weak<Shared<V>>,
    rule: Rule,
}

/// When a revision counts as reached.
#[derive(Clone, Copy, Debug)]
enum Rule {
    /// Never: the source's revisions have no order.
    Never,
    /// When a publication shows something of it or of a later one: changes come in their order.
    Shown,
    /// When a publication shows all of it or of a later one: nothing else can be relied on.
    Complete,
}

/// Why [`Reader::wait_for`] or [`Reader::changed`] came to nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(not(feature = "simulated"), non_exhaustive)]
pub enum WaitError {
    /// The source's revisions have no order, or this one is no decimal number: nobody can say when
    /// it is reached.
    Unordered,
    /// The source's history was rewound or replaced: revisions from before it mean nothing any more.
    EpochChanged,
    /// The informer was stopped.
    Stopped,
}

impl<V> Reader<V> {
    pub(crate) fn new(
        store: Arc<Store<V>>,
        news: watch::Receiver<News>,
        driver: Weak<Shared<V>>,
        source: &SourceProfile,
    ) -> Self {
        let told = news.borrow().number;
        let rule = match (source.order, source.class) {
            (RevisionOrder::Opaque, _) => Rule::Never,
            (RevisionOrder::Ordered, Class::Pinned | Class::Whole) => Rule::Shown,
            (RevisionOrder::Ordered, Class::Fuzzy) => Rule::Complete,
        };
        Self {
            store,
            news,
            told,
            driver,
            rule,
        }
    }

    /// The object of a key.
    #[must_use]
    pub fn load(&self, key: &str) -> Option<V>
    where
        V: Clone,
    {
        self.store.load(key)
    }

    /// Whether there is an object of this key. Clones nothing.
    #[must_use]
    pub fn contains(&self, key: &str) -> bool {
        self.store.contains(key)
    }

    /// The objects that an index finds under a term, all of one publication, in no particular order;
    /// none if there is no such index. Where they are many, or where several lookups belong together,
    /// a [`view`](Self::view) finds them one at a time.
    ///
    /// Indexes are added by [`Informer::add_index`](crate::Informer::add_index), at any time. For
    /// readers they are kept once more, so each function is asked twice of a change.
    #[must_use]
    pub fn by_index(&self, id: IndexId, term: impl AsRef<[u8]>) -> Vec<(Arc<str>, V)>
    where
        V: Clone,
    {
        self.view().by_index(id, term).collect()
    }

    /// How many objects an index finds under a term; takes no longer for many.
    #[must_use]
    pub fn count_by(&self, id: IndexId, term: impl AsRef<[u8]>) -> usize {
        self.store.head().lookups.count(id, term.as_ref())
    }

    /// The objects that are found under both of two terms, in one index or in two. Takes time by the
    /// smaller number of the two.
    #[must_use]
    pub fn by_both(
        &self,
        one: (IndexId, impl AsRef<[u8]>),
        other: (IndexId, impl AsRef<[u8]>),
    ) -> Vec<(Arc<str>, V)>
    where
        V: Clone,
    {
        self.view().by_both(one, other).collect()
    }

    /// What an owner owns, through an index by
    /// [`IndexBy::owners`](reflet_core::index::IndexBy::owners) that tells owners' keys.
    #[must_use]
    pub fn dependents(&self, id: IndexId, owner: &str) -> Vec<(Arc<str>, V)>
    where
        V: Clone,
    {
        self.by_index(id, owner)
    }

    /// How many objects there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.store.head().len
    }

    /// Whether there are none. So it is before the informer is synced, too.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The newest publication.
    #[must_use]
    pub fn published(&self) -> Published {
        self.store.head().published
    }

    /// Its revision, where the source has revisions; `None` before the first publication, too.
    #[must_use]
    pub fn revision(&self) -> Option<Revision> {
        self.published().revision
    }

    /// All objects as they are now, for as long as the view is kept.
    ///
    /// Waits for the writer at most for the moment in which it shows a publication. A look into a
    /// view costs a little more than [`load`](Self::load), and keeping one costs memory: of each
    /// object that changes meanwhile, what it was.
    #[must_use]
    pub fn view(&self) -> View<V> {
        View::new(self.store.pin())
    }

    /// Waits for a publication that this handle was not told of yet, and tells of the newest one. A
    /// new handle knows the publication of that time, a clone what the original knew. Safe to
    /// cancel.
    ///
    /// # Errors
    /// [`WaitError::Stopped`] if there will be none.
    pub async fn changed(&mut self) -> Result<Published, WaitError> {
        let told = self.told;
        let news = until(&self.news, |news| news.number > told || news.ended).await?;
        if news.number == told {
            return Err(WaitError::Stopped);
        }
        self.told = news.number;
        Ok(news.published)
    }

    /// Waits until readers see everything up to a revision: who has just written something, and
    /// knows the revision that the source gave it, reads that from then on. Safe to cancel.
    ///
    /// The publication it returns may be of a later revision. If it is of this very one and not
    /// [`complete`](Published::complete), more changes of the same revision may follow: so it is
    /// with sources that give several changes one revision and do not say which is the last. Of
    /// sources whose lists are not of one revision ([`Class::Fuzzy`]) only complete ones count.
    ///
    /// # Errors
    /// [`WaitError::Unordered`], at once, if nobody can say when that is;
    /// [`WaitError::EpochChanged`] if the source's history was rewound or replaced meanwhile;
    /// [`WaitError::Stopped`] if the informer was stopped before.
    pub async fn wait_for(&self, revision: &Revision) -> Result<Published, WaitError> {
        if matches!(self.rule, Rule::Never) || revision.compare(revision).is_none() {
            return Err(WaitError::Unordered);
        }
        // What can be seen may still have to be told: then it comes, and is of this epoch.
        let epoch = self.published().local_epoch;
        let reached =
            |news: &News| news.published.local_epoch == epoch && self.rule.reached(news, revision);
        let news = until(&self.news, |news| {
            news.ended || news.published.local_epoch > epoch || reached(news)
        });
        let news = news.await?;
        if news.published.local_epoch > epoch {
            Err(WaitError::EpochChanged)
        } else if reached(&news) {
            Ok(news.published)
        } else {
            Err(WaitError::Stopped)
        }
    }

    /// Waits until readers see everything that was in the source when this was called, and tells of
    /// the newest publication then: see [`Informer::fence`](crate::Informer::fence).
    ///
    /// # Errors
    /// [`FenceError::NotOffered`], at once, if the source's lists promise too little;
    /// [`FenceError::Stopped`] if the informer was stopped before, or if there is none, as with an
    /// engine that is driven by hand.
    pub async fn fence(&self) -> Result<Published, FenceError>
    where
        V: Clone,
    {
        let driver = self.driver.upgrade().ok_or(FenceError::Stopped)?;
        driver.fence().await?;
        Ok(self.published())
    }
}

async fn until(
    news: &watch::Receiver<News>,
    wanted: impl FnMut(&News) -> bool,
) -> Result<News, WaitError> {
    let mut news = news.clone();
    // The channel closes with the last of the informer.
    let found = news.wait_for(wanted).await;
    found
        .map(|news| news.clone())
        .map_err(|_| WaitError::Stopped)
}

impl Rule {
    fn reached(self, news: &News, revision: &Revision) -> bool {
        let Published {
            revision: shown,
            complete,
            local_epoch: _,
            restored: _,
        } = &news.published;
        let enough = match self {
            Self::Never => false,
            Self::Shown => true,
            Self::Complete => *complete,
        };
        let order = shown.as_ref().and_then(|shown| shown.compare(revision));
        enough && order.is_some_and(|order| order.is_ge() || canary!(WaitEndsEarly))
    }
}

impl<V> Clone for Reader<V> {
    fn clone(&self) -> Self {
        Self {
            store: Arc::clone(&self.store),
            news: self.news.clone(),
            told: self.told,
            driver: Weak::clone(&self.driver),
            rule: self.rule,
        }
    }
}

impl<V> fmt::Debug for Reader<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let head = self.store.head();
        f.debug_struct("Reader")
            .field("len", &head.len)
            .field("published", &head.published)
            .finish_non_exhaustive()
    }
}

impl fmt::Display for WaitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unordered => {
                "the revision has no order to wait by: put up a fence, where the source offers one"
            }
            Self::EpochChanged => "the source's history is another one by now",
            Self::Stopped => "the informer was stopped",
        })
    }
}

impl std::error::Error for WaitError {}
