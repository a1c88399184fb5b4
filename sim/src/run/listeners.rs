//! Subscribers: fast, slow, late, leaving, with filters that change, or never polled at all.

use std::num::NonZero;
use std::sync::Arc;
use std::time::Duration;

use reflet_core::cache::{
    Delta, Filter, Mark, Partition, Polled, Reached, SubscriberId, Subscription,
};

use super::{Company, MOST_SUBSCRIBERS, Run};
use crate::oracles::{
    Broken, Checked, Chronicle, Content, Fold, Lossless, Promise, Redelivery, Revisions,
    check_partitions,
};
use crate::story::{Kind, LaneId};
use crate::trace::{Interest, Joining};

/// How many deltas are lent at once to who takes all.
const BATCH: usize = 256;

/// One subscriber, and what it knows.
pub(super) struct Listener {
    id: SubscriberId,
    joining: Joining,
    fold: Fold,
    redelivery: Redelivery,
    lossless: Option<Lossless>,
    marks: Revisions,
    here: bool,
    /// So many marks until what it is told of is no older than all that the follower has: that of
    /// the pass under way, and of the one that begins where it ends.
    pub(super) older: u8,
    /// A filter that it had before may still have a say, until the next mark.
    pub(super) refilters: bool,
    lane: LaneId,
}

impl Listener {
    /// It is told of states that were never published, too.
    pub(super) fn is_lossless(&self) -> bool {
        self.lossless.is_some()
    }

    pub(super) fn hears_all(&self) -> bool {
        self.joining.interest == Interest::All
    }
}

impl Interest {
    fn filter(self) -> Option<Filter<Arc<str>, u64>> {
        (self != Self::All)
            .then(|| Filter::new(move |key: &Arc<str>, value| self.wants(key, *value)))
    }

    fn wants(self, key: &str, value: u64) -> bool {
        match self {
            Self::All => true,
            Self::EvenKeys => key.bytes().last().is_some_and(|digit| digit % 2 == 0),
            Self::EvenWrites => value.is_multiple_of(2),
            Self::Nothing => false,
        }
    }
}

impl Joining {
    fn partition(self) -> Option<Partition> {
        let (index, of) = self.worker?;
        Partition::new(index.into(), NonZero::new(of.into())?)
    }

    fn period(self) -> Option<Duration> {
        self.redeliver
            .map(|period| Duration::from_millis(period.into()))
    }

    fn subscription(self) -> Subscription<Arc<str>, u64> {
        Subscription {
            filter: self.interest.filter(),
            partition: self.partition(),
            redeliver_every: self.period(),
            lossless: self.bound(),
        }
    }

    fn bound(self) -> Option<usize> {
        self.lossless.map(|bytes| bytes as usize)
    }

    fn wants(self, key: &str, value: u64) -> bool {
        let partition = self.partition();
        self.interest.wants(key, value) && partition.is_none_or(|its| its.has::<Arc<str>>(key))
    }

    fn of(self, mut content: Content) -> Content {
        content.retain(|key, value| self.wants(key, *value));
        content
    }
}

