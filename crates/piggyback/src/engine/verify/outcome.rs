//! The outcome of a check.

use std::error::Error as _;

use crate::error::Error;

/// The name given to a file's tasks during checks.
pub(super) const TASK: &str = "task";

/// What a check compared, in words, if there is a choice; or why it failed.
pub(super) type Outcome = std::result::Result<Option<String>, Failure>;

/// Why a check failed.
#[derive(Debug)]
pub(super) struct Failure(pub(super) String);

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let mut reason = error.to_string();
        let mut source = error.source();
        while let Some(error) = source {
            reason.push_str(&format!(": {error}"));
            source = error.source();
        }
        Self(reason)
    }
}
