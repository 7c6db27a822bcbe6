//! The scope of a unit of a method.

use piggyback::files::MethodName;

/// What one unit of a method learns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scope {
    /// One data set.
    Each,
    /// All data sets at once.
    Joint,
    /// All data sets, one after the other, into one file.
    Sequence,
}

impl Scope {
    pub(super) fn of(method: MethodName) -> Self {
        match method {
            MethodName::Joint => Self::Joint,
            MethodName::Packnet => Self::Sequence,
            _ => Self::Each,
        }
    }
}