impl Run<'_> {
    pub(super) fn subscribe(&mut self, mut joining: Joining) {
        if self.is_large() {
            joining.lossless = None;
        }
        let number = self.joined;
        if number >= MOST_SUBSCRIBERS {
            return;
        }
        self.joined += 1;
        if self.company == Company::OnlyChosen && number != self.chosen {
            return;
        }
        self.begin_chronicle(joining);
        let id = self.engine.subscribe(joining.subscription());
        let lane = self.story.lane(format_args!("subscriber {number}"));
        let text = format_args!("subscribes to {joining:?}");
        self.story.say(lane, Kind::Normal, text, String::new);
        let listener = Listener {
            id,
            joining,
            fold: Fold::default(),
            redelivery: Redelivery::new(joining.period(), self.told),
            lossless: joining.bound().map(Lossless::new),
            marks: Revisions::default(),
            here: true,
            older: 0,
            refilters: false,
            lane,
        };
        self.listeners.insert(number, listener);
    }

    pub(super) fn unsubscribe(&mut self, which: usize) -> Checked {
        let Some(listener) = self.listeners.get_mut(&which) else {
            return Ok(());
        };
        let known = self.engine.unsubscribe(listener.id);
        let was_here = std::mem::replace(&mut listener.here, false);
        self.observer.left += usize::from(known);
        self.story
            .say(listener.lane, Kind::Normal, "leaves", String::new);
        Promise::Isolation.require(known == was_here, || {
            format!("leaving says {known} of a subscriber; it was there: {was_here}")
        })?;
        self.after_call(true)
    }

    pub(super) fn refilter(&mut self, which: usize, interest: Interest) -> Checked {
        let Some(listener) = self.listeners.get_mut(&which) else {
            return Ok(());
        };
        self.story.say(
            listener.lane,
            Kind::Normal,
            format_args!("now wants {interest:?}"),
            String::new,
        );
        if listener.lossless.is_some() {
            return Ok(());
        }
        if self.engine.set_filter(listener.id, interest.filter()) {
            listener.joining.interest = interest;
            listener.refilters = true;
        }
        Ok(())
    }

    /// All subscribers join the engine of a new process, which may begin at a local epoch and
    /// revision that it must not fall below. Who had left has left there, too.
    pub(super) fn rejoin(&mut self, floor: Option<(u64, u64)>) -> Checked {
        let (ordered, told) = (!self.trace.setup.shape.opaque, self.told);
        self.looked = self.looked.take().map(|_| self.cached());
        self.chronicle = Chronicle::default();
        for listener in self.listeners.values_mut() {
            let joining = listener.joining;
            listener.id = self.engine.subscribe(joining.subscription());
            listener.fold = Fold::default();
            listener.redelivery = Redelivery::new(joining.period(), told);
            listener.lossless = joining.bound().map(Lossless::new);
            listener.marks = Revisions::default();
            listener.older = 0;
            listener.refilters = false;
            if let Some((epoch, revision)) = floor.filter(|_| ordered) {
                listener.marks.show(epoch, revision)?;
            }
            if !listener.here {
                self.engine.unsubscribe(listener.id);
            }
        }
        Ok(())
    }

    /// A subscriber takes so many deltas, one by one.
    pub(super) fn poll(&mut self, which: usize, deltas: usize) -> Checked {
        for _ in 0..deltas {
            if !self.poll_once(which)? {
                break;
            }
        }
        self.after_call(false)
    }

    /// A subscriber is lent so many deltas.
    pub(super) fn lend(&mut self, which: usize, deltas: usize) -> Checked {
        let mut left = deltas;
        // How often it yields depends on what is kept for others, and so must not count.
        while left > 0
            && let Some(lent) = self.lend_once(which, left)?
        {
            left = left.saturating_sub(lent);
        }
        self.after_call(false)
    }

    /// A subscriber is lent all deltas, in batches. Then it has what the cache has.
    pub(super) fn drain(&mut self, which: usize) -> Checked {
        while self.lend_once(which, BATCH)?.is_some() {}
        if self.is_large() {
            return self.after_call(false);
        }
        let listener = self.listeners.get(&which);
        let Some(listener) = listener.filter(|listener| listener.here) else {
            return Ok(());
        };
        if self.engine.cache().is_synced() {
            let ours = &listener.fold.objects;
            let truth = listener.joining.of(self.cached());
            listener
                .fold
                .check(ours, &truth, || format!("subscriber {which} has caught up"))?;
            listener.redelivery.check()?;
            let joining = listener.joining;
            let listener = self.listeners.get_mut(&which);
            if let Some(lossless) = listener.and_then(|listener| listener.lossless.as_mut()) {
                lossless.check(&self.chronicle, |key, value| joining.wants(key, value))?;
            }
        }
        self.after_call(false)
    }

    /// False: there is nothing now.
    fn poll_once(&mut self, which: usize) -> Result<bool, Broken> {
        let Some(listener) = self.listeners.get(&which) else {
            return Ok(false);
        };
        let id = listener.id;
        loop {
            match self.engine.poll_delta(id) {
                Polled::Delta(delta) => return self.hear(which, &delta).map(|()| true),
                // How often it yields depends on what is kept for others.
                Polled::Yield => {}
                Polled::Idle => {
                    self.has_come_up(which, u8::MAX);
                    return Ok(false);
                }
            }
        }
    }

    /// How many deltas it was lent, a mark included; `None`: there is nothing more now.
    fn lend_once(&mut self, which: usize, most: usize) -> Result<Option<usize>, Broken> {
        let Some(listener) = self.listeners.get(&which) else {
            return Ok(None);
        };
        let mut lent = Vec::new();
        let reached = self
            .engine
            .drain_deltas(listener.id, most, |delta| lent.push(delta.to_delta()));
        Promise::Harmless.require(lent.len() <= most, || {
            format!("{} deltas where {most} were asked for", lent.len())
        })?;
        let idle = reached == Reached::Idle;
        if let Reached::Mark(mark) = reached {
            lent.push(Delta::Mark(mark));
        }
        for delta in &lent {
            self.hear(which, delta)?;
        }
        Ok((!idle).then_some(lent.len()))
    }

    /// A subscriber has come to the end of a pass, or so far that the next one begins now.
    fn has_come_up(&mut self, which: usize, passes: u8) {
        if let Some(listener) = self.listeners.get_mut(&which) {
            listener.older = listener.older.saturating_sub(passes);
            listener.refilters = false;
        }
    }

    fn hear(&mut self, which: usize, delta: &Delta<Arc<str>, u64>) -> Checked {
        self.hash.words(format_args!("{which} {delta:?}"));
        if which == self.chosen {
            self.seen.words(format_args!("{delta:?}"));
            self.reset |= matches!(delta, Delta::Reset);
        }
        let tells = self.trace.setup.shape.uids;
        let synced = self.engine.cache().is_synced();
        let Some(listener) = self.listeners.get_mut(&which) else {
            return Ok(());
        };
        let (text, lane) = (brief(delta), listener.lane);
        self.story
            .say(lane, Kind::Normal, text, || format!("{delta:#?}"));
        Promise::Isolation.require(listener.here, || "a delta for one that has left".to_owned())?;
        listener.fold.take(delta, tells)?;
        listener.redelivery.take(delta, self.told)?;
        let joining = listener.joining;
        if let Some(lossless) = &mut listener.lossless {
            let wants = |key: &str, value| joining.wants(key, value);
            // As if it had asked for this one alone.
            lossless.polls(&self.chronicle, synced);
            lossless.take(delta, &self.chronicle, wants)?;
        }
        self.check_not_behind(which, delta)?;
        match delta {
            Delta::Mark(_) => self.has_come_up(which, 1),
            Delta::Reset => self.has_come_up(which, u8::MAX),
            _ => {}
        }
        // A replay, a history that began anew, or what comes in another order, shows old states once
        // more.
        let shape = &self.trace.setup.shape;
        let once = self.world.epoch() == 0 && self.engine.cache().local_epoch() == 0;
        if once && !shape.fuzzy && !shape.opaque && !self.observer.swapped {
            Fold::check_change(delta)?;
        }
        let Delta::Mark(mark) = delta else {
            return Ok(());
        };
        self.check_restored_mark(mark)?;
        self.check_mark(which, mark)
    }

    fn check_mark(&mut self, which: usize, mark: &Mark) -> Checked {
        let Some(listener) = self.listeners.get_mut(&which) else {
            return Ok(());
        };
        let Some(revision) = mark
            .revision
            .as_ref()
            .and_then(|revision| self.observer.number(revision))
        else {
            return Ok(());
        };
        if !self.trace.setup.shape.opaque {
            listener.marks.show(mark.local_epoch, revision)?;
        }
        if !mark.complete || self.observer.is_suspect(mark.local_epoch, revision) {
            return Ok(());
        }
        let listener = &self.listeners[&which];
        let mut ours = listener.fold.objects.clone();
        ours.retain(|key, _| !self.observer.spoilt.contains(key));
        let candidates = self.observer.candidates(&self.world, mark.local_epoch);
        let mut first = None;
        for epoch in candidates {
            let state = &self.world.histories[epoch].at(revision).state;
            let truth = self.content(state, &self.observer.spoilt);
            let truth = listener.joining.of(truth);
            let what = || format!("subscriber {which} at its mark of r{revision} in e{epoch}");
            match listener.fold.check(&ours, &truth, what) {
                Ok(()) => return Ok(()),
                Err(broken) => first = first.or(Some(broken)),
            }
        }
        first.map_or(Ok(()), Err)
    }

    /// A subscriber wants everything once more.
    pub(super) fn redeliver(&mut self, which: usize) -> Checked {
        let Some(listener) = self.listeners.get_mut(&which) else {
            return Ok(());
        };
        let text = "wants everything once more";
        self.story
            .say(listener.lane, Kind::Normal, text, String::new);
        let known = self.engine.redeliver(listener.id);
        listener.redelivery.ask(&listener.fold.objects);
        Promise::Isolation.require(known == listener.here, || {
            format!("redelivery says {known} of a subscriber")
        })
    }

    /// The engine was asked what is due.
    pub(super) fn tick(&mut self) {
        for listener in self.listeners.values_mut().filter(|listener| listener.here) {
            listener.redelivery.tick(self.told);
        }
    }

    /// From the first lossless subscriber on somebody looks at the cache after each call, to know what
    /// there was to tell.
    fn begin_chronicle(&mut self, joining: Joining) {
        if joining.lossless.is_some() && self.looked.is_none() {
            self.looked = Some(self.cached());
        }
    }

    /// A call is over: what did it change?
    pub(super) fn chronicle_call(&mut self, ended: bool, listed: bool) {
        if let Some(before) = self.looked.take() {
            let now = self.cached();
            self.chronicle.call(ended, listed, &before, &now);
            self.looked = Some(now);
        }
    }

    /// The most that may wait for a lossless subscriber.
    pub(super) fn largest_bound(&self) -> usize {
        let bounds = self.listeners.values();
        let bounds = bounds.filter_map(|listener| listener.joining.bound());
        bounds.max().unwrap_or(0)
    }

    /// The workers of each group take everything. Together they have what there is; but for those
    /// who left, who joined too late, or who want something else.
    pub(super) fn muster(&mut self) -> Checked {
        let workers: Vec<_> = self
            .listeners
            .iter()
            .filter_map(|(number, listener)| Some((*number, listener.joining.worker?)))
            .collect();
        for group in workers.chunk_by(|(_, (before, of)), (_, worker)| *worker == (before + 1, *of))
        {
            let Some((_, (_, of))) = group.first() else {
                continue;
            };
            for (number, _) in group {
                self.drain(*number)?;
            }
            let whole = group.len() == usize::from(*of);
            if !whole || self.is_large() || !self.engine.cache().is_synced() {
                continue;
            }
            let members = group.iter().map(|(number, _)| &self.listeners[number]);
            let all =
                |listener: &Listener| listener.here && listener.joining.interest == Interest::All;
            if members.clone().all(all) {
                let folds = members.map(|listener| &listener.fold.objects);
                check_partitions(folds, &self.cached())?;
            }
        }
        Ok(())
    }

    /// Everybody takes everything; then nothing is kept for anybody.
    pub(super) fn drain_all(&mut self) -> Checked {
        for which in 0..self.joined {
            self.drain(which)?;
        }
        self.muster()?;
        for _ in 0..1_000 {
            if self.engine.health().retained_bytes == 0 {
                break;
            }
            self.wait_for_deadline()?;
        }
        let kept = self.engine.health().retained_bytes;
        Promise::BoundedMemory.require(kept == 0, || {
            format!("{kept} bytes are kept for subscribers that have everything")
        })
    }
}

/// A delta in a few words.
fn brief(delta: &Delta<Arc<str>, u64>) -> String {
    match delta {
        Delta::Added { key, .. } => format!("added {key}"),
        Delta::Updated { key, .. } => format!("updated {key}"),
        Delta::Deleted {
            key,
            inferred: true,
            ..
        } => format!("deleted {key} (inferred)"),
        Delta::Deleted { key, .. } => format!("deleted {key}"),
        Delta::Mark(mark) => {
            let revision = mark
                .revision
                .as_ref()
                .map_or("?".to_owned(), ToString::to_string);
            let complete = if mark.complete { "" } else { ", partial" };
            format!("mark at r{revision}{complete}")
        }
        Delta::Redelivered { key, .. } => format!("redelivered {key}"),
        Delta::Gap(why) => format!("gap: {why:?}"),
        Delta::Reset => "reset".to_owned(),
    }
}
