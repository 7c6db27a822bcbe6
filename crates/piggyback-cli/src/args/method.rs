//! Settings of methods without masks.

use serde::Serialize;

use super::count;

/// Settings of methods without masks, under the library's names.
#[derive(Debug, Default, clap::Args, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct OtherMethods {
    /// Learning rate of all weights [default: 0.001; bitdelta and
    /// sign-delta: 0.0001]
    #[arg(
        long,
        value_name = "RATE",
        env = "PIGGYBACK_LR",
        help_heading = "Settings of other methods"
    )]
    pub(crate) lr: Option<f64>,
    /// SGD momentum [default: 0.9]
    #[arg(
        long,
        value_name = "SHARE",
        env = "PIGGYBACK_MOMENTUM",
        help_heading = "Settings of other methods"
    )]
    pub(crate) momentum: Option<f64>,
    /// bitdelta, sign-delta: epochs in which the scales are trained, after the signs are fixed [default: 5]
    #[arg(long, value_name = "N", env = "PIGGYBACK_SCALE_EPOCHS")]
    #[arg(help_heading = "Settings of other methods")]
    pub(crate) scale_epochs: Option<usize>,
    /// bitdelta, sign-delta: learning rate of the scales, relative to each scale's initial value
    /// [default: 0.01]
    #[arg(
        long,
        value_name = "RATE",
        env = "PIGGYBACK_LR_SCALE",
        help_heading = "Settings of other methods"
    )]
    pub(crate) lr_scale: Option<f64>,
    /// low-rank: rank of the changes, which is the bits per row and column of a weight [default: 8]
    #[arg(long, value_name = "N", env = "PIGGYBACK_RANK", value_parser = count())]
    #[arg(help_heading = "Settings of other methods")]
    pub(crate) rank: Option<usize>,
    /// low-rank: learning rate of factors and scales [default: 0.001]
    #[arg(
        long,
        value_name = "RATE",
        env = "PIGGYBACK_LR_FACTORS",
        help_heading = "Settings of other methods"
    )]
    pub(crate) lr_factors: Option<f64>,
    /// packnet: share of the backbone's weights pruned to make room for tasks, when the file is
    /// created [default: 0.5]
    #[arg(
        long,
        value_name = "SHARE",
        env = "PIGGYBACK_PRUNE_BACKBONE",
        help_heading = "Settings of other methods"
    )]
    pub(crate) prune_backbone: Option<f64>,
    /// packnet: share of the task's weights pruned to make room for later tasks [default: 0.75]
    #[arg(
        long,
        value_name = "SHARE",
        env = "PIGGYBACK_PRUNE",
        help_heading = "Settings of other methods"
    )]
    pub(crate) prune: Option<f64>,
    /// packnet: epochs of training after pruning [default: 10]
    #[arg(long, value_name = "N", env = "PIGGYBACK_RETRAIN_EPOCHS", value_parser = count())]
    #[arg(help_heading = "Settings of other methods")]
    pub(crate) retrain_epochs: Option<usize>,
    /// packnet: learning rate after pruning [default: 0.0001]
    #[arg(
        long,
        value_name = "RATE",
        env = "PIGGYBACK_RETRAIN_LR",
        help_heading = "Settings of other methods"
    )]
    pub(crate) retrain_lr: Option<f64>,
    /// packnet: this is the last task, so it keeps all remaining weights
    #[arg(
        long,
        value_name = "BOOL",
        env = "PIGGYBACK_LAST",
        help_heading = "Settings of other methods"
    )]
    #[arg(num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    #[arg(value_parser = clap::builder::BoolishValueParser::new())]
    pub(crate) last: Option<bool>,
}
