//! The `piggyback` program: trains, evaluates, uses and inspects tasks of a frozen vision network.
//!
//! This file only knows exit codes: 0 success, 1 finished but something was found (a check
//! failed, images were unreadable), 2 not done, 130 interrupted with a checkpoint. A signal that
//! ends a program that leaves no checkpoints ends it as signals do.

mod args;
mod bar;
mod commands;
mod config;
mod interrupt;
mod printer;
mod progress;
mod report;
mod write;

use std::process::ExitCode;

use crate::commands::Status;
use crate::printer::Printer;

fn main() -> ExitCode {
    let args = args::parse();
    let printer = Printer::new(args.global.quiet);
    let trains = args.verb.trains();
    let ended = interrupt::start(trains, &printer).and_then(|()| commands::run(&args, &printer));
    match ended {
        Ok(Status::Done) => ExitCode::SUCCESS,
        Ok(Status::Found) => ExitCode::from(1),
        Ok(Status::Failed) => ExitCode::from(2),
        Ok(Status::Interrupted) => ExitCode::from(interrupt::EXIT_CODE),
        // Whoever reads our output has seen enough: `piggyback predict ... | head` is a success.
        Err(error) if printer::is_closed(&error) => ExitCode::SUCCESS,
        Err(error) => {
            printer.error(&error);
            ExitCode::from(2)
        }
    }
}
