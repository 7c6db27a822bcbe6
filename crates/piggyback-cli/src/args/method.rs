//! Settings of the methods that Piggyback is compared with.

use serde::Serialize;

use super::count;

/// What methods without masks have instead, under the library's names.
#[derive(Debug, Default, clap::Args, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct OtherMethods {
    /// Learning rate of all weights [default: 0.001; bitdelta: 0.0001]
    #[arg(
        long,
        value_name = "RATE",
        env = "PIGGYBACK_LR",
        help_heading = "Methods without masks"
    )]
    pub(crate) lr: Option<f64>,
    /// SGD momentum [default: 0.9]
    #[arg(
        long,
        value_name = "SHARE",
        env = "PIGGYBACK_MOMENTUM",
        help_heading = "Methods without masks"
    )]
    pub(crate) momentum: Option<f64>,
    /// bitdelta: passes over the training images after signs are fixed, in which scales learn [default: 5]
    #[arg(long, value_name = "N", env = "PIGGYBACK_SCALE_EPOCHS")]
    #[arg(help_heading = "Methods without masks")]
    pub(crate) scale_epochs: Option<usize>,
    /// bitdelta: learning rate of scales, as a share of each [default: 0.01]
    #[arg(
        long,
        value_name = "RATE",
        env = "PIGGYBACK_LR_SCALE",
        help_heading = "Methods without masks"
    )]
    pub(crate) lr_scale: Option<f64>,
    /// packnet: share of the backbone's weights freed for tasks when a file is begun [default: 0.5]
    #[arg(
        long,
        value_name = "SHARE",
        env = "PIGGYBACK_PRUNE_BACKBONE",
        help_heading = "Methods without masks"
    )]
    pub(crate) prune_backbone: Option<f64>,
    /// packnet: share of the task's own weights freed again for those to come [default: 0.75]
    #[arg(
        long,
        value_name = "SHARE",
        env = "PIGGYBACK_PRUNE",
        help_heading = "Methods without masks"
    )]
    pub(crate) prune: Option<f64>,
    /// packnet: passes over the training images after pruning [default: 10]
    #[arg(long, value_name = "N", env = "PIGGYBACK_RETRAIN_EPOCHS", value_parser = count())]
    #[arg(help_heading = "Methods without masks")]
    pub(crate) retrain_epochs: Option<usize>,
    /// packnet: learning rate after pruning [default: 0.0001]
    #[arg(
        long,
        value_name = "RATE",
        env = "PIGGYBACK_RETRAIN_LR",
        help_heading = "Methods without masks"
    )]
    pub(crate) retrain_lr: Option<f64>,
    /// packnet: this is the last task, keep all remaining weights for it
    #[arg(
        long,
        value_name = "BOOL",
        env = "PIGGYBACK_LAST",
        help_heading = "Methods without masks"
    )]
    #[arg(num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    #[arg(value_parser = clap::builder::BoolishValueParser::new())]
    pub(crate) last: Option<bool>,
}
