//! What can go wrong around a run.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use reflet_sim::trace::TraceError;

/// Why a command could not be carried out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum CliError {
    /// A file could not be read.
    Read(PathBuf, String),
    /// A file is no trace.
    NotATrace(PathBuf, TraceError),
    /// A file could not be written.
    Write(PathBuf, String),
    /// Standard input or output failed.
    Stream(String),
    /// Nobody reads what is printed.
    ReaderGone,
    /// The driver level has seeds, no traces.
    #[cfg(feature = "driver")]
    OnlySeeds,
    /// There is nothing to shrink.
    NothingBroken,
    /// No thread or process could be started.
    Start(String),
    /// The second process did not answer as it should.
    SecondProcess(String),
    /// Standard input has a line that is no seed.
    NotASeed(String),
}

impl CliError {
    pub(crate) fn read(path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |error| Self::Read(path.to_owned(), error.to_string())
    }

    pub(crate) fn write(path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |error| Self::Write(path.to_owned(), error.to_string())
    }

    pub(crate) fn start(error: &io::Error) -> Self {
        Self::Start(error.to_string())
    }

    pub(crate) fn print(error: &io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Self::ReaderGone,
            _ => Self::Stream(error.to_string()),
        }
    }
}

impl fmt::Display for CliError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Read(path, why) => write!(f, "cannot read {}: {why}", path.display()),
            Self::NotATrace(path, why) => write!(f, "{}: {why}", path.display()),
            Self::Write(path, why) => write!(f, "cannot write {}: {why}", path.display()),
            Self::Stream(why) => write!(f, "standard input or output: {why}"),
            Self::ReaderGone => f.write_str("nobody reads the output"),
            #[cfg(feature = "driver")]
            Self::OnlySeeds => {
                f.write_str("the driver level is replayed from seeds; it has no traces")
            }
            Self::NothingBroken => {
                f.write_str("this run breaks no promise, so there is nothing to shrink")
            }
            Self::Start(why) => write!(f, "cannot start a thread or process: {why}"),
            Self::SecondProcess(why) => write!(f, "the second process failed: {why}"),
            Self::NotASeed(line) => write!(f, "not a seed: {line}"),
        }
    }
}

impl std::error::Error for CliError {}

// Everything is printed, so this is what `?` means at each `writeln!`.
impl From<io::Error> for CliError {
    fn from(error: io::Error) -> Self {
        Self::print(&error)
    }
}
