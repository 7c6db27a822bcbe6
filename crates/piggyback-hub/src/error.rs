//! Errors of fetching from a hub.

use std::io;
use std::path::Path;

use thiserror::Error;

/// The result of this crate's fallible functions.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// All errors of fetching a model.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum Error {
    /// An error of the library, for a file or a setting.
    #[error(transparent)]
    Piggyback(#[from] piggyback::Error),
    /// A model is not available from the hub.
    #[error("hf:{model} {reason}")]
    Model {
        /// The model, `owner/name`.
        model: String,
        /// Why, and what to do.
        reason: String,
    },
    /// The hub does not respond.
    #[error(
        "cannot reach {endpoint}: {reason}; check the network, and HTTPS_PROXY if there is a proxy"
    )]
    Unreachable {
        /// The hub's address.
        endpoint: String,
        /// The network error.
        reason: String,
    },
}

impl Error {
    pub(crate) fn model(model: &str, reason: impl Into<String>) -> Self {
        Self::Model {
            model: model.to_owned(),
            reason: reason.into(),
        }
    }

    pub(crate) fn read(path: &Path, source: io::Error) -> Self {
        Self::Piggyback(piggyback::Error::Read {
            path: path.to_owned(),
            source,
        })
    }

    pub(crate) fn write(path: &Path, source: io::Error) -> Self {
        Self::Piggyback(piggyback::Error::Write {
            path: path.to_owned(),
            source,
        })
    }

    pub(crate) fn setting(setting: &str, reason: impl Into<String>) -> Self {
        Self::Piggyback(piggyback::Error::Setting {
            setting: setting.to_owned(),
            reason: reason.into(),
        })
    }
}
