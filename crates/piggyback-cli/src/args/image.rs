use anyhow::Result;
use piggyback::image::{Channels, ImageSettings, InterpolationMode, ResizeMode};
use serde::Serialize;
use toml::Value;

use super::{named, value_or};

/// How images are prepared, where it is not as the backbone expects; under the library's names.
#[derive(Debug, Default, clap::Args, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct ImageArgs {
    /// Side of the network's input, pixels
    #[arg(
        long,
        value_name = "PIXELS",
        env = "PIGGYBACK_IMAGE_SIZE",
        help_heading = "Images"
    )]
    #[arg(value_parser = value_or::<u32>("backbone"))]
    pub(crate) image_size: Option<Value>,
    /// Bring images to that size: as the backbone expects; squash both sides; short side to 8/7 of
    /// it and crop the centre; or short side to it and crop
    #[arg(long, env = "PIGGYBACK_RESIZE", help_heading = "Images")]
    #[arg(value_parser = named::<ResizeMode>())]
    pub(crate) resize: Option<ResizeMode>,
    /// Interpolation when images are resized
    #[arg(long, env = "PIGGYBACK_INTERPOLATION", help_heading = "Images")]
    #[arg(value_parser = named::<InterpolationMode>())]
    pub(crate) interpolation: Option<InterpolationMode>,
    /// Mean of red, green and blue, of a full range of 1
    #[arg(
        long,
        value_name = "R,G,B",
        env = "PIGGYBACK_MEAN",
        help_heading = "Images"
    )]
    #[arg(allow_hyphen_values = true, value_parser = value_or::<Channels>("backbone"))]
    pub(crate) mean: Option<Value>,
    /// Standard deviation of red, green and blue, of a full range of 1
    #[arg(
        long,
        value_name = "R,G,B",
        env = "PIGGYBACK_STD",
        help_heading = "Images"
    )]
    #[arg(value_parser = value_or::<Channels>("backbone"))]
    pub(crate) std: Option<Value>,
}

impl ImageArgs {
    /// The library's settings; what is not given is left to the backbone.
    pub(crate) fn settings(&self) -> Result<ImageSettings> {
        Ok(toml::Table::try_from(self)?.try_into()?)
    }
}
