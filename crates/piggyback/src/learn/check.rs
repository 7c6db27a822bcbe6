//! Settings that any method may have, checked.

use crate::error::{Error, Result};

/// Epochs beyond which a number is a slip of the pen, and steps could not be counted.
pub(crate) const MOST_EPOCHS: usize = 1_000_000;

/// Fails on a number of epochs that is no training.
pub(crate) fn check_epochs(setting: &str, epochs: usize) -> Result<()> {
    let reason = match epochs {
        0 => "0 is less than 1".to_owned(),
        1..=MOST_EPOCHS => return Ok(()),
        _ => format!("{epochs} is more than {MOST_EPOCHS}"),
    };
    Err(Error::setting(setting, reason))
}

/// Fails on batches of one image: on a 1x1 map it would have no variance.
pub(crate) fn check_batch_size(images: usize) -> Result<()> {
    match images {
        0 | 1 => Err(Error::setting(
            "batch-size",
            format!("{images} is less than 2"),
        )),
        _ => Ok(()),
    }
}

/// Fails on what is no learning rate.
pub(crate) fn check_rate(setting: &str, rate: f64) -> Result<()> {
    if rate.is_finite() && rate >= 0.0 {
        return Ok(());
    }
    let reason = format!("{rate} is not a learning rate; give a number of 0 or more");
    Err(Error::setting(setting, reason))
}

/// Fails on a share that leaves nothing, or takes nothing.
pub(crate) fn check_share(setting: &str, share: f64) -> Result<()> {
    if share > 0.0 && share < 1.0 {
        return Ok(());
    }
    let reason = format!("{share} is not a share between 0 and 1");
    Err(Error::setting(setting, reason))
}
