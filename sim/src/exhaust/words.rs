//! A story's words.

use std::fmt;

use super::state::{Action, State};
use super::world::{KEYS, Write};

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Write(Write::Put(key)) => write!(f, "the source puts {key}"),
            Self::Write(Write::Delete(key)) => write!(f, "the source deletes {key}"),
            Self::Write(Write::Both) => write!(
                f,
                "the source puts {}, and puts or deletes {}",
                KEYS[0], KEYS[1]
            ),
            Self::Compact => f.write_str("the source forgets its history"),
            Self::Speak(_) => f.write_str("the source speaks"),
            Self::Repeat(_) => f.write_str("the source says its last word again"),
            Self::Stale(_) => f.write_str("a replica that lags behind serves the list"),
            Self::Lose(_) => f.write_str("the next transaction of a watch is lost"),
            Self::Close(_) => f.write_str("the connection is closed"),
            Self::Break(_) => f.write_str("the connection breaks"),
            Self::Hush(_) => f.write_str("the connection falls silent for ever"),
            Self::Wait => f.write_str("the deadline passes"),
            Self::Poll => f.write_str("the slow subscriber takes one delta"),
        }
    }
}

impl State {
    /// What a step is, in words.
    pub(super) fn tell(&self, action: Action) -> String {
        let dialogue = |at: usize| {
            let dialogue = &self.source.dialogues[at];
            let over = if dialogue.dead {
                ", which is over,"
            } else {
                ""
            };
            format!("#{}{over}", dialogue.attempt)
        };
        match action {
            Action::Speak(at) => {
                let word = self.source.word(&self.source.dialogues[at]);
                let word = word.map_or_else(String::new, |word| format!("{word:?}"));
                format!("{} says {word}", dialogue(at))
            }
            Action::Repeat(at)
            | Action::Stale(at)
            | Action::Lose(at)
            | Action::Close(at)
            | Action::Break(at)
            | Action::Hush(at) => format!("{}: {action}", dialogue(at)),
            Action::Wait => {
                let deadline = self.engine.poll_timeout();
                let reason = deadline.map(|deadline| deadline.reason);
                format!("{action}: {reason:?}")
            }
            Action::Write(_) | Action::Compact | Action::Poll => action.to_string(),
        }
    }

    /// What the engine and the slow subscriber show now.
    pub(super) fn outline(&self) -> String {
        let (cache, health) = (self.engine.cache(), self.engine.health());
        let entries: Vec<_> = cache
            .iter()
            .map(|entry| (*entry.key, *entry.value))
            .collect();
        format!(
            "cache {entries:?} at {:?}, complete: {}, {:?} {:?}, slow: {:?}",
            cache.revision(),
            cache.is_complete(),
            health.state,
            health.reason,
            self.slow.objects,
        )
    }
}
