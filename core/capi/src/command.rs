//! What the informer asks the program to do.

use std::mem::MaybeUninit;

use reflet_core::{Command as CoreCommand, WatchFrom as CoreFrom};

use crate::border::{Bytes, guard, place};
use crate::informer::Informer;
use crate::state::{Lent, State, lock};
use crate::status::Status;

/// What a command asks for.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CommandKind {
    /// Nothing now.
    None = 0,
    /// Fetch one page of a list. The pages of a list are asked for one by one, all in one attempt.
    List,
    /// Open a watch.
    Watch,
    /// End an attempt: drop its connection.
    Cancel,
    /// Something that this version of the interface has no words for: let it be.
    Other,
}

/// Where a watch starts.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WatchFrom {
    /// After `revision`.
    Revision = 0,
    /// With the whole state, then an end mark, then the changes after it.
    Initial,
    /// Now: the stream only carries hints.
    Now,
}

/// One command. Bytes that are not there are NULL.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Command {
    /// What to do; the fields below are filled in as far as they belong to it.
    pub kind: CommandKind,
    /// A watch: where it starts.
    pub from: WatchFrom,
    /// The attempt: everything that comes of it is handed in with this number.
    pub attempt: u64,
    /// A list: the token of the page to go on with; NULL: the first page.
    pub page: Bytes,
    /// A list or an initial stream: ask for a state that is not older than this revision.
    pub at_least: Bytes,
    /// A list of a full-state source: answer REFLET_INPUT_KIND_UNMODIFIED if this is still the
    /// revision.
    pub known: Bytes,
    /// A watch from a revision: that revision.
    pub revision: Bytes,
    /// The epoch that the revisions above belong to.
    pub epoch: Bytes,
    /// A list: how many items the page should have.
    pub limit: u32,
}

impl Command {
    const NONE: Self = Self {
        kind: CommandKind::None,
        from: WatchFrom::Revision,
        attempt: 0,
        page: Bytes::NONE,
        at_least: Bytes::NONE,
        known: Bytes::NONE,
        revision: Bytes::NONE,
        epoch: Bytes::NONE,
        limit: 0,
    };

    fn lend(lent: &mut Lent, command: &CoreCommand) -> Self {
        match command {
            CoreCommand::List {
                attempt,
                page,
                at_least,
                known,
                epoch,
                limit,
                ..
            } => Self {
                kind: CommandKind::List,
                attempt: attempt.number(),
                page: lent.printed(page.as_deref()),
                at_least: lent.printed(at_least.as_ref()),
                known: lent.printed(known.as_ref()),
                epoch: lent.printed(epoch.as_ref()),
                limit: *limit,
                ..Self::NONE
            },
            CoreCommand::Watch {
                attempt,
                from,
                epoch,
                ..
            } => {
                let (from, revision, at_least) = match from {
                    CoreFrom::Initial { at_least, .. } => {
                        (WatchFrom::Initial, None, at_least.as_ref())
                    }
                    CoreFrom::Revision(revision) => (WatchFrom::Revision, Some(revision), None),
                    _ => (WatchFrom::Now, None, None),
                };
                Self {
                    kind: CommandKind::Watch,
                    from,
                    attempt: attempt.number(),
                    at_least: lent.printed(at_least),
                    revision: lent.printed(revision),
                    epoch: lent.printed(epoch.as_ref()),
                    ..Self::NONE
                }
            }
            CoreCommand::Cancel { attempt, .. } => Self {
                kind: CommandKind::Cancel,
                attempt: attempt.number(),
                ..Self::NONE
            },
            _ => Self {
                kind: CommandKind::Other,
                ..Self::NONE
            },
        }
    }
}

impl State {
    /// Follows which attempts may still be alive.
    fn follow(&mut self, command: &CoreCommand) {
        match command {
            CoreCommand::List { attempt, .. } | CoreCommand::Watch { attempt, .. } => {
                self.attempts.insert(attempt.number(), *attempt);
            }
            CoreCommand::Cancel { attempt, .. } => {
                self.attempts.remove(&attempt.number());
            }
            _ => {}
        }
    }
}

/// The next command, to be carried out. Call it until the kind is REFLET_COMMAND_KIND_NONE, after
/// everything that was handed in.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn reflet_informer_poll_command(
    informer: *mut Informer,
    command: Option<&mut MaybeUninit<Command>>,
) -> Status {
    guard(|| {
        let place = place(command)?;
        let mut state = lock(informer)?;
        let polled = state.engine.poll_command();
        let lent = match &polled {
            None => Command::NONE,
            Some(command) => {
                state.follow(command);
                Command::lend(&mut state.lent, command)
            }
        };
        state.command = polled;
        place.write(lent);
        Ok(())
    })
}
