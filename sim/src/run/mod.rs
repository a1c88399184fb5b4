//! One run: the engine, the world, and a driver between them that the adversary plays with.
//!
//! - `network`: what the driver does: commands become dialogues, words become inputs.
//! - `observer`: what is known from outside; `checks`: what must hold after each call.
//! - `listeners`: subscribers, fast and slow.
//! - `lookups`: indexes; `follow`: somebody who follows what is published.
//! - `fences`: what was in the source when a fence was put up is in the cache when it is passed.
//! - `restart`: the process dies, and starts again from a snapshot.
//! - `ending`: the adversary stops, and the engine must converge; or nothing ever stops.

mod checks;
mod ending;
mod fences;
mod follow;
mod input;
mod listeners;
mod lookups;
mod network;
mod observer;
mod restart;

use std::collections::{BTreeMap, BTreeSet};
use std::panic::{self, AssertUnwindSafe};
use std::sync::Arc;
use std::time::Duration;

use reflet_core::{Attempt, Config, Informer, TimerReason, Timestamp, Verify, probe};

use crate::oracles::{
    Broken, Checked, Chronicle, Content, Kept, Promise, TraceHash, panic_message,
};
use crate::story::Story;
use crate::trace::{Ending, Step, Trace};
use crate::world::{Poison, World};

use fences::Standing;
use follow::Follower;
use listeners::Listener;
use lookups::Lookups;
use network::Talk;
use observer::Observer;
use restart::Saved;

/// The engine under test: text keys, and numbers that tell object and write.
pub type Engine = Informer<Arc<str>, u64>;

/// What became of a run.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The hash of everything that went in and came out (P11).
    pub hash: u64,
    /// The hash of what the source, the readers and the chosen subscriber saw (P10).
    pub seen: u64,
    /// The chosen subscriber held back more than the limit, and was reset.
    pub reset: bool,
    /// Notices were lost, so what is known of the engine depends on how many there were.
    pub unheard: bool,
    /// How many steps were taken.
    pub steps: u64,
    /// How many objects the source changed.
    pub changes: u64,
    /// The first promise that was broken.
    pub violation: Option<Violation>,
    /// The named situations that were reached.
    pub marks: BTreeSet<&'static str>,
}

/// A broken promise, and when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// The promise.
    pub promise: Promise,
    /// The step that broke it; the number of steps for the ending.
    pub step: usize,
    /// What was seen.
    pub message: String,
}

/// Runs a trace. Never panics: a panic of the engine breaks P12.
#[must_use]
pub fn run(trace: &Trace) -> Outcome {
    execute(trace, &mut Story::unheard(), Company::All)
}

/// Runs a trace, and tells what happens.
#[must_use]
pub fn tell(trace: &Trace) -> (Outcome, Story) {
    let mut story = Story::new("A run of the simulator");
    let outcome = execute(trace, &mut story, Company::All);
    (outcome, story)
}

/// Runs a trace twice, and with one of its subscribers alone, and compares (P10, P11).
#[must_use]
pub fn run_strictly(trace: &Trace) -> Outcome {
    let first = run(trace);
    if first.violation.is_some() {
        return first;
    }
    let second = run(trace);
    let alone = execute(trace, &mut Story::unheard(), Company::OnlyChosen);
    let compared = crate::oracles::check_determinism(first.hash, second.hash).and_then(|()| {
        // Alone it pays for all that it needs; in company others may pay for some of it.
        // And what a source does to heal depends on what is known of the engine.
        let comparable = !alone.reset && !alone.unheard && !first.unheard;
        crate::oracles::check_isolation(first.seen, alone.seen, comparable)
    });
    let violation = compared.err().map(|broken| Violation {
        promise: broken.promise,
        step: trace.steps.len(),
        message: broken.message,
    });
    Outcome { violation, ..first }
}

/// Which subscribers take part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Company {
    All,
    OnlyChosen,
}

/// No more subscribers than that.
const MOST_SUBSCRIBERS: usize = 24;

