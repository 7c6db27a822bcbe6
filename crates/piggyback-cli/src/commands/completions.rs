use anyhow::Result;
use clap_complete::Shell;

use super::Status;
use crate::args;
use crate::printer::Printer;

pub(super) fn run(shell: Shell, printer: &Printer) -> Result<Status> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut args::command(), "piggyback", &mut script);
    printer.raw(&script)?;
    Ok(Status::Done)
}
