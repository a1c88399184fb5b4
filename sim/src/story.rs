//! What happened in one run, told moment by moment, as plain data for the trace viewer.
//!
//! A [`Story`] knows nothing of worlds and engines: who tells it names the lanes and finds the
//! words. A run that nobody looks at tells to [`Story::unheard`], which drops all before any word
//! is rendered.

use std::fmt;

/// What happened in one run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Story {
    pub(crate) title: String,
    pub(crate) facts: Vec<(String, String)>,
    pub(crate) lanes: Vec<String>,
    pub(crate) moments: Vec<Moment>,
    pub(crate) arrows: Vec<(usize, usize)>,
    pub(crate) violated: Option<Violated>,
    heard: bool,
    step: usize,
    now: u64,
    /// The last engine state told in each lane: one that did not change is not told again.
    states: Vec<Option<EngineState>>,
}

/// A column of the story: who does or hears something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LaneId(pub(crate) usize);

/// A moment of the story, to draw arrows between.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MomentId(usize);

/// One thing that happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Moment {
    /// The step of the trace that it belongs to.
    pub step: usize,
    /// Virtual time, in nanoseconds.
    pub at: u64,
    /// Where it is shown.
    pub lane: LaneId,
    /// What it is.
    pub kind: Kind,
    /// A few words.
    pub text: String,
    /// The full input or output, on as many lines as it takes; may be empty.
    pub detail: String,
}

/// What a moment is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// A change, an answer, a delta: what happens in good times.
    Normal,
    /// The adversary's doing.
    Fault,
    /// What the engine asks for.
    Command,
    /// What the engine says of itself.
    Notice,
    /// What the engine is doing now, and what it waits for.
    State,
    /// A broken promise.
    Violation,
}

/// What the engine is doing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EngineState {
    /// The state.
    pub state: String,
    /// The attempt in flight.
    pub attempt: Option<u64>,
    /// When it wants to be woken, in nanoseconds of virtual time, and why.
    pub deadline: Option<(u64, String)>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Violated {
    pub(crate) moment: usize,
    pub(crate) promise: String,
    pub(crate) message: String,
}

impl Story {
    /// An empty story.
    #[must_use]
    pub fn new(title: impl Into<String>) -> Self {
        Self {
            title: title.into(),
            facts: Vec::new(),
            lanes: Vec::new(),
            moments: Vec::new(),
            arrows: Vec::new(),
            violated: None,
            heard: true,
            step: 0,
            now: 0,
            states: Vec::new(),
        }
    }

    /// A story that nobody listens to: it stays empty, and telling it costs next to nothing.
    #[must_use]
    pub fn unheard() -> Self {
        Self {
            heard: false,
            ..Self::new("")
        }
    }

    /// Whether anybody listens.
    #[must_use]
    pub const fn is_heard(&self) -> bool {
        self.heard
    }

    /// Gives it another title.
    pub fn retitle(&mut self, title: impl fmt::Display) {
        self.title = title.to_string();
    }

    /// A fact about the whole run: its seed, its setup.
    pub fn fact(&mut self, name: impl fmt::Display, value: impl fmt::Display) {
        if self.heard {
            self.facts.push((name.to_string(), value.to_string()));
        }
    }

    /// Adds a lane to the right of those that are there.
    pub fn lane(&mut self, name: impl fmt::Display) -> LaneId {
        self.states.push(None);
        self.lanes.push(if self.heard {
            name.to_string()
        } else {
            String::new()
        });
        LaneId(self.lanes.len() - 1)
    }

    /// What is said from now on happens in this step, at this virtual time in nanoseconds.
    pub const fn at(&mut self, step: usize, now: u64) {
        self.step = step;
        self.now = now;
    }

    /// Tells one thing. `text` and `detail` are rendered only if somebody listens, so pass
    /// `format_args!` for the first.
    pub fn say(
        &mut self,
        lane: LaneId,
        kind: Kind,
        text: impl fmt::Display,
        detail: impl FnOnce() -> String,
    ) -> MomentId {
        if !self.heard {
            return MomentId(0);
        }
        self.moments.push(Moment {
            step: self.step,
            at: self.now,
            lane,
            kind,
            text: text.to_string(),
            detail: detail(),
        });
        MomentId(self.moments.len() - 1)
    }

