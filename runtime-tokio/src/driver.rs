//! The driver: one task that does what the engine commands, tells it what happened, and sleeps
//! until the engine's deadline. It decides nothing.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use reflet_core::{Attempt, Command, Deadline, Input, Timestamp};
use tokio::time::{Instant, Sleep, sleep_until};

use crate::attempt::Running;
use crate::notice::Notice;
use crate::probe::reach;
use crate::shared::{Inner, Shared};
use crate::source::{ListRequest, Source, WatchRequest};

/// How many rounds of work are done before the runtime's other tasks get their turn.
const ROUNDS: usize = 16;
/// How many answered requests may still be reading the end of their response.
const LINGERING: usize = 2;

type End<V> = (Attempt, Input<'static, Arc<str>, V>);

pub(crate) struct Driver<S: Source> {
    source: Arc<S>,
    shared: Arc<Shared<S::Value>>,
    running: Vec<Running>,
    alarm: Alarm,
}

/// What one look at the engine gave.
struct Turn {
    commands: Vec<Command>,
    deadline: Option<Deadline>,
    stopped: bool,
}

impl<S: Source> Driver<S> {
    /// Must be called within a runtime, for its timer.
    pub(crate) fn new(source: S, shared: Arc<Shared<S::Value>>) -> Self {
        Self {
            source: Arc::new(source),
            shared,
            running: Vec::new(),
            alarm: Alarm::new(),
        }
    }

    /// Runs until the informer is stopped.
    pub(crate) async fn run(mut self) {
        poll_fn(|cx| self.poll(cx)).await;
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        // Registered before anything is looked at, so that no nudge falls in between.
        self.shared.driver.register(cx.waker());
        for _ in 0..ROUNDS {
            let ended = self.poll_running(cx);
            let turn = self.turn(ended);
            if turn.stopped {
                self.cancel(|_| true);
                return Poll::Ready(());
            }
            let idle = turn.commands.is_empty();
            for command in turn.commands {
                self.execute(command);
            }
            // A new request has to be polled once before it can wake anybody.
            if idle
                && self
                    .alarm
                    .poll(cx, &self.shared, turn.deadline)
                    .is_pending()
            {
                return Poll::Pending;
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Gives every request its turn, and returns the ends of those that are over.
    fn poll_running(&mut self, cx: &mut Context<'_>) -> Vec<End<S::Value>> {
        let mut ended = Vec::new();
        self.running.retain_mut(|running| match running.poll(cx) {
            Poll::Pending => true,
            Poll::Ready(end) => {
                ended.extend(end.map(|input| (running.attempt, input)));
                false
            }
        });
        ended
    }

    /// One look at the engine: tells it what ended and what time it is, and takes what it says.
    /// Words to the outside are only said when it is unlocked again.
    fn turn(&mut self, ended: Vec<End<S::Value>>) -> Turn {
        let now = self.shared.now();
        let (turn, status, notices, awake) = self.shared.change(|inner| {
            for (attempt, input) in ended {
                inner.moved = true;
                inner.engine.handle(now, attempt, input);
            }
            if inner.stopping {
                inner.engine.stop(now);
            }
            if inner.engine.poll_timeout().is_some_and(|due| due.at <= now) {
                inner.moved = true;
                inner.engine.handle_timeout(now);
            }
            let deadline = inner.engine.poll_timeout();
            inner.next_look = deadline.map(|deadline| deadline.at);
            let status = inner.status();
            let turn = Turn {
                commands: std::iter::from_fn(|| inner.engine.poll_command()).collect(),
                deadline,
                stopped: status.stopped,
            };
            let notices = std::iter::from_fn(|| inner.engine.poll_notice());
            let notices: Vec<_> = notices.collect();
            (turn, status, notices, inner.take_awake())
        });

        self.shared.show(status);
        for notice in notices {
            self.shared.publish(Notice::Engine(notice));
        }
        awake.into_iter().for_each(Waker::wake);
        turn
    }

    fn execute(&mut self, command: Command) {
        let source = Arc::clone(&self.source);
        match command {
            Command::List {
                attempt,
                page,
                at_least,
                known,
                epoch,
                limit,
            } => {
                let request = ListRequest {
                    page,
                    at_least,
                    known,
                    epoch,
                    limit,
                };
                self.run_request(Running::list(source, &self.shared, attempt, request));
            }
            Command::Watch {
                attempt,
                from,
                epoch,
            } => {
                let request = WatchRequest { from, epoch };
                self.run_request(Running::watch(source, &self.shared, attempt, request));
            }
            Command::Cancel { attempt } => self.cancel(|running| running.attempt == attempt),
        }
    }

    /// Takes up a request, and drops what lingers of the oldest answered ones.
    fn run_request(&mut self, request: Running) {
        let lingering = self.running.iter().filter(|running| running.is_answered());
        let mut surplus = lingering.count().saturating_sub(LINGERING);
        self.cancel(|running| {
            let drop = running.is_answered() && surplus > 0;
            surplus -= usize::from(drop);
            drop
        });
        self.running.push(request);
    }

    /// Ends the requests that `dead` names, by dropping their futures.
    fn cancel(&mut self, mut dead: impl FnMut(&Running) -> bool) {
        for request in self.running.extract_if(.., |running| dead(running)) {
            request.cancel();
        }
    }
}

/// However the driver ends, with its runtime or by a panic of a user's `Clone`: nobody may go on
/// waiting for it.
impl<S: Source> Drop for Driver<S> {
    fn drop(&mut self) {
        self.cancel(|_| true);
        if std::thread::panicking() {
            tracing::error!(informer = &*self.shared.name, "the driver panicked");
        } else {
            let now = self.shared.now();
            let mut inner = self.shared.lock();
            reach!("driver dropped with its runtime", !inner.stopping);
            inner.engine.stop(now);
        }
        self.shared.stop();
        self.shared
            .status
            .send_modify(|status| status.stopped = true);
    }
}

impl<V: Clone> Inner<V> {
    /// Takes out the wakers of those sleepers that have something to read now.
    fn take_awake(&mut self) -> Vec<Waker> {
        if !std::mem::take(&mut self.moved) {
            return Vec::new();
        }
        let engine = &self.engine;
        let awake = self.sleepers.extract_if(.., |id, _| engine.has_delta(*id));
        awake.map(|(_, waker)| waker).collect()
    }
}

/// The engine's deadline as a timer.
struct Alarm {
    sleep: Pin<Box<Sleep>>,
    armed: Option<Timestamp>,
}

impl Alarm {
    fn new() -> Self {
        Self {
            sleep: Box::pin(sleep_until(Instant::now())),
            armed: None,
        }
    }

    /// Ready when it is time to look at the engine again. Deadlines move with every input, mostly
    /// to later: the timer is only touched when one comes earlier, and what that costs is one
    /// needless look when an old deadline passes.
    fn poll<V>(
        &mut self,
        cx: &mut Context<'_>,
        shared: &Shared<V>,
        deadline: Option<Deadline>,
    ) -> Poll<()> {
        let Some(Deadline { at, .. }) = deadline else {
            return Poll::Pending;
        };
        if self.armed.is_none_or(|armed| at < armed) {
            // The engine was just given its chance: if it still names a time that has passed, it
            // is asked again soon, but not in a busy loop.
            let soonest = shared.now().saturating_add(Duration::from_millis(1));
            reach!("deadline brought forward", self.armed.is_some());
            let at = at.max(soonest);
            self.sleep.as_mut().reset(shared.instant(at));
            self.armed = Some(at);
        }
        ready!(self.sleep.as_mut().poll(cx));
        self.armed = None;
        Poll::Ready(())
    }
}
