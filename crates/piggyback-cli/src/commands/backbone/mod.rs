//! `piggyback backbone`: one file per verb.

#[cfg(feature = "hub")]
mod fetch;
mod list;

use anyhow::Result;

use super::Outcome;
use crate::args::{BackboneCommand, BackboneVerb};
use crate::printer::Printer;

pub(super) fn run(command: &BackboneCommand, printer: &Printer) -> Result<Outcome> {
    match &command.verb {
        BackboneVerb::List(args) => list::run(args, printer),
        #[cfg(feature = "hub")]
        BackboneVerb::Fetch(args) => fetch::run(args, printer),
    }
}