/// The subscriber that must not notice the others: the seed chooses any, late ones too.
fn chosen(trace: &Trace) -> usize {
    let late = |step: &&Step| matches!(step, Step::Subscribe(_) | Step::Join(_));
    let count = trace.setup.subscribers.len() + trace.steps.iter().filter(late).count();
    let count = count.clamp(1, MOST_SUBSCRIBERS) as u64;
    usize::try_from((trace.setup.seed >> 8) % count).unwrap_or(0)
}

fn execute(trace: &Trace, story: &mut Story, company: Company) -> Outcome {
    probe::reset();
    let mut run = Run::new(trace, story, company);
    let result = panic::catch_unwind(AssertUnwindSafe(|| run.play()));
    let broken = match result {
        Ok(Ok(())) => None,
        Ok(Err(broken)) => Some(broken),
        Err(panic) => Some(Broken {
            promise: Promise::Harmless,
            message: panic_message(&*panic),
        }),
    };
    let violation = broken.map(|Broken { promise, message }| {
        run.tell_violation(promise, &message);
        Violation {
            promise,
            step: run.step,
            message,
        }
    });
    Outcome {
        hash: run.hash.finish(),
        seen: run.seen.finish(),
        reset: run.reset,
        unheard: run.observer.unheard,
        steps: run.step as u64,
        changes: run.changes,
        violation,
        marks: probe::reached(),
    }
}

/// A run under way.
struct Run<'a> {
    trace: &'a Trace,
    company: Company,
    config: Config,
    engine: Engine,
    world: World,
    now: Timestamp,
    /// The latest time that the engine was told: less than `now` while the clock has gone back.
    told: Timestamp,
    /// The next call is made with a time that long ago.
    skew: Duration,
    /// For so many steps the driver does not look.
    neglected: u8,
    /// What is taken now was there at some time since then, when nobody looked.
    unseen_since: Option<Timestamp>,
    living: BTreeMap<Attempt, Talk>,
    dead: Vec<(Attempt, Talk)>,
    /// How many attempts there were: replicas take turns.
    turns: usize,
    /// Subscribers by their number; in a run without company there is but one.
    listeners: BTreeMap<usize, Listener>,
    /// How many would have subscribed in company.
    joined: usize,
    chosen: usize,
    lookups: Lookups,
    follower: Option<Follower>,
    /// What the cache held after the last call, where there are lossless subscribers.
    looked: Option<Content>,
    chronicle: Chronicle,
    /// The fences of this process that are not passed yet.
    standing: Vec<Standing>,
    observer: Observer,
    /// The last snapshot.
    saved: Option<Saved>,
    /// What this process began with.
    restored: Option<Kept>,
    hash: TraceHash,
    seen: TraceHash,
    reset: bool,
    changes: u64,
    step: usize,
    story: &'a mut Story,
    lanes: Lanes,
}

/// The lanes of the story.
#[derive(Clone, Copy)]
struct Lanes {
    source: crate::story::LaneId,
    network: crate::story::LaneId,
    engine: crate::story::LaneId,
    cache: crate::story::LaneId,
}

impl<'a> Run<'a> {
    fn new(trace: &'a Trace, story: &'a mut Story, company: Company) -> Self {
        let setup = &trace.setup;
        let now = Timestamp::from_millis(1_000);
        let mut world = World::new(setup.shape, setup.keys, setup.replicas.into());
        let changes = world.write(0..setup.initial, [], Poison::None, 1);
        world.sync_all();
        let mut engine = Informer::new(trace.config(), setup.seed, now);
        engine.set_content_eq(|a, b| a == b);
        story.fact("source", format_args!("{:?}", setup.shape));
        story.fact("tuning", format_args!("{:?}", setup.tuning));
        story.fact(
            "world",
            format_args!(
                "{} keys, {} replicas, ends with {:?}",
                setup.keys, setup.replicas, setup.ending
            ),
        );
        let lanes = Lanes {
            source: story.lane("source"),
            network: story.lane("network"),
            engine: story.lane("engine"),
            cache: story.lane("cache"),
        };
        let config = engine.config().clone();
        Self {
            trace,
            company,
            observer: Observer::new(&config, setup),
            config,
            engine,
            world,
            now,
            told: now,
            skew: Duration::ZERO,
            neglected: 0,
            unseen_since: None,
            living: BTreeMap::new(),
            dead: Vec::new(),
            turns: 0,
            listeners: BTreeMap::new(),
            joined: 0,
            chosen: chosen(trace),
            lookups: Lookups::default(),
            follower: None,
            looked: None,
            chronicle: Chronicle::default(),
            standing: Vec::new(),
            saved: None,
            restored: None,
            hash: TraceHash::default(),
            seen: TraceHash::default(),
            reset: false,
            changes,
            step: 0,
            story,
            lanes,
        }
    }

