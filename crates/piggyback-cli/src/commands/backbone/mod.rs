//! `piggyback backbone`: one file per verb.

mod convert;
#[cfg(feature = "hub")]
mod fetch;
mod inspect;
mod list;

use anyhow::Result;
#[cfg(feature = "hub")]
pub(super) use fetch::model as fetch_model;

use super::Status;
use crate::args::{BackboneCommand, BackboneVerb};
use crate::printer::Printer;

pub(super) fn run(command: &BackboneCommand, printer: &Printer) -> Result<Status> {
    match &command.verb {
        BackboneVerb::List(args) => list::run(args, printer),
        BackboneVerb::Inspect(args) => inspect::run(args, printer),
        BackboneVerb::Convert(args) => convert::run(args, printer),
        #[cfg(feature = "hub")]
        BackboneVerb::Fetch(args) => fetch::run(args, printer),
    }
}
