//! The settings that every method has.

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::image::AugmentPreset;

/// Maximum number of epochs: more is a typing error, and would overflow the step count.
const MOST_EPOCHS: usize = 1_000_000;

/// Settings of the training loop, shared by all methods.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct RunSettings {
    /// Passes over the training images.
    pub epochs: usize,
    /// Images per step.
    pub batch_size: usize,
    /// Random seed.
    pub seed: u64,
    /// Image augmentation of training images.
    pub augment: AugmentPreset,
    /// Share of the training images held out for validation if there is no `val/`.
    pub val_share: f64,
    /// Skip images that cannot be read instead of stopping.
    pub skip_bad: bool,
}

impl RunSettings {
    /// The default settings with this many epochs.
    pub(crate) fn of_epochs(epochs: usize) -> Self {
        Self {
            epochs,
            batch_size: 32,
            seed: 0,
            augment: AugmentPreset::Light,
            val_share: 0.1,
            skip_bad: false,
        }
    }

    /// Fails on the first setting out of range. The minimum of epochs is `least_epochs`.
    pub(crate) fn check(&self, least_epochs: usize) -> Result<()> {
        check_epochs("epochs", least_epochs, self.epochs)?;
        // On a map of one pixel, one image would have no variance.
        if self.batch_size < 2 {
            let reason = format!("{} is less than 2", self.batch_size);
            return Err(Error::setting("batch-size", reason));
        }
        check_share("val-share", self.val_share)
    }
}

/// Fails on fewer epochs than `least` or more than the maximum.
pub(crate) fn check_epochs(setting: &str, least: usize, epochs: usize) -> Result<()> {
    let reason = match epochs {
        _ if epochs < least => format!("{epochs} is less than {least}"),
        0..=MOST_EPOCHS => return Ok(()),
        _ => format!("{epochs} is more than {MOST_EPOCHS}"),
    };
    Err(Error::setting(setting, reason))
}

/// Fails on an invalid learning rate.
pub(crate) fn check_rate(setting: &str, rate: f64) -> Result<()> {
    if rate.is_finite() && rate >= 0.0 {
        return Ok(());
    }
    let reason = format!("{rate} is not a learning rate; expected a number of 0 or more");
    Err(Error::setting(setting, reason))
}

/// Fails on a share outside 0 to 1, both excluded.
pub(crate) fn check_share(setting: &str, share: f64) -> Result<()> {
    if share > 0.0 && share < 1.0 {
        return Ok(());
    }
    let reason = format!("{share} is not a share between 0 and 1");
    Err(Error::setting(setting, reason))
}

/// Fails on a share outside 0 to 1; 0 is allowed, 1 is not.
pub(crate) fn check_part(setting: &str, part: f64) -> Result<()> {
    if (0.0..1.0).contains(&part) {
        return Ok(());
    }
    let reason = format!("{part} is not a share from 0 to below 1");
    Err(Error::setting(setting, reason))
}