    fn play(&mut self) -> Checked {
        for interest in &self.trace.setup.subscribers {
            self.subscribe((*interest).into());
        }
        self.after_call(true)?;
        for step in &self.trace.steps {
            self.story.at(self.step, self.now.as_nanos());
            self.take(*step)?;
            if self.neglected > 0 {
                self.neglected -= 1;
                if self.neglected == 0 {
                    self.after_call(true)?;
                    self.unseen_since = None;
                }
            }
            if self.step % 64 == 63 && !(self.is_large() && self.step > 64) {
                self.check_next_attempt()?;
            }
            self.step += 1;
        }
        self.neglected = 0;
        self.after_call(true)?;
        self.unseen_since = None;
        let settled = self.heal()?;
        match self.trace.setup.ending {
            _ if !settled || self.observer.has_lied() => {}
            Ending::Heal => {}
            Ending::Load(nuisance) => self.load(nuisance)?,
            Ending::Flap => self.flap()?,
        }
        self.drain(self.chosen)?;
        self.last_look()?;
        // From here on time passes as long as somebody has something to give back.
        let seen = self.seen;
        self.finish()?;
        self.seen = seen;
        Ok(())
    }

    fn take(&mut self, step: Step) -> Checked {
        self.hash.words(format_args!("{step:?}"));
        match step {
            Step::Write { .. }
            | Step::Recreate(_)
            | Step::Elsewhere(_)
            | Step::Sync(..)
            | Step::Compact(_)
            | Step::Restore(_) => {
                self.move_world(step);
                Ok(())
            }
            Step::Serve(which, words, fault) => self.serve_some(which.into(), words, fault),
            Step::Late(which) => self.answer_late(which.into()),
            Step::Pass(millis) => self.wake(
                self.now
                    .saturating_add(Duration::from_millis(millis.into())),
            ),
            Step::Timeout => self.wait_for_deadline(),
            Step::Early => self.wake(self.now),
            Step::Backwards(millis) => {
                self.skew = Duration::from_millis(millis.into());
                Ok(())
            }
            Step::Poll(which, deltas) => self.poll(which.into(), deltas.into()),
            Step::Lend(which, deltas) => self.lend(which.into(), deltas.into()),
            Step::Drain(which) => self.drain(which.into()),
            Step::Subscribe(interest) => {
                self.subscribe(interest.into());
                Ok(())
            }
            Step::Join(joining) => {
                self.subscribe(joining);
                Ok(())
            }
            Step::Muster => self.muster(),
            Step::Redeliver(which) => self.redeliver(which.into()),
            Step::Unsubscribe(which) => self.unsubscribe(which.into()),
            Step::Refilter(which, interest) => self.refilter(which.into(), interest),
            Step::Verify(content) => self.verify(content),
            Step::Neglect(steps) => {
                self.neglected = steps;
                self.unseen_since = self.unseen_since.or(Some(self.told));
                Ok(())
            }
            Step::Fence => self.put_up_fence(),
            Step::Save => self.save(),
            Step::Crash(damage) => self.crash(damage),
            Step::Index(_)
            | Step::Unindex(_)
            | Step::Order(_)
            | Step::Follow(_)
            | Step::Unfollow
            | Step::Look(_) => self.look_on(step),
        }
    }

    /// Somebody looks on. Nobody notices: alone, a subscriber sees the same (P10).
    fn look_on(&mut self, step: Step) -> Checked {
        if self.company == Company::OnlyChosen {
            return Ok(());
        }
        match step {
            Step::Index(by) => self.add_index(by),
            Step::Unindex(which) => self.remove_index(which.into()),
            Step::Order(wanted) => self.order_keys(wanted),
            Step::Follow(slots) => self.follow(slots),
            Step::Unfollow => self.unfollow(),
            Step::Look(slots) => self.look(slots),
            _ => Ok(()),
        }
    }

