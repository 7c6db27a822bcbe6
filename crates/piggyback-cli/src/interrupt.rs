//! Ctrl-C and SIGTERM: the first asks the training to stop and leave a checkpoint, the second ends
//! the program at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context, Result};

use crate::printer::Printer;

/// Exit code of an interrupted program, as shells give it for Ctrl-C.
pub(crate) const EXIT_CODE: u8 = 130;

/// The flag that the first signal sets.
pub(crate) fn listen(printer: &Printer) -> Result<Arc<AtomicBool>> {
    let stop = Arc::new(AtomicBool::new(false));
    let (flag, printer) = (stop.clone(), printer.clone());
    let on_signal = move || {
        if flag.swap(true, Ordering::SeqCst) {
            std::process::exit(EXIT_CODE.into());
        }
        printer.note("stopping at the next step; Ctrl-C again stops at once, without a checkpoint");
    };
    ctrlc::set_handler(on_signal).context("cannot listen for Ctrl-C")?;
    Ok(stop)
}
