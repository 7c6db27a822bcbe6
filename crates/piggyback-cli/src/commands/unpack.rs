use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use piggyback::KnownNetworks;
use piggyback::files::unpack;
use piggyback::task::TaskFile;

use super::Status;
use crate::args::UnpackArgs;
use crate::printer::Printer;
use crate::report::thousands;
use crate::write;

pub(super) fn run(args: &UnpackArgs, printer: &Printer) -> Result<Status> {
    let inputs: [&Path; 1] = [&args.task];
    let _claim = write::claim(&args.out, "OUT", args.force, &inputs)?;
    let task = TaskFile::open(&args.task, &KnownNetworks)?;
    let tensors = unpack(&task, &args.out)?;
    let shown = args.out.display();
    let bytes = fs::metadata(&args.out).with_context(|| format!("cannot read {shown}"))?;
    printer.result(&[format!(
        "{shown}  {tensors} tensors, {} bytes",
        thousands(bytes.len())
    )])?;
    Ok(Status::Done)
}