    fn move_world(&mut self, step: Step) {
        let text = format_args!("{step}");
        self.story.say(
            self.lanes.source,
            crate::story::Kind::Normal,
            text,
            String::new,
        );
        match step {
            Step::Write {
                put,
                delete,
                poison,
                skip,
            } => {
                self.changes += self
                    .world
                    .write(put.keys(), delete.keys(), poison, skip.into());
            }
            Step::Recreate(span) => {
                self.changes += self.world.write([], span.keys(), Poison::None, 1);
                self.changes += self.world.write(span.keys(), [], Poison::None, 1);
            }
            Step::Elsewhere(by) => self.world.elsewhere(by.into()),
            Step::Sync(replica, by) => self.world.sync(replica.into(), by.into()),
            Step::Compact(keep) => self.world.compact(keep.into()),
            Step::Restore(back) => {
                self.world.restore(back.into());
                self.observer.restored(self.turns > 0);
                for talk in self.living.values_mut() {
                    talk.clean = false;
                }
            }
            _ => {}
        }
    }

    fn verify(&mut self, content: bool) -> Checked {
        let text = format_args!("verify, of the content: {content}");
        self.story.say(
            self.lanes.engine,
            crate::story::Kind::Normal,
            text,
            String::new,
        );
        self.observer.content_wanted |= content;
        let mode = if content {
            Verify::Content
        } else {
            Verify::Versions
        };
        let now = self.call_time();
        self.engine.verify(now, mode);
        self.after_call(true)
    }

    /// The time of the next call.
    fn call_time(&mut self) -> Timestamp {
        let time = self.now.saturating_sub(std::mem::take(&mut self.skew));
        self.told = self.told.max(time);
        time
    }

    /// Time passes until `at`, and the engine is told.
    fn wake(&mut self, at: Timestamp) -> Checked {
        self.now = self.now.max(at);
        self.story.at(self.step, self.now.as_nanos());
        let now = self.call_time();
        self.engine.handle_timeout(now);
        self.tick();
        self.after_call(false)
    }

    /// Time passes until something is due.
    fn wait_for_deadline(&mut self) -> Checked {
        self.skew = Duration::ZERO;
        match self.next_due(Timestamp::MAX)? {
            Some(at) => self.wake(at),
            None => Promise::NextStep.broken("nothing is ever due"),
        }
    }

    /// When something is due, if that is not after `latest`. What the engine only wants for giving
    /// memory back or for redeliveries passes by: it depends on subscribers, and they must not change the course of
    /// things (P10).
    fn next_due(&mut self, latest: Timestamp) -> Result<Option<Timestamp>, Broken> {
        for _ in 0..10_000 {
            let Some(deadline) = self.engine.poll_timeout() else {
                return Promise::NextStep.broken("no deadline");
            };
            if deadline.at > latest {
                return Ok(None);
            }
            if !matches!(
                deadline.reason,
                TimerReason::Reclaim | TimerReason::Redeliver
            ) {
                return Ok(Some(deadline.at));
            }
            self.told = self.told.max(deadline.at);
            let before = self.line();
            self.engine.handle_timeout(deadline.at);
            if self.line() != before {
                // Something else was due as well.
                self.after_call(false)?;
                return Ok(Some(deadline.at));
            }
        }
        Promise::NextStep.broken("there is always more to do for subscribers")
    }

    /// What the engine does about the source, as far as it can be seen.
    fn line(&self) -> (u64, Option<Timestamp>, Option<Timestamp>) {
        let health = self.engine.health();
        let failed = health.last_error.map(|(at, _)| at);
        (self.engine.newest_attempt(), health.next_attempt, failed)
    }

    fn is_large(&self) -> bool {
        self.trace.setup.keys > 400
    }

    fn tell_violation(&mut self, promise: Promise, message: &str) {
        self.story.violation(self.lanes.engine, promise, message);
    }
}
