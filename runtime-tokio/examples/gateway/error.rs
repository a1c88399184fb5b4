//! Why the example cannot start.

use std::error::Error;
use std::fmt;

use reflet_tokio::serve::{OpenError, RestoreError, WriteError};

use super::store::StoreError;

/// Why a part of the example could not start.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum StartError {
    /// An address could not be listened on.
    Listen {
        /// What wanted to listen.
        what: &'static str,
        /// The option that changes the address.
        option: &'static str,
        /// The address.
        address: String,
        /// The system's words.
        message: String,
    },
    /// The configuration service's address makes no URL.
    Source {
        /// The address.
        address: String,
        /// What is wrong with it.
        message: String,
    },
    /// The data file.
    Store(StoreError),
    /// A collection could not be created.
    Open(OpenError),
    /// A collection could not be restored from the data file.
    Restore(RestoreError),
    /// The sample objects could not be written.
    Samples(WriteError),
    /// Something of the system: a listener's address, a signal handler.
    System(String),
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Listen {
                what,
                option,
                address,
                message,
            } => write!(
                f,
                "the {what} cannot listen on {address}: {message}; choose another address with {option}"
            ),
            Self::Source { address, message } => {
                write!(f, "{address} is no configuration service: {message}")
            }
            Self::Store(error) => error.fmt(f),
            Self::Open(error) => error.fmt(f),
            Self::Restore(error) => write!(f, "the data file cannot be restored: {error}"),
            Self::Samples(error) => write!(f, "the sample objects cannot be written: {error}"),
            Self::System(message) => f.write_str(message),
        }
    }
}

impl Error for StartError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Store(error) => Some(error),
            Self::Open(error) => Some(error),
            Self::Restore(error) => Some(error),
            Self::Samples(error) => Some(error),
            Self::Listen { .. } | Self::Source { .. } | Self::System(_) => None,
        }
    }
}

impl From<StoreError> for StartError {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}