    /// Tells what the engine is doing, if that is not what it was doing before.
    pub fn state(&mut self, lane: LaneId, state: impl FnOnce() -> EngineState) {
        if !self.heard {
            return;
        }
        let state = state();
        let Some(known) = self.states.get_mut(lane.0) else {
            return;
        };
        if known.as_ref() == Some(&state) {
            return;
        }
        *known = Some(state.clone());
        let now = self.now;
        self.say(lane, Kind::State, state.brief(now), || state.full(now));
    }

    /// Draws an arrow, from a command to its answer.
    pub fn arrow(&mut self, from: MomentId, to: MomentId) {
        if self.heard && from.0.max(to.0) < self.moments.len() {
            self.arrows.push((from.0, to.0));
        }
    }

    /// Tells that a promise is broken; the viewer marks the first such moment.
    pub fn violation(
        &mut self,
        lane: LaneId,
        promise: impl fmt::Display,
        message: impl fmt::Display,
    ) -> MomentId {
        if !self.heard {
            return MomentId(0);
        }
        let (promise, message) = (promise.to_string(), message.to_string());
        let moment = self.say(lane, Kind::Violation, &promise, || message.clone());
        if self.violated.is_none() {
            self.violated = Some(Violated {
                moment: moment.0,
                promise,
                message,
            });
        }
        moment
    }

    /// The title.
    #[must_use]
    pub fn title(&self) -> &str {
        &self.title
    }

    /// All that was told, in order.
    #[must_use]
    pub fn moments(&self) -> &[Moment] {
        &self.moments
    }

    /// The name of a lane.
    #[must_use]
    pub fn lane_name(&self, lane: LaneId) -> &str {
        self.lanes.get(lane.0).map_or("", String::as_str)
    }
}

/// The story as lines of text, one a moment: for a terminal.
impl fmt::Display for Story {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, value) in &self.facts {
            writeln!(f, "{name}: {value}")?;
        }
        let width = self
            .lanes
            .iter()
            .map(|lane| lane.chars().count())
            .max()
            .unwrap_or(0);
        for moment in &self.moments {
            let sign = match moment.kind {
                Kind::Normal => ' ',
                Kind::Fault => '!',
                Kind::Command => '>',
                Kind::Notice => '*',
                Kind::State => '.',
                Kind::Violation => 'X',
            };
            let Moment {
                step,
                at,
                lane,
                text,
                ..
            } = moment;
            let (at, lane) = (seconds(*at), self.lane_name(*lane));
            writeln!(f, "{step:>5} {at:>12} {sign} {lane:width$}  {text}")?;
        }
        Ok(())
    }
}

impl EngineState {
    fn brief(&self, now: u64) -> String {
        let attempt = self
            .attempt
            .map_or(String::new(), |attempt| format!(" #{attempt}"));
        let deadline = self
            .deadline
            .as_ref()
            .map_or(String::new(), |(at, reason)| {
                format!(" · {reason} in {}", seconds(at.saturating_sub(now)))
            });
        format!("{}{attempt}{deadline}", self.state)
    }

    fn full(&self, now: u64) -> String {
        let attempt = self
            .attempt
            .map_or("none in flight".to_owned(), |attempt| attempt.to_string());
        let deadline = self.deadline.as_ref().map_or_else(
            || "none".to_owned(),
            |(at, reason)| {
                format!(
                    "at {} (in {}), for: {reason}",
                    seconds(*at),
                    seconds(at.saturating_sub(now))
                )
            },
        );
        format!(
            "state:    {}\nattempt:  {attempt}\ndeadline: {deadline}",
            self.state
        )
    }
}

/// Nanoseconds as seconds, with as many digits as they need, three at least.
#[must_use]
pub fn seconds(nanos: u64) -> String {
    let (whole, rest) = (nanos / 1_000_000_000, nanos % 1_000_000_000);
    let (millis, below) = (rest / 1_000_000, rest % 1_000_000);
    let below = format!("{below:06}");
    format!("{whole}.{millis:03}{} s", below.trim_end_matches('0'))
}
