//! What can go wrong with a hub.

use std::io;
use std::path::Path;

use thiserror::Error;

/// The result of this crate's fallible functions.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Everything that fetching a model can fail with.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum Error {
    /// A file, or a setting, that the library would refuse too.
    #[error(transparent)]
    Piggyback(#[from] piggyback::Error),
    /// A model that cannot be had from the hub.
    #[error("hf:{model} {reason}")]
    Model {
        /// The model, `owner/name`.
        model: String,
        /// Why, and what to do.
        reason: String,
    },
    /// A hub that does not answer.
    #[error(
        "cannot reach {endpoint}: {reason}; check the network, and HTTPS_PROXY if there is a proxy"
    )]
    Unreachable {
        /// The hub's address.
        endpoint: String,
        /// What happened instead of an answer.
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
